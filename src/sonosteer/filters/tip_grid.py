"""Finds the tip along the axis with an exact filter on a grid of position, velocity and visibility.

Unlike a Kalman filter it holds several places at once. Unlike a particle filter it draws no random numbers. None of
this is published.

| symbol | name here | unit |
| --- | --- | --- |
| z, g | shaft score and change score along the axis, see `imaging/curved_band.py` | no unit |
| l(u) | log p(z | shaft) - log p(z | tissue) at u, clipped | no unit |
| ll(u) | log likelihood of "the tip is at u": sum of l up to u over the correlation length | no unit |
| A[f, v, u] | `belief`: probability of f (0 tip visible, 1 faded), velocity v, position u | 0 to 1 |
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32

#: scores z at which the log likelihood ratio is tabulated: -4, -3.75, ..., no unit.
#: chosen: they span the scores of the training scenes, on which the mixtures were fitted
Z_FIRST, Z_STEP, Z_COUNT = -4.0, 0.25, 64


def shaft_table(dropout: float = 0.15, fibre: float = 0.06) -> F32:
    """Log likelihood ratio of "shaft" against "tissue" by z.

    dropout: fraction of a shaft that is not seen. fibre: fraction of the tissue that is as bright as a shaft.
    """
    z = Z_FIRST + Z_STEP * np.arange(Z_COUNT)

    def bump(mean: float, sd: float) -> NDArray[np.float64]:
        out: NDArray[np.float64] = np.exp(-0.5 * ((z - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))
        return out

    # chosen: mixtures of normal densities, fitted on training scenes
    tissue = (1 - fibre) * (0.75 * bump(0.22, 0.38) + 0.25 * bump(0.6, 0.6)) + fibre * bump(1.6, 0.9) + 1e-4
    shaft = (1 - dropout) * bump(1.65, 0.65) + dropout * tissue + 1e-4
    ratio: F32 = np.log(shaft / tissue).astype(np.float32)
    return ratio


@njit(cache=True, nogil=True, fastmath=True)
def shaft_evidence(z: F32, n: int, table: F32, most: float, l: F32) -> None:  # noqa: E741
    """Look l[u] up in the table, linear between its entries, within +-most."""
    for u in range(n):
        q = min(max((z[u] - Z_FIRST) / Z_STEP, 0.0), Z_COUNT - 1.001)
        k = int(q)
        f = np.float32(q - k)
        l[u] = min(max(table[k] + f * (table[k + 1] - table[k]), -most), most)


@njit(cache=True, nogil=True, fastmath=True)
def change_evidence(
    g: F32,
    n: int,
    moving: float,
    sd_on: float,
    still: float,
    sd_off: float,
    most: float,
    l: F32,  # noqa: E741
) -> None:
    """l[u] = log N(g; moving, sd_on) / N(g; still, sd_off), within +-most. Beyond `moving` it stays the same."""
    constant = math.log(sd_off / sd_on)
    for u in range(n):
        a, b = (min(g[u], np.float32(moving)) - moving) / sd_on, (min(g[u], np.float32(moving)) - still) / sd_off
        l[u] = min(max(-0.5 * a * a + 0.5 * b * b + constant, -most), most)


@njit(cache=True, nogil=True, fastmath=True)
def tip_likelihood(l: F32, n: int, correlation: float, ll: F32, faded: F32) -> tuple[float, int]:  # noqa: E741
    """Fill ll[u], and the largest ll up to u in faded[u]. Returns (the largest, where). No tip is beyond n."""
    total, best, at = np.float32(0.0), np.float32(-1e9), 0
    scale = np.float32(1.0 / correlation)
    for u in range(ll.shape[0]):
        if u < n:
            total += l[u] * scale
            if total > best:
                best, at = total, u
            ll[u] = total
            faded[u] = best
        else:
            ll[u] = np.float32(-1e3)
            faded[u] = np.float32(-1e3)
    return float(best), at


@njit(cache=True, nogil=True, fastmath=True)
def predict_grid(
    A: F32,
    v_px: NDArray[np.float64],
    walk: float,
    forget_v: float,
    forget_u: float,
    fade: float,
    clear: float,
    mixed: F32,
    out: F32,
) -> None:
    """Predict over one frame: positions move by v, velocities walk by a step or are forgotten.

    walk: probability of a step each way. forget_u: probability that the position is anywhere. fade, clear:
    probabilities that the tip fades or comes back. A, out: (2, velocities, positions). mixed: scratch (velocities,
    positions).
    """
    m, n = A.shape[1], A.shape[2]
    for f in range(2):
        a = A[f]
        for i in range(m):
            below, above = a[max(i - 1, 0)], a[min(i + 1, m - 1)]
            here, row = a[i], mixed[i]
            p, stay = np.float32(walk), np.float32(1.0 - 2.0 * walk)
            for u in range(n):
                row[u] = stay * here[u] + p * (below[u] + above[u])
        b = out[f]
        for i in range(m):
            whole = math.floor(v_px[i])
            k = int(whole)
            part = np.float32(v_px[i] - whole)
            rest = np.float32(1.0) - part
            row, here = b[i], mixed[i]
            for u in range(n):
                row[u] = 0.0
            first, last = max(0, k + 1), min(n, n + k)
            if first < last:
                target, near, far = row[first:last], here[first - k : last - k], here[first - k - 1 : last - k - 1]
                for u in range(last - first):
                    target[u] = rest * near[u] + part * far[u]
    keep_v, fraction_v = np.float32(1.0 - forget_v), np.float32(forget_v / m)
    anywhere = np.float32(forget_u / (2 * m * n))
    for f in range(2):
        b = out[f]
        column = mixed[0]
        for u in range(n):
            column[u] = 0.0
        for i in range(m):
            row = b[i]
            for u in range(n):
                column[u] += row[u]
        for i in range(m):
            row = b[i]
            for u in range(n):
                row[u] = keep_v * row[u] + fraction_v * column[u] + anywhere
    p01, p10 = np.float32(fade), np.float32(clear)
    for i in range(m):
        seen, hidden = out[0, i], out[1, i]
        for u in range(n):
            a, b_ = seen[u], hidden[u]
            seen[u] = (np.float32(1.0) - p01) * a + p10 * b_
            hidden[u] = p01 * a + (np.float32(1.0) - p10) * b_


@njit(cache=True, nogil=True, fastmath=True)
def weigh_grid(A: F32, ll: F32, faded: F32, beta: float, fade_cost: float, like_v: F32, L: F32) -> float:
    """Multiply by exp(beta ll) or exp(beta (faded - cost)) and by like_v, then normalise. Returns the log evidence."""
    m, n = A.shape[1], A.shape[2]
    peak = ll[0]
    for u in range(n):
        peak = max(peak, ll[u])
    total = np.float32(0.0)
    for f in range(2):
        for u in range(n):
            e = ll[u] if f == 0 else faded[u] - np.float32(fade_cost)
            L[u] = math.exp(np.float32(beta) * (e - peak))
        for i in range(m):
            row, s = A[f, i], like_v[i]
            part = np.float32(0.0)
            for u in range(n):
                row[u] *= s * L[u]
                part += row[u]
            total += part
    inverse = np.float32(1.0) / max(total, np.float32(1e-30))
    for f in range(2):
        for i in range(m):
            row = A[f, i]
            for u in range(n):
                row[u] *= inverse
    return math.log(max(total, np.float32(1e-30)))


@njit(cache=True, nogil=True, fastmath=True)
def grid_moments(A: F32, v: NDArray[np.float64], p: F32, out: NDArray[np.float64]) -> None:
    """p[u] = probability of the position. out = (mean, variance, mean v, probability that the tip is faded)."""
    m, n = A.shape[1], A.shape[2]
    for u in range(n):
        p[u] = 0.0
    mean_v = hidden = 0.0
    for f in range(2):
        for i in range(m):
            row = A[f, i]
            part = np.float32(0.0)
            for u in range(n):
                p[u] += row[u]
                part += row[u]
            mean_v += float(part) * v[i]
            if f == 1:
                hidden += float(part)
    mean = square = 0.0
    for u in range(n):
        mean += p[u] * u
        square += p[u] * float(u) * u
    out[0], out[1], out[2], out[3] = mean, max(square - mean * mean, 0.0), mean_v, hidden
