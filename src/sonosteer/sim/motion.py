"""Tissue motion: the needle drags the tissue along and pushes it aside.

Displacements are given at the point where the tissue is seen (the inverse map). That is right while the gradients of
displacement are well below one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numba import njit

from sonosteer.core.arrays import F64

REACH_MM = 3.0  # chosen: the motion falls to 1/e at this distance from the shaft's wall


@dataclass(slots=True)
class Drag:
    """Coulomb friction between shaft and tissue: it sticks up to a limit, then slides, and creeps back."""

    limit_mm: float
    """Furthest that the tissue comes along, mm."""
    pull_mm: float = 0.0
    """How far the tissue at the shaft is dragged now, mm. Positive inwards."""
    creep_s: float = 3.0
    """Time constant with which the tissue creeps back, s."""

    def advance(self, moved_mm: float, dt_s: float) -> None:
        """The shaft has moved by moved_mm within dt_s."""
        stretched = self.pull_mm + moved_mm
        held = min(max(stretched, -self.limit_mm), self.limit_mm)
        self.pull_mm = held * math.exp(-dt_s / self.creep_s)


@njit(cache=True, nogil=True, fastmath=True)
def drag_along(
    x: F64, z: F64, axis_x: F64, axis_z: F64, radius_mm: float, pull_mm: float, out_x: F64, out_z: F64
) -> None:
    """Fill in where tissue seen at (x, z) was at rest, beside a needle in the image plane. All lengths in mm.

    Near the shaft the tissue is dragged along by pull_mm and pushed aside by half a radius. Both fade over REACH_MM
    from the wall. x, z, out_x, out_z: (points,). axis_x, axis_z: (n,) corners of the axis from the tip back.
    """
    segments = axis_x.shape[0] - 1
    for p in range(x.shape[0]):
        best, best_dx, best_dz, best_side, best_ahead = 1e12, 0.0, 0.0, 0.0, 0.0
        for k in range(segments):
            tx, tz = axis_x[k] - axis_x[k + 1], axis_z[k] - axis_z[k + 1]  # towards the tip
            length = math.sqrt(tx * tx + tz * tz)
            if length == 0:
                continue
            tx /= length
            tz /= length
            ax, az = x[p] - axis_x[k + 1], z[p] - axis_z[k + 1]
            along, side = ax * tx + az * tz, -ax * tz + az * tx
            ahead = max(along - length, 0.0)
            behind = max(-along, 0.0)
            d = side * side + ahead * ahead + behind * behind
            if d < best:
                best, best_dx, best_dz, best_side, best_ahead = d, tx, tz, side, ahead
        out_x[p], out_z[p] = x[p], z[p]
        distance = math.sqrt(best)
        if distance > radius_mm + 6 * REACH_MM:
            continue
        near = math.exp(-max(distance - radius_mm, 0.0) / REACH_MM)
        aside = 0.0
        if best_ahead == 0.0:
            aside = math.copysign(0.5 * radius_mm * near, best_side) * min(abs(best_side) / radius_mm, 1.0)
        out_x[p] -= pull_mm * near * best_dx - aside * best_dz
        out_z[p] -= pull_mm * near * best_dz + aside * best_dx


@njit(cache=True, nogil=True, fastmath=True)
def push_aside(
    x: F64, z: F64, needle_x: float, needle_z: float, radius_mm: float, fraction: float, out_x: F64, out_z: F64
) -> None:
    """Fill in where tissue seen at (x, z) was at rest, around a needle that crosses the image plane. Lengths in mm.

    x, z, out_x, out_z: (points,). fraction: how much of the needle is in the beam, 0 to 1.
    """
    for p in range(x.shape[0]):
        dx, dz = x[p] - needle_x, z[p] - needle_z
        d = math.sqrt(dx * dx + dz * dz)
        u = fraction * 0.5 * radius_mm * math.exp(-max(d - radius_mm, 0.0) / REACH_MM) * min(d / radius_mm, 1.0)
        out_x[p], out_z[p] = x[p], z[p]
        if d > 1e-9:
            out_x[p] -= u * dx / d
            out_z[p] -= u * dz / d
