"""No misread time or depth locks a controller out: measurements that agree go on, and say so."""

import dataclasses
import math

import pytest

from sonosteer.core.types import TipMeasurement
from sonosteer.steering.budget import AGREEING_COUNT, LEAPT
from sonosteer.steering.table import make_steerer

FRAME_S, SPEED_MM = 0.05, 0.25


def pushed(controller, frames, misread, *, tries=20):
    """Push a straight needle. misread: what a frame's measurement is replaced by. Returns (states, whys)."""
    settings = {"tries": tries} if controller == "moves" else {}
    steerer = make_steerer(controller, **settings)
    state, states, whys, roll = steerer.start(0.0), [], [], 0.0
    for i in range(frames):
        right = TipMeasurement(FRAME_S * i, SPEED_MM * i, roll, (0.0, 0.0), 0.1)
        state, turn = steerer.step(state, misread(i, right))
        roll = turn.roll_rad
        states.append(state)
        whys.append(turn.why)
    return states, whys


@pytest.mark.parametrize("controller", ["moves", "paper-s", "paper-s-fit"])
@pytest.mark.parametrize("field", [{"time_s": 1e6}, {"depth_mm": 118.0}])
def test_one_misread_time_or_depth_holds_for_one_frame_only(controller, field):
    def misread(i, right):
        return dataclasses.replace(right, **field) if i == 60 else right

    states, whys = pushed(controller, 120, misread)
    assert whys[60].startswith("hold: ")
    assert "leapt" in whys[60]
    assert not any(why.startswith("hold") for why in whys[61:])
    assert states[-1].time_s == pytest.approx(119 * FRAME_S)
    assert states[-1].depth_mm == pytest.approx(119 * SPEED_MM)
    assert states[60].ordered_rad == states[59].ordered_rad
    if controller == "moves":
        assert states[-1].inner.depth_mm == pytest.approx(119 * SPEED_MM)
        assert states[-1].inner.seen_mm == pytest.approx(119 * SPEED_MM)


@pytest.mark.parametrize("shift_s", [-3.0, 1000.0])
def test_a_clock_that_was_set_goes_on_after_some_frames_and_is_said(shift_s):
    def misread(i, right):
        return dataclasses.replace(right, time_s=right.time_s + shift_s) if i >= 70 else right

    states, whys = pushed("moves", 120, misread)
    last = 70 + AGREEING_COUNT - 1
    assert all(why.startswith("hold: ") for why in whys[70:last])
    assert whys[last] == LEAPT
    assert not any(why.startswith("hold") for why in whys[last:])
    assert states[-1].time_s == pytest.approx(119 * FRAME_S + shift_s)


def test_a_needle_pushed_on_while_nothing_was_measured_goes_on():
    def misread(i, right):
        return dataclasses.replace(right, depth_mm=right.depth_mm + 20.0) if i >= 70 else right

    states, whys = pushed("moves", 120, misread)
    assert LEAPT in whys
    assert states[-1].inner.depth_mm == pytest.approx(119 * SPEED_MM + 20.0)


def test_a_clock_that_stands_still_never_goes_on():
    def misread(i, right):
        return dataclasses.replace(right, time_s=1.0) if i >= 70 else right

    states, whys = pushed("moves", 120, misread)
    assert all(why.startswith("hold: ") for why in whys[70:])
    assert len({s.ordered_rad for s in states[69:]}) == 1


def test_misread_depths_that_disagree_never_go_on():
    def misread(i, right):
        return dataclasses.replace(right, depth_mm=80.0 + 35.0 * math.cos(2.0 * i)) if i >= 70 else right

    _, whys = pushed("moves", 120, misread)
    assert all(why.startswith("hold: ") for why in whys[70:])
