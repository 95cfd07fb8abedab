"""Variance image and absolute-difference template matching, as Paper S finds a needle's cross-section (Section 6).

| symbol | name here | |
| --- | --- | --- |
| mu, sigma | mean and deviation of the ROI's intensities, Eq. (16); sigma is the population's, the printed 1/n outside the root only scales V | |
| V | `variance`, \\|I - mu\\| / sigma, Eq. (17) | |
| P | `template` | |

`gain` of a place is sum(|V| - |V - P|): by how much the template explains the patch better than nothing does, where V
and P have been freed of their flanks (`less_flanks`). The paper's sum of absolute differences is the second half
alone; the first keeps tissue elsewhere in the patch from deciding. No pixel can add more than |P|, so that a place is
given up, exactly, as soon as the rows that are left cannot bring it above the best.
"""  # noqa: E501

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64, I32, U8


@njit(cache=True, nogil=True)
def variance_image(image: U8, x: int, y: int, signed: bool, out: F32) -> float:
    """V of the square ROI around (x, y) into out (n, n); pixels outside the image are those of its edge.

    signed: (I - mu) / sigma, which tells bright from dark. Returns the mean of |V|; 0, and V = 0, where the ROI is all
    one grey.
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
    spread = math.sqrt(max(squares / count - mean * mean, 0.0))
    if spread < 1e-6:
        out[:] = 0.0
        return 0.0
    a, b = np.float32(1.0 / spread), np.float32(mean / spread)
    level: float = 0.0
    for i in range(n):
        for j in range(n):
            v = out[i, j] * a - b
            out[i, j] = v if signed else abs(v)
            level += abs(v)
    mean_level: float = level / count
    return mean_level


@njit(cache=True, nogil=True)
def less_flanks(V: F32, inner: int, outer: int, sums: F64, out: F32) -> None:
    """out = V less the mean of what lies from `inner` to `outer` px to the left and the right of each pixel.

    A line across the image has flanks as bright as itself, a needle's cross-section has not. sums: (columns + 1,).
    Beyond the edges the flank is what there is of it.
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

    order: (places, 2) from the middle out. rows: of P, those that count most first; bound[i]: the most that rows
    i and after can add.
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
def least_difference(V: F32, P: F32, order: I32) -> tuple[int, int, float]:
    """(row, column, sum) of the least sum of absolute differences: the paper's match."""
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
    """Where between -0.5 and 0.5 a parabola through three values has its top."""
    bend = before - 2.0 * at + after
    return 0.0 if bend >= -1e-12 else min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@njit(cache=True, nogil=True)
def learn(V: F32, i: int, j: int, dx: float, dy: float, share: float, P: F32) -> None:
    """Move P by a share towards the patch of V at (i, j), shifted by (dx, dy). In place."""
    last = V.shape[0] - 1
    for r in range(P.shape[0]):
        for m in range(P.shape[1]):
            y, x = i + r + dy, j + m + dx
            top, left = math.floor(y), math.floor(x)
            fy, fx = y - top, x - left
            t0, t1 = min(max(top, 0), last), min(max(top + 1, 0), last)
            l0, l1 = min(max(left, 0), last), min(max(left + 1, 0), last)
            v = (V[t0, l0] * (1 - fx) + V[t0, l1] * fx) * (1 - fy) + (V[t1, l0] * (1 - fx) + V[t1, l1] * fx) * fy
            P[r, m] += share * (v - P[r, m])


def from_the_middle(roi: int, template: int) -> I32:
    """(places, 2) rows and columns at which a template fits into a ROI, the middle first."""
    n = roi - template + 1
    i, j = np.mgrid[0:n, 0:n].reshape(2, -1)
    far = (i - (n - 1) / 2) ** 2 + (j - (n - 1) / 2) ** 2
    order = np.argsort(far, kind="stable")
    return np.ascontiguousarray(np.stack([i, j], 1)[order], np.int32)


def row_order(P: F32) -> tuple[I32, F64]:
    """(rows by what they can add, the most first; what those from each one on can add)."""
    most = np.abs(P).sum(axis=1, dtype=np.float64)
    rows = np.argsort(-most, kind="stable").astype(np.int32)
    return rows, np.ascontiguousarray(np.cumsum(most[rows][::-1])[::-1])
