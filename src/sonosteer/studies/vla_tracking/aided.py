"""Tracking with and without a rig's encoders, on clips as they come, hard views and hard plants.

Every row is started on the true tip of the first frame with one. `encoders` goes on from there by depth, angle and
probe alone: what a tracker must beat. A frame in which a tracker says nothing counts with its last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, RobotState, Track
from sonosteer.metrics.success import bootstrap
from sonosteer.sim.hard import HARD_SCENES, HARD_SETUPS, hard_scenes
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.setups import Split
from sonosteer.sim.world import World
from sonosteer.trackers.table import make_tracker

#: clips as they come, and the two hard kinds
KINDS = ("in-plane-convex", *HARD_SETUPS)
_FIRST_SEED = 20_000  # chosen: of clips as they come, no data set and no study has drawn them
ENCODERS = "encoders"
ROWS = ("vla", "vla + encoders", "auto", "auto + encoders", ENCODERS)
_FAR_MM = 5.0  # chosen: a tip that is called tracking and is further off than this is wrong
CHI2_95 = 5.991


@dataclass(frozen=True, slots=True)
class AidedTrial:
    """One clip that all rows follow."""

    scene: Scene
    """What is simulated."""
    rows: tuple[str, ...]
    """Names of the rows."""
    settings: Mapping[str, Any]
    """Settings of the trackers, where they have them."""


def scenes_of(kind: str, split: Split, count: int) -> Iterator[Scene]:
    """The first scenes of a kind. Raises InputError for an unknown kind or too many."""
    if kind in HARD_SETUPS:
        yield from hard_scenes(kind, split, count)
        return
    if kind not in KINDS or not 0 < count <= HARD_SCENES:
        raise InputError(f"{count} clips of {kind!r}: 1 to {HARD_SCENES} of {', '.join(KINDS)} are possible")
    for k in range(count):
        yield make_scene(f"{kind}/{split}", _FIRST_SEED + k, mode=("ips", "ipm")[k % 2])


def run_aided_trial(trial: AidedTrial) -> dict[str, list[list[float]]]:
    """row -> [error mm, visible, 2 tracking 1 coasting 0 lost, 1 inside the 95 % ellipse or -1] of each frame."""
    world = World(trial.scene)
    mm = np.array([world.spacing.x_mm, world.spacing.y_mm])
    followers: dict[str, Callable[[Frame], Estimate]] = {}
    said: dict[str, F64] = {}
    out: dict[str, list[list[float]]] = {row: [] for row in trial.rows}
    for frame, truth in world.frames(readings=True):
        if truth.tip_px is None:
            continue
        tip_mm = np.array(truth.tip_px) * mm
        if not followers:
            hint = Hint(enters=trial.scene.enters, start_px=truth.tip_px)
            followers = {row: _follower(row, hint, trial.settings) for row in trial.rows}
            said = dict.fromkeys(trial.rows, tip_mm)
            for follow in followers.values():
                follow(frame)
            continue
        for row, follow in followers.items():
            estimate = follow(frame)
            inside = -1.0
            if not isinstance(estimate, Lost):
                said[row] = np.array(estimate.tip_px) * mm
                inside = _inside(estimate, said[row] - tip_mm)
            error = float(np.linalg.norm(said[row] - tip_mm))
            state = {Track.TRACKING: 2.0, Track.COASTING: 1.0, Track.LOST: 0.0}[estimate.state]
            out[row].append([error, float(truth.visible), state, inside])
    return out


def _follower(row: str, hint: Hint, settings: Mapping[str, Any]) -> Callable[[Frame], Estimate]:
    if row == ENCODERS:
        return _ByEncoders(hint)
    method, _, aided = row.partition(" + ")
    tracker = make_tracker(method, **settings.get(method, {}))
    tracker.prepare()
    state = tracker.start(hint)

    def follow(frame: Frame) -> Estimate:
        nonlocal state
        state, estimate = tracker.step(state, frame if aided else replace(frame, robot_state=None))
        return estimate

    return follow


class _ByEncoders:
    """Goes on from the first tip by what the encoders say, and by nothing else."""

    def __init__(self, hint: Hint) -> None:
        assert hint.start_px is not None
        self.at_px: Point = hint.start_px
        self.side = -1.0 if hint.enters == "right" else 1.0
        self.last: RobotState | None = None

    def __call__(self, frame: Frame) -> Estimate:
        """The tip in a frame."""
        now, last = frame.robot_state, self.last
        assert now is not None
        assert frame.spacing is not None
        c, s = self.side * math.cos(now.insertion_angle_rad), math.sin(now.insertion_angle_rad)
        if last is not None:
            pushed, p, q = now.depth_mm - last.depth_mm, now.probe_mm, last.probe_mm
            x = self.at_px[0] + (pushed * c - (p[0] - q[0])) / frame.spacing.x_mm
            y = self.at_px[1] + (pushed * s - (p[2] - q[2])) / frame.spacing.y_mm
            self.at_px = (x, y)
        self.last = now
        return _certain(frame, self.at_px, math.atan2(s, c))


def _certain(frame: Frame, at_px: Point, angle_rad: float) -> Estimate:
    from sonosteer.core.types import TipEstimate

    return TipEstimate(
        frame_index=frame.index,
        time_s=frame.time_s,
        tip_px=at_px,
        angle_rad=angle_rad,
        covariance_mm2=None,
        confidence=None,
        state=Track.TRACKING,
        entry_px=at_px,
    )


def _inside(estimate: Any, error_mm: F64) -> float:
    """1 where the truth lies in the 95 % ellipse, -1 where none is claimed."""
    if estimate.covariance_mm2 is None:
        return -1.0
    c, s = math.cos(estimate.angle_rad), math.sin(estimate.angle_rad)
    e = np.array([[c, s], [-s, c]]) @ error_mm
    return float(float(e @ np.linalg.solve(estimate.covariance_mm2, e)) < CHI2_95)


def table_of(done: Mapping[str, Sequence[Mapping[str, Sequence[Sequence[float]]]]]) -> list[dict[str, Any]]:
    """A line for each kind of clips, row, and visible or all frames. done: kind -> trials' results."""
    out = []
    for kind, trials in done.items():
        for row in trials[0]:
            clips = [np.array(trial[row], float) for trial in trials if len(trial[row])]
            for frames in ("visible tip", "all"):
                parts = [c[c[:, 1] > 0] if frames == "visible tip" else c for c in clips]
                out.append({"clips": kind, "row": row, "frames": frames, **_figures_of([p for p in parts if len(p)])})
    return out


def _figures_of(clips: Sequence[F64]) -> dict[str, Any]:
    """Error with its deviation, interval over clips, largest, and what state and ellipse are worth.

    clips: (n, 4) of each, as `run_aided_trial` gives them.
    """
    rows = np.concatenate(clips)
    error, tracking, told = rows[:, 0], rows[:, 2] == 2, rows[:, 3] >= 0
    low, high = bootstrap([c[:, :1] for c in clips], lambda v: float(v.mean()), np.random.default_rng(0))
    return {
        "n": len(rows),
        "mm": f"{error.mean():.2f} +- {error.std():.2f}",
        "95 %": f"{low:.2f} to {high:.2f}",
        "median": f"{np.median(error):.2f}",
        "largest": f"{error.max():.1f}",
        "wrong %": f"{100 * np.mean(tracking & (error > _FAR_MM)):.2f}",
        "tracking %": f"{100 * tracking.mean():.1f}",
        "lost %": f"{100 * np.mean(rows[:, 2] == 0):.1f}",
        "ellipse %": f"{100 * rows[told, 3].mean():.1f}" if told.any() else "",
    }
