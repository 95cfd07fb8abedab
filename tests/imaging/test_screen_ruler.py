"""The ruler beside a picture: its spacing to a fraction of a pixel, and none where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drawn_screens import draw_ruler, screen_of, speckle, write_menu
from sonosteer.core.errors import InputError
from sonosteer.imaging.screen_layout import find_picture
from sonosteer.imaging.screen_ruler import read_ruler

BOX = (120, 50, 400, 400)  # left, top, width, height of the picture, px


def screen(seed=0):
    """A screen with a picture and menus, without a ruler."""
    out = screen_of((500, 640), speckle(BOX[3], BOX[2], seed), BOX[0], BOX[1])
    write_menu(out, 8, 80, lines=("B 62", "DR 66", "MI 1.1", "TIs 0.2", "L12-3", "FR 23", "Gain", "Nerve"))
    return out


def read(*screens):
    return read_ruler(screens, find_picture(screens))


@pytest.mark.parametrize("spacing", [11.3, 20.0, 37.6, 61.7])
@pytest.mark.parametrize("dots", [False, True])
def test_the_spacing_is_read_to_a_fraction_of_a_pixel(spacing, dots):
    out = screen()
    count = int(BOX[3] / spacing) + 1
    draw_ruler(out, 545, BOX[1], spacing, count, dots=dots)
    ruler = read(out)
    assert ruler.axis == "vertical"
    assert ruler.tick_px == pytest.approx(spacing, abs=0.1)
    assert abs(ruler.tick_px - spacing) < 4 * ruler.tick_sd_px
    assert len(ruler.places_px) == count
    assert ruler.large_every is None
    assert ruler.score > 0.8
    x, y = ruler.places_px[3]
    assert y == pytest.approx(BOX[1] + 3 * spacing, abs=1.0)
    assert x == pytest.approx(545 if dots else 548.5, abs=1.5)


@pytest.mark.parametrize("every", [2, 4, 5, 10])
@pytest.mark.parametrize("dots", [False, True])
def test_larger_ticks_are_noticed(every, dots):
    out = screen()
    draw_ruler(out, 545, BOX[1], 16.4, 25, every=every, dots=dots)
    ruler = read(out)
    assert ruler.tick_px == pytest.approx(16.4, abs=0.05)
    assert ruler.large_every == every
    assert 10.0 / every in ruler.usual_ticks_mm
    assert {1.0, 5.0, 10.0} <= set(ruler.usual_ticks_mm)


def test_missing_ticks_and_text_beside_do_not_matter():
    out = screen()
    draw_ruler(out, 545, BOX[1], 37.6, 11, missing=(3, 7))
    for k in (0, 2, 4):
        cv2.putText(out, str(k), (562, round(BOX[1] + k * 37.6) + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 200, 1)
    write_menu(out, 580, 60, lines=("MI 1.1", "TIs", "L12"))
    ruler = read(out)
    assert ruler.tick_px == pytest.approx(37.6, abs=0.1)
    assert len(ruler.places_px) == 9


def test_a_ruler_that_touches_the_picture_is_read():
    out = screen()
    draw_ruler(out, BOX[0] + BOX[2], BOX[1], 25.3, 15)
    assert read(out).tick_px == pytest.approx(25.3, abs=0.1)


def test_dots_inside_the_picture_are_read_better_from_several_frames():
    screens = [screen(seed) for seed in range(6)]
    for out in screens:
        draw_ruler(out, 500, BOX[1] + 10, 31.4, 12, dots=True, grey=255, radius=3)
    ruler = read(*screens)
    assert ruler.tick_px == pytest.approx(31.4, abs=0.1)
    assert len(ruler.places_px) >= 10


def test_a_level_ruler_is_read():
    out = np.ascontiguousarray(screen().T)
    draw_ruler(out, 455, BOX[0], 37.6, 10, every=5)
    ruler = read(np.ascontiguousarray(out.T))
    assert ruler.axis == "horizontal"
    assert ruler.tick_px == pytest.approx(37.6, abs=0.1)
    x, y = ruler.places_px[0]
    assert x == pytest.approx(BOX[0], abs=1.0)
    assert 455 <= y < 470


def test_a_tick_of_some_length_gives_a_scale():
    out = screen()
    draw_ruler(out, 545, BOX[1], 40.0, 11)
    ruler = read(out)
    assert ruler.spacing_mm(10.0) == pytest.approx(0.25, rel=0.002)
    assert ruler.spacing_mm(5.0) == pytest.approx(ruler.spacing_mm(10.0) / 2)


@pytest.mark.parametrize("seed", range(4))
def test_menus_are_no_ruler(seed):
    """Their lines are evenly spaced, and their first letters share a column."""
    out = screen(seed)
    write_menu(out, 560, 60, lines=("B", "Frq", "Vs", "E/A", "Map", "D 3.5", "DR 84", "FR 23", "AO 100"))
    assert read(out) is None


@pytest.mark.parametrize("seed", range(4))
def test_speckle_is_no_ruler(seed):
    assert read(speckle(400, 500, seed)) is None


def test_uneven_marks_are_no_ruler():
    out = screen()
    for y in (60, 95, 141, 170, 222, 251, 300, 318, 377, 430):
        cv2.line(out, (545, y), (552, y), 220, 1)
    assert read(out) is None


def test_three_ticks_are_too_few():
    out = screen()
    draw_ruler(out, 545, BOX[1], 120.0, 4)
    assert read(out) is None


def test_a_black_screen_has_no_ruler():
    assert read(np.zeros((300, 400), np.uint8)) is None


def test_what_is_no_screen_is_refused():
    area = find_picture([screen()])
    with pytest.raises(InputError, match="there is none"):
        read_ruler([], area)
