"""The kernels against the plain NumPy statement of the paper, and laws that both must keep."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.benchmarks import mathiassen2017_numpy as oracle
from sonosteer.imaging.axis_search import MAX_RAYS, AxisSearch, adapt_rays
from sonosteer.imaging.rays import ray_scores, sample_rays
from sonosteer.imaging.tip_features import TipFeatures, gauss_kernel, square_kernel
from sonosteer.trackers.mathiassen2017 import KFFeedback

WEIGHTS = KFFeedback().weights


def line_image(angle_deg, entry=(60.0, 40.0), length=220.0, size=400, seed=0, width=7):
    """Speckle-like noise with a bright line; returns (image, true tip)."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.normal(70, 40, (size, size)).astype(np.float32), (0, 0), 1.5)
    a = math.radians(angle_deg)
    tip = (entry[0] + length * math.cos(a), entry[1] + length * math.sin(a))
    p, q = (tuple(round(16 * v) for v in point) for point in (entry, tip))
    line = cv2.line(np.zeros_like(image), p, q, 90.0, width, cv2.LINE_AA, 4)
    return np.clip(image + cv2.GaussianBlur(line, (0, 0), 1.0), 3, 255).astype(np.uint8), tip


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_window_sums_telescope_to_one_subtraction_and_one_min(seed, w_max):
    R = np.random.default_rng(seed).uniform(0, 255, (3, 80))
    w = w_max + 1
    m = R[:, w:-w]
    telescoped = 2 * np.minimum(m - R[:, : -2 * w], m - R[:, 2 * w :])
    np.testing.assert_allclose(oracle.score_windows(R, w_max), telescoped, atol=1e-9)


def test_ray_scores_equal_the_papers_sums_at_the_regions_own_angle():
    image, _ = line_image(35)
    angle, s, w, half = math.radians(35), 9, 4, 48
    rays = np.zeros(MAX_RAYS, np.float32)
    n = adapt_rays(220.0, 12.0, rays)
    reach = half + w
    region = np.zeros((MAX_RAYS, 2 * s + 1, 2 * reach + 21), np.float32)
    sample_rays(image, 60.0, 40.0, angle, 1.0, rays, n, s, reach, 0.0, region)
    R, S = np.zeros(2 * reach + 1, np.float32), np.zeros((MAX_RAYS, 2 * half + 1), np.float32)
    ray_scores(region, rays, n, s, w, half, 0.0, R, S)
    y = np.arange(-reach, reach + 1.0)
    R_true = np.stack(
        [oracle.band(image, (60.0, 40.0), angle, 1.0, r + np.arange(-s, s + 1.0), y).mean(0) for r in rays[:n]]
    )
    np.testing.assert_allclose(S[:n], oracle.score_windows(R_true, w - 1), atol=2e-2)


@pytest.mark.parametrize("angle_deg", [20.0, 35.0, 47.0, 133.0, 150.0, 90.0])
def test_the_axis_is_found_and_equals_the_direct_statement(angle_deg):
    entry = (60.0, 40.0) if angle_deg < 80 else (340.0, 40.0) if angle_deg > 100 else (200.0, 30.0)
    image, tip = line_image(angle_deg, entry)
    around = (math.radians(angle_deg - 4.3), math.radians(angle_deg + 5.7))
    axis = AxisSearch().search(image, entry, around, 220.0)
    assert math.degrees(axis.angle_rad) == pytest.approx(angle_deg, abs=0.5)
    c, s = math.cos(axis.angle_rad), math.sin(axis.angle_rad)
    assert abs(-(tip[0] - axis.point_px[0]) * s + (tip[1] - axis.point_px[1]) * c) < 1.5
    rays = np.zeros(MAX_RAYS, np.float32)
    n = adapt_rays(220.0, 12.0, rays)
    angle, point = oracle.estimate_axis(image, entry, around, rays[:n].astype(float))
    assert math.degrees(axis.angle_rad) == pytest.approx(math.degrees(angle), abs=0.25)
    assert math.dist(axis.point_px, point) < 1.0


def test_the_axis_search_follows_a_mirrored_image():
    image, _ = line_image(35)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    a = AxisSearch().search(image, (60.0, 40.0), (math.radians(30), math.radians(40)), 220.0)
    b = AxisSearch().search(mirrored, (339.0, 40.0), (math.radians(140), math.radians(150)), 220.0)
    assert math.degrees(b.angle_rad) == pytest.approx(180 - math.degrees(a.angle_rad), abs=0.11)
    assert b.point_px == pytest.approx((399 - a.point_px[0], a.point_px[1]), abs=0.6)


@given(st.floats(1, 2000))
def test_rays_keep_the_published_number_and_spacing(length):
    rays = np.zeros(MAX_RAYS, np.float32)
    n = adapt_rays(length, 12.0, rays)
    spacing = np.diff(rays[:n])
    assert 3 <= n <= MAX_RAYS
    assert np.all(spacing >= 20.0 - 1e-3)
    assert np.all(spacing <= 45.0 + 1e-3)
    if 12 * 20 <= length - 12 <= 12 * 45:
        assert n == 12


def test_the_kernels_across_the_needle_have_the_published_shape():
    square, gauss = square_kernel(20), gauss_kernel(89, 20)
    assert len(square) == 21
    assert square.sum() == pytest.approx(0, abs=1e-6)
    assert len(gauss) == 89
    positive = np.flatnonzero(gauss > 0) - 44
    assert positive.min() == -9  # Eq. (10): positive for |y| < s_n / 2 = 10
    assert positive.max() == 9
    assert gauss[44 + 10] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("angle_deg", [35.0, 140.0])
def test_tip_features_equal_the_direct_statement(angle_deg, moved):
    entry = (60.0, 40.0) if angle_deg < 90 else (340.0, 40.0)
    image, _ = line_image(angle_deg, entry)
    earlier = line_image(angle_deg, entry, length=180.0)[0] if moved else None
    angle = math.radians(angle_deg)
    got = TipFeatures(WEIGHTS).along(image, earlier, entry, angle, 300)
    want = oracle.estimate_tip(image, earlier, entry, angle, 300, WEIGHTS)
    assert got.end == len(want)
    np.testing.assert_allclose(got.h, want, atol=0.02)


def test_the_features_apart_add_up_to_h():
    image, _ = line_image(35)
    feature = TipFeatures(WEIGHTS)
    h = feature.along(image, image, (60.0, 40.0), math.radians(35), 300).h.copy()
    E = feature.each_along(image, image, (60.0, 40.0), math.radians(35), 300)
    np.testing.assert_allclose(np.array(WEIGHTS) @ E, h, atol=1e-3)


def test_the_features_peak_at_the_tip():
    image, _ = line_image(35, width=9)
    seen = TipFeatures(WEIGHTS).along(image, None, (60.0, 40.0), math.radians(35), 380)
    assert 20 + int(np.argmax(seen.h[20 : seen.end - 20])) == pytest.approx(220, abs=10)


def test_the_black_around_the_picture_ends_the_view_and_is_no_better_tip():
    image, _ = line_image(35)
    whole = TipFeatures(WEIGHTS).along(image, None, (60.0, 40.0), math.radians(35), 380)
    tip_peak = whole.h[20:360].max()
    image[:, 200:] = 0
    seen = TipFeatures(WEIGHTS).along(image, None, (60.0, 40.0), math.radians(35), 380)
    edge = (200 - 60) / math.cos(math.radians(35))
    assert seen.end == pytest.approx(edge, abs=12)
    # the needle runs on to the edge: nothing there stands out over the tip seen before by more than a tenth
    assert seen.h[20 : seen.end - 10].max() < 1.1 * tip_peak


def test_the_shaft_scores_high_on_the_needle_and_low_beyond_it():
    image, _ = line_image(35)
    seen = TipFeatures(WEIGHTS).along(image, None, (60.0, 40.0), math.radians(35), 380)
    assert np.median(seen.z[20:200]) > 1.5
    assert np.median(seen.z[240:360]) < 0.7


@settings(max_examples=20)
@given(st.floats(0.3, 1.2), st.integers(0, 100))
def test_gain_scales_the_features_and_moves_no_peak(gain, seed):
    image, _ = line_image(35, seed=seed)
    image = np.maximum(image, 20)
    darker = (image * gain).astype(np.uint8)
    feature = TipFeatures(WEIGHTS)
    a = feature.along(image, None, (60.0, 40.0), math.radians(35), 300).h.copy()
    b = feature.along(darker, None, (60.0, 40.0), math.radians(35), 300).h.copy()
    np.testing.assert_allclose(b, gain * a, atol=2.0)
