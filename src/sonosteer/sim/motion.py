"""What the tissue does: it is dragged along and pushed aside by the needle, and it breathes.

Displacements are given at the point where the tissue is seen (the inverse map), which is right for gradients of
displacement well below one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numba import njit

from sonosteer.core.arrays import F64

REACH_MM = 3.0  # how far from the wall the tissue comes along


@dataclass(slots=True)
class Drag:
    """Coulomb friction between shaft and tissue: sticks up to `limit_mm`, then slides, and creeps back."""

    limit_mm: float
    pull_mm: float = 0.0
    creep_s: float = 3.0

    def advance(self, moved_mm: float, dt_s: float) -> None:
        """The shaft has moved by so much."""
        stretched = self.pull_mm + moved_mm
        held = min(max(stretched, -self.limit_mm), self.limit_mm)
        self.pull_mm = held * math.exp(-dt_s / self.creep_s)


@njit(cache=True, nogil=True, fastmath=True)
def drag_along(
    x: F64, z: F64, axis_x: F64, axis_z: F64, radius_mm: float, pull_mm: float, out_x: F64, out_z: F64
) -> None:
    """Rest places of tissue seen at (x, z) beside a needle in the image plane; axis from the tip back, in mm.

    Near the shaft it is dragged along by pull_mm and pushed aside by half a radius; both fade within REACH_MM of
    the wall. x, z, out_x, out_z: flat.
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
    x: F64, z: F64, needle_x: float, needle_z: float, radius_mm: float, share: float, out_x: F64, out_z: F64
) -> None:
    """Rest places of tissue seen at (x, z) around a needle that crosses the plane; share: of it in the beam."""
    for p in range(x.shape[0]):
        dx, dz = x[p] - needle_x, z[p] - needle_z
        d = math.sqrt(dx * dx + dz * dz)
        u = share * 0.5 * radius_mm * math.exp(-max(d - radius_mm, 0.0) / REACH_MM) * min(d / radius_mm, 1.0)
        out_x[p], out_z[p] = x[p], z[p]
        if d > 1e-9:
            out_x[p] -= u * dx / d
            out_z[p] -= u * dz / d
