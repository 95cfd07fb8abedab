"""Variance image and template matching against their plain statements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from sonosteer.imaging import template_match as match

ORDER = match.from_the_middle(33, 17)


def noise(seed, shape=(60, 70)):
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


def test_the_variance_image_is_equations_16_and_17():
    image, V = noise(0), np.empty((33, 33), np.float32)
    level = match.variance_image(image, 30, 28, False, V)
    roi = image[28 - 16 : 28 + 17, 30 - 16 : 30 + 17].astype(float)
    assert np.allclose(V, np.abs(roi - roi.mean()) / roi.std(), atol=1e-4)
    assert level == pytest.approx(V.mean(), rel=1e-5)
    match.variance_image(image, 30, 28, True, V)
    assert np.allclose(V, (roi - roi.mean()) / roi.std(), atol=1e-4)


@given(st.floats(0.2, 3.0), st.floats(0, 40))
def test_gain_and_offset_of_the_image_do_not_matter(gain, offset):
    image = noise(1) // 4
    a, b = np.empty((33, 33), np.float32), np.empty((33, 33), np.float32)
    match.variance_image(image, 30, 28, False, a)
    match.variance_image((image * gain + offset).round().astype(np.uint8), 30, 28, False, b)
    assert np.abs(a - b).max() < 0.1 / gain + 0.02


def test_beyond_the_image_lies_its_edge_and_one_grey_is_nothing():
    V = np.empty((33, 33), np.float32)
    match.variance_image(noise(2), 0, 0, True, V)
    assert (V[:16] == V[16]).all()
    assert match.variance_image(np.full((50, 50), 9, np.uint8), 20, 20, True, V) == 0.0
    assert not V.any()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 20))
def test_the_best_place_is_the_best_of_all(seed, prior):
    rng = np.random.default_rng(seed)
    V, P = rng.normal(0, 1, (33, 33)).astype(np.float32), rng.normal(0, 0.7, (17, 17)).astype(np.float32)
    patches = sliding_window_view(V, (17, 17)).astype(float)
    i, j = np.mgrid[0:17, 0:17]
    gain = (np.abs(patches) - np.abs(patches - P)).sum((2, 3))
    score = gain - prior * ((i - 8) ** 2 + (j - 8) ** 2) / 25.0
    rows, bound = match.row_order(P)
    found = match.best_gain(V, P, ORDER, rows, bound, 5.0, prior)
    assert score[found[:2]] == pytest.approx(score.max(), abs=1e-3)
    assert found[2] == pytest.approx(gain[found[:2]], abs=1e-3)
    least = match.min_difference(V, P, ORDER)
    difference = np.abs(patches - P).sum((2, 3))
    assert difference[least[:2]] == pytest.approx(difference.min(), abs=1e-3)


def test_flanks_are_taken_off_and_lines_across_vanish():
    V = np.zeros((20, 60), np.float32)
    V[10] = 3.0
    V[5, 28:33] = 2.0
    out = np.empty_like(V)
    match.less_flanks(V, 6, 14, np.zeros(61), out)
    assert np.abs(out[10]).max() < 1e-6
    assert (out[5, 28:33] == 2.0).all()
    assert out[5, 40] == pytest.approx(-2.0 * 5 / 18, abs=1e-6)


def test_learning_moves_towards_the_shifted_patch():
    V = np.tile(np.arange(33, dtype=np.float32), (33, 1))
    P = np.zeros((17, 17), np.float32)
    match.learn(V, 8, 8, 0.25, 0.0, 0.5, P)
    assert np.allclose(P, 0.5 * (V[8:25, 8:25] + 0.25))


def test_a_vertex_is_the_top_of_a_parabola():
    def parabola(x):
        return 3.0 - (x - 0.3) ** 2

    assert match.vertex(parabola(-1), parabola(0), parabola(1)) == pytest.approx(0.3)
    assert match.vertex(1.0, 0.0, 1.0) == 0.0
