"""A particle filter of the tip that takes the whole of h(x) as the likelihood.

Source: Mathiassen et al. 2017 (full reference in `kalman.py`), Section II-D, Algorithm 5, and the end of III-B.

| symbol | name here | unit |
| --- | --- | --- |
| x_k, v_k of particle i | `x[i]`, `v[i]`; weight `w[i]` | px, px per step |
| h_mod, h_pdf | products in `_likelihood`, Eqs. (20), (21) | no unit |
| sigma_s | `sigma_s`, how far from the present estimate h counts, Eq. (21) | px |
| R_v | `r_v` | (px per step)^2 |

Departs from the paper: Eq. (23) prints y_k - z-dot in its exponent, where v_k - z-dot is meant, since positions are not
velocities. Particles are resampled when their effective number falls below half, a threshold that the paper's
reference [23] leaves open. Velocities begin about the measured one, if there is one.

Eqs. (21) and (22) disagree about the centre of h_mod: (21) calls it the current estimate, (22) hands over y_k, the
place of the largest h. `Centre` names both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64
from sonosteer.core.errors import InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.filters.tip import STEP_S, Filter

#: centre of h_mod. estimate: the cloud's predicted mean, as the words of Eq. (21). peak: the largest h, as Eq. (22)
Centre: TypeAlias = Literal["estimate", "peak"]


@njit(cache=True, nogil=True)
def weigh_particles(
    x: F64, v: F64, w: F64, h: F32, first: int, last: int, centre: float, sigma: float, velocity: float, r_v: float
) -> float:
    """Multiply the weights by h_pdf(x), and by N(v; velocity, r_v) unless r_v <= 0, then normalise them.

    h_pdf is linear between samples and 0 outside first..last - 1. Returns the effective number of particles. If no
    particle has any likelihood, it returns 0 and leaves w as it was.
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
    # Eqs. (22), (23): weights times likelihood, normalised as by Eq. (20)
    for i in range(x.shape[0]):
        inside = first <= x[i] < last - 1
        w[i] *= _likelihood(x[i], v[i], h, low, centre, sigma, velocity, r_v) / total if inside else 0.0
        squares += w[i] * w[i]
    return 1.0 / squares


@njit(cache=True, nogil=True, inline="always")
def _likelihood(
    x: float, v: float, h: F32, low: float, centre: float, sigma: float, velocity: float, r_v: float
) -> float:
    """h_mod at x, times the likelihood of the velocity. Constants of (20), (21) and (23) cancel and are left out."""
    u = int(x)
    f = x - u
    a = (h[u] - low) * math.exp(-0.5 * ((u - centre) / sigma) ** 2)  # Eq. (21)
    b = (h[u + 1] - low) * math.exp(-0.5 * ((u + 1 - centre) / sigma) ** 2)
    likelihood: float = (1.0 - f) * a + f * b
    if r_v > 0.0:
        likelihood *= math.exp(-0.5 * (v - velocity) ** 2 / r_v)  # Eq. (23)
    return likelihood


@njit(cache=True, nogil=True)
def resample_particles(x: F64, v: F64, w: F64, start: float, x_out: F64, v_out: F64) -> None:
    """Resample systematically: particle i is taken as often as the comb (start + k) / n falls into its weight."""
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
class ParticleBelief:
    """Particles with their weights."""

    particles: F64
    """Position (px), velocity (px per step) and weight (no unit) of each particle, (3, n)."""
    x: float
    """Weighted mean position, px."""
    variance: float
    """Weighted variance of the position, px^2."""
    draws: int
    """Number of random draws so far, so that a stored belief goes on alike."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


def belief_of(particles: F64, draws: int) -> ParticleBelief:
    """Summarise particles by the weighted mean and variance of their positions."""
    x, w = particles[0], particles[2]
    mean = float(w @ x)
    particles.flags.writeable = False
    return ParticleBelief(particles, mean, float(w @ (x - mean) ** 2) + 1e-6, draws)


@dataclass(frozen=True, slots=True)
class ParticleTip(Filter[ParticleBelief]):
    """Algorithm 5, lines 4 to 11. The defaults are those of Section III-B without a measured velocity."""

    n: int = 200
    """Number of particles."""
    p0_x_px: float = STEP_S / math.sqrt(2) * 50.0
    """Deviation of the first positions, px."""
    p0_v_px_s: float = 50.0
    """Deviation of the first velocities, px/s."""
    q_x_px: float = STEP_S / math.sqrt(2) * 100.0
    """Process deviation of the position, px per step."""
    q_v_px_s: float = 100.0
    """Process deviation of the velocity, px/s per step."""
    sigma_s: float = 150.0
    """How far from the estimate h counts, Eq. (21), px."""
    r_v: float = 1.0
    """R_v: variance of a measured velocity, (px per step)^2."""
    seed: int = 0
    """Seed of the random draws. Same seed, same result."""
    centre: Centre = "estimate"
    """Centre of h_mod: estimate, as Eq. (21) says, or peak, the largest h, as Eq. (22) says."""

    def __post_init__(self) -> None:
        if self.centre not in get_args(Centre):
            raise InputError(f"tip.centre is one of {', '.join(get_args(Centre))}, not {self.centre!r}")

    def begin(self, x_px: float, velocity_px: float | None) -> ParticleBelief:
        """Draw particles about the start."""
        normal = self._random(0).standard_normal((2, self.n))
        particles = np.empty((3, self.n))
        particles[0] = x_px + self.p0_x_px * normal[0]
        particles[1] = (velocity_px or 0.0) + STEP_S * self.p0_v_px_s * normal[1]
        particles[2] = 1.0 / self.n
        return belief_of(particles, 1)

    def predict(self, belief: ParticleBelief, steps: float) -> ParticleBelief:
        """Move every particle, each with its own noise."""
        normal = self._random(belief.draws).standard_normal((2, self.n))
        particles = belief.particles.copy()
        spread = math.sqrt(max(steps, 0.0))
        particles[0] += steps * particles[1] + spread * self.q_x_px * normal[0]  # Eq. (11)
        particles[1] += spread * STEP_S * self.q_v_px_s * normal[1]
        return belief_of(particles, belief.draws + 1)

    def update(
        self, belief: ParticleBelief, h: F32, *, first: int, last: int, velocity_px: float | None
    ) -> tuple[ParticleBelief, bool]:
        """Weigh by h and resample. If no particle has any likelihood, the belief stays as it is."""
        particles = belief.particles.copy()
        x, v, w = particles
        r_v = 0.0 if velocity_px is None else self.r_v
        centre = belief.x if self.centre == "estimate" else float(first + h[first:last].argmax())
        effective = weigh_particles(x, v, w, h, first, last, centre, self.sigma_s, velocity_px or 0.0, r_v)
        if effective <= 0.0:
            return belief, False
        seen = belief_of(particles, belief.draws + 1)
        if effective > self.n / 2:
            return seen, True
        fresh = np.empty_like(particles)
        resample_particles(x, v, w, self._random(belief.draws).random(), fresh[0], fresh[1])
        fresh[2] = 1.0 / self.n
        fresh.flags.writeable = False
        return ParticleBelief(fresh, seen.x, seen.variance, seen.draws), True

    def _random(self, draw: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self.seed, counter=draw << 64))
