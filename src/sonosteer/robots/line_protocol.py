"""What a drive is told and says in lines of text: the protocol of an adapter, and one small protocol of our own.

Every request gets one line as an answer. Our own lines end in `*` and a check sum: CRC-16 (polynomial 0x1021, begun at
0) of what stands before the `*`, as four hexadecimal digits.

| request | answer | what |
| --- | --- | --- |
| `ID` | `ID name version` | who it is |
| `ST` | `ST state depth_um speed_um_s fault` | state is OFF, READY or FAULT, fault is a word of `FAULTS` or `-` |
| `EN` | `OK` | switched on, at standstill |
| `V speed_um_s lasts_ms` | `OK` | goes at this speed, and for no longer |
| `X` | `OK` | stops, and stays switched on |
| `RS` | `OK` | a fault is reset, which leaves it switched off |
| any | `ER why` | refused |

A drive whose `V` ran out while it moved stops and is in the fault WATCHDOG. It refuses each `V` until that is reset, so
that one that was held up on its way moves nothing.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sonosteer.robots.parts import FaultKind

#: word of a fault -> (kind, what it means)
FAULTS: Mapping[str, tuple[FaultKind, str]] = {
    "WATCHDOG": ("watchdog", "its last order ran out while it moved"),
    "FOLLOWING": ("following error", "the axis does not follow"),
    "LIMIT": ("end of travel", "a switch at the end of travel"),
    "STOP": ("stopped", "somebody pressed its stop"),
    "REFERENCE": ("not referenced", "it does not know where it stands: home it by hand"),
    "DRIVE": ("drive fault", "current, voltage or temperature"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAnswer:
    """What an answer says. None where it does not say that."""

    text: str = ""
    """The answer in words, for people."""
    refused: str | None = None
    """Why the drive refuses what it was asked, None if it does not."""
    ready: bool | None = None
    """True where it is switched on and may move."""
    depth_mm: float | None = None
    """Where the axis is, mm, as the drive counts."""
    speed_mm_s: float | None = None
    """How fast it goes, mm/s. Positive goes in."""
    fault: tuple[FaultKind, str] | None = None
    """What is wrong with the drive, by name and in words. None while all is well."""


class LineProtocol(Protocol):
    """How to speak with one kind of drive. Each method makes a request, and `answer` reads what comes back.

    The drive itself must stop `lasts_s` after the last `move`. One that does not cannot be used here.
    """

    terminator: bytes
    """What ends each line, both ways."""

    def identify(self) -> bytes:
        """Ask who it is. Moves nothing."""
        ...

    def status(self) -> bytes:
        """Ask for state, place and speed. Moves nothing."""
        ...

    def enable(self) -> bytes:
        """Switch it on, at standstill."""
        ...

    def move(self, speed_mm_s: float, lasts_s: float) -> bytes:
        """Go at this speed for no longer than lasts_s."""
        ...

    def stop(self) -> bytes:
        """Stop, and stay switched on."""
        ...

    def reset(self) -> bytes:
        """Reset a fault. Moves nothing."""
        ...

    def answer(self, request: bytes, line: bytes) -> LineAnswer:
        """Read the answer to a request, both without terminator. Raises ValueError for one that is damaged."""
        ...


class OwnProtocol:
    """The protocol of this page."""

    terminator = b"\n"

    def identify(self) -> bytes:
        """Ask who it is."""
        return checked("ID")

    def status(self) -> bytes:
        """Ask for state, place and speed."""
        return checked("ST")

    def enable(self) -> bytes:
        """Switch it on."""
        return checked("EN")

    def move(self, speed_mm_s: float, lasts_s: float) -> bytes:
        """Go at this speed for no longer than lasts_s."""
        return checked(f"V {round(1e3 * speed_mm_s)} {int(1e3 * lasts_s)}")

    def stop(self) -> bytes:
        """Stop."""
        return checked("X")

    def reset(self) -> bytes:
        """Reset a fault."""
        return checked("RS")

    def answer(self, request: bytes, line: bytes) -> LineAnswer:
        """Read an answer."""
        words = unchecked(line).split(" ")
        if words[0] == "ER":
            return LineAnswer(refused=" ".join(words[1:]) or "no reason given")
        if words[0] == "ID":
            return LineAnswer(text=" ".join(words[1:]))
        if words == ["OK"]:
            return LineAnswer()
        kind, state, depth_um, speed_um_s, fault = words
        if kind != "ST" or state not in ("OFF", "READY", "FAULT") or (fault != "-" and fault not in FAULTS):
            raise ValueError(f"there is no such answer: {' '.join(words)}")
        wrong = FAULTS.get(fault, FAULTS["DRIVE"] if state == "FAULT" else None)
        return LineAnswer(
            text=state,
            ready=state == "READY",
            depth_mm=1e-3 * int(depth_um),
            speed_mm_s=1e-3 * int(speed_um_s),
            fault=wrong,
        )


def checked(text: str) -> bytes:
    """A line with its check sum, without terminator."""
    data = text.encode("ascii")
    return data + b"*%04X" % binascii.crc_hqx(data, 0)


def unchecked(line: bytes) -> str:
    """A line without its check sum. Raises ValueError if that is wrong."""
    data, star, given = line.rpartition(b"*")
    if not star or given != b"%04X" % binascii.crc_hqx(data, 0):
        raise ValueError(f"its check sum is wrong: {line!r}")
    return data.decode("ascii")
