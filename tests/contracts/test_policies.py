"""Laws that every registered policy keeps, on a needle on paper. `vla` is asked with a network that always pushes."""

import copy
import dataclasses
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane import NUMBERS, Lane, run, spoil, task

from sonosteer.core.errors import InputError
from sonosteer.core.types import Lost, RobotState, Track
from sonosteer.inference.policy_network import PolicyReply
from sonosteer.policies.table import POLICIES, make_policy

#: seconds of images without a tip after which nothing is pushed any more; a person has to notice
BLIND_S = {"operator": 0.9, "expert": 0.3}
STOPS = [name for name in POLICIES if name not in ("hold", "vla")]  # vla's network here never says stop
SCENES = list(itertools.product(("in-plane-static", "in-plane-moving"), ("left", "right")))


class Pushes:
    """Instead of vla's network: says "push on" to everything."""

    features_shape = (1, 2, 4)

    def begin(self, words):
        return np.zeros(1, np.float32)

    def act(self, prefix, features, numbers):
        return PolicyReply((0.5, 0.8, 0.5), 0.0)


def build(name):
    return make_policy(name, network=Pushes()) if name == "vla" else make_policy(name)


@pytest.fixture(params=list(POLICIES))
def name(request):
    return request.param


@pytest.fixture
def policy(name):
    return build(name)


def seen(lane):
    """An observation as `vla` wants it, too; others leave the features alone."""
    features = np.zeros(Pushes.features_shape, np.float32)
    features.flags.writeable = False
    return dataclasses.replace(lane.observe(), features=features)


def drive(policy, lane, steps, change=None):
    """(states, observations, actions) of a run that goes on after a stop."""
    state = policy.start(lane.task)
    states, observations, actions = [state], [], []
    for k in range(steps):
        if change is not None:
            change(lane, k)
        observation = seen(lane)
        state, action = policy.step(state, observation)
        states.append(state)
        observations.append(observation)
        actions.append(action)
        lane.move(action)
    return states, observations, actions


def numbers(action):
    return (
        action.capture_time_s, action.command.expires_at_s, action.command.insertion_speed_mm_s,
        action.command.insertion_angle_rad,
        action.command.roll_rad, *action.command.probe_velocity_mm_s,
    )  # fmt: skip


def at_rest(action):
    return action.command.insertion_speed_mm_s == 0.0 and action.command.probe_velocity_mm_s == (0.0, 0.0, 0.0)


def hidden_now_and_then(lane, k):
    lane.visible = 0.5 + 0.45 * math.sin(0.3 * k)
    lane.state = [Track.TRACKING, Track.TRACKING, Track.COASTING, Track.LOST][k // 5 % 4]


def test_the_same_observations_give_the_same_actions(name):
    first, again = (drive(build(name), Lane(noise_mm=0.3), 60, hidden_now_and_then)[2] for _ in range(2))
    assert first == again


def test_a_state_can_be_forked_stored_and_replayed(policy):
    states, observations, actions = drive(policy, Lane(), 40, hidden_now_and_then)
    state = pickle.loads(pickle.dumps(states[20]))
    for observation, action in zip(observations[20:], actions[20:], strict=True):
        state, again = policy.step(state, observation)
        assert again == action


def test_state_and_observation_are_left_alone(policy):
    states, observations, _ = drive(policy, Lane(), 12, hidden_now_and_then)
    for state, observation in zip(states, observations, strict=False):
        kept = copy.deepcopy((state, observation))
        policy.step(state, observation)
        assert repr((state, observation)) == repr(kept)


@pytest.mark.parametrize(("technique", "enters"), SCENES)
def test_an_action_is_finite_dated_by_its_frame_and_expires_soon(policy, technique, enters):
    _, observations, actions = drive(policy, Lane(task(technique, enters)), 80, hidden_now_and_then)
    for observation, action in zip(observations, actions, strict=True):
        assert all(map(math.isfinite, numbers(action)))
        assert (action.frame_index, action.capture_time_s) == (observation.frame_index, observation.capture_time_s)
        assert 0.0 < action.command.expires_at_s - action.capture_time_s <= 0.5  # more the gate refuses


@pytest.mark.parametrize(("technique", "enters"), SCENES)
def test_speeds_and_turns_are_such_as_the_gate_lets_through(name, policy, technique, enters):
    _, observations, actions = drive(policy, Lane(task(technique, enters, across_mm=4.0)), 120, hidden_now_and_then)
    for observation, action in zip(observations, actions, strict=True):
        assert abs(action.command.insertion_speed_mm_s) <= 25.0
        assert all(
            abs(v) <= most for v, most in zip(action.command.probe_velocity_mm_s, (25.0, 25.0, 5.0), strict=True)
        )
        assert abs(action.command.insertion_angle_rad - observation.robot_state.angle_rad) <= 0.15


def test_a_lost_tip_is_not_pushed(name, policy):
    blind_s = BLIND_S.get(name, 0.0)

    def lose(lane, k):
        lane.state = Track.LOST if k >= 15 else Track.TRACKING

    _, observations, actions = drive(policy, Lane(), 60, lose)
    for observation, action in zip(observations, actions, strict=True):
        if observation.capture_time_s > 1.5 + blind_s + 1e-9 or (
            blind_s == 0.0 and isinstance(observation.estimate, Lost)
        ):
            assert action.command.insertion_speed_mm_s <= 0.0
            assert not action.command.stop


def test_a_tip_that_was_never_seen_is_not_pushed(policy):
    _, _, actions = drive(policy, Lane(state=Track.LOST), 30)
    assert all(a.command.insertion_speed_mm_s == 0.0 and not a.command.stop for a in actions)


@pytest.mark.parametrize("where", NUMBERS)
@pytest.mark.parametrize("after", [0, 12])
def test_what_is_no_number_moves_nothing(name, where, after):
    policy = build(name)
    states, observations, _ = drive(policy, Lane(), after + 1)
    _, action = policy.step(states[after], spoil(observations[after], where))
    assert at_rest(action)
    assert all(map(math.isfinite, numbers(action)))


def test_without_a_time_an_action_has_expired(name):
    policy = build(name)
    states, observations, _ = drive(policy, Lane(), 3)
    _, action = policy.step(states[2], spoil(observations[2], "capture_time_s"))
    assert action.command.expired(0.0)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_number_whatsoever_comes_back_as_none(data):
    policy, lane = build(data.draw(st.sampled_from(list(POLICIES)))), Lane()
    state = policy.start(lane.task)
    anything = st.floats(allow_nan=True, allow_infinity=True)
    for _ in range(3):
        o = seen(lane)
        robot_state = RobotState(*(data.draw(anything) for _ in range(5)), tuple(data.draw(anything) for _ in range(3)))
        estimate = dataclasses.replace(
            o.estimate, tip_px=(data.draw(anything), data.draw(anything)), visibility=data.draw(anything)
        )
        spoiled = dataclasses.replace(
            o, robot_state=robot_state, estimate=estimate, target_px=(data.draw(anything), 3.0)
        )
        state, action = policy.step(state, spoiled)
        assert all(map(math.isfinite, numbers(action)))
        lane.time_s += 0.1


def test_a_rig_with_a_fault_is_left_alone(name):
    policy = build(name)
    states, observations, _ = drive(policy, Lane(), 10)
    broken = dataclasses.replace(
        observations[9], robot_state=dataclasses.replace(observations[9].robot_state, fault="stalled")
    )
    assert at_rest(policy.step(states[9], broken)[1])


@pytest.mark.parametrize(("technique", "enters"), SCENES)
@pytest.mark.parametrize("stops", STOPS)
def test_at_the_target_it_stops(stops, technique, enters):
    actions, lane = run(build(stops), Lane(task(technique, enters, across_mm=2.0), noise_mm=0.2))
    assert actions[-1].command.stop
    assert lane.miss_mm < 5.0 + 3.0 * (stops == "operator")  # whose attention lapses


@pytest.mark.parametrize("stops", STOPS)
def test_a_stop_is_final(stops):
    lane = Lane(task(along_mm=1.0))
    actions, _ = run(build(stops), lane, steps=40, until_stop=False)
    first = next(k for k, a in enumerate(actions) if a.command.stop)
    assert all(a.command.stop and at_rest(a) for a in actions[first:])


@pytest.mark.parametrize("stops", STOPS)
def test_a_target_already_passed_is_not_pushed_past(stops):
    actions, lane = run(build(stops), Lane(task(along_mm=-3.0)), steps=40)
    assert actions[-1].command.stop
    assert lane.depth_mm < 10.0 + 6.0


@pytest.mark.parametrize("moving", ["constant", "visibility", "steer", "expert", "operator"])
def test_the_probe_moves_along_only_where_the_technique_says_so(moving):
    for technique, enters in SCENES:
        _, lane = run(build(moving), Lane(task(technique, enters)))
        if technique == "in-plane-static":
            assert lane.probe_mm[0] == 0.0
        else:
            assert lane.side * lane.probe_mm[0] > 5.0


def test_axes_that_are_not_moved_stay_where_they_were(name, policy):
    _, lane = run(policy, Lane(state=Track.LOST, roll_rad=1.1), steps=5)
    assert lane.roll_rad == pytest.approx(1.1)
    if name != "operator":
        assert lane.angle_rad == pytest.approx(task().angle_rad)


def test_a_task_that_is_no_task_is_refused(name):
    with pytest.raises(InputError, match="task"):
        build(name).start(dataclasses.replace(task(), target_px=(math.nan, 1.0)))


def test_an_unknown_policy_or_setting_is_named():
    with pytest.raises(InputError, match="did you mean 'steer'"):
        make_policy("ster")
    with pytest.raises(InputError, match=r"there are: .*speed_mm_s"):
        make_policy("constant", speed=3)
    with pytest.raises(InputError, match="no parts"):
        make_policy("constant", **{"speed_mm_s.x": 3})
    assert (
        make_policy("operator", seed=3, **{"manner.principle.within_mm": 2}).operator_model.principle.within_mm == 2.0
    )
