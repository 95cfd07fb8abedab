"""The one mapping between the time of day and a run's clock. It is watched: a step of the time of day is a fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sonosteer.core.clock import Clock

STEP_S = 0.02  # chosen: chrony and ntpd slew slower than 1 ms in a second, and step from 0.1 s on
LOOKS = 5  # chosen: a thread that is put aside between the two readings makes one of five wrong, not all


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A step of the time of day while a run goes on."""

    at_s: float
    """When it was noticed, s on the run's clock."""
    by_s: float
    """By how much, s. Positive: the time of day went forward."""

    @property
    def reason(self) -> str:
        """One line that says so."""
        return f"the time of day on this machine stepped by {self.by_s:+.3f} s"


class WallClock:
    """Turns the time of day (s since 1970, UTC) into a run's time and back. Safe between threads.

    wall_s: reads the time of day. The mapping follows slow changes. A step is told by `check`, once, and kept as
    `last_step`.
    """

    def __init__(self, clock: Clock, wall_s: Callable[[], float] = time.time) -> None:
        self._clock, self._wall_s = clock, wall_s
        self._lock = threading.Lock()
        self._origin_s = self._read_origin_s()
        self.last_step: ClockStep | None = None

    def to_run_s(self, wall_s: float) -> float:
        """Time of day, s -> the run's time, s."""
        return wall_s - self._origin_s

    def to_wall_s(self, run_s: float) -> float:
        """The run's time, s -> time of day, s."""
        return run_s + self._origin_s

    def check(self) -> str | None:
        """Compare the clocks again. Returns a line if the time of day stepped since the last look, else None."""
        with self._lock:
            origin_s = self._read_origin_s()
            step_s, self._origin_s = origin_s - self._origin_s, origin_s
            if abs(step_s) <= STEP_S:
                return None
            self.last_step = step = ClockStep(self._clock.now_s(), step_s)
        return step.reason

    def _read_origin_s(self) -> float:
        """Time of day at which the run's clock was zero, s. Of the look that took the least time."""
        best: tuple[float, float] | None = None
        for _ in range(LOOKS):
            before_s = self._clock.now_s()
            wall_s = self._wall_s()
            after_s = self._clock.now_s()
            look = (after_s - before_s, wall_s - 0.5 * (before_s + after_s))
            best = look if best is None else min(best, look)
        assert best is not None
        return best[1]
