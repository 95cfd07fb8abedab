"""Measures five features of the tip along the axis and adds them up to h(x).

Source: Mathiassen et al. 2017 (full reference in `rays.py`), Section II-B, Algorithm 3.

| symbol | name here | unit |
| --- | --- | --- |
| x | index along the axis from the anchor | px |
| TR, LR | `region_px` pixels behind and ahead of x | px |
| I_k^Delta | image minus the image delta steps before, Eq. (8) | grey levels |
| K^SQ | `K_sq`, s_x x s_y = 40 x 20, Eq. (9) | no unit |
| K^G'' | `K_g`, s_y = 89, positive within +-s_n / 2, Eq. (10) | no unit |
| E_1..E_5 | rows of `E` | grey levels |
| w_1..w_5 | `weights` | 1 / grey level |
| h(x) | `h`, Eq. (6) | no unit |

Departs from the paper: Eq. (9) is sampled by the trapezoid rule, so that its sum over y is exactly zero. The sums over
y and x are taken as means, which only rescales the weights. The sizes of TR and LR and the shift n of E_5 are not
published. The defaults of `TipFeatures` are chosen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.imaging.rays import across_sign, bilinear_line

#: rows of `profiles`: grey, difference, square kernel, square kernel shifted deeper, second derivative of a Gaussian
GREY, DIFFERENCE, SQUARE, SQUARE_DEEPER, GAUSS = range(5)
#: grey level up to which a pixel is the black around the field of view. chosen: above it a pixel is tissue
BLACK = np.float32(2.0)


def square_kernel(size: int) -> F32:
    """Make K^SQ across the needle, for y = -size/2..size/2, with zero sum."""
    y = np.arange(-(size // 2), size // 2 + 1) / (size / 2)
    K = np.where(np.abs(y) < 0.5, 1.0, -1.0)  # Eq. (9)
    K[np.isclose(np.abs(y), 0.5)] = 0.0
    K[[0, -1]] *= 0.5
    out: F32 = (K / (size / 2)).astype(np.float32)
    return out


def gauss_kernel(size: int, width: float) -> F32:
    """Make K^G'' across the needle. It is positive for |y| < sigma / s_scale = width / 2."""
    y = np.arange(-(size // 2), size // 2 + 1)
    a = (y / (width / 2)) ** 2
    K = -2.0 * (a - 1.0) * np.exp(-a)  # Eq. (10)
    out: F32 = (K / np.abs(K).sum()).astype(np.float32)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def sample_band(image: U8, x0: float, y0: float, angle_rad: float, deeper: float, n: int, half: int, out: F32) -> None:
    """out[u, half + y] = image at anchor + u v_n + y v_p for 0 <= u < n, |y| <= half (bilinear)."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    px, py = -s * deeper, c * deeper
    for u in range(n):
        bilinear_line(image, x0 + u * c - half * px, y0 + u * s - half * py, px, py, out[u], 0, 2 * half + 1)


@njit(cache=True, nogil=True, fastmath=True)
def project(band: F32, n: int, K_sq: F32, K_g: F32, width: int, shift: int, profiles: F32) -> int:
    """Filter the band across the needle: rows GREY, SQUARE, SQUARE_DEEPER and GAUSS of `profiles`.

    Black pixels lie outside the field of view. They count as the mean of the others in their column, so that the edge
    of the picture is no edge of the needle. Returns the end of the view: columns up to the last whose needle width is
    lit.
    """
    mid = band.shape[1] // 2
    h_sq, h_g, h_w = K_sq.shape[0] // 2, K_g.shape[0] // 2, width // 2
    end = 0
    for u in range(n):
        row = band[u]
        total = lit = np.float32(0.0)
        for y in range(-h_g, h_g + 1):
            inside = np.float32(1.0) if row[mid + y] > BLACK else np.float32(0.0)
            lit += inside
            total += inside * row[mid + y]
        mean = total / max(lit, np.float32(1.0))
        grey = square = deeper = gauss = near = np.float32(0.0)
        for y in range(-h_w, h_w + 1):
            inside = np.float32(1.0) if row[mid + y] > BLACK else np.float32(0.0)
            near += inside
            grey += inside * (row[mid + y] - mean)
        for y in range(-h_sq, h_sq + 1):
            v = row[mid + y] if row[mid + y] > BLACK else mean
            d = row[mid + y + shift] if row[mid + y + shift] > BLACK else mean
            square += K_sq[h_sq + y] * v
            deeper += K_sq[h_sq + y] * d
        for y in range(-h_g, h_g + 1):
            gauss += K_g[h_g + y] * (row[mid + y] if row[mid + y] > BLACK else mean)
        profiles[GREY, u] = mean + grey / np.float32(2 * h_w + 1)
        profiles[SQUARE, u] = square
        profiles[SQUARE_DEEPER, u] = deeper
        profiles[GAUSS, u] = gauss
        if near > h_w:
            end = u + 1
    return end


@njit(cache=True, nogil=True, fastmath=True)
def project_difference(band: F32, earlier: F32, n: int, width: int, profiles: F32) -> None:
    """Fill row DIFFERENCE of `profiles`: mean of the difference over the needle's width. earlier: (u, width + 1)."""
    mid, h_w = band.shape[1] // 2, width // 2
    for u in range(n):
        total = np.float32(0.0)
        for y in range(-h_w, h_w + 1):
            total += band[u, mid + y] - earlier[u, h_w + y]  # Eq. (8)
        profiles[DIFFERENCE, u] = total / np.float32(2 * h_w + 1)


@njit(cache=True, nogil=True, fastmath=True)
def running_mean(p: F32, n: int, size: int, sums: NDArray[np.float64], out: F32) -> None:
    """out[x] = mean of p over the `size` samples about x (fewer at the ends)."""
    sums[0] = 0.0
    for u in range(n):
        sums[u + 1] = sums[u] + p[u]
    h = size // 2
    for u in range(n):
        a, b = max(0, u - h), min(n, u - h + size)
        out[u] = (sums[b] - sums[a]) / (b - a)


@njit(cache=True, nogil=True, fastmath=True)
def trailing_minus_leading(p: F32, n: int, region: int, sums: NDArray[np.float64], E: F32) -> None:
    """E[x] = mean of p over TR (region samples up to x) - mean over LR (region samples after x)."""
    sums[0] = 0.0
    for u in range(n):
        sums[u + 1] = sums[u] + p[u]
    for x in range(n):
        a, b = max(0, x + 1 - region), min(n, x + 1 + region)
        trailing = (sums[x + 1] - sums[a]) / (x + 1 - a)
        leading = (sums[b] - sums[x + 1]) / max(1, b - x - 1)
        E[x] = trailing - leading  # Eq. (7)


@njit(cache=True, nogil=True, fastmath=True)
def features(
    profiles: F32,
    n: int,
    region: int,
    s_x: int,
    s_n: int,
    weights: F32,
    sums: NDArray[np.float64],
    smooth: F32,
    E: F32,
    h: F32,
) -> None:
    """h = sum of w_i E_i. E_3 and E_5 are shifted by -s_n, which undoes the lag of the long K^SQ."""
    trailing_minus_leading(profiles[GREY], n, region, sums, E[0])
    trailing_minus_leading(profiles[DIFFERENCE], n, region, sums, E[1])
    for i, row in ((2, SQUARE), (4, SQUARE_DEEPER)):
        running_mean(profiles[row], n, s_x, sums, smooth)
        trailing_minus_leading(smooth, n, region, sums, E[i])
    trailing_minus_leading(profiles[GAUSS], n, region, sums, E[3])
    for x in range(n):
        h[x] = weights[0] * E[0, x] + weights[1] * E[1, x] + weights[3] * E[3, x]  # Eq. (6)
        y = min(x + s_n, n - 1)
        h[x] += weights[2] * E[2, y] + weights[4] * E[4, y]


@njit(cache=True, nogil=True, fastmath=True)
def shaft_score(band: F32, n: int, w: int, r: int, s: int, z: F32) -> float:
    """z[u] = telescoped ridge score near the axis over its noise off the axis. Returns that noise.

    The score is that of `rays.ray_scores` with averaging s and lag w, the largest within |y| <= r. The noise is the rms
    of the lag-w difference where |y| > r + w, plus one grey level. z is about 1.6 on a shaft and 0.2 off it.
    """
    width = band.shape[1]
    mid = width // 2
    mean = np.zeros(width, np.float32)
    power, count = 0.0, 0
    for u in range(n):
        z[u] = -1.0
    for u in range(2 * s + 1):
        for y in range(width):
            mean[y] += band[min(u, n - 1), y]
    scale = np.float32(1.0 / (2 * s + 1))
    for u in range(s, n - s):
        best = np.float32(-1e30)
        for y in range(mid - r, mid + r + 1):
            best = max(best, min(mean[y] - mean[y - w], mean[y] - mean[y + w]))
        z[u] = best * scale
        if u % 4 == 0:
            for y in range(w, width - w):
                if abs(y - mid) > r + w:
                    d = (mean[y] - mean[y - w]) * scale
                    power += d * d
                    count += 1
        if u + s + 1 < n:
            for y in range(width):
                mean[y] += band[u + s + 1, y] - band[u - s, y]
    noise = math.sqrt(power / max(count, 1)) + 1.0
    for u in range(s, n - s):
        z[u] /= np.float32(noise)
    return noise


@dataclass(frozen=True, slots=True)
class TipProfile:
    """What Algorithm 3 measured along the axis. The arrays are views of the workspace, good until the next call."""

    end: int
    """Number of px along the axis inside the field of view."""
    h: F32
    """h(x), Eq. (6), for 0 <= x < end, no unit."""
    z: F32
    """Score of the shaft at x, about 1.6 on a shaft and 0.2 off it, no unit."""


class _Workspace:
    """Kernels and work arrays for one set of parameters. No result depends on what an earlier call left in them."""

    def __init__(self, parameters: TipFeatures) -> None:
        n, width = parameters.max_px, parameters.s_n
        self.K_sq = square_kernel(width)
        self.K_g = gauss_kernel(parameters.s_y_gauss, width)
        self.weights = np.array(parameters.weights, np.float32)
        self.band = np.zeros((n, parameters.s_y_gauss), np.float32)
        self.earlier = np.zeros((n, width + 1), np.float32)
        self.profiles = np.zeros((5, n), np.float32)
        self.sums = np.zeros(n + 1, np.float64)
        self.smooth = np.zeros(n, np.float32)
        self.E = np.zeros((5, n), np.float32)
        self.h = np.zeros(n, np.float32)
        self.z = np.zeros(n, np.float32)


@dataclass(frozen=True)
class TipFeatures:
    """Parameters and workspace of Algorithm 3. Lengths are px at 0.10 mm/px."""

    weights: tuple[float, float, float, float, float]
    """w_1..w_5 of Eq. (6), 1 / grey level."""
    s_n: int = 20
    """Width of the needle with its echo, px: size s_y of K^SQ and shift of E_3 and E_5."""
    s_x: int = 40
    """Length of K^SQ along the needle, px."""
    s_y_gauss: int = 89
    """Size s_y of K^G'' across the needle, px."""
    region_px: int = 30  # chosen: not published
    """Length of TR and of LR, px."""
    shift_px: int = 10  # chosen: not published
    """n: shift of E_5 across the needle, px."""
    max_px: int = 1200  # chosen: 120 mm
    """Longest axis that is looked at, px."""
    _work: _Workspace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_work", _Workspace(self))

    def along(
        self, image: U8, earlier: U8 | None, anchor_px: tuple[float, float], angle_rad: float, n: int
    ) -> TipProfile:
        """Measure h(x) and z(x) for 0 <= x < n from `anchor_px` along `angle_rad`.

        image, earlier: (rows, columns) uint8, the present image and the one delta before it (None: E_2 = 0).
        """
        W = self._work
        n = min(n, self.max_px)
        deeper = across_sign(angle_rad)
        half = self.s_y_gauss // 2
        sample_band(image, *anchor_px, angle_rad, deeper, n, half, W.band)
        n = project(W.band, n, W.K_sq, W.K_g, self.s_n, self.shift_px, W.profiles)
        if earlier is None:
            W.profiles[DIFFERENCE, :n] = 0.0
        else:
            sample_band(earlier, *anchor_px, angle_rad, deeper, n, self.s_n // 2, W.earlier)
            project_difference(W.band, W.earlier, n, self.s_n, W.profiles)
        features(W.profiles, n, self.region_px, self.s_x, self.s_n, W.weights, W.sums, W.smooth, W.E, W.h)
        shaft_score(W.band, n, 7, 4, 4, W.z)  # chosen: lag, half width and averaging, px
        return TipProfile(n, W.h[:n], W.z[:n])

    def each_along(
        self, image: U8, earlier: U8 | None, anchor_px: tuple[float, float], angle_rad: float, n: int
    ) -> F32:
        """Measure E_1..E_5 apart, (5, end of the view), shifted as they enter h. Weights are trained on them."""
        end = self.along(image, earlier, anchor_px, angle_rad, n).end
        E: F32 = self._work.E[:, :end].astype(np.float32)
        later = np.minimum(np.arange(end) + self.s_n, end - 1)
        E[[2, 4]] = E[[2, 4]][:, later]
        return E
