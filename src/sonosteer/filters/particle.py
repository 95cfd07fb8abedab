"""The particle filter of Paper T: Algorithm 5, with the whole of h(x) as the likelihood.

Source: Mathiassen et al. 2017 (full reference in `kalman.py`), Section II-D and the end of III-B.

| symbol | name here | unit |
| --- | --- | --- |
| x_k, v_k of particle i | `x[i]`, `v[i]`; weight `w[i]` | px, px per step |
| sigma_s | `sigma_s`, how far from the present estimate h counts, Eq. (21) | px |
| R_v | `r_v` | (px per step)^2 |

Departs from the paper: Eq. (23) prints y_k - z-dot in its exponent, where v_k - z-dot is meant (positions are not
velocities); resampling is done when the effective number falls below half (its reference [23] leaves the threshold
open); velocities begin about the measured one where there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.filters.tip import Filter

STEP_S = 0.05


@njit(cache=True, nogil=True)
def weigh(
    x: F64, v: F64, w: F64, h: F32, first: int, last: int, centre: float, sigma: float, velocity: float, r_v: float
) -> float:
    """Multiply w by h_pdf(x), Eqs. (20)-(22), and by N(v; velocity, r_v), Eq. (23), unless r_v <= 0; normalise.

    h_pdf is linear between samples and 0 outside first..last - 1. Returns the effective number of particles;
    0, with w left as it was, if no particle has any likelihood.
    """
    low = h[first]
    for u in range(first, last):
        low = min(low, h[u])
    total = 0.0
    for i in range(x.shape[0]):
        if first <= x[i] < last - 1:
            total += w[i] * _likelihood(x[i], v[i], h, low, centre, sigma, velocity, r_v)
    if not total > 0.0:
        return 0.0
    squares = 0.0
    for i in range(x.shape[0]):
        inside = first <= x[i] < last - 1
        w[i] *= _likelihood(x[i], v[i], h, low, centre, sigma, velocity, r_v) / total if inside else 0.0
        squares += w[i] * w[i]
    return 1.0 / squares


@njit(cache=True, nogil=True, inline="always")
def _likelihood(
    x: float, v: float, h: F32, low: float, centre: float, sigma: float, velocity: float, r_v: float
) -> float:
    """The constants of (20), (21) and (23) are the same for every particle and cancel."""
    u = int(x)
    f = x - u
    a = (h[u] - low) * math.exp(-0.5 * ((u - centre) / sigma) ** 2)
    b = (h[u + 1] - low) * math.exp(-0.5 * ((u + 1 - centre) / sigma) ** 2)
    likelihood: float = (1.0 - f) * a + f * b
    if r_v > 0.0:
        likelihood *= math.exp(-0.5 * (v - velocity) ** 2 / r_v)
    return likelihood


@njit(cache=True, nogil=True)
def resample(x: F64, v: F64, w: F64, start: float, x_out: F64, v_out: F64) -> None:
    """Systematic resampling: particle i is taken as often as the comb (start + k) / n falls into its weight."""
    n = x.shape[0]
    i, reached = 0, w[0]
    for k in range(n):
        at = (start + k) / n
        while reached < at and i < n - 1:
            i += 1
            reached += w[i]
        x_out[k] = x[i]
        v_out[k] = v[i]


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Particles with their weights; `draws` counts the random numbers taken, so that a stored cloud goes on alike."""

    particles: F64  # (3, n): position, velocity, weight
    x: float
    variance: float
    draws: int

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


def cloud(particles: F64, draws: int) -> Cloud:
    """Weighted mean and variance of the positions."""
    x, w = particles[0], particles[2]
    mean = float(w @ x)
    particles.flags.writeable = False
    return Cloud(particles, mean, float(w @ (x - mean) ** 2) + 1e-6, draws)


@dataclass(frozen=True, slots=True)
class ParticleTip(Filter[Cloud]):
    """Algorithm 5, lines 4 to 11; the numbers of Section III-B without velocity are the defaults."""

    n: int = 200
    p0_x_px: float = STEP_S / math.sqrt(2) * 50.0
    p0_v_px_s: float = 50.0
    q_x_px: float = STEP_S / math.sqrt(2) * 100.0
    q_v_px_s: float = 100.0
    sigma_s: float = 150.0
    r_v: float = 1.0
    seed: int = 0

    def begin(self, x_px: float, velocity_px: float | None) -> Cloud:
        """A Gaussian cloud about the start."""
        normal = self._random(0).standard_normal((2, self.n))
        particles = np.empty((3, self.n))
        particles[0] = x_px + self.p0_x_px * normal[0]
        particles[1] = (velocity_px or 0.0) + STEP_S * self.p0_v_px_s * normal[1]
        particles[2] = 1.0 / self.n
        return cloud(particles, 1)

    def predict(self, belief: Cloud, steps: float) -> Cloud:
        """Eq. (11) with noise for each particle."""
        normal = self._random(belief.draws).standard_normal((2, self.n))
        particles = belief.particles.copy()
        spread = math.sqrt(max(steps, 0.0))
        particles[0] += steps * particles[1] + spread * self.q_x_px * normal[0]
        particles[1] += spread * STEP_S * self.q_v_px_s * normal[1]
        return cloud(particles, belief.draws + 1)

    def update(self, belief: Cloud, h: F32, first: int, last: int, velocity_px: float | None) -> tuple[Cloud, bool]:
        """Weigh by h and resample. If no particle has any likelihood, the cloud stays as it is."""
        particles = belief.particles.copy()
        x, v, w = particles
        r_v = 0.0 if velocity_px is None else self.r_v
        effective = weigh(x, v, w, h, first, last, belief.x, self.sigma_s, velocity_px or 0.0, r_v)
        if effective <= 0.0:
            return belief, False
        seen = cloud(particles, belief.draws + 1)
        if effective > self.n / 2:
            return seen, True
        fresh = np.empty_like(particles)
        resample(x, v, w, self._random(belief.draws).random(), fresh[0], fresh[1])
        fresh[2] = 1.0 / self.n
        fresh.flags.writeable = False
        return Cloud(fresh, seen.x, seen.variance, seen.draws), True

    def _random(self, draw: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.seed, counter=draw << 64))
