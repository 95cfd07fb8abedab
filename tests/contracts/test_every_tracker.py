"""Laws that every registered tracker keeps, on the same small clip."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Hint, Lost, TipEstimate, Track
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.trackers.axial import Axial
from sonosteer.trackers.table import TRACKERS, make_tracker

HINT = Hint(angle_rad=(math.radians(35), math.radians(45)), enters="left")


@pytest.fixture(params=list(TRACKERS))
def tracker(request):
    return make_tracker(request.param)


@pytest.fixture(scope="module")
def in_plane(insertion):
    return [f for f, _ in insertion][:25]


@pytest.fixture(scope="module")
def across():
    world = World(make_scene("axial", 4, material="plastisol", start_mm=10.0, end_mm=18.0))
    return [f for f, _ in world.frames()][:25]


@pytest.fixture
def clip(tracker, request):
    return request.getfixturevalue("across" if isinstance(tracker, Axial) else "in_plane")


def run(tracker, clip):
    state, out = tracker.start(HINT), []
    for frame in clip:
        state, estimate = tracker.step(state, frame)
        out.append(estimate)
    return out


def key(e):
    return (e.frame_index, e.state) if isinstance(e, Lost) else (e.frame_index, e.state, e.tip_px, e.angle_rad)


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from arrays_in(each)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from arrays_in(getattr(value, field.name))


def test_the_same_clip_gives_the_same_track(tracker, clip):
    assert [key(e) for e in run(tracker, clip)] == [key(e) for e in run(tracker, clip)]


def test_a_fresh_tracker_gives_the_same_track(tracker, clip):
    other = type(tracker)()
    other.prepare()
    assert [key(e) for e in run(tracker, clip)] == [key(e) for e in run(other, clip)]


def test_a_state_can_be_forked_and_stored(tracker, clip):
    state = tracker.start(HINT)
    for frame in clip[:12]:
        state, _ = tracker.step(state, frame)
    kept = pickle.loads(pickle.dumps(state))
    for frame in clip[12:15]:
        tracker.step(state, frame)
    again, first = kept, state
    for frame in clip[12:20]:
        first, a = tracker.step(first, frame)
        again, b = tracker.step(again, frame)
        assert key(a) == key(b)


def test_arrays_in_a_state_are_read_only_also_when_it_was_stored(tracker, clip):
    state = tracker.start(HINT)
    for frame in clip[:20]:
        state, _ = tracker.step(state, frame)
    for each in (state, pickle.loads(pickle.dumps(state))):
        assert not [a.shape for a in arrays_in(each) if a.flags.writeable]


def test_frames_are_left_alone(tracker, clip):
    before = [f.pixels.copy() for f in clip]
    run(tracker, clip)
    assert all(np.array_equal(a, f.pixels) for a, f in zip(before, clip, strict=True))


def test_estimates_are_finite_and_confident_between_nought_and_one(tracker, clip):
    tips = [e for e in run(tracker, clip) if isinstance(e, TipEstimate)]
    assert tips
    for e in tips:
        assert np.isfinite([*e.tip_px, e.angle_rad, e.sd_along_mm, e.sd_across_mm]).all()
        assert 0 <= e.confidence <= 1
        assert e.sd_along_mm > 0
        assert e.sd_across_mm > 0


def test_a_moved_image_moves_the_track(tracker, clip):
    moved = []
    for f in clip:
        pixels = np.zeros_like(f.pixels)
        pixels[30:] = f.pixels[:-30]
        moved.append(dataclasses.replace(f, pixels=pixels))
    pairs = [
        (a, b)
        for a, b in zip(run(tracker, clip), run(tracker, moved), strict=True)
        if isinstance(a, TipEstimate) and isinstance(b, TipEstimate)
    ]
    assert len(pairs) > 10
    assert np.median([math.dist(a.tip_px, (b.tip_px[0], b.tip_px[1] - 30)) for a, b in pairs]) < 10


def test_a_blank_clip_is_lost_in_every_frame(tracker):
    clip = [Frame(np.zeros((120, 160), np.uint8), i, i / 20, Spacing(0.1, 0.1), velocity_mm_s=5.0) for i in range(8)]
    assert all(e.state is Track.LOST for e in run(tracker, clip))


def test_colour_and_sixteen_bit_frames_are_tracked_alike(tracker, clip):
    def as_(convert, scale):
        return [dataclasses.replace(f, pixels=convert(f.pixels), full_scale=scale) for f in clip]

    grey = run(tracker, clip)
    colour = run(tracker, as_(lambda p: np.repeat(p[..., None], 3, 2), 255.0))
    deep = run(tracker, as_(lambda p: p.astype(np.uint16) * 257, 65535.0))
    for other in (colour, deep):
        for a, b in zip(grey, other, strict=True):
            assert a.state == b.state
            if isinstance(a, TipEstimate):
                assert math.dist(a.tip_px, b.tip_px) < 3
