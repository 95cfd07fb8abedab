"""What is cleared: never more than was wanted, slower where it starts or the tip is hidden, and only by the gate."""

import copy
import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
from gate_inputs import (
    ACTION,
    FAST,
    GATE,
    LIMITS,
    LOST,
    NOW,
    READING,
    STATE,
    act,
    ask,
    cleared,
    gate_input,
    read,
    refused,
    tip,
)

from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.types import Command, Track
from sonosteer.safety.gate import Cleared, GateState
from sonosteer.safety.memory import Memory

REST = replace(STATE, command=None)
HALF = Command(
    expires_at_s=NOW + 0.125,
    insertion_speed_mm_s=4.0,
    insertion_angle_rad=0.5,
    roll_rad=0.0,
    probe_velocity_mm_s=(2.0, 0.0, 0.0),
)


def ending(state, expires_at_s):
    """A state in which what is being carried out expires then."""
    return replace(state, command=replace(state.command, expires_at_s=expires_at_s))


def test_only_the_gate_clears():
    with pytest.raises(TypeError, match="only the safety gate"):
        Cleared(10, NOW, HALF)
    with pytest.raises(TypeError, match="only the safety gate"):
        Cleared(10, NOW, HALF, key=object())
    order = cleared(ask())
    with pytest.raises(TypeError, match="only the safety gate"):
        replace(order, command=replace(order.command, insertion_speed_mm_s=100.0))
    with pytest.raises(FrozenInstanceError):
        order.command.insertion_speed_mm_s = 100.0


def test_what_was_cleared_can_be_copied_written_and_compared():
    order = cleared(ask())
    assert order == cleared(ask()) == copy.deepcopy(order) == pickle.loads(pickle.dumps(order))
    said = to_dict(order)
    assert "key" not in said
    assert json.loads(json.dumps(said, allow_nan=False))["frame_index"] == 10
    assert json.dumps(to_dict(ask(act(insertion_speed_mm_s=math.nan))), allow_nan=False)
    json.dumps(to_dict(GATE.clear(STATE, ACTION, gate_input())[0]), allow_nan=False)
    json.dumps(to_dict(GATE), allow_nan=False)


def test_an_order_within_all_limits_is_cleared_as_it_is():
    wanted = act(insertion_angle_rad=0.5625, roll_rad=0.25, probe_velocity_mm_s=(3.0, -0.0, 1.0))
    order = cleared(ask(wanted))
    assert order == cleared(ask(wanted, faults=()))
    assert (order.frame_index, order.cleared_at_s, order.command.expires_at_s) == (10, NOW, NOW + LIMITS.order_s)
    assert (order.command.insertion_speed_mm_s, order.command.insertion_angle_rad, order.command.roll_rad) == (
        8.0,
        0.5625,
        0.25,
    )
    assert order.command.probe_velocity_mm_s == (3.0, 0.0, 1.0)
    assert order.command.stop is False
    assert order.bounded == ()


def test_nothing_is_cleared_for_longer_than_the_action_lasts():
    assert cleared(ask(act(expires_at_s=NOW + 0.0625))).command.expires_at_s == NOW + 0.0625


def test_from_rest_a_speed_grows_with_the_time_that_passed():
    order = cleared(ask(act(insertion_speed_mm_s=24.0), state=replace(REST, time_s=NOW - 0.0625)))
    assert order.command.insertion_speed_mm_s == 16.0
    assert order.bounded == ("insertion speed 24 -> 16 mm/s: acceleration",)


def test_a_speed_grows_from_the_one_that_is_being_carried_out():
    state = replace(STATE, command=HALF, time_s=NOW - 0.03125)
    assert cleared(ask(act(insertion_speed_mm_s=24.0), state=state)).command.insertion_speed_mm_s == 12.0
    assert cleared(ask(act(insertion_speed_mm_s=12.0), state=state)).bounded == ()


def test_a_slow_needle_gains_as_much_as_a_fast_one():
    slow = replace(STATE, command=replace(HALF, insertion_speed_mm_s=0.5), time_s=NOW - 0.0078125)
    assert cleared(ask(act(insertion_speed_mm_s=8.0), state=slow)).command.insertion_speed_mm_s == 2.5
    back = replace(STATE, command=replace(HALF, insertion_speed_mm_s=-0.5), time_s=NOW - 0.0078125)
    assert cleared(ask(act(insertion_speed_mm_s=-8.0), state=back)).command.insertion_speed_mm_s == -2.5


def test_an_order_that_has_expired_is_not_being_carried_out():
    state = replace(STATE, command=HALF, time_s=NOW - 0.03125)
    assert cleared(ask(act(insertion_speed_mm_s=24.0), state=ending(state, NOW))).command.insertion_speed_mm_s == 12.0
    late = ending(state, NOW - 2.0**-20)
    assert cleared(ask(act(insertion_speed_mm_s=24.0), state=late)).command.insertion_speed_mm_s == 8.0


@pytest.mark.parametrize("wanted", [8.0, 0.5, 0.0])
def test_a_speed_may_fall_at_once(wanted):
    state = replace(STATE, time_s=NOW)
    order = cleared(ask(act(insertion_speed_mm_s=wanted), state=state))
    assert order.command.insertion_speed_mm_s == wanted
    assert order.bounded == ()


def test_a_change_of_direction_starts_from_rest():
    state = replace(STATE, time_s=NOW - 0.03125)
    order = cleared(ask(act(insertion_speed_mm_s=-20.0), state=state))
    assert order.command.insertion_speed_mm_s == -8.0
    back = replace(state, command=replace(FAST, insertion_speed_mm_s=-4.0))
    assert cleared(ask(act(insertion_speed_mm_s=-20.0), state=back)).command.insertion_speed_mm_s == -12.0


def test_the_probe_s_speeds_grow_no_faster_either():
    state = replace(STATE, command=HALF, time_s=NOW - 0.03125)
    order = cleared(ask(act(insertion_speed_mm_s=4.0, probe_velocity_mm_s=(16.0, -12.0, 4.0)), state=state))
    assert order.command.probe_velocity_mm_s == (6.0, -4.0, 4.0)
    assert order.bounded == (
        "probe speed x 16 -> 6 mm/s: acceleration",
        "probe speed y -12 -> -4 mm/s: acceleration",
    )
    rest = cleared(
        ask(act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=(16.0, -12.0, 4.0)), state=replace(state, command=None))
    )
    assert rest.command.probe_velocity_mm_s == (4.0, -4.0, 4.0)
    soon = replace(state, command=None, time_s=NOW - 0.0078125)
    first = cleared(ask(act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=(16.0, 12.0, 4.0)), state=soon))
    assert first.command.probe_velocity_mm_s == (1.0, 1.0, 1.0)


def test_a_tip_that_is_only_predicted_is_pushed_slowly():
    coasting = tip(state=Track.COASTING)
    order = cleared(ask(estimate=coasting))
    assert order.command.insertion_speed_mm_s == LIMITS.coasting_mm_s
    assert order.bounded == ("insertion speed 8 -> 4 mm/s: the tip is only predicted",)
    assert cleared(ask(act(insertion_speed_mm_s=4.0), estimate=coasting)).bounded == ()
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0))
    assert (
        cleared(ask(act(insertion_speed_mm_s=-8.0), estimate=coasting, state=back)).command.insertion_speed_mm_s == -8.0
    )


def test_the_base_rolls_no_faster_than_its_rate():
    at = {"state": replace(STATE, command=replace(FAST, roll_rad=1.0)), "robot_state": read(roll_rad=1.0)}
    order = cleared(ask(act(roll_rad=3.0), **at))
    assert order.command.roll_rad == 1.5
    assert order.bounded == ("base rotation 3 -> 1.5 rad: rate",)
    assert cleared(ask(act(roll_rad=-3.0), **at)).command.roll_rad == 0.5
    assert cleared(ask(act(roll_rad=1.5), **at)).bounded == ()
    assert cleared(ask(act(roll_rad=1.25), **at)).command.roll_rad == 1.25
    assert cleared(ask(act(roll_rad=0.75), **at)).command.roll_rad == 0.75
    rest = cleared(ask(act(insertion_speed_mm_s=0.0, roll_rad=3.0), state=REST, robot_state=read(roll_rad=2.0)))
    assert rest.command.roll_rad == 2.5


def seek(**changes):
    return act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5625, roll_rad=0.25, **changes)


def test_while_the_tip_is_lost_the_needle_keeps_its_angles():
    order = cleared(ask(seek(), estimate=LOST))
    assert (order.command.insertion_angle_rad, order.command.roll_rad) == (0.5, 0.0)
    assert order.bounded == (
        "insertion angle 0.5625 -> 0.5 rad: the tip is lost",
        "base rotation 0.25 -> 0 rad: the tip is lost",
    )


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_kept_angles_are_the_set_points_once_they_are_reached_so_that_noise_moves_nothing(way):
    near, far = LIMITS.still_rad, LIMITS.still_rad + 2.0**-20
    order = cleared(
        ask(seek(), estimate=LOST, robot_state=read(insertion_angle_rad=0.5 + way * near, roll_rad=way * near))
    )
    assert (order.command.insertion_angle_rad, order.command.roll_rad) == (0.5, 0.0)
    order = cleared(
        ask(seek(), estimate=LOST, robot_state=read(insertion_angle_rad=0.5 + way * far, roll_rad=way * far))
    )
    assert (order.command.insertion_angle_rad, order.command.roll_rad) == (0.5 + way * far, way * far)
    order = cleared(
        ask(
            seek(),
            estimate=LOST,
            robot_state=read(insertion_angle_rad=0.5 + way * near, roll_rad=way * near),
            state=REST,
        )
    )
    assert (order.command.insertion_angle_rad, order.command.roll_rad) == (0.5, way * near)
    never = replace(REST, memory=Memory())
    robot_state = read(insertion_angle_rad=0.5 + way * near)
    assert cleared(ask(seek(), estimate=LOST, robot_state=robot_state, state=never)).command.insertion_angle_rad == (
        0.5 + way * near
    )


def test_an_action_may_say_where_a_tip_was_found():
    assert isinstance(ask(act(found_px=(120.0, 80.0))), Cleared)
    for wrong in ((120.0,), (120.0, 80.0, 1.0), (120.0, float("nan"))):
        refused(ask(act(found_px=wrong)), "number")


def test_a_needle_that_is_drawn_back_keeps_its_angle():
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0))
    order = cleared(ask(act(insertion_speed_mm_s=-8.0, insertion_angle_rad=0.5625), state=back))
    assert order.command.insertion_angle_rad == 0.5
    assert order.bounded == ("insertion angle 0.5625 -> 0.5 rad: the needle is drawn back",)


def test_the_state_knows_what_was_cleared_and_nothing_after_a_refusal():
    state, order = GATE.clear(STATE, ACTION, gate_input())
    assert state.time_s == NOW
    assert state.frame == 10
    assert state.command.expires_at_s == order.command.expires_at_s
    assert state.command == order.command == replace(ACTION.command, expires_at_s=NOW + LIMITS.order_s)
    after, no = GATE.clear(state, act(insertion_speed_mm_s=99.0, frame_index=11), gate_input())
    refused(no, "action ahead of the tracker: frame")
    assert after.command is None
    assert after.frame == 10


def test_a_late_reply_to_an_older_frame_than_the_last_one_cleared_is_refused():
    state, _ = GATE.clear(STATE, ACTION, gate_input())
    refused(ask(act(frame_index=9), state=state), "late reply: frame")
    cleared(ask(act(), state=state))


def test_the_same_moments_give_the_same_answers_again():
    def run():
        state, said = GATE.start(NOW), []
        for k in range(40):
            now = NOW + k / 64
            a = act(
                frame_index=k // 2, capture_time_s=now - 0.0625, expires_at_s=now + 0.125, insertion_speed_mm_s=k % 30
            )
            e = tip(frame_index=k // 2, time_s=now - 0.0625) if k % 7 else replace(LOST, frame_index=k // 2, time_s=now)
            state, verdict = GATE.clear(state, a, gate_input(now, replace(READING, time_s=now), e))
            said.append(verdict)
        return state, said

    assert run() == run()


@pytest.mark.parametrize("now_s", [math.nan, math.inf, None])
def test_a_gate_does_not_start_at_no_time(now_s):
    with pytest.raises(InputError, match="cannot start"):
        GATE.start(now_s)


def test_a_gate_starts_at_rest_and_knows_nothing():
    assert GATE.start(NOW) == GateState(NOW, command=None, frame=None, memory=Memory(), stop=None)
    assert cleared(ask(state=GATE.start(NOW - 0.015625))).command.insertion_speed_mm_s == 4.0
