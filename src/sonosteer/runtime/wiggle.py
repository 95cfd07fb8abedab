"""Moves a held needle to and fro on the way that it has gone, so that pictures show where its tip is.

A policy asks for it with `Action.wiggle`. The control branch makes an order of it in every control period, from the
encoder of that moment, and each goes through the gate like any other. The gate bounds depth, speed, turns and time
(`safety.rules.of_the_wiggle`).

The needle is drawn back first: by so much that at every moment it could stand before the deepest point it had reached,
as the gate reckons. Then it swings about there.

| symbol | name here | unit |
| --- | --- | --- |
| A | `AMPLITUDE_MM` | mm |
| f | `SWING_HZ` | Hz |
| d(t) = c - A sin(2 pi f t) | depth. c is the middle, `BEHIND_MM` behind the deepest point | mm |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sonosteer.core.types import Action, Command, Estimate, RobotState
from sonosteer.safety.limits import Limits

AMPLITUDE_MM = 0.5  # issue: half a millimetre either way
SWING_HZ = 2.0  # chosen: five pictures a swing where a policy looks ten times a second
BEHIND_MM = 1.6  # chosen: 1.4 mm is what the gate reckons with at full speed, and the encoder is noisy
BACK_MM_S = 5.0  # chosen: of the way back before the first swing
NEAR_MM = 0.15  # chosen: the middle has been reached within this distance
CLOSE_PER_S = 2.0  # chosen: rate at which a drift from the middle is corrected
LASTS_S = 0.08  # chosen: a robot may hear an order as late as `Limits.standstill_s`, and it outlasts the next


@dataclass(frozen=True, slots=True)
class WiggleMotion:
    """A wiggle under way."""

    middle_mm: float
    """c, inserted length about which the needle swings, mm."""
    began_s: float
    """When the wiggle began, s on the run's clock."""
    swings_s: float | None = None
    """When the needle began to swing, s on the run's clock. None while it is drawn back."""

    @classmethod
    def begin(cls, deepest_mm: float, now_s: float) -> WiggleMotion:
        """Begin a wiggle behind the deepest point that the needle has reached."""
        return cls(deepest_mm - BEHIND_MM, now_s)

    def step(self, now_s: float, limits: Limits, robot_state: RobotState) -> tuple[WiggleMotion, float]:
        """Return the motion and the speed that is wanted now, mm/s."""
        gap_mm = self.middle_mm - robot_state.depth_mm
        if self.swings_s is None:
            if abs(gap_mm) > NEAR_MM:
                return self, math.copysign(min(abs(gap_mm) / 0.1, BACK_MM_S, limits.wiggle_mm_s), gap_mm)
            return replace(self, swings_s=now_s).step(now_s, limits, robot_state)
        phase = 2 * math.pi * SWING_HZ * (now_s - self.swings_s)
        wanted_mm = -AMPLITUDE_MM * math.sin(phase)
        swing = -2 * math.pi * SWING_HZ * AMPLITUDE_MM * math.cos(phase)
        speed = swing + CLOSE_PER_S * (gap_mm + wanted_mm)
        way = math.copysign(1.0, swing)  # the phase alone decides which way, so that noise turns nothing
        return self, way * min(max(way * speed, 0.0), limits.wiggle_mm_s)

    def action(
        self, speed_mm_s: float, now_s: float, *, estimate: Estimate, robot_state: RobotState, kept_rad: float | None
    ) -> Action:
        """Return the order of one control period.

        kept_rad: where the needle was last told to point, None before that. It is not turned.
        """
        command = Command(
            expires_at_s=now_s + LASTS_S,
            insertion_speed_mm_s=speed_mm_s,
            insertion_angle_rad=robot_state.insertion_angle_rad if kept_rad is None else kept_rad,
            roll_rad=robot_state.roll_rad,
        )
        return Action(estimate.frame_index, estimate.time_s, command, wiggle=True)
