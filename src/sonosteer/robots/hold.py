"""`hold`: no robot at all. It takes every order and moves nothing: the floor, and for looking on."""

from __future__ import annotations

from sonosteer.core.clock import Clock, SimulatedClock
from sonosteer.core.errors import RobotError
from sonosteer.core.types import RobotState
from sonosteer.safety.gate import Cleared


class HoldRobot:
    """Its encoders stand at zero depth, at angle_rad below the horizontal. clock: that its readings are dated by."""

    def __init__(self, clock: Clock | None = None, angle_rad: float = 0.8) -> None:
        self._clock = clock or SimulatedClock()
        self._angle_rad = angle_rad
        self._closed = False

    def read(self) -> RobotState:
        """The encoders, now: always the same place."""
        self._check()
        return RobotState(self._clock.now_s(), 0.0, 0.0, self._angle_rad, 0.0, (0.0, 0.0, 0.0))

    def send(self, cleared: Cleared) -> None:
        """Take an order and let it be."""
        self._check()

    def hold(self, reason: str) -> None:
        """It does nothing else."""

    def close(self) -> None:
        """May be called twice."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise RobotError("robot hold is closed: make a new one")
