"""Every registered tracker keeps the laws of `sonosteer.testing`, on one small clip."""

import dataclasses

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.plugins import plug_in
from sonosteer.core.types import Frame, Hint, Lost, TipEstimate
from sonosteer.testing import check_tracker, simulated_clip
from sonosteer.testing.trackers import HINT, first_tip_px
from sonosteer.trackers.table import TRACKERS, make_tracker, needs_click, needs_scale


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_keeps_the_laws(name):
    hint = dataclasses.replace(HINT, start_px=first_tip_px()) if needs_click(make_tracker(name)) else HINT
    check_tracker(name, clip=simulated_clip("axial" if name == "axial" else "in-plane"), hint=hint)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_needs_a_click_says_so(name):
    tracker = make_tracker(name)
    if needs_click(tracker):
        with pytest.raises(InputError, match=f"method {name} needs a click: give `start`"):
            tracker.start(HINT)
    else:
        tracker.start(HINT)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_says_whether_it_needs_a_scale(name):
    tracker = make_tracker(name)
    state = tracker.start(Hint((0.6, 0.7), "left", (60.0, 60.0)))
    frame = Frame(np.full((128, 128), 40, np.uint8), 0, 0.0, velocity_mm_s=5.0)
    if needs_scale(tracker):
        with pytest.raises(InputError, match="the scale is unknown"):
            tracker.step(state, frame)
    else:
        assert isinstance(tracker.step(state, frame)[1], TipEstimate | Lost)


def test_a_tracker_from_outside_may_say_so_too():
    class Quiet:
        def start(self, hint):
            return None

        def step(self, state, frame):
            return state, Lost(frame.index, frame.time_s, "nothing")

    class Metric(Quiet):
        needs_scale = True

    assert [needs_scale(plug_in(made, "mine", (Lost,))) for made in (Quiet(), Metric())] == [False, True]
