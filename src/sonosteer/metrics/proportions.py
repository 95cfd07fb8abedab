"""Success rates: their intervals, and tests of two methods on the same targets."""

from __future__ import annotations

from collections.abc import Sequence


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a success rate. Without trials it is (0, 1).

    Raises ValueError unless 0 <= successes <= trials.
    """
    from scipy import stats

    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """p-value of the exact McNemar test of two methods on the same targets.

    Raises ValueError if the lists differ in length.
    """
    from scipy import stats

    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} outcomes are not of the same targets")
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)
