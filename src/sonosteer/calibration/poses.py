"""Small rotations and rigid motions, for many poses at once."""

from __future__ import annotations

import numpy as np

from sonosteer.core.arrays import F64


def rotation_of(vector_rad: F64) -> F64:
    """(..., 3) rotation vectors, rad -> (..., 3, 3) rotations (Rodrigues)."""
    from scipy.spatial.transform import Rotation

    v = np.asarray(vector_rad, float)
    return np.asarray(Rotation.from_rotvec(v.reshape(-1, 3)).as_matrix()).reshape(*v.shape[:-1], 3, 3)


def vector_of(R: F64) -> F64:
    """(..., 3, 3) rotations -> (..., 3) rotation vectors, rad, of a length up to pi."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(R.reshape(-1, 3, 3)).as_rotvec()).reshape(*R.shape[:-2], 3)


def pose(R: F64, t_mm: F64) -> F64:
    """(..., 4, 4) matrices of rotations (..., 3, 3) and translations (..., 3), mm."""
    T = np.zeros((*R.shape[:-2], 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t_mm, 1.0
    return T


def moved_pose(T: F64, change: F64) -> F64:
    """A pose (4, 4) after a small change (6,): rotated by the first three, rad, then shifted by the others, mm.

    The rotation turns it about its own origin, along the axes of the frame that it leads to.
    """
    out = T.copy()
    out[:3, :3] = rotation_of(change[:3]) @ T[:3, :3]
    out[:3, 3] += change[3:6]
    return out


def nearest_rotation(M: F64) -> F64:
    """The rotation (3, 3) nearest to a matrix (3, 3)."""
    U, _, Vt = np.linalg.svd(M)
    return np.asarray(U @ np.diag([1.0, 1.0, 1.0 if np.linalg.det(U @ Vt) > 0.0 else -1.0]) @ Vt, np.float64)


def mean_pose(T: F64) -> F64:
    """The mean of poses (n, 4, 4) that lie close to each other."""
    return pose(nearest_rotation(T[:, :3, :3].mean(axis=0)), T[:, :3, 3].mean(axis=0))


def applied(T: F64, points_mm: F64) -> F64:
    """(n, 4, 4) poses or one (4, 4), and (n, 3) points, mm -> (n, 3) points, mm."""
    return np.asarray(np.einsum("...ij,...j->...i", T[..., :3, :3], points_mm) + T[..., :3, 3])


def turn_deg(R: F64) -> float:
    """Largest angle between any of some rotations (n, 3, 3) and their mean, degrees."""
    mean = nearest_rotation(R.mean(axis=0))
    return float(np.degrees(np.linalg.norm(vector_of(np.einsum("ji,njk->nik", mean, R)), axis=1).max()))


def axes_condition(R: F64) -> float:
    """How much more rotations (n, 3, 3) turn about their main axis than about another one: a ratio of 1 and more."""
    mean = nearest_rotation(R.mean(axis=0))
    sizes = np.linalg.svd(vector_of(np.einsum("ji,njk->nik", mean, R)), compute_uv=False)
    return float(sizes[0] / max(float(sizes[1]), 1e-12)) if sizes[0] > 1e-9 else 1e12
