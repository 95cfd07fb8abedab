import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.imaging import curved_band, drift
from sonosteer.imaging.scratch import Scratch


def speckle(shape, seed=0, sd=2.0):
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), sd)
    return np.clip(90 + 40 * smooth / smooth.std(), 10, 250).astype(np.uint8)


def sampled(image, x0, y0, angle, curvature, s=4, length=200, half=12):
    band = np.zeros((length, 2 * half + 1), np.float32)
    c, n = math.cos(angle), math.sin(angle)
    inside = curved_band.sample_arc(image, x0, y0, c, n, curvature, s, np.zeros_like(band), band)
    return band, inside


@settings(deadline=None, max_examples=20)
@given(st.floats(-0.002, 0.002), st.floats(0.3, 1.2))
def test_the_band_is_the_image_along_the_arc(curvature, angle):
    image = speckle((400, 400))
    band, inside = sampled(image, 60.0, 50.0, angle, curvature, s=0)
    c, n = math.cos(angle), math.sin(angle)
    assert inside == 200
    for u, y in ((0, 0), (57, -9), (150, 12), (199, 3)):
        bend = 0.5 * curvature * u * u
        x, z = 60 + c * u - n * (bend + y), 50 + n * u + c * (bend + y)
        expected = cv2.getRectSubPix(image, (1, 1), (x, z), patchType=cv2.CV_32F)[0, 0]
        assert band[u, 12 + y] == pytest.approx(expected, abs=0.6)


def test_the_band_knows_where_the_axis_leaves_the_image():
    _, inside = sampled(speckle((200, 200)), 100.0, 100.0, 0.0, 0.0)
    assert inside == pytest.approx(98, abs=2)


def test_an_axis_that_comes_in_from_outside_is_sampled():
    image = speckle((300, 300))
    c = math.cos(0.7)
    outside, n = sampled(image, 60.0 - 20 * c, -20 * math.sin(0.7), 0.7, 0.0)
    inside, _ = sampled(image, 60.0, 0.0, 0.7, 0.0)
    assert n == 200
    assert outside[60:180] == pytest.approx(inside[40:160], abs=0.5)


def test_the_running_mean_is_a_mean():
    image = speckle((300, 300))
    plain, _ = sampled(image, 30.0, 40.0, 0.5, 0.0, s=0)
    smooth, _ = sampled(image, 30.0, 40.0, 0.5, 0.0, s=4)
    assert smooth[50] == pytest.approx(plain[46:55].mean(0), rel=1e-4)
    assert smooth[0] == pytest.approx(plain[:5].mean(0), rel=1e-4)


def test_the_shaft_score_is_its_plain_statement():
    rng = np.random.default_rng(1)
    band = rng.normal(100, 20, (60, 41)).astype(np.float32)
    z, offset = np.zeros(60, np.float32), np.zeros(60, np.float32)
    w1, w2, r = 3, 7, 2
    noise = curved_band.shaft_profile(band, 60, w1, w2, r, z, offset)
    outside = [y for y in range(w2, 41 - w2) if y < 20 - r - w2 or y > 20 + r + w2]
    # the lower side is compared with what lies towards the axis, as the kernel has it
    rows = [band[u, y] - band[u, y - w2] for u in range(0, 60, 2) for y in outside if y < 20 - r - w2]
    rows += [band[u, y] - band[u, y - w2] for u in range(0, 60, 2) for y in range(20 + r + w2 + 1, 41 - w2)]
    count = 30 * (41 - 2 * w2 - 2 * (r + w2) - 1)
    assert noise == pytest.approx(math.sqrt(np.sum(np.square(rows)) / count) + 1.0, rel=1e-3)
    for u in (0, 31, 59):
        S = {
            y: max(min(band[u, y] - band[u, y - w], band[u, y] - band[u, y + w]) for w in (w1, w2))
            for y in range(20 - r, 20 + r + 1)
        }
        best = max(S, key=S.get)
        assert z[u] == pytest.approx(S[best] / noise, rel=1e-3)
        assert offset[u] == best - 20


def test_the_refit_is_a_weighted_least_squares():
    rng = np.random.default_rng(2)
    u = np.arange(300)
    z = rng.uniform(0, 2, 300).astype(np.float32)
    offset = (0.8 + 0.004 * (u - 150) + 1e-5 * (u - 150) ** 2 + rng.normal(0, 0.3, 300)).astype(np.float32)
    fit = np.zeros(7)
    weight = curved_band.refit(z, offset, 5, 295, 0.0, 0.0, fit)
    w = np.clip(z - 0.6, 0, 2) / (1 + (offset / 2) ** 2)
    w = w[5:295].astype(float)
    slope, level = np.polyfit(u[5:295] - fit[0], offset[5:295], 1, w=np.sqrt(w))
    assert weight == pytest.approx(w.sum(), rel=1e-4)
    assert fit[1] == pytest.approx(level, abs=1e-4)
    assert fit[2] == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("shift", [-7, 0, 5, 12])
def test_the_texture_is_found_where_it_moved(shift):
    long = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 30, (400, 27)).astype(np.float32), (3, 5), 0)
    still = np.random.default_rng(4).normal(0, 30, (200, 27)).astype(np.float32)
    bands = [100 + long[100 + k * shift : 300 + k * shift] + still for k in (2, 1, 0)]
    before, then, now = (np.ascontiguousarray(b, np.float32) for b in bands)
    c, a, b = np.zeros(41, np.float32), np.zeros((27, 200), np.float32), np.zeros((27, 200), np.float32)
    curved_band.texture_shift(now, then, before, 5, 195, 6, -20, 20, a, b, c)
    if shift == 0:
        assert c.max() < 0.2  # nothing moved: nothing to see
    else:
        assert int(np.argmax(c)) - 20 == shift
        assert c.max() > 0.9


def test_what_changes_on_the_axis_only_stands_out():
    rng = np.random.default_rng(5)
    then = rng.normal(100, 10, (200, 53)).astype(np.float32)
    now = then + rng.normal(0, 2, then.shape).astype(np.float32)
    now[:120, 20:33] += rng.normal(0, 25, (120, 13)).astype(np.float32)
    g, off = np.zeros(200, np.float32), np.zeros(200, np.float32)
    curved_band.change_profile(now, then, 200, 6, 16, 20, off, g)
    assert g[:120].min() > 0.8
    assert np.abs(g[125:]).max() < 0.6


def test_the_uppermost_of_parallel_echoes_is_the_surface():
    band = np.full((120, 53), 60, np.float32)
    for y, grey in ((26, 190), (33, 200), (40, 185)):
        band[:, y - 1 : y + 2] = grey - 20
        band[:, y] = grey
    rows = np.zeros(53, np.float32)
    for upwards, expected in ((-1, 0), (1, 14)):
        y, score = curved_band.upper_ridge(band, 0, 120, 3, 5, 16, upwards, 80.0, 0.7, rows)
        assert y == expected
        assert score > 0.5


@settings(deadline=None, max_examples=15)
@given(st.integers(-12, 12), st.integers(-12, 12))
def test_a_shifted_picture_is_a_shifted_picture(dx, dy):
    big = speckle((600, 600), seed=6, sd=3.0)
    then = big[40:552, 40:552]
    now = big[40 - dy : 552 - dy, 40 - dx : 552 - dx]
    found = drift.translation(
        drift.reduced(np.ascontiguousarray(now)), drift.reduced(np.ascontiguousarray(then)), Scratch()
    )
    assert found == pytest.approx((dx, dy), abs=0.35)


def test_noise_has_not_moved():
    rng = np.random.default_rng(7)
    a, b = (rng.integers(0, 255, (300, 300), dtype=np.uint8) for _ in range(2))
    assert drift.translation(drift.reduced(a), drift.reduced(b), Scratch()) == (0.0, 0.0)
