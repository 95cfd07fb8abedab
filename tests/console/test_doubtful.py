"""Which frames a person is shown first."""

import numpy as np
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.doubtful import NEAR, STRETCH_FRAMES, doubtful_frames
from sonosteer.core.types import Lost, TipEstimate, Track


def tip(frame, confidence=0.9, state=Track.TRACKING, at=None):
    place = (100.0 + frame, 50.0) if at is None else at
    return TipEstimate(frame, frame / 20, place, 0.5, np.eye(2), confidence, state, (0.0, 0.0))


def track(*estimates):
    return {e.frame_index: e for e in estimates}


def test_a_sure_track_leaves_nothing_to_look_at():
    assert doubtful_frames([track(*map(tip, range(60)))], (), 500) == []


def test_a_method_that_says_no_confidence_is_not_doubted_for_that():
    assert doubtful_frames([track(*(tip(i, confidence=None) for i in range(60)))], (), 500) == []
    coasting = track(*(tip(i, confidence=None, state=Track.COASTING) for i in range(10)))
    assert [f.why for f in doubtful_frames([coasting], (), 500)] == ["coasting"]


def test_a_stretch_gives_its_worst_frame():
    doubt = [tip(i, confidence=0.5 if i != 14 else 0.2) for i in range(10, 20)]
    [found] = doubtful_frames([track(*map(tip, range(10)), *doubt, *map(tip, range(20, 40)))], (), 500)
    assert (found.frame, found.why) == (14, "confidence 0.20")


def test_a_long_stretch_gives_one_every_so_often():
    found = doubtful_frames([track(*(Lost(i, i / 20, "no") for i in range(4 * STRETCH_FRAMES)))], (), 500)
    assert [f.frame for f in found] == [k * STRETCH_FRAMES + STRETCH_FRAMES // 2 for k in range(4)]
    assert {f.why for f in found} == {"lost"}


def test_a_jump_and_a_quarrel_are_found():
    jumps = track(*map(tip, range(20)), *(tip(i, at=(300.0 + i, 50.0)) for i in range(20, 40)))
    [found] = doubtful_frames([jumps], (), 500)
    assert (found.frame, found.why) == (20, "jumps by 201 px")
    other = track(*(tip(i, at=(100.0 + i, 90.0)) for i in range(STRETCH_FRAMES)))
    [apart] = doubtful_frames([track(*map(tip, range(STRETCH_FRAMES))), other], (), 500)
    assert apart.why == "methods 40 px apart"


def test_what_a_person_has_looked_at_is_left_out():
    lost = track(*(Lost(i, i / 20, "no") for i in range(2 * STRETCH_FRAMES)))
    before = [f.frame for f in doubtful_frames([lost], (), 500)]
    after = [f.frame for f in doubtful_frames([lost], (before[0] + NEAR - 1,), 500)]
    assert after == before[1:]
