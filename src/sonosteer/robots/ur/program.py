"""What our URScript program on the controller reads and writes, and the program itself (`sonosteer.script`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from pathlib import Path

from sonosteer.robots.parts import FaultKind
from sonosteer.robots.ur.wire import FieldValue

PROGRAM_NAME = "sonosteer.script"
PROGRAM_VERSION = 1
SPEED_UP_MM_S2 = 500.0  # as the program has it: a test compares
SLOW_DOWN_MM_S2 = 1000.0
FASTEST_MM_S = 80.0
FURTHEST_S = 0.15
_ORDER = tuple(f"input_int_register_{k}" for k in range(24, 29))
_TWIST = tuple(f"input_double_register_{k}" for k in range(24, 30))
INPUT_FIELDS = (*_ORDER, *_TWIST)
_SAID = tuple(f"output_int_register_{k}" for k in range(24, 31))
OUTPUT_FIELDS = (
    *("timestamp", "actual_TCP_pose", "actual_TCP_speed", "robot_mode", "safety_mode", "runtime_state"),
    *("target_speed_fraction", *_SAID),
)
PLAYING = 2
RUNTIME_STATES = {0: "STOPPING", 1: "STOPPED", PLAYING: "PLAYING", 3: "PAUSING", 4: "PAUSED", 5: "RESUMING"}
POWERED = 7
ROBOT_MODES = {
    -1: "NO CONTROLLER",
    0: "DISCONNECTED",
    1: "CONFIRM SAFETY",
    2: "BOOTING",
    3: "POWER OFF",
    4: "POWER ON",
    5: "IDLE",
    6: "BACKDRIVE",
    POWERED: "RUNNING",
    8: "UPDATING FIRMWARE",
}
MAY_MOVE = frozenset({1, 2})
SAFETY_MODES = {
    1: "NORMAL",
    2: "REDUCED",
    3: "PROTECTIVE STOP",
    4: "RECOVERY",
    5: "SAFEGUARD STOP",
    6: "SYSTEM EMERGENCY STOP",
    7: "ROBOT EMERGENCY STOP",
    8: "VIOLATION",
    9: "FAULT",
    10: "VALIDATE JOINT ID",
    11: "UNDEFINED",
    12: "AUTOMATIC MODE SAFEGUARD STOP",
    13: "THREE-POSITION STOP",
}


class ProgramState(IntEnum):
    """State of the program, as it says in output register 27."""

    WAITS = 0
    HOLDS = 1
    MOVES = 2
    LATCHED = 3


#: why the program latched -> (name of the fault, in words)
LATCHED_WHY: Mapping[int, tuple[FaultKind, str]] = {
    1: ("watchdog", "the program stopped the arm, since no order was renewed in time"),
    2: ("refused", f"the program refused an order that would last more than {FURTHEST_S:g} s"),
    3: ("refused", f"the program refused an order of more than {FASTEST_MM_S:g} mm/s, or one that is no number"),
    4: ("stopped", "the arm was slower than the program told it: was it paused, or held up?"),
}


@dataclass(frozen=True, slots=True)
class ArmOrder:
    """What the program is told. It takes an order only if `sequence` is new, and arms only on a hold."""

    session: int
    """Number of this session, no unit. A new one lifts the latch."""
    sequence: int
    """Number of the order, no unit."""
    last_tick: int = 0
    """Tick of the program past which nothing moves on it, no unit."""
    twist: tuple[float, ...] | None = None
    """Velocity of the TCP in the base frame: m/s, then rad/s. None: hold."""

    def values(self) -> dict[str, FieldValue]:
        """Values of the input registers."""
        numbers = (self.session, self.sequence, self.last_tick, int(self.twist is not None), self.sequence)
        out: dict[str, FieldValue] = dict(zip(_ORDER, numbers, strict=True))
        return out | dict(zip(_TWIST, self.twist or (0.0,) * 6, strict=True))


@dataclass(frozen=True, slots=True)
class ArmRow:
    """What the controller says, once each row."""

    timestamp_s: float
    """When it was measured, s of the controller's own time."""
    pose: tuple[float, ...]
    """TCP in the base frame: m, and a rotation vector, rad."""
    twist: tuple[float, ...]
    """Velocity of the TCP in the base frame: m/s, and rad/s."""
    robot_mode: int
    """Robot mode, a key of `ROBOT_MODES`, no unit."""
    safety_mode: int
    """Safety mode, a key of `SAFETY_MODES`, no unit."""
    runtime_state: int
    """State of whatever program runs, a key of `RUNTIME_STATES`, no unit."""
    slider: float
    """Where the speed slider stands, 0 to 1, no unit."""
    version: int
    """Version of our program, no unit."""
    sequence: int
    """Number of the last order that the program took or refused, no unit."""
    session: int
    """Session in which it is armed, no unit."""
    state: int
    """State of the program, a `ProgramState`, no unit."""
    why: int
    """Why it is latched, a key of `LATCHED_WHY`, no unit. 0 where it is not."""
    tick: int
    """Cycles that the program has run, no unit."""
    refused: int
    """Orders that it refused, no unit."""
    number: int
    """Rows that have come on this connection, no unit."""

    @classmethod
    def of(cls, said: Mapping[str, FieldValue], number: int) -> ArmRow:
        """A row of the fields `OUTPUT_FIELDS`."""
        values = [said[name] for name in OUTPUT_FIELDS]
        return cls(*values, number)  # type: ignore[arg-type,call-arg]


def program_path() -> Path:
    """Where the program lies in this installation."""
    return Path(str(resources.files("sonosteer.robots.ur"))) / PROGRAM_NAME


def program_text() -> str:
    """The program as it is sent to the controller."""
    return program_path().read_text(encoding="utf-8")


def named(names: Mapping[int, str], number: int) -> str:
    """Name of a mode, or its number where it has none."""
    return names.get(number, f"unknown ({number})")
