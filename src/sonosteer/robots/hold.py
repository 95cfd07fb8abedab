"""`hold`: no robot at all. It takes every command and moves nothing."""

from __future__ import annotations

from sonosteer.core.clock import Clock, SimulatedClock
from sonosteer.core.errors import RobotError
from sonosteer.core.types import RobotState
from sonosteer.safety.cleared import Cleared, genuine


class HoldRobot:
    """A robot whose encoders stand at zero depth and at angle_rad. clock: dates what they say."""

    def __init__(self, clock: Clock | None = None, angle_rad: float = 0.8) -> None:
        self._clock = clock or SimulatedClock()
        self._angle_rad = angle_rad
        self._closed = False

    def read(self) -> RobotState:
        """Read the encoders now: always the same place."""
        self._check()
        return RobotState(
            time_s=self._clock.now_s(),
            depth_mm=0.0,
            insertion_speed_mm_s=0.0,
            insertion_angle_rad=self._angle_rad,
            roll_rad=0.0,
            probe_mm=(0.0, 0.0, 0.0),
        )

    def send(self, cleared: Cleared) -> None:
        """Take a command and ignore it. Raises RobotError for anything but what the gate has cleared."""
        self._check()
        if not genuine(cleared):
            raise RobotError("robot hold takes only what the safety gate has cleared: ask Gate.clear")

    def hold(self, reason: str) -> None:
        """Do nothing, as always."""

    def close(self) -> None:
        """Close it. May be called twice."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise RobotError("robot hold is closed: make a new one")
