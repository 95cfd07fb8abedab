"""The genetic searches of Carriere et al. 2019: one for the needle's parameters, one for the plan of rotations.

Reference: Carriere et al. 2019, Section 6.1 and Eq. (18) for the fit, Section 4.1 and Eq. (14) for the plan.

| symbol | name here | unit |
| --- | --- | --- |
| theta_0, kappa | `population[:, 0]`, `population[:, 1]` | rad, 1/mm |
| l_i | `starts`, event points | mm |
| phi-dot_i | `rates`, rotation rate from each event point to the next | rad/mm |
| alpha, beta | `alpha`, `beta`, weights of the final and of the largest deflection | no unit |
| Delta phi | `most`, rotation between two event points, Eq. (15) | rad |
| L_fit | `fit_loss`, Eq. (18) | mm |

Both take one generation per frame. Half of the new individuals are crossed with the best, half are drawn uniformly. The
fit keeps the best 30 %. The plan keeps the best alone ("greedy").

A measured depth can be the inserted length or the distance x along the axis, which Section 6.1 turns into it.

Departs from the paper: the maximum in Eq. (14) can be taken by the right condition (`right`) instead of the paper's
test. A section that has begun keeps its rate.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.needle.bicycle import bicycle_path, ends, largest_deflection, published_largest_deflection

KEPT_FRACTION = 0.3  # Section 6.1


@njit(cache=True, nogil=True)
def inserted_length(k: float, theta0: float, x: float) -> float:
    """Return l in mm at which x(l) = (sin(k l + theta_0) - sin theta_0) / k. It is inf where x is out of reach."""
    if abs(k) < 1e-12:
        return x / math.cos(theta0)
    s = k * x + math.sin(theta0)
    if abs(s) > 1.0:
        return math.inf
    length: float = (math.asin(s) - theta0) / k  # inverse of Eq. (4)
    return length


@njit(cache=True, nogil=True)
def fit_loss(
    theta0: float, k: float, phi0: float, starts: F64, rates: F64, seen: F64, along_axis: bool, work: F64
) -> float:
    """Return L_fit of Eq. (18), the mean distance from `seen`, mm. work: (n, 6).

    seen: (n, 3) depth, y, z, mm. along_axis: a depth is x, and the needle's own kappa and theta_0 turn it into the
    inserted length. Otherwise it is the inserted length.
    """
    n = seen.shape[0]
    before = 0.0
    total: float = 0.0
    for j in range(n):
        length = inserted_length(k, theta0, seen[j, 0]) if along_axis else seen[j, 0]
        if not length < 1e6:
            return math.inf
        before = max(before, length)
        work[j, 5] = before
    bicycle_path(k, theta0, phi0, starts, rates, work[:, 5].copy(), work[:, :5])
    for j in range(n):
        total += math.hypot(work[j, 1] - seen[j, 1], work[j, 2] - seen[j, 2])
    mean: float = total / n  # Eq. (18)
    return mean


@njit(cache=True, nogil=True)
def evolve_fit(
    population: F64,
    phi0: float,
    starts: F64,
    rates: F64,
    seen: F64,
    along_axis: bool,
    low: F64,
    high: F64,
    rng: np.random.Generator,
) -> float:
    """Evolve the fit by one generation and return its best score in mm.

    population: (n, 3) theta_0, kappa, score. It changes in place, and the best individual comes first. seen,
    along_axis: as in `fit_loss`.
    """
    n = population.shape[0]
    work = np.empty((seen.shape[0], 6))
    kept = max(1, int(KEPT_FRACTION * n))
    crossed = (n - kept) // 2
    for i in range(n):
        if kept <= i < kept + crossed:  # swap one of the two values between two of the kept
            a, b = rng.integers(0, kept), rng.integers(0, kept)
            population[i, 0], population[i, 1] = population[a, 0], population[b, 1]
        elif i >= kept:
            for j in range(2):
                population[i, j] = low[j] + (high[j] - low[j]) * rng.random()
        population[i, 2] = fit_loss(population[i, 0], population[i, 1], phi0, starts, rates, seen, along_axis, work)
    order = np.argsort(population[:, 2])
    population[:] = population[order]
    best: float = population[0, 2]
    return best


def first_population(n: int, low: F64, high: F64, rng: np.random.Generator) -> F64:
    """Return (n, 3) individuals theta_0, kappa, score: uniform within the bounds, not yet scored (inf)."""
    out = np.full((n, 3), math.inf)
    out[:, :2] = rng.uniform(low, high, (n, 2))
    return out


@njit(cache=True, nogil=True)
def plan_cost(
    k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float, alpha: float, beta: float, right: bool
) -> float:
    """Return the cost of Eq. (14) in mm. right: take the maximum by the right condition, not by the paper's test."""
    out = np.empty((1, 5))
    ends(np.full(1, k), np.full(1, theta0), np.full(1, phi0), starts.reshape(1, -1), rates.reshape(1, -1), depth, out)
    cost: float = alpha * math.hypot(out[0, 1], out[0, 2])  # Eq. (14): alpha |r(l_f)| + beta max |r|
    if beta > 0.0:
        if right:
            cost += beta * largest_deflection(k, theta0, phi0, starts, rates, depth)[0]
        else:
            cost += beta * published_largest_deflection(k, theta0, phi0, starts, rates, depth)[0]
    return cost


@njit(cache=True, nogil=True)
def first_free(starts: F64, at: float) -> int:
    """Return the index of the first event point that lies deeper than `at`. The entry never does."""
    fixed = 1
    while fixed < starts.shape[0] and starts[fixed] <= at:
        fixed += 1
    return fixed


@njit(cache=True, nogil=True)
def clip_rates(starts: F64, rates: F64, depth: float, most: float, fixed: int) -> None:
    """Bring the rates within Eq. (15), from section `fixed` on, in place."""
    n = starts.shape[0]
    for i in range(fixed, n):
        end = starts[i + 1] if i + 1 < n else depth
        limit = most / max(end - starts[i], 1e-6)  # Eq. (15): |phi-dot_i| <= most / (l_(i+1) - l_i)
        rates[i] = min(max(rates[i], -limit), limit)


@njit(cache=True, nogil=True)
def evolve_plan(
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
    individuals: int,
    right: bool,
    rng: np.random.Generator,
) -> float:
    """Evolve the plan by one generation and return the cost of the best one, mm.

    starts, rates: (1 + points,) each, changed in place. The first section begins at 0, the entry. Sections that begin
    at `at` or before are frozen. The next one begins before the running section has turned farther than allowed.
    """  # fmt: skip
    n = starts.shape[0]
    fixed = first_free(starts, at)
    best: float = plan_cost(k, theta0, phi0, starts, rates, depth, alpha, beta, right)
    if fixed == n:
        return best
    # the running section may not turn farther than allowed when its end moves out
    reach = depth
    if fixed > 1 and abs(rates[fixed - 1]) > 0.0:
        reach = min(depth, starts[fixed - 1] + most / abs(rates[fixed - 1]) + 1e-9)
    e, w = starts.copy(), rates.copy()
    be, bw = starts.copy(), rates.copy()
    for individual in range(individuals):
        for i in range(fixed, n):
            e[i] = at + (depth - at) * rng.random()
        e[fixed:] = np.sort(e[fixed:])
        e[fixed] = min(e[fixed], reach)
        for i in range(fixed, n):
            end = e[i + 1] if i + 1 < n else depth
            w[i] = most / max(end - e[i], 1e-6) * (2.0 * rng.random() - 1.0)
        if individual % 2 == 1:  # crossed with the best: some of its coupled values
            for i in range(fixed, n):
                if rng.random() < 0.5:
                    e[i], w[i] = be[i], bw[i]
            for i in range(fixed + 1, n):
                for j in range(i, fixed, -1):
                    if e[j] < e[j - 1]:
                        e[j], e[j - 1] = e[j - 1], e[j]
                        w[j], w[j - 1] = w[j - 1], w[j]
            e[fixed] = min(e[fixed], reach)
        for i in range(fixed + 1, n):
            e[i] = max(e[i], e[i - 1] + 1e-3)
        if e[n - 1] >= depth:
            continue
        clip_rates(e, w, depth, most, fixed)
        c = plan_cost(k, theta0, phi0, e, w, depth, alpha, beta, right)
        if c < best:
            best = c
            be[:], bw[:] = e, w
    starts[:], rates[:] = be, bw
    return best
