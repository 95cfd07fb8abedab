"""The tip of a tool from its poses while it pivots about a fixed point.

R_i t + p_i = q holds for every pose. It is linear in both unknowns [1].

| symbol | name | unit |
| --- | --- | --- |
| R_i, p_i | pose i of the tool's marker in the world | -, mm |
| t | the tip in the marker's frame | mm |
| q | the pivot point in the world | mm |

[1] Z. Yaniv, "Which pivot calibration?", Proc. SPIE 9415, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.calibration.robust import Indices, Problem, RobustFit, State, robust_fit
from sonosteer.core.arrays import F64

#: parameters of the fit, in this order
PIVOT_PARAMETERS = ("tip_x_mm", "tip_y_mm", "tip_z_mm", "pivot_x_mm", "pivot_y_mm", "pivot_z_mm")
MIN_PIVOT_POSES = 8  # chosen: three are enough without noise, and eight say something of it


@dataclass(frozen=True, slots=True, eq=False)
class PivotFit:
    """Where the tip of a tool is."""

    tip_mm: F64
    """(3,) the tip in the frame of the tool's marker, mm."""
    pivot_mm: F64
    """(3,) the point that it turned about, in the world, mm."""
    fit: RobustFit
    """The fit behind it."""


def pivot_problem(T_world_tool: F64) -> Problem:
    """The problem of poses (n, 4, 4). Its state is (6,): tip and pivot point, mm."""
    R, p = T_world_tool[:, :3, :3], T_world_tool[:, :3, 3]

    def residuals(state: State, at: Indices) -> F64:
        return np.asarray(np.einsum("nij,j->ni", R[at], state[:3]) + p[at] - state[3:])

    def start(at: Indices) -> State | None:
        A = np.concatenate([R[at], -np.broadcast_to(np.eye(3), (len(at), 3, 3))], axis=2).reshape(-1, 6)
        return np.linalg.lstsq(A, -p[at].reshape(-1), rcond=None)[0]

    return Problem(
        count=len(R),
        parameters=PIVOT_PARAMETERS,
        kinds=(0, 0, 0),
        residuals=residuals,
        moved=lambda state, change: state + change,
        start=start,
        sample=4,
    )


def fit_pivot(T_world_tool: F64, *, seed: int = 0) -> PivotFit:
    """Find the tip from poses (n, 4, 4) of the tool's marker in the world."""
    fit = robust_fit(pivot_problem(T_world_tool), seed=seed)
    return PivotFit(tip_mm=fit.state[:3], pivot_mm=fit.state[3:], fit=fit)
