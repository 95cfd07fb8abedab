"""What a viewer of a run is shown, every control period. It looks on, and nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sonosteer.core.types import Action, Capture, Observation, RobotState
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.safety.gate import Cleared, Refused
from sonosteer.safety.stop import Stop


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ControlMoment:
    """One control period of a run, as a viewer sees it."""

    now_s: float
    """When it was, s on the run's clock."""
    tick: int
    """Number of the period, from 1."""
    capture: Capture | None
    """The picture that is new in this period. None: there is no new one."""
    observation: Observation | None
    """The newest observation, None before the first."""
    verdict: Cleared | Refused
    """What the gate said."""
    stop: Stop | None
    """The stop that is latched, None while there is none."""
    held: str | None
    """Why the operator lets everything wait, None while nobody does."""
    robot_state: RobotState | None
    """What the robot said, None while it says nothing."""
    action: Action | None
    """The newest action, None before the first."""
    ledger: FrameLedger
    """The account of every frame so far. It goes on."""
    decisions: int
    """Number of decisions of the policy so far."""


class RunViewer(Protocol):
    """Looks at a run while it goes on, as the console does. It never raises, and never keeps the loop waiting."""

    def look(self, moment: ControlMoment) -> None:
        """Take note of one control period."""
        ...
