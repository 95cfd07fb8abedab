"""Samples where the tip can be brought: the ends of very many plans within the rotation budget."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F64
from sonosteer.steering import moves
from sonosteer.steering.planner import MovePlanner

TURN_PROBABILITY = 0.8  # chosen: the other moves of a random plan are none


@njit(cache=True, nogil=True)
def _ends(x: F64, E: F64, A: F64, task: moves.PlanTask, out: F64) -> None:
    work = np.empty(moves.OUT)
    for j in range(E.shape[0]):
        moves.follow_plan(x, 0.0, 0.0, E[j], A[j], task, work)
        out[j, 0], out[j, 1], out[j, 2] = work[0] + task.target_mm[0], work[1] + task.target_mm[1], work[5]


def sample_reach(planner: MovePlanner, rng: np.random.Generator, plans: int = 20_000) -> tuple[F64, NDArray[np.bool_]]:
    """Return the ends of random plans from the entry, and which of the plans touch nothing.

    The ends are (plans, 2) y, z in mm at the target's depth. plans: number of plans within the budget. The curvature is
    the one that the planner assumes.
    """
    n = max(planner.points, 1)
    E = np.sort(rng.uniform(0.0, planner.depth_mm, (plans, n)), axis=1)
    A = rng.uniform(-math.pi, math.pi, (plans, n)) * (rng.random((plans, n)) < TURN_PROBABILITY) * (planner.points > 0)
    A *= np.minimum(1.0, planner.budget_rad / np.maximum(np.abs(A).sum(1), 1e-9))[:, None]
    out = np.empty((plans, 3))
    x, P = planner.model.prior(breathing=False)
    _ends(x, E, A, planner.task_at(x, P), out)
    return out[:, :2], out[:, 2] <= 0.0


def hull(points: F64) -> F64:
    """Return the (m, 2) corners of the convex hull of (n, 2) points, in order."""
    from scipy.spatial import ConvexHull

    out: F64 = points[ConvexHull(points).vertices]
    return out
