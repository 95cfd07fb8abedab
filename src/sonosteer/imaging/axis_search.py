"""Finds the needle's axis by trying angles, coarse first, then fine.

Source: Mathiassen et al. 2017 (full reference in `rays.py`), Section II-A, Algorithms 1 and 2.

| symbol | name here | unit |
| --- | --- | --- |
| theta_k | `slopes`, tangents of the trial angles relative to the region's own angle | no unit |
| H(b), H_S(b) | histogram of the scores over y, plain and smoothed | grey levels |
| N_bins | `(2 half + 1) / bin_px` | no unit |
| p_p | `offset`, mean position of the axis across the needle | px |

Departs from the paper: see `rays.py`. N_bins and w_max are not published. The defaults of `AxisSearch` are chosen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.imaging.rays import across_sign, ray_scores, sample_rays
from sonosteer.imaging.scratch import Scratch

#: most rays that a search casts. chosen: 48 rays, 45 px apart, span more than 200 mm at 0.10 mm/px
MAX_RAYS = 48


@njit(cache=True, nogil=True, fastmath=True)
def axis_search_step(S: F32, n_rays: int, bin_px: int, H: F32) -> tuple[float, float]:
    """Algorithm 1, lines 14 to 31. Returns (p_p relative to the middle of the rays in px, H_max)."""
    size = S.shape[1]
    bins = size // bin_px
    for b in range(bins):  # lines 15 to 21: histogram
        H[b] = 0.0
    for k in range(n_rays):
        for b in range(bins):
            total = np.float32(0.0)
            for y in range(b * bin_px, (b + 1) * bin_px):
                total += S[k, y]
            H[b] += total
    best, b_max = np.float32(-1e30), 0
    for b in range(bins):  # lines 22 to 26: smoothed, and its largest bin
        smooth = H[b]
        if b > 0:
            smooth += np.float32(0.5) * H[b - 1]
        if b < bins - 1:
            smooth += np.float32(0.5) * H[b + 1]
        if smooth > best:
            best, b_max = smooth, b
    first, last = max(0, (b_max - 3) * bin_px), min(size, (b_max + 4) * bin_px)
    mean = 0.0
    for k in range(n_rays):  # lines 27 to 31: the best point of each ray near that bin, and their mean
        y_best = first
        for y in range(first + 1, last):
            if S[k, y] > S[k, y_best]:
                y_best = y
        mean += y_best
    return mean / n_rays - (size - 1) / 2, float(best)


@njit(cache=True, nogil=True, fastmath=True)
def try_angles(
    region: F32,
    rays_px: F32,
    n_rays: int,
    s: int,
    w: int,
    half: int,
    bin_px: int,
    slopes: NDArray[np.float64],
    R: F32,
    S: F32,
    H: F32,
) -> tuple[int, float, float]:
    """One pass of Algorithm 2 over `slopes`. Returns (index of the best, its p_p in px, its H_max per ray)."""
    best, offset, index = -1e30, 0.0, 0
    for t in range(slopes.shape[0]):
        ray_scores(region, rays_px, n_rays, s, w, half, slopes[t], R, S)
        p, h = axis_search_step(S, n_rays, bin_px, H)
        if h > best:
            best, offset, index = h, p, t
    return index, offset, best / n_rays


@njit(cache=True, nogil=True)
def adapt_rays(length_px: float, first_px: float, rays_px: F32) -> int:
    """Place the rays for a needle of `length_px` (Algorithm 1, line 3; Section III-B). Returns their number.

    There are 12 rays. If they were closer than 20 px, there are fewer, at least 3. If farther than 45 px, more.
    """
    span = max(length_px - first_px, 1.0)
    n = 12
    if span / n < 20.0:
        n = max(3, int(span / 20.0))
    elif span / n > 45.0:
        n = min(rays_px.shape[0], math.ceil(span / 45.0))
    spacing = min(max(span / n, 20.0), 45.0)
    for k in range(n):
        rays_px[k] = first_px + k * spacing
    return n


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight axis, by its direction and one point."""

    angle_rad: float
    """Direction from the entry to the tip, rad."""
    point_px: tuple[float, float]
    """Mean of the points on the axis that the rays found, px."""
    along_px: float
    """Distance of that point from the anchor along the axis, px."""
    score: float
    """H_max per ray, grey levels."""


@dataclass(frozen=True)
class AxisSearch:
    """Parameters and workspace of Algorithms 1 and 2. Lengths are px at 0.10 mm/px."""

    half_px: int = 48
    """Half length of a ray, px: rays are 97 px long, as published."""
    s_px: int = 9
    """s: pixels averaged on each side of a ray, px."""
    w_px: int = 4  # chosen: w_max + 1, not published
    """w: half width of the window across the needle, px."""
    bin_px: int = 1  # chosen: N_bins = 97, not published
    """Width of a bin of the histogram, px."""
    first_ray_px: float = 12.0  # chosen: clear of the image's border
    """Distance of the first ray from the anchor, px."""
    coarse_rad: float = math.radians(1.0)
    """Step of the first pass, rad."""
    fine_rad: float = math.radians(0.1)
    """Step of the second pass, rad. 0 leaves it out: the first pass goes in exact steps from the first angle on."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def search(
        self, image: U8, anchor_px: tuple[float, float], range_rad: tuple[float, float], length_px: float
    ) -> Axis:
        """Search for the axis (Algorithm 2) of a needle that reaches `length_px` from `anchor_px`.

        image: (rows, columns) uint8. range_rad: first and last trial angle.
        """
        middle = 0.5 * (range_rad[0] + range_rad[1])
        spread = 0.5 * (range_rad[1] - range_rad[0])
        deeper = across_sign(middle)
        rays = self._scratch.at_least("rays", (MAX_RAYS,))
        n = adapt_rays(length_px, self.first_ray_px, rays)
        slope_max = math.tan(spread + 0.5 * self.coarse_rad)
        reach = self.half_px + self.w_px
        full = reach + math.ceil((float(rays[n - 1]) + self.s_px) * slope_max) + 2
        region = self._scratch.at_least("region", (MAX_RAYS, 2 * self.s_px + 1, 2 * full + 1))
        sample_rays(image, *anchor_px, middle, deeper, rays, n, self.s_px, reach, slope_max, region)
        R = self._scratch.at_least("R", (2 * reach + 1,))
        S = self._scratch.at_least("S", (MAX_RAYS, 2 * self.half_px + 1))
        H = self._scratch.at_least("H", (2 * self.half_px + 1,))
        args = (region, rays, n, self.s_px, self.w_px, self.half_px, self.bin_px)

        if self.fine_rad > 0:
            steps = max(1, round(spread / self.coarse_rad))
            coarse = np.linspace(-spread, spread, 2 * steps + 1)
            i, _, _ = try_angles(*args, deeper * np.tan(coarse), R, S, H)
            tried = coarse[i] + self.fine_rad * np.arange(-5, 6)
        else:
            tried = np.arange(-spread, spread + 1e-9, self.coarse_rad)
        j, offset, score = try_angles(*args, deeper * np.tan(tried), R, S, H)
        delta = float(tried[j])
        along = float(rays[:n].mean())
        across = deeper * (offset + deeper * along * math.tan(delta))
        c, d = math.cos(middle), math.sin(middle)
        point = (anchor_px[0] + along * c - across * d, anchor_px[1] + along * d + across * c)
        return Axis(middle + delta, point, along, score)
