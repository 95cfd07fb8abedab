"""The face of a robot. It takes only what the gate has cleared, and can always be told to hold."""

from __future__ import annotations

from typing import Protocol

from sonosteer.core.types import RobotState
from sonosteer.safety.gate import Cleared


class Robot(Protocol):
    """Orders out, encoders in. A driver raises RobotError when the device refuses or is gone."""

    def read(self) -> RobotState:
        """The encoders, now."""
        ...

    def send(self, cleared: Cleared) -> None:
        """Carry out an order until it expires; the driver, too, lets nothing move after that."""
        ...

    def hold(self, reason: str) -> None:
        """Stop every motion at once and stay. Needs nobody's leave."""
        ...

    def close(self) -> None:
        """Hold and let go of the device. May be called twice."""
        ...
