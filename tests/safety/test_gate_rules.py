"""Every rule at its bound, just within and just beyond it; whatever is not a number is refused."""

import math
from dataclasses import fields, replace

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

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Track
from sonosteer.safety.gate import Gate
from sonosteer.safety.gate_input import LARGEST, is_covariance, tip_of
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import Memory
from sonosteer.safety.regions import Circle

LASTS = LIMITS.order_s + LIMITS.standstill_s  # 0.1875 s: 8 mm/s go on for 1.5 mm
BACK = replace(FAST, insertion_speed_mm_s=-24.0)
PROBE_BACK = replace(FAST, probe_velocity_mm_s=(-16.0, -12.0, -4.0))
KNOWN = replace(STATE, frame=9, memory=Memory(newest=9))


def probe(axis, value, where=ACTION.command.probe_velocity_mm_s):
    return tuple(value if i == axis else v for i, v in enumerate(where))


def now(value, **given):
    """Everything else of that time, too."""
    return {"at": gate_input(value), **given}


def lost_back(v):
    return {"action": act(insertion_speed_mm_s=-v), "estimate": LOST, "state": replace(STATE, command=BACK)}


def pointing(angle):
    """A needle that was told to point there, and does."""
    return {
        "robot_state": read(insertion_angle_rad=angle),
        "state": replace(STATE, command=replace(FAST, insertion_angle_rad=angle)),
    }


def outward(axis, way):
    """An order that would bring the probe to `way * v` by the time that it stands."""
    speed = 2.0 * way
    state = replace(STATE, command=FAST if way > 0 else PROBE_BACK)
    return lambda v: {
        "action": act(probe_velocity_mm_s=probe(axis, speed)),
        "robot_state": read(probe_mm=probe(axis, way * v - speed * LASTS)),
        "state": state,
    }


ABOVE = {  # a value above the bound is refused
    "insertion speed": (24.0, lambda v: {"action": act(insertion_speed_mm_s=v)}),
    "retraction speed": (
        20.0,
        lambda v: {"action": act(insertion_speed_mm_s=-v), "state": replace(STATE, command=BACK)},
    ),
    "insertion angle": (
        1.5,
        lambda v: {"action": act(insertion_angle_rad=v), **pointing(1.4375)},
    ),
    "angle step": (0.125, lambda v: {"action": act(insertion_angle_rad=0.5 + v)}),
    "probe speed x": (16.0, lambda v: {"action": act(probe_velocity_mm_s=(v, 0.0, 0.0))}),
    "probe speed y": (12.0, lambda v: {"action": act(probe_velocity_mm_s=(0.0, v, 0.0))}),
    "probe speed z": (4.0, lambda v: {"action": act(probe_velocity_mm_s=(0.0, 0.0, v))}),
    "probe travel x": (32.0, outward(0, 1)),
    "probe travel y": (16.0, outward(1, 1)),
    "probe travel z": (8.0, outward(2, 1)),
    "depth": (128.0, lambda v: {"robot_state": read(depth_mm=v - 1.5)}),
    "action age": (0.5, lambda v: {"action": act(capture_time_s=NOW - v, expires_at_s=NOW + 0.125)}),
    "action ahead of the clock by": (0.03125, lambda v: {"action": act(capture_time_s=NOW + v)}),
    "action lifetime": (0.75, lambda v: {"action": act(expires_at_s=NOW - 0.125 + v)}),
    "time since the action expired": (0.0, lambda v: {"action": act(expires_at_s=NOW - v)}),
    "robot state age": (0.1875, lambda v: {"robot_state": read(time_s=NOW - v)}),
    "robot state ahead of the clock by": (0.03125, lambda v: {"robot_state": read(time_s=NOW + v)}),
    "estimate age": (0.375, lambda v: {"estimate": tip(time_s=NOW - v)}),
    "estimate ahead of the clock by": (0.03125, lambda v: {"estimate": tip(time_s=NOW + v)}),
    "tip sd": (2.0, lambda v: {"estimate": tip(covariance_mm2=np.diag([v * v, 0.25]))}),
    "insertion speed while the tip is lost": (
        0.0,
        lambda v: {"action": act(insertion_speed_mm_s=v), "estimate": LOST},
    ),
    "retraction speed while the tip is lost": (2.0, lost_back),
}
BELOW = {
    "insertion angle": (
        0.25,
        lambda v: {"action": act(insertion_angle_rad=v), **pointing(0.3125)},
    ),
    "depth": (
        4.0,
        lambda v: {
            "action": act(insertion_speed_mm_s=-8.0),
            "robot_state": read(depth_mm=v + 1.5),
            "state": replace(STATE, command=BACK),
        },
    ),
}
MIRRORED = {
    "angle step": (0.125, lambda v: {"action": act(insertion_angle_rad=0.5 - v)}),
    **{
        f"probe speed {a}": (
            bound,
            lambda v, i=i: {
                "action": act(probe_velocity_mm_s=probe(i, -v)),
                "state": replace(STATE, command=PROBE_BACK),
            },
        )
        for i, (a, bound) in enumerate(zip("xyz", LIMITS.probe_mm_s, strict=True))
    },
    **{
        f"probe travel {a}": (bound, outward(i, -1))
        for i, (a, bound) in enumerate(zip("xyz", LIMITS.probe_mm, strict=True))
    },
}
CASES = [
    *((rule, bound, 1, given) for rule, (bound, given) in ABOVE.items()),
    *((rule, bound, -1, given) for rule, (bound, given) in BELOW.items()),
    *((rule, bound, 1, given) for rule, (bound, given) in MIRRORED.items()),
]
WHOLE = {  # frame numbers
    "late reply: frame": (9, lambda v: {"action": act(frame_index=v)}),
    "late estimate: frame": (9, lambda v: {"action": act(frame_index=9), "estimate": tip(frame_index=v)}),
    "action ahead of the tracker: frame": (10, lambda v: {"action": act(frame_index=20 - v)}),
}


@pytest.mark.parametrize(("rule", "bound", "sign", "given"), CASES)
def test_an_order_passes_at_a_bound_and_just_within_it_and_not_beyond(rule, bound, sign, given):
    assert not cleared(ask(**given(bound))).bounded
    cleared(ask(**given(bound - sign * TINY)))
    no = refused(ask(**given(bound + sign * TINY)), rule)
    assert no.value == pytest.approx(bound + sign * TINY, abs=TINY / 2)
    assert no.bound == bound
    assert no.reason.startswith(rule)


@pytest.mark.parametrize(("rule", "bound", "given"), [(rule, *rest) for rule, rest in WHOLE.items()])
def test_frames_keep_their_order(rule, bound, given):
    cleared(ask(state=KNOWN, **given(bound)))
    cleared(ask(state=KNOWN, **given(bound + 1)) if "tracker" not in rule else ask(**given(bound + 3)))
    refused(ask(state=KNOWN, **given(bound - 1)), rule)


def test_a_refusal_is_a_sentence_with_the_value_the_bound_and_the_unit():
    no = refused(ask(act(insertion_speed_mm_s=31.0)), "insertion speed")
    assert (no.value, no.bound, no.unit) == (31.0, 24.0, "mm/s")
    assert no.reason == "insertion speed 31 mm/s is above 24 mm/s"
    low = refused(ask(act(insertion_angle_rad=0.2), robot_state=read(insertion_angle_rad=0.25)), "insertion angle")
    assert low.reason == "insertion angle 0.2 rad is below 0.25 rad"
    late = refused(ask(act(frame_index=8), state=KNOWN), "late reply: frame")
    assert late.reason == "late reply: frame 8 is below 9"


def test_the_lower_bound_of_the_clock_is_inclusive_too():
    state, verdict = GATE.clear(replace(STATE, time_s=NOW), ACTION, gate_input())
    cleared(verdict)
    assert state.memory.robot_states == (READING,)
    assert state.memory.newest == 10


NOT_NUMBERS = [math.nan, math.inf, -math.inf, None, "fast", 2 * LARGEST, -2 * LARGEST, (1.0,), 1j]
NO_NUMBER_FIELDS = ("command", "features", "stop", "fault", "state", "reason", "note")
WHOLE_TIP = replace(
    TIP,
    visibility=0.5,
    box_px=(0.0, 1.0, 2.0, 3.0),
    shaft_px=((0.0, 1.0), (2.0, 3.0)),
    covariance_px2=np.diag([16.0, 4.0]),
    answer_frame=9,
)
#: fields that may be None. Without a covariance in mm the rule is another
MAY_BE_NONE = ("visibility", "box_px", "covariance_px2", "answer_frame", "covariance_mm2", "found_px")


def spoilt(owner):
    for field in fields(owner):
        if field.name in NO_NUMBER_FIELDS:
            continue
        value = getattr(owner, field.name)
        for bad in NOT_NUMBERS:
            if isinstance(value, tuple) and len(value) > 1:
                for i in range(len(value)):
                    yield pytest.param(field.name, probe(i, bad, value), id=f"{field.name}-{i}-{bad}")
            if not (bad is None and field.name in MAY_BE_NONE):
                yield pytest.param(field.name, bad, id=f"{field.name}-{bad}")


@pytest.mark.parametrize(("name", "bad"), [*spoilt(ACTION), *spoilt(ACTION.command)])
def test_an_action_with_anything_that_is_no_number_is_refused(name, bad):
    assert name in refused(ask(act(**{name: bad})), "number").reason


@pytest.mark.parametrize(("name", "bad"), [*spoilt(READING)])
def test_a_reading_with_anything_that_is_no_number_is_refused(name, bad):
    assert name in refused(ask(robot_state=read(**{name: bad})), "number").reason


@pytest.mark.parametrize(("name", "bad"), [*spoilt(WHOLE_TIP)])
def test_an_estimate_with_anything_that_is_no_number_is_refused(name, bad):
    assert name in refused(ask(estimate=replace(WHOLE_TIP, **{name: bad})), "number").reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_a_shaft_and_a_covariance_are_checked_too(bad):
    assert "time_s" in refused(ask(estimate=replace(LOST, time_s=bad)), "number").reason
    assert "shaft_px" in refused(ask(estimate=tip(shaft_px=((0.0, 0.0), (0.0, bad)))), "number").reason
    for i in range(4):
        P = np.diag([0.25, 0.25])
        P.flat[i] = bad
        assert "covariance_mm2" in refused(ask(estimate=tip(covariance_mm2=P)), "number").reason


def test_the_largest_number_that_means_something_is_a_million_million():
    cleared(ask(act(roll_rad=1e12)))
    cleared(ask(act(roll_rad=-1e12)))
    refused(ask(act(roll_rad=1e12 + 0.5)), "number")
    refused(ask(act(roll_rad=-1e12 - 0.5)), "number")


@pytest.mark.parametrize("bad", [(), (0.0, 0.0), (0.0, 0.0, 0.0, 0.0), [0.0, 0.0, 0.0]])
def test_a_probe_has_three_speeds(bad):
    refused(ask(act(probe_velocity_mm_s=bad)), "number")


@pytest.mark.parametrize(
    "P",
    [
        np.diag([-TINY, 0.25]),
        np.diag([0.25, -TINY]),
        np.diag([-0.25, -0.25]),
        np.diag([-0.25, 0.0]),
        np.diag([0.0, -0.25]),
        np.array([[0.25, 0.26], [0.26, 0.25]]),
        np.array([[0.25, -0.26], [-0.26, 0.25]]),
        np.array([[0.25, 0.125], [-0.125, 0.25]]),
        np.array([[0.25, 0.125], [0.125 + 1e-5, 0.25]]),
        np.eye(3),
        np.ones(4),
    ],
)
def test_what_cannot_be_a_covariance_is_refused(P):
    assert "covariance" in refused(ask(estimate=tip(covariance_mm2=P)), "number").reason
    assert "covariance_px2" in refused(ask(estimate=tip(covariance_px2=P)), "number").reason
    assert is_covariance(P) is False


def test_a_tip_in_pixels_only_holds_everything():
    """A tracker that did not know the scale: nothing is guessed, not even the way back."""
    unscaled = tip(covariance_mm2=None, covariance_px2=np.diag([16.0, 4.0]))
    assert "pixels only" in refused(ask(estimate=unscaled), "no scale").reason
    refused(ask(act(insertion_speed_mm_s=-4.0), estimate=unscaled), "no scale")
    cleared(ask(estimate=tip(covariance_px2=np.diag([16.0, 4.0]))))
    assert is_covariance(None) is False


@pytest.mark.parametrize("P", [np.zeros((2, 2)), np.full((2, 2), 0.25), np.diag([0.0, 0.25]), np.diag([0.25, 0.0])])
def test_what_barely_is_a_covariance_passes(P):
    cleared(ask(estimate=tip(covariance_mm2=P)))


def test_numbers_of_numpy_are_numbers():
    order = cleared(ask(act(insertion_speed_mm_s=np.float32(8.0), frame_index=np.int64(10))))
    assert order.command.insertion_speed_mm_s == 8.0


def test_an_estimate_may_say_nothing_of_visibility_and_box():
    cleared(ask(estimate=TIP))
    cleared(ask(estimate=WHOLE_TIP))


@pytest.mark.parametrize(
    "action",
    [
        None,
        "push",
        {"insertion_speed_mm_s": 1.0},
        ACTION.command,
        replace(ACTION, command=None),
        replace(ACTION, command="push"),
    ],
)
def test_what_is_no_action_is_refused(action):
    assert refused(ask(action), "no action").reason == "there is no action"


def test_without_an_estimate_nothing_moves():
    refused(ask(estimate=None), "no estimate")
    refused(ask(estimate="left"), "no estimate")
    refused(ask(estimate=READING), "no estimate")
    assert tip_of(None) is None
    assert tip_of(LOST) is None
    assert tip_of(TIP) is TIP


def test_without_a_reading_nothing_moves():
    assert refused(ask(robot_state=None), "number").reason == "robot state: None is none"


def test_a_fault_of_the_robot_holds_everything():
    assert "stalled" in refused(ask(robot_state=read(fault="stalled")), "robot fault").reason


def test_every_fault_that_the_runtime_knows_of_holds_everything():
    assert refused(ask(faults=("the disk is full", "camera")), "fault").reason == "the disk is full"
    refused(ask(None, faults=("the disk is full",)), "fault")


def test_without_a_scale_nothing_moves():
    refused(ask(spacing=None), "no scale")


def test_a_scale_that_changed_holds_everything():
    gate = Gate(LIMITS, task_spacing=SPACING)
    cleared(ask(gate=gate))
    assert "0.125 x 0.25" in refused(ask(gate=gate, spacing=Spacing(0.125, 0.2)), "scale changed").reason
    refused(ask(gate=gate, spacing=None), "no scale")


@pytest.mark.parametrize("now_s", [math.nan, math.inf, -math.inf, STATE.time_s - TINY, None])
def test_a_clock_that_goes_back_or_says_nothing_holds_everything(now_s):
    state, verdict = GATE.clear(STATE, ACTION, gate_input(now_s))
    refused(verdict, "clock")
    assert state.time_s == STATE.time_s
    assert state.command is None
    assert state.memory == STATE.memory
    refused(ask(None, now_s=now_s), "clock")


def test_while_the_tip_is_lost_the_probe_may_move_and_the_needle_may_not():
    order = cleared(ask(act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=(4.0, 0.0, 0.0)), estimate=LOST))
    assert order.command.probe_velocity_mm_s == (4.0, 0.0, 0.0)
    assert order.command.insertion_speed_mm_s == 0.0
    refused(ask(estimate=LOST), "insertion speed while the tip is lost")
    refused(ask(estimate=tip(state=Track.LOST)), "insertion speed while the tip is lost")
    refused(ask(estimate=tip(state=None)), "insertion speed while the tip is lost")


def test_by_default_a_needle_whose_tip_is_lost_is_not_drawn_back_either():
    gate = Gate(replace(Limits(), order_s=0.125))
    refused(ask(act(insertion_speed_mm_s=-TINY), gate=gate, estimate=LOST), "retraction speed while the tip is lost")


def test_among_forbidden_regions_a_needle_whose_tip_is_lost_is_not_drawn_back():
    gate = Gate(LIMITS, (Circle("artery", (500.0, 500.0), 1.0),))
    back = replace(STATE, command=BACK)
    cleared(ask(act(insertion_speed_mm_s=-2.0), state=back, estimate=LOST))
    no = refused(
        ask(act(insertion_speed_mm_s=-TINY), state=back, estimate=LOST, gate=gate),
        "retraction speed while the tip is lost",
    )
    assert no.bound == 0.0


def test_a_tip_that_is_poorly_known_may_be_drawn_back_but_not_pushed():
    vague = tip(covariance_mm2=np.diag([9.0, 9.0]))
    refused(ask(estimate=vague), "tip sd")
    refused(ask(act(insertion_speed_mm_s=TINY), estimate=vague), "tip sd")
    cleared(ask(act(insertion_speed_mm_s=0.0), estimate=vague))
    cleared(ask(act(insertion_speed_mm_s=-8.0), estimate=vague, state=replace(STATE, command=BACK)))


@pytest.mark.parametrize(
    ("P", "sd"),
    [
        ([[0.25, 0.0], [0.0, 9.0]], 3.0),
        ([[9.0, 0.0], [0.0, 0.25]], 3.0),
        ([[5.0, 4.0], [4.0, 5.0]], 3.0),
        ([[6.0, 2.0], [2.0, 9.0]], math.sqrt(10.0)),
    ],
)
def test_the_sd_of_a_tip_is_the_largest_whichever_way(P, sd):
    assert refused(ask(estimate=tip(covariance_mm2=np.array(P))), "tip sd").value == pytest.approx(sd)


def test_the_way_back_into_the_limits_of_travel_is_free():
    cleared(ask(act(insertion_speed_mm_s=-8.0), robot_state=read(depth_mm=140.0), state=replace(STATE, command=BACK)))
    cleared(ask(robot_state=read(depth_mm=-1.0)))
    refused(ask(act(insertion_speed_mm_s=TINY), robot_state=read(depth_mm=140.0)), "depth")
    refused(
        ask(act(insertion_speed_mm_s=-TINY), robot_state=read(depth_mm=-1.0), state=replace(STATE, command=BACK)),
        "depth",
    )
    cleared(ask(act(insertion_speed_mm_s=0.0), robot_state=read(depth_mm=140.0)))
    cleared(ask(act(insertion_speed_mm_s=0.0), robot_state=read(depth_mm=-1.0)))
    cleared(ask(act(probe_velocity_mm_s=(-4.0, 0.0, 0.0)), robot_state=read(probe_mm=(40.0, 0.0, 0.0))))
    cleared(ask(robot_state=read(probe_mm=(40.0, 40.0, -40.0))))


def test_a_needle_that_is_faster_than_ordered_takes_longer_to_stand():
    refused(ask(robot_state=read(depth_mm=128.0 - 1.5, insertion_speed_mm_s=8.0 + TINY * 64)), "depth")
    cleared(ask(robot_state=read(depth_mm=128.0 - 1.5, insertion_speed_mm_s=2.0)))
    back = {"action": act(insertion_speed_mm_s=-8.0), "state": replace(STATE, command=BACK)}
    refused(ask(robot_state=read(depth_mm=4.0 + 1.5, insertion_speed_mm_s=-8.0 - TINY * 64), **back), "depth")
    cleared(ask(robot_state=read(depth_mm=4.0 + 1.5, insertion_speed_mm_s=-2.0), **back))
    cleared(ask(robot_state=read(depth_mm=4.0 + 1.5, insertion_speed_mm_s=12.0), **back))


def test_an_order_that_expires_soon_goes_less_far():
    soon = act(expires_at_s=NOW + 0.0625)
    refused(ask(robot_state=read(depth_mm=127.0)), "depth")
    cleared(ask(soon, robot_state=read(depth_mm=127.0)))
    refused(ask(soon, robot_state=read(depth_mm=127.0 + TINY)), "depth")
