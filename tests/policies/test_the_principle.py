"""Fast while the tip is seen, slow or still in doubt, and towards the target: `constant`, `visibility`."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane import PLANNED_RAD, Lane, run, task

from sonosteer.core.errors import InputError
from sonosteer.core.types import Track
from sonosteer.policies.constant import Constant
from sonosteer.policies.geometry import TargetOffset
from sonosteer.policies.principle import Principle
from sonosteer.policies.visibility import Visibility

RULE = Principle()


def tip(along, visible, sure=True):
    return TargetOffset(
        along_mm=along,
        across_mm=0.0,
        tip_mm=(0.0, 0.0),
        visibility=visible,
        tracked=sure,
        angle_rad=PLANNED_RAD,
        depth_mm=10.0,
    )


def speed_at(visible, state=Track.TRACKING, along=50.0):
    lane = Lane(task(along_mm=along), visible=visible, state=state)
    return run(Visibility(), lane, steps=1)[0][0].command.insertion_speed_mm_s


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted), st.floats(0, 100), st.booleans())
def test_a_tip_that_is_seen_better_is_pushed_no_slower(pair, along, sure):
    slow, fast = (RULE.speed_mm_s(tip(along, v, sure), 0.0) for v in pair)
    assert 0.0 <= slow <= fast <= RULE.max_speed_mm_s


@given(st.lists(st.floats(1, 100), min_size=2, max_size=2).map(sorted), st.floats(0, 1))
def test_the_nearer_the_target_the_slower(pair, visible):
    near, far = (RULE.speed_mm_s(tip(along, visible), 0.0) for along in pair)
    assert near <= far


def test_full_view_is_full_speed_and_no_view_is_a_fifth():
    assert speed_at(1.0) == 20.0
    assert speed_at(0.5) == pytest.approx(12.0)
    assert speed_at(0.0) == pytest.approx(4.0)
    assert speed_at(1.0, Track.COASTING) == 4.0


def test_constant_does_not_care_how_well_the_tip_is_seen():
    for visible, state in itertools.product((0.05, 1.0), (Track.TRACKING, Track.COASTING)):
        actions, _ = run(Constant(), Lane(visible=visible, state=state), steps=3)
        assert {a.command.insertion_speed_mm_s for a in actions} == {8.0}


def test_a_predicted_tip_is_pushed_so_far_and_then_waited_for():
    lane = Lane(task(along_mm=80.0))

    def hide(lane):
        lane.state = Track.COASTING if lane.depth_mm > 20.0 else Track.TRACKING

    run(Visibility(), lane, steps=100, change=hide)
    assert 20.0 + RULE.max_blind_mm - 2.0 < lane.depth_mm < 20.0 + RULE.max_blind_mm + 4.0


def test_a_tip_that_comes_back_is_pushed_again():
    lane = Lane(task(along_mm=40.0))

    def hide(lane):
        lane.state = Track.LOST if 1.0 < lane.time_s < 3.0 else Track.TRACKING

    actions, _ = run(Visibility(), lane, change=hide)
    assert actions[-1].command.stop
    assert lane.miss_mm < 1.5


@pytest.mark.parametrize("across", [-6.0, -3.0, 0.0, 3.0, 6.0])
@pytest.mark.parametrize("enters", ["left", "right"])
def test_the_needle_is_turned_to_a_target_aside(across, enters):
    _, lane = run(Visibility(), Lane(task(enters=enters, across_mm=across)))
    assert lane.miss_mm < 1.5
    assert abs(lane.angle_rad - PLANNED_RAD) <= RULE.max_turn_rad + 1e-9


def test_a_target_far_aside_does_not_turn_the_needle_beyond_its_limit():
    _, lane = run(Visibility(), Lane(task(across_mm=40.0)), steps=60)
    assert abs(lane.angle_rad - PLANNED_RAD) <= RULE.max_turn_rad + 1e-9


def test_constant_takes_its_time_and_stops_near_the_target():
    actions, lane = run(Constant(), Lane(task(along_mm=55.0)))
    assert actions[-1].command.stop
    assert lane.time_s == pytest.approx(7.0, abs=0.5)
    assert lane.miss_mm < 2.5


def test_one_look_that_says_there_is_not_believed():
    lane = Lane()

    def jump(lane):
        lane.noise_mm = 60.0 if lane.frame == 5 else 0.0

    actions, _ = run(Visibility(), lane, steps=8, change=jump)
    assert not any(a.command.stop for a in actions)


def test_the_probe_goes_no_farther_than_it_may():
    rule = Principle(probe_fraction=1.0, max_probe_mm=12.0)
    _, lane = run(Visibility(rule), Lane(task("in-plane-moving", along_mm=80.0)))
    assert 11.0 < lane.probe_mm[0] < 14.0


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="max_speed_mm_s"):
        Principle(max_speed_mm_s=60.0)
    with pytest.raises(InputError, match="low_visibility is"):
        Principle(low_visibility=math.nan)
    with pytest.raises(InputError, match="speed_mm_s"):
        Constant(speed_mm_s=0.0)
