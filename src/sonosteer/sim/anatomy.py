"""Structure larger than a few millimetres: layers, patches and tumours, anywhere in the world, never repeating
with the speckle's period.

The level of a frame's tissue is read here at every BLOCK samples and lines, at the tissue's resting place.
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
    """Recipe. layers: (from depth mm, level dB) from the skin down. patches_db: log-normal variation, patch_mm
    wide. tumours: number of ellipsoids with radii and levels drawn from tumour_mm and tumour_db; edge_mm: how
    soft their edge is. They lie between tumour_depth_mm, within tumour_spread_mm of the middle.
    """

    layers: tuple[tuple[float, float], ...] = ()
    patches_db: float = 0.0
    patch_mm: float = 6.0
    tumours: int = 0
    tumour_mm: tuple[float, float] = (5.0, 10.0)
    tumour_db: tuple[float, float] = (-14.0, -6.0)
    tumour_depth_mm: tuple[float, float] = (40.0, 90.0)
    tumour_spread_mm: float = 25.0
    edge_mm: float = 0.8

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
    """What was drawn. tumours: (n, 7) x, z, y of the middle, radii along x, z, y in mm, level in dB."""

    layers: F64
    tumours: F64
    patches: F32
    patch_mm: float
    edge_mm: float

    def level(self, x_mm: F64, z_mm: F64, y_mm: float) -> F32:
        """Amplitude factor at resting tissue points (any shape)."""
        out = np.empty(x_mm.shape, np.float32)
        tables = (self.layers, self.tumours, self.patches)
        _level(x_mm.ravel(), z_mm.ravel(), y_mm, *tables, self.patch_mm, self.edge_mm, out.reshape(-1))
        return out


def draw_structures(anatomy: Anatomy, rng: np.random.Generator) -> Structures:
    """Place everything. Tumours keep clear of one another where there is room."""
    placed: list[list[float]] = []
    for _ in range(anatomy.tumours):
        for _attempt in range(40):
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
    n = patches.shape[0]
    k, fk = math.floor(y / patch_mm), y / patch_mm - math.floor(y / patch_mm)
    some = patches[0, 0, 0] != 0
    for p in range(x.shape[0]):
        db = 0.0
        wavy = z[p] + 0.8 * math.sin(x[p] / 7.0) + 0.5 * math.sin(x[p] / 3.1 + y / 9.0)
        for i in range(layers.shape[0]):
            share = min(max((wavy - layers[i, 0]) / edge_mm + 0.5, 0.0), 1.0)
            below = layers[i - 1, 1] if i else 0.0
            db += share * (layers[i, 1] - below)
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
