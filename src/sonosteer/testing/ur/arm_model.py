"""The arm behind the stand-in of a controller: twists to poses, in a time of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sonosteer.calibration.poses import rotation_of, vector_of

DOWN = (math.pi, 0.0, 0.0)  # the tool looks down


@dataclass(slots=True)
class ArmModel:
    """An arm that goes where it is told. What is measured counts from the last order that was renewed."""

    place_m: np.ndarray = field(default_factory=lambda: np.array([0.4, 0.0, 0.3]))
    """TCP in the base frame, (3,), m."""
    turn_rad: np.ndarray = field(default_factory=lambda: np.array(DOWN))
    """How the tool is turned, rotation vector (3,), rad."""
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    """Velocity that it aims at, of the TCP in the base frame, (6,): m/s, rad/s."""
    time_s: float = 0.0
    """Its own time, s."""
    jammed: bool = False
    """True where it cannot move, whatever it is told."""
    renewed_s: float = 0.0
    """When an order was renewed last, s of its own time."""
    renewed_mm_s: float = 0.0
    """How fast it went then, mm/s."""
    travel_mm: float = 0.0
    """How far it went since then, along its way, mm."""
    stands: bool = True
    """Whether it came to stand since."""
    crept_mm: float = 0.0
    """How far it went after that, along its way, mm."""

    def heard(self) -> None:
        """Note that an order was renewed."""
        self.renewed_s, self.renewed_mm_s = self.time_s, self.speed_mm_s
        self.travel_mm = self.crept_mm = 0.0
        self.stands = False

    @property
    def actual(self) -> np.ndarray:
        """Velocity of the TCP, (6,): m/s, rad/s. Zero where it is jammed."""
        return np.zeros(6) if self.jammed else self.twist

    @property
    def speed_mm_s(self) -> float:
        """How fast the TCP goes, mm/s."""
        x, y, z = self.actual[:3].tolist()
        return 1e3 * math.hypot(x, y, z)

    def toward(self, goal: np.ndarray, most_m_s2: float, dt_s: float) -> None:
        """Change the velocity toward a goal (6,) as fast as the acceleration allows. 10 rad/s^2 for each m/s^2."""
        change = goal - self.twist
        if not change.any():
            return
        size = float(np.linalg.norm(change[:3]) + 0.1 * np.linalg.norm(change[3:]))
        self.twist = goal.copy() if size <= most_m_s2 * dt_s else self.twist + change * (most_m_s2 * dt_s / size)

    def advance(self, dt_s: float, *, holds: bool) -> None:
        """Let time pass. holds: whether the program means it to stand."""
        self.time_s += dt_s
        step = self.speed_mm_s * dt_s
        if step or self.twist.any():
            actual = self.actual
            self.place_m = self.place_m + actual[:3] * dt_s
            if actual[3:].any():
                self.turn_rad = vector_of(rotation_of(actual[3:] * dt_s) @ rotation_of(self.turn_rad))
        if self.stands:
            self.crept_mm += step
        else:
            self.travel_mm += step
            self.stands = holds and not self.twist.any()

    @property
    def pose(self) -> tuple[float, ...]:
        """The TCP as a controller says it, (6,): m, rotation vector in rad."""
        return (*self.place_m.tolist(), *self.turn_rad.tolist())

    def report(self) -> dict[str, Any]:
        """What was measured, as JSON can say it."""
        return {
            "time_s": self.time_s,
            "pose": self.pose,
            "speed_mm_s": self.speed_mm_s,
            "renewed_s": self.renewed_s,
            "renewed_mm_s": self.renewed_mm_s,
            "travel_mm": self.travel_mm,
            "stands": self.stands,
            "crept_mm": self.crept_mm,
        }
