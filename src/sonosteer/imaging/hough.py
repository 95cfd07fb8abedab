"""Finds straight lines through a segmented image by a Hough transform, coarse first, then fine.

M. Ding, A. Fenster, "A real-time biopsy needle segmentation technique using Hough transform", Med. Phys. 30(8), 2003,
as Mathiassen et al. 2017 describe and limit it (Section III-C).

| symbol | name here | unit |
| --- | --- | --- |
| theta | `angles_rad`, direction of the line | rad |
| rho | distance of the line from the origin, across it | px |

Departs from the paper: lines are points on x (-sin theta) + y cos theta = rho, with theta the direction of the line.
"""

from __future__ import annotations

import math

from numba import njit

from sonosteer.core.arrays import F64, I32, U8


@njit(cache=True, nogil=True)
def lit_pixels(binary: U8, step: int, points: I32) -> int:
    """points[:, i] = (x, y) of the lit pixels on every step-th row and column. Returns how many."""
    n = 0
    for y in range(0, binary.shape[0], step):
        for x in range(0, binary.shape[1], step):
            if binary[y, x] > 0 and n < points.shape[1]:
                points[0, n] = x
                points[1, n] = y
                n += 1
    return n


@njit(cache=True, nogil=True)
def lit_near(binary: U8, angle_rad: float, rho: float, slack: float, points: I32) -> int:
    """points[:, i] = (x, y) of the lit pixels at most `slack` from a line. Returns how many."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    rows, columns = binary.shape
    n = 0
    for y in range(rows):
        if abs(s) > 1e-9:  # where this row crosses the strip
            ends = ((y * c - rho - slack) / s, (y * c - rho + slack) / s)
            first, last = max(0, math.ceil(min(ends))), min(columns - 1, math.floor(max(ends)))
        else:
            first, last = (0, columns - 1) if abs(y * c - rho) <= slack else (0, -1)
        for x in range(first, last + 1):
            if binary[y, x] > 0:
                points[0, n] = x
                points[1, n] = y
                n += 1
    return n


@njit(cache=True, nogil=True)
def vote(points: I32, n: int, angles_rad: F64, low: float, high: float, bin_px: float, votes: I32) -> tuple[int, float]:
    """Find the line with the most points, low <= rho <= high. Returns (index of its angle, its rho)."""
    bins = min(votes.shape[0], math.ceil((high - low) / bin_px))
    best, best_k, best_rho = -1, 0, 0.0
    inverse = 1.0 / bin_px
    for k in range(angles_rad.shape[0]):
        c, s = math.cos(angles_rad[k]), math.sin(angles_rad[k])
        for b in range(bins):
            votes[b] = 0
        for i in range(n):
            place = (points[1, i] * c - points[0, i] * s - low) * inverse
            if 0.0 <= place < bins:
                votes[int(place)] += 1
        for b in range(bins):
            if votes[b] > best:
                best, best_k, best_rho = votes[b], k, low + (b + 0.5) * bin_px
    return best_k, best_rho
