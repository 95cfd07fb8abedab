"""The display: filters, grey map, size on the screen, what stands around the image, and what a person sees."""

import dataclasses

import cv2
import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.sim.display import Display, Screen, shaft_contrast, tip_contrast
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

SIZE = (160, 120)


def speckled(seed=0):
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.rayleigh(1.0, SIZE[::-1]).astype(np.float32), (0, 0), 1.0)
    picture = 70 * grain
    picture[:, SIZE[0] // 2 :] *= 2.0
    return np.clip(picture, 0, 255).astype(np.uint8)


def shown(picture, **fields):
    return Screen(Display(**fields), (picture.shape[1], picture.shape[0])).show(picture)


def test_the_default_display_changes_nothing():
    picture = speckled()
    assert Display(seed=9).plain
    assert shown(picture, seed=9) is picture
    assert Display().to_screen_px((3.7, 9.1)) == (3.7, 9.1)
    assert Display().size_px(SIZE) == SIZE


def test_a_display_that_changes_nothing_leaves_an_older_set_up_as_it_was():
    scene = make_scene("in-plane-linear", 4)
    plain, same = World(scene), World(dataclasses.replace(scene, display=Display(seed=5)))
    (a, t), (b, u) = plain.look(), same.look()
    assert np.array_equal(a.pixels, b.pixels)
    assert t == u
    assert (t.width_px, t.shaft_seen, t.contrast_db) == (None, (), None)
    assert (a.spacing, a.probe) == (b.spacing, b.probe)
    assert scene.size_px == (scene.width_px, scene.height_px)
    assert scene.screen_spacing_mm == scene.spacing_mm


@pytest.mark.parametrize("scale", [0.6, 0.9, 1.0, 1.4])
def test_a_place_in_the_image_lands_where_the_display_says(scale):
    display = Display(scale=scale, margins_px=(17, 9, 5, 30))
    picture = np.zeros(SIZE[::-1], np.uint8)
    cv2.circle(picture, (63, 41), 3, 255, -1)
    screen = Screen(display, SIZE).show(picture)
    assert (screen.shape[1], screen.shape[0]) == display.size_px(SIZE)
    rows, columns = np.indices(screen.shape)
    total = screen.sum()
    x, y = display.to_screen_px((63.0, 41.0))
    assert (columns * screen.astype(float)).sum() / total == pytest.approx(x, abs=0.15)
    assert (rows * screen.astype(float)).sum() / total == pytest.approx(y, abs=0.15)


def test_what_stands_around_the_image_stays_and_depends_on_the_seed():
    fields = {"menus": 2, "captions": 3, "ticks": 8, "bars": 1, "margins_px": (40, 20, 30, 20), "background_grey": 11}
    screen = Screen(Display(**fields, seed=3), SIZE)
    first, second = screen.show(speckled(1)), screen.show(speckled(2))
    still = first == second
    assert still[:20].all()
    assert still[:, :40].all()
    assert (first[:, :40] != 11).any()
    again, other = Screen(Display(**fields, seed=3), SIZE), Screen(Display(**fields, seed=4), SIZE)
    assert np.array_equal(again.show(speckled(1)), first)
    assert not np.array_equal(other.show(speckled(1)), first)


@pytest.mark.parametrize("fields", [{"speckle_reduction": 1.0}, {"line_filter": 1.0}, {"smoothing_px": 1.5}])
def test_filters_calm_the_speckle_and_keep_the_edge(fields):
    picture, half = speckled(), SIZE[0] // 2
    calm = shown(picture, **fields)
    sides = np.s_[10:110, 10 : half - 12], np.s_[10:110, half + 12 : -10]
    for side in sides:
        assert calm[side].std() < 0.85 * picture[side].std()
        assert calm[side].mean() == pytest.approx(picture[side].mean(), rel=0.12)
    assert calm[sides[1]].mean() > 1.6 * calm[sides[0]].mean()


def test_the_grey_map_and_compression_do_what_they_say():
    picture = speckled()
    assert shown(picture, gamma=1.6).mean() < picture.mean() < shown(picture, gamma=0.7).mean()
    assert (shown(picture, contrast=2.0) == 255).mean() > (picture == 255).mean() + 0.05
    assert shown(picture, gain_grey=20.0).mean() > picture.mean() + 10
    assert shown(picture, floor_grey=30, gain_grey=-40.0).min() == 30
    assert shown(picture, sharpening=1.5).std() > picture.std()
    assert 0 < np.abs(shown(picture, jpeg_quality=40).astype(int) - picture).mean() < 12
    screen = Screen(Display(noise_grey=4.0), SIZE)
    assert np.array_equal(screen.show(picture, 3), screen.show(picture, 3))
    assert not np.array_equal(screen.show(picture, 3), screen.show(picture, 4))


def test_outside_of_the_field_of_view_the_background_shows():
    inside = np.zeros(SIZE[::-1], np.uint8)
    inside[20:100, 30:130] = 255
    screen = Screen(Display(background_grey=25, smoothing_px=1.0), SIZE, inside).show(speckled())
    assert (screen[inside == 0] == 25).all()


@pytest.mark.parametrize("fields", [
    {"gamma": 0.0}, {"scale": 9.0}, {"jpeg_quality": 101}, {"margins_px": (0, -1, 0, 0)}, {"speckle_reduction": 1.5},
])  # fmt: skip
def test_a_display_that_makes_no_sense_is_refused(fields):
    with pytest.raises(InputError, match=next(iter(fields)).partition("_px")[0].removesuffix("s")):
        Display(**fields)


# -- what a person sees --


def line_picture(grey_db=40, width=4, end=100):
    picture = np.full((200, 200), 60, np.uint8)
    cv2.line(picture, (10, 100), (end, 100), 60 + grey_db, width)
    path = np.stack([np.linspace(end, 10, 60), np.full(60, 100.0)], 1)
    return picture, path


def test_a_line_stands_out_by_its_grey_level_over_what_lies_beside():
    picture, path = line_picture()
    assert shaft_contrast(picture, path[5:-5], 4, 10.0) == pytest.approx(np.full(50, 38), abs=5)
    assert tip_contrast(picture, path, 4, 10.0) == pytest.approx(36, abs=8)
    nothing, _ = line_picture(0)
    assert tip_contrast(nothing, path, 4, 10.0) == pytest.approx(0, abs=1)


def test_the_edge_of_something_bright_is_no_shaft():
    picture = np.full((200, 200), 60, np.uint8)
    picture[100:] = 160
    _, path = line_picture()
    assert tip_contrast(picture, path, 4, 10.0) < 10


def test_a_bright_tip_after_a_dip_stands_out():
    picture, path = line_picture(0)
    cv2.circle(picture, (97, 100), 4, 140, -1)
    assert tip_contrast(picture, path, 4, 10.0) > 40
    assert tip_contrast(picture, path[20:], 4, 10.0) < 5


def test_the_line_filter_takes_the_brightest_mean_along_a_line():
    picture = np.zeros(SIZE[::-1], np.uint8)
    cv2.line(picture, (20, 20), (110, 110), 200, 1)
    best = shown(picture, line_filter=1.0, line_px=9)
    plain = cv2.blur(picture, (9, 9))
    assert best[60, 60] > 2 * plain[60, 60]
    assert best[60, 90] == 0


def test_h264_loses_little_and_goes_on_from_the_last_picture():
    picture = speckled()
    screen = Screen(Display(h264_crf=30), SIZE)
    first, second = screen.show(picture), screen.show(picture)
    assert first.shape == picture.shape
    assert 0.3 < np.abs(first.astype(int) - picture).mean() < 12
    screen.restart()
    assert np.array_equal(screen.show(picture), first)
    assert np.abs(second.astype(int) - picture).mean() < 12


def test_h264_takes_odd_sizes():
    picture = speckled()[:-1, :-1]
    assert shown(picture, h264_crf=20).shape == picture.shape


def test_what_stands_over_the_image_covers_it():
    screen = Screen(Display(bars=2, captions=6, seed=3), SIZE)
    shown_px = screen.show(np.full(SIZE[::-1], 100, np.uint8))
    changed = np.argwhere(shown_px != 100)[:, ::-1].astype(float)
    assert len(changed) > 50
    assert screen.covers(changed).all()
    rest = np.argwhere(shown_px == 100)[:, ::-1].astype(float)
    assert screen.covers(rest).mean() < 0.05
