"""The rules of the gate, in the order in which they are asked. The first that says no is the reason that is given.

Every rule is a comparison that must hold for a command to pass, so that NaN never passes. The first rules make sure of
the numbers that later ones compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Action, Command, Estimate, RobotState, TipEstimate
from sonosteer.safety.gate_input import (
    Refused,
    above,
    below,
    is_covariance,
    largest_sd_mm,
    no,
    tip_of,
    turned,
    unusable,
    with_calibration,
)
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import Memory, SeenTip, seen_depth_mm, sees_tip, wiggle_here
from sonosteer.safety.orders import INSERTION, angles_rad, speeds_mm_s, way_mm
from sonosteer.safety.regions import Covariance, Region, margin_mm

Answers: TypeAlias = Iterator[Refused | None]


def of_the_action(limits: Limits, action: Action, now_s: float, cleared: int | None) -> Answers:
    """Ask whether its numbers can be used and whether it is timely. cleared: newest frame with a cleared command."""
    command = action.command
    yield unusable(action, "action")
    yield unusable(command, "action")
    if not isinstance(action.wiggle, bool):
        yield no("number", f"action: wiggle is {action.wiggle!r}, which is neither true nor false")
    if not isinstance(command.stop, bool):
        yield no("number", f"action: stop is {command.stop!r}, which is neither true nor false")
    if cleared is not None:
        yield below("late reply: frame", action.frame_index, cleared, "")
    age_s = action.age_s(now_s)
    yield above("action ahead of the clock by", -age_s, limits.ahead_s, "s")
    yield above("action age", age_s, limits.action_age_s, "s")
    if command.expires_at_s is None:
        yield no("number", "action: expires_at_s is None, which is not a usable number")
    else:
        yield above("action lifetime", command.expires_at_s - action.capture_time_s, limits.action_life_s, "s")
        yield above("time since the action expired", now_s - command.expires_at_s, 0.0, "s")


def of_the_robot_state(limits: Limits, robot_state: RobotState, now_s: float) -> Answers:
    """Ask whether the encoders were read lately, and no axis has a fault."""
    if not isinstance(robot_state, RobotState):
        yield no("number", f"robot state: {robot_state!r} is none")
    yield unusable(robot_state, "robot state")
    if robot_state.fault is not None:
        yield no("robot fault", f"the robot reports: {robot_state.fault}")
    yield above("robot state ahead of the clock by", robot_state.time_s - now_s, limits.ahead_s, "s")
    yield above("robot state age", now_s - robot_state.time_s, limits.robot_state_age_s, "s")


def of_the_estimate(
    limits: Limits, estimate: Estimate | None, now_s: float, action_frame: int, newest: int | None
) -> Answers:
    """Ask whether the tracker answered lately, in order and in numbers. newest: frame of the last estimate before."""
    if isinstance(estimate, Estimate):
        yield unusable(estimate, "estimate")
        if isinstance(estimate, TipEstimate):
            yield _of_the_covariance(estimate)
        if newest is not None:
            yield below("late estimate: frame", estimate.frame_index, newest, "")
        yield above("action ahead of the tracker: frame", action_frame, estimate.frame_index, "")
        yield above("estimate ahead of the clock by", estimate.time_s - now_s, limits.ahead_s, "s")
        yield above("estimate age", now_s - estimate.time_s, limits.estimate_age_s, "s")
    else:
        yield no("no estimate", "the tracker has not said anything yet")


def _of_the_covariance(estimate: TipEstimate) -> Refused | None:
    if estimate.covariance_mm2 is None:
        return no("no scale", "the tracker says the tip in pixels only: mm per pixel were unknown to it")
    if not is_covariance(estimate.covariance_mm2):
        return no("number", "estimate: covariance_mm2 is not a covariance")
    if estimate.covariance_px2 is not None and not is_covariance(estimate.covariance_px2):
        return no("number", "estimate: covariance_px2 is not a covariance")
    return None


def of_the_scale(spacing: Spacing | None, task: Spacing | None) -> Answers:
    """Ask whether millimetres are known, and are those in which the task was drawn."""
    if not isinstance(spacing, Spacing):
        yield no("no scale", "mm per pixel are unknown")
    elif task is not None and spacing != task:
        was, now = (f"{s.x_mm:g} x {s.y_mm:g} mm" for s in (task, spacing))
        yield no("scale changed", f"a pixel was {was} when the task was drawn, and is {now}")


def of_the_numbers(limits: Limits, command: Command, robot_state: RobotState) -> Answers:
    """Ask whether speeds and angles are within their bounds."""
    speed, angle = command.insertion_speed_mm_s, command.insertion_angle_rad
    yield above("insertion speed", speed, limits.forward_mm_s, "mm/s")
    yield above("retraction speed", -speed, limits.backward_mm_s, "mm/s")
    yield below("insertion angle", angle, limits.angle_rad[0], "rad")
    yield above("insertion angle", angle, limits.angle_rad[1], "rad")
    yield above("angle step", abs(angle - robot_state.insertion_angle_rad), limits.angle_step_rad, "rad")
    for axis, probe, most in zip("xyz", command.probe_velocity_mm_s, limits.probe_mm_s, strict=True):
        yield above(f"probe speed {axis}", abs(probe), most, "mm/s")


def of_the_tip(
    limits: Limits,
    speed_mm_s: float,
    estimate: Estimate | None,
    *,
    memory: Memory,
    now_s: float,
    guarded: bool,
    by_hand: bool,
    wiggle: bool,
    calibration_mm2: Covariance,
) -> Answers:
    """Ask whether the tip is known well enough to move. guarded: there are forbidden regions.

    A wiggle needs no tip: it is there to find it, and keeps to the way that the needle has gone (`of_the_wiggle`).
    """
    jump = memory.jump
    if jump is not None and not now_s >= jump.until_s:
        yield above("tip jump", jump.moved_mm, jump.allowed_mm, "mm")
    yield _astray(limits, memory)
    tip = tip_of(estimate)
    if wiggle:
        yield above("wiggle speed", abs(speed_mm_s), limits.wiggle_mm_s, "mm/s")
    elif tip is None and by_hand:
        yield above("speed by hand while the tip is lost", abs(speed_mm_s), limits.unseen_mm_s, "mm/s")
    elif tip is None:
        back_mm_s = 0.0 if guarded else limits.lost_back_mm_s
        yield above("insertion speed while the tip is lost", speed_mm_s, 0.0, "mm/s")
        yield above("retraction speed while the tip is lost", -speed_mm_s, back_mm_s, "mm/s")
    elif speed_mm_s > 0:
        yield above("tip sd", largest_sd_mm(with_calibration(tip, calibration_mm2)), limits.tip_sd_mm, "mm")


def _astray(limits: Limits, memory: Memory) -> Refused | None:
    """Refuse where pictures and encoder disagree on how far the needle went."""
    depth_mm = seen_depth_mm(memory)
    if depth_mm is None or memory.anchor is None:
        return None
    seen, anchor = memory.seen[-1], memory.anchor
    sd_mm = math.hypot(largest_sd_mm(seen.covariance_mm2), largest_sd_mm(anchor.covariance_mm2))
    return above("tip against encoder", abs(depth_mm - seen.pose.depth_mm), limits.astray_mm + 3 * sd_mm, "mm")


@dataclass(frozen=True, slots=True)
class Reach:
    """How far each axis of `orders.AXES` goes, from where it was known, until all stands after a command."""

    limits: Limits
    """Every number that commands are held to."""
    command: Command
    """The command that is asked about."""
    robot_state: RobotState
    """The newest state of the robot."""
    memory: Memory
    """What was ordered before."""
    lasts_s: float
    """How long the command lasts, s."""

    def after_mm(self, axis: int, since_s: float) -> tuple[float, float]:
        """Return how far an axis may go up and down from where it was at that time, mm. Both are 0 or more.

        Orders act late, and a clock may be ahead: what was ordered shortly before counts as well.
        """
        limits = self.limits
        up, down = way_mm(self.memory.orders, axis, since_s - limits.ahead_s - limits.standstill_s)
        speed = speeds_mm_s(self.command)[axis]
        measured = self.robot_state.insertion_speed_mm_s if axis == INSERTION else 0.0
        up += max(speed, 0.0) * self.lasts_s + max(speed, measured, 0.0) * limits.standstill_s
        down += max(-speed, 0.0) * self.lasts_s + max(-speed, -measured, 0.0) * limits.standstill_s
        return up, down

    def encoder_depths_mm(self) -> tuple[float, float]:
        """Return the least and the largest depth that the needle may reach, by encoder."""
        at = self.robot_state.depth_mm
        up, down = self.after_mm(INSERTION, self.robot_state.time_s)
        return at - down, at + up

    def depths_mm(self) -> tuple[float, float]:
        """Return the least and the largest depth that the needle may reach, by encoder or by pictures."""
        least, most = self.encoder_depths_mm()
        seen_mm = seen_depth_mm(self.memory)
        if seen_mm is not None:
            up, down = self.after_mm(INSERTION, self.memory.seen[-1].time_s)
            least, most = min(least, seen_mm - down), max(most, seen_mm + up)
        return least, most


def of_the_travel(reach: Reach) -> Answers:
    """Ask where needle and probe come to stand if nothing else is ordered. The way back is always free."""
    limits, command, robot_state = reach.limits, reach.command, reach.robot_state
    least_mm, most_mm = reach.depths_mm()
    if command.insertion_speed_mm_s > 0:
        yield above("depth", most_mm, limits.depth_mm[1], "mm")
    if command.insertion_speed_mm_s < 0:
        yield below("depth", least_mm, limits.depth_mm[0], "mm")
    for k, (name, speed, at, most) in enumerate(
        zip("xyz", command.probe_velocity_mm_s, robot_state.probe_mm, limits.probe_mm, strict=True)
    ):
        up, down = reach.after_mm(1 + k, robot_state.time_s)
        if speed > 0:
            yield above(f"probe travel {name}", at + up, most, "mm")
        if speed < 0:
            yield above(f"probe travel {name}", down - at, most, "mm")


def of_the_unseen_way(reach: Reach) -> Answers:
    """Ask whether a needle whose tip is lost stays on the way that it has gone, and moves little. Only by hand."""
    limits, memory, speed_mm_s = reach.limits, reach.memory, reach.command.insertion_speed_mm_s
    way = memory.unseen_mm + abs(speed_mm_s) * (reach.lasts_s + limits.standstill_s)
    yield above("way by hand while the tip is lost", way, limits.unseen_mm, "mm")
    if speed_mm_s > 0:
        yield above("depth by hand while the tip is lost", reach.depths_mm()[1], memory.deepest_mm, "mm")


def of_the_wiggle(reach: Reach, now_s: float) -> Answers:
    """Ask whether a wiggle stays on the way that the needle has gone, is small, turns seldom and ends soon."""
    limits, memory, speed_mm_s = reach.limits, reach.memory, reach.command.insertion_speed_mm_s
    if speed_mm_s == 0:
        return
    forth = speed_mm_s > 0
    least_mm, most_mm = reach.encoder_depths_mm()
    if forth:
        yield above("wiggle depth", most_mm, memory.deepest_mm, "mm")
    else:
        yield below("wiggle depth", least_mm, memory.deepest_mm - limits.wiggle_mm, "mm")
    before = wiggle_here(memory, limits)
    began_s = now_s if before is None else before.began_s
    yield above("wiggle time", now_s + reach.lasts_s - began_s, limits.wiggle_s, "s")
    if before is not None and before.forth != forth:
        yield below("time between turns of a wiggle", now_s - before.turned_s, limits.wiggle_turn_s, "s")


def of_the_regions(regions: tuple[Region, ...], reach: Reach, *, kept_rad: float) -> Answers:
    """Ask whether the needle stays out of every region, now and until it stands. It may be drawn back.

    Every recent estimate must agree, each moved on by what the encoders say and by what was ordered. So a needle that
    is pushed at a region for long is not let in by the one estimate in many that errs that way. kept_rad: where the
    needle is held. A command that leaves it there moves nothing.
    """
    command, memory = reach.command, reach.memory
    still = command.insertion_speed_mm_s == 0 and command.insertion_angle_rad == kept_rad
    if not regions or command.insertion_speed_mm_s < 0 or still:
        return
    if sees_tip(memory):
        for seen in memory.seen:
            yield from _kept_clear(regions, reach, seen)
    else:
        yield no("tip unknown", "there are forbidden regions, and where the tip is in the tissue is unknown")


def _kept_clear(regions: tuple[Region, ...], reach: Reach, seen: SeenTip) -> Answers:
    """Ask about the whole needle, from its entry to where its tip may come. It lies straight along its direction."""
    robot_state, limits = reach.robot_state, reach.limits
    by_encoder = robot_state.depth_mm - seen.pose.depth_mm + reach.after_mm(INSERTION, robot_state.time_s)[0]
    end_mm = max(by_encoder, reach.after_mm(INSERTION, seen.time_s)[0])
    inserted_mm = max(seen.pose.depth_mm, 0.0)
    path = _ahead(seen.tip_mm, seen.angle_rad, -inserted_mm), _ahead(seen.tip_mm, seen.angle_rad, end_mm)
    P = turned(seen.covariance_mm2, seen.angle_rad)
    since_s = seen.time_s - limits.ahead_s - limits.standstill_s
    angles = (
        reach.command.insertion_angle_rad,
        robot_state.insertion_angle_rad,
        *angles_rad(reach.memory.orders, since_s),
    )
    swing_rad = max(abs(angle - seen.pose.insertion_angle_rad) for angle in angles)
    for region in regions:
        distance_mm, towards = region.nearest(path)
        clear_mm = distance_mm - swing_rad * max(seen.pose.depth_mm + end_mm, 0.0)
        yield _clear(region.name, clear_mm, margin_mm(towards, P, limits.clearance))


def _ahead(tip_mm: Point, angle_rad: float, by_mm: float) -> Point:
    return tip_mm[0] + by_mm * math.cos(angle_rad), tip_mm[1] + by_mm * math.sin(angle_rad)


def _clear(name: str, clear_mm: float, min_mm: float) -> Refused | None:
    if not clear_mm > min_mm:
        reason = f"the needle would come within {clear_mm:.6g} mm of {name}, and must keep {min_mm:.6g} mm"
        return Refused("forbidden region", clear_mm, min_mm, "mm", reason)
    return None
