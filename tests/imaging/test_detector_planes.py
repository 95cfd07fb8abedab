"""What the needle detector is shown, against a plain statement."""

import numpy as np
import pytest

from sonosteer.imaging.detector_planes import CONTRAST_BOX_PX, CONTRAST_GREY, PLANES, UNIT, fill_planes, reduce_picture


def plain_planes(now, earlier, inside=None):
    """Grey, local contrast and change, from the definition: of what the box holds of the picture."""
    half = CONTRAST_BOX_PX // 2
    grey = now.astype(float)
    shown = np.ones(now.shape, bool) if inside is None else inside > 0
    wide = np.pad(np.where(shown, grey, np.nan), half, constant_values=np.nan)
    boxes = np.lib.stride_tricks.sliding_window_view(wide, (CONTRAST_BOX_PX, CONTRAST_BOX_PX))
    mean, deviation = np.nanmean(boxes, (2, 3)), np.nanstd(boxes, (2, 3))
    scale = UNIT / (deviation + CONTRAST_GREY)
    return np.stack([grey / 255, np.where(shown, (grey - mean) * scale, 0), (grey - earlier) * scale])


@pytest.mark.parametrize("size", [(60, 70), (45, 130)])
def test_the_planes_are_grey_level_local_contrast_and_change(size):
    rng = np.random.default_rng(0)
    now, earlier = (rng.integers(0, 256, size).astype(np.uint8) for _ in range(2))
    now[20:30, 20:40] = 255
    out = np.full((PLANES, 64 if size[0] < 61 else 96, 160), 9.0, np.float32)
    out = out[:, : size[0] + 3]
    fill_planes(now, earlier, out)
    rows, columns = size
    assert np.abs(out[:, :rows, :columns] - plain_planes(now, earlier)).max() < 2e-3
    assert not out[:, rows:].any()
    assert not out[:, :, columns:].any()


def test_what_was_filled_up_with_black_is_no_part_of_the_contrast():
    rng = np.random.default_rng(0)
    inside = np.zeros((64, 96), np.uint8)
    inside[5:50, 20:] = 1
    now, earlier = (rng.integers(0, 256, inside.shape).astype(np.uint8) * inside for _ in range(2))
    out = np.zeros((PLANES, 64, 96), np.float32)
    fill_planes(now, earlier, out, inside)
    shown = inside > 0
    assert np.abs(out - plain_planes(now, earlier, inside))[:, shown].max() < 2e-3
    assert not out[:, ~shown].any()
    alone = np.zeros((PLANES, 45, 76), np.float32)
    fill_planes(now[5:50, 20:], earlier[5:50, 20:], alone)
    assert np.abs(out[:, 5:50, 20:] - alone).max() < 1e-4


def test_an_even_picture_has_no_contrast_and_a_resting_one_no_change():
    out = np.ones((PLANES, 64, 64), np.float32)
    even = np.full((64, 64), 102, np.uint8)
    fill_planes(even, even, out)
    assert out[0] == pytest.approx(0.4)
    assert np.abs(out[1:]).max() < 1e-4
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    fill_planes(noise, noise, out)
    assert not out[2].any()


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (37, 41), (1, 700), (700, 1), (1, 1), (161, 80)])
def test_the_longer_side_is_reduced_to_what_is_asked_and_the_shape_stays(size):
    small = reduce_picture(np.full(size, 77, np.uint8), 160)
    assert small.dtype == np.uint8
    assert max(small.shape) == 160
    for got, was in zip(small.shape, size, strict=True):
        assert got == max(round(was * 160 / max(size)), 1)
    assert (small == 77).all()


def test_a_picture_of_the_right_size_is_taken_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (120, 160)).astype(np.uint8)
    assert np.array_equal(reduce_picture(picture, 160), picture)


@pytest.mark.parametrize(("longer", "size"), [(160, (512, 640)), (160, (512, 333)), (320, (90, 121))])
def test_places_scale_about_the_corner_of_the_picture(longer, size):
    """Not about the middle of the first pixel: (x + 0.5) k - 0.5."""
    ys, xs = np.mgrid[: size[0], : size[1]]
    for x, y in ((40.0, 33.0), (75.5, 60.25)):
        spread = 0.03 * max(size)
        dot = (255 * np.exp(-0.5 * ((xs - x) ** 2 + (ys - y) ** 2) / spread**2)).astype(np.uint8)
        small = reduce_picture(dot, longer).astype(float)
        weight = np.clip(small - 100, 0, None)
        rows, columns = np.mgrid[: small.shape[0], : small.shape[1]]
        k_x, k_y = small.shape[1] / size[1], small.shape[0] / size[0]
        assert (weight * columns).sum() / weight.sum() == pytest.approx((x + 0.5) * k_x - 0.5, abs=0.05)
        assert (weight * rows).sum() / weight.sum() == pytest.approx((y + 0.5) * k_y - 0.5, abs=0.05)
