"""Algorithms 1 to 3 of Paper T in plain NumPy, line by line: the reference for speed, and the tests' oracle.

Source: Mathiassen et al., IEEE Trans. Control Systems Technology 25(3), 2017. Written from the paper's text,
not from the kernels: every angle resamples the image for itself, the window sums of Eqs. (4) and (5) are
summed, and the filters of Eqs. (9) and (10) are two-dimensional convolutions along the axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


def bilinear(image: U8, x: F64, y: F64) -> F64:
    """Image at (x, y), its border repeated outside."""
    rows, columns = image.shape
    x, y = np.clip(x, 0, columns - 1.001), np.clip(y, 0, rows - 1.001)
    ix, iy = x.astype(int), y.astype(int)
    fx, fy = x - ix, y - iy
    top = image[iy, ix] * (1 - fx) + image[iy, ix + 1] * fx
    bottom = image[iy + 1, ix] * (1 - fx) + image[iy + 1, ix + 1] * fx
    out: F64 = top * (1 - fy) + bottom * fy
    return out


def band(image: U8, anchor: tuple[float, float], angle: float, deeper: float, u: F64, y: F64) -> F64:
    """image at anchor + u v_n + y v_p for every u (rows) and y (columns)."""
    c, s = math.cos(angle), math.sin(angle)
    U, Y = u[:, None], deeper * y[None, :]
    return bilinear(image, anchor[0] + U * c - Y * s, anchor[1] + U * s + Y * c)


def score_windows(R: F64, w_max: int) -> F64:
    """Eqs. (2) to (5) as written, for the samples whose window lies inside R. R: (rays, samples)."""
    size = R.shape[1]
    delta = R[:, 1:] - R[:, :-1]  # Eq. (2)
    S = np.zeros((R.shape[0], size - 2 * (w_max + 1)))
    for i, y in enumerate(range(w_max + 1, size - w_max - 1)):
        lead = sum(delta[:, y + w] for w in range(w_max + 1))  # Eq. (4)
        lag = sum(delta[:, y - w - 1] for w in range(w_max + 1))  # Eq. (5)
        S[:, i] = lag - lead - np.abs(lag + lead)  # Eq. (3)
    return S


def axis_search_step(
    image: U8, anchor: tuple[float, float], angle: float, deeper: float, rays: F64, s: int, w: int, half: int
) -> tuple[float, float]:
    """Algorithm 1 with bins of one pixel: (p_p, H_max)."""
    y = np.arange(-half - w, half + w + 1.0)
    R = np.stack([band(image, anchor, angle, deeper, r + np.arange(-s, s + 1.0), y).mean(0) for r in rays])
    S = score_windows(R, w - 1)
    H = S.sum(0)[: 2 * half + 1]
    smooth = H.copy()
    smooth[1:] += 0.5 * H[:-1]
    smooth[:-1] += 0.5 * H[1:]
    b = int(np.argmax(smooth))
    first, last = max(0, b - 3), min(2 * half + 1, b + 4)
    p = first + np.argmax(S[:, first:last], axis=1)
    return float(p.mean()) - half, float(smooth[b])


def estimate_axis(
    image: U8,
    anchor: tuple[float, float],
    range_rad: tuple[float, float],
    rays: F64,
    s: int = 9,
    w: int = 4,
    half: int = 48,
) -> tuple[float, tuple[float, float]]:
    """Algorithm 2: (angle, mean point of the rays on the axis)."""
    middle = 0.5 * (range_rad[0] + range_rad[1])
    deeper = 1.0 if math.cos(middle) >= 0 else -1.0
    steps = max(1, round(math.degrees(range_rad[1] - range_rad[0]) / 2))
    best = (-1e30, 0.0, 0.0)
    for angle in np.linspace(range_rad[0], range_rad[1], 2 * steps + 1):
        p, h = axis_search_step(image, anchor, angle, deeper, rays, s, w, half)
        best = max(best, (h, angle, p))
    coarse = best[1]
    best = (-1e30, 0.0, 0.0)
    for angle in coarse + np.radians(0.1) * np.arange(-5, 6):
        p, h = axis_search_step(image, anchor, angle, deeper, rays, s, w, half)
        best = max(best, (h, angle, p))
    _, angle, p = best
    along, across = float(rays.mean()), deeper * p
    c, d = math.cos(angle), math.sin(angle)
    return angle, (anchor[0] + along * c - across * d, anchor[1] + along * d + across * c)


def estimate_tip(
    image: U8,
    earlier: U8 | None,
    foot: tuple[float, float],
    angle: float,
    n: int,
    weights: tuple[float, ...],
    *,
    black: float = 2.0,
    s_n: int = 20,
    s_x: int = 40,
    s_y: int = 89,
    region: int = 30,
    shift: int = 10,
) -> F64:
    """Algorithm 3: h(x) along the axis up to the end of the view."""
    deeper = 1.0 if math.cos(angle) >= 0 else -1.0
    y = np.arange(-(s_y // 2), s_y // 2 + 1.0)
    I = band(image, foot, angle, deeper, np.arange(float(n)), y)  # noqa: E741  the paper's I
    dark = black >= I
    I = np.where(dark, (np.where(dark, 0, I).sum(1) / np.maximum((~dark).sum(1), 1))[:, None], I)  # noqa: E741
    near = np.abs(y) <= s_n // 2
    end = int(np.flatnonzero((~dark[:, near]).sum(1) > s_n // 2)[-1]) + 1
    I = I[:end]  # noqa: E741
    ys = y / (s_n / 2)
    square = np.where(np.abs(ys) < 0.5, 1.0, np.where(np.isclose(np.abs(ys), 0.5), 0.0, -1.0))  # Eq. (9)
    square[np.isclose(np.abs(ys), 1.0)] *= 0.5
    square[np.abs(ys) > 1.0] = 0.0
    a = (y / (s_n / 2)) ** 2
    gauss = -2.0 * (a - 1.0) * np.exp(-a)  # Eq. (10)
    profiles: list[Any] = [I[:, near].mean(1)]
    if earlier is None:
        profiles.append(np.zeros(end))
    else:
        J = band(earlier, foot, angle, deeper, np.arange(float(n)), y[near])[:end]
        raw = band(image, foot, angle, deeper, np.arange(float(n)), y[near])[:end]
        profiles.append((raw - J).mean(1))  # Eq. (8)
    profiles.append(_smooth(I @ square / (s_n / 2), s_x))
    profiles.append(I @ gauss / np.abs(gauss).sum())
    profiles.append(_smooth(I @ np.roll(square, shift) / (s_n / 2), s_x))
    E = [_trailing_minus_leading(p, region) for p in profiles]
    later = np.minimum(np.arange(end) + s_n, end - 1)
    E[2], E[4] = E[2][later], E[4][later]  # shifted by -s_n
    return np.sum([w * e for w, e in zip(weights, E, strict=True)], axis=0)  # type: ignore[no-any-return]


def _smooth(p: F64, size: int) -> F64:
    h = size // 2
    return np.array([p[max(0, u - h) : min(len(p), u - h + size)].mean() for u in range(len(p))])


def _trailing_minus_leading(p: F64, region: int) -> F64:
    """Eq. (7) with means instead of sums."""
    out = np.zeros(len(p))
    for x in range(len(p)):
        leading = p[x + 1 : x + 1 + region]
        out[x] = p[max(0, x + 1 - region) : x + 1].mean() - (leading.mean() if len(leading) else 0.0)
    return out
