"""The detector's network: its loss asks what can be seen and nothing else, and a saved one answers alike everywhere."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from sonosteer.core.errors import InputError
from sonosteer.datasets.detector_samples import UNSEEN, DetectorBatch
from sonosteer.imaging.detector_planes import CELL_PX, PLANES, fill_planes
from sonosteer.inference.needle_detector import NeedleDetector
from sonosteer.learning.checkpoints.detector import load_detector, save_detector, take_weights
from sonosteer.learning.nets.dense_detector import ANSWERS, NEAR_CELLS, DenseDetector, DetectorConfig, detector_loss

CELLS = 24
TINY = DetectorConfig(channels=(4, 6, 8, 8, 10), side_px=96)


# -- the loss --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch():
    """A needle that is seen, one whose tip and back half are not, one that is not drawn, and none."""
    rows, columns = np.mgrid[:CELLS, :CELLS]
    tip = np.array([[14.3, 9.8], [7.6, 16.2], [11.0, 12.0], [np.nan, np.nan]], np.float32)
    visible = np.array([1, 0, 0, 0], np.float32)
    shaft, heat = np.zeros((4, CELLS, CELLS), np.uint8), np.zeros((4, CELLS, CELLS), np.float32)
    shaft[0, 9:11, 3:15], shaft[1, 15:17, 8:14], shaft[1, 15:17, 14:20] = 1, 1, UNSEEN
    for k, (x, y) in enumerate(tip[:3]):
        square = (columns - x) ** 2 + (rows - y) ** 2
        heat[k] = np.exp(-0.5 * square / 1.2**2) if visible[k] else np.where(square < 36, -1.0, 0.0)
    direction = np.array([[0.8, 0.6], [0.0, -1.0], [np.nan, np.nan], [np.nan, np.nan]], np.float32)
    width = np.array([6.0, 11.0, np.nan, np.nan], np.float32)
    planes = np.zeros((4, PLANES, CELLS * CELL_PX, CELLS * CELL_PX), np.float32)
    return DetectorBatch(
        planes=planes, shaft=shaft, heat=heat, tip=tip, visible=visible, direction=direction, width=width
    )


def perfect(batch):
    """What a network that knows everything answers."""
    rows, columns = np.mgrid[:CELLS, :CELLS]
    out = np.zeros((4, ANSWERS, CELLS, CELLS), np.float32)
    out[:, 0] = np.where(batch.shaft == 1, 20.0, -20.0)
    out[:, 1] = np.where(batch.heat > 0.8, 20.0, -20.0)
    for k in range(4):
        if np.isfinite(batch.tip[k]).all():
            out[k, 2], out[k, 3] = batch.tip[k, 0] - columns, batch.tip[k, 1] - rows
        if np.isfinite(batch.width[k]):
            out[k, 4:6], out[k, 6] = batch.direction[k][:, None, None], np.log(batch.width[k])
        out[k, 7] = 20.0 if batch.visible[k] else -20.0
    return torch.from_numpy(out)


def asked_of(batch):
    """(4, 8, C, C) is anything asked of this answer?"""
    rows, columns = np.mgrid[:CELLS, :CELLS]
    near = np.stack([np.hypot(columns - x, rows - y) <= NEAR_CELLS for x, y in np.nan_to_num(batch.tip, nan=1e4)])
    seen = near & (batch.visible > 0)[:, None, None]
    line = seen | (batch.shaft == 1)
    return np.stack(
        [batch.shaft != UNSEEN, batch.heat >= 0, seen, seen, line, line, line, near],
        axis=1,
    )


def test_perfect_answers_cost_nothing(batch):
    loss, parts = detector_loss(perfect(batch), batch)
    assert float(loss) < 2e-3
    assert set(parts) == {"shaft", "tip", "offset", "direction", "width", "visible"}
    assert float(sum(parts.values())) == pytest.approx(float(loss), abs=1e-6)
    assert all(float(p) >= 0 for p in parts.values())


@pytest.mark.parametrize(
    ("channel", "part"),
    [(0, "shaft"), (1, "tip"), (2, "offset"), (3, "offset"), (4, "direction"), (5, "direction"), (6, "width"),
     (7, "visible")],
)  # fmt: skip
def test_each_wrong_answer_costs_its_own_part(batch, channel, part):
    wrong = perfect(batch)
    wrong[:, channel] = -wrong[:, channel] if channel in (0, 1, 7) else wrong[:, channel] + 1.0
    _, good = detector_loss(perfect(batch), batch)
    _, parts = detector_loss(wrong, batch)
    for name, value in parts.items():
        if name == part:
            assert float(value) > float(good[name]) + 0.02
        else:
            assert float(value) == pytest.approx(float(good[name]), abs=1e-6)


def test_nothing_is_asked_where_nothing_can_be_known(batch):
    """The gradient is zero at each answer that nobody could give, and at no other."""
    torch.manual_seed(0)
    answers = torch.randn(4, ANSWERS, CELLS, CELLS, requires_grad=True)
    loss, _ = detector_loss(answers, batch)
    loss.backward()
    asked = asked_of(batch)
    moved = answers.grad.numpy() != 0
    assert not moved[~asked].any()
    bell = np.broadcast_to((batch.heat > 0.3) & (batch.heat <= 0.8), moved[:, 1].shape)  # may weigh next to nothing
    for channel in range(ANSWERS):
        missing = asked[:, channel] & ~moved[:, channel]
        assert not (missing & ~bell if channel == 1 else missing).any(), channel
    for channel in range(ANSWERS):
        assert asked[:, channel].any()
        assert not asked[:, channel].all()


def test_a_batch_without_any_needle_has_a_finite_loss(batch):
    none = DetectorBatch(
        **{
            name: getattr(batch, name)[3:]
            for name in ("planes", "shaft", "heat", "tip", "visible", "direction", "width")
        }
    )
    quiet = torch.zeros(1, ANSWERS, CELLS, CELLS)
    quiet[:, :2] = -20.0
    assert float(detector_loss(quiet, none)[0]) < 1e-3
    loud = quiet.clone()
    loud[0, 1, 4, 4] = 5.0
    loss, parts = detector_loss(loud, none)
    assert torch.isfinite(loss)
    assert float(parts["tip"]) > 0.5


# -- the network -----------------------------------------------------------------------------------------------


def random_detector(config=TINY):
    """A network as after a training: no weight, mean or deviation is what it began with."""
    torch.manual_seed(3)
    net = DenseDetector(config)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value += 0.1 * torch.rand_like(value) if "running" in name else 0.05 * torch.randn_like(value)
    return net.eval()


@pytest.mark.parametrize("size", [(32, 32), (96, 64), (160, 320)])
def test_a_cell_of_answers_is_a_quarter_of_the_input(size):
    out = random_detector()(torch.zeros(2, PLANES, *size))
    assert out.shape == (2, ANSWERS, size[0] // CELL_PX, size[1] // CELL_PX)


def test_a_new_network_says_that_there_is_hardly_anything():
    torch.manual_seed(0)
    with torch.no_grad():
        out = DenseDetector(TINY)(torch.randn(4, PLANES, 96, 96))
    assert torch.sigmoid(out[:, :2]).mean() < 0.05


def test_every_parameter_is_trained_once_and_only_kernels_decay():
    net = random_detector()
    groups = net.groups(1e-3, 0.05)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in net.parameters())
    for group in groups:
        assert group["base_lr"] == group["lr"] == 1e-3
        for p in group["params"]:
            assert (group["weight_decay"] > 0) == (p.ndim > 1)


def test_shapes_that_cannot_be_are_one_line():
    for side_px in (0, -32, 100, 330):
        with pytest.raises(InputError, match=f"side_px of a detector is {side_px}, but must be a multiple of 32"):
            DetectorConfig(side_px=side_px)
    with pytest.raises(InputError, match="channels of a detector"):
        DetectorConfig(channels=(4, 8, 0, 8, 8))


# -- on disk ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(network, its folder in 32 bit, its folder in 16 bit)."""
    net, whole, half = random_detector(), tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("half")
    save_detector(net, whole, {"samples": 5, "seconds": 1.5, "stage": "detector"})
    save_detector(net.train(), half, {}, half=True)
    assert net.training
    return net.eval(), whole, half


def planes_of(size, seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, (1, PLANES, *size)).astype(np.float32)


def torch_says(net, planes):
    with torch.no_grad():
        return net(torch.from_numpy(planes)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 96), (160, 128), (96, 96)])  # the exporter's example has 96 x 96
def test_torch_and_onnx_give_the_same_numbers(saved, size):
    net, *folders = saved
    planes = planes_of(size)
    truth = torch_says(net, planes)
    assert truth.std() > 0.05
    for folder, tolerance in zip(folders, (1e-4, 0.02), strict=True):
        graph = NeedleDetector(str(folder))._session.run(None, {"planes": planes})[0]
        loaded, _ = load_detector(folder)
        assert graph.shape == truth.shape
        assert np.abs(graph - torch_says(loaded, planes)).max() < 1e-4
        assert np.abs(graph - truth).max() < tolerance
    assert np.abs(graph - truth).max() > 0  # 16 bit are less than 32


@pytest.mark.slow
def test_a_look_is_what_the_network_says_of_the_planes(saved):
    net, folder, _ = saved
    rng = np.random.default_rng(1)
    now, earlier = (rng.integers(0, 256, (70, 96)).astype(np.uint8) for _ in range(2))
    planes = np.zeros((1, PLANES, 96, 96), np.float32)
    fill_planes(now, earlier, planes[0])
    answer = NeedleDetector(str(folder)).look(now, earlier)
    assert answer.cells.shape == (ANSWERS, 18, 24)
    assert np.abs(answer.cells - torch_says(net, planes)[0, :, :18]).max() < 1e-4


@pytest.mark.slow
def test_half_of_the_weights_is_half_as_large(saved):
    _, whole, half = saved
    sizes = [(f / "model.safetensors").stat().st_size for f in (whole, half)]
    assert sizes[1] < 0.75 * sizes[0]
    kinds = {v.dtype for v in load_detector(half)[0].state_dict().values() if v.is_floating_point()}
    assert kinds == {torch.float32}


@pytest.mark.slow
def test_a_saved_detector_is_begun_from(saved):
    net, whole, _ = saved
    torch.manual_seed(8)
    other = DenseDetector(TINY)
    assert take_weights(other, whole) == {"from": whole.name, "before": {"samples": 5, "seconds": 1.5}}
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(other.state_dict()[name], value), name
    larger = DenseDetector(DetectorConfig(channels=(4, 6, 8, 8, 12), side_px=96))
    with pytest.raises(InputError, match=r"model\.safetensors holds the weights of another network: .* does not fit"):
        take_weights(larger, whole)


@pytest.mark.slow
def test_what_is_wrong_with_a_folder_is_one_line(saved, tmp_path):
    _, whole, _ = saved
    copied = tmp_path / "copied"
    shutil.copytree(whole, copied)
    config, weights = copied / "config.json", copied / "model.safetensors"
    said, stored = json.loads(config.read_text()), weights.read_bytes()

    def refused(match, *loads):
        for load in loads or (load_detector, lambda folder: NeedleDetector(str(folder))):
            with pytest.raises(InputError, match=match):
                load(copied)

    weights.write_bytes(stored[: len(stored) // 2])
    refused("damaged")
    weights.unlink()
    refused("weights are missing")
    weights.write_bytes(stored)
    (copied / "detector.onnx").rename(copied / "elsewhere.onnx")
    refused(
        r"detector\.onnx does not fit the weights beside it \(it does not exist\)", lambda f: NeedleDetector(str(f))
    )
    for text in ("{", "[]", "{}", '{"architecture": "sonosteer-needle-detector"}'):
        config.write_text(text)
        refused(r"config\.json is (damaged|missing) or of another model")
    config.write_text(json.dumps({**said, "architecture": "sonosteer-vla-tracking"}))
    refused(r"holds another model \(sonosteer-vla-tracking\)")
    config.write_text(json.dumps({**said, "model": {**said["model"], "channels": [4, 6, 8, 8, 12]}}))
    refused("weights of another network", load_detector)
    config.write_text(json.dumps({**said, "model": {**said["model"], "depth": 3}}))
    refused("there is no setting 'depth'", load_detector)
    config.unlink()
    refused("holds no detector: .*; train one: sonosteer train detector", load_detector)
    with pytest.raises(InputError, match="holds no detector"):
        load_detector(tmp_path / "nowhere")
