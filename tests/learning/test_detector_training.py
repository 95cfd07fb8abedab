"""`sonosteer train detector`: from stills to a folder that finds needles; it goes on as if it had never stopped."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from sonosteer.commands.main import main
from sonosteer.core.errors import InputError
from sonosteer.datasets import make_stills
from sonosteer.datasets.detector_samples import PLAIN_LOOK, DetectorSampler
from sonosteer.datasets.make_stills import draw_stills
from sonosteer.datasets.stills import STORED_POINTS, STORED_PX, Stills, load_stills
from sonosteer.imaging.detector_planes import CELL_PX
from sonosteer.inference.needle_detector import UNCALIBRATED, NeedleDetector
from sonosteer.learning.checkpoints import detector as checkpoint
from sonosteer.learning.checkpoints.detector_card import write_detector_card
from sonosteer.learning.checkpoints.tracking import read_weights
from sonosteer.learning.nets.dense_detector import DetectorConfig
from sonosteer.learning.training import detector_stage
from sonosteer.learning.training.detector_stage import assess_detector, train_detector
from sonosteer.learning.training.options import TrainOptions

SIDE = 96
SETTINGS = {"schedule": {"save_every": 2, "look_every": 3, "average": 0.9}, "model": {"side_px": SIDE}}


def nothing(stage, done, total):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A shard of twelve stills of each split: two scanners."""
    where = tmp_path_factory.mktemp("stills")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_stills, "SHARD", 12)
        for split in ("train", "validation"):
            draw_stills(where, split, range(1), executor="serial")
    return where


def options(folder, **more):
    return TrainOptions(**{"data": (folder,), "device": "cpu", "settings": SETTINGS, **more})


# -- a look at the validation stills ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dots():
    """Twelve stills with a dot at the tip, and four without a needle. Two tips cannot be seen."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:STORED_PX, :STORED_PX]
    tip = rng.uniform(40, STORED_PX - 40, (16, 2)).astype(np.float32)
    pixels = np.zeros((16, 2, STORED_PX, STORED_PX), np.uint8)
    for k in range(12):
        pixels[k] = 250 * np.exp(-0.5 * ((xs - tip[k, 0]) ** 2 + (ys - tip[k, 1]) ** 2) / 6.0**2)
    tip[12:] = np.nan
    return Stills(
        pixels=pixels,
        size=np.full((16, 2), STORED_PX, np.int16),
        tip=tip,
        visible=np.arange(16) < 10,
        shaft=np.full((16, STORED_POINTS, 2), np.nan, np.float32),
        seen=np.zeros((16, STORED_POINTS), bool),
        width=np.full(16, np.nan, np.float32),
    )


class Brightest(torch.nn.Module):
    """Calls the brightest cell the tip, `off` cells beside it. sign: -1 is surer of dark pictures."""

    def __init__(self, off=0.0, sign=1.0):
        super().__init__()
        self.off, self.sign = off, sign

    def forward(self, planes):
        grey = torch.nn.functional.avg_pool2d(planes[:, :1], CELL_PX)
        rows, columns = grey.shape[2:]
        out = torch.zeros(len(planes), 8, rows, columns)
        out[:, 1] = self.sign * grey[:, 0] if self.sign > 0 else grey[:, 0] - 2 * grey.amax((1, 2, 3))[:, None, None]
        out[:, 2] = self.off
        return out


def test_what_a_look_counts(dots):
    sampler = DetectorSampler(dots, 160, 0, PLAIN_LOOK)
    said = assess_detector(Brightest(), sampler, 16, "cpu")
    assert said == {"right": 1.0, "near": 1.0, "told_apart": 1.0}
    cells = 160 / CELL_PX
    assert assess_detector(Brightest(off=0.035 * cells), sampler, 16, "cpu")["right"] == 0.0
    assert assess_detector(Brightest(off=0.035 * cells), sampler, 16, "cpu")["near"] == 1.0
    assert assess_detector(Brightest(off=0.08 * cells), sampler, 16, "cpu")["near"] == 0.0
    assert assess_detector(Brightest(sign=-1.0), sampler, 16, "cpu") == {"right": 1.0, "near": 1.0, "told_apart": 0.0}


def test_a_look_leaves_the_network_in_its_mode(dots):
    net = Brightest()
    for training in (True, False):
        net.train(training)
        assess_detector(net, DetectorSampler(dots, 160, 0, PLAIN_LOOK), 2, "cpu")
        assert net.training is training


def test_without_any_needle_nothing_is_right(dots):
    none = Stills(*(getattr(dots, f.name)[12:] for f in dataclasses.fields(dots)))
    said = assess_detector(Brightest(), DetectorSampler(none, 160, 0, PLAIN_LOOK), 4, "cpu")
    assert said == {"right": 0.0, "near": 0.0, "told_apart": 0.0}


# -- a training ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_detector_makes_a_folder_that_finds_needles(folder, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    words = ["train", "detector", "--quick", "--data", folder, "--device", "cpu", "--seed", 4, "--json"]
    words += ["--precision", "bf16"]  # it must not be exported with the network
    with pytest.raises(SystemExit) as end:
        main([*map(str, words), "--set", f"model.side_px={SIDE}", "--out", str(tmp_path / "out")])
    stdout, stderr = capsys.readouterr()
    assert end.value.code == 0, stderr
    said = json.loads(stdout)
    assert said["data"] == {"stills": 12, "validation_stills": 12, "labelled": 0}
    assert (said["steps"], said["seed"], said["quick"]) == (6, 4, True)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "detector.onnx", "graphs.json", "README.md", "curves.svg"} <= names
    assert {"calibration.json", "reliability.svg"} <= names
    card = (out / "README.md").read_text()
    assert f"sonosteer train detector --quick --seed 4 --precision bf16 --set model.side_px={SIDE}`" in card
    assert "not a medical device" in card
    assert "of no use" in card
    detector = NeedleDetector(str(out))
    assert detector.side_px == SIDE
    assert detector.calibration is not UNCALIBRATED
    stills = load_stills(folder, "train", range(1))
    width, height = stills.size[0]
    answer = detector.look(stills.pixels[0, 0, :height, :width])
    with torch.no_grad():
        net, about = checkpoint.load_detector(out)
        assert about["settings"] == [f"model.side_px={SIDE}"]
        batch = DetectorSampler(stills, SIDE, 0, PLAIN_LOOK).batch(0, 1)
        assert net(torch.from_numpy(batch.planes)).shape[2:] == (SIDE // CELL_PX, SIDE // CELL_PX)
    assert max(answer.shaft.shape) == SIDE // CELL_PX


@pytest.fixture
def without_graphs(monkeypatch):
    """Exporting takes longer than these trainings. Without a graph nothing is calibrated."""
    monkeypatch.setattr(checkpoint, "write_graphs", lambda net, folder, jobs: None)
    monkeypatch.setattr(detector_stage, "calibrate_detector", lambda folder, stills, seed, progress: {})


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_a_stopped_training_ends_with_the_weights_of_one_that_was_not(folder, tmp_path):
    def stop_at_four(stage, done, total):
        if stage == "samples" and done == 4 * 4:
            raise KeyboardInterrupt

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_detector(out=whole, seed=1, quick=True, progress=nothing, options=options(folder))
    with pytest.raises(KeyboardInterrupt):
        train_detector(out=stopped, seed=1, quick=True, progress=stop_at_four, options=options(folder))
    assert not (stopped / "model.safetensors").exists()
    torch.manual_seed(99)
    report = train_detector(out=stopped, seed=1, quick=True, progress=nothing, options=options(folder))
    assert report["steps"] == 6
    a, b = (read_weights(f / "model.safetensors") for f in (whole, stopped))
    assert all(torch.equal(a[n], b[n]) for n in a)
    log = [json.loads(line) for line in (stopped / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [3, 6]
    assert all(set(line) >= {"loss", "shaft", "tip", "right", "near", "told_apart"} for line in log)
    begun = tmp_path / "begun"
    said = train_detector(out=begun, seed=1, quick=True, progress=nothing, options=options(folder, start=whole))
    assert said["from"] == "whole"
    assert said["before"]["samples"] == 24
    c = read_weights(begun / "model.safetensors")
    assert not all(torch.equal(a[n], c[n]) for n in a)
    assert "| begun from | `whole`, 24 samples, 0 min |" in (begun / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_stills_that_are_missing_are_drawn_into_the_folder_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(make_stills, "SHARD", 2)
    asked = TrainOptions(device="cpu", settings=SETTINGS | {"stills": {"first": 3}}, executor="serial")
    stages = []
    train_detector(out=tmp_path, seed=0, quick=True, progress=lambda *said: stages.append(said[0]), options=asked)
    assert {p.name for p in (tmp_path / "stills").iterdir()} == {"train-0003.npz", "validation-0000.npz"}
    assert list(dict.fromkeys(stages)) == ["train stills", "validation stills", "samples"]


def test_what_is_wrong_with_a_training_is_one_line(tmp_path):
    def refused(match, *, quick=True, **more):
        with pytest.raises(InputError, match=match):
            train_detector(out=tmp_path / "o", seed=0, quick=quick, progress=nothing, options=options(tmp_path, **more))

    refused("there is no recipe 'fast'; there are: cpu, paper", quick=False, recipe="fast")
    refused("there is no detector of preset 'tiny'; there is one: edge", preset="tiny")
    refused("--data names more than one folder of stills", data=(tmp_path, tmp_path))
    refused("there is no setting 'stepps'", settings={"schedule": {"stepps": 3}})
    refused("there is no setting 'blurr'", settings={"augmentation": {"blurr": 1.0}})
    refused("must be a multiple of 32", settings={"model": {"side_px": 100}})
    refused("stills.begin_px is 100, but must be a multiple of 32", settings={"stills": {"begin_px": 100}})
    refused("must be 1 or more, and stills.first 0 or more", settings={"stills": {"first": -1}})
    refused("holds no detector", start=tmp_path)
    assert not (tmp_path / "o").exists()


def test_the_card_tells_how_to_train_it_again(tmp_path):
    about = {
        "data": {"stills": 18000, "validation_stills": 1080},
        "validation": {"right": 0.875, "near": 0.9, "told_apart": 0.99, "right_alone": 0.75},
        "samples": 96000, "steps": 6000, "seed": 2, "seconds": 7200.0, "machine": "a machine", "device": "cpu",
        "threads": 2, "recipe": "cpu", "settings": ["schedule.steps=6000"], "quick": False, "precision": "bf16",
    }  # fmt: skip
    write_detector_card(tmp_path, DetectorConfig(), about, 1_234_000)
    card = (tmp_path / "README.md").read_text()
    command = "sonosteer train detector --recipe cpu --seed 2 --precision bf16 --set schedule.steps=6000"
    assert f"| made by | `{command}` |" in card
    assert "16, 32, 64, 128, 256 channels, 1.23 M parameters" in card
    assert "within 2 % of the longer side at 87.5 % of the tips" in card
    assert "from a single picture within 2 % at 75.0 %" in card
    assert "begun from" not in card
    assert "of no use" not in card
    first = {"samples": 500, "seconds": 60.0}
    begun = {**about, "from": "second", "before": {"samples": 9000, "seconds": 1200.0, "before": first}}
    write_detector_card(tmp_path, DetectorConfig(), begun, 1_234_000)
    card = (tmp_path / "README.md").read_text()
    assert "| begun from | `second`, 9000 samples, 20 min; before that 500 samples, 1 min |" in card
    assert "--seed 2 --from DETECTOR --precision bf16 --set" in card
