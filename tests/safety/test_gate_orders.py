"""What was ordered bounds where the needle is and what encoders may say. The operator waits, or drives by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gate_inputs import (
    ACTION,
    FAST,
    GATE,
    LIMITS,
    LOST,
    NOW,
    READING,
    SPACING,
    STATE,
    TINY,
    TIP,
    act,
    ask,
    cleared,
    gate_input,
    read,
    refused,
    tip,
)

from sonosteer.core.types import Command, Track
from sonosteer.safety.gate import Gate, Refused
from sonosteer.safety.memory import Memory, Pose, SeenTip, note, ordered, seen_depth_mm, sees_tip
from sonosteer.safety.orders import (
    AXES,
    NO_DRIFTS,
    TURNS,
    Drift,
    Order,
    Turned,
    angles_rad,
    contradiction,
    drifted,
    measured_mm_s,
    taken_back,
    turned_to,
    way_mm,
)
from sonosteer.safety.orders import given as with_order
from sonosteer.safety.regions import Circle, Polygon
from sonosteer.safety.rules import Reach
from sonosteer.safety.stop import Stop

QUICK = replace(LIMITS, ahead_s=0.0, standstill_s=0.0)


def told(speed=8.0, probe=(0.0, 0.0, 0.0), angle=0.5):
    return Command(expires_at_s=None, insertion_speed_mm_s=speed, insertion_angle_rad=angle, probe_velocity_mm_s=probe)


def order(since_s, until_s, speed=8.0, probe=(0.0, 0.0, 0.0), angle=0.5):
    return Order(since_s, until_s, told(speed, probe, angle))


# -- what was ordered ------------------------------------------------------------------------------------------


def test_the_way_that_was_ordered_is_speed_times_time_each_way():
    orders = (order(1.0, 1.5, 8.0), order(1.5, 2.0, -4.0, (1.0, -2.0, 0.5)))
    assert way_mm(orders, 0, 0.0) == (4.0, 2.0)
    assert way_mm(orders, 0, 1.25) == (2.0, 2.0)
    assert way_mm(orders, 0, 1.75) == (0.0, 1.0)
    assert way_mm(orders, 0, 3.0) == (0.0, 0.0)
    assert way_mm(orders, 1, 0.0) == (0.5, 0.0)
    assert way_mm(orders, 2, 0.0) == (0.0, 1.0)
    assert way_mm(orders, 3, 0.0) == (0.25, 0.0)


def test_an_order_ends_when_it_is_replaced_or_held_and_is_forgotten_in_time():
    orders = (order(1.0, 1.5), order(1.5, 3.0))
    assert taken_back(orders, 2.0, 0.0) == (order(1.0, 1.5), order(1.5, 2.0))
    assert taken_back(orders, 2.0, 1.5) == (order(1.0, 1.5), order(1.5, 2.0))
    assert taken_back(orders, 2.0, 1.5 + TINY) == (order(1.5, 2.0),)


def test_an_order_that_goes_on_as_the_last_one_is_one_order():
    orders = with_order((order(1.0, 2.0),), replace(told(), expires_at_s=9.0), 2.0, 3.0)
    assert orders == (order(1.0, 3.0),)
    assert len(with_order(orders, told(9.0), 3.0, 4.0)) == 2
    assert len(with_order(orders, told(), 3.5, 4.0)) == 2
    assert with_order((), told(), 3.5, 4.0) == (order(3.5, 4.0),)
    many = (order(0.0, 0.5, 9.0), order(0.5, 1.0, 3.0), order(1.0, 2.0))
    assert with_order(many, told(), 2.0, 3.0) == (*many[:2], order(1.0, 3.0))
    assert with_order(many, told(9.0), 0.5, 3.0) == (*many, order(0.5, 3.0, 9.0))
    assert with_order(many, told(9.0), 2.0, 3.0) == (*many, order(2.0, 3.0, 9.0))


def test_the_angles_that_were_ordered_since_some_time():
    orders = (order(1.0, 2.0, angle=0.25), order(2.0, 3.0, angle=0.75))
    assert list(angles_rad(orders, 2.0)) == [0.25, 0.75]
    assert list(angles_rad(orders, 2.0 + TINY)) == [0.75]


# -- encoders against orders -----------------------------------------------------------------------------------


def after(orders, before, now, limits=QUICK, drifts=NO_DRIFTS):
    return drifted(drifts, orders, limits, before, now)


def at(time_s, depth=40.0, probe=(0.0, 0.0, 0.0)):
    return read(time_s=time_s, depth_mm=depth, probe_mm=probe)


@pytest.mark.parametrize("axis", range(4))
def test_an_axis_that_does_as_it_was_told_does_not_drift(axis):
    speed = 8.0 if axis == 0 else 0.0
    probe = tuple(8.0 if k == axis - 1 else 0.0 for k in range(3))
    moved = (4.0, (0.0, 0.0, 0.0)) if axis == 0 else (0.0, tuple(p / 2 for p in probe))
    orders = (order(1.0, 2.0, speed, probe),)
    assert after(orders, at(1.0), at(1.5, 40.0 + moved[0], moved[1])) == NO_DRIFTS
    stuck = after(orders, at(1.0), at(1.5))
    assert stuck[axis] == Drift(0.0, 3.5)
    far = after(orders, at(1.0), at(1.5, 40.0 + 3 * moved[0], tuple(3 * m for m in moved[1])))
    assert far[axis] == Drift(7.5, 0.0)
    assert all(d == Drift() for k, d in enumerate(stuck) if k != axis)


def test_going_back_is_the_same_the_other_way():
    orders = (order(1.0, 2.0, -8.0),)
    assert after(orders, at(1.0), at(1.5, 36.0))[0] == Drift()
    assert after(orders, at(1.0), at(1.5))[0] == Drift(3.5, 0.0)
    assert after(orders, at(1.0), at(1.5, 28.0))[0] == Drift(0.0, 7.5)


def test_a_drift_adds_up_and_an_error_the_other_way_does_not_hide_it():
    orders = (order(0.0, 9.0, 0.0),)
    drifts = after(orders, at(1.0), at(1.5, 41.0))
    assert drifts[0] == Drift(1.0, 0.0)
    drifts = after(orders, at(1.5, 41.0), at(2.0, 42.0), drifts=drifts)
    assert drifts[0] == Drift(2.0, 0.0)
    drifts = after(orders, at(2.0, 42.0), at(2.5, 38.5), drifts=drifts)
    assert drifts[0] == Drift(0.0, 3.5)
    drifts = after(orders, at(2.5, 38.5), at(3.0, 38.0), drifts=drifts)
    assert drifts[0] == Drift(0.0, 4.0)


@pytest.mark.parametrize("count", range(1, 40))
def test_orders_that_follow_one_another_leave_no_gap_however_times_are_rounded(count):
    orders = tuple(order(0.7 * k / count, 0.7 * (k + 1) / count) for k in range(count))
    assert after(orders, at(0.0), at(0.7))[0].less == pytest.approx(0.7 * 7.0)


def test_where_nothing_was_ordered_for_a_while_an_axis_may_stand():
    assert after((order(1.0, 1.25),), at(1.0), at(1.5))[0] == Drift()
    assert after((order(1.0, 1.25, -8.0),), at(1.0), at(1.5))[0] == Drift()
    assert after((order(1.25, 1.5),), at(1.0), at(1.5))[0] == Drift()
    assert after((), at(1.0), at(1.5))[0] == Drift()
    assert after((), at(1.0), at(1.5, 41.0))[0] == Drift(1.0, 0.0)
    assert after((order(0.0, 1.0),), at(1.0), at(1.5, 41.0))[0] == Drift(1.0, 0.0)
    assert after((order(0.0, 1.0 + TINY),), at(1.0), at(1.5, 41.0))[0] == Drift()
    assert after((order(1.5, 2.0),), at(1.0), at(1.5, 41.0))[0] == Drift(1.0, 0.0)
    assert after((order(1.5 - TINY, 2.0),), at(1.0), at(1.5, 41.0))[0] == Drift()


def test_between_two_speeds_any_of_them_will_do():
    orders = (order(1.0, 1.25, 2.0), order(1.25, 1.5, 8.0))
    for moved in (1.0, 2.0, 4.0):
        assert after(orders, at(1.0), at(1.5, 40.0 + moved))[0] == Drift()
    assert after(orders, at(1.0), at(1.5, 40.0 + 0.5))[0].less == 0.375
    assert after(orders, at(1.0), at(1.5, 40.0 + 5.0))[0].more == 0.5


def test_orders_and_their_end_may_act_late():
    late = replace(LIMITS, standstill_s=0.25, ahead_s=0.25)
    gone = (order(0.0, 0.5 + TINY, 8.0),)
    assert after(gone, at(1.0), at(1.5, 44.0), late)[0] == Drift()
    assert after(gone, at(1.0), at(1.5, 44.0), replace(late, ahead_s=0.125))[0].more == 4.0
    assert after(gone, at(1.0), at(1.5, 44.0), replace(late, standstill_s=0.125))[0].more == 4.0


def test_an_encoder_may_differ_from_the_orders_by_so_much_and_no_more():
    for k, axis in enumerate(AXES):
        for drift, how in ((Drift(2.0, 0.0), "further up"), (Drift(0.0, 2.0), "less far up")):
            drifts = tuple(drift if i == k else Drift() for i in range(4))
            assert contradiction(drifts, (), LIMITS) is None
            more = tuple(Drift(d.more + TINY * (d.more > 0), d.less + TINY * (d.less > 0)) for d in drifts)
            assert contradiction(more, (), LIMITS) == (
                f"the encoder of {axis} went 2 mm {how} than was ordered; 2 mm are allowed"
            )
    assert contradiction((Drift(math.nan, 0.0), *NO_DRIFTS[1:]), (), LIMITS) is not None


def turned(rad, roll=0.0, time_s=NOW):
    return read(time_s=time_s, insertion_angle_rad=0.5 + rad, roll_rad=roll)


def turning(since_s, until_s, rad, roll=0.0):
    return Order(since_s, until_s, replace(told(angle=0.5 + rad), roll_rad=roll))


def angles(low, high=None, k=0):
    """Where the k-th axis can be, above 0.5 rad for the needle's angle. The other is at its place."""
    here = Turned(low, low if high is None else high)
    return (
        (replace(here, low_rad=0.5 + here.low_rad, high_rad=0.5 + here.high_rad), Turned(0.0, 0.0))
        if k == 0
        else (
            Turned(0.5, 0.5),
            here,
        )
    )


def moved(turns, by, orders, k=0, lasts_s=0.5, way=1.0):
    """Where the k-th axis can be after a reading: (least, largest, more, less), the same for both ways."""
    then, now = turned(0.0, time_s=1.0), turned(by * (k == 0), by * (k == 1), time_s=1.0 + lasts_s)
    new = turned_to(turns, orders, QUICK, then, now)[k]
    low, high = new.low_rad - 0.5 * (k == 0), new.high_rad - 0.5 * (k == 0)
    if way > 0:
        return low, high, new.drift.more, new.drift.less
    return -high, -low, new.drift.less, new.drift.more


STILL = LIMITS.still_rad


@pytest.mark.parametrize("k", range(2))
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_an_axis_goes_to_where_it_is_told_to_and_no_further(k, way):
    """Told in half a second to turn by 0.75 rad, of which it must go `slowest`."""
    orders, slowest = (turning(1.0, 1.5, 0.75 * way, 0.75 * way),), (0.125, 0.5)[k]

    def after_turning(by, told_so=orders):
        return moved(angles(0.0, k=k), by * way, told_so, k, way=way)

    assert after_turning(0.75) == (0.75 - STILL, 0.75, 0.0, 0.0)
    assert after_turning(0.75 + STILL + TINY) == (0.75, 0.75, STILL + TINY, 0.0)
    assert after_turning(0.625) == (0.625 - STILL, 0.625 + STILL, 0.0, 0.0)
    assert after_turning(slowest) == (slowest, slowest + STILL, 0.0, 0.0)
    assert after_turning(0.0) == (slowest, slowest, 0.0, slowest)
    assert after_turning(-0.125) == (slowest, slowest, 0.0, slowest + 0.125)
    assert after_turning(0.0, ()) == (0.0, 0.0, 0.0, 0.0)
    assert after_turning(0.125, ()) == (0.0, 0.0, 0.125, 0.0)
    assert after_turning(-0.125, ()) == (0.0, 0.0, 0.0, 0.125)


def test_an_axis_may_be_at_any_place_that_it_was_told():
    both = (turning(0.5, 1.25, -0.25), turning(1.25, 1.5, 0.25))
    for by in (-0.25, -0.125, 0.0, 0.25):
        assert moved(angles(0.0), by, both)[2:] == (0.0, 0.0)
    assert moved(angles(0.0), 0.5, both)[2:] == (0.25, 0.0)
    assert moved(angles(0.0), -0.5, both)[2:] == (0.0, 0.25)
    assert moved(angles(-0.125, 0.125), 0.0, ()) == (-STILL, STILL, 0.0, 0.0)
    assert moved(angles(-0.125, 0.125), 0.125, ()) == (0.125 - STILL, 0.125, 0.0, 0.0)


def test_an_axis_must_turn_only_where_it_is_told_to_all_the_time_and_but_for_noise():
    for way in (1.0, -1.0):

        def least(rad, since_s=1.0, way=way):
            return moved(angles(0.0), 0.0, (turning(since_s, 1.5, way * rad),), way=way)[0]

        assert least(0.5) == 0.125
        assert least(0.125 + STILL) == 0.125
        assert least(0.125) == 0.125 - STILL
        assert least(STILL) == 0.0
        assert least(0.5, since_s=1.0 + TINY) == 0.0


@pytest.mark.parametrize("k", range(2))
def test_an_axis_that_turns_may_differ_from_the_orders_by_so_much_and_no_more(k):
    most = (0.0625, 0.25)[k]

    def off(drift):
        return tuple(Turned(0.0, 0.0, drift if i == k else Drift()) for i in range(2))

    for drift, how in ((Drift(most, 0.0), "further up"), (Drift(0.0, most), "less far up")):
        assert contradiction(NO_DRIFTS, off(drift), LIMITS) is None
        drift = Drift(drift.more + TINY * (drift.more > 0), drift.less + TINY * (drift.less > 0))
        said = contradiction(NO_DRIFTS, off(drift), LIMITS)
        assert said == f"the encoder of {TURNS[k]} went {most:.3g} rad {how} than was ordered; {most:g} rad are allowed"


def test_angles_are_believed_from_the_first_reading_on_and_anew_once_the_operator_releases():
    assert turned_to((), (), QUICK, turned(9.0), turned(0.25, 2.0)) == (Turned(0.75, 0.75), Turned(2.0, 2.0))
    state, _ = GATE.clear(STATE, None, gate_input(estimate=None))
    assert state.memory.turns == (Turned(0.5, 0.5), Turned(0.0, 0.0))
    later = NOW + 0.125
    jumped = gate_input(later, read(time_s=later, insertion_angle_rad=0.5625 + TINY))
    stopped, verdict = GATE.clear(state, ACTION, jumped)
    assert "stopped (encoders): the encoder of insertion angle" in refused(verdict, "stopped").reason
    assert GATE.release(stopped, "operator", later).memory.turns == ()
    within = gate_input(later, read(time_s=later, insertion_angle_rad=0.5625))
    cleared(GATE.clear(state, ACTION, within)[1])


def test_an_encoder_that_jumps_does_not_take_the_set_point_along():
    """The jump is within what may be an error. The set-point goes on at its rate."""
    gate = Gate(replace(LIMITS, sideways_mm_s=16.0, growth_s=0.0625))  # 0.5 rad/s at 32 mm
    for jump in (0.0625, -0.0625):
        state = replace(STATE, command=replace(FAST, roll_rad=0.0))
        wanted = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5, roll_rad=0.0)
        got = cleared(
            ask(wanted, state=state, gate=gate, robot_state=read(depth_mm=32.0, insertion_angle_rad=0.5 + jump))
        )
        assert abs(got.command.insertion_angle_rad - 0.5) <= 0.5 * 0.0625
    jumped = replace(STATE, command=FAST)
    got = cleared(ask(act(roll_rad=0.0), state=jumped, robot_state=read(roll_rad=2.0)))
    assert got.command.roll_rad == 4.0 * 0.125


def test_speeds_are_measured_over_a_while():
    states = tuple(
        read(time_s=t, insertion_speed_mm_s=t, probe_mm=(8.0 * t, -t, 0.5)) for t in (1.0, 1.5, 2.0, 2.25, 2.5)
    )
    moved = (*states, read(time_s=3.0, insertion_speed_mm_s=7.0, probe_mm=(24.0, -2.5, 1.0)))
    assert measured_mm_s(moved, 0.5) == (7.0, 8.0, 0.0, 1.0)
    assert measured_mm_s(moved, 1.0) == (7.0, 8.0, -0.5, 0.5)
    assert measured_mm_s(moved, 0.5 - TINY) == measured_mm_s(moved, 0.5)
    assert measured_mm_s(moved, 0.5 + TINY) == measured_mm_s(moved, 0.75)
    assert measured_mm_s(states[:2], 9.0) == (1.5, 8.0, -1.0, 0.0)
    assert measured_mm_s(states[:1], 9.0) == (1.0, 0.0, 0.0, 0.0)
    rounded = tuple(read(time_s=t, probe_mm=(x, 0.0, 0.0)) for t, x in ((0.1, 5.0), (0.2, 0.0), (0.3, 0.0)))
    assert rounded[2].time_s - 0.1 < rounded[1].time_s
    assert measured_mm_s(rounded, 0.1) == (0.0, 0.0, 0.0, 0.0)


def test_a_speed_grows_little_on_orders_that_nobody_hears():
    """A needle that stands is taken to move at 16 mm/s at most, the probe at 8: so much grows in 0.0625 s."""
    limits = replace(LIMITS, growth_s=0.015625)
    wanted = act(insertion_speed_mm_s=24.0, probe_velocity_mm_s=(16.0, -12.0, 0.0))
    state = replace(STATE, command=replace(FAST, probe_velocity_mm_s=(16.0, -12.0, 4.0)))

    def got(speed, probe=(0.0, 0.0, 0.0), earlier=()):
        then = read(time_s=NOW - 0.0625)
        now = read(insertion_speed_mm_s=speed, probe_mm=tuple(0.0625 * v for v in probe))
        moving = replace(state, memory=replace(state.memory, robot_states=(*earlier, then)))
        command = cleared(ask(wanted, state=moving, gate=Gate(limits), robot_state=now)).command
        return command.insertion_speed_mm_s, command.probe_velocity_mm_s[:2]

    assert got(0.0) == (20.0, (10.0, -10.0))
    assert got(-9.0) == (20.0, (10.0, -10.0))
    assert got(2.0, (2.0, 2.0, 0.0)) == (22.0, (12.0, -10.0))
    assert got(24.0, (16.0, -12.0, 0.0)) == (24.0, (16.0, -12.0))
    moved_before = read(time_s=NOW - 0.125, probe_mm=(-1.0, 1.0, 0.0))  # longer ago than an order takes to act
    assert got(0.0, earlier=(moved_before,)) == got(0.0)


def test_where_an_axis_can_be_follows_from_the_last_reading_not_from_an_old_one():
    """The needle is told to turn and stands: how far it must have gone by now is that of one reading more."""
    last = memory = Memory()
    for k in range(3):
        last = memory = replace(memory, orders=(turning(NOW - 1.0, NOW + 1.0, 1.0),))
        memory = note(memory, QUICK, gate_input(NOW + k / 16, read(time_s=NOW + k / 16), None), NOW, shows_depth=True)
    then, now = memory.robot_states[-2:]
    assert memory.turns == turned_to(last.turns, memory.orders, QUICK, then, now)
    assert memory.turns != turned_to(last.turns, memory.orders, QUICK, memory.robot_states[0], now)


def reads(depth, state=STATE, now_s=NOW):
    """The next state and verdict once the encoders have said 40 mm a moment before, and now this."""
    memory = replace(state.memory, robot_states=(read(time_s=now_s - 0.125),))
    return GATE.clear(replace(state, memory=memory), ACTION, gate_input(now_s, robot_state=read(depth_mm=depth)))


def test_encoders_that_contradict_the_orders_are_a_latched_stop_until_the_operator_releases_it():
    cleared(reads(42.0)[1])
    state, verdict = reads(42.0 + TINY)
    assert "stopped (encoders): the encoder of depth went 2 mm further up" in refused(verdict, "stopped").reason
    assert state.stop == Stop("encoders", verdict.reason.split(": ", 1)[1], NOW)
    anchored = replace(state, memory=replace(state.memory, anchor=known(40.0)))
    released = GATE.release(anchored, "operator", NOW)
    assert (released.stop, released.memory.drifts, released.memory.anchor) == (None, NO_DRIFTS, None)
    other = GATE.release(replace(anchored, stop=Stop("operator", "", NOW)), "operator", NOW)
    assert other.memory == anchored.memory
    pressed = reads(42.0 + TINY, replace(STATE, stop=Stop("operator", "first", NOW)))[0]
    assert pressed.stop.reason == "first"


def test_a_reading_is_compared_with_the_one_before_it():
    older, last = read(time_s=NOW - 0.25, depth_mm=30.0), read(time_s=NOW - 0.125, depth_mm=40.0)
    state = replace(STATE, memory=replace(STATE.memory, robot_states=(older, last)))
    assert GATE.clear(state, None, gate_input(estimate=None))[0].memory.drifts == NO_DRIFTS


def test_what_was_cleared_is_remembered_as_ordered_and_what_was_refused_is_not():
    state, verdict = GATE.clear(STATE, act(insertion_angle_rad=0.5625), gate_input())
    command = replace(cleared(verdict).command, expires_at_s=None)
    assert state.memory.orders == (Order(NOW, NOW + LIMITS.order_s, command),)
    assert state.memory.angle_rad == 0.5625
    after_it, _ = GATE.clear(state, act(frame_index=99), gate_input(NOW + 0.0625, read(time_s=NOW + 0.0625)))
    assert after_it.memory.orders == (Order(NOW, NOW + 0.0625, command),)
    assert after_it.memory.angle_rad == 0.5625


@pytest.mark.parametrize("faults", [(), ("the disk is full",)])
def test_memory_is_kept_on_a_tick_with_faults_too(faults):
    state, _ = GATE.clear(STATE, ACTION, gate_input(faults=faults, spacing=SPACING))
    assert state.memory.robot_states == (READING,)
    assert state.memory.newest == 10
    assert state.memory.seen[0].frame_index == 10
    assert state.memory.deepest_mm == 40.0


def test_orders_are_remembered_for_as_long_as_anything_may_be_old():
    keep_s = 0.375 + 0.0625 + 0.03125
    for until_s, kept in ((NOW - keep_s, 1), (NOW - keep_s - TINY, 0)):
        memory = replace(STATE.memory, orders=(order(NOW - 9.0, until_s),))
        state, _ = GATE.clear(replace(STATE, memory=memory), act(frame_index=99), gate_input())
        assert len(state.memory.orders) == kept
    slow = Gate(replace(LIMITS, robot_state_age_s=0.5))
    memory = replace(STATE.memory, orders=(order(NOW - 9.0, NOW - keep_s - 0.125),))
    assert slow.clear(replace(STATE, memory=memory), act(frame_index=99), gate_input())[0].memory.orders


# -- where the needle will be ----------------------------------------------------------------------------------


def known(depth_mm, x_mm=20.0, *, sd_mm=0.0, tracked=True, angle_rad=0.0, frame_index=10, y_mm=20.0):
    pose = Pose(depth_mm, 0.5, (0.0, 0.0))
    P = (sd_mm**2, 0.0, sd_mm**2)
    return SeenTip(frame_index, NOW - 0.125, (x_mm, y_mm), angle_rad, P, tracked=tracked, pose=pose)


def reach(command, memory, robot_state=READING, lasts_s=0.125):
    return Reach(LIMITS, command, robot_state, memory, lasts_s)


def test_what_was_ordered_since_the_encoders_were_read_counts():
    """8 mm/s now, and 16 mm/s from 0.125 s before the reading on: late by up to 0.09375 s."""
    memory = Memory(orders=(order(NOW - 0.25, NOW, 16.0, (4.0, -4.0, 0.0)),), angle_rad=0.5)
    old = read(time_s=NOW - 0.125, depth_mm=100.0)
    up = 16.0 * (0.125 + 0.03125 + 0.0625) + 8.0 * 0.1875
    assert reach(told(8.0), memory, old).depths_mm() == (100.0, 100.0 + up)
    assert reach(told(-8.0), memory, old).depths_mm() == (100.0 - 1.5, 100.0 + up - 1.5)
    assert reach(told(0.0), memory, old).after_mm(1, NOW - 0.125) == (4.0 * 0.21875, 0.0)
    assert reach(told(0.0, (0.0, -2.0, 0.0)), memory, old).after_mm(2, NOW - 0.125) == (0.0, 4.0 * 0.21875 + 0.375)
    state = replace(STATE, memory=memory)
    for edge, passes in ((128.0 - up, True), (128.0 - up + TINY, False)):
        verdict = ask(state=state, robot_state=replace(old, depth_mm=edge))
        if passes:
            cleared(verdict)
        else:
            assert refused(verdict, "depth").value == pytest.approx(128.0)


def test_so_does_what_was_ordered_of_the_probe():
    moving = replace(FAST, insertion_speed_mm_s=0.0)
    memory = Memory(orders=(order(NOW - 0.25, NOW, 0.0, (8.0, -8.0, 0.0)),), angle_rad=0.5)
    state = replace(STATE, command=moving, memory=memory)
    ordered_mm, next_mm = 8.0 * 0.21875, 2.0 * 0.1875
    slow = act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=(0.5, 0.0, 0.0))
    refused(ask(slow, robot_state=read(probe_mm=(32.0, 0.0, 0.0))), "probe travel x")
    for way, axis in ((1.0, 0), (-1.0, 1)):
        bound = LIMITS.probe_mm[axis]
        velocity = tuple(2.0 * way if k == axis else 0.0 for k in range(3))
        start = replace(state, command=replace(moving, probe_velocity_mm_s=velocity))
        for edge, passes in ((bound - ordered_mm - next_mm, True), (bound - ordered_mm - next_mm + TINY, False)):
            place = tuple(way * edge if k == axis else 0.0 for k in range(3))
            old = read(time_s=NOW - 0.125, probe_mm=place)
            verdict = ask(act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=velocity), state=start, robot_state=old)
            if passes:
                cleared(verdict)
            else:
                refused(verdict, f"probe travel {'xyz'[axis]}")


def test_a_needle_that_still_goes_the_other_way_does_not_go_further_this_way():
    moving = read(insertion_speed_mm_s=-8.0)
    assert reach(told(0.0), Memory(), moving).depths_mm() == (39.5, 40.0)
    assert reach(told(4.0), Memory(), moving).depths_mm() == (39.5, 40.75)
    assert reach(told(0.0, (1.0, 0.0, 0.0)), Memory(), moving).after_mm(1, NOW) == (0.1875, 0.0)


def test_pictures_say_how_deep_the_needle_is_as_well():
    anchor = known(30.0, 20.0, frame_index=2)
    seen = known(30.0, 27.0)
    memory = Memory(seen=(seen,), newest=10, anchor=anchor)
    assert seen_depth_mm(memory) == 37.0
    assert seen_depth_mm(replace(memory, seen=(replace(seen, angle_rad=math.pi / 2, tip_mm=(20.0, 25.0)),))) == 35.0
    slanted = replace(seen, angle_rad=0.3, tip_mm=(25.0, 22.0))
    assert seen_depth_mm(replace(memory, seen=(slanted,))) == 30.0 + 5.0 * math.cos(0.3) + 2.0 * math.sin(0.3)
    older = known(30.0, 24.0, tracked=False, frame_index=9)
    assert seen_depth_mm(replace(memory, seen=(older, seen))) == 37.0
    assert seen_depth_mm(replace(memory, anchor=None)) is None
    assert seen_depth_mm(replace(memory, newest=11)) is None
    assert seen_depth_mm(replace(memory, seen=(replace(seen, tracked=False),))) is None
    assert seen_depth_mm(replace(memory, seen=())) is None
    assert sees_tip(memory) is True
    assert sees_tip(replace(memory, newest=11)) is False
    assert sees_tip(Memory()) is False


def test_the_limit_of_depth_holds_by_pictures_as_well():
    up = 8.0 * 0.1875
    for x_mm, passes in ((20.0 + 88.0 - up, True), (20.0 + 88.0 - up + TINY, False)):
        memory = Memory(
            seen=(known(125.0, x_mm),), newest=10, anchor=known(40.0, frame_index=2), orders=(), angle_rad=0.5
        )
        state = replace(STATE, memory=memory)
        verdict = ask(state=state, robot_state=read(depth_mm=125.0))
        if passes:
            cleared(verdict)
        else:
            refused(verdict, "depth")
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0))
    older = replace(known(125.0, 20.0, frame_index=9), time_s=NOW - 0.5)
    two = Memory(
        seen=(older, known(125.0, 100.0)),
        newest=10,
        anchor=known(40.0, frame_index=2),
        orders=(order(NOW - 0.5, NOW - 0.375),),
    )
    assert reach(told(8.0), two, read(depth_mm=60.0)).depths_mm()[1] == 120.0 + up
    shallow = Memory(seen=(known(40.0, 20.0 - 35.0),), newest=10, anchor=known(40.0, frame_index=2), angle_rad=0.5)
    assert reach(told(-8.0), shallow).depths_mm()[0] == 5.0 - up
    near = replace(back, memory=replace(shallow, seen=(known(6.0, 20.0 - 35.0),)))
    refused(ask(act(insertion_speed_mm_s=-8.0), state=near, robot_state=read(depth_mm=6.0)), "depth")


def test_tip_and_encoder_may_differ_by_so_much_and_no_more():
    for x_mm, passes in ((28.0, True), (28.0 + TINY, False), (12.0, True), (12.0 - TINY, False)):
        memory = Memory(seen=(known(40.0, x_mm),), newest=10, anchor=known(40.0, frame_index=2), angle_rad=0.5)
        verdict = ask(act(insertion_speed_mm_s=0.0), state=replace(STATE, memory=memory))
        if passes:
            cleared(verdict)
        else:
            assert refused(verdict, "tip against encoder").bound == 8.0
    vague = Memory(
        seen=(known(40.0, 20.0, sd_mm=0.75),), newest=10, anchor=known(40.0, sd_mm=1.0, frame_index=2), angle_rad=0.5
    )
    far = replace(vague, seen=(replace(vague.seen[0], tip_mm=(40.0, 20.0)),))
    assert refused(ask(state=replace(STATE, memory=far)), "tip against encoder").bound == 8.0 + 3 * 1.25
    later = replace(far, seen=(known(20.0, frame_index=9), far.seen[0]))
    assert refused(ask(state=replace(STATE, memory=later)), "tip against encoder").bound == 8.0 + 3 * 1.25
    cleared(ask(state=replace(STATE, memory=vague)))


def test_pictures_across_the_needle_say_nothing_of_its_depth():
    """A tip that stays in its place in the picture while the needle goes on is no contradiction there."""
    for shows_depth in (True, False):
        state, gate = replace(STATE, command=None), Gate(LIMITS, shows_depth=shows_depth)
        verdicts = []
        for k in range(40):
            now_s = NOW + 0.0625 * k
            depth_mm = 40.0 + 0.5 * k  # as ordered, 8 mm/s
            told = gate_input(
                now_s,
                read(time_s=now_s, depth_mm=depth_mm),
                replace(TIP, frame_index=10 + k, time_s=now_s, covariance_mm2=0.01 * np.eye(2)),
            )
            wanted = replace(ACTION.command, expires_at_s=now_s + 0.25)
            state, verdict = gate.clear(
                state, replace(ACTION, frame_index=10 + k, capture_time_s=now_s, command=wanted), told
            )
            verdicts.append(verdict)
        assert (state.memory.anchor is None) is not shows_depth
        if shows_depth:
            refused(next(v for v in verdicts if isinstance(v, Refused)), "tip against encoder")
        else:
            assert all(map(cleared, verdicts))


def test_pictures_count_from_the_first_tip_that_is_seen_well_and_anew_after_a_jump():
    def saw(before, frame_index, x_mm, **changes):
        now_s = NOW + frame_index / 8
        estimate = tip(frame_index=frame_index, time_s=now_s, tip_px=SPACING.to_px((x_mm, 20.0)), **changes)
        told_now = gate_input(now_s, read(time_s=now_s), estimate)
        return GATE.clear(replace(before, time_s=now_s), None, told_now)[0]

    state = replace(STATE, memory=Memory())
    state = saw(state, 1, 20.0, state=Track.COASTING)
    assert state.memory.anchor is None
    state = saw(state, 2, 20.0, covariance_mm2=np.diag([4.0 + 1e-6, 1.0]))
    assert state.memory.anchor is None
    state = saw(state, 3, 20.0, covariance_mm2=np.diag([4.0, 1.0]))
    assert state.memory.anchor.frame_index == 3
    state = saw(state, 4, 20.0)
    assert state.memory.anchor.frame_index == 3
    state = saw(state, 5, 60.0)
    assert state.memory.jump is not None
    assert state.memory.anchor.frame_index == 5
    state = saw(state, 6, 60.0)
    assert state.memory.anchor.frame_index == 5
    assert state.memory.jump is not None


# -- turning, growth, the shaft --------------------------------------------------------------------------------


def test_after_a_gap_a_speed_grows_no_more_than_in_the_stated_time():
    limits = replace(LIMITS, growth_s=0.03125, action_age_s=9.0, action_life_s=9.0)
    for gap_s, speed in ((0.015625, 4.0), (0.03125, 8.0), (0.0625, 8.0), (0.25, 8.0)):
        state = replace(STATE, command=None, time_s=NOW - gap_s)
        order_now = cleared(
            ask(act(insertion_speed_mm_s=24.0, probe_velocity_mm_s=(16.0, 0.0, 0.0)), state=state, gate=Gate(limits))
        )
        assert order_now.command.insertion_speed_mm_s == speed
        assert order_now.command.probe_velocity_mm_s[0] == speed / 2


def test_a_deeper_needle_is_turned_more_slowly():
    limits = replace(LIMITS, sideways_mm_s=16.0, growth_s=0.0625)
    gate = Gate(limits)
    still = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.625)
    for depth, turn in ((64.0, 0.015625), (32.0, 0.03125), (0.5, 0.125), (-4.0, 0.125)):
        for way in (1.0, -1.0):
            wanted = replace(still, command=replace(still.command, insertion_angle_rad=0.5 + way * 0.125))
            got = cleared(ask(wanted, gate=gate, robot_state=read(depth_mm=depth)))
            assert got.command.insertion_angle_rad == 0.5 + way * turn
            assert got.bounded == (
                ()
                if turn == 0.125
                else (f"insertion angle {0.5 + way * 0.125:.4g} -> {0.5 + way * turn:.4g} rad: rate",)
            )


def test_a_needle_that_is_barely_inserted_is_turned_as_if_a_millimetre_were():
    gate = Gate(replace(LIMITS, sideways_mm_s=1.0, growth_s=0.0625))
    turning = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.625)
    for depth in (0.75, 1.0, -3.0):
        got = cleared(ask(turning, gate=gate, robot_state=read(depth_mm=depth)))
        assert got.command.insertion_angle_rad == 0.5625
    assert cleared(ask(turning, gate=gate, robot_state=read(depth_mm=2.0))).command.insertion_angle_rad == 0.53125


def test_a_needle_that_is_pushed_may_be_turned_by_as_little_as_is_wanted():
    assert cleared(ask(act(insertion_angle_rad=0.5 + TINY))).command.insertion_angle_rad == 0.5 + TINY
    held = cleared(ask(act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5 + TINY)))
    assert held.command.insertion_angle_rad == 0.5
    assert held.bounded == ("insertion angle 0.5 -> 0.5 rad: it stays where it is",)


def test_the_length_that_is_turned_is_the_one_that_may_be_inserted_by_then():
    """By pictures 64 mm, by the encoder 40 mm. And 1.5 mm on, at 8 mm/s."""
    limits = replace(LIMITS, sideways_mm_s=16.0, growth_s=0.0625, astray_mm=100.0)
    memory = Memory(seen=(known(40.0, 44.0),), newest=10, anchor=known(40.0, frame_index=2), angle_rad=0.5)
    turning = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.625)
    got = cleared(ask(turning, gate=Gate(limits), state=replace(STATE, memory=memory)))
    assert got.command.insertion_angle_rad == 0.515625
    pushing = cleared(ask(act(insertion_angle_rad=0.625), gate=Gate(limits), state=replace(STATE, memory=memory)))
    assert pushing.command.insertion_angle_rad == 0.5 + 0.0625 * 16.0 / 65.5


def test_the_set_point_stays_near_the_encoder_of_the_angle():
    limits = replace(LIMITS, sideways_mm_s=16.0)
    lead = 16.0 / 32.0 * 0.125
    for way in (1.0, -1.0):
        ahead = replace(STATE, command=replace(FAST, insertion_angle_rad=0.5 + way * 0.0625))
        got = cleared(
            ask(
                act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5 + way * 0.125),
                state=ahead,
                gate=Gate(limits),
                robot_state=read(depth_mm=32.0),
            )
        )
        assert got.command.insertion_angle_rad == 0.5 + way * lead


def test_the_set_point_of_the_roll_stays_near_its_encoder():
    for way in (1.0, -1.0):
        ahead = replace(STATE, command=replace(FAST, roll_rad=way * 0.375))
        got = cleared(ask(act(roll_rad=way * 4.0), state=ahead))
        assert got.command.roll_rad == way * 0.5


def shaft(*regions, seen=None, action=ACTION, robot_state=READING, orders=()):
    """A needle seen at (60, 20) mm along x, 40 mm of it inserted: its shaft begins at (20, 20) mm."""
    memory = Memory(seen=(seen or known(40.0, 60.0),), newest=10, angle_rad=0.5, orders=orders)
    state = replace(STATE, memory=memory)
    return ask(action, gate=Gate(LIMITS, regions), state=state, robot_state=robot_state)


@pytest.mark.parametrize("x_mm", [20.0, 30.0, 55.0, 60.0])
def test_the_whole_shaft_keeps_clear(x_mm):
    cleared(shaft(Circle("nerve", (x_mm, 28.0), 8.0 - TINY)))
    assert "nerve" in refused(shaft(Circle("nerve", (x_mm, 28.0), 8.0)), "forbidden region").reason


def test_the_shaft_begins_at_its_entry():
    cleared(shaft(Circle("nerve", (12.0, 20.0), 8.0 - TINY)))
    refused(shaft(Circle("nerve", (12.0, 20.0), 8.0 + TINY)), "forbidden region")
    outside = known(-4.0, 60.0)
    cleared(shaft(Circle("nerve", (52.0, 20.0), 8.0 - TINY), seen=outside, robot_state=read(depth_mm=-4.0)))


def test_a_turn_sweeps_the_shaft_too():
    turn = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5625)
    swing = 0.0625 * 40.0
    cleared(shaft(Circle("nerve", (40.0, 40.0), 20.0 - swing - TINY), action=turn))
    refused(shaft(Circle("nerve", (40.0, 40.0), 20.0 - swing), action=turn), "forbidden region")


def test_every_angle_that_was_ordered_since_the_picture_counts_and_none_before():
    vessel = Circle("nerve", (40.0, 40.0), 18.0)
    keep_s = 0.125 + 0.03125 + 0.0625
    recent = (order(NOW - 1.0, NOW - keep_s, 0.0, angle=0.5625),)
    before = (order(NOW - 1.0, NOW - keep_s - TINY, 0.0, angle=0.5625),)
    refused(shaft(vessel, orders=recent), "forbidden region")
    cleared(shaft(vessel, orders=before))


def test_what_was_ordered_since_the_picture_counts_whatever_the_encoder_says():
    """16 mm/s for 0.125 s before now, the picture is from then, and the encoder says that nothing moved."""
    wall = lambda x_mm: Polygon("wall", ((x_mm, 0.0), (x_mm + 9.0, 0.0), (x_mm + 9.0, 40.0), (x_mm, 40.0)))  # noqa: E731
    orders = (order(NOW - 0.125, NOW, 16.0),)
    end = 60.0 + 16.0 * 0.125 + 1.5
    cleared(shaft(wall(end + TINY), orders=orders))
    refused(shaft(wall(end), orders=orders), "forbidden region")
    old = read(time_s=NOW - 0.125)
    cleared(shaft(wall(end + TINY), orders=orders, robot_state=old))
    by_encoder = 60.0 + 4.0 + 16.0 * (0.03125 + 0.0625) + 1.5
    cleared(shaft(wall(by_encoder + TINY), orders=orders, robot_state=read(depth_mm=44.0)))
    refused(shaft(wall(by_encoder), orders=orders, robot_state=read(depth_mm=44.0)), "forbidden region")


# -- the operator ----------------------------------------------------------------------------------------------


def test_a_pause_holds_everything_and_latches_nothing():
    state, verdict = GATE.clear(STATE, ACTION, gate_input(hold="wait"))
    assert refused(verdict, "held").reason == "held: wait"
    assert state.stop is None
    later, again = GATE.clear(state, ACTION, gate_input(NOW + 0.0078125, read(time_s=NOW + 0.0078125)))
    assert cleared(again).command.insertion_speed_mm_s == 2.0
    assert later.stop is None
    refused(ask(None, hold=""), "held")
    assert cleared(ask(act(stop=True), hold="wait")).command.stop


def by_hand(speed, unseen_mm=0.0, deepest_mm=60.0, regions=(), orders=(), **more):
    memory = Memory(newest=9, angle_rad=0.5, unseen_mm=unseen_mm, deepest_mm=deepest_mm, orders=orders)
    command = replace(FAST, insertion_speed_mm_s=math.copysign(24.0, speed))
    state = replace(STATE, command=command, memory=memory)
    more = {"estimate": LOST, "by_hand": True, **more}
    return ask(act(insertion_speed_mm_s=speed), state=state, gate=Gate(LIMITS, regions), **more)


def test_by_hand_a_needle_whose_tip_is_lost_moves_a_little_on_its_own_way():
    for speed in (2.0, -2.0):
        order_now = cleared(by_hand(speed))
        assert order_now.command.insertion_speed_mm_s == speed
        refused(by_hand(math.copysign(2.0 + TINY, speed)), "speed by hand while the tip is lost")
        step = 2.0 * 0.1875
        cleared(by_hand(speed, 4.0 - step))
        refused(by_hand(speed, 4.0 - step + TINY), "way by hand while the tip is lost")
        cleared(by_hand(speed, regions=(Circle("artery", (500.0, 500.0), 1.0),)))
    assert cleared(ask(act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.625), estimate=LOST, by_hand=True))


def test_by_hand_it_goes_no_deeper_than_it_has_been():
    step = 2.0 * 0.1875
    cleared(by_hand(2.0, deepest_mm=40.0 + step))
    refused(by_hand(2.0, deepest_mm=40.0 + step - TINY), "depth by hand while the tip is lost")
    cleared(by_hand(-2.0, deepest_mm=40.0))
    coasts = (order(NOW - 0.125, NOW, 2.0),)  # goes on for a moment after it ended, whatever is ordered now
    cleared(by_hand(0.0, deepest_mm=20.0, orders=coasts))
    refused(by_hand(0.5, deepest_mm=20.0, orders=coasts), "depth by hand while the tip is lost")
    refused(by_hand(0.5, deepest_mm=40.0), "depth by hand while the tip is lost")


def test_what_the_policy_may_draw_back_is_not_counted_as_by_hand():
    memory = Memory(newest=9, angle_rad=0.5, unseen_mm=99.0)
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0), memory=memory)
    cleared(ask(act(insertion_speed_mm_s=-2.0), state=back, estimate=LOST))


def test_a_tip_that_is_seen_is_under_the_rules_of_every_other():
    cleared(by_hand(8.0, estimate=tip(), unseen_mm=99.0, deepest_mm=1.0))
    vessel = Polygon("wall", ((0.0, 0.0), (90.0, 0.0), (90.0, 90.0), (0.0, 90.0)))
    refused(by_hand(8.0, estimate=tip(), regions=(vessel,)), "forbidden region")


def test_the_way_since_the_tip_was_seen_is_counted_to_and_fro_and_begins_anew_when_it_is_seen():
    memory = Memory(newest=9, orders=(order(NOW - 1.0, NOW + 1.0, -8.0),), unseen_mm=1.0, angle_rad=0.5)
    state, _ = GATE.clear(replace(STATE, memory=memory), None, gate_input(estimate=LOST))
    assert state.memory.unseen_mm == 1.0 + 8.0 * 0.125
    forth = replace(memory, orders=(order(NOW - 1.0, NOW + 1.0, 4.0),))
    assert GATE.clear(replace(STATE, memory=forth), None, gate_input(estimate=LOST))[0].memory.unseen_mm == 1.5
    assert Memory().unseen_mm == 0.0
    seen, _ = GATE.clear(replace(STATE, memory=memory), None, gate_input())
    assert seen.memory.unseen_mm == 0.0
    coasting, _ = GATE.clear(replace(STATE, memory=memory), None, gate_input(estimate=tip(state=Track.COASTING)))
    assert coasting.memory.unseen_mm == 2.0


def test_the_deepest_that_the_needle_has_been_is_remembered():
    state = STATE
    for k, (depth, deepest) in enumerate([(40.0, 40.0), (40.25, 40.25), (39.0, 40.25)]):
        now_s = NOW + k / 64
        state, _ = GATE.clear(state, None, gate_input(now_s, read(time_s=now_s, depth_mm=depth)))
        assert state.memory.deepest_mm == deepest
    fresh = GATE.clear(STATE, None, gate_input(robot_state=read(depth_mm=-3.0)))[0]
    assert fresh.memory.deepest_mm == 0.0


# -- calibration -----------------------------------------------------------------------------------------------


def test_the_error_of_the_calibration_adds_to_the_tip_s():
    rough = Gate(LIMITS, calibration_mm2=(0.0, 0.0, 3.0))
    level = tip(angle_rad=0.0, covariance_mm2=np.diag([0.0, 1.0]))
    cleared(ask(gate=rough, estimate=level))
    refused(ask(gate=rough, estimate=replace(level, covariance_mm2=np.diag([0.0, 1.0 + 1e-6]))), "tip sd")
    down = replace(level, angle_rad=math.pi / 2)
    state, _ = rough.clear(STATE, ACTION, gate_input(estimate=down))
    assert state.memory.seen[-1].covariance_mm2 == pytest.approx((3.0, 0.0, 1.0))
    slanted = Gate(LIMITS, calibration_mm2=(1.0, 0.5, 2.0))
    state, _ = slanted.clear(STATE, ACTION, gate_input(estimate=replace(level, angle_rad=0.3)))
    c, s = math.cos(0.3), math.sin(0.3)
    R = np.array([[c, s], [-s, c]])
    expected = np.diag([0.0, 1.0]) + R @ np.array([[1.0, 0.5], [0.5, 2.0]]) @ R.T
    a, b, d = state.memory.seen[-1].covariance_mm2
    assert np.array([[a, b], [b, d]]) == pytest.approx(expected)


def test_ordered_keeps_the_rest_of_the_memory():
    memory = Memory(newest=3)
    assert ordered(memory, told(), 1.0, 2.0) == replace(memory, orders=(order(1.0, 2.0),), angle_rad=0.5)
