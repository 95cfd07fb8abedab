import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.sim.grabber import grab_frames
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World


@pytest.fixture(scope="module")
def images():
    scene = make_scene("in-plane-linear/validation", 61, speed_mm_s=15.0, end_mm=18.0, angle_deg=40.0, rate_hz=15.9)
    return list(World(scene).frames())


def test_a_grab_is_the_newest_image_there_was(images):
    grabbed = list(grab_frames(images, 20.0))
    times = [f.time_s for f, _ in images]
    assert len(grabbed) > len(images)
    for k, (frame, truth) in enumerate(grabbed):
        newest = images[max(i for i, t in enumerate(times) if t <= k / 20.0 + 1e-9)]
        assert frame.pixels is newest[0].pixels
        assert (frame.index, truth.frame_index) == (k, k)
        assert frame.time_s == truth.time_s == pytest.approx(k / 20.0)
        assert truth.tip_px == newest[1].tip_px


def test_about_one_grab_in_five_shows_an_image_again(images):
    grabbed = list(grab_frames(images, 20.0))
    again = [t.repeated for _, t in grabbed]
    shown = [a[0].pixels is b[0].pixels for a, b in zip(grabbed[1:], grabbed, strict=False)]
    assert again[1:] == shown
    assert np.mean(again) == pytest.approx(1 - 15.9 / 20, abs=0.08)


def test_a_slow_grabber_skips_images(images):
    grabbed = list(grab_frames(images, 5.0))
    assert len({id(f.pixels) for f, _ in grabbed}) == len(grabbed) < len(images)
    assert not any(t.repeated for _, t in grabbed)


def test_nothing_gives_nothing_and_a_rate_of_nothing_is_refused():
    assert list(grab_frames([], 20.0)) == []
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="more than 0"):
            list(grab_frames([], rate))
