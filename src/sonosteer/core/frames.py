"""Transforms between frames of reference that know their names, so that they cancel like fractions.

    T_world_tip = T_world_probe @ T_probe_image @ T_image_tip

A product whose inner names differ is refused. A matrix that moves no rigid body is refused with what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Matrix

#: chosen: matrices printed with four digits, as PLUS may write them, are this far from orthonormal
RIGID_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """T_to_of: takes coordinates of a point in the frame `of` to those in the frame `to`, both in mm.

    Raises InputError unless the matrix is rigid: 4 x 4, finite, right-handed, unscaled.
    """

    to: str
    """Name of the frame that coordinates are wanted in."""
    of: str
    """Name of the frame that coordinates are known in."""
    matrix: Matrix
    """(4, 4) homogeneous matrix, no unit in its rotation, mm in its last column."""

    def __post_init__(self) -> None:
        name = f"T_{self.to}_{self.of}"
        object.__setattr__(self, "matrix", check_rigid(np.array(self.matrix, float), name))
        lock_fields(self)

    def __setstate__(self, values: list[object]) -> None:
        load_locked(self, values)

    def __matmul__(self, other: Transform) -> Transform:
        if self.of != other.to:
            raise InputError(
                f"T_{self.to}_{self.of} @ T_{other.to}_{other.of}: {self.of} and {other.to} do not cancel; "
                "turn one round with inverse()"
            )
        return Transform(self.to, other.of, self.matrix @ other.matrix)

    def inverse(self) -> Transform:
        """The same rigid motion told the other way round: T_of_to."""
        return Transform(self.of, self.to, inverse_rigid(self.matrix))

    def apply(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) points in the frame `of`, mm -> (n, 3) the same points in the frame `to`, mm."""
        return np.asarray(points_mm, float) @ self.matrix[:3, :3].T + self.matrix[:3, 3]


def inverse_rigid(T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of rigid matrices, (..., 4, 4)."""
    out = np.zeros_like(T)
    R = np.swapaxes(T[..., :3, :3], -1, -2)
    out[..., :3, :3] = R
    out[..., :3, 3] = -np.einsum("...ij,...j->...i", R, T[..., :3, 3])
    out[..., 3, 3] = 1.0
    return out


def check_rigid(T: NDArray[np.float64], name: str) -> Matrix:
    """Return a copy of `T`, its rotation made exactly orthonormal.

    name: what to call it. Raises InputError with what is wrong: its shape, a value that is no number, the last row, a
    scale, a mirror image, or axes that are not perpendicular.
    """
    if T.shape != (4, 4):
        raise InputError(f"{name} has the shape {T.shape}: give a 4 x 4 matrix")
    if not np.isfinite(T).all():
        raise InputError(f"{name} holds a value that is no finite number")
    if np.abs(T[3] - (0.0, 0.0, 0.0, 1.0)).max() > RIGID_TOLERANCE:
        if np.abs(T[:3, 3]).max() <= RIGID_TOLERANCE:
            raise InputError(f"{name} has its translation in the last row: give the transposed matrix")
        raise InputError(f"{name} has the last row {T[3].tolist()}: it must be 0 0 0 1")
    R = T[:3, :3]
    sizes = np.linalg.norm(R, axis=0)
    if np.abs(sizes - 1.0).max() > RIGID_TOLERANCE:
        said = ", ".join(f"{size:.4g}" for size in sizes)
        raise InputError(
            f"{name} has a scaled rotation: its columns have the lengths {said}, not 1. "
            "Give the rotation alone, the scale belongs to the image's spacing"
        )
    if np.linalg.det(R) < 0.0:
        raise InputError(f"{name} is left-handed (determinant {np.linalg.det(R):.3g}): one of its axes is mirrored")
    if np.abs(R.T @ R - np.eye(3)).max() > 2 * RIGID_TOLERANCE:
        raise InputError(f"{name} is no rotation: its axes are not perpendicular")
    U, _, Vt = np.linalg.svd(R)
    out = np.array(T, float)
    out[:3, :3] = U @ Vt
    out[3] = (0.0, 0.0, 0.0, 1.0)
    return out
