"""What a policy reads from an observation, and how it says what it wants."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane import PLANNED_RAD, Lane, spoil, task

from sonosteer.core.types import RobotState, Track
from sonosteer.policies.geometry import known, target_offset
from sonosteer.policies.orders import LIFETIME_S, Axes, order, stay

LENGTHS = st.floats(-20, 100)


@given(LENGTHS, LENGTHS, st.sampled_from(["left", "right"]))
def test_along_and_across_are_what_the_target_was_made_with(along, across, enters):
    lane = Lane(task(enters=enters, along_mm=along, across_mm=across))
    seen = target_offset(lane.observe(), lane.task)
    assert seen.along_mm == pytest.approx(along, abs=1e-6)
    assert seen.across_mm == pytest.approx(across, abs=1e-6)
    assert seen.distance_mm == pytest.approx(lane.miss_mm, abs=1e-6)
    assert seen.reached(2.0) == (seen.along_mm <= 2.0)


@given(st.floats(-20, 20), st.floats(-5, 5))
def test_a_probe_that_moves_changes_neither_distance_nor_the_place_in_the_tissue(x, z):
    lane = Lane(task(across_mm=3.0))
    before = target_offset(lane.observe(), lane.task)
    lane.probe_mm = (x, 2.0, z)
    after = target_offset(lane.observe(), lane.task)
    assert after.along_mm == pytest.approx(before.along_mm, abs=1e-6)
    assert after.across_mm == pytest.approx(before.across_mm, abs=1e-6)
    assert after.tip_mm == pytest.approx(lane.tip_mm, abs=1e-6)


def test_left_and_right_are_mirrored():
    one, other = (Lane(task(enters=e, across_mm=4.0)) for e in ("left", "right"))
    assert target_offset(one.observe(), one.task).turn_rad == pytest.approx(
        target_offset(other.observe(), other.task).turn_rad
    )
    assert target_offset(one.observe(), one.task).turn_rad > 0  # the target lies on the steeper side


def test_a_steeper_needle_reduces_a_turn_to_the_steeper_side():
    lane = Lane(task(across_mm=4.0))
    before = target_offset(lane.observe(), lane.task).turn_rad
    lane.angle_rad += 0.05
    assert target_offset(lane.observe(), lane.task).turn_rad < before


def test_a_tip_that_is_lost_is_known_to_be_and_not_seen():
    lane = Lane(state=Track.LOST)
    assert known(lane.observe())
    assert target_offset(lane.observe(), lane.task) is None
    assert not known(spoil(lane.observe(), "robot_state.depth_mm"))


def test_a_tip_in_pixels_only_is_not_known():
    lane = Lane()
    o = lane.observe()
    unscaled = dataclasses.replace(o.estimate, covariance_mm2=None, covariance_px2=np.eye(2))
    seen = dataclasses.replace(o, estimate=unscaled)
    assert known(o)
    assert not known(seen)
    assert target_offset(seen, lane.task) is None


def test_without_a_visibility_the_confidence_counts():
    lane = Lane()
    o = lane.observe()
    silent = dataclasses.replace(o, estimate=dataclasses.replace(o.estimate, visibility=None))
    assert target_offset(silent, lane.task).visibility == 0.9
    assert target_offset(o, lane.task).visibility == 0.95
    too_sure = dataclasses.replace(o, estimate=dataclasses.replace(o.estimate, visibility=7.0))
    assert target_offset(too_sure, lane.task).visibility == 1.0


def test_an_order_is_dated_and_a_stop_moves_nothing():
    o = Lane(time_s=3.0).observe()
    action = order(o, Axes(0.7, 0.2), 5.0, (1.0, 2.0, 3.0))
    assert (action.capture_time_s, action.command.expires_at_s) == (3.0, 3.0 + LIFETIME_S)
    assert (action.command.insertion_speed_mm_s, action.command.probe_velocity_mm_s) == (5.0, (1.0, 2.0, 3.0))
    stop = order(o, Axes(0.7, 0.2), 5.0, (1.0, 2.0, 3.0), stop=True)
    assert (stop.command.insertion_speed_mm_s, stop.command.probe_velocity_mm_s, stop.command.stop) == (
        0.0,
        (0.0, 0.0, 0.0),
        True,
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_speed_that_is_no_number_is_rest(bad):
    o = Lane().observe()
    assert order(o, Axes(0.7, 0.2), bad).command.insertion_speed_mm_s == 0.0
    assert order(o, Axes(0.7, 0.2), 5.0, (0.0, bad, 0.0)).command.insertion_speed_mm_s == 0.0


def test_axes_stay_as_ordered_then_as_read_then_as_planned():
    robot_state = RobotState(0.0, 5.0, 0.0, 0.6, 1.2, (0.0, 0.0, 0.0))
    silent = dataclasses.replace(robot_state, insertion_angle_rad=math.nan, roll_rad=math.nan)
    assert stay(Axes(0.5, 0.1), robot_state, task()) == Axes(0.5, 0.1)
    assert stay(None, robot_state, task()) == Axes(0.6, 1.2)
    assert stay(None, silent, task()) == Axes(PLANNED_RAD, 0.0)
