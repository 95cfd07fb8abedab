"""Tests of significance and densities, as Mathiassen et al. 2017 use them. SciPy computes them.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`), Section IV-A. Like the paper, these
tests take frames as independent. Neighbouring frames of a clip are not, so small p-values are too small.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from sonosteer.core.arrays import F64

Arrow = Literal["↑", "↓", "-"]
#: level of significance of the paper, no unit
LEVEL = 0.001


def mean_differs_from_zero(values: F64, level: float = LEVEL) -> bool:
    """Two-sided t-test of a zero mean. False for fewer than two values."""
    from scipy import stats

    if len(values) < 2 or not np.std(values) > 0:
        return False
    return bool(stats.ttest_1samp(values, 0.0).pvalue < level)


def compare_spread(sd_a: float, n_a: int, sd_b: float, n_b: int, level: float = LEVEL) -> Arrow:
    """Two-sided F-test of equal variances.

    As in Tables IV and V, a row's arrow compares the row with the column. "↓" means that a's deviation is significantly
    lower than b's, "↑" that it is larger, "-" neither.
    """
    from scipy import stats

    if min(n_a, n_b) < 2 or not (sd_a > 0 and sd_b > 0):
        return "-"
    ratio = (sd_a / sd_b) ** 2
    tail = stats.f.sf(ratio, n_a - 1, n_b - 1) if ratio > 1 else stats.f.cdf(ratio, n_a - 1, n_b - 1)
    if not 2.0 * tail < level:
        return "-"
    return "↑" if ratio > 1 else "↓"


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
