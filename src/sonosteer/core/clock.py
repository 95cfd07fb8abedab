"""Clocks, real or simulated. One is passed to whoever needs the time: nobody asks the system."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds since an arbitrary origin, and a way to wait."""

    def now_s(self) -> float:
        """Return the present time in seconds."""
        ...

    def sleep_until(self, time_s: float) -> None:
        """Return when `now_s() >= time_s`, at once if that is past."""
        ...


class RealClock:
    """The machine's monotonic clock, started at zero."""

    def __init__(self) -> None:
        self._origin_ns = time.perf_counter_ns()

    def now_s(self) -> float:
        """Seconds since this clock was made."""
        return (time.perf_counter_ns() - self._origin_ns) * 1e-9

    def sleep_until(self, time_s: float) -> None:
        """Block the calling thread until `time_s`."""
        delay_s = time_s - self.now_s()
        if delay_s > 0:
            time.sleep(delay_s)


class ShiftedClock:
    """A clock whose zero is at `origin_s` of another one."""

    def __init__(self, clock: Clock, origin_s: float) -> None:
        self._clock, self._origin_s = clock, origin_s

    def now_s(self) -> float:
        """Seconds since the origin."""
        return self._clock.now_s() - self._origin_s

    def sleep_until(self, time_s: float) -> None:
        """Wait on the other clock."""
        self._clock.sleep_until(time_s + self._origin_s)


class SimulatedClock:
    """A clock that moves only when told, for deterministic runs that are faster than real time."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Seconds on this clock."""
        return self._now_s

    def sleep_until(self, time_s: float) -> None:
        """Jump to `time_s` if that lies ahead."""
        self._now_s = max(self._now_s, time_s)

    def advance(self, by_s: float) -> None:
        """Move the clock on by `by_s` seconds. Raises ValueError if that is negative or NaN."""
        if not by_s >= 0:
            raise ValueError(f"a clock cannot go back: advance({by_s})")
        self._now_s += by_s
