"""The trackers of Mathiassen et al. 2017 in plain NumPy: the reference for speed, and the tests' oracle.

Source: Mathiassen et al., IEEE Trans. Control Systems Technology 25(3), 2017. Written from the paper's text,
not from the kernels: every angle resamples the image for itself, the window sums of Eqs. (4) and (5) are
summed, and the filters of Eqs. (9) and (10) are two-dimensional convolutions along the axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64, U8


def bilinear_numpy(image: U8, x: F64, y: F64) -> F64:
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
    return bilinear_numpy(image, anchor[0] + U * c - Y * s, anchor[1] + U * s + Y * c)


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


def axis_search_step_numpy(
    image: U8, anchor: tuple[float, float], angle: float, *, deeper: float, rays: F64, s: int, w: int, half: int
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
        p, h = axis_search_step_numpy(image, anchor, angle, deeper=deeper, rays=rays, s=s, w=w, half=half)
        best = max(best, (h, angle, p))
    coarse = best[1]
    best = (-1e30, 0.0, 0.0)
    for angle in coarse + np.radians(0.1) * np.arange(-5, 6):
        p, h = axis_search_step_numpy(image, anchor, angle, deeper=deeper, rays=rays, s=s, w=w, half=half)
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


def kalman_step(
    h: F64, x: F64, P: F64, M: int = 10, sigma: float = 200.0, r_min: float = 900.0, velocity: float | None = None
) -> tuple[F64, F64]:
    """Algorithm 4, lines 4 to 14, with matrices: state (x, v) and covariance after one frame."""
    F = np.array([[1.0, 1.0], [0.0, 1.0]])
    x, P = F @ x, F @ P @ F.T + np.diag([0.05**2 / 2 * 0.01, 0.01])
    low, high = 20, len(h) - 10
    J = np.array([u for u in range(low, high) if h[u] >= h[max(low, u - M) : min(high, u + M + 1)].max()])  # (12)
    prior = h[J] - h[low:high].min()
    prior = prior / prior.sum()  # (16)
    likelihood = np.exp(-0.5 * ((J - x[0]) / sigma) ** 2)  # (14)
    p = prior * likelihood / np.exp(-0.5 * (x[0] / sigma) ** 2)  # (13), (15)
    k = int(np.argmax(p))
    z, R, H = [float(J[k])], [r_min / p[k]], [[1.0, 0.0]]  # (17), (18)
    if velocity is not None:  # (19)
        z, R, H = [*z, velocity], [*R, 1.0], [*H, [0.0, 1.0]]
    Hm = np.array(H)
    K = P @ Hm.T @ np.linalg.inv(Hm @ P @ Hm.T + np.diag(R))
    return x + K @ (np.array(z) - Hm @ x), (np.eye(2) - K @ Hm) @ P


def particle_step(
    h: F64, x: F64, v: F64, rng: np.random.Generator, sigma_s: float = 150.0, velocity: float | None = None
) -> tuple[F64, F64, float]:
    """Algorithm 5, lines 4 to 11: particles after one frame, resampled, and their weighted mean."""
    x = x + v + 3.5 * rng.standard_normal(len(x))
    v = v + 5.0 * rng.standard_normal(len(v))
    u = np.arange(len(h))
    h_mod = (h - h.min()) * np.exp(-0.5 * ((u - x.mean()) / sigma_s) ** 2)  # (21)
    w = np.interp(x, u, h_mod / h_mod.sum(), 0.0, 0.0)  # (20), (22)
    if velocity is not None:
        w = w * np.exp(-0.5 * (v - velocity) ** 2)  # (23)
    w = w / w.sum()
    comb = (rng.random() + np.arange(len(x))) / len(x)
    taken = np.minimum(np.searchsorted(np.cumsum(w), comb), len(x) - 1)
    return x[taken], v[taken], float(w @ x)


def ding_fenster(
    image: U8, range_rad: tuple[float, float], window: int = 61, offset: float = 12.0, closing: int = 21
) -> tuple[float, float, float]:
    """DF: (angle, rho, distance of the first gap from where the line enters the image)."""
    g = np.exp(-0.5 * (np.arange(-2, 3) / 1.2) ** 2)
    g /= g.sum()
    smooth = np.apply_along_axis(np.convolve, 0, np.pad(image.astype(float), 2, mode="reflect"), g, "valid")
    smooth = np.apply_along_axis(np.convolve, 1, smooth, g, "valid")
    half = window // 2
    total = np.cumsum(np.cumsum(np.pad(smooth, ((half + 1, half), (half + 1, half)), mode="edge"), 0), 1)
    box = total[window:, window:] - total[:-window, window:] - total[window:, :-window] + total[:-window, :-window]
    binary = smooth > box / window**2 + offset
    rows, columns = image.shape
    reach = float(np.hypot(rows, columns))

    def hough(y: Any, x: Any, angles: F64, bin_px: float) -> tuple[float, float]:
        best = (-1, 0.0, 0.0)
        for a in angles:
            rho = y * np.cos(a) - x * np.sin(a)
            votes = np.bincount(((rho + reach) / bin_px).astype(int))
            b = int(np.argmax(votes))
            best = max(best, (int(votes[b]), a, -reach + (b + 0.5) * bin_px))
        return best[1], best[2]

    y, x = np.nonzero(binary[::3, ::3])
    steps = max(2, 1 + round(np.degrees(range_rad[1] - range_rad[0])))
    angle, _ = hough(3 * y, 3 * x, np.linspace(*range_rad, steps), 6.0)
    y, x = np.nonzero(binary)
    fine = np.clip(angle + np.radians(0.1) * np.arange(-10, 11), *range_rad)
    angle, rho = hough(y, x, fine, 2.0)
    c, s = np.cos(angle), np.sin(angle)
    u = np.arange(-reach, reach)
    px, py = np.rint(-rho * s + u * c).astype(int), np.rint(rho * c + u * s).astype(int)
    inside = (px >= 0) & (px < columns) & (py >= 0) & (py < rows)
    line = binary[py[inside], px[inside]]
    h = closing // 2
    padded = np.pad(line, h)
    wide = np.array([padded[i : i + closing].any() for i in range(len(line))])
    padded = np.pad(wide, h, constant_values=True)
    closed = np.array([padded[i : i + closing].all() for i in range(len(line))])
    lit = np.flatnonzero(closed)
    gap = np.flatnonzero(~closed[lit[0] :]) if len(lit) else np.array([0])
    end = lit[0] + (gap[0] if len(gap) else len(closed) - lit[0]) if len(lit) else 0
    return float(angle), float(rho), float(end - 1)
