"""A robot that is read but told nothing. What would have been told is recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sonosteer.core.clock import Clock
from sonosteer.core.errors import RobotError
from sonosteer.core.types import Command, RobotState
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.safety.robot import Robot

KEPT_ORDERS = 100_000  # chosen: a quarter of an hour at 100 Hz


@dataclass(frozen=True, slots=True)
class UnsentOrder:
    """What the robot was not told."""

    time_s: float
    """When it would have been told, s on the run's clock."""
    command: Command | None
    """The command. None where it would have been told to hold."""
    held_because: str | None = None
    """Why it would have been held. None for a command."""


class DryRun:
    """Reads a robot, and passes nothing on, not even a hold. It was not made ready to move, so it stands.

    note: called with each order that was not passed on. The encoders do not follow these orders, so the gate stops the
    run once they differ by `Limits.encoder_mm`, as it should.
    """

    def __init__(self, robot: Robot, clock: Clock, note: Callable[[UnsentOrder], None] | None = None) -> None:
        self.robot = robot
        self.unsent: deque[UnsentOrder] = deque(maxlen=KEPT_ORDERS)
        self.counted = 0
        self._clock, self._note, self._closed = clock, note, False

    def read(self) -> RobotState:
        """Read the robot."""
        return self.robot.read()

    def send(self, cleared: Cleared) -> None:
        """Record a command. Raises RobotError for anything but what the gate has cleared."""
        self._check()
        if not genuine(cleared):
            raise RobotError("a dry run takes only what the safety gate has cleared: ask Gate.clear")
        self._keep(UnsentOrder(self._clock.now_s(), cleared.command))

    def hold(self, reason: str) -> None:
        """Record a hold."""
        self._check()
        self._keep(UnsentOrder(self._clock.now_s(), None, reason))

    def close(self) -> None:
        """Let go of the robot. May be called twice."""
        self._closed = True
        self.robot.close()

    def _keep(self, order: UnsentOrder) -> None:
        self.counted += 1
        self.unsent.append(order)
        if self._note is not None:
            self._note(order)

    def _check(self) -> None:
        if self._closed:
            raise RobotError("the dry run is closed: make a new one")
