"""Finds a needle's cross-section by a variance image and template matching.

Source: Carriere et al. 2019 (full reference in `trackers/axial.py`), Section 6.

| symbol | name here | unit |
| --- | --- | --- |
| I | `image` | grey levels |
| mu, sigma | `mean`, `spread` of the ROI's intensities, Eq. (16) | grey levels |
| V | `V`, absolute value of (I - mu) / sigma, Eq. (17) | no unit |
| P | `P`, the template | no unit |

Departs from the paper: sigma is the population's deviation, since the printed 1/n outside the root only scales V. The
match is by `gain`, sum(|V| - |V - P|): how much better the template explains the patch than nothing does. V and P have
been freed of their flanks (`less_flanks`). The paper's sum of absolute differences is the second half alone
(`min_difference`). The first half keeps tissue elsewhere in the patch from deciding.

No pixel can add more than |P|. So a place is given up, exactly, once the rows left cannot bring it above the best.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64, I32, U8


@njit(cache=True, nogil=True)
def variance_image(image: U8, x: int, y: int, signed: bool, out: F32) -> float:
    """Fill out (n, n) with V of the square ROI around (x, y). Outside the image its edge repeats.

    signed: (I - mu) / sigma, which tells bright from dark. Returns the mean of |V|. Where the ROI is all one grey, V is
    0 and so is the mean.
    """
    rows, columns = image.shape
    n = out.shape[0]
    half = n // 2
    total = squares = 0
    for i in range(n):
        row = min(max(y + i - half, 0), rows - 1)
        for j in range(n):
            v = int(image[row, min(max(x + j - half, 0), columns - 1)])
            total += v
            squares += v * v
            out[i, j] = v
    count = n * n
    mean = total / count
    spread = math.sqrt(max(squares / count - mean * mean, 0.0))  # Eq. (16)
    if spread < 1e-6:
        out[:] = 0.0
        return 0.0
    a, b = np.float32(1.0 / spread), np.float32(mean / spread)
    level: float = 0.0
    for i in range(n):
        for j in range(n):
            v = out[i, j] * a - b  # Eq. (17)
            out[i, j] = v if signed else abs(v)
            level += abs(v)
    mean_level: float = level / count
    return mean_level


@njit(cache=True, nogil=True)
def less_flanks(V: F32, inner: int, outer: int, sums: F64, out: F32) -> None:
    """out = V less the mean from `inner` to `outer` px to the left and the right of each pixel.

    A line across the image has flanks as bright as itself. A needle's cross-section has not. Beyond the edges the flank
    is what there is of it. sums: scratch (columns + 1,).
    """
    rows, columns = V.shape
    for i in range(rows):
        sums[0] = 0.0
        for j in range(columns):
            sums[j + 1] = sums[j] + V[i, j]
        for j in range(columns):
            a, b = max(j - outer, 0), max(j - inner + 1, 0)
            c, d = min(j + inner, columns), min(j + outer + 1, columns)
            count = b - a + d - c
            out[i, j] = V[i, j] - (sums[b] - sums[a] + sums[d] - sums[c]) / count if count > 0 else 0.0


@njit(cache=True, nogil=True, fastmath=True)
def _row_gain(V: F32, P: F32, row: int, i: int, j: int) -> float:
    total = np.float32(0.0)
    for m in range(P.shape[1]):
        v = V[row + i, m + j]
        total += abs(v) - abs(v - P[row, m])
    return float(total)


@njit(cache=True, nogil=True, fastmath=True)
def best_gain(
    V: F32, P: F32, order: I32, rows: I32, bound: F64, prior_px: float, prior: float
) -> tuple[int, int, float]:
    """(row, column, gain) of the best place of P in V, less prior times (distance from the middle / prior_px)^2.

    order: (places, 2) from the middle out. rows: of P, those that count most first. bound[i]: the most that row i and
    the rows after it can add.
    """
    middle = (V.shape[0] - P.shape[0]) // 2
    best, best_i, best_j, best_gain_ = -1e30, middle, middle, 0.0
    for o in range(order.shape[0]):
        i, j = order[o, 0], order[o, 1]
        far = ((i - middle) ** 2 + (j - middle) ** 2) / (prior_px * prior_px)
        total = -prior * far
        if total + bound[0] <= best:
            break  # no place farther out can be better
        for r in range(rows.shape[0]):
            if total + bound[r] <= best:
                break
            total += _row_gain(V, P, rows[r], i, j)
        if total > best:
            best, best_i, best_j, best_gain_ = total, i, j, total + prior * far
    return best_i, best_j, best_gain_


@njit(cache=True, nogil=True, fastmath=True)
def gain_at(V: F32, P: F32, i: int, j: int) -> float:
    """Gain of one place."""
    total = 0.0
    for row in range(P.shape[0]):
        total += _row_gain(V, P, row, i, j)
    return total


@njit(cache=True, nogil=True, fastmath=True)
def min_difference(V: F32, P: F32, order: I32) -> tuple[int, int, float]:
    """Find the smallest sum of absolute differences, the paper's match. Returns (row, column, sum)."""
    best, best_i, best_j = np.float32(1e30), 0, 0
    for o in range(order.shape[0]):
        i, j = order[o, 0], order[o, 1]
        total = np.float32(0.0)
        for row in range(P.shape[0]):
            line = np.float32(0.0)
            for m in range(P.shape[1]):
                line += abs(V[row + i, m + j] - P[row, m])
            total += line
            if total >= best:
                break
        if total < best:
            best, best_i, best_j = total, i, j
    return best_i, best_j, float(best)


def vertex(before: float, at: float, after: float) -> float:
    """Place of the top of a parabola through three values, -0.5 to 0.5."""
    bend = before - 2.0 * at + after
    return 0.0 if bend >= -1e-12 else min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@njit(cache=True, nogil=True)
def learn(V: F32, i: int, j: int, dx: float, dy: float, fraction: float, P: F32) -> None:
    """Move P in place by a fraction towards the patch of V at (i, j), shifted by (dx, dy)."""
    last = V.shape[0] - 1
    for r in range(P.shape[0]):
        for m in range(P.shape[1]):
            y, x = i + r + dy, j + m + dx
            top, left = math.floor(y), math.floor(x)
            fy, fx = y - top, x - left
            t0, t1 = min(max(top, 0), last), min(max(top + 1, 0), last)
            l0, l1 = min(max(left, 0), last), min(max(left + 1, 0), last)
            v = (V[t0, l0] * (1 - fx) + V[t0, l1] * fx) * (1 - fy) + (V[t1, l0] * (1 - fx) + V[t1, l1] * fx) * fy
            P[r, m] += fraction * (v - P[r, m])


def from_the_middle(roi: int, template: int) -> I32:
    """Rows and columns (places, 2) at which a template fits into a ROI, the middle first."""
    n = roi - template + 1
    i, j = np.mgrid[0:n, 0:n].reshape(2, -1)
    far = (i - (n - 1) / 2) ** 2 + (j - (n - 1) / 2) ** 2
    order = np.argsort(far, kind="stable")
    return np.ascontiguousarray(np.stack([i, j], 1)[order], np.int32)


def row_order(P: F32) -> tuple[I32, F64]:
    """Order the rows by what they can add, the most first.

    Returns (rows, what each of them and the later ones together can add).
    """
    most = np.abs(P).sum(axis=1, dtype=np.float64)
    rows = np.argsort(-most, kind="stable").astype(np.int32)
    return rows, np.ascontiguousarray(np.cumsum(most[rows][::-1])[::-1])
