"""Weights of the five tip features, found by an evolutionary search on training insertions.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`), Eq. (24), Sections II-E and III-A. A
genetic algorithm minimises the sum of |p_i - p_hat_i| over the training frames whose axis is less than 3 mm off. Here
it is SciPy's differential evolution: real-coded, with mutation, crossover and selection, seeded.

| symbol | name here | unit |
| --- | --- | --- |
| w | `weights` of E_1..E_5, length 1 (only their ratios matter) | - |
| p_i, p_hat_i | place of the tip along the measured axis, and argmax of h there | mm |

Departs from the paper: the training set holds its 6 insertions (2 angles x 3 speeds) `repeats` times, of which every
second frame is used. Thinner needles in the training set were tried: E_1 and E_5 then lose their weight, and errors on
validation scenes and on a real clip grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.arrays import F32, F64
from sonosteer.core.config import save_json
from sonosteer.core.errors import InputError
from sonosteer.imaging.axis_search import AxisSearch
from sonosteer.imaging.tip_features import TipFeatures
from sonosteer.recording.summary import versions
from sonosteer.runtime.executor import run_trials
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.world import World
from sonosteer.trackers.working_image import SCALE_MM

FIRST_PX, LAST_PX, DELAY = 20, 10, 10
AXIS_MM = 3.0
TRAINING_ANGLES_DEG, TRAINING_SPEEDS_MM_S = (35.0, 45.0), (5.0, 10.0, 15.0)


@dataclass(frozen=True, slots=True)
class Samples:
    """What one insertion teaches."""

    features: list[F32]
    """E_1 to E_5 along the axis in each frame, (5, n), no unit."""
    tips: list[float]
    """Place of the tip along the axis in each frame, px."""
    left_out: int
    """Number of frames whose axis was too far off."""


def insertions(seed: int, repeats: int) -> list[Scene]:
    """Scenes of the training split: 2 angles x 3 speeds, `repeats` times."""
    return [
        make_scene(
            "in-plane-linear/train",
            1000 * seed + k,
            angle_deg=TRAINING_ANGLES_DEG[k % 2],
            speed_mm_s=TRAINING_SPEEDS_MM_S[k // 2 % 3],
        )
        for k in range(6 * repeats)
    ]


def collect(scene: Scene) -> Samples:
    """Run the axis search along one insertion and keep E_1..E_5 of every second frame."""
    search, features, rng = AxisSearch(), TipFeatures((1.0,) * 5), np.random.default_rng(scene.seed)
    clip = list(World(scene).frames())
    out = Samples([], [], 0)
    left_out = 0
    for i in range(0, len(clip), 2):
        frame, truth = clip[i]
        assert truth.tip_px is not None
        length = truth.depth_mm / SCALE_MM
        c, s = math.cos(truth.angle_rad), math.sin(truth.angle_rad)
        anchor = (truth.tip_px[0] - length * c, truth.tip_px[1] - length * s)
        planned = math.radians(5 * round(math.degrees(truth.angle_rad) / 5))
        around = (planned - math.radians(5), planned + math.radians(5))
        axis = search.search(frame.grey(), anchor, around, length + rng.normal(0, 8))
        c, s = math.cos(axis.angle_rad), math.sin(axis.angle_rad)
        foot = (axis.point_px[0] - axis.along_px * c, axis.point_px[1] - axis.along_px * s)
        x, y = truth.tip_px[0] - foot[0], truth.tip_px[1] - foot[1]
        if abs(-x * s + y * c) * SCALE_MM >= AXIS_MM:
            left_out += 1
            continue
        earlier = clip[i - DELAY][0].grey() if i >= DELAY else None
        E = features.each_along(frame.grey(), earlier, foot, axis.angle_rad, 600)
        out.features.append(E[:, FIRST_PX:-LAST_PX])
        out.tips.append(x * c + y * s - FIRST_PX)
    return replace(out, left_out=left_out)


@dataclass(frozen=True)
class TipWeightsObjective:
    """Eq. (24): mean |p_i - p_hat_i| in mm for weights on features of unit deviation."""

    features: F32
    """E_1 to E_5 of all frames, of unit deviation, (frames, 5, n), no unit."""
    tips: F64
    """Place of the tip along the axis, (frames,), px."""
    deviation: F64
    """Standard deviation of each feature before it was made 1, (5,), no unit."""

    @classmethod
    def of(cls, samples: list[Samples]) -> TipWeightsObjective:
        """Stack the frames. Beyond an axis' end h counts as impossible."""
        E = [f for s in samples for f in s.features]
        deviation = np.mean([e.std(1) for e in E], axis=0).astype(np.float64)
        longest = max(e.shape[1] for e in E)
        features = np.full((len(E), 5, longest), -1e4, np.float32)
        for i, e in enumerate(E):
            features[i, :, : e.shape[1]] = e / deviation[:, None]
        return cls(features, np.array([t for s in samples for t in s.tips]), deviation)

    def __call__(self, w: F64) -> float:
        """Mean error in mm. w: weights of any length but 0."""
        norm = float(np.linalg.norm(w))
        if not norm > 1e-6:
            return 1e3
        h = np.einsum("k,ikn->in", (np.abs(w) / norm).astype(np.float32), self.features)
        return float(np.abs(np.argmax(h, axis=1) - self.tips).mean() * SCALE_MM)

    def weights(self, w: F64) -> F64:
        """For features as they come, length 1."""
        raw = np.abs(w) / self.deviation
        out: F64 = raw / np.linalg.norm(raw)
        return out


def train_tip_weights(
    *, out: Path, seed: int, quick: bool, executor: str, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """`sonosteer train tip-weights`: writes tip-weights.json, and tip-weights.toml for `track --config`."""
    from scipy.optimize import differential_evolution

    repeats, generations = (1, 15) if quick else (4, 60)
    scenes = insertions(seed, repeats)
    samples: list[Samples] = [Samples([], [], 0)] * len(scenes)
    for done, (i, found) in enumerate(run_trials(collect, scenes, executor), start=1):
        samples[i] = found
        progress("insertions", done, len(scenes))
    if not any(s.tips for s in samples):
        raise InputError("no training frame has an axis within 3 mm: nothing can be learnt")
    objective = TipWeightsObjective.of(samples)
    history: list[float] = []

    def tell(intermediate_result: Any) -> None:
        history.append(round(float(intermediate_result.fun), 4))
        progress("generations", len(history), generations)

    result = differential_evolution(
        objective, [(0.0, 1.0)] * 5, maxiter=generations, popsize=8, tol=0.0, rng=seed, polish=False, callback=tell
    )
    weights = [round(float(v), 3) for v in objective.weights(result.x)]
    report = {
        "weights": weights,
        "mean_error_mm": round(float(result.fun), 3),
        "equal_weights_mm": round(objective(np.ones(5)), 3),
        "frames": len(objective.tips),
        "left_out": sum(s.left_out for s in samples),
        "insertions": len(scenes),
        "generations": len(history),
        "evaluations": int(result.nfev),
        "best_by_generation_mm": history,
        "seed": seed,
        "quick": quick,
        "versions": versions(),
    }
    save_json(report, out / "tip-weights.json")
    (out / "tip-weights.toml").write_text(f"# sonosteer track CLIP --method kfv+f --config this\nweights = {weights}\n")
    return report
