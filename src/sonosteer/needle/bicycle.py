"""A bevel-tip needle as a bicycle: the reduced-order model of Carriere et al. 2019, solved in closed form.

Source: Carriere et al. 2019 (event-triggered steering), Sections 3 and 4, Eqs. (1) to (15), Algorithms 4.1 and 4.2.

| symbol | name here | unit |
| --- | --- | --- |
| l | `depth_mm`, inserted length | mm |
| kappa | `curvature_per_mm` | 1/mm |
| theta(l), theta_0 | `theta_rad`, angle between the tip and the insertion axis | rad |
| phi(l), phi_0 | `phi_rad`, roll of the bevel | rad |
| phi-dot_i | `rates_rad_per_mm[i]`, held from event point i to the next | rad/mm |
| l_i | `starts_mm[i]`, event points, the first at 0 | mm |
| x, y, z | along the insertion axis, across it | mm |

    x' = cos theta, y' = sin theta cos phi, z' = sin theta sin phi, theta' = kappa, phi' = phi-dot

Departs from the paper: the largest deflection, second term of (14), is looked for where y y' + z z' = 0. The paper's
own test, y' = 0 or z' = 0, stands beside it. The last line of (11) has the wrong sign and is corrected. So are the
indices of Algorithm 4.2: the rate of a section is that of its beginning. The terms over kappa +- phi-dot are written as
d sinc((kappa +- phi-dot) d / 2) times the sine or cosine at the middle of the section. That is the same number, and
exact where kappa = +-phi-dot and where kappa = 0. No rate has to be forbidden.

Kernels: lengths in mm, angles in rad, k in 1/mm, rates in rad/mm. starts, rates: (n,), the first start is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError


@njit(cache=True, nogil=True)
def sinc(x: float) -> float:
    """sin(x) / x, and 1 at 0."""
    if abs(x) < 1e-4:
        square = x * x
        return 1.0 - square / 6.0 + square * square / 120.0
    return math.sin(x) / x


@njit(cache=True, nogil=True)
def section(k: float, w: float, theta: float, phi: float, d: float) -> tuple[float, float, float]:
    """(dx, dy, dz) in mm over a section of length d that begins at theta, phi: Eqs. (4), (10), (11)."""
    half = 0.5 * d
    middle_t, middle_p = theta + k * half, phi + w * half
    plus, minus = d * sinc((k + w) * half), d * sinc((k - w) * half)
    dy = 0.5 * (plus * math.sin(middle_t + middle_p) + minus * math.sin(middle_t - middle_p))
    dz = 0.5 * (minus * math.cos(middle_t - middle_p) - plus * math.cos(middle_t + middle_p))
    return d * sinc(k * half) * math.cos(middle_t), dy, dz


@njit(cache=True, nogil=True)
def bicycle_path(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depths: F64, out: F64) -> None:
    """Fill in out[i] = (x, y, z, theta, phi) at depths[i]. Algorithm 4.2, corrected.

    depths: (m,), which must not fall. out: (m, 5).
    """
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
    """Fill in out[j] = (x, y, z, theta, phi) at one depth, for many needles and plans.

    k, theta0, phi0: (needles,). starts, rates: (needles, n). out: (needles, 5).
    """
    at = np.empty(1)
    for j in range(k.shape[0]):
        at[0] = depth
        bicycle_path(k[j], theta0[j], phi0[j], starts[j], rates[j], at, out[j : j + 1])


@njit(cache=True, nogil=True)
def stepwise(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float, step: float, out: F64) -> int:
    """Fill in out (5,): the same end by Euler steps, for comparison. Algorithm 4.1, Eq. (12).

    Returns the number of steps taken.
    """
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


@njit(cache=True, nogil=True)
def stepwise_ends(k: F64, theta0: F64, phi0: F64, starts: F64, rates: F64, depth: float, step: float, out: F64) -> None:
    """As `ends`, but by Algorithm 4.1 with steps of `step`."""
    for j in range(k.shape[0]):
        stepwise(k[j], theta0[j], phi0[j], starts[j], rates[j], depth, step, out[j])


@njit(cache=True, nogil=True)
def exponential_moments(a: float, d: float) -> tuple[float, float, float, float]:
    """Real and imaginary part of the integrals of exp(i a l) and of l exp(i a l) over l from 0 to d."""
    half = 0.5 * a * d
    zeroth = d * sinc(half)
    re0, im0 = zeroth * math.cos(half), zeroth * math.sin(half)
    u = a * d
    if abs(u) < 1e-2:
        re1 = d * d * (0.5 - u * u * (1 / 8 - u * u / 144))
        im1 = d * d * u * (1 / 3 - u * u * (1 / 30 - u * u / 840))
    else:
        c, s = math.cos(u), math.sin(u)
        re1 = (u * s + c - 1.0) / (a * a)
        im1 = (s - u * c) / (a * a)
    return re0, im0, re1, im1


@njit(cache=True, nogil=True)
def gradient(k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float, out: F64) -> None:
    """Fill in out (2, 3 + 2 n): derivatives of (y, z) by kappa, theta_0, phi_0, every rate, every event point.

    With E+- the integrals of exp(i (theta +- phi)): y = Im(E+ + E-) / 2, z = Re(E- - E+) / 2. An event point moves the
    roll behind it by the difference of the rates. The position itself has no jump there.
    """
    n = starts.shape[0]
    out[:] = 0.0
    phi = phi0
    for i in range(n):
        begin = starts[i]
        if begin >= depth:
            break
        end = min(starts[i + 1], depth) if i + 1 < n else depth
        d, w, theta = end - begin, rates[i], theta0 + k * begin
        for sign in (1.0, -1.0):
            re0, im0, re1, im1 = exponential_moments(k + sign * w, d)
            c, s = math.cos(theta + sign * phi), math.sin(theta + sign * phi)
            e_re, e_im = c * re0 - s * im0, s * re0 + c * im0
            f_re, f_im = c * re1 - s * im1, s * re1 + c * im1  # weighted with the way since the section began
            # i E has real part -e_im and imaginary part e_re. y takes the imaginary part, z -sign times the real one
            out[0, 0] += 0.5 * (begin * e_re + f_re)
            out[1, 0] += 0.5 * sign * (begin * e_im + f_im)
            out[0, 1] += 0.5 * e_re
            out[1, 1] += 0.5 * sign * e_im
            out[0, 2] += 0.5 * sign * e_re
            out[1, 2] += 0.5 * e_im
            for j in range(i + 1):
                if j == i:
                    out[0, 3 + j] += 0.5 * sign * f_re
                    out[1, 3 + j] += 0.5 * f_im
                else:
                    way = starts[j + 1] - starts[j]
                    out[0, 3 + j] += 0.5 * sign * way * e_re
                    out[1, 3 + j] += 0.5 * way * e_im
                if j > 0:
                    jump = rates[j - 1] - rates[j]
                    out[0, 3 + n + j] += 0.5 * sign * jump * e_re
                    out[1, 3 + n + j] += 0.5 * jump * e_im
        phi += w * d


@njit(cache=True, nogil=True)
def _growth(k: float, w: float, theta: float, phi: float, y: float, z: float, d: float) -> float:
    """y y' + z z' at a way d into a section that begins at (y, z, theta, phi)."""
    _, dy, dz = section(k, w, theta, phi, d)
    t, p = theta + k * d, phi + w * d
    growth: float = math.sin(t) * ((y + dy) * math.cos(p) + (z + dz) * math.sin(p))
    return growth


@njit(cache=True, nogil=True)
def largest_deflection(
    k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float
) -> tuple[float, float]:
    """(largest sqrt(y^2 + z^2) up to a depth, its depth), both in mm: second term of (14), by the right condition.

    Inside a section it can only lie where y y' + z z' falls through 0. That is bracketed on a grid of an eighth of a
    turn (of theta +- phi) or finer, at least 8 pieces a section, then bisected. The sections' ends count, too.
    """
    y = z = 0.0
    phi, best, at = phi0, 0.0, 0.0
    n = starts.shape[0]
    for i in range(n):
        begin = starts[i]
        if begin >= depth:
            break
        end = min(starts[i + 1], depth) if i + 1 < n else depth
        d, w, theta = end - begin, rates[i], theta0 + k * begin
        pieces = 8 + int((abs(k) + abs(w)) * d / (0.25 * math.pi))
        before = _growth(k, w, theta, phi, y, z, 1e-9)
        for j in range(1, pieces + 1):
            here = d * j / pieces
            now = _growth(k, w, theta, phi, y, z, here)
            if before > 0.0 and now <= 0.0:
                low, high = d * (j - 1) / pieces, here
                for _ in range(40):
                    middle = 0.5 * (low + high)
                    if _growth(k, w, theta, phi, y, z, middle) > 0.0:
                        low = middle
                    else:
                        high = middle
                _, dy, dz = section(k, w, theta, phi, low)
                e = math.hypot(y + dy, z + dz)
                if e > best:
                    best, at = e, begin + low
            before = now
        _, dy, dz = section(k, w, theta, phi, d)
        y, z = y + dy, z + dz
        phi += w * d
        e = math.hypot(y, z)
        if e > best:
            best, at = e, end
    return best, at


@njit(cache=True, nogil=True)
def published_largest_deflection(
    k: float, theta0: float, phi0: float, starts: F64, rates: F64, depth: float
) -> tuple[float, float]:
    """The same by the paper's test (Section 4.2): where y' = 0 or z' = 0, that is theta or phi at a multiple of a
    right angle (theta: of a half turn). Where there is none, the end counts. It misses maxima that lie elsewhere.
    """
    y = z = 0.0
    phi, best, at = phi0, -1.0, depth
    n = starts.shape[0]
    for i in range(n):
        begin = starts[i]
        if begin >= depth:
            break
        end = min(starts[i + 1], depth) if i + 1 < n else depth
        d, w, theta = end - begin, rates[i], theta0 + k * begin
        for angle, rate, unit in ((phi, w, 0.5 * math.pi), (theta, k, math.pi)):
            if rate == 0.0:
                continue
            first, last = angle / unit, (angle + rate * d) / unit
            low, high = math.ceil(min(first, last) - 1e-12), math.floor(max(first, last) + 1e-12)
            for m in range(int(low), int(high) + 1):
                way = min(max((m * unit - angle) / rate, 0.0), d)
                _, dy, dz = section(k, w, theta, phi, way)
                e = math.hypot(y + dy, z + dz)
                if begin + way > 0.0 and e > best:
                    best, at = e, begin + way
        _, dy, dz = section(k, w, theta, phi, d)
        y, z = y + dy, z + dz
        phi += w * d
    return (best, at) if best >= 0.0 else (math.hypot(y, z), depth)


@dataclass(frozen=True, slots=True)
class Plan:
    """Rotation rates over the depth, each held from its depth to the next.

    Raises InputError unless the depths rise from 0 and everything is a number.
    """

    starts_mm: tuple[float, ...]
    """Depths where the rates begin, mm. They rise, and the first is 0."""
    rates_rad_per_mm: tuple[float, ...]
    """Rotation rate from each of these depths on, rad per mm."""

    def __post_init__(self) -> None:
        starts, rates = self.starts_mm, self.rates_rad_per_mm
        if len(starts) != len(rates) or not starts:
            raise InputError("plan: give as many rates as depths, at least one")
        if not all(map(math.isfinite, (*starts, *rates))):
            raise InputError("plan: depths and rates must be numbers")
        if starts[0] != 0.0 or any(b <= a for a, b in pairwise(starts)):
            raise InputError(f"plan: depths must rise from 0, but are {', '.join(f'{v:g}' for v in starts)}")

    def rotation_rad(self, depth_mm: float) -> float:
        """All rotation up to a depth, whichever way round, rad."""
        return sum(abs(rate) * way for rate, way in self._ways(depth_mm))

    def roll_rad(self, depth_mm: float) -> float:
        """Roll at a depth, less that at the entry, rad."""
        return sum(rate * way for rate, way in self._ways(depth_mm))

    def _ways(self, depth_mm: float) -> list[tuple[float, float]]:
        """(rate in rad/mm, how far it has held in mm) of every section."""
        ends_mm = (*self.starts_mm[1:], math.inf)
        return [
            (rate, max(0.0, min(end, depth_mm) - start))
            for start, end, rate in zip(self.starts_mm, ends_mm, self.rates_rad_per_mm, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Bicycle:
    """A bevel-tip needle as the bicycle model sees it."""

    curvature_per_mm: float
    """Curvature kappa of the path, 1/mm."""
    theta0_rad: float = 0.0
    """Angle theta_0 between the tip and the insertion axis at the entry, rad."""
    phi0_rad: float = 0.0
    """Roll phi_0 of the bevel at the entry, rad."""

    def path(self, plan: Plan, depths_mm: F64) -> F64:
        """(n, 5) x, y, z in mm, theta, phi in rad at n depths. Raises InputError if the depths fall."""
        depths = np.ascontiguousarray(depths_mm, np.float64)
        if depths.ndim != 1 or not np.isfinite(depths).all() or (depths < 0).any() or (np.diff(depths) < 0).any():
            raise InputError("depths must be numbers from 0 on that do not fall")
        out = np.empty((len(depths), 5))
        starts, rates = np.array(plan.starts_mm), np.array(plan.rates_rad_per_mm)
        bicycle_path(self.curvature_per_mm, self.theta0_rad, self.phi0_rad, starts, rates, depths, out)
        return out
