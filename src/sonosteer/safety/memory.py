"""What the gate remembers of the tip and the encoders from tick to tick. Finds a tip that jumped."""

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
    """A tip in the tissue, and the encoders when its frame was acquired."""

    frame_index: int
    """Number of the frame in its source, from 0."""
    time_s: float
    """When the frame was acquired, s."""
    tip_mm: Point
    """Place of the tip, mm of the first frame: x along the image, y down."""
    angle_rad: float
    """Direction from entry to tip, rad from image +x towards +y (down)."""
    covariance_mm2: Covariance
    """Covariance of the tip along and across the needle, mm^2."""
    pose: Pose
    """Where the encoders had needle and probe then."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A tip that moved by more than can be explained."""

    moved_mm: float
    """How far it moved, mm."""
    allowed_mm: float
    """How far it could have moved, mm."""
    until_s: float
    """Until when everything holds, s on the run's clock."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was read from the encoders and seen of the tip."""

    robot_states: tuple[RobotState, ...] = ()
    """States of the robot, as far back as an estimate may be old. The newest is last."""
    seen: tuple[SeenTip, ...] = ()
    """The last known tip, after those of `Limits.recall_s` before it."""
    newest: int | None = None
    """Index of the frame of the last estimate, with or without a tip. None before the first."""
    jump: Jump | None = None
    """The last jump of the tip, None before the first."""


def note(memory: Memory, limits: Limits, gate_input: GateInput) -> Memory:
    """Return the memory after this tick. What cannot be used is not remembered: a rule refuses it."""
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
    return Memory(memory.robot_states, (*recent, seen), newest=estimate.frame_index, jump=jump or memory.jump)


def pose_at(robot_states: tuple[RobotState, ...], time_s: float) -> Pose:
    """Interpolate between the states before and after. Outside them, take the first or the last."""
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
    return Jump(moved, allowed, now_s + limits.jump_hold_s) if not moved <= allowed else None
