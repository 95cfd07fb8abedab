"""Calibration of the needle detector: what it says becomes the probability of being right."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.datasets.stills import STORED_POINTS, STORED_PX, Stills
from sonosteer.inference.needle_detector import FEATURES, LOOKS, Detection, features_of, read_calibration
from sonosteer.learning.training import detector_calibration
from sonosteer.learning.training.detector_calibration import (
    RIDGE,
    calibrate_detector,
    fit_logistic,
    probability,
    reliability_of,
)


def nothing(stage, done, total):
    pass


def test_the_regression_finds_the_weights_that_right_and_wrong_were_drawn_with():
    rng = np.random.default_rng(0)
    weights = np.array([1.2, -0.7, 0.0, 0.4])
    features = rng.normal(0, 1, (30_000, 3))
    p = 1 / (1 + np.exp(-(features @ weights[:3] + weights[3])))
    assert probability(features, weights) == pytest.approx(p)
    right = rng.random(30_000) < p
    found = fit_logistic(features, right)
    assert found == pytest.approx(weights, abs=0.06)
    # at the optimum stated and seen agree, in all and along each feature, but for the ridge
    off = probability(features, found) - right
    assert abs(off.mean() + 2 * RIDGE * found[3]) < 1e-4
    assert np.abs(features.T @ off / len(off) + 2 * RIDGE * found[:3]).max() < 1e-4


def test_two_features_that_say_the_same_share_the_weight():
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, 4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-2 * x))
    a, b, _ = fit_logistic(np.stack([x, x], axis=1), right)
    assert a == pytest.approx(b, abs=1e-3)
    assert a + b == pytest.approx(2.0, abs=0.3)


def test_reliability_is_counted_by_stated_probability():
    stated = np.array([0.05, 0.07, 0.55, 0.58, 0.51, 1.0])
    right = np.array([False, True, True, True, False, True])
    said = reliability_of(stated, right)
    assert said["number"] == 6
    assert said["brier"] == pytest.approx(((stated - right) ** 2).mean())
    assert said["bins"] == [
        [pytest.approx(0.06), 0.5, 2],
        [pytest.approx(np.mean([0.55, 0.58, 0.51])), pytest.approx(2 / 3), 3],
        [1.0, 1.0, 1],
    ]


def needle(tip, logit, **more):
    tail = tip[0] - 60.0, tip[1]
    fields = {"visible": 0.5, "shaft": 0.5, "ahead": 0.1, "lead": 1.0, **more}
    return Detection(tip_px=tip, angle_rad=0.0, width_px=5.0, tail_px=tail, tip_logit=logit, **fields)


class Knowing:
    """Finds the brightest pixel, mostly more surely than a place where there is nothing."""

    def __init__(self, folder):
        self.rng = np.random.default_rng(0)

    def _found(self, pixels):
        logit = self.rng.normal(0, 1, 2)
        found = [needle((30.0, 35.0), -1.0 + logit[0])]
        if pixels.any():
            y, x = np.unravel_index(pixels.argmax(), pixels.shape)
            found.append(needle((float(x), float(y)), 1.0 + logit[1]))
        return tuple(found)

    def look(self, now, earlier):
        return SimpleNamespace(needles=self._found(now))

    def look_near(self, now, earlier, tip_px, angle_rad):
        return SimpleNamespace(needles=self._found(now))


@pytest.fixture(scope="module")
def stills():
    """A bright pixel at the tip, far from (30, 35). Every fourth has no needle."""
    n = 240
    rng = np.random.default_rng(2)
    tip = rng.integers(120, 380, (n, 2)).astype(np.float32)
    pixels = np.zeros((n, 2, STORED_PX, STORED_PX), np.uint8)
    tip[::4] = np.nan
    for k in range(n):
        if k % 4:
            pixels[k, :, int(tip[k, 1]), int(tip[k, 0])] = 255
    return Stills(
        pixels=pixels,
        size=np.full((n, 2), STORED_PX, np.int16),
        tip=tip,
        visible=np.isfinite(tip).all(1),
        shaft=np.full((n, STORED_POINTS, 2), np.nan, np.float32),
        seen=np.zeros((n, STORED_POINTS), bool),
        width=np.full(n, np.nan, np.float32),
    )


def test_scores_of_a_calibrated_detector_are_how_often_it_is_right(stills, tmp_path, monkeypatch):
    monkeypatch.setattr(detector_calibration, "NeedleDetector", Knowing)
    told = []
    reliability = calibrate_detector(tmp_path, stills, 0, lambda *said: told.append(said))
    assert told[0] == ("calibrating", 1, 240)
    assert told[-1] == ("calibrating", 240, 240)
    calibration = read_calibration(tmp_path)
    # right ones have a logit of 1, wrong ones of -1, deviation 1: log odds 2 logit, and 3 right to 4 wrong ones
    for logit in (-1.0, 0.0, 1.5):
        wanted = 1 / (1 + math.exp(-(2 * logit + math.log(3 / 4))))
        features = features_of(needle((200.0, 200.0), logit), 400.0)
        assert calibration.score("whole", features) == pytest.approx(wanted, abs=0.1)
    held = [k for k in range(240) if k // 6 % 2]  # scanners that it was not fitted on
    assert reliability["whole"]["number"] == sum(2 if k % 4 else 1 for k in held)
    assert reliability["whole"]["brier"] < 0.15
    for look, said in reliability.items():
        assert set(said) == {"number", "brier", "bins"}
        assert sum(row[2] for row in said["bins"]) == said["number"], look
    kept = json.loads((tmp_path / "calibration.json").read_text())
    assert kept["reliability"] == reliability
    assert {look: set(kept[look]) for look in LOOKS} == {look: {*FEATURES, "bias"} for look in LOOKS}


@pytest.mark.parametrize(("beside_px", "taken"), [(40.0, 3.0), (70.0, 0.0)])
def test_of_a_look_near_a_tip_the_needle_counts_that_a_tracker_would_take(
    stills, tmp_path, monkeypatch, beside_px, taken
):
    """A surer one beside the expected place, unless it is too far from it."""
    told = []

    class Two(Knowing):
        def look_near(self, now, earlier, tip_px, angle_rad):
            return SimpleNamespace(needles=(needle(tip_px, 0.0), needle((tip_px[0] + beside_px, tip_px[1]), 3.0)))

        def look(self, now, earlier):
            told.append("look")
            return super().look(now, earlier)

    def noted(d, picture_px):
        told.append(d.tip_logit)
        return features_of(d, picture_px)

    monkeypatch.setattr(detector_calibration, "NeedleDetector", Two)
    monkeypatch.setattr(detector_calibration, "features_of", noted)
    calibrate_detector(tmp_path, stills, 0, nothing)
    with_needle = told[told.index("look", 1) :][:6]
    assert with_needle[:1] == ["look"]
    assert with_needle[3:5] == [taken, taken]  # after two of the whole: at the tip, elsewhere
    assert with_needle[5] == "look"


def test_the_same_seed_gives_the_same_calibration(stills, tmp_path, monkeypatch):
    monkeypatch.setattr(detector_calibration, "NeedleDetector", Knowing)
    said = []
    for k, seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(k)
        folder.mkdir()
        calibrate_detector(folder, stills, seed, nothing)
        said.append((folder / "calibration.json").read_text())
    assert said[0] == said[1] != said[2]


def test_a_detector_that_finds_nothing_cannot_be_calibrated(stills, tmp_path, monkeypatch):
    class Blind(Knowing):
        def _found(self, pixels):
            return ()

    monkeypatch.setattr(detector_calibration, "NeedleDetector", Blind)
    with pytest.raises(InputError, match=r"cannot be calibrated: a look \(whole\) finds hardly any needle in 240"):
        calibrate_detector(tmp_path, stills, 0, nothing)
    assert not (tmp_path / "calibration.json").exists()
