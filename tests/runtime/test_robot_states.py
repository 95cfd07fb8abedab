"""A frame's robot state lies between what the robot said before and after, or it is refused by name."""

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.types import RobotState
from sonosteer.runtime.robot_states import KEPT_S, RobotStates, between


def state(time_s, depth_mm=0.0, fault=None):
    return RobotState(time_s, depth_mm, 2.0 * depth_mm, 0.5 + time_s, -time_s, (time_s, 0.0, 2.0 * time_s), fault)


def heard(*states):
    out = RobotStates()
    for each in states:
        out.heard(each)
    return out


@given(st.floats(0.0, 0.05), st.floats(-100, 100), st.floats(-100, 100))
def test_a_state_in_between_is_on_the_straight_line(time_s, one, two):
    got = heard(state(0.0, one), state(0.05, two)).at(time_s, 0.0)
    assert got.time_s == pytest.approx(time_s, abs=1e-12)
    assert got.depth_mm == pytest.approx(one + (two - one) * time_s / 0.05, abs=1e-9)
    assert got.insertion_angle_rad == pytest.approx(0.5 + time_s)
    assert got.probe_mm == pytest.approx((time_s, 0.0, 2.0 * time_s))


def test_at_the_times_of_readings_it_is_what_was_read():
    first, last = state(0.0, 3.0), state(0.05, 4.0)
    states = heard(first, last)
    assert states.at(0.0, 0.0) is first
    assert states.at(0.05, 0.0) is last


def test_a_fault_of_either_reading_is_one_in_between():
    for states in ((state(0.0, fault="jammed"), state(0.05)), (state(0.0), state(0.05, fault="jammed"))):
        assert heard(*states).at(0.02, 0.0).fault == "jammed"


def test_a_frame_outside_of_what_the_robot_said_has_no_state():
    assert "has not said anything yet" in RobotStates().at(0.0, 0.0)
    states = heard(state(1.0), state(1.05))
    assert "older than the robot states that are kept" in states.at(0.999, 0.0)
    assert "newer than the newest robot state" in states.at(1.051, 0.0)
    assert isinstance(states.at(math.nan, 0.0), str)


def test_a_robot_that_was_silent_meanwhile_is_not_interpolated():
    assert "had not said anything for 0.50 s" in heard(state(1.0), state(1.5)).at(1.2, 0.0)


def test_what_is_not_newer_or_has_no_time_adds_nothing():
    states = heard(state(1.0, 5.0), state(1.0, 9.0), state(0.5, 9.0), state(math.nan, 9.0), state(1.05, 5.0))
    assert states.at(1.02, 0.0).depth_mm == 5.0


def test_what_is_older_than_is_kept_is_forgotten():
    states = heard(*(state(0.05 * k) for k in range(200)))
    assert isinstance(states.at(9.95 - KEPT_S - 0.1, 0.0), str)
    assert isinstance(states.at(9.95 - KEPT_S + 0.06, 0.0), RobotState)


def test_a_frame_waits_for_the_reading_after_it():
    states = heard(state(1.0))
    threading.Timer(0.05, states.heard, (state(1.04),)).start()
    assert states.at(1.02, 30.0).time_s == pytest.approx(1.02)


def test_halfway_is_halfway():
    assert between(state(0.0, 1.0), state(0.1, 2.0), 0.5).depth_mm == 1.5


def test_one_misread_time_locks_no_later_state_out():
    states = heard(*(state(0.05 * i) for i in range(10)), state(1e6))
    for i in range(10, 20):
        states.heard(state(0.05 * i))
    got = states.at(0.05 * 18, 0.0)
    assert not isinstance(got, str)
    assert got.time_s == pytest.approx(0.9)
    assert states.leaps == 1


def test_states_that_repeat_or_come_here_and_there_never_begin_anew():
    states = heard(state(10.0))
    for time_s in (5.0, 5.0, 5.0, 6.0, 5.5, 6.5, 4.0, 4.5, 3.0, 3.0, 2.0) * 3:
        states.heard(state(time_s))
    assert states.leaps == 0
    assert states.at(10.0, 0.0).time_s == 10.0
