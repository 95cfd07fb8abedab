"""The control step of Carriere et al. 2019 in plain NumPy, as one would write it first: a reference for speed."""

from __future__ import annotations

import math

import numpy as np

from sonosteer.core.arrays import F64


def path_numpy(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depths: F64) -> F64:
    """(n, 2) y, z at depths: Eqs. (10), (11) with the sign put right, summed over the sections."""
    ends = np.append(starts[1:], np.inf)
    way = np.clip(depths[:, None], starts, ends) - starts
    theta = theta0 + k * starts
    phi = phi0 + np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(starts))])
    middle_t, middle_p = theta + k * way / 2, phi + rates * way / 2
    plus = way * np.sinc((k + rates) * way / (2 * math.pi))
    minus = way * np.sinc((k - rates) * way / (2 * math.pi))
    y = 0.5 * (plus * np.sin(middle_t + middle_p) + minus * np.sin(middle_t - middle_p))
    z = 0.5 * (minus * np.cos(middle_t - middle_p) - plus * np.cos(middle_t + middle_p))
    out: F64 = np.stack([y.sum(1), z.sum(1)], 1)
    return out


def fit_generation_numpy(
    population: F64,
    phi0: float,
    *,
    starts: F64,
    rates: F64,
    seen: F64,
    low: F64,
    high: F64,
    rng: np.random.Generator,
) -> F64:
    """One generation of the fit (Section 6.1): (n, 3) theta_0, kappa, score, the best first."""
    n = len(population)
    kept = int(0.3 * n)
    crossed = (n - kept) // 2
    new = rng.uniform(low, high, (n, 2))
    new[:kept] = population[:kept, :2]
    parents = rng.integers(0, kept, (crossed, 2))
    new[kept : kept + crossed, 0] = population[parents[:, 0], 0]
    new[kept : kept + crossed, 1] = population[parents[:, 1], 1]
    scores = np.empty(n)
    for i, (theta0, k) in enumerate(new):
        length = (np.arcsin(np.clip(k * seen[:, 0] + np.sin(theta0), -1, 1)) - theta0) / k
        left = path_numpy(k, theta0, phi0, starts, rates, length) - seen[:, 1:]
        scores[i] = np.hypot(left[:, 0], left[:, 1]).mean()
    order = np.argsort(scores)
    out: F64 = np.column_stack([new, scores])[order]
    return out


def largest(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float) -> float:
    """The paper's test for the largest deflection: where theta or phi makes y' or z' zero, else the end."""
    phi = phi0 + np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(starts))])
    ends = np.append(starts[1:], depth)
    found: list[float] = []
    for begin, end, rate, angle in zip(starts, ends, rates, phi, strict=True):
        if rate != 0.0:
            m = np.arange(-4, 5) * math.pi / 2
            at = begin + (m - angle) / rate
            found += at[(at > begin) & (at <= end)].tolist()
    r = np.hypot(*path_numpy(k, theta0, phi0, starts, rates, np.array([*sorted(found), depth])).T)
    return float(r[:-1].max()) if found else float(r[-1])


def plan_generation_numpy(
    starts: F64,
    rates: F64,
    depth: float,
    *,
    k: float,
    theta0: float,
    alpha: float,
    beta: float,
    individuals: int,
    rng: np.random.Generator,
) -> tuple[F64, F64, float]:
    """One generation of the plan (Section 4.1) before the insertion: event points, rates, cost."""  # fmt: skip

    def cost(e: F64, w: F64) -> float:
        end = path_numpy(k, theta0, 0.0, e, w, np.array([depth]))[0]
        return alpha * float(np.hypot(*end)) + beta * largest(k, theta0, 0.0, e, w, depth)

    best = (starts, rates, cost(starts, rates))
    n = len(starts) - 1
    for i in range(individuals):
        e = np.concatenate([[0.0], np.sort(rng.uniform(0.0, depth, n))])
        limit = math.pi / np.maximum(np.diff(np.append(e, depth)), 1e-6)
        w = limit * rng.uniform(-1.0, 1.0, n + 1)
        w[0] = 0.0
        if i % 2:
            swap = np.append(False, rng.random(n) < 0.5)
            e, w = np.where(swap, starts, e), np.where(swap, rates, w)
            order = np.argsort(e)
            e, w = e[order], w[order]
            limit = math.pi / np.maximum(np.diff(np.append(e, depth)), 1e-6)
            w = np.clip(w, -limit, limit)
        c = cost(e, w)
        if c < best[2]:
            best = (e, w, c)
    return best
