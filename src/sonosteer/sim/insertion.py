"""A rigid needle pushed along a straight line: where the tip is in each frame, and what the tissue does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Insertion:
    """Trajectory in probe mm. The line is that of the wall facing the transducer; entry at the image's side.

    angle_rad: below the horizontal. from_right: mirrored. The needle rests, moves at speed_mm_s from start_mm
    to end_mm of inserted length, and rests again.
    """

    entry_x_mm: float
    entry_z_mm: float
    angle_rad: float
    from_right: bool
    speed_mm_s: float
    start_mm: float
    end_mm: float
    rest_frames: int
    end_rest_frames: int
    rate_hz: float

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        moving = math.floor((self.end_mm - self.start_mm) / self.speed_mm_s * self.rate_hz)
        return self.rest_frames + moving + self.end_rest_frames + 1

    def at(self, index: int) -> tuple[float, float]:
        """(inserted length in mm, speed in mm/s) in a frame."""
        moved_s = (index - self.rest_frames) / self.rate_hz
        length = self.start_mm + max(0.0, moved_s) * self.speed_mm_s
        moving = moved_s >= 0 and length < self.end_mm
        return min(length, self.end_mm), self.speed_mm_s if moving else 0.0

    @property
    def direction(self) -> tuple[float, float]:
        """Unit vector (x, z) from entry to tip."""
        sign = -1.0 if self.from_right else 1.0
        return sign * math.cos(self.angle_rad), math.sin(self.angle_rad)

    def tip_mm(self, length_mm: float) -> tuple[float, float]:
        """(x, z) of the apex."""
        dx, dz = self.direction
        return self.entry_x_mm + length_mm * dx, self.entry_z_mm + length_mm * dz

    def wall_mm(self, length_mm: float, tip_y_mm: float, step_mm: float) -> F64:
        """(n, 3) points (x, z, y) of the upper wall from the apex back to 3 mm outside the image."""
        s = np.arange(0.0, length_mm + 3.0, step_mm)
        x, z = self.tip_mm(length_mm)
        dx, dz = self.direction
        y = tip_y_mm * np.clip(1 - s / max(length_mm, 1.0), 0, 1) ** 2
        return np.stack([x - dx * s, z - dz * s, y], 1)


def drag(
    x_mm: F64,
    z_mm: F64,
    tip: tuple[float, float],
    direction: tuple[float, float],
    radius_mm: float,
    pull_mm: float,
) -> tuple[F64, F64]:
    """Displacement (u_x, u_z) of tissue near the shaft: dragged along it, pushed aside by it.

    Decays over 3 mm from the wall. Positive ahead of the tip only through the distance to it.
    """
    dx, dz = direction
    ax, az = x_mm - tip[0], z_mm - tip[1]
    along, across = ax * dx + az * dz, -ax * dz + az * dx
    axis = across - math.copysign(radius_mm, dx)  # the axis runs one radius below the upper wall
    distance = np.hypot(axis, np.maximum(along, 0.0))
    near = np.exp(-np.maximum(distance - radius_mm, 0.0) / 3.0)
    u_along = pull_mm * near
    u_across = np.sign(axis) * 0.5 * radius_mm * near * (along < 0)
    return u_along * dx - u_across * dz, u_along * dz + u_across * dx
