"""Makes the action of a scripted policy: it is dated, every number is finite, and all other axes are kept still."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonosteer.core.types import Action, Command, Observation, RobotState, Task, Vector
from sonosteer.policies.geometry import finite

LIFETIME_S = 0.35  # chosen: from a frame's capture to the expiry of its action. The gate allows 0.5
ALREADY_EXPIRED_S = -1.0  # chosen: an action without a time must not move anything
STILL: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Axes:
    """Where the needle's angle and its base's roll were last ordered to be."""

    angle_rad: float
    """Angle of the needle, rad below the horizontal."""
    roll_rad: float
    """Roll of the needle's base, rad."""


def stay(before: Axes | None, robot_state: RobotState, task: Task) -> Axes:
    """Return the axes as last ordered. At first they are where the encoders are, or as planned if those say nothing."""
    if before is not None:
        return before
    angle, roll = robot_state.insertion_angle_rad, robot_state.roll_rad
    return Axes(angle if math.isfinite(angle) else task.angle_rad, roll if math.isfinite(roll) else 0.0)


def order(
    observation: Observation, axes: Axes, speed_mm_s: float = 0.0, probe_mm_s: Vector = STILL, *, stop: bool = False
) -> Action:
    """Return an action on this observation. It moves nothing if a number is not finite, or on `stop`.

    Without a time it has expired already.
    """
    time_s = observation.capture_time_s
    dated = math.isfinite(time_s)
    if stop or not dated or not finite((speed_mm_s, *probe_mm_s)):
        speed_mm_s, probe_mm_s = 0.0, STILL
    command = Command(
        expires_at_s=time_s + LIFETIME_S if dated else ALREADY_EXPIRED_S,
        insertion_speed_mm_s=speed_mm_s,
        insertion_angle_rad=axes.angle_rad,
        roll_rad=axes.roll_rad,
        probe_velocity_mm_s=probe_mm_s,
        stop=stop,
    )
    return Action(observation.frame_index, time_s if dated else 0.0, command)
