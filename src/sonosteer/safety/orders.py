"""What was ordered of late: how far it can have moved an axis, and whether the encoders agree with it.

An order acts within `Limits.standstill_s`, and so does its end. So the speed of an axis lies at any time between the
least and the largest speed that was ordered from then back. What the encoder says beyond that adds up in a `Drift`
(a cumulative sum, Page 1954). It is never below 0, so that a slow error cannot hide behind an old one the other way.

An axis that turns is told where to. It goes no further than there, and it goes at all. So it lies between two angles
(`Turned`), which orders move and readings narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from sonosteer.core.types import Command, RobotState
from sonosteer.safety.limits import Limits

AXES = ("depth", "probe x", "probe y", "probe z")
TURNS = ("insertion angle", "base rotation")
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

    more: float = 0.0
    """How much further it went up than was ordered, mm for AXES and rad for TURNS. 0 or more."""
    less: float = 0.0
    """How much less far it went up than was ordered, mm for AXES and rad for TURNS. 0 or more."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Where an axis that turns can be."""

    low_rad: float
    """Least angle, rad."""
    high_rad: float
    """Largest angle, rad."""
    drift: Drift = Drift()
    """By how much the last reading lay outside, rad."""


Orders: TypeAlias = tuple[Order, ...]
Drifts: TypeAlias = tuple[Drift, ...]  # of AXES
Turns: TypeAlias = tuple[Turned, ...]  # of TURNS, or empty before the first reading
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
    recent = _between(orders, limits, before, now)
    lasts_s = now.time_s - before.time_s
    out = []
    for axis, (was, at) in enumerate(zip(positions_mm(before), positions_mm(now), strict=True)):
        low, high = recent.speeds_mm_s(axis)
        slack = limits.speed_error_fraction
        least = (low - slack * abs(low)) * lasts_s
        most = (high + slack * abs(high)) * lasts_s
        drift, moved = drifts[axis], at - was
        out.append(Drift(max(drift.more + moved - most, 0.0), max(drift.less + least - moved, 0.0)))
    return tuple(out)


def turned_to(turns: Turns, orders: Orders, limits: Limits, before: RobotState, now: RobotState) -> Turns:
    """Return where the axes that turn can be after one more reading."""
    said_rad = angles_of(now)
    if not turns:
        return tuple(Turned(rad, rad) for rad in said_rad)
    recent = _between(orders, limits, before, now)
    still_rad, lasts_s = limits.still_rad, now.time_s - before.time_s
    out = []
    for turn, (was, rad, most_rad) in enumerate(zip(turns, said_rad, _turns_allowed(limits), strict=True)):
        low, high = recent.reached_rad(turn, was, slowest_rad=most_rad / limits.stuck_s * lasts_s, still_rad=still_rad)
        drift = Drift(max(rad - high, 0.0), max(low - rad, 0.0))
        out.append(Turned(max(low, min(rad - still_rad, high)), min(high, max(rad + still_rad, low)), drift))
    return tuple(out)


def _between(orders: Orders, limits: Limits, before: RobotState, now: RobotState) -> _Recent:
    """The orders that could move an axis between two readings."""
    return _Recent.of(orders, before.time_s - limits.standstill_s - limits.ahead_s, now.time_s)


def contradiction(drifts: Drifts, turns: Turns, limits: Limits) -> str | None:
    """Return in what the encoders contradict the orders, None if they do not."""
    checked = [(name, drift, limits.encoder_mm, "mm") for name, drift in zip(AXES, drifts, strict=True)]
    allowed = zip(TURNS, turns, _turns_allowed(limits), strict=False)  # no turns before the first reading
    checked += [(name, turned.drift, most_rad, "rad") for name, turned, most_rad in allowed]
    for name, drift, most, unit in checked:
        for how, by in (("further up", drift.more), ("less far up", drift.less)):
            if not by <= most:
                return f"the encoder of {name} went {by:.3g} {unit} {how} than was ordered; {most:g} {unit} are allowed"
    return None


def _turns_allowed(limits: Limits) -> tuple[float, ...]:
    return limits.encoder_rad, limits.encoder_roll_rad


def speeds_mm_s(command: Command) -> tuple[float, ...]:
    """Return the ordered speeds of AXES, mm/s."""
    return command.insertion_speed_mm_s, *command.probe_velocity_mm_s


def turns_of(command: Command) -> tuple[float, ...]:
    """Return where TURNS were told to, rad."""
    return command.insertion_angle_rad, command.roll_rad


def positions_mm(robot_state: RobotState) -> tuple[float, ...]:
    """Return where the encoders have AXES, mm."""
    return robot_state.depth_mm, *robot_state.probe_mm


def angles_of(robot_state: RobotState) -> tuple[float, ...]:
    """Return where the encoders have TURNS, rad."""
    return robot_state.insertion_angle_rad, robot_state.roll_rad


def measured_mm_s(robot_states: tuple[RobotState, ...], over_s: float) -> tuple[float, ...]:
    """Return how fast AXES move, mm/s: the needle by its own encoder, the probe by its way in the last `over_s`.

    robot_states: one or more, the newest last.
    """
    now = robot_states[-1]
    earlier = [each for each in robot_states if each.time_s <= now.time_s - over_s + ROUNDING_S]
    then = earlier[-1] if earlier else robot_states[0]
    passed_s = now.time_s - then.time_s
    probe = (0.0, 0.0, 0.0)
    if passed_s > 0.0:
        x, y, z = ((at - was) / passed_s for at, was in zip(now.probe_mm, then.probe_mm, strict=True))
        probe = x, y, z
    return now.insertion_speed_mm_s, *probe


def angles_rad(orders: Orders, since_s: float) -> Iterator[float]:
    """Yield every angle to which the needle was turned since then."""
    for each in orders:
        if each.until_s >= since_s:
            yield each.command.insertion_angle_rad


@dataclass(frozen=True, slots=True)
class _Recent:
    """The orders that could act in some time."""

    commands: tuple[Command, ...]
    """What was ordered."""
    always: bool
    """True where there was an order all the time."""

    @classmethod
    def of(cls, orders: Orders, since_s: float, until_s: float) -> _Recent:
        commands, covered_s = [], 0.0
        for each in orders:
            lasts_s = min(each.until_s, until_s) - max(each.since_s, since_s)
            if lasts_s > 0:
                commands.append(each.command)
                covered_s += lasts_s
        return cls(tuple(commands), not covered_s < until_s - since_s - ROUNDING_S)

    def speeds_mm_s(self, axis: int) -> tuple[float, float]:
        """Return the least and the largest speed that was ordered. Where nothing was, that is 0."""
        speeds = [speeds_mm_s(each)[axis] for each in self.commands] + [0.0] * (not self.always)
        return min(speeds), max(speeds)

    def reached_rad(self, turn: int, was: Turned, *, slowest_rad: float, still_rad: float) -> tuple[float, float]:
        """Return the least and the largest angle to which an axis can have turned, rad.

        It may be at any place that it was told, or on its way. Where it was told all the time to turn, it has turned by
        `slowest_rad` or more, but for the last `still_rad`.
        """
        low, high = was.low_rad, was.high_rad
        goals = [turns_of(each)[turn] for each in self.commands]
        if not goals:
            return low, high
        least, most = min(goals), max(goals)
        if self.always:
            low = max(low, min(low + slowest_rad, least - still_rad))
            high = min(high, max(high - slowest_rad, most + still_rad))
        return min(low, least), max(high, most)
