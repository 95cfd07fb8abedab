"""Another place takes over with evidence only: what stands still beside a needle that moves is not the tip."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Hint, RobotState
from sonosteer.trackers.aided import Aid, side_of, told

AID = Aid()
ANGLE = math.radians(30)
TOWARDS = np.array([math.cos(ANGLE), math.sin(ANGLE)])


def frame(depth_mm, time_s=0.0):
    state = RobotState(time_s, depth_mm, 20.0, ANGLE, 0.0, (0.0, 0.0, 0.0))
    return Frame(np.zeros((8, 8), np.uint8), 0, time_s, Spacing(1.0, 1.0), robot_state=state)


def tip(depth_mm=20.0):
    found = AID.begin((40.0, 30.0), np.eye(2) * 0.25, frame(depth_mm), 1.0)
    assert found is not None
    return found


def listens(place, *, steps, push_mm, unseen_s=1.0):
    """Hear a place out for some steps. place: of the step and the expected tip. Returns when it took over, and it."""
    now, other = tip(), None
    for k in range(1, steps + 1):
        now = AID.predict(now, frame(20.0 + push_mm * k, k / 30).robot_state, 1 / 30)
        other = AID.heard(other, now, tuple(place(k, np.array(now.belief.place_mm))), k / 30)
        seen = {"sightings": AID.near_sightings, "unseen_s": unseen_s, "time_s": k / 30}
        if AID.takes_over(other, now, **seen):
            return k, other
    return None, other


def test_a_place_that_moves_as_the_rig_says_takes_over_and_it_is_said():
    k, other = listens(lambda k, at: at + np.array([5.0, 3.0]), steps=60, push_mm=0.6)
    assert k is not None
    assert k * 0.6 >= AID.pushed_mm
    assert f"after {other.sightings} agreeing sightings" in told(other)


@pytest.mark.parametrize("push_mm", [0.15, 0.6])
def test_the_edge_of_a_shadow_never_takes_over(push_mm):
    assert listens(lambda k, at: np.array([38.0, 29.0]), steps=90, push_mm=push_mm)[0] is None


def test_a_tip_that_is_still_seen_is_not_taken_over():
    assert listens(lambda k, at: at + np.array([5.0, 3.0]), steps=60, push_mm=0.6, unseen_s=0.1)[0] is None


def test_at_rest_a_place_behind_on_the_shaft_waits_and_one_ahead_takes_over_late():
    behind, ahead = (lambda k, at, way=way: at + way * TOWARDS for way in (-6.0, 6.0))
    assert listens(behind, steps=300, push_mm=0.0, unseen_s=9.0)[0] is None
    k, _ = listens(ahead, steps=300, push_mm=0.0, unseen_s=9.0)
    assert k is not None
    assert k / 30 >= AID.rests_s


def test_a_place_that_was_missed_for_long_is_forgotten():
    now, other = tip(), None
    other = AID.heard(other, now, (45.0, 33.0), 0.0)
    for _ in range(AID.forgets):
        other = AID.heard(other, now, None, 0.1)
        assert other is not None
    assert AID.heard(other, now, None, 0.2) is None


def test_silent_encoders_are_given_up():
    now = tip()
    for _ in range(20):
        assert now is not None
        now = AID.predict(now, None, AID.stale_s / 10)
        if now is None:
            return
    pytest.fail("they were not")


def test_without_readings_or_a_side_nothing_is_aided():
    bare = replace(frame(20.0), robot_state=None)
    assert AID.begin((0.0, 0.0), np.eye(2), bare, 1.0) is None
    assert AID.begin((0.0, 0.0), np.eye(2), frame(20.0), None) is None
    assert AID.begin((0.0, 0.0), np.eye(2), frame(math.nan), 1.0) is None


def test_neighbouring_sightings_at_rest_count_for_little():
    once = AID.met(tip(), (41.0, 30.0), np.eye(2) * 0.25)
    again = AID.met(AID.predict(once, frame(20.0, 1 / 30).robot_state, 1 / 30), (41.0, 30.0), np.eye(2) * 0.25)
    first, second = once.belief.place_mm[0] - 40.0, again.belief.place_mm[0] - once.belief.place_mm[0]
    assert 0.0 <= second < 0.3 * first


@pytest.mark.parametrize(("hint", "direction", "side"), [
    (Hint(enters="left"), None, 1.0), (Hint(enters="right"), 0.3, -1.0), (Hint(), 0.3, 1.0), (Hint(), 2.5, -1.0),
    (Hint(angle_rad=(2.4, 2.6)), None, -1.0), (Hint(), None, None),
])  # fmt: skip
def test_the_side_is_the_users_or_the_detectors(hint, direction, side):
    assert side_of(hint, direction) == side
