"""What the gate remembers from tick to tick of the tip and the encoders, and how it sees a tip that jumped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, RobotState
from sonosteer.safety.gate_input import GateInput, covariance, is_covariance, largest_sd_mm, tip_of, unusable
from sonosteer.safety.limits import Limits
from sonosteer.safety.regions import Covariance


@dataclass(frozen=True, slots=True)
class Pose:
    """Where encoders had the needle and the probe at some time."""

    depth_mm: float
    """Inserted length of the needle, mm."""
    insertion_angle_rad: float
    """Angle of the needle, rad below the horizontal."""
    probe_mm: Point
    """Where the probe is, mm: x along the image, z down. This moves the image over the tissue."""


@dataclass(frozen=True, slots=True)
class SeenTip:
    """A tip in mm of the first frame, and the encoders when its frame was acquired."""

    frame_index: int
    time_s: float
    tip_mm: Point
    angle_rad: float
    covariance_mm2: Covariance  # along and across the needle
    pose: Pose


@dataclass(frozen=True, slots=True)
class Jump:
    """A tip that moved by more than could be explained; everything holds until then."""

    moved_mm: float
    allowed_mm: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """robot_states: as far back as an estimate may be old. newest: frame of the last estimate, with or without a tip.

    seen: the last known tip, after those of `Limits.recall_s` before it.
    """

    robot_states: tuple[RobotState, ...] = ()
    seen: tuple[SeenTip, ...] = ()
    newest: int | None = None
    jump: Jump | None = None


def note(memory: Memory, limits: Limits, gate_input: GateInput) -> Memory:
    """The memory after this moment. What cannot be used is not remembered: a rule refuses it."""
    memory = replace(
        memory,
        robot_states=_with(memory.robot_states, gate_input.robot_state, gate_input.now_s - limits.estimate_age_s),
    )
    estimate = gate_input.estimate
    if not isinstance(estimate, Estimate) or unusable(estimate, "estimate") or not memory.robot_states:
        return memory
    if memory.newest is not None and not estimate.frame_index > memory.newest:
        return memory
    seen = _see(memory.robot_states, gate_input)
    if seen is None:
        return replace(memory, newest=estimate.frame_index)
    recent = tuple(each for each in memory.seen if each.time_s >= seen.time_s - limits.recall_s)
    jump = _jump(memory.seen[-1], seen, limits, gate_input.now_s) if memory.seen else None
    return Memory(memory.robot_states, (*recent, seen), estimate.frame_index, jump or memory.jump)


def pose_at(robot_states: tuple[RobotState, ...], time_s: float) -> Pose:
    """Between the readings before and after; the first or last of them outside."""
    times_s = [r.time_s for r in robot_states]

    def at(values: list[float]) -> float:
        return float(np.interp(time_s, times_s, values))

    probe = at([r.probe_mm[0] for r in robot_states]), at([r.probe_mm[2] for r in robot_states])
    return Pose(at([r.depth_mm for r in robot_states]), at([r.insertion_angle_rad for r in robot_states]), probe)


def _with(robot_states: tuple[RobotState, ...], new: RobotState, since_s: float) -> tuple[RobotState, ...]:
    if unusable(new, "robot state") or (robot_states and not new.time_s > robot_states[-1].time_s):
        return robot_states
    longer = (*robot_states, new)
    first = max((i for i, r in enumerate(longer) if r.time_s <= since_s), default=0)
    return longer[first:]


def _see(robot_states: tuple[RobotState, ...], gate_input: GateInput) -> SeenTip | None:
    tip, spacing = tip_of(gate_input.estimate), gate_input.spacing
    if tip is None or spacing is None or not is_covariance(tip.covariance_mm2):
        return None
    pose = pose_at(robot_states, tip.time_s)
    x, y = spacing.to_mm(tip.tip_px)
    tissue = x + pose.probe_mm[0], y + pose.probe_mm[1]
    return SeenTip(tip.frame_index, tip.time_s, tissue, tip.angle_rad, covariance(tip.covariance_mm2), pose)


def _jump(before: SeenTip, seen: SeenTip, limits: Limits, now_s: float) -> Jump | None:
    one, two = before.pose, seen.pose
    pushed = abs(two.depth_mm - one.depth_mm)
    swung = max(one.depth_mm, two.depth_mm, 0.0) * abs(two.insertion_angle_rad - one.insertion_angle_rad)
    sd_mm = math.hypot(largest_sd_mm(before.covariance_mm2), largest_sd_mm(seen.covariance_mm2))
    allowed = pushed + swung + limits.jump_mm + 3 * sd_mm
    moved = math.dist(before.tip_mm, seen.tip_mm)
    return None if moved <= allowed else Jump(moved, allowed, now_s + limits.jump_hold_s)
