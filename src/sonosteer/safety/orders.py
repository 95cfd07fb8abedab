"""What was ordered of late: how far it can have moved an axis, and whether the encoders agree with it.

An order acts within `Limits.standstill_s`, and so does its end. So the speed of an axis lies at any time between the
least and the largest speed that was ordered from then back. What the encoder says beyond that adds up in a `Drift`
(a cumulative sum, Page 1954). It is never below 0, so that a slow error cannot hide behind an old one the other way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from sonosteer.core.types import Command, RobotState
from sonosteer.safety.limits import Limits

AXES = ("depth", "probe x", "probe y", "probe z")
ROUNDING_S = 1e-9  # chosen: sums of times are off by less
INSERTION = 0  # place of the needle's own axis in AXES. The probe's follow


@dataclass(frozen=True, slots=True)
class Order:
    """A command that was given to the robot."""

    since_s: float
    """When it was given, s on the run's clock."""
    until_s: float
    """When it expires or was taken back, s on the run's clock."""
    command: Command
    """What was ordered."""


@dataclass(frozen=True, slots=True)
class Drift:
    """By how much an encoder differs from what was ordered."""

    more_mm: float = 0.0
    """How much further it went up than was ordered, mm. 0 or more."""
    less_mm: float = 0.0
    """How much less far it went up than was ordered, mm. 0 or more."""


Orders: TypeAlias = tuple[Order, ...]
Drifts: TypeAlias = tuple[Drift, ...]
NO_DRIFTS: Drifts = (Drift(),) * len(AXES)


def taken_back(orders: Orders, now_s: float, since_s: float) -> Orders:
    """Return the orders once the last one is replaced or held. Those that ended before since_s are forgotten."""
    cut = (replace(each, until_s=min(each.until_s, now_s)) for each in orders)
    return tuple(each for each in cut if each.until_s >= since_s)


def given(orders: Orders, command: Command, now_s: float, until_s: float) -> Orders:
    """Return the orders with one more. One that goes on as the last did becomes part of it."""
    if orders and orders[-1].until_s == now_s and orders[-1].command == replace(command, expires_at_s=None):
        return (*orders[:-1], replace(orders[-1], until_s=until_s))
    return (*orders, Order(now_s, until_s, replace(command, expires_at_s=None)))


def way_mm(orders: Orders, axis: int, since_s: float) -> tuple[float, float]:
    """Return how far an axis may have gone up and down on what was ordered since then, mm. Both are 0 or more."""
    up = down = 0.0
    for each in orders:
        lasts_s = max(each.until_s - max(each.since_s, since_s), 0.0)
        speed = speeds_mm_s(each.command)[axis]
        up += max(speed, 0.0) * lasts_s
        down += max(-speed, 0.0) * lasts_s
    return up, down


def drifted(drifts: Drifts, orders: Orders, limits: Limits, before: RobotState, now: RobotState) -> Drifts:
    """Return the drifts after one more reading."""
    since_s = before.time_s - limits.standstill_s - limits.ahead_s
    lasts_s = now.time_s - before.time_s
    out = []
    for axis, (drift, was, at) in enumerate(zip(drifts, positions_mm(before), positions_mm(now), strict=True)):
        low, high = _speeds_between(orders, axis, since_s, now.time_s)
        slack = limits.speed_error_fraction
        least = (low - slack * abs(low)) * lasts_s
        most = (high + slack * abs(high)) * lasts_s
        moved = at - was
        out.append(Drift(max(drift.more_mm + moved - most, 0.0), max(drift.less_mm + least - moved, 0.0)))
    return tuple(out)


def contradiction(drifts: Drifts, limits: Limits) -> str | None:
    """Return in what the encoders contradict the orders, None if they do not."""
    for name, drift in zip(AXES, drifts, strict=True):
        for how, by_mm in (("further up", drift.more_mm), ("less far up", drift.less_mm)):
            if not by_mm <= limits.encoder_mm:
                return (
                    f"the encoder of {name} went {by_mm:.3g} mm {how} than was ordered; "
                    f"{limits.encoder_mm:g} mm are allowed"
                )
    return None


def speeds_mm_s(command: Command) -> tuple[float, ...]:
    """Return the ordered speeds of AXES, mm/s."""
    return command.insertion_speed_mm_s, *command.probe_velocity_mm_s


def positions_mm(robot_state: RobotState) -> tuple[float, ...]:
    """Return where the encoders have AXES, mm."""
    return robot_state.depth_mm, *robot_state.probe_mm


def angles_rad(orders: Orders, since_s: float) -> Iterator[float]:
    """Yield every angle to which the needle was turned since then."""
    for each in orders:
        if each.until_s >= since_s:
            yield each.command.insertion_angle_rad


def _speeds_between(orders: Orders, axis: int, since_s: float, until_s: float) -> tuple[float, float]:
    """Return the least and the largest speed that was ordered. Where nothing was, that is 0."""
    speeds, covered_s = [], 0.0
    for each in orders:
        lasts_s = min(each.until_s, until_s) - max(each.since_s, since_s)
        if lasts_s > 0:
            speeds.append(speeds_mm_s(each.command)[axis])
            covered_s += lasts_s
    if covered_s < until_s - since_s - ROUNDING_S:
        speeds.append(0.0)
    return min(speeds), max(speeds)
