"""What the gate remembers of the tip, the encoders and the orders from tick to tick.

It finds a tip that jumped, and encoders that contradict what was ordered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.geometry import Point
from sonosteer.core.types import Command, Estimate, RobotState, Track
from sonosteer.safety.gate_input import (
    GateInput,
    is_covariance,
    largest_sd_mm,
    tip_of,
    unusable,
    usable_spacing,
    with_calibration,
)
from sonosteer.safety.limits import Limits
from sonosteer.safety.orders import (
    INSERTION,
    NO_DRIFTS,
    Drifts,
    Orders,
    Turns,
    drifted,
    given,
    taken_back,
    turned_to,
    way_mm,
)
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
    """Covariance of the tip along and across the needle, that of the calibration included, mm^2."""
    tracked: bool
    """True where it was seen, False where it was only predicted."""
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
class Wiggle:
    """A needle that is moved to and fro at one place."""

    began_s: float
    """When it began, s on the run's clock."""
    deepest_mm: float
    """Largest depth that the encoder had said by then, mm."""
    forth: bool
    """True while it was last told to go in, False while it was told to go back."""
    turned_s: float
    """When it was first told to go that way, s on the run's clock."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was read from the encoders, seen of the tip, and ordered."""

    robot_states: tuple[RobotState, ...] = ()
    """States of the robot, as far back as an estimate may be old. The newest is last."""
    seen: tuple[SeenTip, ...] = ()
    """The last known tip, after those of `Limits.recall_s` before it."""
    newest: int | None = None
    """Index of the frame of the last estimate, with or without a tip. None before the first."""
    jump: Jump | None = None
    """The last jump of the tip, None before the first."""
    orders: Orders = ()
    """What the robot was told, as far back as it matters."""
    drifts: Drifts = NO_DRIFTS
    """By how much the encoders of needle and probe differ from the orders."""
    turns: Turns = ()
    """Where the axes that turn can be. Empty before the first reading."""
    anchor: SeenTip | None = None
    """The well seen tip from which pictures count how far the needle went. None before the first."""
    angle_rad: float | None = None
    """Where the needle was last told to point, rad. None before the first order."""
    deepest_mm: float = 0.0
    """Largest depth that the encoder said, mm. 0 or more."""
    unseen_mm: float = 0.0
    """Way that was ordered since the tip was last seen, to and fro, mm."""
    wiggle: Wiggle | None = None
    """The last wiggle, None before the first."""


EXACT: Covariance = (0.0, 0.0, 0.0)  # of a calibration without an error


def note(
    memory: Memory,
    limits: Limits,
    gate_input: GateInput,
    since_s: float,
    calibration_mm2: Covariance = EXACT,
    *,
    shows_depth: bool,
) -> Memory:
    """Return the memory after this tick. What cannot be used is not remembered: a rule refuses it.

    since_s: time of the tick before. shows_depth: pictures show how deep the needle is.
    """
    memory = _read(memory, limits, gate_input, since_s)
    estimate = gate_input.estimate
    if not isinstance(estimate, Estimate) or unusable(estimate, "estimate") or not memory.robot_states:
        return memory
    if memory.newest is not None and not estimate.frame_index > memory.newest:
        return memory
    seen = _see(memory.robot_states, gate_input, calibration_mm2)
    memory = replace(memory, newest=estimate.frame_index)
    if seen is None:
        return memory
    recent = tuple(each for each in memory.seen if each.time_s >= seen.time_s - limits.recall_s)
    jump = _jump(memory.seen[-1], seen, limits, gate_input.now_s) if memory.seen else None
    good = seen.tracked and largest_sd_mm(seen.covariance_mm2) <= limits.tip_sd_mm
    again = shows_depth and good and (memory.anchor is None or jump is not None)
    return replace(
        memory,
        seen=(*recent, seen),
        jump=jump or memory.jump,
        anchor=seen if again else memory.anchor,
        unseen_mm=0.0 if seen.tracked else memory.unseen_mm,
    )


def ordered(memory: Memory, command: Command, now_s: float, until_s: float) -> Memory:
    """Return the memory once a command was given to the robot."""
    orders = given(memory.orders, command, now_s, until_s)
    return replace(memory, orders=orders, angle_rad=command.insertion_angle_rad)


def wiggled(memory: Memory, limits: Limits, speed_mm_s: float, now_s: float) -> Memory:
    """Return the memory once a wiggle was ordered. An order to rest changes nothing."""
    if speed_mm_s == 0:
        return memory
    forth, before = speed_mm_s > 0, wiggle_here(memory, limits)
    if before is None:
        return replace(memory, wiggle=Wiggle(now_s, memory.deepest_mm, forth, now_s))
    if before.forth == forth:
        return memory
    return replace(memory, wiggle=replace(before, forth=forth, turned_s=now_s))


def wiggle_here(memory: Memory, limits: Limits) -> Wiggle | None:
    """Return the last wiggle if the needle is still at its place, None otherwise."""
    last = memory.wiggle
    return None if last is None or memory.deepest_mm >= last.deepest_mm + limits.wiggle_mm else last


def sees_tip(memory: Memory) -> bool:
    """Return True if the newest estimate has a tip whose place in the tissue is known."""
    return bool(memory.seen) and memory.seen[-1].frame_index == memory.newest


def seen_depth_mm(memory: Memory) -> float | None:
    """Return how deep the needle was in the newest picture, by pictures alone since the anchor, mm.

    None unless the tip is seen in it.
    """
    if memory.anchor is None or not sees_tip(memory) or not memory.seen[-1].tracked:
        return None
    tip, anchor = memory.seen[-1], memory.anchor
    x, y = tip.tip_mm[0] - anchor.tip_mm[0], tip.tip_mm[1] - anchor.tip_mm[1]
    return anchor.pose.depth_mm + x * math.cos(tip.angle_rad) + y * math.sin(tip.angle_rad)


def _read(memory: Memory, limits: Limits, gate_input: GateInput, since_s: float) -> Memory:
    """Take in a reading of the encoders, and the end of the last order."""
    now_s, before = gate_input.now_s, memory.robot_states
    oldest_s = now_s - max(limits.estimate_age_s, limits.robot_state_age_s)
    orders = taken_back(memory.orders, now_s, oldest_s - limits.standstill_s - limits.ahead_s)
    up_mm, down_mm = way_mm(orders, INSERTION, since_s)
    robot_states = _with(before, gate_input.robot_state, now_s - limits.estimate_age_s)
    drifts, turns, deepest_mm = memory.drifts, memory.turns, memory.deepest_mm
    if robot_states is not before:
        new = robot_states[-1]
        deepest_mm = max(deepest_mm, new.depth_mm)
        if before:
            drifts = drifted(drifts, orders, limits, before[-1], new)
        turns = turned_to(turns, orders, limits, before[-1] if before else new, new)
    return replace(
        memory,
        robot_states=robot_states,
        orders=orders,
        drifts=drifts,
        turns=turns,
        deepest_mm=deepest_mm,
        unseen_mm=memory.unseen_mm + up_mm + down_mm,
    )


def pose_at(robot_states: tuple[RobotState, ...], time_s: float) -> Pose:
    """Interpolate between the states before and after. Outside them, take the first or the last."""
    times_s = [r.time_s for r in robot_states]

    def at(values: list[float]) -> float:
        return float(np.interp(time_s, times_s, values))

    probe = at([r.probe_mm[0] for r in robot_states]), at([r.probe_mm[2] for r in robot_states])
    return Pose(at([r.depth_mm for r in robot_states]), at([r.insertion_angle_rad for r in robot_states]), probe)


def _with(robot_states: tuple[RobotState, ...], new: RobotState, since_s: float) -> tuple[RobotState, ...]:
    if not isinstance(new, RobotState) or unusable(new, "robot state"):
        return robot_states
    if robot_states and not new.time_s > robot_states[-1].time_s:
        return robot_states
    longer = (*robot_states, new)
    first = max((i for i, r in enumerate(longer) if r.time_s <= since_s), default=0)
    return longer[first:]


def _see(robot_states: tuple[RobotState, ...], gate_input: GateInput, calibration_mm2: Covariance) -> SeenTip | None:
    tip, spacing = tip_of(gate_input.estimate), usable_spacing(gate_input.spacing)
    if tip is None or spacing is None or not is_covariance(tip.covariance_mm2):
        return None
    pose = pose_at(robot_states, tip.time_s)
    x, y = spacing.to_mm(tip.tip_px)
    tissue = x + pose.probe_mm[0], y + pose.probe_mm[1]
    P, tracked = with_calibration(tip, calibration_mm2), tip.state is Track.TRACKING
    return SeenTip(tip.frame_index, tip.time_s, tissue, tip.angle_rad, P, tracked=tracked, pose=pose)


def _jump(before: SeenTip, seen: SeenTip, limits: Limits, now_s: float) -> Jump | None:
    one, two = before.pose, seen.pose
    pushed = abs(two.depth_mm - one.depth_mm)
    swung = max(one.depth_mm, two.depth_mm, 0.0) * abs(two.insertion_angle_rad - one.insertion_angle_rad)
    sd_mm = math.hypot(largest_sd_mm(before.covariance_mm2), largest_sd_mm(seen.covariance_mm2))
    allowed = pushed + swung + limits.jump_mm + 3 * sd_mm
    moved = math.dist(before.tip_mm, seen.tip_mm)
    return Jump(moved, allowed, now_s + limits.jump_hold_s) if not moved <= allowed else None
