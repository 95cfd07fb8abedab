"""Fits parameters to observations of which some are wrong, and says how sure it is.

Four steps. Least median of squares over small random samples finds a beginning that up to half of wrong observations
cannot spoil [1]. Huber's weights refine it [2]. Observations beyond the 99.9 % quantile of their own distribution are
left out, and the rest is fitted by plain least squares (Levenberg-Marquardt, `scipy.optimize.least_squares`). The noise
of each kind of residual is estimated from its own degrees of freedom.

| symbol | name | unit |
| --- | --- | --- |
| r_i | residuals of observation i, divided by the noise of their kind | no unit |
| J_i | its Jacobian | 1 / unit of the parameter |
| C | (sum J_i^T J_i)^-1, covariance of the parameters | units of the parameters |
| H_ii | J_i C J_i^T, leverage of observation i | no unit |

Without observation i the parameters would differ by -C J_i^T (I - H_ii)^-1 r_i, and its residual would be
(I - H_ii)^-1 r_i. So leave-one-out needs no further fits. Where several observations share an error (all marks in one
picture share its pose) they are left out together, and the claimed covariance is the jackknife's over those groups.

[1] P. J. Rousseeuw, "Least median of squares regression", J. Am. Stat. Assoc. 79, 1984.
[2] P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Stat. 35, 1964.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError

SAMPLES = 120  # chosen: 5 of 5 are right with probability 0.9999 if a fifth of the observations is wrong
HUBER = 1.345  # Huber: 95 % of the efficiency of least squares where nothing is wrong
KEPT = 0.999  # chosen: one right observation in a thousand is left out, which takes 1 % off the noise
PASSES = 20  # chosen: what is left out settles within five passes
TINY = 1e-9  # chosen: noise below a millionth of a micrometre or of a microradian is rounding
STEP = 1e-6  # chosen: of the numerical Jacobian, in rad and mm

State: TypeAlias = Any
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Problem:
    """Observations and what explains them. The state is whatever the model likes, such as a tuple of matrices."""

    count: int
    """Number of observations."""
    parameters: tuple[str, ...]
    """Name of each parameter that `moved` takes, its unit behind the last underscore."""
    kinds: tuple[int, ...]
    """Kind of noise of each residual of an observation, an index from 0. Residuals of a kind share their noise."""
    residuals: Callable[[State, Indices], F64]
    """(state, (m,) observations) -> (m, k) residuals."""
    moved: Callable[[State, F64], State]
    """(state, (p,) small changes of the parameters) -> the changed state."""
    start: Callable[[Indices], State | None]
    """A state from few observations, by linear algebra. None if they do not give one."""
    sample: int
    """Number of observations, or of groups of them, in a sample that `start` is asked with."""
    groups: NDArray[np.intp] | None = None
    """(count,) index of the group of each observation. None: every one is its own."""


@dataclass(frozen=True, slots=True, eq=False)
class RobustFit:
    """The parameters that explain most observations, and how sure they are."""

    state: State
    """The state of the model."""
    residuals: F64
    """(n, k) residuals of all observations, each in its own unit: mm, rad or px."""
    held_out: F64
    """(n, k) residuals that each would have if its group had not been used: mm, rad or px."""
    used: NDArray[np.bool_]
    """(n,) whether an observation was used, no unit. The others are taken to be wrong."""
    noise: F64
    """Standard deviation of each kind of residual, in its own unit: mm, rad or s."""
    covariance: F64
    """(p, p) claimed covariance of the parameters, in their units (mm, rad, no unit for ratios)."""
    jackknife: F64
    """(p, p) covariance of the parameters by leaving out one group after the other, in their units: mm, rad."""
    condition: float
    """Largest by smallest singular value of the Jacobian, its columns scaled to the same length, no unit."""

    def sd_of(self, jacobian: F64, *, jackknife: bool = False) -> float:
        """Standard deviation of a quantity with the Jacobian (m, p): the root of its variances' sum."""
        return float(
            np.sqrt(max(0.0, np.trace(jacobian @ (self.jackknife if jackknife else self.covariance) @ jacobian.T)))
        )


def robust_fit(problem: Problem, *, seed: int = 0) -> RobustFit:
    """Fit a problem. Raises InputError if no sample of the observations gives a beginning."""
    groups = np.arange(problem.count) if problem.groups is None else problem.groups
    everything = np.arange(problem.count)
    kinds = np.array(problem.kinds)
    state, noise = _least_median(problem, groups, kinds, np.random.default_rng(seed))
    used = np.ones(problem.count, bool)
    for _ in range(3):  # chosen: Huber's weights settle in three passes when the beginning is good
        r = problem.residuals(state, everything) / noise[kinds]
        size = np.linalg.norm(r, axis=1)
        weights = np.sqrt(np.minimum(1.0, HUBER * np.sqrt(len(kinds)) / np.maximum(size, TINY)))
        state = _least_squares(problem, state, everything, weights[:, None] / noise[kinds])
        noise = _median_noise(problem.residuals(state, everything), kinds)
    limit = _chi2_quantile(KEPT, len(kinds))
    for _ in range(PASSES):
        r = problem.residuals(state, everything) / noise[kinds]
        kept = (r**2).sum(axis=1) <= limit
        if kept.sum() * len(kinds) <= len(problem.parameters):  # nothing fits: judge all of it
            kept[:] = True
        settled = np.array_equal(kept, used)
        used = kept
        at = np.flatnonzero(used)
        state = _least_squares(problem, state, at, np.broadcast_to(1.0 / noise[kinds], (len(at), len(kinds))))
        before, noise = noise, _noise(problem, state, at, noise, kinds)
        if settled and np.allclose(before, noise, rtol=1e-3):
            break
    return _told(problem, state, used, noise, groups, kinds)


def _least_median(problem: Problem, groups: Indices, kinds: Indices, rng: np.random.Generator) -> tuple[State, F64]:
    """The state of the sample with the least median residual, and the noise that the median tells."""
    names = np.unique(groups)
    everything = np.arange(problem.count)
    best, best_score, best_noise = None, np.inf, np.ones(kinds.max() + 1)
    drawn = SAMPLES if len(names) > problem.sample else 1
    for _ in range(drawn):
        chosen = rng.choice(names, min(problem.sample, len(names)), replace=False)
        state = problem.start(np.flatnonzero(np.isin(groups, chosen)))
        if state is None:
            continue
        r = problem.residuals(state, everything)
        if not np.isfinite(r).all():
            continue
        noise = _median_noise(r, kinds)
        # the product of the medians: each kind counts by its own noise, whatever its unit
        score = sum(np.log(noise[kind]) * (kinds == kind).sum() for kind in range(len(noise)))
        if score < best_score:
            best, best_score, best_noise = state, score, noise
    if best is None:
        raise InputError(
            "the motion does not determine the answer: no part of the observations gives one (condition number "
            "infinite). They lie in one place or on one line, or the poses turn about one axis only"
        )
    return best, best_noise


def _median_noise(r: F64, kinds: Indices) -> F64:
    """Noise of each kind from medians, which up to half of wrong observations do not move far."""
    return np.array(
        [max(TINY, 1.4826 * float(np.median(np.abs(r[:, kinds == kind])))) for kind in range(kinds.max() + 1)]
    )


def _noise(problem: Problem, state: State, at: Indices, noise: F64, kinds: Indices) -> F64:
    """Noise of each kind by its own degrees of freedom: residuals less what the parameters took of them."""
    J = jacobian_of(problem, state, at) / noise[kinds][None, :, None]
    C = np.linalg.pinv(np.einsum("nkp,nkq->pq", J, J), hermitian=True)
    leverage = np.einsum("nkp,pq,nkq->nk", J, C, J)
    r = problem.residuals(state, at)
    out = np.empty_like(noise)
    for kind in range(len(noise)):
        own = kinds == kind
        freedom = max(1.0, own.sum() * len(at) - float(leverage[:, own].sum()))
        out[kind] = max(TINY, float(np.sqrt((r[:, own] ** 2).sum() / freedom)))
    return out


def _least_squares(problem: Problem, state: State, at: Indices, weights: F64) -> State:
    from scipy.optimize import least_squares

    p = len(problem.parameters)
    if len(at) * weights.shape[1] < p:
        return state

    def residuals(change: F64) -> F64:
        return (problem.residuals(problem.moved(state, change), at) * weights).ravel()

    fit = least_squares(residuals, np.zeros(p), method="lm", x_scale=1.0)
    return problem.moved(state, fit.x) if np.isfinite(fit.x).all() else state


def jacobian_of(problem: Problem, state: State, at: Indices) -> F64:
    """(m, k, p) derivatives of the residuals of some observations, by central differences."""
    columns = []
    for i in range(len(problem.parameters)):
        h = np.zeros(len(problem.parameters))
        h[i] = STEP
        ahead, behind = problem.moved(state, h), problem.moved(state, -h)
        columns.append((problem.residuals(ahead, at) - problem.residuals(behind, at)) / (2 * STEP))
    return np.stack(columns, axis=2)


def _told(
    problem: Problem, state: State, used: NDArray[np.bool_], noise: F64, groups: Indices, kinds: Indices
) -> RobustFit:
    at = np.flatnonzero(used)
    r = problem.residuals(state, np.arange(problem.count))
    J = jacobian_of(problem, state, at) / noise[kinds][None, :, None]
    flat = J.reshape(-1, J.shape[2])
    sizes = np.maximum(np.linalg.norm(flat, axis=0), 1e-300)
    singular = np.linalg.svd(flat / sizes, compute_uv=False)
    condition = float(singular[0] / max(singular[-1], singular[0] * 1e-15)) if len(singular) == len(sizes) else 1e15
    C = np.linalg.pinv(flat.T @ flat, hermitian=True)
    held_out, changes = r.copy(), []
    for name in np.unique(groups[at]):
        own = np.flatnonzero(groups[at] == name)
        Ji = J[own].reshape(-1, J.shape[2])
        ri = (r[at[own]] / noise[kinds]).ravel()
        rest = np.eye(len(ri)) - Ji @ C @ Ji.T
        without = np.linalg.lstsq(rest, ri, rcond=1e-9)[0]
        held_out[at[own]] = without.reshape(len(own), -1) * noise[kinds]
        changes.append(C @ Ji.T @ without)
    D = np.array(changes)
    m = len(D)
    D = D - D.mean(axis=0)
    jackknife = (m - 1) / m * D.T @ D
    shared = m < len(at)
    return RobustFit(
        state=state,
        residuals=r,
        held_out=held_out,
        used=used,
        noise=noise,
        covariance=np.asarray(jackknife if shared else C, np.float64),
        jackknife=jackknife,
        condition=condition,
    )


def _chi2_quantile(fraction: float, freedom: int) -> float:
    from scipy.stats import chi2

    return float(chi2.ppf(fraction, freedom))
