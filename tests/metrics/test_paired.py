"""Paired tests by trial, beside what they must give."""

import numpy as np
import pytest
from scipy import stats

from sonosteer.metrics.paired import mean_interval, paired_test
from sonosteer.metrics.significance import holm

RNG = np.random.default_rng(0)


def test_a_shift_of_every_pair_is_found_and_its_interval_holds_it():
    b = RNG.normal(0.0, 5.0, 40)
    a = b + RNG.normal(0.5, 0.2, 40)
    found = paired_test(a, b)
    assert found.pairs == 40
    assert found.low < 0.5 < found.high
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(a - b).pvalue)
    assert max(found.wilcoxon_p, found.permutation_p) < 0.001


def test_an_unpaired_test_would_not_see_it():
    b = np.random.default_rng(1).normal(0.0, 5.0, 40)
    a = b + np.random.default_rng(2).normal(0.5, 0.2, 40)
    assert stats.ttest_ind(a, b).pvalue > 0.3
    assert paired_test(a, b).permutation_p < 0.001


def test_with_few_pairs_the_permutation_is_exact():
    """All of five differences are positive: 2 of the 32 ways to exchange are as far out."""
    found = paired_test(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.zeros(5))
    assert found.permutation_p == pytest.approx(2 / 32)


def test_without_a_difference_p_is_evenly_spread():
    rng = np.random.default_rng(3)
    ps = [paired_test(rng.normal(size=12), rng.normal(size=12), seed=i).wilcoxon_p for i in range(100)]
    assert 0.01 < np.mean(np.array(ps) < 0.05) < 0.1


def test_the_same_values_differ_in_nothing():
    found = paired_test(np.ones(4), np.ones(4))
    assert (found.mean, found.wilcoxon_p, found.permutation_p) == (0.0, 1.0, 1.0)
    assert mean_interval(np.ones(3)) == (1.0, 1.0)


def test_the_interval_of_a_mean_holds_it_19_times_in_20():
    held = 0
    for i in range(200):
        low, high = mean_interval(np.random.default_rng(i).gamma(2.0, 1.0, 30), seed=i)
        held += low <= 2.0 <= high
    assert held / 200 == pytest.approx(0.95, abs=0.05)


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_lists_of_other_trials_are_refused():
    with pytest.raises(ValueError, match="not of the same trials"):
        paired_test(np.ones(3), np.ones(2))
