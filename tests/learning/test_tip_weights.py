import json
import math
import tomllib

import numpy as np
import pytest

from sonosteer.learning.training.tip_weights import Samples, TipWeightsObjective, collect, insertions, train_tip_weights
from sonosteer.trackers.mathiassen2017 import TIP_WEIGHTS, KFFeedback

pytestmark = pytest.mark.slow


def test_the_objective_is_the_mean_distance_from_the_largest_h():
    rng = np.random.default_rng(0)
    frames = [rng.normal(0, 1, (5, n)).astype(np.float32) for n in (80, 60, 90)]
    tips = [30.0, 20.0, 44.5]
    objective = TipWeightsObjective.of([Samples(frames[:2], tips[:2], 0), Samples(frames[2:], tips[2:], 1)])
    w = np.array([0.2, 0.5, 0.1, 0.7, 0.3])
    unit = np.abs(w) / np.linalg.norm(w)
    expected = np.mean(
        [
            abs(int(np.argmax(unit @ (E / objective.deviation[:, None]))) - t) * 0.1
            for E, t in zip(frames, tips, strict=True)
        ]
    )
    assert objective(w) == pytest.approx(expected, abs=1e-6)
    assert objective(3 * w) == pytest.approx(expected, abs=1e-6)
    raw = objective.weights(w)
    assert [int(np.argmax(raw @ E)) for E in frames] == [
        int(np.argmax(unit @ (E / objective.deviation[:, None]))) for E in frames
    ]


def test_training_insertions_are_the_paper_s_on_the_training_split():
    scenes = insertions(0, 1)
    assert len(scenes) == 6
    assert {s.split for s in scenes} == {"train"}
    assert {(s.angle_deg, s.speed_mm_s) for s in scenes} == {(a, v) for a in (35.0, 45.0) for v in (5.0, 10.0, 15.0)}


def test_features_of_an_insertion_end_at_its_tip():
    samples = collect(insertions(0, 1)[4])
    assert len(samples.tips) > 10
    assert all(E.shape[0] == 5 and 0 < t < E.shape[1] for E, t in zip(samples.features, samples.tips, strict=True))


def test_a_quick_training_beats_equal_weights_and_can_be_used(tmp_path):
    report = train_tip_weights(out=tmp_path, seed=3, quick=True, executor="serial", progress=lambda *_: None)
    assert report["mean_error_mm"] < report["equal_weights_mm"]
    assert report["best_by_generation_mm"] == sorted(report["best_by_generation_mm"], reverse=True)
    weights = tomllib.loads((tmp_path / "tip-weights.toml").read_text())["weights"]
    assert math.hypot(*weights) == pytest.approx(1.0, abs=0.01)
    KFFeedback(weights=tuple(weights)).prepare()


def test_the_shipped_weights_are_the_trained_ones(request):
    path = request.config.rootpath / "docs" / "results" / "tip-weights.json"
    assert tuple(json.loads(path.read_text())["weights"]) == TIP_WEIGHTS
