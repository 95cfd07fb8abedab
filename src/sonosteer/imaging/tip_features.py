"""Five features of the tip along the axis: Algorithm 3 of Paper T.

Source: Mathiassen et al. 2017 (full reference in `rays.py`), Section II-B.

| symbol | name here | unit |
| --- | --- | --- |
| x | index along the axis from the anchor | px |
| TR, LR | `region_px` pixels behind and ahead of x | px |
| I_k^Delta | image minus the image delta steps before, Eq. (8) | grey levels |
| K^SQ | `K_sq`, s_x x s_y = 40 x 20, Eq. (9) | - |
| K^G'' | `K_g`, s_y = 89, positive within +-s_n / 2, Eq. (10) | - |
| E_1..E_5 | rows of `E` | grey levels |
| h(x) | `h`, Eq. (6) | - |

Departs from the paper: Eq. (9) is sampled by the trapezoid rule, so that its sum over y is exactly zero;
the sums over y and x are taken as means, which only rescales the weights; sizes of TR and LR and the shift n
of E_5 are not published, ours are `TipFeatures`' defaults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.imaging.rays import across_sign, bilinear_line

#: rows of `profiles`: grey, difference, square, square shifted deeper, second derivative of the Gaussian
GREY, DIFFERENCE, SQUARE, SQUARE_DEEPER, GAUSS = range(5)
#: ours: grey level up to which a pixel is the black around the field of view
BLACK = np.float32(2.0)


def square_kernel(size: int) -> F32:
    """K^SQ across the needle, Eq. (9), for y = -size/2..size/2, zero sum."""
    y = np.arange(-(size // 2), size // 2 + 1) / (size / 2)
    K = np.where(np.abs(y) < 0.5, 1.0, -1.0)
    K[np.isclose(np.abs(y), 0.5)] = 0.0
    K[[0, -1]] *= 0.5
    out: F32 = (K / (size / 2)).astype(np.float32)
    return out


def gauss_kernel(size: int, width: float) -> F32:
    """K^G'' across the needle, Eq. (10): positive for |y| < sigma / s_scale = width / 2."""
    y = np.arange(-(size // 2), size // 2 + 1)
    a = (y / (width / 2)) ** 2
    K = -2.0 * (a - 1.0) * np.exp(-a)
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

    Black pixels lie outside the field of view and count as the mean of the others in their column, so that
    the edge of the picture is no edge of the needle. Returns the end of the view: columns up to the last whose
    needle width is lit.
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
    """Row DIFFERENCE of `profiles`: mean over the needle's width of Eq. (8). earlier: (u, width + 1)."""
    mid, h_w = band.shape[1] // 2, width // 2
    for u in range(n):
        total = np.float32(0.0)
        for y in range(-h_w, h_w + 1):
            total += band[u, mid + y] - earlier[u, h_w + y]
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
    """Eq. (7): E[x] = mean of p over TR (region samples up to x) - mean over LR (region samples after x)."""
    sums[0] = 0.0
    for u in range(n):
        sums[u + 1] = sums[u] + p[u]
    for x in range(n):
        a, b = max(0, x + 1 - region), min(n, x + 1 + region)
        trailing = (sums[x + 1] - sums[a]) / (x + 1 - a)
        leading = (sums[b] - sums[x + 1]) / max(1, b - x - 1)
        E[x] = trailing - leading


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
    """Eq. (6): h = sum of w_i E_i; E_3 and E_5 are shifted by -s_n to undo the lag of the long K^SQ."""
    trailing_minus_leading(profiles[GREY], n, region, sums, E[0])
    trailing_minus_leading(profiles[DIFFERENCE], n, region, sums, E[1])
    for i, row in ((2, SQUARE), (4, SQUARE_DEEPER)):
        running_mean(profiles[row], n, s_x, sums, smooth)
        trailing_minus_leading(smooth, n, region, sums, E[i])
    trailing_minus_leading(profiles[GAUSS], n, region, sums, E[3])
    for x in range(n):
        h[x] = weights[0] * E[0, x] + weights[1] * E[1, x] + weights[3] * E[3, x]
        y = min(x + s_n, n - 1)
        h[x] += weights[2] * E[2, y] + weights[4] * E[4, y]


@njit(cache=True, nogil=True, fastmath=True)
def shaft_score(band: F32, n: int, w: int, r: int, s: int, z: F32) -> float:
    """z[u]: telescoped ridge score near the axis over its noise off the axis; returns that noise.

    The score is that of `rays.ray_scores` with averaging s and lag w, the largest within |y| <= r; the noise
    is the rms of the lag-w difference where |y| > r + w (+1 grey level). About 1.6 on a shaft, 0.2 off it.
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
    """What Algorithm 3 saw along the axis: h(x) and the shaft's score z(x) for 0 <= x < end of the view.

    Views of the workspace, good until the next call.
    """

    end: int
    h: F32
    z: F32


@dataclass(frozen=True)
class TipFeatures:
    """Parameters and workspace of Algorithm 3. Lengths in px at 0.10 mm/px."""

    weights: tuple[float, float, float, float, float]
    s_n: int = 20
    s_x: int = 40
    s_y_gauss: int = 89
    region_px: int = 30  # ours: length of TR and LR
    shift_px: int = 10  # ours: the n of E_5
    max_px: int = 1200  # ours: the longest axis looked at, 120 mm
    _scratch: dict[str, NDArray[np.generic]] = field(default_factory=dict, repr=False, compare=False)

    def _workspace(self) -> dict[str, NDArray[np.generic]]:
        if not self._scratch:
            n = self.max_px
            self._scratch.update(
                K_sq=square_kernel(self.s_n),
                K_g=gauss_kernel(self.s_y_gauss, self.s_n),
                w=np.array(self.weights, np.float32),
                band=np.zeros((n, self.s_y_gauss), np.float32),
                earlier=np.zeros((n, self.s_n + 1), np.float32),
                profiles=np.zeros((5, n), np.float32),
                sums=np.zeros(n + 1, np.float64),
                smooth=np.zeros(n, np.float32),
                E=np.zeros((5, n), np.float32),
                h=np.zeros(n, np.float32),
                z=np.zeros(n, np.float32),
            )
        return self._scratch

    def along(
        self, image: U8, earlier: U8 | None, anchor_px: tuple[float, float], angle_rad: float, n: int
    ) -> TipProfile:
        """h(x) and z(x) for 0 <= x < n from `anchor_px` along `angle_rad`.

        image, earlier: (rows, columns) uint8, the present image and the one delta before it (None: E_2 = 0).
        """
        W: dict[str, NDArray[np.float32]] = self._workspace()  # type: ignore[assignment]
        n = min(n, self.max_px)
        deeper = across_sign(angle_rad)
        half = self.s_y_gauss // 2
        sample_band(image, *anchor_px, angle_rad, deeper, n, half, W["band"])
        n = project(W["band"], n, W["K_sq"], W["K_g"], self.s_n, self.shift_px, W["profiles"])
        if earlier is None:
            W["profiles"][DIFFERENCE, :n] = 0.0
        else:
            sample_band(earlier, *anchor_px, angle_rad, deeper, n, self.s_n // 2, W["earlier"])
            project_difference(W["band"], W["earlier"], n, self.s_n, W["profiles"])
        features(
            W["profiles"],
            n,
            self.region_px,
            self.s_x,
            self.s_n,
            W["w"],
            W["sums"],
            W["smooth"],
            W["E"],
            W["h"],
        )
        shaft_score(W["band"], n, 7, 4, 4, W["z"])
        return TipProfile(n, W["h"][:n], W["z"][:n])

    def each_along(
        self, image: U8, earlier: U8 | None, anchor_px: tuple[float, float], angle_rad: float, n: int
    ) -> F32:
        """E_1..E_5 apart, (5, end of the view), shifted as they enter h: what weights are chosen on."""
        end = self.along(image, earlier, anchor_px, angle_rad, n).end
        E: F32 = self._workspace()["E"][:, :end].astype(np.float32)
        later = np.minimum(np.arange(end) + self.s_n, end - 1)
        E[[2, 4]] = E[[2, 4]][:, later]
        return E
