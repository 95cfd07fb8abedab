"""Finds the plan of least cost without chance: Gauss-Newton with the bicycle's gradients from a few fixed starts.

The cost is Eq. (14) of Carriere et al. 2019. The unknowns are the event points and the rotation in each section,
which is at most half a turn (Eq. (15)).

| symbol | name here | unit |
| --- | --- | --- |
| l_i | `e`, `starts`, event points | mm |
| phi-dot_i | `rates`, rotation rate of each section | rad/mm |
| | `a`, rotation in each section | rad |
| alpha, beta | `alpha`, `beta`, weights of the final and of the largest deflection | no unit |
| Delta phi | `most`, largest rotation in a section, Eq. (15) | rad |

Departs from the paper: this replaces the paper's genetic search. The cost alpha |r(L)| + beta max |r| becomes weighted
least squares. |r(L)| gets its own weight, and the maximum becomes a p-norm over depths. Both are weighted anew in every
step. A step counts only if the cost itself falls. So the result is never worse than the plan it began with.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.needle.bicycle import bicycle_path, gradient
from sonosteer.steering.genetic import first_free, plan_cost

PATH_SAMPLES = 16  # chosen: depths at which the path is compared with the axis, besides its end
POWER = 6.0  # chosen: p of the norm that stands for the maximum
MAX_STEPS = 14  # chosen: Gauss-Newton steps from one start
MIN_GAP_MM = 0.05  # chosen: between two event points
#: rotation of a first, second, third ... section as a fraction of what is allowed. chosen: one start per row
STARTS = np.array(
    [
        *([0.6, 0.6, 0.6, 0.6, 0.6, 0.6], [1.0, 0.0, -1.0, 0.0, 1.0, 0.0], [-0.6, 0.6, -0.6, 0.6, -0.6, 0.6]),
        *([0.9, 0.9, -0.3, 0.3, -0.3, 0.3], [-0.6, -0.6, -0.6, -0.6, -0.6, -0.6], [0.1, -0.1, 0.9, -0.9, 0.1, -0.1]),
        *([0.3, -0.3, 0.3, -0.3, 0.3, -0.3], [0.0, 0.9, -0.9, 0.0, 0.9, -0.9]),
        *([0.4, 1.0, 0.4, 1.0, 0.4, 1.0], [-0.9, 0.3, 0.9, -0.3, -0.9, 0.3]),
    ]
)


@njit(cache=True, nogil=True)
def _rates(e: F64, a: F64, depth: float, rates: F64) -> None:
    """Turn the rotation of each section into its rate, in place."""
    n = e.shape[0]
    for i in range(n):
        end = e[i + 1] if i + 1 < n else depth
        rates[i] = a[i] / max(end - e[i], 1e-6)


@njit(cache=True, nogil=True)
def _allow(e: F64, a: F64, at: float, depth: float, most: float, fixed: int, latest: float) -> None:
    """Bring the unknowns back within their bounds: rising event points ahead of `at`, at most `most` per section."""
    n = e.shape[0]
    for i in range(fixed, n):
        low = (at if i == fixed else e[i - 1]) + MIN_GAP_MM
        high = depth - MIN_GAP_MM * (n - i)
        if i == fixed:
            high = min(high, latest)
        e[i] = min(max(e[i], low), max(high, low))
        a[i] = min(max(a[i], -most), most)


@njit(cache=True, nogil=True)
def _descend(
    e: F64,
    a: F64,
    at: float,
    depth: float,
    k: float,
    theta0: float,
    phi0: float,
    alpha: float,
    beta: float,
    most: float,
    fixed: int,
    latest: float,
    running: float,
) -> float:
    """Lower the cost from one start, e and a in place, and return it. running: rate of the section that has begun."""
    n = e.shape[0]
    free = n - fixed
    rates = np.empty(n)
    G = np.empty((2, 3 + 2 * n))
    points = PATH_SAMPLES + 1
    J = np.empty((2 * points, 2 * free))
    r = np.empty(2 * points)
    weight = np.empty(2 * points)
    at_depth = np.empty(1)
    place = np.empty((1, 5))
    new_e, new_a = e.copy(), a.copy()
    _rates(e, a, depth, rates)
    rates[fixed - 1] = running
    cost: float = plan_cost(k, theta0, phi0, e, rates, depth, alpha, beta, True)
    damping = 1e-2
    for _ in range(MAX_STEPS):
        highest = 1e-9
        for s in range(points):
            here = depth if s == PATH_SAMPLES else at + (depth - at) * (s + 1) / PATH_SAMPLES
            at_depth[0] = here
            bicycle_path(k, theta0, phi0, e, rates, at_depth, place)
            gradient(k, theta0, phi0, e, rates, here, G)
            for m in range(2):
                row = 2 * s + m
                r[row] = place[0, 1 + m]
                for v in range(free):
                    i = fixed + v
                    end = e[i + 1] if i + 1 < n else depth
                    way = max(end - e[i], 1e-6)
                    J[row, free + v] = G[m, 3 + i] / way
                    slope = G[m, 3 + n + i] + G[m, 3 + i] * rates[i] / way
                    if i > fixed:  # a moved event point changes the rate of the section before it
                        before = max(e[i] - e[i - 1], 1e-6)
                        slope -= G[m, 2 + i] * rates[i - 1] / before
                    J[row, v] = slope
            if s < PATH_SAMPLES:
                highest = max(highest, math.hypot(r[2 * s], r[2 * s + 1]))
        total = 0.0
        for s in range(PATH_SAMPLES):
            weigh = (math.hypot(r[2 * s], r[2 * s + 1]) / highest) ** (POWER - 2.0)
            weight[2 * s] = weight[2 * s + 1] = weigh
            total += weigh * (r[2 * s] ** 2 + r[2 * s + 1] ** 2)
        for row in range(2 * PATH_SAMPLES):
            weight[row] *= beta * highest / max(total, 1e-12)
        last = 2 * PATH_SAMPLES
        weight[last] = weight[last + 1] = alpha / max(math.hypot(r[last], r[last + 1]), 1e-3)
        A = np.zeros((2 * free, 2 * free))
        b = np.zeros(2 * free)
        for row in range(2 * points):
            for v in range(2 * free):
                b[v] -= weight[row] * J[row, v] * r[row]
                for u in range(2 * free):
                    A[v, u] += weight[row] * J[row, v] * J[row, u]
        better = False
        for _try in range(5):
            M = A.copy()
            for v in range(2 * free):
                M[v, v] += damping * (A[v, v] + 1e-9) + 1e-12
            step = np.linalg.solve(M, b)
            for v in range(free):
                new_e[fixed + v] = e[fixed + v] + step[v]
                new_a[fixed + v] = a[fixed + v] + step[free + v]
            _allow(new_e, new_a, at, depth, most, fixed, latest)
            _rates(new_e, new_a, depth, rates)
            rates[fixed - 1] = running
            c = plan_cost(k, theta0, phi0, new_e, rates, depth, alpha, beta, True)
            if c < cost - 1e-9:
                e[:], a[:] = new_e, new_a
                better = cost - c > 1e-4 * cost
                cost = c
                damping = max(0.2 * damping, 1e-6)
                break
            damping *= 6.0
        _rates(e, a, depth, rates)
        rates[fixed - 1] = running
        if not better:
            break
    return cost


@njit(cache=True, nogil=True)
def optimise(
    starts: F64,
    rates: F64,
    at: float,
    depth: float,
    k: float,
    theta0: float,
    phi0: float,
    alpha: float,
    beta: float,
    most: float,
    table: F64,
) -> float:
    """Improve a plan in place and return its cost in mm, which is never above that of the given plan.

    starts, rates: (1 + points,) each. The first section begins at 0, the entry. Sections that begin at `at` or before
    are frozen. table: `STARTS`.
    """  # fmt: skip
    n = starts.shape[0]
    fixed = first_free(starts, at)
    best: float = plan_cost(k, theta0, phi0, starts, rates, depth, alpha, beta, True)
    if fixed == n or at >= depth - MIN_GAP_MM * (n + 1):
        return best
    running = rates[fixed - 1]
    latest = depth
    if abs(running) > 0.0:
        latest = min(depth, starts[fixed - 1] + most / abs(running))
        latest = max(latest, at + MIN_GAP_MM)
    be, bw = starts.copy(), rates.copy()
    e, a, w = starts.copy(), np.zeros(n), rates.copy()
    for t in range(table.shape[0] + 1):
        e[:] = starts
        for i in range(n):
            end = starts[i + 1] if i + 1 < n else depth
            a[i] = rates[i] * (end - starts[i])
        if t > 0:
            for i in range(fixed, n):
                e[i] = at + (depth - at) * (i - fixed + 0.5) / (n - fixed + 0.5)
                a[i] = most * table[t - 1, (i - fixed) % table.shape[1]]
        _allow(e, a, at, depth, most, fixed, latest)
        c = _descend(e, a, at, depth, k, theta0, phi0, alpha, beta, most, fixed, latest, running)
        if c < best:
            best = c
            _rates(e, a, depth, w)
            w[:fixed] = rates[:fixed]
            be[:], bw[:] = e, w
    starts[:], rates[:] = be, bw
    return best
