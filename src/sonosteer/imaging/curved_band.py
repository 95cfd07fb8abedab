"""Samples the image along a curved axis: how much each point looks like a shaft, and how much it moves.

None of this is published. The score is the telescoped one of Mathiassen et al. 2017 (`rays.py`), on an arc instead of a
line. Their paper leaves curved needles as future work.

| symbol | name here | unit |
| --- | --- | --- |
| u | index along the axis from its anchor, arc length | px |
| y | position across it, -half..half, towards the right of its direction | px |
| R(u, y) | `band`, averaged over 2 s + 1 samples along u | grey levels |
| S | min(R(y) - R(y - w), R(y) - R(y + w)), the larger of two lags w | grey levels |
| z | S over the rms of the lag difference off the axis: about 1.6 on a shaft, 0.2 off it | no unit |
| g | log((on + 1) / (off + 1)), change of the image on the axis over that beside it | no unit |
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8


@njit(cache=True, nogil=True, fastmath=True)
def sample_arc(
    image: U8, x0: float, y0: float, c: float, n: float, curvature: float, s: int, raw: F32, band: F32
) -> int:
    """Fill band (u, 2 half + 1) from the anchor (x0, y0) along (c, n). Returns the number of u inside the image.

    curvature: 1/px, positive bends towards +y of the band. raw: scratch of band's shape.
    """
    rows, columns = image.shape
    length, width = band.shape
    half = width // 2
    inside = 0
    for u in range(length):
        bend = 0.5 * curvature * u * u
        px, py = x0 + c * u - n * bend, y0 + n * u + c * bend
        if 1 <= px < columns - 2 and 1 <= py < rows - 2:
            inside = u + 1
        row = raw[u]
        x, y = px + n * half, py - c * half
        x1, y1 = px - n * half, py + c * half
        if min(x, x1) >= 0 and max(x, x1) < columns - 1 and min(y, y1) >= 0 and max(y, y1) < rows - 1:
            for j in range(width):
                X, Y = x - n * j, y + c * j
                ix, iy = int(X), int(Y)
                fx, fy = np.float32(X - ix), np.float32(Y - iy)
                a, b = np.float32(image[iy, ix]), np.float32(image[iy, ix + 1])
                d, e = np.float32(image[iy + 1, ix]), np.float32(image[iy + 1, ix + 1])
                top = a + fx * (b - a)
                row[j] = top + fy * (d + fx * (e - d) - top)
        else:
            for j in range(width):
                X = min(max(x - n * j, 0.0), columns - 1.001)
                Y = min(max(y + c * j, 0.0), rows - 1.001)
                ix, iy = int(X), int(Y)
                fx, fy = np.float32(X - ix), np.float32(Y - iy)
                a, b = np.float32(image[iy, ix]), np.float32(image[iy, ix + 1])
                d, e = np.float32(image[iy + 1, ix]), np.float32(image[iy + 1, ix + 1])
                top = a + fx * (b - a)
                row[j] = top + fy * (d + fx * (e - d) - top)
        if 0 < inside < u - s:
            for v in range(u, length):
                for j in range(width):
                    raw[v, j] = row[j]
            break
    _running_mean(raw, s, band)
    return inside


@njit(cache=True, nogil=True, fastmath=True)
def _running_mean(raw: F32, s: int, out: F32) -> None:
    """out[u] = mean of raw over u - s..u + s, fewer at the ends."""
    length, width = raw.shape
    total = np.zeros(width, np.float32)
    count = 0
    for u in range(length + s):
        if u < length:
            count += 1
            row = raw[u]
            for j in range(width):
                total[j] += row[j]
        if u - 2 * s - 1 >= 0:
            count -= 1
            row = raw[u - 2 * s - 1]
            for j in range(width):
                total[j] -= row[j]
        if u >= s:
            scale = np.float32(1.0 / count)
            row = out[u - s]
            for j in range(width):
                row[j] = total[j] * scale


@njit(cache=True, nogil=True, fastmath=True)
def shaft_profile(band: F32, n: int, w1: int, w2: int, r: int, z: F32, offset: F32) -> float:
    """z[u] = largest S within |y| <= r over the noise, offset[u] = where. Returns the noise. u < n, w1 < w2."""
    width = band.shape[1]
    mid = width // 2
    power, count = np.float32(0.0), 0
    for u in range(0, n, 2):
        row = band[u]
        for y in range(w2, mid - r - w2):
            d = row[y] - row[y - w2]
            power += d * d
        for y in range(mid + r + w2 + 1, width - w2):
            d = row[y] - row[y - w2]
            power += d * d
        count += width - 2 * w2 - 2 * (r + w2) - 1
    noise = np.float32(math.sqrt(power / max(count, 1)) + 1.0)
    for u in range(n):
        row = band[u]
        best, at = np.float32(-1e9), mid
        for y in range(mid - r, mid + r + 1):
            v = row[y]
            score = max(min(v - row[y - w1], v - row[y + w1]), min(v - row[y - w2], v - row[y + w2]))
            if score > best:
                best, at = score, y
        z[u] = best / noise
        offset[u] = at - mid
    return float(noise)


@njit(cache=True, nogil=True, fastmath=True)
def change_profile(now: F32, then: F32, n: int, near: int, far: int, smooth: int, off: F32, g: F32) -> None:
    """Compare the change |now - then| on the axis with that beside it, and fill g[u].

    On the axis is |y| <= near, beside it |y| > far. Beside counts half locally, half as a mean over 2 smooth + 1 px.
    """
    width = now.shape[1]
    mid = width // 2
    for u in range(n):
        a, b = now[u], then[u]
        on = beside = np.float32(0.0)
        for y in range(mid - near, mid + near + 1):
            on += abs(a[y] - b[y])
        for y in range(mid - far):
            beside += abs(a[y] - b[y])
        for y in range(mid + far + 1, width):
            beside += abs(a[y] - b[y])
        g[u] = on / np.float32(2 * near + 1)
        off[u] = beside / np.float32(width - 2 * far - 1)
    total = np.float32(0.0)
    count = 0
    for u in range(n + smooth):
        if u < n:
            total += off[u]
            count += 1
        if u - 2 * smooth - 1 >= 0:
            total -= off[u - 2 * smooth - 1]
            count -= 1
        if u >= smooth:
            local = np.float32(0.5) * (off[u - smooth] + total / np.float32(count))
            g[u - smooth] = math.log((g[u - smooth] + 1.0) / (local + 1.0))


@njit(cache=True, nogil=True, fastmath=True)
def refit(
    z: F32, offset: F32, first: int, last: int, prior_slope: float, prior_bend: float, fit: NDArray[np.float64]
) -> float:
    """Fit offset ~ a + b d + k (d^2 - mean) about the mean place by weighted least squares. Returns the total weight.

    Weights: clip(z - 0.6, 0, 2) / (1 + (offset / 2)^2). fit = (mean u, a, b, k, mean d^2, rms residual, spread of u).
    """
    W = um = ym = 0.0
    for u in range(first, last):
        w = min(max(z[u] - 0.6, 0.0), 2.0) / (1.0 + 0.25 * offset[u] * offset[u])
        W += w
        um += w * u
        ym += w * offset[u]
    if W < 1e-6:
        return 0.0
    um, ym = um / W, ym / W
    s2 = sy = 0.0
    for u in range(first, last):
        w = min(max(z[u] - 0.6, 0.0), 2.0) / (1.0 + 0.25 * offset[u] * offset[u])
        d = u - um
        s2 += w * d * d
        sy += w * d * (offset[u] - ym)
    b = sy / (s2 + W * prior_slope)
    m2 = s2 / W
    qq = qy = rr = 0.0
    for u in range(first, last):
        w = min(max(z[u] - 0.6, 0.0), 2.0) / (1.0 + 0.25 * offset[u] * offset[u])
        d = u - um
        left = offset[u] - ym - b * d
        q = d * d - m2
        qq += w * q * q
        qy += w * q * left
        rr += w * left * left
    fit[0], fit[1], fit[2], fit[3], fit[4] = um, ym, b, qy / (qq + W * prior_bend), m2
    fit[5], fit[6] = math.sqrt(rr / W), math.sqrt(m2)
    return W


@njit(cache=True, nogil=True)
def max_window_mean(values: F32, n: int, size: int) -> float:
    """Largest mean over `size` neighbours among the first n values, or over all of them if they are fewer."""
    size = min(size, n)
    total = 0.0
    for u in range(size):
        total += values[u]
    best = total
    for u in range(size, n):
        total += values[u] - values[u - size]
        best = max(best, total)
    return best / max(size, 1)


@njit(cache=True, nogil=True, fastmath=True)
def texture_shift(
    now: F32, then: F32, before: F32, first: int, last: int, near: int, low: int, high: int, a: F32, b: F32, c: F32
) -> None:
    """c[k - low] = correlation of now - then with (then - before) moved by k px along the axis, low <= k <= high.

    Differences keep what stands still (tissue that shines through) from pulling towards 0. The correlation runs over
    first <= u < last and |y| <= near. It is 0 where fewer than 30 u overlap. a, b: scratch (2 near + 1, length).
    """
    mid = now.shape[1] // 2
    rows = 2 * near + 1
    for y in range(rows):
        for u in range(first, last):
            j = mid - near + y
            a[y, u] = now[u, j] - then[u, j]
            b[y, u] = then[u, j] - before[u, j]
    for i in range(high - low + 1):
        k = low + i
        lo, hi = max(first, first + k), min(last, last + k)
        c[i] = 0.0
        if hi - lo < 30:
            continue
        ab = aa = bb = np.float32(0.0)
        for y in range(rows):
            p, q = a[y, lo:hi], b[y, lo - k : hi - k]
            for u in range(hi - lo):
                ab += p[u] * q[u]
                aa += p[u] * p[u]
                bb += q[u] * q[u]
        c[i] = ab / math.sqrt(aa * bb + np.float32(1e-3))


@njit(cache=True, nogil=True, fastmath=True)
def upper_ridge(
    band: F32,
    first: int,
    last: int,
    w1: int,
    w2: int,
    reach: int,
    upwards: int,
    noise: float,
    fraction: float,
    rows: F32,
) -> tuple[int, float]:
    """Find the ridge nearest to the probe among those almost as strong as the strongest.

    Below a needle lie parallel echoes of it, some as bright: its surface is the uppermost. Scores are means over
    first <= u < last, for |y| <= reach. upwards: -1 where smaller y is nearer to the probe. fraction: of the strongest
    score, from which a ridge counts. Returns (y, mean score), or (0, 0) if there is none.
    """
    mid = band.shape[1] // 2
    scale = np.float32(1.0 / noise)
    for y in range(2 * reach + 1):
        rows[y] = 0.0
    for u in range(first, last):
        row = band[u]
        for y in range(2 * reach + 1):
            j = mid - reach + y
            v = row[j]
            s = max(min(v - row[j - w1], v - row[j + w1]), min(v - row[j - w2], v - row[j + w2])) * scale
            rows[y] += min(max(s, np.float32(-0.5)), np.float32(2.5))
    best = np.float32(0.0)
    for y in range(2 * reach + 1):
        rows[y] /= np.float32(max(last - first, 1))
        best = max(best, rows[y])
    for i in range(1, 2 * reach):
        y = i if upwards < 0 else 2 * reach - i
        if rows[y] >= fraction * best and rows[y] >= rows[y - 1] and rows[y] >= rows[y + 1] and best > 0.5:
            return y - reach, float(rows[y])
    return 0, 0.0
