"""Structure larger than a few millimetres: layers, patches and tumours.

It lies in the world and does not repeat with the speckle's period. A frame reads its level here at every BLOCK
samples and lines, at the tissue's resting place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What lies in the tissue: layers, patches and tumours."""

    layers: tuple[tuple[float, float], ...] = ()
    """Rows (upper edge in mm of depth, level in dB), from the skin down. None by default."""
    patches_db: float = 0.0
    """Log-normal variation of the level over patches, dB. 0 to 30, 0: none."""
    patch_mm: float = 6.0
    """Size of a patch, mm. 0.5 to 100."""
    tumours: int = 0
    """Number of tumours, ellipsoids. 0 to 50."""
    tumour_mm: tuple[float, float] = (5.0, 10.0)
    """Range that the radii are drawn from, mm. More than 0."""
    tumour_db: tuple[float, float] = (-14.0, -6.0)
    """Range that the level inside is drawn from, dB. Negative is darker than the tissue around."""
    tumour_depth_mm: tuple[float, float] = (40.0, 90.0)
    """Range that the depth of the middle is drawn from, mm."""
    tumour_spread_mm: float = 25.0
    """Largest lateral distance of the middle from the world's x = 0, mm."""
    edge_mm: float = 0.8
    """How wide the edges of layers and tumours are, mm. 0.05 to 20."""

    def __post_init__(self) -> None:
        check_finite(self, "anatomy")
        check_range(self, "anatomy", 0.0, 30.0, "patches_db")
        check_range(self, "anatomy", 0.5, 100.0, "patch_mm")
        check_range(self, "anatomy", 0, 50, "tumours")
        check_range(self, "anatomy", 0.05, 20.0, "edge_mm")
        if self.tumour_mm[0] <= 0:
            raise InputError(f"anatomy: tumour_mm is {self.tumour_mm}; radii are more than 0 mm")


@dataclass(frozen=True, slots=True)
class Structures:
    """The layers, patches and tumours of one scene, drawn."""

    layers: F64
    """(n, 2) upper edge in mm of depth and level in dB, from the skin down."""
    tumours: F64
    """(n, 7) x, z, y of the middle and radii along x, z, y in mm, level in dB."""
    patches: F32
    """(16, 16, 16) level in dB at grid points patch_mm apart. It repeats."""
    patch_mm: float
    """Distance of the grid points of `patches`, mm."""
    edge_mm: float
    """How wide the edges of layers and tumours are, mm."""

    def level(self, x_mm: F64, z_mm: F64, y_mm: float) -> F32:
        """Amplitude factor of the tissue that rests at x, z (same shape) and y."""
        out = np.empty(x_mm.shape, np.float32)
        tables = (self.layers, self.tumours, self.patches)
        _level(x_mm.ravel(), z_mm.ravel(), y_mm, *tables, self.patch_mm, self.edge_mm, out.reshape(-1))
        return out


def draw_structures(anatomy: Anatomy, rng: np.random.Generator) -> Structures:
    """Draw layers, patches and tumours. Tumours keep clear of one another where there is room."""
    placed: list[list[float]] = []
    for _ in range(anatomy.tumours):
        for _attempt in range(40):  # chosen: after that they may touch
            radii = rng.uniform(*anatomy.tumour_mm) * rng.uniform(0.75, 1.25, 3)
            x = rng.uniform(-anatomy.tumour_spread_mm, anatomy.tumour_spread_mm)
            z, y = rng.uniform(*anatomy.tumour_depth_mm), rng.uniform(-3.0, 3.0)
            if all(math.hypot(x - p[0], z - p[1]) > max(radii[:2]) + max(p[3:5]) for p in placed):
                break
        placed.append([x, z, y, *radii, rng.uniform(*anatomy.tumour_db)])
    patches = (rng.standard_normal((16, 16, 16)) * anatomy.patches_db).astype(np.float32)
    layers = np.array(anatomy.layers, np.float64).reshape(-1, 2)
    return Structures(layers, np.array(placed).reshape(-1, 7), patches, anatomy.patch_mm, anatomy.edge_mm)


@njit(cache=True, nogil=True, fastmath=True)
def _level(
    x: F64, z: F64, y: float, layers: F64, tumours: F64, patches: F32, patch_mm: float, edge_mm: float, out: F32
) -> None:
    """Fill in the amplitude factor, no unit. x, z, out: (points,), x, y, z in mm. The rest as in `Structures`."""
    n = patches.shape[0]
    k, fk = math.floor(y / patch_mm), y / patch_mm - math.floor(y / patch_mm)
    some = patches[0, 0, 0] != 0
    for p in range(x.shape[0]):
        db = 0.0
        # chosen: layers wave by about a millimetre
        wavy = z[p] + 0.8 * math.sin(x[p] / 7.0) + 0.5 * math.sin(x[p] / 3.1 + y / 9.0)
        for i in range(layers.shape[0]):
            fraction = min(max((wavy - layers[i, 0]) / edge_mm + 0.5, 0.0), 1.0)
            below = layers[i - 1, 1] if i else 0.0
            db += fraction * (layers[i, 1] - below)
        if some:
            i, j = math.floor(z[p] / patch_mm), math.floor(x[p] / patch_mm)
            fi, fj = z[p] / patch_mm - i, x[p] / patch_mm - j
            v = 0.0
            for di in range(2):
                for dj in range(2):
                    w = (fi if di else 1 - fi) * (fj if dj else 1 - fj)
                    a = patches[(i + di) % n, (j + dj) % n, k % n]
                    b = patches[(i + di) % n, (j + dj) % n, (k + 1) % n]
                    v += w * (a + (b - a) * fk)
            db += v
        for i in range(tumours.shape[0]):
            u, v, w = (x[p] - tumours[i, 0]), (z[p] - tumours[i, 1]), (y - tumours[i, 2])
            d = math.sqrt((u / tumours[i, 3]) ** 2 + (v / tumours[i, 4]) ** 2 + (w / tumours[i, 5]) ** 2)
            inside = (1.0 - d) * tumours[i, 3] / edge_mm + 0.5
            db += tumours[i, 6] * min(max(inside, 0.0), 1.0)
        out[p] = 10.0 ** (db / 20.0)
