"""Repeats Fig. 7 of Carriere et al. 2019 on simulated insertions, and checks the posterior of our least-squares fit.

Reference: Carriere et al. 2019, Section 6.1 and Fig. 7: the genetic fit on 10,000 simulated insertions. theta_0 is
uniform in [0, pi/4], kappa in [1/10000, 1/500] per mm. The noise is 0.5 mm each way. There is one generation per
millimetre.

Departs from the paper: the bounds of the search are widened to theta_0 <= pi/4, because most of these needles lie
outside the published 0.174 rad. The paper does not say how its needles rotate. Here three random sections rotate
within Eq. (15).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.needle.bicycle import Bicycle, Plan, bicycle_path
from sonosteer.steering.fit import TipMeasurements, fit_needle
from sonosteer.steering.genetic import evolve_fit, first_population

CHUNK = 250  # chosen: insertions in one part of the study
DEPTHS = 100  # chosen: inserted length, mm, in steps of 1 mm
INDIVIDUALS, TESTS = 50, 11  # Section 6.1
NOISE_MM = 0.5  # Fig. 7: N(0, 0.5), read as a standard deviation
VARIANCE_NOISE_MM = math.sqrt(0.5)  # the same, read as a variance
INTERVAL_90_SD = 1.645  # half a 90 % interval of a normal distribution
LOW, HIGH = np.array([0.0, 1 / 10000]), np.array([math.pi / 4, 1 / 500])


@njit(cache=True, nogil=True)
def fit_one_insertion(
    k: float,
    theta0: float,
    starts: F64,
    rates: F64,
    noise: F64,
    population: F64,
    low: F64,
    high: F64,
    rng: np.random.Generator,
    scores: F64,
    off: F64,
) -> None:
    """Fit one insertion.

    scores[d]: Eq. (18) after d + 1 mm. off[d]: mean distance between the fitted and the true path so far, mm.
    """
    n = noise.shape[0]
    depths = np.arange(1.0, n + 1.0)
    true, model = np.empty((n, 5)), np.empty((n, 5))
    bicycle_path(k, theta0, 0.0, starts, rates, depths, true)
    seen = np.empty((n, 3))
    seen[:, 0] = true[:, 0]
    seen[:, 1:] = true[:, 1:3] + noise
    tests = np.empty((TESTS, 3))
    for d in range(n):
        for j in range(TESTS):
            tests[j] = seen[d * j // (TESTS - 1)]
        scores[d] = evolve_fit(population, 0.0, starts, rates, tests, True, low, high, rng)
        bicycle_path(population[0, 1], population[0, 0], 0.0, starts, rates, depths[: d + 1], model[: d + 1])
        total = 0.0
        for j in range(d + 1):
            total += math.hypot(model[j, 1] - true[j, 1], model[j, 2] - true[j, 2])
        off[d] = total / (d + 1)


def draw_random_needle(rng: np.random.Generator) -> tuple[float, float, F64, F64]:
    """Draw kappa (1/mm), theta_0 (rad), starts (mm) and rates (rad/mm) of one insertion."""
    theta0, k = rng.uniform(LOW, HIGH).tolist()
    starts = np.array([0.0, *np.sort(rng.uniform(5.0, DEPTHS - 5.0, 3)).tolist()])
    ways = np.diff([*starts, DEPTHS])
    rates = rng.uniform(-math.pi, math.pi, 4) / np.maximum(ways, 1.0)
    rates[0] = 0.0
    return k, theta0, starts, rates


def fit_chunk(seed: int, noise_mm: float = NOISE_MM) -> dict[str, Any]:
    """Fit CHUNK insertions. Returns sums and sums of squares of both errors at every depth.

    noise_mm: standard deviation of the measured tip, each way.
    """
    rng = np.random.default_rng([seed, 7])
    sums = np.zeros((4, DEPTHS))
    scores, off = np.empty(DEPTHS), np.empty(DEPTHS)
    for _ in range(CHUNK):
        k, theta0, starts, rates = draw_random_needle(rng)
        noise = rng.normal(0.0, noise_mm, (DEPTHS, 2))
        population = first_population(INDIVIDUALS, LOW, HIGH, rng)
        fit_one_insertion(k, theta0, starts, rates, noise, population, LOW, HIGH, rng, scores, off)
        sums += np.stack([scores, scores**2, off, off**2])
    return {"insertions": CHUNK, "sums": np.round(sums, 6).tolist()}


def coverage(insertions: int, seed: int) -> dict[str, Any]:
    """Count how often the 90 % intervals of our least-squares fit hold the true kappa and theta_0."""
    rng = np.random.default_rng([seed, 8])
    held = np.zeros(2, int)
    failed = 0
    for _ in range(insertions):
        k, theta0, starts, rates = draw_random_needle(rng)
        plan = Plan(tuple(starts.tolist()), tuple(rates.tolist()))
        depths = np.arange(1.0, DEPTHS + 1.0)
        way = Bicycle(k, theta0).path(plan, depths)[:, 1:3] + rng.normal(0.0, NOISE_MM, (DEPTHS, 2))
        try:
            found = fit_needle(TipMeasurements(depths, way[:, 0], way[:, 1]), plan, noise_mm=NOISE_MM)
        except InputError:
            failed += 1
            continue
        held[0] += abs(found.curvature_per_mm - k) < INTERVAL_90_SD * found.curvature_sd_per_mm
        held[1] += abs(found.theta0_rad - theta0) < INTERVAL_90_SD * found.theta0_sd_rad
    done = max(insertions - failed, 1)
    return {"insertions": insertions, "failed": failed, "kappa": held[0] / done, "theta0": held[1] / done}
