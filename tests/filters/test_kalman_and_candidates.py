import math

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.filters.candidates import measurement_variance, select_candidate
from sonosteer.filters.kalman import Motion, Scalar

finite = st.floats(-100, 100)


@given(st.lists(st.tuples(finite, st.floats(1, 1000), st.floats(0.1, 3)), min_size=1, max_size=15))
def test_the_motion_filter_equals_filterpys(steps):
    ours = Motion(10.0, 1.0, 400.0, 0.0, 25.0)
    theirs = KalmanFilter(dim_x=2, dim_z=1)
    theirs.x, theirs.P, theirs.H = np.array([10.0, 1.0]), np.diag([400.0, 25.0]), np.array([[1.0, 0.0]])
    for z, r, dt in steps:
        ours = ours.predict(dt, 0.5, 0.01).update_position(z, r)
        theirs.F, theirs.Q = np.array([[1.0, dt], [0.0, 1.0]]), np.diag([0.5, 0.01]) * dt
        theirs.predict()
        theirs.update(z, R=np.array([[r]]))
    assert [ours.x, ours.v] == pytest.approx(list(theirs.x), abs=1e-7)
    flat = [ours.p_xx, ours.p_xv, ours.p_vv]
    assert flat == pytest.approx([theirs.P[0, 0], theirs.P[0, 1], theirs.P[1, 1]], abs=1e-7)


@given(finite, st.floats(0.1, 100), finite, st.floats(0.1, 100))
def test_a_scalar_update_lies_between_and_never_grows_less_sure(mean, variance, z, r):
    after = Scalar(mean, variance).update(z, r)
    assert min(mean, z) - 1e-9 <= after.mean <= max(mean, z) + 1e-9
    assert after.variance <= min(variance, r) + 1e-12


def brute_force(h, first, last, M, predicted, sigma):
    """Eqs. (12) to (17) word by word."""
    part = h[first:last] - h[first:last].min()
    candidates = [
        x for x in range(first, last) if all(h[x] >= h[i] for i in range(max(first, x - M), min(last, x + M + 1)))
    ]
    total = sum(part[x - first] for x in candidates)
    if total <= 0:
        return -1, 0.0

    def posterior(j):
        gauss = lambda d: math.exp(-0.5 * (d / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))  # noqa: E731
        return gauss(j - predicted) * (part[j - first] / total) / gauss(predicted)

    best = max(candidates, key=posterior)
    return best, posterior(best)


@given(st.integers(0, 10_000), st.floats(0, 300), st.floats(30, 300))
def test_candidate_selection_equals_bayes_rule_written_out(seed, predicted, sigma):
    h = np.convolve(np.random.default_rng(seed).normal(size=320), np.ones(15), "valid").astype(np.float32)
    x, p = select_candidate(h, 20, 290, 10, predicted, sigma)
    want_x, want_p = brute_force(h.astype(float), 20, 290, 10, predicted, sigma)
    assert x == want_x
    assert p == pytest.approx(want_p, rel=1e-5)


def test_a_flat_profile_has_no_candidate():
    assert select_candidate(np.zeros(100, np.float32), 10, 90, 10, 50.0, 200.0) == (-1, 0.0)


def test_an_unlikely_measurement_is_trusted_less():
    assert measurement_variance(900.0, 0.1) > measurement_variance(900.0, 0.5)
