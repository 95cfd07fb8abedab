"""A controller, a hand and a probe as one policy: what they do with what they are told. No simulator here."""

import dataclasses
import math

import numpy as np
import pytest

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Lost, Observation, RobotState, RollCommand, Task, TipEstimate, Track
from sonosteer.policies.steered import LOST, LOST_STOPS_S, REACHED, SWEEP_MM, WAITS_S, Hand, Steered

MM = Spacing(0.1, 0.2)
TASK = Task((130.0, 90.0), "across", 0.8, "left", MM)
HAND = Hand(speeds_mm_s=(4.0,) * 50 + (-2.0,) * 50, step_s=0.01, even_mm_s=6.0, depth_mm=60.0, frame_s=0.05)
AXIS_PX = (100.0, 100.0)  # the target is 3 mm along y and -2 mm along z


class Notes:
    """A controller that notes what it is told, and turns to a given roll."""

    def __init__(self, turn=RollCommand(1.5)):  # noqa: B008
        self.turn, self.told = turn, []

    def prepare(self):
        pass

    def start(self, roll_rad):
        return roll_rad

    def step(self, state, measurement):
        self.told.append(measurement)
        return state, self.turn


def policy(steerer=None, **more):
    return Steered(steerer=steerer or Notes(), hand=HAND, target_mm=(3.0, -2.0), **more)


def tip(index, time_s, track=Track.TRACKING, sd_mm=0.2):
    covariance = None if sd_mm is None else np.diag([sd_mm**2, 0.01])
    return TipEstimate(index, time_s, (110.0, 95.0), 0.0, covariance, 1.0, track, AXIS_PX)


def told(index, depth_mm=20.0, *, estimate=None, probe_mm=None, roll_rad=0.3):
    time_s = 0.05 * index
    probe = (0.0, depth_mm if probe_mm is None else probe_mm, 0.0)
    state = RobotState(time_s, depth_mm, 0.0, 0.8, roll_rad, probe)
    return Observation(index, time_s, tip(index, time_s) if estimate is None else estimate, state, TASK.target_px)


def lost(index):
    return Lost(index, 0.05 * index, "dark")


def go(which, observations):
    """(last state, actions) of a policy."""
    state, actions = which.start(TASK), []
    for each in observations:
        state, action = which.step(state, each)
        actions.append(action)
    return state, actions


def test_the_controller_is_told_the_tip_from_the_axis_in_mm():
    notes = Notes()
    _, (action,) = go(policy(notes), [told(0, 20.0, probe_mm=19.5)])
    (measurement,) = notes.told
    assert measurement.tip_mm == pytest.approx((1.0, -1.0))
    assert (measurement.depth_mm, measurement.roll_rad, measurement.sd_mm) == (19.5, 0.3, 0.2)
    assert action.command.roll_rad == 1.5
    assert action.command.insertion_speed_mm_s == 4.0
    assert action.command.insertion_angle_rad == TASK.angle_rad


def test_a_position_sensor_measures_at_the_tip_however_far_the_probe_is_behind():
    notes = Notes()
    go(policy(notes, image_follows=False, breathing_hz=0.25), [told(0, 20.0, probe_mm=10.0), told(20)])
    assert notes.told[0].depth_mm == 20.0
    assert notes.told[0].breath != notes.told[1].breath


@pytest.mark.parametrize("estimate", [lost(0), tip(0, 0.0, Track.COASTING), tip(0, 0.0, sd_mm=None)])
def test_what_is_not_seen_in_mm_is_no_tip(estimate):
    notes = Notes()
    go(policy(notes), [told(0, estimate=estimate)])
    assert notes.told[0].tip_mm is None


def test_the_hand_follows_its_script_and_then_pushes_evenly():
    _, actions = go(policy(), [told(k) for k in range(22)])
    speeds = [a.command.insertion_speed_mm_s for a in actions]
    assert speeds == [4.0] * 10 + [-2.0] * 10 + [6.0] * 2


def test_the_hand_slows_down_before_the_target_and_stops_at_it():
    depth_mm, speed, state, which = 50.0, 0.0, None, policy()
    state = which.start(TASK)
    for k in range(25, 600):
        state, action = which.step(state, told(k, depth_mm))
        if action.command.stop:
            break
        depth_mm += 0.05 * speed  # the order of the frame before acts in this one
        speed = action.command.insertion_speed_mm_s
    assert state.ended == REACHED
    assert 59.94 < depth_mm < 60.0
    assert which.step(state, told(600, 40.0))[1].command.stop  # for good


def test_a_controller_that_stops_stops_the_hand():
    state, (action,) = go(policy(Notes(RollCommand(0.0, "stop: no safe path", stop=True))), [told(0)])
    assert (state.ended, action.command.stop, action.command.insertion_speed_mm_s) == ("stop: no safe path", True, 0.0)


def test_while_the_tip_is_lost_the_hand_waits_and_the_probe_sweeps_behind_the_tip():
    _, actions = go(policy(), [told(0), *(told(k, estimate=lost(k)) for k in range(1, 60))])
    assert [a.command.insertion_speed_mm_s for a in actions[1:]] == [0.0] * 59
    probe = np.array([a.command.probe_velocity_mm_s[1] for a in actions])
    assert np.abs(probe[1:15]).max() == 0.0
    assert probe.min() == pytest.approx(-4.0 * SWEEP_MM, rel=0.01)


def test_with_a_predicted_tip_the_hand_goes_on_for_a_while():
    seen = [told(0), *(told(k, estimate=tip(k, 0.05 * k, Track.COASTING)) for k in range(1, 30))]
    _, actions = go(policy(), seen)
    pushes = [a.command.insertion_speed_mm_s != 0.0 for a in actions]
    assert pushes == sorted(pushes, reverse=True)
    assert 0.05 * sum(pushes) == pytest.approx(WAITS_S, abs=0.051)


def test_a_tip_that_stays_lost_ends_it():
    state, actions = go(policy(), [told(0), *(told(k, estimate=lost(k)) for k in range(1, 620))])
    assert state.ended == LOST
    assert 0.05 * [a.command.stop for a in actions].index(True) == pytest.approx(LOST_STOPS_S, abs=0.11)


def test_a_step_changes_nothing_that_it_was_given_and_nothing_is_pushed_without_a_number():
    which = policy()
    state, _ = go(which, [told(0)])
    before = dataclasses.replace(state)
    one, two = which.step(state, told(1)), which.step(state, told(1))
    assert (one, state) == (two, before)
    _, action = which.step(state, told(1, math.nan))
    assert action.command.insertion_speed_mm_s == 0.0
