"""The annotated screen: dimmed outside of the picture, and written as PNG."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.imaging.screen_layout import PictureArea
from sonosteer.viz.screen_overlay import draw_screen, write_screen


def area():
    mask = np.zeros((200, 300), np.uint8)
    mask[40:160, 60:240] = 255
    return PictureArea(60, 40, 180, 120, mask, "rectangle", 1.0)


def test_what_is_outside_is_dimmed_and_the_inside_is_left():
    picture = draw_screen(np.full((200, 300), 100, np.uint8), area(), None)
    assert picture.shape == (200, 300, 3)
    assert picture[100, 150].tolist() == [100, 100, 100]
    assert picture[10, 10].max() < 80
    assert len(set(picture[100, 60].tolist())) > 1


def test_it_is_written_as_png_into_a_new_folder(tmp_path):
    picture = draw_screen(np.full((200, 300), 100, np.uint8), area(), None)
    write_screen(tmp_path / "new" / "screen.png", picture)
    read = cv2.imread(str(tmp_path / "new" / "screen.png"))
    assert np.array_equal(read[..., ::-1], picture)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.png"):
        write_screen(tmp_path / "screen.jpg", np.zeros((4, 4, 3), np.uint8))


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "screen.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_screen(tmp_path / "screen.png", np.zeros((4, 4, 3), np.uint8))
