import math

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.filters.candidates import measurement_variance, select_candidate
from sonosteer.filters.kalman import Gaussian, KalmanTip, Motion
from sonosteer.filters.particle import ParticleTip, resample_particles

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
    after = Gaussian(mean, variance).update(z, r)
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


def test_a_measured_velocity_agrees_with_an_independent_kalman_filter():
    theirs = KalmanFilter(dim_x=2, dim_z=1)
    theirs.x, theirs.P = np.array([[30.0], [1.0]]), np.array([[9.0, 1.5], [1.5, 4.0]])
    theirs.H, theirs.R = np.array([[0.0, 1.0]]), np.array([[0.7]])
    theirs.update(2.5)
    ours = Motion(30.0, 1.0, 9.0, 1.5, 4.0).update_velocity(2.5, 0.7)
    assert (ours.x, ours.v) == pytest.approx(tuple(theirs.x[:, 0]))
    assert (ours.p_xx, ours.p_xv, ours.p_vv) == pytest.approx((theirs.P[0, 0], theirs.P[0, 1], theirs.P[1, 1]))


def test_a_large_cloud_of_particles_is_the_kalman_filter_where_everything_is_gaussian():
    h = np.exp(-0.5 * ((np.arange(400) - 180.0) / 6.0) ** 2).astype(np.float32)
    particles = ParticleTip(n=40_000, sigma_s=1e6, q_x_px=2.0, q_v_px_s=20.0, p0_x_px=5.0, p0_v_px_s=40.0, seed=3)
    cloud = particles.predict(particles.begin(175.0, 0.0), 1.0)
    cloud, seen = particles.update(cloud, h, first=0, last=400, velocity_px=None)
    exact = Motion(175.0, 0.0, 25.0, 0.0, 4.0).predict(1.0, 4.0, 1.0).update_position(180.0, 36.0)
    assert seen
    assert cloud.x == pytest.approx(exact.x, abs=0.1)
    assert cloud.variance == pytest.approx(exact.p_xx, rel=0.04)


def test_the_velocity_pulls_the_particles_along():
    flat = np.ones(400, np.float32)
    flat[0] = 0.0
    particles = ParticleTip(p0_v_px_s=50.0, seed=1)
    cloud = particles.begin(100.0, 0.0)
    for _ in range(20):
        cloud, _ = particles.update(particles.predict(cloud, 1.0), flat, first=0, last=400, velocity_px=5.0)
    assert cloud.particles[1] @ cloud.particles[2] == pytest.approx(5.0, abs=0.7)


@given(st.lists(st.floats(0.001, 1.0), min_size=5, max_size=60), st.floats(0.0, 0.999))
def test_systematic_resampling_takes_each_particle_its_weight_in_times(weights, start):
    w = np.array(weights) / np.sum(weights)
    n = len(w)
    x = np.arange(float(n))
    out, v = np.empty(n), np.empty(n)
    resample_particles(x, x, w, start, out, v)
    taken = np.bincount(out.astype(int), minlength=n)
    assert (np.abs(taken - n * w) < 1.0 + 1e-9).all()
    assert (np.diff(out) >= 0).all()


def test_particles_without_likelihood_stay_as_they_were():
    particles = ParticleTip()
    cloud = particles.begin(900.0, 0.0)
    again, seen = particles.update(cloud, np.ones(400, np.float32), first=0, last=400, velocity_px=None)
    assert not seen
    assert again is cloud


@pytest.mark.parametrize("tip", [KalmanTip(), ParticleTip()])
def test_a_filter_led_astray_comes_back_to_the_peak_that_stays(tip):
    """There is no gate: the only peak is taken, however far it lies from the prediction."""
    x = np.arange(400)
    h = np.exp(-0.5 * ((x - 300) / 6.0) ** 2).astype(np.float32)
    belief = tip.begin(60.0, None)
    for _ in range(80):
        belief, _ = tip.update(tip.predict(belief, 1.0), h, first=20, last=390, velocity_px=None)
    assert belief.x == pytest.approx(300.0, abs=5.0)
