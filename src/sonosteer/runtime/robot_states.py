"""What a robot said of late, and what it would have said at a frame's time.

A frame arrives after it was acquired, and its robot state belongs to that moment. It is interpolated between the states
before and after. Outside of what the robot said nothing is made up: there is then a reason instead of a state.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from dataclasses import replace

from sonosteer.core.types import RobotState

KEPT_S = 2.0  # chosen: several times the age at which the gate refuses an estimate
#: chosen: so many states in a row that are older than the newest, but each newer than the one before, are right. The
#: newest one's time was misread then
AGREE_COUNT = 5
MAX_GAP_S = 0.1  # chosen: at 25 mm/s and 200 mm/s^2 a straight line over it is wrong by 0.3 mm at most


class RobotStates:
    """The states of the last KEPT_S. One thread adds them, others ask."""

    def __init__(self) -> None:
        self._states: deque[RobotState] = deque()
        self._older: list[RobotState] = []
        self.leaps = 0
        """How often the robot's times leapt back for good."""
        self._changed = threading.Condition()

    def heard(self, state: RobotState) -> None:
        """Add a state. One that is not newer than the last, or has no time, adds nothing.

        Several in a row that are older than the last, but newer than one another, begin anew: the last one's time was
        misread, or a clock was set back.
        """
        with self._changed:
            if not math.isfinite(state.time_s):
                return
            if self._states and not state.time_s > self._states[-1].time_s:
                follows = self._older and state.time_s > self._older[-1].time_s
                self._older = [*self._older, state] if follows else [state]
                if len(self._older) < AGREE_COUNT:
                    return
                self._states, state = deque(self._older[:-1]), self._older[-1]
                self.leaps += 1
            self._older = []
            self._states.append(state)
            while self._states[0].time_s < state.time_s - KEPT_S:
                self._states.popleft()
            self._changed.notify_all()

    def at(self, time_s: float, wait_s: float) -> RobotState | str:
        """Return the state at a time, or in one line why there is none.

        Waits up to wait_s for a state of that time or later.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._states) and self._states[-1].time_s >= time_s, wait_s)
            states = list(self._states)
        if not states:
            return "the robot has not said anything yet"
        if not time_s >= states[0].time_s:
            return (
                f"a frame of {time_s:.3f} s is older than the robot states that are kept: they begin at "
                f"{states[0].time_s:.3f} s"
            )
        if not time_s <= states[-1].time_s:
            return f"a frame of {time_s:.3f} s is newer than the newest robot state, of {states[-1].time_s:.3f} s"
        k = bisect_left(states, time_s, key=lambda state: state.time_s)
        after = states[k]
        if after.time_s == time_s:
            return after
        before = states[k - 1]
        gap_s = after.time_s - before.time_s
        if not gap_s <= MAX_GAP_S:
            return f"at {time_s:.3f} s the robot had not said anything for {gap_s:.2f} s; {MAX_GAP_S:g} s are allowed"
        return between(before, after, (time_s - before.time_s) / gap_s)


def between(before: RobotState, after: RobotState, fraction: float) -> RobotState:
    """Interpolate between two states. fraction: 0 is the first, 1 the second. A fault of either stays."""

    def mixed(a: float, b: float) -> float:
        return a + fraction * (b - a)

    x, y, z = (mixed(a, b) for a, b in zip(before.probe_mm, after.probe_mm, strict=True))
    return replace(
        after,
        time_s=mixed(before.time_s, after.time_s),
        depth_mm=mixed(before.depth_mm, after.depth_mm),
        insertion_speed_mm_s=mixed(before.insertion_speed_mm_s, after.insertion_speed_mm_s),
        insertion_angle_rad=mixed(before.insertion_angle_rad, after.insertion_angle_rad),
        roll_rad=mixed(before.roll_rad, after.roll_rad),
        probe_mm=(x, y, z),
        fault=after.fault or before.fault,
    )
