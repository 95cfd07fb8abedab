"""The robust fit on a straight line, where every number can be had another way."""

from __future__ import annotations

import numpy as np
import pytest

from sonosteer.calibration.robust import Problem, robust_fit
from sonosteer.core.errors import InputError


def line(x, y, groups=None):
    def start(at):
        return np.polyfit(x[at], y[at], 1) if len(np.unique(x[at])) > 1 else None

    return Problem(
        count=len(x),
        parameters=("slope_ratio", "offset_mm"),
        kinds=(0,),
        residuals=lambda s, at: (s[0] * x[at] + s[1] - y[at])[:, None],
        moved=lambda s, change: s + change,
        start=start,
        sample=2,
        groups=groups,
    )


def noisy_line(seed, n=40):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, n)
    return x, 2.0 * x + 1.0 + rng.normal(0, 0.1, n), rng


def test_without_wrong_observations_it_is_least_squares():
    x, y, _ = noisy_line(1)
    fit = robust_fit(line(x, y))
    assert fit.used.all()
    A = np.c_[x, np.ones(40)]
    assert fit.state == pytest.approx(np.linalg.lstsq(A, y, rcond=None)[0], abs=1e-6)
    s2 = np.sum((y - A @ fit.state) ** 2) / 38
    assert fit.noise[0] ** 2 == pytest.approx(s2, rel=1e-4)
    assert np.allclose(fit.covariance, s2 * np.linalg.inv(A.T @ A), rtol=1e-3)


def test_leaving_one_out_needs_no_further_fits():
    x, y, _ = noisy_line(2)
    fit = robust_fit(line(x, y))
    for i in (0, 7, 39):
        rest = np.arange(40) != i
        slope, offset = np.polyfit(x[rest], y[rest], 1)
        assert fit.held_out[i, 0] == pytest.approx(slope * x[i] + offset - y[i], abs=1e-6)


def test_groups_are_left_out_together():
    x, y, rng = noisy_line(3)
    groups = np.repeat(np.arange(8), 5)
    y = y + rng.normal(0, 0.5, 8)[groups]  # what the five share
    fit = robust_fit(line(x, y, groups))
    rest = groups != 2
    slope, offset = np.polyfit(x[rest], y[rest], 1)
    own = groups == 2
    assert fit.held_out[own, 0] == pytest.approx(slope * x[own] + offset - y[own], abs=1e-6)
    alone = robust_fit(line(x, y))
    assert fit.covariance[1, 1] > 1.5 * alone.covariance[1, 1]  # forty observations that are eight


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.4])
def test_wrong_observations_are_found_and_do_not_move_it(fraction):
    x, y, rng = noisy_line(4, 80)
    wrong = rng.choice(80, round(80 * fraction), replace=False)
    y[wrong] += rng.choice([-1, 1], len(wrong)) * rng.uniform(2, 30, len(wrong))
    fit = robust_fit(line(x, y))
    assert not fit.used[wrong].any()
    assert fit.used.sum() >= 80 - len(wrong) - 1
    assert fit.state == pytest.approx([2.0, 1.0], abs=0.08)


def test_the_same_seed_gives_the_same_result():
    x, y, _ = noisy_line(5)
    assert np.array_equal(robust_fit(line(x, y), seed=3).state, robust_fit(line(x, y), seed=3).state)


def test_observations_that_say_nothing_are_refused():
    with pytest.raises(InputError, match="does not determine"):
        robust_fit(line(np.ones(10), np.arange(10.0)))


def test_a_condition_number_tells_what_is_not_determined():
    x, y, _ = noisy_line(6)
    near = robust_fit(line(1000.0 + 0.001 * x, y))
    assert near.condition > 1e4
    assert robust_fit(line(x - 5.0, y)).condition < 3
