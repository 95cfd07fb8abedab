"""A tracker that sees a part of each picture speaks of the whole."""

import math

import numpy as np
import pytest

from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import LinearProbe, Spacing
from sonosteer.core.types import Frame, Hint, Lost, TipEstimate, Track
from sonosteer.episodes.cropping import Crop, InCrop

CROP = Crop(left_px=10, top_px=20, width_px=30, height_px=15)


class Notes:
    """Keeps what it is shown, and says the same place each time."""

    def __init__(self, lost=False):
        self.frames, self.hints, self.lost = [], [], lost

    def prepare(self):
        pass

    def start(self, hint):
        self.hints.append(hint)
        return "state"

    def step(self, state, frame):
        self.frames.append(frame)
        if self.lost:
            return state, Lost(frame.index, frame.time_s, "no needle")
        return state, TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=(3.0, 4.0),
            angle_rad=0.3,
            covariance_mm2=None,
            confidence=1.0,
            state=Track.TRACKING,
            entry_px=(-1.0, 0.0),
            shaft_px=((0.0, 0.0), (3.0, 4.0)),
            box_px=(1.0, 2.0, 5.0, 6.0),
        )


def frame(**more):
    return Frame(np.arange(50 * 60, dtype=np.uint16).reshape(50, 60), 7, 0.35, full_scale=4095.0, **more)


def test_the_part_is_cut_and_the_places_are_moved_back():
    notes = Notes()
    _, said = InCrop(notes, CROP).step("state", frame())
    (shown,) = notes.frames
    assert np.array_equal(shown.pixels, frame().pixels[20:35, 10:40])
    assert (shown.index, shown.time_s, shown.full_scale, shown.size_px) == (7, 0.35, 4095.0, (30, 15))
    assert not shown.pixels.flags.writeable
    assert (said.tip_px, said.entry_px) == ((13.0, 24.0), (9.0, 20.0))
    assert said.shaft_px == ((10.0, 20.0), (13.0, 24.0))
    assert said.box_px == (11.0, 22.0, 15.0, 26.0)
    assert said.angle_rad == 0.3
    lost = InCrop(Notes(lost=True), CROP).step("state", frame())[1]
    assert lost == Lost(7, 0.35, "no needle")


def test_colour_is_cut_too():
    notes = Notes()
    InCrop(notes, CROP).step("state", Frame(np.zeros((50, 60, 3), np.uint8), 0, 0.0))
    assert notes.frames[0].pixels.shape == (15, 30, 3)


def test_probe_and_pose_still_speak_of_the_same_places():
    spacing, probe = Spacing(0.5, 0.25), LinearProbe((29.5, 0.0), 30.0, 12.5)
    pose = np.array([[0.0, 1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    whole = frame(spacing=spacing, probe=probe, T_world_image=pose)
    part = CROP.cut(whole)
    in_whole, in_part = (22.0, 31.0), (12.0, 11.0)
    assert part.probe.to_probe_mm(in_part, spacing) == probe.to_probe_mm(in_whole, spacing)
    world = [f.T_world_image @ [*spacing.to_mm(at), 0.0, 1.0] for f, at in ((whole, in_whole), (part, in_part))]
    assert np.allclose(*world)
    assert CROP.cut(frame(T_world_image=pose)).T_world_image is None  # its mm are unknown


def test_a_click_is_moved_into_the_part_or_refused():
    notes = Notes()
    InCrop(notes, CROP).start(Hint(start_px=(12.0, 21.5)))
    assert notes.hints[0].start_px == (2.0, 1.5)
    InCrop(notes, CROP).start(Hint(enters="left", angle_rad=(0.1, 0.2)))
    assert notes.hints[1] == Hint(enters="left", angle_rad=(0.1, 0.2))
    for outside in ((9.0, 25.0), (40.0, 25.0), (20.0, 35.0), (math.nan, 25.0)):
        with pytest.raises(InputError, match=r"`start` .* lies outside `crop` 10,20,30,15"):
            InCrop(notes, CROP).start(Hint(start_px=outside))


def test_a_picture_that_is_too_small_is_named_with_its_size():
    assert CROP.outside((40, 35)) is None
    assert "39x35 px" in CROP.outside((39, 35))
    assert "40x34 px" in CROP.outside((40, 34))
    small = Frame(np.zeros((34, 40), np.uint8), 1, 0.05)
    with pytest.raises(PictureError, match=r"b\.png: crop 10,20,30,15 .* 40x34 px") as e:
        InCrop(Notes(), CROP, ("a.png", "b.png")).step("state", small)
    assert (e.value.index, e.value.time_s) == (1, 0.05)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-3, 5)])
def test_a_part_without_an_area_is_refused(size):
    with pytest.raises(InputError, match="1 px or more"):
        Crop(left_px=0, top_px=0, width_px=size[0], height_px=size[1])
