"""Recordings for calibrations whose truth is known, with noise and with wrong observations.

They say how far the claimed errors are to be trusted: `claimed_and_true` calibrates one recording a seed. The noise is
that of an optical tracker and of a person who marks pictures. A fraction of the observations is plainly wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sonosteer.calibration.guide import fit_guide
from sonosteer.calibration.hand_eye import fit_hand_eye
from sonosteer.calibration.image import (
    ImageFit,
    ImageState,
    Wires,
    fit_points,
    fit_wires,
    image_jacobian,
    image_points_mm,
    wires_problem,
)
from sonosteer.calibration.lag import fit_lag
from sonosteer.calibration.pivot import fit_pivot
from sonosteer.calibration.poses import applied, pose, rotation_of
from sonosteer.core.arrays import F64
from sonosteer.core.frames import inverse_rigid

POSITION_MM = 0.15  # chosen: an optical tracker states 0.12 to 0.25 mm
TURN_RAD = 0.0015  # chosen: that position noise at markers 100 mm apart
MARK_PX = 3.0  # chosen: a person marks a tip as wide as 6 px
SLICE_MM = 0.5  # chosen: a tip is seen up to 1 mm beside the middle of the slice
WRONG = 0.1  # chosen: one observation in ten is plainly wrong
WRONG_MM = 10.0  # chosen: a slipped tip or another echo


def random_pose(rng: np.random.Generator, turn_rad: float, reach_mm: float) -> F64:
    """A pose (4, 4) turned by up to `turn_rad` about each axis, its origin up to `reach_mm` away along each."""
    return pose(rotation_of(rng.uniform(-turn_rad, turn_rad, 3)), rng.uniform(-reach_mm, reach_mm, 3))


def noisy(T: F64, rng: np.random.Generator, *, position_mm: float = POSITION_MM, turn_rad: float = TURN_RAD) -> F64:
    """Poses (n, 4, 4) as a tracker sees them."""
    n = len(T)
    return T @ pose(rotation_of(rng.normal(0, turn_rad, (n, 3))), rng.normal(0, position_mm, (n, 3)))


def wrong_ones(rng: np.random.Generator, n: int, fraction: float = WRONG) -> F64:
    """(n, 3) shifts in mm: zero but for a fraction of them."""
    out = np.zeros((n, 3))
    at = rng.choice(n, round(fraction * n), replace=False)
    out[at] = rng.normal(0, WRONG_MM, (len(at), 3))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class PivotRecording:
    """A tool that pivoted."""

    T_world_tool: F64
    """(n, 4, 4) poses as the tracker saw them, mm."""
    tip_mm: F64
    """(3,) the true tip, mm."""
    pivot_mm: F64
    """(3,) the true pivot point, mm."""


def pivot_recording(
    rng: np.random.Generator, n: int = 40, *, tilt_rad: float = 0.6, wrong: float = WRONG, bend_mm: float = 0.0
) -> PivotRecording:
    """bend_mm: how far the tool bends away from the way it is tilted, at a tilt of 1 rad."""
    tip, pivot = np.array([10.0, -4.0, 150.0]), np.array([30.0, 20.0, -900.0])
    v = rng.uniform(-tilt_rad, tilt_rad, (n, 3))
    R = rotation_of(v)
    bent = tip + bend_mm * np.column_stack([v[:, 1] * np.abs(v[:, 0]), v[:, 0] ** 2, np.zeros(n)])
    T = pose(R, pivot - np.einsum("nij,nj->ni", R, bent))
    T = noisy(T, rng)
    T[:, :3, 3] += wrong_ones(rng, n, wrong)
    return PivotRecording(T, tip, pivot)


@dataclass(frozen=True, slots=True, eq=False)
class PointRecording:
    """A stylus seen in pictures."""

    px: F64
    """(n, 2) where it was marked, px."""
    T_world_probe: F64
    """(n, 4, 4) poses of the probe, mm."""
    T_world_stylus: F64
    """(n, 4, 4) poses of the stylus, mm."""
    world_mm: F64
    """(n, 3) its tip in the world as the tracker says, mm."""
    tip_mm: F64
    """(3,) tip in the stylus' frame that this was computed with, mm."""
    truth: ImageState
    """The true scale and place."""


SIZE_PX = (640, 480)  # chosen: the usual video


def point_recording(
    rng: np.random.Generator,
    n: int = 30,
    *,
    wrong: float = WRONG,
    bent_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> PointRecording:
    """bent_mm: where the true tip is from the calibrated one, in the stylus' frame."""
    truth = ImageState(np.array([0.08, 0.11]), random_pose(rng, 1.5, 60.0))
    px = rng.uniform([30, 30], [SIZE_PX[0] - 30, SIZE_PX[1] - 30], (n, 2))
    T_world_probe = np.stack(
        [random_pose(rng, 0.6, 100.0) @ pose(np.eye(3), np.array([0, 0, -900.0])) for _ in range(n)]
    )
    seen = image_points_mm(truth, px)
    seen[:, 2] = rng.normal(0, SLICE_MM, n)
    at = applied(T_world_probe, applied(truth.T_probe_image, seen))
    tip = np.array([0.0, 0.0, 160.0])
    R = rotation_of(rng.uniform(-0.9, 0.9, (n, 3)))
    T_world_stylus = pose(R, at - R @ (tip + np.array(bent_mm)))
    T_world_stylus = noisy(T_world_stylus, rng)
    T_world_stylus[:, :3, 3] += wrong_ones(rng, n, wrong)
    return PointRecording(
        px=px + rng.normal(0, MARK_PX, (n, 2)),
        T_world_probe=noisy(T_world_probe, rng),
        T_world_stylus=T_world_stylus,
        world_mm=applied(T_world_stylus, np.broadcast_to(tip, (n, 3))),
        tip_mm=tip,
        truth=truth,
    )


def n_wires(rows: int = 3, pitch_mm: float = 20.0, width_mm: float = 40.0, length_mm: float = 80.0) -> Wires:
    """A phantom of rows of wires, each an N: two parallel to y and one from one to the other."""
    names, a, b = [], [], []
    for row in range(rows):
        z = -row * pitch_mm
        across = (0.0, width_mm) if row % 2 == 0 else (width_mm, 0.0)
        for name, x1, x2 in (("left", -5.0, -5.0), ("middle", *across), ("right", width_mm + 5.0, width_mm + 5.0)):
            names.append(f"{row + 1}-{name}")
            a.append((x1, 0.0, z))
            b.append((x2, length_mm, z))
    return Wires(tuple(names), np.array(a), np.array(b))


@dataclass(frozen=True, slots=True, eq=False)
class WireRecording:
    """A phantom of wires seen by a tracked probe."""

    wires: Wires
    """The phantom."""
    px: F64
    """(n, 2) marks, px."""
    wire: tuple[str, ...]
    """Wire of each mark."""
    frame: tuple[int, ...]
    """Picture of each mark, its index."""
    T_world_probe: F64
    """(pictures, 4, 4) poses of the probe, mm."""
    T_world_phantom: F64
    """(4, 4) the true place of the phantom, mm."""
    truth: ImageState
    """The true scale and place."""


def wire_recording(
    rng: np.random.Generator, pictures: int = 20, *, tilt_rad: float = 0.25, wrong: float = 0.05
) -> WireRecording:
    """tilt_rad: largest turn of the probe about each axis. 0: it only moves along the phantom."""
    wires = n_wires()
    T_world_phantom = random_pose(rng, 1.0, 200.0)
    spacing, T_probe_image = np.array([0.1, 0.1]), random_pose(rng, 1.0, 40.0)
    upright = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    px, poses = [], []
    for _ in range(pictures):
        T = pose(rotation_of(rng.uniform(-tilt_rad, tilt_rad, 3)), np.zeros(3))
        T = T @ pose(upright, np.array([-15.0, rng.uniform(20, 60), 5.0]))
        a, b = (applied(inverse_rigid(T), ends) for ends in (wires.a_mm, wires.b_mm))
        at = a + (a[:, 2] / (a[:, 2] - b[:, 2]))[:, None] * (b - a)
        px.append(at[:, :2] / spacing)
        poses.append(T_world_phantom @ T @ inverse_rigid(T_probe_image))
    marks = np.concatenate(px)
    marks += rng.normal(0, 1.5, marks.shape)  # chosen: a wire's echo is a dot, which is marked better than a tip
    bad = rng.choice(len(marks), round(wrong * len(marks)), replace=False)
    marks[bad] += rng.normal(0, 40.0, (len(bad), 2))
    return WireRecording(
        wires=wires,
        px=marks,
        wire=wires.names * pictures,
        frame=tuple(np.repeat(np.arange(pictures), len(wires.names)).tolist()),
        T_world_probe=noisy(np.stack(poses), rng, position_mm=0.15, turn_rad=0.001),
        T_world_phantom=T_world_phantom,
        truth=ImageState(spacing, T_probe_image, T_world_phantom),
    )


def fit_wire_recording(r: WireRecording, *, known: bool, seed: int = 0) -> ImageFit:
    """Calibrate from such a recording, its phantom's place known or not."""
    wire = np.array([r.wires.names.index(name) for name in r.wire])
    place = r.T_world_phantom if known else None
    return fit_wires(wires_problem(r.px, wire, np.array(r.frame), r.T_world_probe, r.wires, place), seed=seed)


@dataclass(frozen=True, slots=True, eq=False)
class HandEyeRecording:
    """A robot's hand with a marker, seen by a tracker."""

    T_base_hand: F64
    """(n, 4, 4) as the robot says, mm."""
    T_tracker_marker: F64
    """(n, 4, 4) as the tracker says, mm."""
    T_hand_marker: F64
    """(4, 4) the truth, mm."""
    T_base_tracker: F64
    """(4, 4) the truth, mm."""


def hand_eye_recording(
    rng: np.random.Generator, n: int = 25, *, turn_rad: float = 0.8, wrong: float = WRONG
) -> HandEyeRecording:
    """turn_rad: largest turn of the hand about each axis."""
    X, Y = random_pose(rng, 1.0, 80.0), random_pose(rng, 1.8, 900.0)
    A = np.stack([random_pose(rng, turn_rad, 300.0) for _ in range(n)])
    B = noisy(inverse_rigid(Y) @ A @ X, rng, position_mm=0.2, turn_rad=0.001)
    B[:, :3, 3] += wrong_ones(rng, n, wrong)
    return HandEyeRecording(A, B, X, Y)


@dataclass(frozen=True, slots=True, eq=False)
class ClockRecording:
    """A motion seen in pictures and told by a robot."""

    times_s: F64
    """(n,) times of the pictures, s."""
    px: F64
    """(n, 2) tips in them, px."""
    robot_times_s: F64
    """(m,) times of the robot's readings, s."""
    robot_mm: F64
    """(m, 3) its positions, mm."""
    lag_s: float
    """The true lag, s."""


def clock_recording(
    rng: np.random.Generator, *, seconds: float = 20.0, lag_s: float | None = None, rhythm_hz: float | None = None
) -> ClockRecording:
    """rhythm_hz: of a motion that repeats itself. None: a motion that does not."""
    phase, rate = rng.uniform(0, 6.28, 6), rng.uniform(0.15, 1.2, 6)
    if rhythm_hz is not None:
        rate = np.full(6, rhythm_hz)

    def motion(t: F64) -> F64:
        return np.asarray(3.0 * np.sin(2 * np.pi * np.outer(t, rate) + phase).sum(axis=1))

    lag = float(rng.uniform(-0.2, 0.2)) if lag_s is None else lag_s
    robot_times, times = np.arange(0, seconds, 0.008), np.arange(0.013, seconds, 1 / 30)
    noise = rng.normal(0, MARK_PX, (len(times) + 1, 2))
    px = np.array([320.0, 240.0]) + np.outer(motion(times - lag), [8.0, -3.0]) + 0.8 * noise[1:] + 0.6 * noise[:-1]
    at = rng.choice(len(px), round(WRONG * len(px)), replace=False)
    px[at] += rng.normal(0, 80.0, (len(at), 2))
    robot = np.outer(motion(robot_times), [0.6, 0.8, 0.0]) + rng.normal(0, 0.02, (len(robot_times), 3))
    return ClockRecording(times, px, robot_times, robot, lag)


@dataclass(frozen=True, slots=True, eq=False)
class GuideRecording:
    """A needle that went through a guide, seen in pictures."""

    tips_mm: F64
    """(n, 2) tips, image mm."""
    depth_mm: F64
    """(n,) lengths that the encoder says, mm."""
    angle_rad: F64
    """(n,) angles that the encoder says, rad."""
    deepest_mm: F64
    """(2,) the true tip at 50 mm and 0 rad, image mm."""


def guide_recording(rng: np.random.Generator, n: int = 30, *, turn_rad: float = 0.2) -> GuideRecording:
    """turn_rad: largest angle of the guide. 0: it does not turn."""
    origin, angle, length = np.array([-10.0, 5.0]), 0.4, 12.0

    def tip(depth: F64, turned: F64) -> F64:
        a = angle - turned
        return np.asarray(origin + (depth + length)[:, None] * np.column_stack([np.cos(a), np.sin(a)]))

    depth, turned = rng.uniform(5, 50, n), rng.uniform(-turn_rad, turn_rad, n)
    tips = tip(depth, turned) + rng.normal(0, 0.3, (n, 2)) + wrong_ones(rng, n)[:, :2]
    return GuideRecording(tips, depth, turned, tip(np.array([50.0]), np.zeros(1))[0])


# -- claimed and true errors ---------------------------------------------------------------------------------


def _pivot(seed: int) -> tuple[float, float]:
    r = pivot_recording(np.random.default_rng(seed))
    found = fit_pivot(r.T_world_tool, seed=seed)
    return found.fit.sd_of(np.eye(6)[:3]), float(np.linalg.norm(found.tip_mm - r.tip_mm))


def _image(found: ImageFit, truth: ImageState) -> tuple[float, float]:
    middle = (np.array(SIZE_PX) - 1) / 2
    J = np.zeros((3, len(found.fit.covariance)))
    J[:, :8] = image_jacobian(found.state, middle)
    at, right = (applied(s.T_probe_image, image_points_mm(s, middle[None]))[0] for s in (found.state, truth))
    return found.fit.sd_of(J), float(np.linalg.norm(at - right))


def _points(seed: int) -> tuple[float, float]:
    r = point_recording(np.random.default_rng(seed))
    return _image(fit_points(r.px, r.T_world_probe, r.world_mm, seed=seed), r.truth)


def _wires(seed: int) -> tuple[float, float]:
    r = wire_recording(np.random.default_rng(seed))
    return _image(fit_wire_recording(r, known=True, seed=seed), r.truth)


def _wires_alone(seed: int) -> tuple[float, float]:
    r = wire_recording(np.random.default_rng(seed))
    return _image(fit_wire_recording(r, known=False, seed=seed), r.truth)


def _robot(seed: int) -> tuple[float, float]:
    r = hand_eye_recording(np.random.default_rng(seed))
    found = fit_hand_eye(r.T_base_hand, r.T_tracker_marker, seed=seed)
    J = np.eye(12)[3:6]
    return found.fit.sd_of(J), float(np.linalg.norm((found.T_hand_marker - r.T_hand_marker)[:3, 3]))


def _clock(seed: int) -> tuple[float, float]:
    r = clock_recording(np.random.default_rng(seed))
    found = fit_lag(r.times_s, r.px, r.robot_times_s, r.robot_mm, seed=seed)
    return float(np.sqrt(found.fit.covariance[0, 0])), abs(found.lag_s - r.lag_s)


def _guide(seed: int) -> tuple[float, float]:
    r = guide_recording(np.random.default_rng(seed))
    found = fit_guide(r.tips_mm, r.depth_mm, r.angle_rad, seed=seed)
    at = found.tip_mm(np.array([50.0]), np.zeros(1))[0]
    return float(np.sqrt(np.trace(found.tip_covariance(50.0, 0.0)))), float(np.linalg.norm(at - r.deepest_mm))


#: calibration -> claimed and true error of one seed: mm, s for the clock
CLAIMS: dict[str, Callable[[int], tuple[float, float]]] = {
    "pivot": _pivot,
    "points": _points,
    "wires": _wires,
    "wires-alone": _wires_alone,
    "robot": _robot,
    "clock": _clock,
    "guide": _guide,
}


def claimed_and_true(kind: str, seeds: range) -> tuple[float, float]:
    """Root mean square of the claimed and of the true errors over some seeds: mm, s for the clock."""
    both = np.array([CLAIMS[kind](seed) for seed in seeds])
    claimed, true = np.sqrt(np.mean(both**2, axis=0)).tolist()
    return claimed, true
