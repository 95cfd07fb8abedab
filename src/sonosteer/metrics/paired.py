"""Two methods on the same trials: intervals and tests that take a trial as one, and never its frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sonosteer.core.arrays import F64

RESAMPLES = 9999  # chosen: a p-value of 0.001 then has a standard error of 0.0003
CONFIDENCE = 0.95


class PairedTest(NamedTuple):
    """What a paired test says of the differences a - b."""

    pairs: int
    """Number of trials that both methods did."""
    mean: float
    """Mean difference, mm."""
    low: float
    """Lower end of its 95 % interval, mm."""
    high: float
    """Upper end of its 95 % interval, mm."""
    wilcoxon_p: float
    """p-value of Wilcoxon's signed-rank test, two-sided, no unit."""
    permutation_p: float
    """p-value of the permutation test of the mean, two-sided, no unit. Methods are exchanged at random in each pair."""


def mean_interval(values: F64, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean by bootstrap over the trials (BCa). (n,) values, one for each trial.

    A single trial, or trials that are all alike, give an interval without width.
    """
    from scipy import stats

    if len(values) < 2 or not np.ptp(values) > 0:
        return float(np.mean(values)), float(np.mean(values))
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, random_state=np.random.default_rng(seed)
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_test(a: F64, b: F64, seed: int = 0) -> PairedTest:
    """Compare two methods on the same trials. a, b: (n,), the i-th of both from the same trial.

    Raises ValueError if the lists differ in length or are empty.
    """
    from scipy import stats

    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"{len(a)} and {len(b)} values are not of the same trials")
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    low, high = mean_interval(difference, seed)
    if not np.any(difference):
        return PairedTest(len(difference), 0.0, low, high, 1.0, 1.0)
    wilcoxon = float(stats.wilcoxon(difference).pvalue)
    permutation = 1.0
    if len(difference) > 1:
        permutation = float(
            stats.permutation_test(
                (difference,),
                _mean,
                permutation_type="samples",
                vectorized=True,
                n_resamples=RESAMPLES,
                random_state=np.random.default_rng(seed),
            ).pvalue
        )
    return PairedTest(len(difference), float(difference.mean()), low, high, wilcoxon, permutation)


def _mean(x: F64, axis: int) -> F64:
    out: F64 = np.mean(x, axis=axis)
    return out
