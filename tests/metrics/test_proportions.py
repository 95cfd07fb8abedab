"""Shares of successes and paired outcomes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.metrics.proportions import mcnemar, wilson


@settings(deadline=None)
@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_the_solution_of_its_own_equation(case):
    k, n = case
    low, high = wilson(k, n)
    assert 0 <= low <= high <= 1
    if n:
        fraction, z = k / n, 1.959963984540054
        middle, spread = fraction + z * z / (2 * n), z * math.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
        assert low == pytest.approx((middle - spread) / (1 + z * z / n), abs=1e-9)
        assert high == pytest.approx((middle + spread) / (1 + z * z / n), abs=1e-9)
        assert low <= fraction + 1e-12
        assert high >= fraction - 1e-12


def test_wilsons_interval_holds_the_true_share_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [low <= 0.8 <= high for low, high in (wilson(int(rng.binomial(40, 0.8)), 40) for _ in range(400))]
    assert 0.91 <= np.mean(hits) <= 0.99


def test_paired_outcomes_that_never_differ_say_nothing_and_one_sided_ones_do():
    assert mcnemar([True, False, True], [True, False, True]) == 1.0
    assert mcnemar([True] * 10, [False] * 10) == pytest.approx(2 * 0.5**10)
    assert mcnemar([True, False], [False, True]) == 1.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="same targets"):
        mcnemar([True], [])
