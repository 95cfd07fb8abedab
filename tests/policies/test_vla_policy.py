"""The learnt policy around its network, here a stand-in: what it asks, what it does with what is said."""

import dataclasses
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from lane import Lane

from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Lost
from sonosteer.inference.action_encoding import ACTION_RANGES, INPUT_RANGES
from sonosteer.inference.policy_network import OnnxPolicyNetwork, PolicyReply, policy_folder
from sonosteer.policies.table import make_policy
from sonosteer.policies.vla import VlaPolicy


class Says:
    """Answers with one reply, and keeps what it was asked."""

    features_shape = (5, 3)

    def __init__(self, *places, stop=0.0):
        self.reply, self.asked, self.texts = PolicyReply(places, stop), [], []

    def begin(self, text):
        self.texts.append(text)
        return np.full((2, 2), 7.0, np.float32)

    def act(self, prefix, features, numbers):
        self.asked.append((prefix, features, numbers))
        return self.reply


def told(lane, **changes):
    features = np.ones(Says.features_shape, np.float32)
    features.flags.writeable = False
    return dataclasses.replace(lane.observe(), **{"features": features, **changes})


def once(net, lane=None, **changes):
    lane = lane or Lane()
    policy = VlaPolicy(network=net)
    return policy.step(policy.start(lane.task), told(lane, **changes))


def test_an_answer_becomes_an_action_with_the_frames_time_and_an_expiry():
    lane = Lane(time_s=3.0, frame=90)
    _, action = once(Says(0.75, 0.25, 0.75), lane)
    assert (action.frame_index, action.capture_time_s) == (90, 3.0)
    assert action.command.expires_at_s == pytest.approx(3.35)
    turn = action.command.insertion_angle_rad - lane.observe().robot_state.insertion_angle_rad
    assert math.degrees(turn) == pytest.approx(ACTION_RANGES[0].high / 2)
    assert action.command.insertion_speed_mm_s == pytest.approx(5.0)
    assert action.command.probe_velocity_mm_s == pytest.approx((10.0, 0.0, 0.0))
    assert action.command.roll_rad == pytest.approx(lane.observe().robot_state.roll_rad, abs=0.01)
    assert not action.command.stop


def test_the_probe_goes_with_the_needle_from_either_side():
    from lane import task

    for side, sign in (("left", 1.0), ("right", -1.0)):
        _, action = once(Says(0.5, 0.2, 1.0), Lane(task(enters=side)))
        assert action.command.probe_velocity_mm_s[0] == pytest.approx(sign * 20.0)


def test_the_network_is_asked_for_this_task_and_this_moment():
    net = Says(0.5, 0.2, 0.5)
    lane = Lane()
    once(net, lane)
    assert "You are an ultrasound expert" in net.texts[0]
    assert "in-plane-static" in net.texts[0]
    prefix, features, numbers = net.asked[0]
    assert prefix.shape == (2, 2)
    assert (features == 1).all()
    assert numbers.shape == (len(INPUT_RANGES),)


@pytest.mark.parametrize("places", [(math.nan, 0.5, 0.5), (0.5, math.inf, 0.5), (0.5, 0.5, -math.inf)])
def test_an_answer_that_is_no_number_moves_nothing(places):
    _, action = once(Says(*places))
    assert action.command.insertion_speed_mm_s == 0.0
    assert action.command.probe_velocity_mm_s == (0.0, 0.0, 0.0)
    assert not action.command.stop
    _, action = once(Says(0.5, 0.5, 0.5, stop=math.nan))
    assert action.command.insertion_speed_mm_s == 0.0


def test_answers_outside_their_ranges_are_held_to_them():
    lane = Lane()
    _, action = once(Says(7.0, 7.0, -7.0), lane)
    assert action.command.insertion_angle_rad == pytest.approx(
        lane.observe().robot_state.insertion_angle_rad + math.radians(ACTION_RANGES[0].high)
    )
    assert action.command.insertion_speed_mm_s == ACTION_RANGES[1].high
    assert action.command.probe_velocity_mm_s[0] == ACTION_RANGES[2].low


def test_a_lost_tip_moves_nothing_and_the_network_is_not_asked():
    net, lane = Says(0.5, 0.9, 0.9), Lane()
    lost = Lost(0, 0.0, "not seen")
    state, action = once(net, lane, estimate=lost, features=None)
    assert net.asked == []
    assert (action.command.insertion_speed_mm_s, action.command.probe_velocity_mm_s, action.command.stop) == (
        0.0,
        (0.0, 0.0, 0.0),
        False,
    )
    assert action.command.insertion_angle_rad == lane.observe().robot_state.insertion_angle_rad
    assert not state.stopped


def test_a_stop_is_final():
    policy = VlaPolicy(network=Says(0.5, 0.9, 0.5, stop=0.9))
    lane = Lane()
    state, action = policy.step(policy.start(lane.task), told(lane))
    assert action.command.stop
    assert action.command.insertion_speed_mm_s == 0.0
    calm = VlaPolicy(network=Says(0.5, 0.9, 0.5))
    for _ in range(3):
        state, action = calm.step(state, told(lane))
        assert action.command.stop


def test_the_roll_stays_where_it_was_first_read():
    policy, lane = VlaPolicy(network=Says(0.5, 0.5, 0.5)), Lane()
    state = policy.start(lane.task)
    state, first = policy.step(state, told(lane))
    lane.roll_rad += 1.0
    _, second = policy.step(state, told(lane))
    assert first.command.roll_rad == second.command.roll_rad


def test_a_tracker_that_hands_over_nothing_or_something_else_is_said():
    with pytest.raises(InputError, match="this tracker gives none"):
        once(Says(0.5, 0.5, 0.5), features=None)
    with pytest.raises(InputError, match=r"shape \(5, 3\), but the tracker gives \(4, 3\)"):
        once(Says(0.5, 0.5, 0.5), features=np.zeros((4, 3), np.float32))


def test_a_state_can_be_pickled_and_leaves_its_arrays_read_only():
    state, action = once(Says(0.5, 0.5, 0.5))
    again = pickle.loads(pickle.dumps(state))
    assert again.task == state.task
    assert not again.prefix.flags.writeable
    assert isinstance(action, Action)


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"stop_at": 1.5}, {"lifetime_s": 0.0}, {"stop_at": math.nan}):
        with pytest.raises(InputError):
            VlaPolicy(**wrong)


def test_what_is_wrong_with_a_policy_is_one_line(tmp_path):
    with pytest.raises(InputError, match="there is no policy 'nowhere'"):
        make_policy("vla", model="nowhere").start(Lane().task)
    with pytest.raises(InputError, match="is missing"):
        OnnxPolicyNetwork(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "sonosteer-vla-tracking", "model": {}}))
    with pytest.raises(InputError, match="another model"):
        OnnxPolicyNetwork(tmp_path)
    (tmp_path / "policy").mkdir()
    assert policy_folder(str(tmp_path)) == tmp_path / "policy"


def test_the_policy_runs_without_torch():
    code = "import sys, sonosteer.policies.vla; assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
