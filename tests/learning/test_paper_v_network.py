"""The vision tower with its register, the cross-depth-fusion head, and what is said of them."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from sonosteer.core.errors import InputError
from sonosteer.learning.nets import face
from sonosteer.learning.nets.cdf_head import ChannelAttention, CrossDepthFusionHead
from sonosteer.learning.nets.face import TipTarget
from sonosteer.learning.nets.presets import TRACKING_PRESETS, TRACKING_TINY, Tower, tracking_preset
from sonosteer.learning.nets.qwen_vision import RegisterVisionEncoder
from sonosteer.learning.nets.vla import VlaTracker, focal_on_centre

pytestmark = pytest.mark.slow

WINDOWED = Tower(32, 4, 2, 48, patch=14, window_px=56, full_blocks=(1, 3), out=24, stem="linear")


def library_tower(tower=WINDOWED):
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    torch.manual_seed(0)
    return Qwen2_5_VisionTransformerPretrainedModel(tower.library_config()).eval()


def as_library_patches(image, tower):
    """The library's own order: 2 x 2 groups of patches, each channel, frame, row, column."""
    b, c, h, w = image.shape
    assert b == 1
    p, m = tower.patch, tower.merge
    x = image[0].view(c, h // (p * m), m, p, w // (p * m), m, p).permute(1, 4, 2, 5, 0, 3, 6)
    x = x.unsqueeze(5).expand(-1, -1, -1, -1, -1, 2, -1, -1)
    return x.reshape(h * w // p**2, c * 2 * p * p)


@pytest.mark.parametrize("size", [(112, 112), (140, 84), (56, 56)])
def test_the_dense_tower_equals_the_librarys_own_forward(size):
    tower = library_tower()
    ours = RegisterVisionEncoder(tower, 0, 1)
    image = torch.randn(1, 3, *size)
    grid = torch.tensor([[1, size[0] // 14, size[1] // 14]])
    with torch.no_grad():
        theirs = tower(as_library_patches(image, WINDOWED), grid_thw=grid).pooler_output
        _, deep, _ = ours.merged(ours(image))
    # theirs come in raster order of 2 x 2 groups
    assert torch.allclose(deep[0], torch.as_tensor(theirs).reshape(deep[0].shape), atol=1e-5)


def test_a_batch_is_each_of_its_images():
    ours = RegisterVisionEncoder(library_tower(), 4, 1)
    images = torch.randn(3, 3, 112, 112)
    with torch.no_grad():
        together = ours(images)
        for i in range(3):
            alone = ours(images[i : i + 1])
            assert torch.allclose(together.deep[i], alone.deep[0], atol=1e-5)
            assert torch.allclose(together.register[i], alone.register[0], atol=1e-5)


@pytest.mark.parametrize("mode", ["own_window", "shared"])
def test_only_the_register_learns_and_both_taps_feel_it(mode):
    ours = RegisterVisionEncoder(library_tower(), 4, 1, mode)
    for name, p in ours.named_parameters():
        p.requires_grad_(name == "register")
    for tap in ("shallow", "deep"):
        ours.zero_grad()
        out = getattr(ours(torch.randn(1, 3, 112, 112)), tap)
        (out * torch.randn_like(out)).sum().backward()
        assert ours.register.grad.abs().max() > 0


def test_a_register_of_nothing_changes_nothing_and_a_shared_one_reaches_windows():
    tower, image = library_tower(), torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        none = RegisterVisionEncoder(tower, 0, 0)(image).shallow
        own = RegisterVisionEncoder(tower, 4, 0)(image).shallow
        shared = RegisterVisionEncoder(tower, 4, 0, "shared")(image).shallow
    assert torch.allclose(none, own, atol=1e-6)  # block 0 has windows: the register is not met there
    assert (shared - none).abs().max() > 1e-5


def test_two_equal_frames_are_one_image():
    ours = RegisterVisionEncoder(library_tower(), 0, 1)
    image = torch.randn(1, 3, 56, 56)
    assert torch.allclose(ours.embed(image), ours.embed(torch.cat([image, image], 1)), atol=1e-5)


def test_a_register_must_fill_groups_and_be_felt_by_the_shallow_tap():
    with pytest.raises(InputError, match="multiple of 4"):
        dataclasses.replace(TRACKING_TINY, register=6)
    with pytest.raises(InputError, match="never feel it"):
        dataclasses.replace(TRACKING_PRESETS["qwen3b"], shallow_block=3)
    with pytest.raises(InputError, match="multiple of 32"):
        dataclasses.replace(TRACKING_TINY, search_px=100)
    with pytest.raises(InputError, match="there is no preset"):
        tracking_preset("huge")


def test_the_published_sizes_have_the_published_shape():
    three, seven = TRACKING_PRESETS["qwen3b"], TRACKING_PRESETS["qwen7b"]
    assert three.register * three.tower.width == 491_520  # about half a million, as Paper V says
    with torch.device("meta"):
        net = VlaTracker(three)
    tower = sum(p.numel() for p in net.encoder.visual.parameters())
    assert abs(tower / 1e6 - 668.7) < 0.1  # of Qwen2.5-VL-3B's visual part
    assert seven.tower.out == 3584


def test_channel_attention_is_what_its_formula_says():
    torch.manual_seed(1)
    attention = ChannelAttention(8, 2)
    q, k = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    Q, K, V = attention.q(q)[0], *attention.kv(k)[0].chunk(2, -1)
    out = torch.zeros(5, 8)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        a, b = Q[:, part] / Q[:, part].norm(dim=0), K[:, part] / K[:, part].norm(dim=0)
        share = (a.T @ b * attention.temperature[head, 0, 0]).softmax(-1)
        out[:, part] = V[:, part] @ share.T
    assert torch.allclose(attention(q, k)[0], attention.out(out), atol=1e-6)


def test_a_gate_of_nought_leaves_the_register_out():
    torch.manual_seed(2)
    head = CrossDepthFusionHead(16, 16, 2, "channel", "both", register=True)
    f, z = torch.randn(1, 9, 16), torch.randn(1, 4, 16)
    a = head(f, torch.randn(1, 4, 16), z, (3, 3), (2, 2))
    b = head(f, torch.randn(1, 4, 16), z, (3, 3), (2, 2))
    assert torch.equal(a, b)
    head.gate.data[:] = 0.5
    head.maps.weight.data.normal_()
    assert not torch.allclose(
        head(f, torch.randn(1, 4, 16), z, (3, 3), (2, 2)), head(f, torch.randn(1, 4, 16), z, (3, 3), (2, 2))
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"taps": "shallow"},
        {"taps": "deep"},
        {"fusion": "position"},
        {"register": 0},
        {"pair": False},
        {"space": "merged"},
    ],
)
def test_every_variant_learns_one_batch(changes):
    torch.manual_seed(0)
    net = VlaTracker(dataclasses.replace(TRACKING_TINY, **changes))
    rng = np.random.default_rng(0)
    centre = torch.from_numpy(rng.uniform(0.2, 0.8, (8, 2)).astype(np.float32))
    y, x = np.mgrid[0:96, 0:96] / 96
    spots = [np.exp(-((x - c[0]) ** 2 + (y - c[1]) ** 2) / 0.004) for c in centre.numpy()]
    search = torch.from_numpy(np.stack([[s, s] for s in spots]).astype(np.float32))
    template = torch.rand(8, 1, 32, 32)
    target = TipTarget(centre, torch.full((8, 2), 0.25), torch.ones(8), torch.ones(8), torch.ones(8))
    optimizer = torch.optim.AdamW(net.groups(3e-3, 0.0))
    first = None
    for _ in range(60):
        loss, _ = net.loss(net(search, template), target)
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.4 * first
    found = net.candidates(net(search, template))
    best = face.pick(found.centre, found.score.argmax(1))
    assert (best - centre).abs().mean() < 0.03


def test_the_focal_loss_forgives_neighbours_and_counts_no_tip():
    target = TipTarget(torch.tensor([[0.5, 0.5]]), torch.ones(1, 2), torch.ones(1), torch.ones(1), torch.ones(1))
    side, cell = 6, int(face.cell_of(target.centre, 6, 6)[0])
    quiet = torch.full((1, 36), -9.0)
    hit, next_to, far = (quiet.clone() for _ in range(3))
    hit[0, cell], next_to[0, cell + 1], far[0, 0] = 9.0, 9.0, 9.0
    assert focal_on_centre(hit, target, side) < 1e-3
    losses = [float(focal_on_centre(logit, target, side)) for logit in (hit, next_to, far)]
    assert losses[0] < losses[1] < losses[2]
    nobody = dataclasses.replace(target, present=torch.zeros(1))
    assert focal_on_centre(quiet, nobody, side) < 1e-3 < focal_on_centre(hit, nobody, side)


def test_generalised_iou_against_boxes_by_hand():
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [2.0, 0.0, 3.0, 1.0]])
    gain, iou = face.giou(a, b)
    assert torch.allclose(iou, torch.tensor([1 / 7, 0.0]))
    assert torch.allclose(gain, torch.tensor([1 / 7 - 2 / 9, -1 / 3]))
