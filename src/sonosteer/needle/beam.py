"""A needle as a slender beam in a track that it has cut: quasi-static, two transverse planes, small slopes.

    EI v'''' + k(x) (1 + c_t exp(-(l - x) / l_t)) (v - p(x) - d) = 0,   EI v'''(l) = -F,   v''(l) = 0

for each transverse direction, with the base clamped and a guide at the skin. p is the cut track: where the tip
passed, the shaft lies from then on. That memory makes a needle follow a curve.

| symbol | name | unit |
| --- | --- | --- |
| v | deflection, (nodes, 2) | mm |
| l | inserted length `inserted_mm` | mm |
| EI | `bending_stiffness` | N mm^2 |
| k | `stiffness`, every GRID_MM of depth | N / mm^2 |
| c_t, l_t | `tip_gain`, `tip_mm`: uncut tissue around the tip is stiffer | -, mm |
| p | `track`, (depths, 2) | mm |
| F | force at the tip | N |
| d | displacement of the tissue (breathing) | mm |

Cubic Hermite elements, banded LDL^T of half bandwidth 4.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64

GRID_MM = 0.5  # chosen: depths at which stiffness, forces and track are kept
QUADRATURE = 4  # chosen: points per element at which the tissue's stiffness is read


@njit(cache=True, nogil=True)
def solve_banded(A: F64, b: F64) -> None:
    """Solve K v = b in place, K symmetric and positive.

    A: (n, 4), A[i, 0..3] = K[i, i..i+3], overwritten. b: (n, 2), becomes the solution.
    """
    n = A.shape[0]
    for i in range(n):
        d = A[i, 0]
        for k in range(1, min(4, n - i)):
            f = A[i, k] / d
            for m in range(k, min(4, n - i)):
                A[i + k, m - k] -= f * A[i, m]
            b[i + k, 0] -= f * b[i, 0]
            b[i + k, 1] -= f * b[i, 1]
    for i in range(n - 1, -1, -1):
        u, w = b[i, 0], b[i, 1]
        for k in range(1, min(4, n - i)):
            u -= A[i, k] * b[i + k, 0]
            w -= A[i, k] * b[i + k, 1]
        b[i, 0] = u / A[i, 0]
        b[i, 1] = w / A[i, 0]


@njit(cache=True, nogil=True)
def assemble(
    bending_stiffness: float,
    element_mm: float,
    inserted_mm: float,
    cut_mm: float,
    stiffness: F64,
    track: F64,
    tissue_mm: F64,
    tip_gain: float,
    tip_mm: float,
    base_mm: F64,
    base_slope: F64,
    guide_stiffness: float,
    force: F64,
    A: F64,
    b: F64,
) -> None:
    """Fill the banded system: two unknowns per node (deflection in mm, slope), base first, tip last.

    cut_mm: depth of the cut track. The tip is stiffened by uncut tissue, which fades behind it. stiffness: (depths,) in
    N/mm^2. track: (depths, 2) in mm. tissue_mm: (2,). base_mm, base_slope: (2,) of the clamped end. guide_stiffness:
    N/mm of a guide at the skin and 12 mm before it. force: (2,) at the tip, N. A: (2 nodes, 4). b: (2 nodes, 2).
    """
    nodes = A.shape[0] // 2
    h = element_mm
    A[:] = 0.0
    b[:] = 0.0
    c = bending_stiffness / h**3
    base_x = inserted_mm - (nodes - 1) * h
    near = math.exp(-(cut_mm - inserted_mm) / tip_mm)  # a needle drawn back lies in a track that is open ahead
    N = np.empty(4)
    for e in range(nodes - 1):
        i = 2 * e
        A[i, 0] += 12 * c
        A[i, 1] += 6 * c * h
        A[i, 2] -= 12 * c
        A[i, 3] += 6 * c * h
        A[i + 1, 0] += 4 * c * h * h
        A[i + 1, 1] -= 6 * c * h
        A[i + 1, 2] += 2 * c * h * h
        A[i + 2, 0] += 12 * c
        A[i + 2, 1] -= 6 * c * h
        A[i + 3, 0] += 4 * c * h * h
        left = base_x + e * h
        if left + h <= 0:
            continue
        for q in range(QUADRATURE):
            t = (q + 0.5) / QUADRATURE
            x = left + t * h
            g = x / GRID_MM
            j = int(g)
            if x < 0 or j >= stiffness.shape[0] - 1:
                continue
            f = g - j
            k = stiffness[j] * (1 - f) + stiffness[j + 1] * f
            k *= h / QUADRATURE * (1 + tip_gain * near * math.exp(-(inserted_mm - x) / tip_mm))
            N[0], N[1] = 1 - 3 * t**2 + 2 * t**3, h * (t - 2 * t**2 + t**3)
            N[2], N[3] = 3 * t**2 - 2 * t**3, h * (t**3 - t**2)
            for m in range(2):
                rest = track[j, m] * (1 - f) + track[j + 1, m] * f + tissue_mm[m]
                for u in range(4):
                    b[i + u, m] += k * N[u] * rest
            for u in range(4):
                for w in range(u, 4):
                    A[i + u, w - u] += k * N[u] * N[w]
    for guide_x in (0.0, -12.0):
        e = round((guide_x - base_x) / h)
        if 0 < e < nodes:
            A[2 * e, 0] += guide_stiffness
            for m in range(2):
                b[2 * e, m] += guide_stiffness * base_slope[m] * guide_x
    clamp = 1e6 * c
    A[0, 0] += clamp
    A[1, 0] += clamp * h * h
    for m in range(2):
        b[0, m] += clamp * base_mm[m]
        b[1, m] += clamp * h * h * base_slope[m]
        b[2 * nodes - 2, m] += force[m]


@njit(cache=True, nogil=True)
def lay_track(track: F64, from_mm: float, to_mm: float, start: F64, end: F64) -> None:
    """Write the track cut between two depths, straight from `start` to `end`. Beyond it stands the tip's own place.

    track: (depths, 2) in mm, every GRID_MM. start, end: (2,) in mm.
    """
    first, last = int(from_mm / GRID_MM) + 1, int(to_mm / GRID_MM)
    for i in range(first, min(last + 2, track.shape[0])):
        f = min((i * GRID_MM - from_mm) / max(to_mm - from_mm, 1e-9), 1.0)
        for m in range(2):
            track[i, m] = start[m] + (end[m] - start[m]) * f
    for i in range(last + 2, track.shape[0]):
        for m in range(2):
            track[i, m] = end[m]
