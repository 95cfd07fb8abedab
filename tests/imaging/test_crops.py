"""Crops: where they lie, what they keep, at which scale."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.geometry import Spacing
from sonosteer.imaging.crops import crop, longer_side, working_scale


@pytest.mark.parametrize("step", [2.0, 3.0, 5.0])
def test_a_coarse_crop_is_the_mean_of_each_cell(step):
    n = int(step)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (60, 60)).astype(np.uint8)
    cells = 60 // n
    middle = cells * n / 2 - 0.5
    got = crop(picture, (middle, middle), cells, (step, step))
    wanted = picture[: cells * n, : cells * n].reshape(cells, n, cells, n).mean(axis=(1, 3))
    assert np.abs(got - wanted).max() <= 0.51
    assert np.array_equal(crop(picture, (middle, middle), cells, (step, step), True), got[:, ::-1])


@pytest.mark.parametrize("at", range(12))
def test_a_thin_line_is_in_a_coarse_crop_wherever_it_lies(at):
    picture = np.zeros((120, 120), np.uint8)
    picture[:, 40 + at] = 240
    got = crop(picture, (60.0, 60.0), 16, (6.0, 6.0)).astype(int)
    assert got.sum(axis=1) == pytest.approx(240 / 6, abs=2)


def test_what_lies_outside_the_image_is_black_in_a_coarse_crop():
    picture = np.full((40, 40), 200, np.uint8)
    got = crop(picture, (0.0, 20.0), 10, (4.0, 4.0))
    assert not got[:, :4].any()
    assert (got[:, 6:] == 200).all()


def test_a_small_image_is_looked_at_more_closely_and_a_large_one_at_the_networks_scale():
    assert working_scale((512, 512), Spacing(0.25, 0.25), 160, 0.25) == 0.25
    assert working_scale((860, 1080), Spacing(0.0355, 0.0355), 160, 0.25) == pytest.approx(0.6 * 1080 * 0.0355 / 160)
    assert working_scale((50, 50), Spacing(0.1, 0.1), 160, 0.25) == pytest.approx(0.1)
    assert working_scale((400, 100), Spacing(0.2, 0.1), 160, 0.25) == pytest.approx(0.15)


@given(x_mm=st.floats(0.01, 1.0), ratio=st.floats(0.5, 2.0), width=st.integers(2, 2000), height=st.integers(2, 2000))
def test_of_the_spacing_the_longer_side_knows_the_ratio_only(x_mm, ratio, width, height):
    side = longer_side((height, width), Spacing(x_mm, ratio * x_mm))
    assert max(side.fractions((float(width), float(height)))) == pytest.approx(1.0)
    assert side.y_fraction / side.x_fraction == pytest.approx(ratio)
    assert longer_side((height, width), Spacing(x_mm, x_mm)) == longer_side((height, width), None)


def test_a_direction_as_drawn_is_one_in_equal_lengths():
    square, tall = longer_side((100, 100), None), longer_side((100, 100), Spacing(0.1, 0.2))
    assert square.direction(2.5) == 2.5
    assert math.tan(tall.direction(math.radians(45))) == pytest.approx(2.0)
    assert tall.to_px(tall.fractions((30.0, 40.0))) == pytest.approx((30.0, 40.0))
