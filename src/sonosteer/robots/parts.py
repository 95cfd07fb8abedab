"""What a part of a rig is: an arm, a needle axis, a guide. `robots/rig.py` composes them into one Robot.

A part has a thread of its own for all that its device says and is told. `state`, `carry_out` and `hold` never wait for
the device, so that no part holds up the control loop, nor another part. What goes wrong is not raised but becomes a
`PartFault`, which stays until the part is opened again: the rig reads it and holds every part.

Whoever writes a part keeps four laws. Nothing moves after an order's `expires_at_s`. The device itself stops within a
stated time once nobody renews its order, even if this process is dead or frozen, or the link is closed. A part that
stopped for a fault never moves again by itself. Opening a part, and `describe`, move nothing and energise nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from sonosteer.calibration.record import Calibration, Kind
from sonosteer.core.clock import Clock
from sonosteer.core.errors import RobotError
from sonosteer.core.types import Command, Vector
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.safety.limits import Limits

#: what a part can move, and measure: the needle along itself, its angle, the roll of its base, the probe
Axis: TypeAlias = Literal["insertion", "angle", "roll", "probe"]
RIG_AXES: tuple[Axis, ...] = ("insertion", "angle", "roll", "probe")

FaultKind: TypeAlias = Literal[
    "no link",
    "silent",
    "stale",
    "refused",
    "not ready",
    "not referenced",
    "stopped",
    "watchdog",
    "following error",
    "end of travel",
    "drive fault",
    "contradiction",
    "broke",
]


@dataclass(frozen=True, slots=True)
class PartFault:
    """Why a part does not move until somebody has put it right."""

    kind: FaultKind
    """What is wrong, by name. "stopped": its own emergency, protective or quick stop. "watchdog": it stopped itself
    since nobody renewed its order. "contradiction": it says what cannot be. "broke": its driver raised something."""
    reason: str
    """What the device says, in one line, with what to do."""
    at_s: float
    """When it was noticed, s on the run's clock."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PartState:
    """What a part measured, all of one moment. None where it does not measure that."""

    time_s: float
    """When it was measured, s on the run's clock: not when it was asked for."""
    depth_mm: float | None = None
    """Inserted length of the needle, mm. With `insertion_speed_mm_s`, of a part that moves `insertion`."""
    insertion_speed_mm_s: float | None = None
    """Speed of the needle along itself, mm/s. Positive goes in."""
    insertion_angle_rad: float | None = None
    """Angle of the needle, rad below the horizontal."""
    roll_rad: float | None = None
    """Roll of the needle's base, rad."""
    probe_mm: Vector | None = None
    """Where the probe is, mm from where the run began: x along the image, y across it, z down."""
    fault: PartFault | None = None
    """Why the part does not move, None while all is well."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a part is told when it is opened, beside its own table of the rig file."""

    name: str
    """Name of its table in the rig file, such as needle."""
    clock: Clock
    """The run's clock. Nobody asks the system for the time."""
    limits: Limits
    """The gate's limits, tightened by the rig file."""
    calibrations: Mapping[Kind, Calibration] = field(default_factory=dict)
    """Calibrations of the rig, by kind."""
    folder: Path = Path()
    """Folder of the rig file. Relative paths in it start here."""


class Part(Protocol):
    """A part of a rig. A class of parts is called with an `Opening` and its `Settings`, and connects.

    Connecting may take a few seconds, moves nothing, and raises RobotError or InputError of one line. Once it is done,
    a first state was measured. A class that cannot do without some calibrations names their kinds in `needs`.
    """

    Settings: ClassVar[type[Any]]
    """Frozen dataclass of its table in the rig file. Names of fields end in their unit."""
    axes: frozenset[Axis]
    """What it moves."""
    stops_within_s: float
    """How long it moves on at most once its order is not renewed, the ramp down included, s, as the device itself
    keeps it."""

    def state(self) -> PartState:
        """Return what it measured last. Never waits. Of a part that fell silent, the old state with its old time."""
        ...

    def describe(self) -> str:
        """Say in one line what is seen of the device: what it is, where it stands, in what mode. Moves nothing."""
        ...

    def enable(self) -> None:
        """Make it ready to move, at standstill. May wait a few seconds. Raises RobotError if it cannot be,
        or InputError where somebody has to set something first.

        A fault of the device is not reset, nothing is homed, no stop is unlocked: that is for people.
        """
        ...

    def carry_out(self, cleared: Cleared) -> None:
        """Move its own axes as ordered until the order expires. Never waits for the device.

        Raises RobotError for what the gate has not cleared, and if it has a fault or is closed.
        """
        ...

    def hold(self, reason: str) -> None:
        """Stop and stay, at once and before any order that waits. Never waits for the device, never raises."""
        ...

    def close(self) -> None:
        """Hold, let go of the device and end the thread. Waits a second or two. May be called twice."""
        ...


class StandingOrder:
    """The newest order of a part, between the control loop and the part's own thread. A hold replaces it."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._changed = threading.Condition()
        self._command: Command | None = None
        self._held_because = "nothing was ordered yet"
        self._serial = 0

    def put(self, cleared: Cleared) -> None:
        """Replace what stands. A stop is a hold. Raises RobotError for anything but what the gate has cleared."""
        if not genuine(cleared):
            raise RobotError(f"{self._name} takes only what the safety gate has cleared: ask Gate.clear")
        if cleared.command.stop:
            self.hold("stop")
            return
        with self._changed:
            self._command = cleared.command
            self._serial += 1
            self._changed.notify_all()

    def hold(self, reason: str) -> None:
        """Forget the order."""
        with self._changed:
            self._command, self._held_because = None, reason
            self._serial += 1
            self._changed.notify_all()

    def newest(self) -> tuple[int, Command | None, str]:
        """Return (serial number, the command, why it is held). The command is None at hold and once it has expired.

        A command without an expiry counts as expired: every order ends by itself.
        """
        with self._changed:
            command = self._command
            if command is not None and (command.expires_at_s is None or command.expired(self._clock.now_s())):
                self._command = command = None
                self._held_because = "the order expired"
            return self._serial, command, self._held_because

    def wait(self, serial: int, timeout_s: float) -> bool:
        """Wait up to timeout_s for one newer than `serial`. Returns True if there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._serial != serial, timeout_s)
