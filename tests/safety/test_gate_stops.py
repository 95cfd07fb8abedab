"""A stop is latched, whoever asked for it; the operator releases it, and nobody releases the end."""

import math
from dataclasses import replace

import pytest
from gate_inputs import ACTION, GATE, LIMITS, LOST, NOW, STATE, TINY, act, ask, cleared, gate_input, read, refused, tip

from sonosteer.core.errors import InputError
from sonosteer.safety.stop import MAY_RELEASE, Stop, latch

OPERATOR = Stop("operator", "too deep", NOW)
STOPPED = replace(STATE, stop=OPERATOR)
ENDED = replace(STATE, stop=Stop("ended", "there", NOW - 1.0))


def test_the_operator_s_stop_is_latched():
    state, no = GATE.clear(STATE, ACTION, gate_input(stop="too deep"))
    assert refused(no, "stopped").reason == "stopped (operator): too deep"
    assert state.stop == OPERATOR
    later, no = GATE.clear(state, ACTION, gate_input(NOW + TINY))
    refused(no, "stopped")
    assert later.stop == OPERATOR
    refused(ask(None, stop="too deep"), "stopped")


def test_an_empty_reason_stops_too():
    refused(ask(stop=""), "stopped")


@pytest.mark.parametrize("now_s", [math.nan, STATE.time_s - 1.0])
def test_a_stop_is_latched_even_when_the_clock_is_wrong(now_s):
    state, _ = GATE.clear(STATE, ACTION, gate_input(now_s, stop="too deep"))
    assert state.stop == Stop("operator", "too deep", STATE.time_s)


def test_a_control_loop_that_was_silent_for_too_long_is_stopped():
    cleared(ask(state=replace(STATE, time_s=NOW - LIMITS.heartbeat_s)))
    state, no = GATE.clear(replace(STATE, time_s=NOW - LIMITS.heartbeat_s - TINY), ACTION, gate_input())
    assert "no tick for 0.25 s; 0.25 s are allowed" in refused(no, "stopped").reason
    assert state.stop == Stop("heartbeat", "no tick for 0.25 s; 0.25 s are allowed", NOW)


def test_an_action_that_stops_is_cleared_as_a_stop_and_ends_the_procedure():
    state, verdict = GATE.clear(
        STATE, act(stop=True, insertion_speed_mm_s=9.0, probe_velocity_mm_s=(9.0, 9.0, 9.0)), gate_input()
    )
    order = cleared(verdict)
    assert order.command.stop is True
    assert order.command.insertion_speed_mm_s == 0.0
    assert order.command.probe_velocity_mm_s == (0.0, 0.0, 0.0)
    assert (order.cleared_at_s, order.command.expires_at_s) == (NOW, NOW + LIMITS.order_s)
    assert order.frame_index == 10
    assert state.stop == Stop("ended", "the policy says that the procedure is over", NOW)
    assert state.command is None
    refused(GATE.clear(state, ACTION, gate_input())[1], "stopped")


WORST_ACTION = act(
    stop=True, frame_index=math.nan, capture_time_s=math.nan, expires_at_s=-math.inf, insertion_speed_mm_s=None
)
WORST = {
    "robot_state": read(insertion_angle_rad=math.nan, fault="stalled"),
    "estimate": None,
    "spacing": None,
    "faults": ("the disk is full",),
    "stop": "too deep",
}


@pytest.mark.parametrize("now_s", [NOW, math.nan, NOW + 100.0])
@pytest.mark.parametrize("state", [STATE, STOPPED, ENDED])
def test_a_stop_passes_whatever_else_is_wrong(now_s, state):
    after, verdict = GATE.clear(state, WORST_ACTION, gate_input(now_s, **WORST))
    order = cleared(verdict)
    assert order.command.stop is True
    assert order.frame_index is None
    assert math.isfinite(order.cleared_at_s)
    assert (order.command.insertion_speed_mm_s, order.command.insertion_angle_rad, order.command.roll_rad) == (
        0.0,
        0.0,
        0.0,
    )
    assert after.stop.kind == "ended"


def test_a_stop_says_the_angles_that_were_last_known():
    state, _ = GATE.clear(
        STATE, ACTION, gate_input(robot_state=read(time_s=NOW - TINY, insertion_angle_rad=0.5, roll_rad=0.1))
    )
    state, _ = GATE.clear(state, ACTION, gate_input(robot_state=read(insertion_angle_rad=0.51, roll_rad=0.2)))
    order = cleared(
        ask(act(stop=True, insertion_angle_rad=1.0), state=state, robot_state=read(insertion_angle_rad=math.nan))
    )
    assert (order.command.insertion_angle_rad, order.command.roll_rad) == (0.51, 0.2)


def test_the_operator_releases_and_the_needle_starts_from_rest():
    state = GATE.release(STOPPED, "operator", NOW + 60.0)
    assert state.stop is None
    assert state.command is None
    assert state.time_s == NOW + 60.0
    assert state.memory == STOPPED.memory
    late = {"capture_time_s": NOW + 59.9, "expires_at_s": NOW + 60.2}
    now = gate_input(NOW + 60.0, read(time_s=NOW + 60.0), tip(time_s=NOW + 59.9))
    assert cleared(GATE.clear(state, act(**late), now)[1]).command.insertion_speed_mm_s == 0.0


def test_a_missed_heartbeat_is_released_by_the_operator_too():
    stopped = replace(STATE, stop=Stop("heartbeat", "late", NOW))
    assert GATE.release(stopped, "operator", NOW).stop is None


@pytest.mark.parametrize(
    "by", ["policy", "", "Operator", "timer", "ended", "operator2", "operator of the policy", "oper"]
)
def test_nobody_else_releases(by):
    with pytest.raises(InputError, match=f"by the operator, not by {by!r}"):
        GATE.release(STOPPED, by, NOW)


def test_only_the_operator_is_named():
    assert MAY_RELEASE == ("operator",)


def test_nobody_releases_the_end():
    with pytest.raises(InputError, match=r"the procedure is over \(there\)"):
        GATE.release(ENDED, "operator", NOW)


@pytest.mark.parametrize("now_s", [math.nan, math.inf, STATE.time_s - TINY])
def test_a_stop_is_not_released_at_no_time(now_s):
    with pytest.raises(InputError, match="cannot be released at"):
        GATE.release(STOPPED, "operator", now_s)
    assert GATE.release(STOPPED, "operator", STATE.time_s).stop is None


def test_where_nothing_is_stopped_there_is_nothing_to_release():
    assert GATE.release(STATE, "operator", NOW) is STATE
    assert GATE.release(STATE, "policy", math.nan) is STATE


def test_the_first_stop_stays_but_an_end_outdoes_it():
    end, other = Stop("ended", "over", 2.0), Stop("heartbeat", "late", 2.0)
    assert latch(None, None) is None
    assert latch(None, other) is other
    assert latch(OPERATOR, None) is OPERATOR
    assert latch(OPERATOR, other) is OPERATOR
    assert latch(OPERATOR, end) is end
    assert latch(end, Stop("ended", "again", 3.0)) is end
    assert latch(end, OPERATOR) is end


def test_at_the_gate_too_the_first_stop_stays():
    late = replace(STOPPED, time_s=NOW - 9.0)
    assert GATE.clear(late, ACTION, gate_input())[0].stop == OPERATOR
    missed = Stop("heartbeat", "late", NOW)
    assert GATE.clear(replace(STATE, stop=missed), ACTION, gate_input(stop="enough"))[0].stop == missed
    assert GATE.clear(ENDED, act(stop=True), gate_input())[0].stop == ENDED.stop


def test_a_button_that_is_still_pressed_stops_again_after_the_release():
    state = GATE.release(STOPPED, "operator", NOW)
    refused(ask(state=state, stop="too deep"), "stopped")


def test_a_loss_does_not_stop_for_good():
    state, _ = GATE.clear(STATE, ACTION, gate_input(estimate=LOST))
    assert state.stop is None
    cleared(ask(state=state, estimate=tip(frame_index=11)))
