"""The tracker is told what the robot said at a frame's time, live and replayed."""

from dataclasses import replace

import pytest
from fake_rig import HINT, TASK, Fake, FakeTracker, push

from sonosteer.core.types import Capture
from sonosteer.runtime.branches import TrackingBranch


class Notes:
    """Notes what its frames bring."""

    def __init__(self):
        self.told, self.inner = [], FakeTracker()

    def prepare(self):
        pass

    def start(self, hint):
        return self.inner.start(hint)

    def step(self, state, frame):
        self.told.append(frame.robot_state)
        return self.inner.step(state, frame)


@pytest.mark.parametrize("technique", ["in-plane-static", "in-plane-moving", "across"])
def test_a_frame_brings_the_robot_state_of_its_time_unless_it_stands_across(technique):
    fake, notes = Fake(push), Notes()
    capture = fake.rig.capture(0.0)
    branch = TrackingBranch.open(notes, replace(TASK, technique=technique), HINT)
    branch.see(Capture(capture.frame, capture.robot_state, 0.0))
    assert notes.told == [None if technique == "across" else capture.robot_state]
