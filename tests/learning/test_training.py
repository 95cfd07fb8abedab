"""Training on a tiny data set: it goes on as if it had never stopped, and everything wrong is one line."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Hint, TipEstimate
from sonosteer.datasets.videos import Entry, Label, LabelWriter, write_index
from sonosteer.inference.tip_network import OnnxTipNetwork
from sonosteer.learning.checkpoints import tracking as checkpoint
from sonosteer.learning.training import fit
from sonosteer.learning.training.tracking_stages import TrainOptions, train_encoder, train_tracking
from sonosteer.trackers.vla import VlaTipTracker

pytestmark = pytest.mark.slow

SETTINGS = {"schedule": {"steps": 8, "batch": 4, "save_every": 3, "look_every": 4, "look_samples": 8, "average": 0.9}}


def nothing(stage, done, total):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three videos of a bright spot that moves through noise."""
    folder = tmp_path_factory.mktemp("spots")
    rng, entries = np.random.default_rng(0), []
    for k, split in enumerate(("train", "train", "validation", "test")):
        here = folder / "videos" / f"{k}"
        here.mkdir(parents=True)
        frames = rng.integers(0, 60, (12, 120, 120)).astype(np.uint8)
        with LabelWriter(here / "labels.csv", Spacing(0.4, 0.4)) as labels:
            for t in range(12):
                x, y = 30 + 4 * t, 40 + 3 * t
                frames[t, y - 2 : y + 3, x - 2 : x + 3] = 250
                labels.add(Label(t, t / 30, (float(x), float(y)), True, 12.0))
        np.save(here / "frames.npy", frames)
        entries.append(Entry(f"{k}", split, 12, (0.4, 0.4)))
    write_index(folder, {"name": "spots", "seed": 0}, entries)
    return folder


def options(data, **more):
    return TrainOptions(data=(data,), preset="tiny", recipe="cpu", device="cpu", **{"settings": SETTINGS, **more})


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """(encoder's folder, tracking's folder)."""
    encoder, tracking = tmp_path_factory.mktemp("encoder"), tmp_path_factory.mktemp("tracking")
    train_encoder(out=encoder, seed=0, quick=False, progress=nothing, options=options(data))
    train_tracking(out=tracking, seed=0, quick=False, progress=nothing, options=options(data, start=encoder))
    return encoder, tracking


def weights(folder):
    return checkpoint.read_weights(folder / "model.safetensors")


def test_stage_one_changes_register_and_head_only(trained):
    encoder, tracking = (weights(f) for f in trained)
    for name, value in tracking.items():
        if name.startswith("encoder.") and name != "encoder.register":
            assert torch.equal(value, encoder[name]), name
    assert any(not torch.equal(tracking[n], encoder[n]) for n in encoder if n.startswith("head."))
    assert "encoder.register" in tracking
    assert "encoder.register" not in encoder


def test_a_stopped_training_ends_with_the_weights_of_one_that_was_not(data, trained, tmp_path):
    def stop_at_five(stage, done, total):
        if stage == "samples" and done == 5 * 4:
            raise KeyboardInterrupt

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train_encoder(out=out, seed=0, quick=False, progress=stop_at_five, options=options(data))
    report = train_encoder(out=out, seed=0, quick=False, progress=nothing, options=options(data))
    assert report["steps"] == 8
    whole, again = weights(trained[0]), weights(out)
    assert all(torch.equal(whole[n], again[n]) for n in whole)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [4, 8]


def test_a_folder_of_another_schedule_is_refused(data, trained):
    other = {"schedule": {**SETTINGS["schedule"], "steps": 9}}
    with pytest.raises(InputError, match="another schedule"):
        train_encoder(out=trained[0], seed=0, quick=False, progress=nothing, options=options(data, settings=other))


def test_the_card_says_how_it_came_about_and_what_it_is_not(trained):
    card = (trained[1] / "README.md").read_text()
    assert "not a medical device" in card
    assert "sonosteer train tracking --preset tiny --recipe cpu" in card
    assert "stage 0: 32 samples" in card
    assert (trained[1] / "curves.svg").read_text().startswith("<svg")


def test_the_graphs_answer_as_the_network_does(trained):
    net, onnx = checkpoint.from_pretrained(trained[1]), OnnxTipNetwork(trained[1])
    rng = np.random.default_rng(1)
    template, search = (
        rng.integers(0, 255, (32, 32)).astype(np.uint8),
        rng.integers(0, 255, (2, 96, 96)).astype(np.uint8),
    )
    kept = onnx.embed(template)
    with torch.no_grad():
        theirs = net.embed(torch.from_numpy(template)[None, None].float() / 255)
        found = net.candidates(net.respond(torch.from_numpy(search)[None].float() / 255, theirs))
    assert np.abs(kept - theirs.numpy()).max() < 1e-4
    answer = onnx.respond(search, kept)
    for ours, graph in zip(found, (answer.score, answer.centre, answer.size, answer.visible, answer.sd), strict=True):
        assert np.abs(ours[0].numpy() - graph).max() < 1e-4


def test_half_precision_weights_answer_nearly_alike(trained, tmp_path):
    net = checkpoint.from_pretrained(trained[1])
    checkpoint.save_pretrained(net, tmp_path, {}, half=True)
    half = checkpoint.from_pretrained(tmp_path)
    template, search = torch.rand(1, 1, 32, 32), torch.rand(1, 2, 96, 96)
    with torch.no_grad():
        a, b = (n.candidates(n(search, template)) for n in (net, half))
    assert (a.centre - b.centre).abs().max() < 1e-2


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_trained_folder_tracks(trained, runtime):
    tracker = VlaTipTracker(model=str(trained[1]), runtime=runtime)
    state = tracker.start(Hint(start_px=(60.0, 60.0)))
    image = np.random.default_rng(0).integers(0, 60, (120, 120)).astype(np.uint8)
    _, estimate = tracker.step(state, Frame(image, 0, 0.0, Spacing(0.4, 0.4)))
    assert isinstance(estimate, TipEstimate)


def test_what_is_wrong_with_a_model_is_one_line(trained, tmp_path, data):
    with pytest.raises(InputError, match="there is no model 'nowhere'"):
        VlaTipTracker(model="nowhere").start(Hint())
    (tmp_path / "config.json").write_text('{"architectures": ["Qwen2_5_VL"], "model_type": "qwen2_5_vl"}')
    with pytest.raises(InputError, match="another model"):
        VlaTipTracker(model=str(tmp_path)).start(Hint())
    with pytest.raises(InputError, match="another model \\(qwen2_5_vl\\)"):
        checkpoint.from_pretrained(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "template.onnx", "search.onnx", "graphs.json"):
        (copy / name).write_bytes((trained[1] / name).read_bytes())
    for load in (OnnxTipNetwork, checkpoint.from_pretrained):
        with pytest.raises(InputError, match="weights are missing"):
            load(copy)
    whole = (trained[1] / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    for load in (OnnxTipNetwork, checkpoint.from_pretrained):
        with pytest.raises(InputError, match="damaged"):
            load(copy)
    (copy / "model.safetensors").write_bytes((trained[0] / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"encoder\.register is missing"):
        checkpoint.from_pretrained(copy)
    with pytest.raises(InputError, match="does not fit the weights"):
        OnnxTipNetwork(copy)
    with pytest.raises(InputError, match=r"no Qwen2\.5-VL checkpoint"):
        big = options(data, settings={"model": {"checkpoint": str(tmp_path / "none")}})
        train_tracking(out=tmp_path / "o", seed=0, quick=True, progress=nothing, options=big)


def test_what_is_wrong_with_a_training_is_one_line(data, tmp_path):
    def refused(match, run=train_encoder, **more):
        with pytest.raises(InputError, match=match):
            run(out=tmp_path, seed=0, quick=True, progress=nothing, options=options(data, **more))

    with pytest.raises(InputError, match="no recipe"):
        train_encoder(
            out=tmp_path, seed=0, quick=False, progress=nothing, options=TrainOptions((data,), "tiny", "fast")
        )
    with pytest.raises(InputError, match="`data` is missing"):
        train_encoder(out=tmp_path, seed=0, quick=True, progress=nothing, options=TrainOptions((), "tiny"))
    refused("no setting 'stepps'", settings={"schedule": {"stepps": 3}})
    refused("name its folder with --from", run=train_tracking)
    with pytest.raises(InputError, match="is no data set"):
        train_encoder(out=tmp_path, seed=0, quick=True, progress=nothing, options=TrainOptions((tmp_path,), "tiny"))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="PyTorch sees no GPU here"):
            fit.check_device("cuda")


def test_a_loss_that_is_no_number_stops_the_training(data, tmp_path):
    wild = {"schedule": {**SETTINGS["schedule"], "lr": 1e30, "clip": 1e30}}
    with pytest.raises(InputError, match="lower the learning rate"):
        train_encoder(out=tmp_path, seed=0, quick=False, progress=nothing, options=options(data, settings=wild))


def test_the_tower_of_a_published_checkpoint_is_taken_as_it_is(data, tmp_path):
    """A small checkpoint in the library's own format, trained at stage 1: the tower stays, register and head learn."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from sonosteer.learning.nets.presets import Tower

    tower = Tower(32, 4, 2, 48, patch=14, window_px=56, full_blocks=(1, 3), out=32, stem="linear")
    text = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "pad_token_id": 0}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
    config = Qwen2_5_VLConfig(
        vision_config=tower.library_config().to_dict(),
        text_config={**text, **heads, **rope},
        **{"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 3, "vision_end_token_id": 4},
    )
    torch.manual_seed(0)
    whole = Qwen2_5_VLForConditionalGeneration(config)
    whole.save_pretrained(tmp_path / "qwen")
    model = {"checkpoint": str(tmp_path / "qwen"), "register": 8, "shallow_block": 1, "c": 32, "heads": 2}
    sizes = {"search_px": 112, "template_px": 56, "scale_mm": 0.4}
    out = tmp_path / "out"
    asked = TrainOptions((data,), "qwen3b", "paper", device="cpu", settings={"model": {**model, **sizes}})
    report = train_tracking(out=out, seed=0, quick=True, progress=nothing, options=asked)
    assert report["trained_parameters"] < 200_000
    net = checkpoint.from_pretrained(out)
    theirs = whole.model.visual.state_dict()
    own = net.encoder.visual.state_dict()
    assert all(torch.equal(own[k], theirs[k].float()) for k in theirs)
