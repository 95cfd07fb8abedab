import math

import numpy as np
import pytest

from sonosteer.metrics.significance import (
    compare_spread,
    ellipse_coverage,
    mean_differs_from_zero,
    mean_nees,
    parzen,
    pearson,
)

RNG = np.random.default_rng(0)


def test_a_mean_far_from_zero_is_told_from_one_at_zero():
    assert mean_differs_from_zero(RNG.normal(0.5, 1, 400))
    assert not mean_differs_from_zero(RNG.normal(0.0, 1, 400))
    assert not mean_differs_from_zero(np.ones(1))


@pytest.mark.slow
def test_the_t_test_is_wrong_once_in_a_thousand():
    wrong = sum(mean_differs_from_zero(RNG.normal(0, 1, 30)) for _ in range(4000))
    assert 0 <= wrong <= 12


def test_the_f_test_against_its_closed_form_for_two_degrees():
    # F with (2, 2) degrees has the distribution function x / (1 + x)
    for ratio in (3.0, 50.0, 5000.0):
        p = 2 * (1 - ratio / (1 + ratio))
        assert (compare_spread(math.sqrt(ratio), 3, 1.0, 3) == "↑") == (p < 0.001)
        assert (compare_spread(1.0, 3, math.sqrt(ratio), 3) == "↓") == (p < 0.001)


def test_the_paper_s_own_arrows_come_out_of_its_numbers():
    """Table V: KFv+F (0.92 mm) below KF+F (2.01); PF and PF+F (3.15, 3.14) alike; OM (7.14) and OM+F (6.70) alike."""
    n = 1390
    assert compare_spread(0.92, n, 2.01, n) == "↓"
    assert compare_spread(13.43, n, 7.14, n) == "↑"
    assert compare_spread(3.15, n, 3.14, n) == "-"
    assert compare_spread(7.14, n, 6.70, n) == "-"


def test_the_density_integrates_to_one_and_has_its_closed_form_for_one_sample():
    x = np.linspace(-8, 8, 4001)
    y = parzen(RNG.normal(0, 1, 50), x, 0.3)
    assert np.trapezoid(y, x) == pytest.approx(1.0, abs=1e-6)
    assert parzen(np.zeros(1), np.zeros(1), 0.1)[0] == pytest.approx(1 / (0.1 * math.sqrt(2 * math.pi)))


def test_pearson_of_a_line_is_one():
    x = np.arange(10.0)
    assert pearson(x, 3 - 2 * x)[0] == pytest.approx(-1.0)
    y = RNG.normal(0, 1, 10)
    r, p = pearson(x, y)
    assert r == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert 0 <= p <= 1


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.95])
def test_honest_covariances_cover_what_they_claim(fraction):
    n = 20_000
    sd_a, sd_b = RNG.uniform(0.2, 3, n), RNG.uniform(0.1, 0.5, n)
    a, b = sd_a * RNG.normal(0, 1, n), sd_b * RNG.normal(0, 1, n)
    assert ellipse_coverage(a, b, sd_a, sd_b, fraction) == pytest.approx(fraction, abs=0.01)
    assert mean_nees(a, b, sd_a, sd_b) == pytest.approx(2.0, abs=0.06)
    assert ellipse_coverage(2 * a, 2 * b, sd_a, sd_b, fraction) < fraction - 0.1
