"""Calibrates a needle detector: turns what it says of a needle into the probability that the tip is right.

A logistic regression for each kind of look (`inference/needle_detector.py`), on validation stills. Right is a tip
within 2 % of the picture's longer side. Tips between 2 and 5 % count neither way. Reliability is measured on other
scanners than the regression was fitted on. What is kept is fitted on all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from sonosteer.core.arrays import F64, U8
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.datasets.stills import Stills
from sonosteer.inference.needle_detector import (
    CALIBRATION,
    FEATURES,
    LOOKS,
    RIGHT_WITHIN,
    WRONG_BEYOND,
    Detection,
    NeedleDetector,
    features_of,
)
from sonosteer.sim.wild import TISSUE_SEEDS

RIDGE = 2e-4  # chosen: keeps the weights finite where two features say the same
EXPECTED_SD = 0.025  # chosen: how far a followed tip lies from where it is expected, as a fraction of the longer side
RELIABILITY_BINS = 10  # of a reliability diagram


def calibrate_detector(folder: Path, stills: Stills, seed: int, progress: StageProgress) -> dict[str, Any]:
    """Write calibration.json into a detector's folder. Returns the reliability of each kind of look.

    For each look: number of needles, Brier score, and for each bin of stated probability the mean of it, the share that
    was right and the number. Raises InputError if a look finds too few needles to fit anything.
    """
    detector = NeedleDetector(str(folder))
    rows: dict[str, list[tuple[int, float, F64]]] = {look: [] for look in LOOKS}
    rng = np.random.default_rng([seed, 77])
    for i in range(len(stills)):
        for look, d in _looks(detector, stills, i, rng):
            longer = float(max(stills.size[i].tolist()))
            tip = stills.tip[i].tolist()
            error = math.dist(d.tip_px, tip) / longer if np.isfinite(tip).all() else math.inf
            rows[look].append((i, error, features_of(d, longer)))
        progress("calibrating", i + 1, len(stills))
    said: dict[str, Any] = {}
    reliability: dict[str, Any] = {}
    for look in LOOKS:
        who, errors = np.array([r[0] for r in rows[look]], int), np.array([r[1] for r in rows[look]])
        right, asked = errors < RIGHT_WITHIN, (errors < RIGHT_WITHIN) | (errors > WRONG_BEYOND)
        half = asked & (who // TISSUE_SEEDS % 2 == 0)
        held = asked & ~half
        if not (half.any() and held.any()):
            raise InputError(
                f"{folder} cannot be calibrated: a look ({look}) finds hardly any needle in {len(stills)} validation "
                "stills; train it longer, or with more stills"
            )
        features = np.stack([r[2] for r in rows[look]])
        weights = fit_logistic(features[half], right[half])
        reliability[look] = reliability_of(probability(features[held], weights), right[held])
        weights = fit_logistic(features[asked], right[asked])
        said[look] = {name: float(w) for name, w in zip((*FEATURES, "bias"), weights, strict=True)}
    (folder / CALIBRATION).write_text(json.dumps(said | {"reliability": reliability}, indent=1) + "\n")
    return reliability


def _looks(
    detector: NeedleDetector, stills: Stills, i: int, rng: np.random.Generator
) -> Iterator[tuple[str, Detection]]:
    """What each kind of look finds in a still: all needles of the whole, one of looks near a tip."""
    width, height = stills.size[i].tolist()
    now, earlier = (np.ascontiguousarray(p) for p in stills.pixels[i][:, :height, :width])
    yield from (("whole", d) for d in detector.look(now, earlier).needles)
    tip, longer = stills.tip[i].astype(np.float64), float(max(width, height))
    if np.isfinite(tip).all():
        along = (stills.shaft[i][0] - stills.shaft[i][-1]).tolist()
        angle = math.atan2(along[1], along[0]) if np.isfinite(along).all() else 0.0
        yield from _near(detector, now, earlier, tip + EXPECTED_SD * longer * rng.standard_normal(2), angle)
    elsewhere = rng.uniform(0.1, 0.9, 2) * (width, height)
    yield from _near(detector, now, earlier, elsewhere, float(rng.uniform(0.0, math.pi)))


def _near(
    detector: NeedleDetector, now: U8, earlier: U8, expected: F64, angle: float
) -> Iterator[tuple[str, Detection]]:
    """The needle that a tracker would take of a look near an expected tip."""
    place = float(expected[0]), float(expected[1])
    reach = 2.4 * EXPECTED_SD * max(now.shape)
    fitting = [
        (d.tip_logit - 0.5 * (math.dist(d.tip_px, place) / reach) ** 2, d)
        for d in detector.look_near(now, earlier, place, angle).needles
    ]
    if fitting:
        yield "near", max(fitting, key=lambda one: one[0])[1]


def fit_logistic(features: F64, right: Any) -> F64:
    """Weights (F + 1,), the bias last, of a logistic regression of (N,) right or wrong on features (N, F)."""
    x, y = np.c_[features, np.ones(len(features))], right.astype(np.float64)

    def loss(w: F64) -> tuple[float, F64]:
        z = x @ w
        p = 1.0 / (1.0 + np.exp(-z))
        value = float((np.logaddexp(0.0, z) - y * z).mean() + RIDGE * (w**2).sum())
        return value, x.T @ (p - y) / len(y) + 2 * RIDGE * w

    out: F64 = minimize(loss, np.zeros(x.shape[1]), jac=True).x
    return out


def probability(features: F64, weights: F64) -> F64:
    """(N,) probability of right, of features (N, F) and weights (F + 1,)."""
    out: F64 = 1.0 / (1.0 + np.exp(-(features @ weights[:-1] + weights[-1])))
    return out


def reliability_of(stated: F64, right: Any) -> dict[str, Any]:
    """Stated probability (N,) against right or wrong (N,): number, Brier score, ten bins (stated, right, number)."""
    bins = np.minimum((stated * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    rows = [
        [float(stated[bins == k].mean()), float(right[bins == k].mean()), int((bins == k).sum())]
        for k in range(RELIABILITY_BINS)
        if (bins == k).any()
    ]
    return {"number": len(stated), "brier": float(((stated - right) ** 2).mean()), "bins": rows}
