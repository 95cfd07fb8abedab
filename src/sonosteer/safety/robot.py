"""The protocol of a robot. It takes only what the gate has cleared, and can always be told to hold."""

from __future__ import annotations

from typing import Protocol

from sonosteer.core.types import RobotState
from sonosteer.safety.cleared import Cleared


class Robot(Protocol):
    """A driver: cleared commands in, encoders out. Raises RobotError when the device refuses or is gone."""

    def read(self) -> RobotState:
        """Read the encoders now."""
        ...

    def send(self, cleared: Cleared) -> None:
        """Carry out a command until it expires. The driver, too, lets nothing move after that."""
        ...

    def hold(self, reason: str) -> None:
        """Stop every motion at once and stay. Needs no clearance."""
        ...

    def close(self) -> None:
        """Hold and let go of the device. May be called twice."""
        ...
