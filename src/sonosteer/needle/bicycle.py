"""A bevel-tip needle as a bicycle: Paper S's reduced-order model, solved in closed form.

Source: the event-triggered steering paper ("Paper S"), Sections 3 and 4, Eqs. (1) to (15), Algorithms 4.1 and 4.2.

| symbol | name here | unit |
| --- | --- | --- |
| l | `depth_mm`, inserted length | mm |
| kappa | `curvature_per_mm` | 1/mm |
| theta(l), theta_0 | `theta_rad`, angle between the tip and the insertion axis | rad |
| phi(l), phi_0 | `phi_rad`, roll of the bevel | rad |
| phi-dot_i | `rates_rad_per_mm[i]`, held from event point i to the next | rad/mm |
| l_i | `starts_mm[i]`, event points; the first is 0 | mm |
| x, y, z | along the insertion axis, across it | mm |

    x' = cos theta, y' = sin theta cos phi, z' = sin theta sin phi, theta' = kappa, phi' = phi-dot

Departs from the paper: the last line of (11) has the wrong sign and is corrected; Algorithm 4.2's indices too (the rate
of a section is that of its beginning). The terms over kappa +- phi-dot are written as d sinc((kappa +- phi-dot) d / 2)
times the sine or cosine at the middle of the section, which is the same number and exact where kappa = +-phi-dot and
where kappa = 0, so that no rate has to be forbidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.errors import InputError

F64 = NDArray[np.float64]


@njit(cache=True, nogil=True)
def sinc(x: float) -> float:
    """sin(x) / x, and 1 at 0."""
    if abs(x) < 1e-4:
        square = x * x
        return 1.0 - square / 6.0 + square * square / 120.0
    return math.sin(x) / x


@njit(cache=True, nogil=True)
def section(k: float, w: float, theta: float, phi: float, d: float) -> tuple[float, float, float]:
    """(dx, dy, dz) over a section of length d that begins at theta, phi: Eqs. (4), (10), (11) between its ends."""
    half = 0.5 * d
    middle_t, middle_p = theta + k * half, phi + w * half
    plus, minus = d * sinc((k + w) * half), d * sinc((k - w) * half)
    dy = 0.5 * (plus * math.sin(middle_t + middle_p) + minus * math.sin(middle_t - middle_p))
    dz = 0.5 * (minus * math.cos(middle_t - middle_p) - plus * math.cos(middle_t + middle_p))
    return d * sinc(k * half) * math.cos(middle_t), dy, dz


@njit(cache=True, nogil=True)
def path(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depths: F64, out: F64) -> None:
    """out[i] = (x, y, z, theta, phi) at depths[i], which must not fall. Algorithm 4.2, corrected."""
    x = y = z = 0.0
    phi, begun, i = phi0, 0.0, 0
    n = starts.shape[0]
    for j in range(depths.shape[0]):
        depth = depths[j]
        while i + 1 < n and starts[i + 1] <= depth:
            d = starts[i + 1] - begun
            dx, dy, dz = section(k, rates[i], theta0 + k * begun, phi, d)
            x, y, z = x + dx, y + dy, z + dz
            phi += rates[i] * d
            begun = starts[i + 1]
            i += 1
        d = depth - begun
        dx, dy, dz = section(k, rates[i], theta0 + k * begun, phi, d)
        out[j, 0], out[j, 1], out[j, 2] = x + dx, y + dy, z + dz
        out[j, 3], out[j, 4] = theta0 + k * depth, phi + rates[i] * d


@njit(cache=True, nogil=True)
def ends(k: F64, theta0: F64, phi0: F64, starts: F64, rates: F64, depth: float, out: F64) -> None:
    """out[j] = (x, y, z, theta, phi) at one depth for many needles and plans. starts, rates: (needles, points)."""
    at = np.empty(1)
    for j in range(k.shape[0]):
        at[0] = depth
        path(k[j], theta0[j], phi0[j], starts[j], rates[j], at, out[j : j + 1])


@njit(cache=True, nogil=True)
def stepwise(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float, step: float, out: F64) -> int:
    """Algorithm 4.1, Eq. (12): the same end by Euler steps, for comparison; returns how many were taken."""
    x = y = z = at = 0.0
    theta, phi, i, taken = theta0, phi0, 0, 0
    while at < depth - 1e-9:
        d = min(step, depth - at)
        while i + 1 < starts.shape[0] and starts[i + 1] <= at + 1e-9:
            i += 1
        x += math.cos(theta) * d
        y += math.sin(theta) * math.cos(phi) * d
        z += math.sin(theta) * math.sin(phi) * d
        theta += k * d
        phi += rates[i] * d
        at += d
        taken += 1
    out[0], out[1], out[2], out[3], out[4] = x, y, z, theta, phi
    return taken


@dataclass(frozen=True, slots=True)
class Plan:
    """Rotation rates in rad/mm, each held from its depth in mm to the next; the first depth is 0.

    InputError unless depths rise from 0 and everything is a number.
    """

    starts_mm: tuple[float, ...]
    rates_rad_per_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        starts, rates = self.starts_mm, self.rates_rad_per_mm
        if len(starts) != len(rates) or not starts:
            raise InputError("plan: give as many rates as depths, at least one")
        if not all(map(math.isfinite, (*starts, *rates))):
            raise InputError("plan: depths and rates must be numbers")
        if starts[0] != 0.0 or any(b <= a for a, b in pairwise(starts)):
            raise InputError(f"plan: depths must rise from 0, but are {', '.join(f'{v:g}' for v in starts)}")

    def rotation_rad(self, depth_mm: float) -> float:
        """All rotation up to a depth, whichever way round."""
        ends_mm = (*self.starts_mm[1:], math.inf)
        return sum(
            abs(rate) * max(0.0, min(end, depth_mm) - start)
            for start, end, rate in zip(self.starts_mm, ends_mm, self.rates_rad_per_mm, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Bicycle:
    """A needle: curvature in 1/mm, angle to the axis and roll of the bevel at the entry in rad."""

    curvature_per_mm: float
    theta0_rad: float = 0.0
    phi0_rad: float = 0.0

    def path(self, plan: Plan, depths_mm: F64) -> F64:
        """(n, 5): x, y, z in mm, theta, phi in rad at n depths that do not fall. InputError if they do."""
        depths = np.ascontiguousarray(depths_mm, np.float64)
        if depths.ndim != 1 or not np.isfinite(depths).all() or (depths < 0).any() or (np.diff(depths) < 0).any():
            raise InputError("depths must be numbers from 0 on that do not fall")
        out = np.empty((len(depths), 5))
        starts, rates = np.array(plan.starts_mm), np.array(plan.rates_rad_per_mm)
        path(self.curvature_per_mm, self.theta0_rad, self.phi0_rad, starts, rates, depths, out)
        return out
