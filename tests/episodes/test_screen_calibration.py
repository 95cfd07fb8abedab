"""A screen looked at: which frames, what follows from a tick's length, and what JSON holds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from drawn_screens import draw_ruler, screen_of, speckle
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.episodes.screen_calibration import IN_ONE_GO, LOOKS, calibrate_screen

BOX = (120, 50, 400, 400)


class Screens:
    """A clip of screens that counts how many frames it had to read."""

    def __init__(self, frames, *, ruler=True, known=True, spacing=None, picture=True):
        picture_ = speckle(BOX[3], BOX[2]) if picture else np.zeros((BOX[3], BOX[2]), np.uint8)
        self.screen = screen_of((500, 640), picture_, BOX[0], BOX[1])
        if ruler:
            draw_ruler(self.screen, 545, BOX[1], 40.0, 11, every=5)
        self.count, self.read = frames, 0
        self.info = SourceInfo("clip", "video", (640, 500), frames if known else None, 25.0, spacing)

    def frames(self, start=0, stop=None):
        for index in range(start, self.count if stop is None else min(stop, self.count)):
            self.read += 1
            yield Frame(self.screen.copy(), index=index, time_s=index / 25)

    def close(self):
        pass


def test_the_usual_lengths_of_a_tick_each_give_a_scale_and_the_options_to_paste():
    found = calibrate_screen(Screens(1))
    assert [s.tick_mm for s in found.scales] == [1.0, 2.0, 5.0, 10.0]
    ten = found.scales[-1]
    assert ten.spacing_mm == pytest.approx(0.25, rel=0.002)
    assert ten.depth_mm == pytest.approx(100, abs=2)
    assert ten.width_mm == pytest.approx(100, abs=2)
    assert 0 < ten.spacing_sd_mm < 0.001
    assert found.options(ten) == f"--crop {found.crop} --spacing-mm {ten.spacing_mm:.4g}"
    assert all(abs(int(v) - b) <= 6 for v, b in zip(found.crop.split(","), BOX, strict=True))


def test_a_known_length_gives_one_scale():
    found = calibrate_screen(Screens(1), tick_mm=2.5)
    assert [s.tick_mm for s in found.scales] == [2.5]
    assert found.scales[0].spacing_mm == pytest.approx(2.5 / 40, rel=0.002)


def test_without_a_ruler_there_is_no_scale():
    found = calibrate_screen(Screens(1, ruler=False), tick_mm=10.0)
    assert found.ruler is None
    assert found.scales == ()
    assert found.options(None) == f"--crop {found.crop}"


def test_a_whole_screen_has_nothing_to_crop():
    found = calibrate_screen(Screens(1, ruler=False, picture=False))
    assert found.crop is None
    assert found.options(None) == ""
    assert found.area.confidence == 0.0


def test_frames_are_spread_over_the_range():
    found = calibrate_screen(Screens(100), start=20, stop=91)
    assert found.frames[0] == 20
    assert found.frames[-1] == 90
    assert len(found.frames) == LOOKS
    assert np.ptp(np.diff(found.frames)) <= 1


def test_of_a_long_clip_only_those_frames_are_read():
    clip = Screens(20 * IN_ONE_GO)
    assert len(calibrate_screen(clip).frames) == clip.read == LOOKS


def test_of_a_source_without_an_end_the_first_frames_are_read():
    clip = Screens(1000, known=False)
    assert calibrate_screen(clip).frames == tuple(range(LOOKS))


def test_a_range_without_frames_is_refused():
    with pytest.raises(InputError, match="no frames from 50 on"):
        calibrate_screen(Screens(10), start=50)


@pytest.mark.parametrize("tick_mm", [0.0, -1.0, math.nan, math.inf])
def test_a_tick_without_a_length_is_refused(tick_mm):
    with pytest.raises(InputError, match="`tick_mm`"):
        calibrate_screen(Screens(1), tick_mm=tick_mm)


def test_json_holds_all_but_the_pixels():
    found = calibrate_screen(Screens(2, spacing=Spacing(0.2, 0.3)))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["size_px"] == [640, 500]
    assert told["frames"] == [0, 1]
    assert told["area"]["shape"] == "rectangle"
    assert told["crop"] == ",".join(str(told["area"][k]) for k in ("left_px", "top_px", "width_px", "height_px"))
    assert told["ruler"]["ticks"] == len(told["ruler"]["places_px"]) == 11
    assert told["ruler"]["large_every"] == 5
    assert told["scales"][0]["options"].startswith("--crop ")
    assert told["spacing_mm"] == [0.2, 0.3]


def test_the_picture_shows_outline_and_ticks():
    found = calibrate_screen(Screens(1))
    picture = found.picture()
    assert picture.shape == (500, 640, 3)
    coloured = np.ptp(picture.astype(int), axis=2) > 40
    x, y = found.ruler.places_px[4]
    assert coloured[round(y) - 12 : round(y) + 12, round(x) - 12 : round(x) + 12].any()
    assert coloured[:, found.area.left_px - 1 : found.area.left_px + 2].any()
    assert not coloured[200:300, 250:350].any()
