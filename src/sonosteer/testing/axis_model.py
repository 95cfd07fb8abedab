"""The motor and the needle behind a stand-in of a drive, in a time of its own.

That time passes in small steps. A long pause of the machine is left out of it, so that what is measured in it does not
depend on how busy the machine is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

STEP_S = 0.001  # chosen: a watchdog is checked so often
MAX_PAUSE_S = (
    0.05  # chosen: of a longer pause of the machine the axis misses the rest. Its watchdog must not trip by it
)


@dataclass(slots=True)
class AxisModel:
    """One axis. `advance` lets its time pass, `heard` notes an order that was renewed."""

    up_mm_s2: float = 500.0
    """Fastest growth of the speed, mm/s^2."""
    down_mm_s2: float = 1000.0
    """Deceleration, mm/s^2."""
    time_s: float = 0.0
    """Its own time, s."""
    depth_mm: float = 20.0
    """Where it is, mm."""
    speed_mm_s: float = 0.0
    """How fast it goes, mm/s."""
    target_mm_s: float = 0.0
    """How fast it shall go, mm/s."""
    jammed: bool = False
    """True where it cannot move, whatever it is told."""
    renewed_s: float = 0.0
    """When an order was renewed last, s of its own time."""
    renewed_mm: float = 20.0
    """Where it was then, mm."""
    renewed_mm_s: float = 0.0
    """How fast it went then, mm/s."""
    stood_mm: float | None = None
    """Where it came to stand after the last renewal, mm. None while it still moves."""
    crept_mm: float = 0.0
    """How far it has been from there since, at most, mm. 0 or more."""

    def heard(self) -> None:
        """Note that an order was renewed."""
        self.renewed_s, self.renewed_mm, self.renewed_mm_s = self.time_s, self.depth_mm, self.speed_mm_s
        self.stood_mm, self.crept_mm = None, 0.0

    def advance(self, dt_s: float) -> None:
        """Let time pass."""
        self.time_s += dt_s
        before = self.speed_mm_s
        slows = abs(self.target_mm_s) < abs(before) or self.target_mm_s * before < 0.0
        change = (self.down_mm_s2 if slows else self.up_mm_s2) * dt_s
        self.speed_mm_s = 0.0 if self.jammed else before + min(max(self.target_mm_s - before, -change), change)
        if not self.jammed:
            self.depth_mm += 0.5 * (before + self.speed_mm_s) * dt_s
        if self.stood_mm is None and self.speed_mm_s == 0.0 and self.target_mm_s == 0.0:
            self.stood_mm = self.depth_mm
        if self.stood_mm is not None:
            self.crept_mm = max(self.crept_mm, abs(self.depth_mm - self.stood_mm))

    def report(self) -> dict[str, Any]:
        """What was measured, as JSON can say it."""
        return {
            "time_s": self.time_s,
            "depth_mm": self.depth_mm,
            "speed_mm_s": self.speed_mm_s,
            "renewed_s": self.renewed_s,
            "renewed_mm_s": self.renewed_mm_s,
            "travel_mm": abs(self.depth_mm - self.renewed_mm),
            "stands": self.stood_mm is not None,
            "crept_mm": self.crept_mm,
        }


class OwnTime:
    """How much of its own time may pass now: as much as has really passed, but for long pauses."""

    def __init__(self) -> None:
        self._before_s = time.perf_counter()

    def steps(self) -> int:
        """Number of steps of `STEP_S` that are due since the last call, of `MAX_PAUSE_S` at most."""
        now = time.perf_counter()
        due = int((now - self._before_s) / STEP_S)
        self._before_s = now if due * STEP_S > MAX_PAUSE_S else self._before_s + due * STEP_S
        return min(due, round(MAX_PAUSE_S / STEP_S))
