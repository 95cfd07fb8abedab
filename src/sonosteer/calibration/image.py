"""Image to probe: scales, rotation and position, from points seen in pictures or from the wires of a phantom.

A pixel (u, v) lies at p = R (s_x u, s_y v, 0) + t in the probe's frame.

With points: the tip of a tracked stylus or needle is seen at (u, v) while it lies at w in the world, and
T_world_probe^-1 w = p. With wires: the wire a + l d of a phantom meets the picture's plane at (u, v). Each mark then
gives two equations, one for each direction of the plane. Straight wires in any arrangement do, N-wires [1] among them.
Where nobody says where the phantom stands, that is solved, too.

| symbol | name | unit |
| --- | --- | --- |
| s_x, s_y | millimetres per pixel | mm/px |
| R, t | T_probe_image | -, mm |
| w | a point in the world | mm |
| a, d | a point of a wire and its direction, in the phantom | mm, - |

[1] R. M. Comeau, A. Fenster, T. M. Peters, "Integrated MR and ultrasound imaging for improved image guidance in
neurosurgery", Proc. SPIE 3338, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonosteer.calibration.hand_eye import start_hand_eye
from sonosteer.calibration.poses import (
    applied,
    mean_pose,
    moved_pose,
    nearest_rotation,
    pose,
    rotation_of,
    turn_deg,
    vector_of,
)
from sonosteer.calibration.robust import Indices, Problem, RobustFit, State, robust_fit
from sonosteer.core.arrays import F64
from sonosteer.core.frames import inverse_rigid
from sonosteer.core.geometry import Spacing

#: parameters of the fit, in this order. The scales change by a ratio
IMAGE_PARAMETERS = (
    *("scale_x_ratio", "scale_y_ratio"),
    *("turn_x_rad", "turn_y_rad", "turn_z_rad", "x_mm", "y_mm", "z_mm"),
)
PHANTOM_PARAMETERS = tuple(f"phantom_{name}" for name in IMAGE_PARAMETERS[2:])
MIN_IMAGE_POINTS = 8  # chosen: four are enough without noise, and eight say something of it
MIN_WIRE_FRAMES = 5  # chosen: as many pictures of wires say something of the noise of poses
MIN_TURN_DEG = 3.0  # chosen: below, the probe's own noise turns it as much, and hand-eye equations say nothing


@dataclass(frozen=True, slots=True)
class ImageState:
    """Scale and place of the picture, and of the phantom where there is one."""

    spacing_mm: F64
    """(2,) along x and y, mm per pixel."""
    T_probe_image: F64
    """(4, 4) image mm to probe mm."""
    T_world_phantom: F64 | None = None
    """(4, 4) phantom to world, mm. None without a phantom."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFit:
    """Where the picture is in the probe's frame."""

    state: ImageState
    """What was found."""
    fit: RobustFit
    """The fit behind it. Residuals are mm along the image's x, y and, with points, its normal."""

    @property
    def spacing(self) -> Spacing:
        """Millimetres per pixel."""
        return Spacing(float(self.state.spacing_mm[0]), float(self.state.spacing_mm[1]))


def image_points_mm(state: ImageState, px: F64) -> F64:
    """(n, 2) pixels -> (n, 3) image mm."""
    return np.column_stack([px * state.spacing_mm, np.zeros(len(px))])


def image_jacobian(state: ImageState, px: F64) -> F64:
    """(3, 8) derivatives of the place of a pixel (2,) by `IMAGE_PARAMETERS`, mm along the image's x, y and normal."""
    R = state.T_probe_image[:3, :3]
    x, y = px * state.spacing_mm
    arm = R @ np.array([x, y, 0.0])
    cross = np.array([[0, arm[2], -arm[1]], [-arm[2], 0, arm[0]], [arm[1], -arm[0], 0]])  # omega x arm
    return np.column_stack([[x, 0.0, 0.0], [0.0, y, 0.0], R.T @ cross, R.T])


def _moved(state: ImageState, change: F64) -> ImageState:
    phantom = state.T_world_phantom
    return ImageState(
        state.spacing_mm * np.exp(change[:2]),
        moved_pose(state.T_probe_image, change[2:8]),
        moved_pose(phantom, change[8:14]) if len(change) > 8 and phantom is not None else phantom,
    )


def _of_affine(M: F64) -> ImageState | None:
    """The state nearest to an affine map (3, 3): columns along u and v, and the place of pixel (0, 0)."""
    spacing = np.linalg.norm(M[:, :2], axis=0)
    if not (np.isfinite(M).all() and (spacing > 1e-9).all()):
        return None
    u, v = M[:, 0] / spacing[0], M[:, 1] / spacing[1]
    normal = np.cross(u, v)
    if np.linalg.norm(normal) < 1e-6:
        return None
    R = nearest_rotation(np.column_stack([u, v, normal / np.linalg.norm(normal)]))
    return ImageState(np.asarray(spacing, np.float64), pose(R, M[:, 2]))


def points_problem(px: F64, T_world_probe: F64, world_mm: F64) -> Problem:
    """The problem of points: seen at px (n, 2) while the probe stood at (n, 4, 4), known in the world (n, 3), mm."""
    probe_mm = applied(inverse_rigid(T_world_probe), world_mm)

    def residuals(state: State, at: Indices) -> F64:
        R, t = state.T_probe_image[:3, :3], state.T_probe_image[:3, 3]
        return np.asarray((probe_mm[at] - t) @ R - image_points_mm(state, px[at]))

    def start(at: Indices) -> State | None:
        A = np.column_stack([px[at], np.ones(len(at))])
        if np.linalg.matrix_rank(A - A.mean(axis=0)) < 2:
            return None
        return _of_affine(np.asarray(np.linalg.lstsq(A, probe_mm[at], rcond=None)[0].T, np.float64))

    return Problem(
        count=len(px),
        parameters=IMAGE_PARAMETERS,
        kinds=(0, 0, 1),  # in the picture's plane, and across it, where the slice is thick
        residuals=residuals,
        moved=_moved,
        start=start,
        sample=5,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Wires:
    """The straight wires of a phantom, in its own frame."""

    names: tuple[str, ...]
    """What each is called."""
    a_mm: F64
    """(n, 3) a point of each, mm."""
    b_mm: F64
    """(n, 3) another point of each, mm."""


def _affine_of_wires(px: F64, a: F64, d: F64) -> ImageState | None:
    """Image to phantom from one picture: every mark lies on its wire, which is linear in the affine map."""
    n = len(px)
    q = np.column_stack([px, np.ones(n)])
    cross = np.zeros((n, 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -d[:, 2], d[:, 1], -d[:, 0]
    cross -= np.swapaxes(cross, 1, 2)
    A = np.einsum("nij,nk->nijk", cross, q).reshape(3 * n, 9)
    size = np.tile([np.abs(px).max() + 1.0, np.abs(px).max() + 1.0, 1.0], 3)
    b = np.einsum("nij,nj->ni", cross, a).reshape(-1)
    x, _, rank, _ = np.linalg.lstsq(A / size, b, rcond=1e-9)
    return None if rank < 9 else _of_affine((x / size).reshape(3, 3))


def wires_problem(
    px: F64,
    wire: Indices,
    frame: Indices,
    T_world_probe: F64,
    wires: Wires,
    T_world_phantom: F64 | None = None,
) -> Problem:
    """The problem of wires: marks at px (n, 2), each of a wire (n,) in a picture (n,).

    T_world_probe: (pictures, 4, 4). T_world_phantom: (4, 4) if it is known. Else it is solved, too.
    """
    a, d = wires.a_mm[wire], wires.b_mm[wire] - wires.a_mm[wire]
    d = d / np.linalg.norm(d, axis=1, keepdims=True)
    T_probe_world = inverse_rigid(T_world_probe)
    known = T_world_phantom

    def residuals(state: State, at: Indices) -> F64:
        T = inverse_rigid(state.T_probe_image) @ T_probe_world[frame[at]] @ state.T_world_phantom
        p = applied(T, a[at])
        e = np.einsum("nij,nj->ni", T[:, :3, :3], d[at])
        along = np.where(np.abs(e[:, 2]) < 1e-6, 1e-6, e[:, 2])  # a wire in the picture's plane meets it nowhere
        return np.asarray(p[:, :2] - p[:, 2:] / along[:, None] * e[:, :2] - px[at] * state.spacing_mm)

    def start(at: Indices) -> State | None:
        found = []
        for f in np.unique(frame[at]):
            own = at[frame[at] == f]
            state = _affine_of_wires(px[own], a[own], d[own]) if len(own) >= 5 else None
            if state is not None:
                found.append((f, state))
        if not found:
            return None
        A = T_world_probe[[f for f, _ in found]]
        B = np.stack([state.T_probe_image for _, state in found])  # image to phantom, picture by picture
        spacing = np.median([state.spacing_mm for _, state in found], axis=0)
        if known is not None:
            return ImageState(spacing, mean_pose(inverse_rigid(A) @ known @ B), known)
        if len(found) < 3 or turn_deg(A[:, :3, :3]) < MIN_TURN_DEG:
            return _along_one_line(A, B, spacing)
        solved = start_hand_eye(A, B)
        return None if solved is None else ImageState(spacing, solved[0], solved[1])

    return Problem(
        count=len(px),
        parameters=IMAGE_PARAMETERS if known is not None else IMAGE_PARAMETERS + PHANTOM_PARAMETERS,
        kinds=(0, 0),
        residuals=residuals,
        moved=_moved,
        start=start,
        sample=4 if known is None else 2,
        groups=frame,
    )


def _along_one_line(A: F64, B: F64, spacing: F64) -> ImageState:
    """One of many states that explain a probe that only moves along a line: phantom and picture may turn alike."""
    m, c = A[:, :3, 3] - A[:, :3, 3].mean(axis=0), B[:, :3, 3] - B[:, :3, 3].mean(axis=0)
    to, of = np.linalg.svd(m)[2][0], np.linalg.svd(c)[2][0]
    of = of if np.sum((m @ to) * (c @ of)) >= 0.0 else -of
    axis = np.cross(of, to)
    angle = np.arctan2(np.linalg.norm(axis), of @ to)
    R = rotation_of(axis / max(float(np.linalg.norm(axis)), 1e-12) * angle)
    W = pose(R, A[:, :3, 3].mean(axis=0) - R @ B[:, :3, 3].mean(axis=0))
    return ImageState(spacing, mean_pose(inverse_rigid(A) @ W @ B), W)


def fit_points(px: F64, T_world_probe: F64, world_mm: F64, *, seed: int = 0) -> ImageFit:
    """Calibrate from points seen at px (n, 2), probe poses (n, 4, 4) and the points in the world (n, 3), mm."""
    fit = robust_fit(points_problem(px, T_world_probe, world_mm), seed=seed)
    return ImageFit(fit.state, fit)


def fit_wires(problem: Problem, *, seed: int = 0) -> ImageFit:
    """Calibrate from the marks of wires, `wires_problem`."""
    fit = robust_fit(problem, seed=seed)
    return ImageFit(fit.state, fit)


def worst_corner(fit: ImageFit, size_px: tuple[int, int]) -> tuple[F64, F64]:
    """The corner (2,) of the picture with the largest claimed error, px, and its covariance (3, 3), mm^2.

    The covariance is along the image's x, y and normal.
    """
    corners = [np.array([x, y], float) for x in (0, size_px[0] - 1) for y in (0, size_px[1] - 1)]
    covariances = [covariance_at(fit, corner) for corner in corners]
    worst = int(np.argmax([np.trace(P) for P in covariances]))
    return corners[worst], covariances[worst]


def covariance_at(fit: ImageFit, px: F64) -> F64:
    """(3, 3) claimed covariance of the place of a pixel (2,), along the image's x, y and normal, mm^2."""
    J = image_jacobian(fit.state, px)
    return J @ fit.fit.covariance[:8, :8] @ J.T


def frame_residuals(fit: ImageFit, frame: NDArray[np.intp]) -> F64:
    """Root mean square residual of the used marks of each picture, mm."""
    sizes = np.linalg.norm(fit.fit.residuals, axis=1)
    used = fit.fit.used
    return np.array(
        [np.sqrt(np.mean(sizes[used & (frame == f)] ** 2)) for f in np.unique(frame) if (used & (frame == f)).any()]
    )


def turn_between(A: F64, B: F64) -> float:
    """Angle between two rotations (3, 3), rad."""
    return float(np.linalg.norm(vector_of(A.T @ B)))
