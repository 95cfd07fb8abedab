"""The rules of the gate, in the order in which they are asked. The first that says no is the reason that is given.

Every rule is a comparison that must hold for a command to pass, so that NaN never passes. The first rules make sure of
the numbers that later ones compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Action, Command, Estimate, RobotState, TipEstimate
from sonosteer.safety.gate_input import (
    Refused,
    above,
    below,
    covariance,
    is_covariance,
    largest_sd_mm,
    no,
    tip_of,
    turned,
    unusable,
)
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import Jump, Memory, SeenTip
from sonosteer.safety.regions import Region, margin_mm

Answers: TypeAlias = Iterator[Refused | None]


def of_the_action(limits: Limits, action: Action, now_s: float, cleared: int | None) -> Answers:
    """Ask whether its numbers can be used and whether it is timely. cleared: newest frame with a cleared command."""
    command = action.command
    yield unusable(action, "action")
    yield unusable(command, "action")
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
    if spacing is None:
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
    limits: Limits, speed_mm_s: float, estimate: Estimate | None, *, jump: Jump | None, now_s: float, guarded: bool
) -> Answers:
    """Ask whether the tip is known well enough to move. guarded: there are forbidden regions."""
    if jump is not None and not now_s >= jump.until_s:
        yield above("tip jump", jump.moved_mm, jump.allowed_mm, "mm")
    tip = tip_of(estimate)
    if tip is None:
        back_mm_s = 0.0 if guarded else limits.lost_back_mm_s
        yield above("insertion speed while the tip is lost", speed_mm_s, 0.0, "mm/s")
        yield above("retraction speed while the tip is lost", -speed_mm_s, back_mm_s, "mm/s")
    elif speed_mm_s > 0:
        yield above("tip sd", largest_sd_mm(covariance(tip.covariance_mm2)), limits.tip_sd_mm, "mm")


def of_the_travel(limits: Limits, command: Command, robot_state: RobotState, lasts_s: float) -> Answers:
    """Ask where needle and probe come to stand if nothing else is ordered. The way back is always free."""
    depth_mm = robot_state.depth_mm + reach_mm(limits, command, robot_state, lasts_s)
    if command.insertion_speed_mm_s > 0:
        yield above("depth", depth_mm, limits.depth_mm[1], "mm")
    if command.insertion_speed_mm_s < 0:
        yield below("depth", depth_mm, limits.depth_mm[0], "mm")
    for axis, speed, at, most in zip(
        "xyz", command.probe_velocity_mm_s, robot_state.probe_mm, limits.probe_mm, strict=True
    ):
        if speed != 0:
            out_mm = math.copysign(1.0, speed) * at + abs(speed) * (lasts_s + limits.standstill_s)
            yield above(f"probe travel {axis}", out_mm, most, "mm")


def of_the_regions(
    limits: Limits,
    regions: tuple[Region, ...],
    command: Command,
    *,
    robot_state: RobotState,
    memory: Memory,
    lasts_s: float,
) -> Answers:
    """Ask whether the tip stays out of every region, now and until it stands. It may be drawn back.

    Every recent estimate must agree, each moved on by what the encoders say. So a needle that is pushed at a region
    for long is not let in by the one estimate in many that errs that way.
    """
    still = (
        command.insertion_speed_mm_s == 0
        and abs(command.insertion_angle_rad - robot_state.insertion_angle_rad) <= limits.still_rad
    )
    if not regions or command.insertion_speed_mm_s < 0 or still:
        return
    if memory.seen and memory.seen[-1].frame_index == memory.newest:
        for seen in memory.seen:
            yield from _kept_clear(limits, regions, command, robot_state, seen, lasts_s)
    else:
        yield no("tip unknown", "there are forbidden regions, and where the tip is in the tissue is unknown")


def reach_mm(limits: Limits, command: Command, robot_state: RobotState, lasts_s: float) -> float:
    """Return how far the needle goes until it stands after a command. One that is faster now takes longer."""
    speed = command.insertion_speed_mm_s
    worst = min(speed, robot_state.insertion_speed_mm_s) if speed < 0 else max(speed, robot_state.insertion_speed_mm_s)
    return speed * lasts_s + worst * limits.standstill_s


def _kept_clear(
    limits: Limits,
    regions: tuple[Region, ...],
    command: Command,
    robot_state: RobotState,
    seen: SeenTip,
    lasts_s: float,
) -> Answers:
    start_mm = robot_state.depth_mm - seen.pose.depth_mm
    end_mm = start_mm + reach_mm(limits, command, robot_state, lasts_s)
    path = _ahead(seen.tip_mm, seen.angle_rad, start_mm), _ahead(seen.tip_mm, seen.angle_rad, end_mm)
    P = turned(seen.covariance_mm2, seen.angle_rad)
    swing_rad = max(
        abs(angle - seen.pose.insertion_angle_rad)
        for angle in (command.insertion_angle_rad, robot_state.insertion_angle_rad)
    )
    for region in regions:
        distance_mm, towards = region.nearest(path)
        clear_mm = distance_mm - swing_rad * max(robot_state.depth_mm, 0.0)
        yield _clear(region.name, clear_mm, margin_mm(towards, P, limits.clearance))


def _ahead(tip_mm: Point, angle_rad: float, by_mm: float) -> Point:
    return tip_mm[0] + by_mm * math.cos(angle_rad), tip_mm[1] + by_mm * math.sin(angle_rad)


def _clear(name: str, clear_mm: float, min_mm: float) -> Refused | None:
    if not clear_mm > min_mm:
        reason = f"the tip would come within {clear_mm:.6g} mm of {name}, and must keep {min_mm:.6g} mm"
        return Refused("forbidden region", clear_mm, min_mm, "mm", reason)
    return None
