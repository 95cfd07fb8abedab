"""A rig of several parts as one Robot. Whatever goes wrong with one part holds all of them, by name.

Parts measure at times of their own. Their states are merged at the oldest of these times, by interpolation of what the
others said around it, so that the merged state is of one moment and is as old as its oldest part.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sonosteer.core.clock import Clock
from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.plugins import describe_error
from sonosteer.core.types import Command, RobotState, Vector
from sonosteer.robots.dry_run import DryRun
from sonosteer.robots.parts import RIG_AXES, Axis, Opening, Part, PartFault, PartState
from sonosteer.robots.rig_file import PartTable, RigFile, read_rig
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.safety.robot import Robot

KEPT_STATES = 64  # chosen: half a second of the fastest part
_FIELDS: Mapping[Axis, tuple[str, ...]] = {
    "insertion": ("depth_mm", "insertion_speed_mm_s"),
    "angle": ("insertion_angle_rad",),
    "roll": ("roll_rad",),
    "probe": ("probe_mm",),
}


@dataclass(frozen=True, slots=True)
class NamedFault:
    """Which part holds all, and why."""

    part: str
    """Name of its table in the rig file."""
    fault: PartFault
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.part}: {self.fault}"


def open_rig(path: Path | str, clock: Clock, *, dry_run: bool = False) -> Robot:
    """Open every part of a rig file and make them ready, at standstill. Nothing moves.

    dry_run: parts are only read. Orders are recorded, and none is passed on. Raises InputError for what is wrong with
    the file, and RobotError for a part that cannot be opened, which closes those before it.
    """
    rig = RigRobot(read_rig(Path(path)), clock)
    if dry_run:
        return DryRun(rig, clock)
    try:
        rig.enable()
    except BaseException:
        rig.close()
        raise
    return rig


def open_part(rig_file: RigFile, table: PartTable, clock: Clock) -> Part:
    """Connect to one part. Raises RobotError or InputError of one line that names the file and the part."""
    where = f"{rig_file.path}: {table.name} ({table.kind})"
    opening = Opening(table.name, clock, rig_file.limits, rig_file.calibrations, rig_file.path.parent)
    try:
        part: Part = table.make(opening, table.settings)
    except (InputError, RobotError) as e:
        raise (InputError if isinstance(e, InputError) else RobotError)(f"{where}: {e}") from None
    except Exception as e:
        raise RobotError(f"{where} broke while it was opened: {describe_error(e)}") from e
    limits = rig_file.limits
    allowed_s = limits.order_s + limits.standstill_s
    if not part.stops_within_s <= allowed_s + 1e-9:
        part.close()
        raise InputError(
            f"{where} stands {part.stops_within_s:.3g} s after its last order, but the gate counts on "
            f"{allowed_s:.3g} s: make its watchdog_s shorter, its ramp steeper, or limits.forward_mm_s less"
        )
    return part


class RigRobot:
    """The parts of a rig behind the protocol of one robot."""

    def __init__(self, rig_file: RigFile, clock: Clock) -> None:
        self.rig_file, self.limits, self.calibration_mm2 = rig_file, rig_file.limits, rig_file.calibration_mm2
        self._clock = clock
        self._enabled = self._closed = False
        self._latched: dict[str, PartFault] = {}
        self._newest: RobotState | None = None
        self._said: dict[str, deque[PartState]] = {}
        self.parts: dict[str, Part] = {}
        try:
            for table in rig_file.parts:
                self.parts[table.name] = open_part(rig_file, table, clock)
                self._said[table.name] = deque(maxlen=KEPT_STATES)
            self._check_axes()
        except BaseException:
            self.close()
            raise

    def enable(self) -> None:
        """Make every part ready to move, at standstill.

        Holds all if one cannot be. Raises InputError for what somebody has to set first, and RobotError for the rest.
        """
        self._check_open()
        for name, part in self.parts.items():
            try:
                part.enable()
            except (InputError, RobotError) as e:
                self.hold(str(e))
                kind = InputError if isinstance(e, InputError) else RobotError
                raise kind(f"{self.rig_file.path}: {name} cannot be made ready: {e}") from None
            except Exception as e:
                self.hold(str(e))
                raise RobotError(f"{self.rig_file.path}: {name} broke in enable: {describe_error(e, part)}") from e
        self._enabled = True

    def faults(self) -> tuple[NamedFault, ...]:
        """Return what is wrong with the parts now, nothing if all is well. Reads them."""
        self.read()
        return tuple(NamedFault(name, fault) for name, fault in self._latched.items())

    def read(self) -> RobotState:
        """Merge what the parts measured. A part that failed is a fault of the state, and all parts are held.

        Raises RobotError while there is no complete state to return.
        """
        self._check_open()
        now = self._clock.now_s()
        states = {name: self._state_of(name, part, now) for name, part in self.parts.items()}
        wrong = next(self._wrong(states, now), None)
        merged = self._merged()
        if wrong is not None:
            self._hold_all(str(wrong))
        if merged is None:
            raise RobotError(str(wrong) if wrong is not None else "the parts of the rig have not said anything yet")
        self._newest = RobotState(**merged, fault=None if wrong is None else str(wrong))
        return self._newest

    def send(self, cleared: Cleared) -> None:
        """Let every part carry out its own of a command.

        Raises RobotError, and holds all parts, for anything but what the gate has cleared, for what is beyond the rig's
        own limits, for an axis that no part moves, and if a part refuses.
        """
        self._check_open()
        if not genuine(cleared):
            raise RobotError("a rig takes only what the safety gate has cleared: ask Gate.clear")
        if not self._enabled:
            raise RobotError("this rig was opened to be read only: call enable first")
        if cleared.command.stop:
            self._hold_all("stop")
            return
        refused = self._refusal(cleared.command)
        if refused is not None:
            self._hold_all(refused)
            raise RobotError(refused)
        for name, part in self.parts.items():
            try:
                part.carry_out(cleared)
            except Exception as e:
                why = f"{name}: {e}" if isinstance(e, RobotError) else f"{name} broke: {describe_error(e, part)}"
                self._hold_all(why)
                raise RobotError(why) from e

    def hold(self, reason: str) -> None:
        """Hold every part, also if one of them breaks in it. Raises RobotError once the rig is closed."""
        self._check_open()
        self._hold_all(reason)

    def close(self) -> None:
        """Hold and close every part. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._hold_all("closed")
        for part in self.parts.values():
            with contextlib.suppress(Exception):
                part.close()

    def _hold_all(self, reason: str) -> None:
        for name, part in self.parts.items():
            try:
                part.hold(reason)
            except Exception as e:  # noqa: BLE001  the others are held all the same
                text = f"its hold failed: {describe_error(e, part)}"
                self._latched.setdefault(name, PartFault("broke", text, self._clock.now_s()))

    def _check_axes(self) -> None:
        """Raise InputError if two parts move the same axis, or the file leaves an axis to nobody."""
        moved: dict[Axis, str] = {}
        for name, part in self.parts.items():
            for axis in sorted(part.axes):
                if axis in moved:
                    raise InputError(f"{self.rig_file.path}: {moved[axis]} and {name} both move {axis}: one part does")
                moved[axis] = name
        states = {name: self._state_of(name, part, self._clock.now_s()) for name, part in self.parts.items()}
        for axis in RIG_AXES:
            if axis not in moved and not any(state is not None and _measures(state, axis) for state in states.values()):
                how = {"probe": "probe = true", "angle": "angle_rad", "roll": "roll_rad"}.get(
                    axis, "a kind that moves it"
                )
                raise InputError(
                    f"{self.rig_file.path}: no part moves or knows {axis}: give it to one, "
                    f'or {how} to a part of kind "fixed"'
                )

    def _state_of(self, name: str, part: Part, now: float) -> PartState | None:
        """What a part says, None if it breaks. It is kept."""
        try:
            state = part.state()
            if not isinstance(state, PartState):
                raise TypeError(f"state must return a PartState, but returned {type(state).__name__}")
        except Exception as e:  # noqa: BLE001  all parts are held, and the run says why
            self._latched.setdefault(name, PartFault("broke", describe_error(e, part), now))
            return None
        if state.fault is not None:
            self._latched.setdefault(name, state.fault)
        kept = self._said[name]
        if not kept or state.time_s > kept[-1].time_s:
            kept.append(state)
        return state

    def _wrong(self, states: Mapping[str, PartState | None], now: float) -> Iterator[NamedFault]:
        """Everything that is wrong now. What was latched stays, what is only late does not."""
        yield from (NamedFault(name, fault) for name, fault in self._latched.items())
        for name, state in states.items():
            if state is None:
                continue
            fault = _own_contradiction(state, self.parts[name].axes, now, self.limits.ahead_s)
            if fault is not None:
                self._latched.setdefault(name, fault)
                yield NamedFault(name, fault)
            elif not now - state.time_s <= self.rig_file.state_age_s:
                why = f"its state is {now - state.time_s:.3g} s old; {self.rig_file.state_age_s:g} s are allowed"
                yield NamedFault(name, PartFault("stale", why, now))
        between = self._between(now)
        if between is not None:
            self._latched.setdefault(between.part, between.fault)
            yield between

    def _between(self, now: float) -> NamedFault | None:
        """Two parts that measure the same at the same time, and differ by more than an encoder may."""
        limits, at = self.limits, self._of_one_time()
        most = {"insertion": limits.encoder_mm, "angle": limits.encoder_rad, "roll": limits.encoder_roll_rad}
        for axis in RIG_AXES:
            bound = most.get(axis, limits.encoder_mm)
            seen = [(n, s) for n, s in at.items() if _measures(s, axis)]
            for (one, a), (other, b) in pairwise(seen):
                differ = max(abs(x - y) for x, y in zip(_place(a, axis), _place(b, axis), strict=True))
                if not differ <= bound:
                    why = f"it and {one} differ by {differ:.3g} in {axis}; {bound:g} are allowed"
                    return NamedFault(other, PartFault("contradiction", why, now))
        return None

    def _of_one_time(self) -> dict[str, PartState]:
        """What every part measured at the time of the oldest newest state. Empty while a part has said nothing."""
        if not self._said or any(not kept for kept in self._said.values()):
            return {}
        time_s = min(kept[-1].time_s for kept in self._said.values())
        return {name: _interpolated(kept, time_s) for name, kept in self._said.items()}

    def _merged(self) -> dict[str, Any] | None:
        """Fields of the merged state, None while a part has said nothing that can be used."""
        at = self._of_one_time()
        if not at:
            return None
        out: dict[str, Any] = {"time_s": min(kept[-1].time_s for kept in self._said.values())}
        for axis, names in _FIELDS.items():
            movers = [n for n, part in self.parts.items() if axis in part.axes]
            knows = next((n for n in (*movers, *self.parts) if _measures(at[n], axis)), None)
            if knows is None:
                return None
            out |= {name: getattr(at[knows], name) for name in names}
        return out

    def _refusal(self, command: Command) -> str | None:
        """Why a command is not passed on: a fault, a limit of this rig, an axis that nothing moves."""
        for name, fault in self._latched.items():
            return f"{name}: {fault}"
        limits, speed = self.limits, command.insertion_speed_mm_s
        if not -limits.backward_mm_s <= speed <= limits.forward_mm_s:
            return f"the order of {speed:.4g} mm/s is beyond the limits of {self.rig_file.path}"
        for axis, each, most in zip("xyz", command.probe_velocity_mm_s, limits.probe_mm_s, strict=True):
            if not abs(each) <= most:
                return (
                    f"the order of {each:.4g} mm/s for the probe's {axis} is beyond the limits of {self.rig_file.path}"
                )
        if not limits.angle_rad[0] <= command.insertion_angle_rad <= limits.angle_rad[1]:
            return (
                f"the ordered angle {command.insertion_angle_rad:.4g} rad is beyond the limits of {self.rig_file.path}"
            )
        return self._unmoved(command)

    def _unmoved(self, command: Command) -> str | None:
        moved = frozenset[Axis]().union(*(part.axes for part in self.parts.values()))
        at = self._newest
        if "insertion" not in moved and command.insertion_speed_mm_s != 0.0:
            return "no part of the rig pushes the needle"
        if "probe" not in moved and any(command.probe_velocity_mm_s):
            return "no part of the rig moves the probe"
        if at is None:
            return "the rig was not read yet"
        for axis, wanted, stands in (
            ("angle", command.insertion_angle_rad, at.insertion_angle_rad),
            ("roll", command.roll_rad, at.roll_rad),
        ):
            if axis not in moved and not abs(wanted - stands) <= self.limits.still_rad:
                return (
                    f"no part of the rig turns its {axis}: {wanted:.4g} rad was ordered, and it stands at {stands:.4g}"
                )
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise RobotError("the rig is closed: open it again")


def _measures(state: PartState, axis: Axis) -> bool:
    return getattr(state, _FIELDS[axis][0]) is not None


def _place(state: PartState, axis: Axis) -> tuple[float, ...]:
    value = getattr(state, _FIELDS[axis][0])
    return value if isinstance(value, tuple) else (value,)


def _own_contradiction(state: PartState, axes: frozenset[Axis], now: float, ahead_s: float) -> PartFault | None:
    """What one state says that cannot be."""
    if not state.time_s <= now + ahead_s:
        return PartFault("contradiction", f"its state is dated {state.time_s - now:.3g} s ahead of the clock", now)
    for axis in RIG_AXES:
        for name in _FIELDS[axis]:
            value = getattr(state, name)
            if value is None:
                if axis in axes and state.fault is None:
                    return PartFault("contradiction", f"it moves {axis} and does not say its {name}", now)
                continue
            if not all(math.isfinite(v) for v in (value if isinstance(value, tuple) else (value,))):
                return PartFault("contradiction", f"its {name} is {value}, which is no number", now)
    return None


def _interpolated(kept: deque[PartState], time_s: float) -> PartState:
    """What a part measured at a time, between what it said before and after. Its first or last where there is none."""
    after = kept[-1]
    for before in reversed(kept):
        if before.time_s <= time_s:
            if before is after or not time_s > before.time_s:
                return before
            part = (time_s - before.time_s) / (after.time_s - before.time_s)
            return _mix(before, after, part, time_s)
        after = before
    return after


def _mix(before: PartState, after: PartState, part: float, time_s: float) -> PartState:
    one: Callable[[float, float], float] = lambda a, b: a + part * (b - a)  # noqa: E731
    out: dict[str, Any] = {}
    for name in (name for names in _FIELDS.values() for name in names):
        a, b = getattr(before, name), getattr(after, name)
        if a is None or b is None:
            out[name] = b
        elif isinstance(a, tuple):
            place: Vector = (one(a[0], b[0]), one(a[1], b[1]), one(a[2], b[2]))
            out[name] = place
        else:
            out[name] = one(a, b)
    return PartState(time_s, **out, fault=after.fault)
