"""Robot to tracker: A_i X = Y B_i for all i, both unknowns at once.

The rotations are found first, since they are linear in the entries of both matrices (Kronecker products) [1]. All
twelve parameters are then refined together.

| symbol | name | unit |
| --- | --- | --- |
| A_i | T_base_hand, pose i of the robot's hand | -, mm |
| B_i | T_tracker_marker, pose i of the marker on the hand | -, mm |
| X | T_hand_marker | -, mm |
| Y | T_base_tracker | -, mm |

[1] A. Li, L. Wang and D. Wu, "Simultaneous robot-world and hand-eye calibration using dual-quaternions and Kronecker
product", Int. J. Phys. Sci. 5, 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.calibration.poses import moved_pose, nearest_rotation, pose, vector_of
from sonosteer.calibration.robust import Indices, Problem, RobustFit, State, robust_fit
from sonosteer.core.arrays import F64

_AXES = ("turn_x_rad", "turn_y_rad", "turn_z_rad", "x_mm", "y_mm", "z_mm")
#: parameters of the fit, in this order
HAND_EYE_PARAMETERS = (*(f"hand_marker_{a}" for a in _AXES), *(f"base_tracker_{a}" for a in _AXES))
MIN_HAND_EYE_POSES = 8  # chosen: three are enough without noise, and eight say something of it


@dataclass(frozen=True, slots=True, eq=False)
class HandEyeFit:
    """Where a marker is on a robot's hand, and where the tracker is beside its base."""

    T_hand_marker: F64
    """(4, 4) X: marker to hand, mm."""
    T_base_tracker: F64
    """(4, 4) Y: tracker to base, mm."""
    fit: RobustFit
    """The fit behind it. Its residuals are three rotations in rad and three translations in mm."""


def start_hand_eye(A: F64, B: F64) -> tuple[F64, F64] | None:
    """X and Y from a few pairs of poses, (n, 4, 4) each, without a beginning. None if the rotations do not tell."""
    n = len(A)
    Ra, Rb = A[:, :3, :3], B[:, :3, :3]
    eye = np.eye(3)
    left = np.einsum("nij,kl->nikjl", Ra, eye).reshape(9 * n, 9)  # R_A (x) I, row by row
    right = np.einsum("ij,nkl->nilkj", eye, Rb).transpose(0, 1, 2, 4, 3).reshape(9 * n, 9)  # I (x) R_B^T
    _, _, Vt = np.linalg.svd(np.hstack([left, -right]), full_matrices=False)
    X, Y = Vt[-1][:9].reshape(3, 3), Vt[-1][9:].reshape(3, 3)
    if abs(np.linalg.det(X)) < 1e-9 or abs(np.linalg.det(Y)) < 1e-9:
        return None
    sign = np.sign(np.linalg.det(X))
    Rx, Ry = nearest_rotation(sign * X), nearest_rotation(sign * Y)
    L = np.concatenate([Ra, -np.broadcast_to(eye, Ra.shape)], axis=2).reshape(3 * n, 6)
    r = (np.einsum("ij,nj->ni", Ry, B[:, :3, 3]) - A[:, :3, 3]).reshape(-1)
    t = np.linalg.lstsq(L, r, rcond=None)[0]
    return pose(Rx, t[:3]), pose(Ry, t[3:])


def hand_eye_problem(T_base_hand: F64, T_tracker_marker: F64) -> Problem:
    """The problem of pairs of poses, (n, 4, 4) each. Its state is (X, Y)."""
    A, B = T_base_hand, T_tracker_marker

    def residuals(state: State, at: Indices) -> F64:
        X, Y = state
        left, right = A[at] @ X, Y @ B[at]
        turn = vector_of(np.einsum("nji,njk->nik", right[:, :3, :3], left[:, :3, :3]))
        return np.hstack([turn, left[:, :3, 3] - right[:, :3, 3]])

    return Problem(
        count=len(A),
        parameters=HAND_EYE_PARAMETERS,
        kinds=(0, 0, 0, 1, 1, 1),
        residuals=residuals,
        moved=lambda state, change: (moved_pose(state[0], change[:6]), moved_pose(state[1], change[6:])),
        start=lambda at: start_hand_eye(A[at], B[at]),
        sample=4,
    )


def fit_hand_eye(T_base_hand: F64, T_tracker_marker: F64, *, seed: int = 0) -> HandEyeFit:
    """Find both unknowns from pairs of poses, (n, 4, 4) each."""
    fit = robust_fit(hand_eye_problem(T_base_hand, T_tracker_marker), seed=seed)
    return HandEyeFit(T_hand_marker=fit.state[0], T_base_tracker=fit.state[1], fit=fit)
