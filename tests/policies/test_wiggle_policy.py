"""When a wiggle is asked for, for how long, and what is made of what it shows."""

import math
from dataclasses import replace

import numpy as np
import pytest
from lane import Lane, task

from sonosteer.core.errors import InputError
from sonosteer.core.types import Lost, Track
from sonosteer.imaging.moving_tip import MovingTip
from sonosteer.policies import wiggle
from sonosteer.policies.wiggle import WigglePolicy


class Shown:
    """Instead of looking at pictures: says a tip so far from where it is asked, or nothing."""

    def __init__(self, off_mm=3.0, sd_mm=0.5):
        self.off_mm, self.sd_mm, self.asked = off_mm, sd_mm, []

    def __call__(self, pictures, times_s, depths_mm, *, near_mm, direction_rad, **more):
        self.asked.append((len(pictures), list(times_s), list(depths_mm), near_mm, direction_rad))
        if self.off_mm is None:
            return None
        c, s = math.cos(direction_rad), math.sin(direction_rad)
        return MovingTip((near_mm[0] + self.off_mm * c, near_mm[1] + self.off_mm * s), self.sd_mm, 50.0)


@pytest.fixture
def shown(monkeypatch):
    found = Shown()
    monkeypatch.setattr(wiggle, "find_moving_tip", found)
    return found


def driven(policy=None, lane=None, *, seconds=6.0, lost_s=1.0, before=lambda lane: None, dt_s=0.05):
    """(time, action, state) of a needle whose tip is lost after a while, with pictures of the last seconds."""
    policy = policy or WigglePolicy()
    lane = lane or Lane(task(along_mm=60.0))
    state, recent, out = policy.start(lane.task), (), []
    while lane.time_s < seconds:
        lane.state = Track.LOST if lane.time_s >= lost_s else Track.TRACKING
        before(lane)
        seen = lane.observe()
        recent = (*(f for f in recent if f.time_s >= lane.time_s - policy.recent_s), *seen.recent)
        state, action = policy.step(state, replace(seen, recent=recent))
        out.append((lane.time_s, action, state))
        lane.move(action, dt_s)
    return out


def asked(rows):
    return [t for t, action, _ in rows if action.wiggle]


def test_a_tip_that_is_seen_is_left_alone(shown):
    rows = driven(lost_s=99.0)
    assert not asked(rows)
    assert not shown.asked


def test_a_held_needle_with_an_unseen_tip_is_wiggled_for_a_while_and_looked_at(shown):
    policy = WigglePolicy(max_tries=1)
    rows = driven(policy)
    times = asked(rows)
    assert times[0] == pytest.approx(1.0 + policy.wait_s, abs=0.2)
    assert times[-1] - times[0] == pytest.approx(policy.wiggle_s, abs=0.1)
    assert all(a.command.insertion_speed_mm_s == 0.0 and not a.command.stop for t, a, _ in rows if a.wiggle)
    ((count, stamps, depths, _, _),) = shown.asked
    assert count == len(depths) == len(stamps) > 8
    assert min(stamps) >= times[0] + wiggle.FROM_S


def test_the_line_is_looked_at_where_the_encoder_has_the_tip(shown):
    lane = Lane(task(along_mm=60.0))
    driven(WigglePolicy(max_tries=1), lane)
    near, direction = shown.asked[0][3:]
    assert near == pytest.approx(lane.tip_mm, abs=1.0)
    assert direction == pytest.approx(lane.angle_rad, abs=1e-6)


def test_what_is_found_is_told_once_in_its_frame(shown):
    lane = Lane(task(along_mm=60.0))
    rows = driven(WigglePolicy(max_tries=1), lane)
    told = [(a, s) for _, a, s in rows if a.found_px is not None]
    ((action, state),) = told
    assert state.found.frame_index == action.frame_index
    assert state.found.tip_px == action.found_px
    tip = np.array(lane.tip_mm) / 0.25
    off = np.array(action.found_px) - tip
    assert np.linalg.norm(off) * 0.25 == pytest.approx(3.0, abs=0.6)
    assert not action.wiggle


@pytest.mark.parametrize("what", ["nothing", "vague", "same"])
def test_a_tip_that_is_not_found_or_known_already_is_not_told(shown, what):
    if what == "nothing":
        shown.off_mm = None
    elif what == "vague":
        shown.sd_mm = 2.0
    else:
        shown.off_mm = 0.5

    def seen_again(lane):
        if what == "same" and lane.time_s > 3.0:
            lane.state, lane.visible = Track.TRACKING, 0.2

    rows = driven(before=seen_again, seconds=5.0)
    assert asked(rows)
    assert all(a.found_px is None for _, a, _ in rows if what != "same")
    if what == "same":
        assert all(a.found_px is None for t, a, _ in rows if t > 3.0)


def test_it_is_tried_twice_with_a_rest_and_anew_once_the_tip_was_seen(shown):
    shown.off_mm = None
    policy = WigglePolicy()
    assert len({round(t) for t in asked(driven(policy, seconds=20.0))}) < 8
    assert len(shown.asked) == 2

    def seen(lane):
        if 9.0 < lane.time_s < 9.5:
            lane.state = Track.TRACKING

    driven(policy, seconds=20.0, before=seen)
    assert len(shown.asked) == 2 + 4


def test_a_tip_that_was_never_seen_and_a_needle_that_is_hardly_in_are_not_wiggled(shown):
    assert not asked(driven(lost_s=0.0))
    assert not asked(driven(lane=Lane(task(along_mm=60.0), depth_mm=2.0), lost_s=0.1))


def test_a_needle_that_moves_is_not_wiggled(shown):
    def pushes(lane):
        lane.depth_mm += 0.4

    assert not asked(driven(before=pushes, seconds=3.0))


def test_a_probe_that_moved_shows_nothing(shown):
    def slides(lane):
        x, y, z = lane.probe_mm
        lane.probe_mm = (x + 0.05, y, z)

    rows = driven(WigglePolicy(max_tries=1), before=slides)
    assert asked(rows)
    assert not shown.asked


def test_a_tip_that_comes_back_ends_it(shown):
    def back(lane):
        if lane.time_s > 2.4:
            lane.state = Track.TRACKING

    rows = driven(before=back)
    assert max(asked(rows)) <= 2.5
    assert any(a.command.insertion_speed_mm_s > 0.0 for t, a, _ in rows if t > 2.5)


def test_what_is_not_known_ends_it(shown):
    policy, lane = WigglePolicy(), Lane(task(along_mm=60.0))
    rows = driven(policy, lane, seconds=2.2)
    assert rows[-1][1].wiggle
    seen = lane.observe()
    broken = replace(seen, robot_state=replace(seen.robot_state, fault="stalled"))
    state, action = policy.step(rows[-1][2], broken)
    assert not action.wiggle
    assert state.asked_s is None
    assert isinstance(seen.estimate, Lost)


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="there is no policy"):
        WigglePolicy("nobody")
    for name, bad in (("wiggle_s", 0.5), ("wait_s", -1.0), ("max_tries", 0), ("within_mm", math.nan)):
        with pytest.raises(InputError, match=name):
            WigglePolicy(**{name: bad})
    assert WigglePolicy("hold").recent_s == WigglePolicy().wiggle_s
    assert WigglePolicy("window").recent_s == WigglePolicy().wiggle_s
