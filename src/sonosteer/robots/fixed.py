"""`fixed`: what somebody has clamped. It measures nothing, says where it was clamped, and moves nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from sonosteer.core.config import check_finite
from sonosteer.core.errors import InputError, RobotError
from sonosteer.robots.parts import Axis, Opening, PartState
from sonosteer.safety.cleared import Cleared, genuine


@dataclass(frozen=True, slots=True)
class FixedSettings:
    """Where it is clamped."""

    angle_rad: float | None = None
    """Angle of the needle, rad below the horizontal. Left out where another part has it."""
    roll_rad: float | None = None
    """Roll of the needle's base, rad. Left out where another part has it."""
    probe: bool = False
    """True where the probe is clamped, too."""

    def __post_init__(self) -> None:
        check_finite(self, "fixed")
        if self.angle_rad is not None and not 0.0 <= self.angle_rad <= 0.5 * math.pi:
            raise InputError(f"angle_rad is {self.angle_rad:g}; 0 to 1.57 rad below the horizontal is possible")
        if self.angle_rad is None and self.roll_rad is None and not self.probe:
            raise InputError("nothing is clamped: give angle_rad, roll_rad or probe = true")


class FixedPart:
    """A clamped guide, a clamped probe, or both."""

    Settings: ClassVar[type[FixedSettings]] = FixedSettings
    axes: frozenset[Axis] = frozenset()
    """What it moves."""
    stops_within_s = 0.0
    """How long it moves on at most, s. Never."""

    def __init__(self, opening: Opening, settings: FixedSettings) -> None:
        self._name, self._clock, self._settings = opening.name, opening.clock, settings

    def state(self) -> PartState:
        """Return where it is clamped, as of now."""
        s = self._settings
        return PartState(
            time_s=self._clock.now_s(),
            insertion_angle_rad=s.angle_rad,
            roll_rad=s.roll_rad,
            probe_mm=(0.0, 0.0, 0.0) if s.probe else None,
        )

    def describe(self) -> str:
        """Say what is clamped."""
        s = self._settings
        parts = [
            None if s.angle_rad is None else f"angle {s.angle_rad:g} rad",
            None if s.roll_rad is None else f"roll {s.roll_rad:g} rad",
            "the probe" if s.probe else None,
        ]
        return f"clamped, as the rig file says: {', '.join(filter(None, parts))}. Nothing measures it"

    def enable(self) -> None:
        """Do nothing."""

    def carry_out(self, cleared: Cleared) -> None:
        """Move nothing. Raises RobotError for anything but what the gate has cleared."""
        if not genuine(cleared):
            raise RobotError(f"{self._name} takes only what the safety gate has cleared: ask Gate.clear")

    def hold(self, reason: str) -> None:
        """Do nothing, as always."""

    def close(self) -> None:
        """Do nothing. May be called twice."""
