"""The program that ships, on a stand-in that interprets it, a cycle at a time and without the machine's clock."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.robots.ur import program as ur
from sonosteer.robots.ur.program import ArmOrder, ProgramState
from sonosteer.testing.ur.controller import CONTROLLER_CYCLE_S, StandInController

DOWN = (0.0, 0.0, -0.025, 0.0, 0.0, 0.0)  # 25 mm/s, in m/s
TURN = (0.0, 0.0, 0.0)
BRAKE_MM = 25.0**2 / (2.0 * ur.SLOW_DOWN_MM_S2)


@pytest.fixture
def controller():
    made = StandInController()

    assert made.broke is None
    made.cycle()
    yield made
    made.rtde.close()
    for sock in (made._dashboard, made._scripts):
        sock.close()


def cycles(controller, count):
    for _ in range(count):
        controller.cycle()
    assert controller.broke is None
    return controller.report()


def tell(controller, session, sequence, ahead=None, twist=None, **changed):
    last = 0 if ahead is None else controller.report()["tick"] + ahead
    controller.wrote(ArmOrder(session, sequence, last, twist).values() | changed)
    return cycles(controller, 2)


def armed(controller, session=1):
    said = tell(controller, session, 1)
    assert (said["state"], said["session"]) == ("HOLDS", session)


def at_full_speed(controller):
    """Renews an order until the arm is at 25 mm/s. Returns the next sequence."""
    armed(controller)
    for k in range(2, 40):
        said = tell(controller, 1, k, 60, DOWN)
    assert said["speed_mm_s"] == pytest.approx(25.0)
    return k + 1


def test_it_waits_until_a_session_begins_and_nothing_moves(controller):
    said = cycles(controller, 100)
    assert (said["state"], said["travel_mm"], said["tick"]) == ("WAITS", 0.0, 101)


def test_an_order_moves_the_arm_until_its_last_tick_then_it_brakes_and_stays(controller):
    at_full_speed(controller)
    said = cycles(controller, 200)
    assert (said["state"], said["why"], said["speed_mm_s"]) == ("LATCHED", 1, 0.0)
    bound_mm = 25.0 * (60 * CONTROLLER_CYCLE_S + CONTROLLER_CYCLE_S) + BRAKE_MM
    assert 25.0 * 50 * CONTROLLER_CYCLE_S < said["travel_mm"] <= bound_mm
    later = tell(controller, 1, 1000, 60, DOWN)
    assert (later["state"], later["refused"], later["crept_mm"]) == ("LATCHED", 1, 0.0)


def test_only_a_new_session_that_begins_with_a_hold_lifts_the_latch(controller):
    at_full_speed(controller)
    cycles(controller, 200)
    assert tell(controller, 1, 1001)["state"] == "LATCHED"  # the same session
    assert tell(controller, 2, 1002, 60, DOWN)["state"] == "LATCHED"  # a new one, with a move
    assert tell(controller, 2, 1003)["state"] == "HOLDS"
    assert tell(controller, 2, 1004, 60, DOWN)["state"] == "MOVES"


def test_registers_that_a_client_left_arm_nothing_when_the_program_begins_again(controller):
    at_full_speed(controller)
    controller.hand("halt")
    cycles(controller, 100)
    controller.hand("play")
    said = cycles(controller, 100)
    assert (said["state"], said["speed_mm_s"]) == ("WAITS", 0.0)


def test_a_hold_brakes_and_is_no_latch(controller):
    k = at_full_speed(controller)
    said = tell(controller, 1, k)
    said = cycles(controller, 30)
    assert (said["state"], said["speed_mm_s"]) == ("HOLDS", 0.0)
    assert said["stands"]
    assert tell(controller, 1, k + 1, 60, DOWN)["state"] == "MOVES"


@pytest.mark.parametrize(("ahead", "state", "why"), [(74, "MOVES", 0), (78, "LATCHED", 2), (2**30, "LATCHED", 2)])
def test_an_order_that_would_last_too_long_is_refused(controller, ahead, state, why):
    armed(controller)
    said = tell(controller, 1, 2, ahead, DOWN)
    assert (said["state"], said["why"]) == (state, why)


@pytest.mark.parametrize("ahead", [0, -1, -1000])
def test_an_order_that_comes_too_late_moves_nothing(controller, ahead):
    armed(controller)
    said = tell(controller, 1, 2, ahead, DOWN)
    assert (said["state"], said["refused"], said["speed_mm_s"]) == ("HOLDS", 1, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        (0.0, 0.0, -0.09, *TURN),
        (0.0, 0.0, 0.0, 0.0, 0.9, 0.0),
        (math.nan, 0.0, 0.0, *TURN),
        (math.inf, 0.0, 0.0, *TURN),
    ],
)
def test_what_is_too_fast_or_no_number_latches(controller, wrong):
    at = at_full_speed(controller)
    said = tell(controller, 1, at, 60, wrong)
    assert (said["state"], said["why"]) == ("LATCHED", 3)
    said = cycles(controller, 100)
    assert said["speed_mm_s"] == 0.0
    assert said["travel_mm"] <= 25.0 * 3 * CONTROLLER_CYCLE_S + BRAKE_MM


def test_an_order_of_which_half_has_come_is_not_taken(controller):
    armed(controller)
    said = tell(controller, 1, 2, 60, DOWN, input_int_register_28=1)
    assert (said["state"], said["refused"]) == ("HOLDS", 0)
    controller.wrote({"input_int_register_28": 2})
    assert cycles(controller, 2)["state"] == "MOVES"


@pytest.mark.parametrize("how", ["pause", "protect"])
def test_an_arm_that_was_paused_does_not_go_on_when_somebody_plays_it(controller, how):
    """Ticks stand while the program is paused, so its last order is still good then."""
    at_full_speed(controller)
    controller.hand(how)
    before = cycles(controller, 500)
    assert before["speed_mm_s"] == 0.0
    controller.hand("unlock")
    controller.hand("play")
    said = cycles(controller, 200)
    assert (said["state"], said["why"]) == ("LATCHED", 4)
    np.testing.assert_array_equal(said["pose"], before["pose"])


def test_an_arm_that_was_paused_and_told_to_hold_does_not_finish_its_braking_when_somebody_plays_it(controller):
    k = at_full_speed(controller)
    controller.hand("pause")
    before = cycles(controller, 500)
    controller.wrote(ArmOrder(1, k).values())
    controller.hand("play")
    said = cycles(controller, 200)
    assert said["speed_mm_s"] == 0.0
    np.testing.assert_array_equal(said["pose"], before["pose"])


def test_a_slider_far_down_is_noticed_by_the_program_too(controller):
    controller.slider = 0.2
    armed(controller)
    for k in range(2, 40):
        said = tell(controller, 1, k, 60, DOWN)
    assert (said["state"], said["why"]) == ("LATCHED", 4)


def test_it_turns_round_without_a_latch(controller):
    k = at_full_speed(controller)
    for n in range(k, k + 60):
        said = tell(controller, 1, n, 60, tuple(-v for v in DOWN))
    assert said["state"] == "MOVES"
    assert said["along_mm_s"] == pytest.approx(-25.0)


ORDERS = st.lists(
    st.tuples(
        st.integers(0, 3),  # session
        st.integers(0, 5),  # sequence
        st.integers(-5, 90),  # ticks ahead
        st.one_of(st.none(), st.tuples(*[st.floats(-0.1, 0.1)] * 6), st.just((math.nan,) * 6)),
        st.integers(1, 90),  # cycles until the next
        st.booleans(),  # torn
        st.sampled_from(("", "", "", "pause", "play", "protect", "unlock", "halt")),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(ORDERS)
def test_whatever_is_written_nothing_moves_on_past_its_last_tick_nor_faster_than_it_may(orders):
    controller = StandInController()
    allowed = -1  # last tick of any order that was ever written, never more than FURTHEST_S ahead
    furthest = round(ur.FURTHEST_S / CONTROLLER_CYCLE_S)
    brake = math.ceil(1e-3 * ur.FASTEST_MM_S / (1e-3 * ur.SLOW_DOWN_MM_S2) / CONTROLLER_CYCLE_S) + 2
    try:
        for session, sequence, ahead, twist, pause, torn, word in orders:
            if word:
                controller.hand(word)
            tick = controller.report()["tick"]
            values = ArmOrder(session, sequence, tick + ahead, twist).values()
            if torn:
                values["input_int_register_28"] = sequence + 1
            if twist is not None and ahead <= furthest:
                allowed = max(allowed, tick + ahead)
            controller.wrote(values)
            for _ in range(pause):
                controller.cycle()
                said = controller.report()
                assert controller.broke is None
                assert said["speed_mm_s"] <= ur.FASTEST_MM_S + 1e-9
                if said["tick"] > allowed + brake + 1:
                    assert said["speed_mm_s"] == 0.0
    finally:
        controller.rtde.close()
        for sock in (controller._dashboard, controller._scripts):
            sock.close()


def test_what_the_driver_knows_of_the_program_is_what_the_program_has():
    def number(name):
        return float(re.search(rf"^  {name} = ([\d.]+)$", ur.program_text(), re.M)[1])

    assert number("version") == ur.PROGRAM_VERSION
    assert 1e3 * number("speed_up") == ur.SPEED_UP_MM_S2
    assert 1e3 * number("slow_down") == ur.SLOW_DOWN_MM_S2
    assert 1e3 * number("fastest") == ur.FASTEST_MM_S
    assert f"floor({ur.FURTHEST_S} / dt)" in ur.program_text()
    assert ur.program_text().isascii()


def test_the_program_has_no_thread_and_one_word_of_motion_a_cycle():
    text = re.sub(r"#.*", "", ur.program_text())
    assert "thread" not in text
    words = set(re.findall(r"\b(\w+)\(", text))
    assert words & {"movej", "movel", "servoj", "speedj", "set_tcp", "popup", "socket_open"} == set()
    controller = StandInController()
    assert controller.broke is None
    controller.cycle()
    ticks = [controller.report()["tick"]]
    for _ in range(50):
        controller.cycle()
        ticks.append(controller.report()["tick"])
    assert np.all(np.diff(ticks) == 1)
    assert ProgramState(0).name == controller.report()["state"]
    controller.rtde.close()
    for sock in (controller._dashboard, controller._scripts):
        sock.close()
