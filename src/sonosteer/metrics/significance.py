"""Tests of significance and densities, as Mathiassen et al. 2017 use them. SciPy computes them.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`), Section IV-A. Like the paper, these
tests take frames as independent. Neighbouring frames of a clip are not, so small p-values are too small. Those by
insertion take whole insertions as the sample: a t-test of their means, and a permutation test of two spreads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sonosteer.core.arrays import F64

Arrow = Literal["↑", "↓", "-"]
#: level of significance of the paper, no unit
LEVEL = 0.001


def mean_differs_from_zero(values: F64, level: float = LEVEL) -> bool:
    """Two-sided t-test of a zero mean. False for fewer than two values."""
    return mean_p_value(values) < level


def mean_p_value(values: F64) -> float:
    """p-value of a two-sided t-test of a zero mean. 1 for fewer than two values, or for values without any spread."""
    from scipy import stats

    if len(values) < 2 or not np.std(values) > 0:
        return 1.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def compare_spread(sd_a: float, n_a: int, sd_b: float, n_b: int, level: float = LEVEL) -> Arrow:
    """Two-sided F-test of equal variances.

    As in Tables IV and V, a row's arrow compares the row with the column. "↓" means that a's deviation is significantly
    lower than b's, "↑" that it is larger, "-" neither.
    """
    if not spread_p_value(sd_a, n_a, sd_b, n_b) < level:
        return "-"
    return "↑" if sd_a > sd_b else "↓"


def spread_p_value(sd_a: float, n_a: int, sd_b: float, n_b: int) -> float:
    """p-value of a two-sided F-test of equal variances. 1 for fewer than two values, or a deviation of 0."""
    from scipy import stats

    if min(n_a, n_b) < 2 or not (sd_a > 0 and sd_b > 0):
        return 1.0
    ratio = (sd_a / sd_b) ** 2
    tail = stats.f.sf(ratio, n_a - 1, n_b - 1) if ratio > 1 else stats.f.cdf(ratio, n_a - 1, n_b - 1)
    return float(min(1.0, 2.0 * tail))


#: number of clusters up to which all exchanges are tried, 2^17 of them. chosen: the paper's 18 insertions, in a second
ALL_EXCHANGES = 18
#: number of exchanges drawn for more clusters. chosen: so that p-values down to 1e-4 have two digits
DRAWN_EXCHANGES = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSums:
    """Sums of a number over the frames of each cluster, such as an insertion. Enough for any pooled mean and SD."""

    count: F64
    """Number of values in each cluster, (clusters,)."""
    total: F64
    """Sum of the values in each cluster, (clusters,), in the value's unit."""
    square: F64
    """Sum of their squares in each cluster, (clusters,), in the squared unit of the values (mm^2 for mm)."""

    @staticmethod
    def of(clusters: Sequence[F64]) -> ClusterSums:
        """Sum up. clusters: the values of each, (frames,)."""
        return ClusterSums(
            np.array([float(len(c)) for c in clusters]),
            np.array([float(np.sum(c)) for c in clusters]),
            np.array([float(np.sum(np.square(c))) for c in clusters]),
        )

    def means(self) -> F64:
        """Mean of each cluster that has a value, (clusters,) or fewer."""
        full = self.count > 0
        out: F64 = self.total[full] / self.count[full]
        return out


def spread_p_by_cluster(a: ClusterSums, b: ClusterSums, rng: np.random.Generator) -> float:
    """p-value of a two-sided permutation test that two methods spread alike over the same clusters.

    If they do, their names may be exchanged within any cluster. The statistic is the ratio of the pooled deviations. Up
    to `ALL_EXCHANGES` clusters all exchanges are tried, beyond `DRAWN_EXCHANGES` are drawn by rng. The smallest p-value
    that n clusters can give is 2 / 2^n.
    """
    n = len(a.count)
    if n < 2:
        return 1.0
    if n <= ALL_EXCHANGES:  # the first cluster stays: to exchange all of them changes nothing
        exchange = np.zeros((1 << (n - 1), n))
        exchange[:, 1:] = (np.arange(1 << (n - 1))[:, None] >> np.arange(n - 1)) & 1
    else:
        exchange = rng.integers(0, 2, (DRAWN_EXCHANGES, n)).astype(float)
        exchange[0] = 0.0
    moved = [exchange @ (y - x) for x, y in zip(_sums(a), _sums(b), strict=True)]
    first = [x.sum() + m for x, m in zip(_sums(a), moved, strict=True)]
    second = [y.sum() - m for y, m in zip(_sums(b), moved, strict=True)]
    statistic = np.abs(np.log(_variance(*first)) - np.log(_variance(*second)))
    return float((statistic >= statistic[0] - 1e-9).mean())


def _sums(c: ClusterSums) -> tuple[F64, F64, F64]:
    return c.count, c.total, c.square


def _variance(count: F64, total: F64, square: F64) -> F64:
    out: F64 = np.maximum((square - total**2 / np.maximum(count, 1.0)) / np.maximum(count - 1.0, 1.0), 1e-30)
    return out


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are (S. Holm, Scand. J. Statistics 6, 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    out, largest = [1.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        out[int(k)] = largest
    return out


def parzen(values: F64, at: F64, bandwidth: float) -> F64:
    """Density of the values at the points `at`, by a Gaussian Parzen window."""
    d = (at[:, None] - values[None, :]) / bandwidth
    out: F64 = np.exp(-0.5 * d * d).sum(1) / (len(values) * bandwidth * math.sqrt(2 * math.pi))
    return out


def pearson(x: F64, y: F64) -> tuple[float, float]:
    """Pearson's correlation: (r, p-value)."""
    from scipy import stats

    result = stats.pearsonr(x, y)
    return float(result.statistic), float(result.pvalue)


def ellipse_coverage(along: F64, across: F64, sd_along: F64, sd_across: F64, fraction: float) -> float:
    """How often, 0 to 1, an error lies in the claimed ellipse of probability `fraction` (chi-squared, 2 degrees)."""
    nees = (along / sd_along) ** 2 + (across / sd_across) ** 2
    return float((nees <= -2.0 * math.log(1.0 - fraction)).mean())


def mean_nees(along: F64, across: F64, sd_along: F64, sd_across: F64) -> float:
    """Mean normalised estimation error squared. It is 2 if the covariance of the two numbers is honest."""
    return float(((along / sd_along) ** 2 + (across / sd_across) ** 2).mean())
