"""Small motion by hand: the operator frees a needle whose tip is lost, on the way that it has gone.

The gate bounds it: `Limits.unseen_mm_s` and `Limits.unseen_mm` (SAFETY.md). Only the operator's button asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sonosteer.core.types import Action, Command, Estimate, RobotState
from sonosteer.safety.limits import Limits

HandWay = Literal["back", "forth"]
STEP_S = 0.5  # chosen: one press moves the needle by a millimetre at most


@dataclass(frozen=True, slots=True)
class HandMotion:
    """One press of the key: the needle is wanted to go back or forth for a moment."""

    way: HandWay
    """"back" draws the needle, "forth" pushes it."""
    until_s: float
    """When it is over, s on the run's clock."""

    def action(
        self,
        now_s: float,
        limits: Limits,
        *,
        estimate: Estimate | None,
        robot_state: RobotState,
        kept_rad: float | None,
    ) -> Action | None:
        """Return what is wanted now, None once it is over and before the first estimate.

        kept_rad: where the needle was last told to point, None before that. It is not turned.
        """
        if estimate is None or not now_s < self.until_s:
            return None
        speed = limits.unseen_mm_s if self.way == "forth" else -limits.unseen_mm_s
        command = Command(
            expires_at_s=now_s + limits.order_s,
            insertion_speed_mm_s=speed,
            insertion_angle_rad=robot_state.insertion_angle_rad if kept_rad is None else kept_rad,
            roll_rad=robot_state.roll_rad,
        )
        return Action(estimate.frame_index, estimate.time_s, command)
