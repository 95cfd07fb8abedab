"""An arm behind a stand-in of its controller, which interprets the program that ships."""

import contextlib
import dataclasses
import socket
import threading

import numpy as np
import pytest
from orders import cleared, opening, wait_until

from sonosteer.core.clock import RealClock
from sonosteer.core.errors import InputError, RobotError
from sonosteer.robots.rig import open_rig
from sonosteer.robots.rig_check import look_at_rig
from sonosteer.robots.ur.arm import Lag, UrArm, UrSettings
from sonosteer.robots.ur.carried import needle_at, probe_at
from sonosteer.robots.ur.client import RtdeClient
from sonosteer.robots.ur.program import INPUT_FIELDS
from sonosteer.robots.ur.wire import RecipeError, package
from sonosteer.testing.ur.controller import UR_HAND, StandInController

#: word of the hand -> what the part calls it, and what it says
FAULTS = {
    "protect": ("stopped", "PROTECTIVE STOP"),
    "estop": ("stopped", "ROBOT EMERGENCY STOP"),
    "gone": ("not ready", "POWER OFF"),
    "pause": ("not ready", "does not run any more"),
    "halt": ("not ready", "does not run any more"),
    "slow": ("not ready", "speed slider stands at 50 %"),
    "freeze": ("silent", "says nothing"),
    "deaf": ("watchdog|silent", "no order"),
    "mute": ("silent", "says nothing"),
    "delay": ("stale|watchdog|silent", " old|no order was renewed|says nothing"),
    "drop": ("no link", "broke"),
    "jam": ("following error", "set-points"),
    "push": ("following error", "off what it moves along"),
    "old": ("contradiction|not ready", "version|does not run"),
}
UNDO = {"protect": "unlock", "estop": "release", "gone": "release", "pause": "play", "halt": "play", "slow": "fast"}
UNDO |= {"freeze": "thaw", "deaf": "hear", "mute": "link", "delay": "prompt", "jam": "free"}
#: a word -> settings with which it is noticed soon
QUICK = {"jam": {"following_mm": 20.0}, "delay": {"silent_s": 0.25}}
SLOW = {"silent_s": 1.0, "following_mm": 100.0}  # the stand-in's time passes slowly


@pytest.fixture
def controller():
    made = StandInController(pace=0.25)
    made.start()
    yield made
    made.close()


@pytest.fixture
def open_arm(controller):
    opened = []

    def make(limits=None, **changed):
        at = {name if name != "port" else "rtde_port": port for name, port in controller.ports.items()}
        settings = {"host": "127.0.0.1", "moves": "insertion", **SLOW, **at} | changed
        opened.append(UrArm(opening(**({"order_s": 0.9} | (limits or {}))), UrSettings(**settings)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def moving(controller, arm, speed=5.0, **how):
    arm.enable()
    arm.carry_out(cleared(arm._clock.now_s(), speed, **({"lasts_s": 30.0} | how)))
    wait_until(
        lambda: controller.report()["along_mm_s"] == pytest.approx(speed) or arm.state().fault, "the arm to move"
    )
    assert arm.state().fault is None, arm.state().fault
    return arm


def stands(controller):
    wait_until(lambda: controller.report()["stands"], "the arm to stand")
    return controller.report()


def test_opening_and_describing_move_nothing_and_take_no_register(controller, open_arm):
    arm = open_arm()
    assert arm.describe() == (
        "UR controller 5.19.0.0, robot mode RUNNING, safety mode NORMAL, speed slider 100 %, "
        "sonosteer.script 1 waits, TCP at (400.0, 0.0, 300.0) mm"
    )
    assert controller.report()["state"] == "WAITS"
    assert not controller.rtde._owners
    assert arm.state().depth_mm == 0.0


def test_an_order_moves_it_until_it_expires_and_that_is_no_fault(controller, open_arm):
    arm = moving(controller, open_arm(), lasts_s=1.0)
    said = stands(controller)
    assert said["state"] == "HOLDS"
    assert arm.state().fault is None
    assert 20.0 < said["depth_mm"] <= 25.0 + 5.0 * 0.15


def test_a_hold_stops_it_at_once_and_it_stays(controller, open_arm):
    arm = moving(controller, open_arm())
    arm.hold("a test")
    assert stands(controller)["state"] == "HOLDS"
    wait_until(lambda: arm.state().insertion_speed_mm_s == 0.0, "the encoder to say so")
    assert arm.state().depth_mm == pytest.approx(controller.report()["depth_mm"] - 20.0, abs=1e-6)


@pytest.mark.parametrize("word", FAULTS)
def test_every_fault_is_named_and_stops_it_for_good(controller, open_arm, word):
    kind, said = FAULTS[word]
    arm = moving(controller, open_arm(**QUICK.get(word, {})))
    controller.hand(word)
    wait_until(lambda: arm.state().fault is not None, "the fault")
    fault = arm.state().fault
    assert any(fault.kind == each for each in kind.split("|")), fault
    assert any(each in fault.reason for each in said.split("|")), fault
    with pytest.raises(RobotError, match=fault.kind):
        arm.carry_out(cleared(arm._clock.now_s()))
    stopped = stands(controller)
    assert stopped["travel_mm"] < 5.0 * 0.15 + 1.0
    for each in (UNDO.get(word), "play"):
        if each is not None:
            controller.hand(each)
    since_s = controller.report()["time_s"]
    wait_until(lambda: controller.report()["time_s"] > since_s + 0.2, "a while to pass")
    assert controller.report()["crept_mm"] == 0.0
    assert arm.state().fault == fault
    with pytest.raises(RobotError, match=fault.kind):
        arm.enable()


def test_each_word_of_the_hand_that_breaks_something_is_tried():
    spared = {*UNDO.values(), "local", "remote"}
    assert set(FAULTS) | spared == set(UR_HAND)


def test_a_protective_stop_is_never_unlocked_from_here(controller, open_arm):
    controller.hand("protect")
    arm = open_arm()
    assert "safety mode PROTECTIVE STOP" in arm.describe()
    with pytest.raises(InputError, match="PROTECTIVE STOP: find out why, and unlock it at the pendant"):
        arm.enable()
    assert controller.report()["safety"] == "PROTECTIVE STOP"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("slow",), "the speed slider stands at 50 %: set it to 100 % at the pendant"),
        (("gone",), "robot mode is POWER OFF: switch the arm on"),
        (("halt",), r"no program runs \(STOPPED\): load .*sonosteer.script at the pendant and play it"),
        (("pause",), r"no program runs \(PAUSED\)"),
        (("old",), r"version 99 of sonosteer.script runs, and 1 is needed: load .*sonosteer.script"),
    ],
)
def test_what_somebody_has_to_set_first_is_one_line_and_nothing_moves(controller, open_arm, words, said):
    for word in words:
        controller.hand(word)
    arm = open_arm()
    with pytest.raises(InputError, match=said) as e:
        arm.enable()
    assert "\n" not in str(e.value)
    assert controller.report()["travel_mm"] == 0.0
    assert controller.report()["session"] == 0


def test_the_program_is_sent_where_the_rig_file_says_so_and_the_controller_is_remote(controller, open_arm):
    controller.hand("halt")
    controller.text = ""
    arm = open_arm(start="remote")
    controller.hand("local")
    with pytest.raises(InputError, match="local mode and takes no program from here"):
        arm.enable()
    assert controller.report()["runtime"] == "STOPPED"
    controller.hand("remote")
    moving(controller, arm)


def test_a_second_program_that_has_the_registers_is_one_line(controller, open_arm):
    first, second = open_arm(), open_arm()
    moving(controller, first)
    with pytest.raises(InputError, match=r"input_int_register_24 \(another client writes to it\).*close the other"):
        second.enable()
    assert first.state().fault is None
    first.close()
    moving(controller, second)


def test_a_controller_that_lacks_a_field_is_one_line(controller, open_arm):
    controller.rtde.lacking = {"input_int_register_27"}
    with pytest.raises(InputError, match=r"input_int_register_27 \(the controller does not know it\)"):
        open_arm().enable()
    controller.rtde.lacking = {"runtime_state"}
    with pytest.raises(RobotError, match=r"runtime_state \(the controller does not know it\)"):
        open_arm()


def test_a_program_that_needs_two_cycles_for_one_is_refused_since_its_deadlines_would_be_late(controller, open_arm):
    controller.hand("halt")
    controller.text = controller.text.replace("    # take an order", "    sync()\n    # take an order")
    controller.hand("play")
    with pytest.raises(RobotError, match="its deadlines would be wrong"):
        open_arm().enable()


def test_after_a_latch_only_a_new_part_moves_it_again(controller, open_arm):
    arm = moving(controller, open_arm())
    controller.hand("mute")
    assert stands(controller)["why"] == 1
    controller.hand("link")
    wait_until(lambda: arm.state().fault is not None, "the fault")
    arm.close()
    assert controller.report()["crept_mm"] == 0.0
    again = open_arm()
    assert "is latched (the program stopped the arm, since no order was renewed in time)" in again.describe()
    moving(controller, again)
    assert controller.report()["session"] == 2


def test_a_reader_connects_again_by_itself_and_a_mover_only_reads_on(controller, open_arm):
    arm = open_arm()
    controller.hand("drop")
    wait_until(lambda: controller.report()["clients"] == 1, "the reader to be back")
    assert arm.state().fault is None
    moving(controller, arm)
    controller.hand("drop")
    wait_until(lambda: arm.state().fault is not None, "the fault")
    controller.rtde.say("hello")
    wait_until(lambda: controller.report()["clients"] == 1, "the mover to read again")
    with pytest.raises(RobotError, match="no link"):
        arm.enable()
    stands(controller)


def test_a_probe_moves_along_the_axes_of_the_picture(controller, open_arm):
    arm = open_arm(moves="probe", picture_rad=(0.0, 0.0, np.pi / 2))
    arm.enable()
    wanted = {"probe_velocity_mm_s": (4.0, 2.0, 1.0)}
    arm.carry_out(cleared(arm._clock.now_s(), 0.0, lasts_s=1.0, **wanted))
    wait_until(lambda: controller.report()["speed_mm_s"] > 4.0, "the arm to move")
    pose = stands(controller)["pose"]
    wait_until(lambda: arm._row.pose == pytest.approx(pose, abs=1e-12), "the encoders to say so")
    x, y, z = arm.state().probe_mm
    assert x > 0.3
    assert (y / x, z / x) == (pytest.approx(0.5, abs=1e-6), pytest.approx(0.25, abs=1e-6))
    moved = np.array(pose[:3]) - (0.4, 0.0, 0.3)
    # the tool looks down: its y is the base's -y, its z the base's -z. The picture's x is the tool's y
    np.testing.assert_allclose(1e3 * moved, (-y, -x, -z), atol=1e-6)


def test_where_depth_is_0_can_be_said_in_the_base_frame(controller, open_arm):
    arm = open_arm(zero="absolute", zero_mm=tuple(controller.zero_mm))
    assert arm.state().depth_mm == pytest.approx(20.0)


def test_carried_needle_and_probe_say_when_the_arm_is_off_its_way():
    pose = (0.1, 0.2, 0.3, np.pi, 0.0, 0.0)
    needle, probe = needle_at(pose, None), probe_at(pose, (0.0, 0.0, 0.0))
    along = (0.1, 0.2, 0.25, np.pi, 0.0, 0.0)
    assert needle.measured(along, (0.0, 0.0, -0.01, 0.0, 0.0, 0.0)) == {
        "depth_mm": pytest.approx(50.0),
        "insertion_speed_mm_s": pytest.approx(10.0),
    }
    assert needle.sideways_mm(along) == pytest.approx(0.0, abs=1e-9)
    assert needle.sideways_mm((0.102, 0.2, 0.25, np.pi, 0.0, 0.0)) == pytest.approx(2.0)
    turned = (0.1, 0.2, 0.3, np.pi - 0.01, 0.0, 0.0)
    assert needle.sideways_mm(turned) == pytest.approx(1.0, rel=1e-3)
    assert probe.sideways_mm(turned) == pytest.approx(1.0, rel=1e-3)
    assert probe.places_mm((0.101, 0.2, 0.298, np.pi, 0.0, 0.0)) == pytest.approx((1.0, 0.0, 2.0), abs=1e-9)


def test_lag_is_how_much_later_than_the_quickest_a_row_comes():
    lag = Lag()
    for k in range(1000):
        lag.came(100.0 + 0.01 * k + 0.005 * (k % 2), 0.01 * k)
    assert lag.now_s == pytest.approx(0.005)
    lag.came(110.31, 10.0)
    assert lag.now_s == pytest.approx(0.31)


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"watchdog_s": 0.14},
        {"watchdog_s": 0.0},
        {"silent_s": 2.0},
        {"rtde_port": 0},
        {"zero_mm": (np.nan,) * 3},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        dataclasses.replace(UrSettings(host="a", moves="probe"), **wrong)


def test_limits_beyond_those_of_the_program_are_refused(controller, open_arm):
    with pytest.raises(InputError, match="the limits allow 90 mm/s; the program on the controller 80"):
        open_arm({"forward_mm_s": 90.0})


# -- the client against whatever else may be there -------------------------------------------------------------


@contextlib.contextmanager
def answered_by(*answers):
    """A server that says each of these bytes after something came."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = server.accept()
        with sock, contextlib.suppress(OSError):
            for answer in answers:
                if not sock.recv(65536):
                    return
                sock.sendall(answer)
            while sock.recv(65536):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(5.0)
        server.close()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((package("V", b"\x00"),), "does not speak RTDE 2"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "the stream is broken"),
        ((package("V", b"\x01"), package("v", b"")), "does not say its version"),
        ((b"\x00\x01V",), "the stream is broken"),
        ((package("V", b"\x01"), package("v", bytes(16)), package("O", b"")), "does not answer what it exchanges"),
        ((package("V", b"\x01"), package("v", bytes(16)), package("O", b"\x01DOUBLE")), "does not say its type"),
    ],
)
def test_whatever_else_answers_at_the_port_is_one_line(answers, said):
    with answered_by(*answers) as port, pytest.raises(RobotError, match=said) as e:
        UrArm(opening(), UrSettings(host="127.0.0.1", moves="probe", rtde_port=port))
    assert "\n" not in str(e.value)


def test_nobody_at_the_port_is_one_line():
    with pytest.raises(RobotError, match=r"the controller at 127.0.0.1:9 does not answer"):
        UrArm(opening(), UrSettings(host="127.0.0.1", moves="probe", rtde_port=9))


def test_texts_in_between_are_no_answers_and_rows_are_all_accounted_for(controller):
    rows, ends = [], []
    took = lambda row, number: rows.append(number)  # noqa: E731
    client = RtdeClient("127.0.0.1", controller.ports["port"], 5.0, took, ends.append)
    client.outputs(("timestamp", "robot_mode"), 125.0)
    for k in range(20):
        controller.rtde.say(f"text {k}")
    recipe = client.inputs(INPUT_FIELDS)
    assert recipe.number == 1
    wait_until(lambda: len(rows) > 20 and client.counts.messages == 20, "rows and texts")
    assert client.messages[-1] == "controller: text 19"
    with pytest.raises(RecipeError):
        client.inputs(("input_int_register_3",))
    client.close()
    assert client.counts.handed_over == len(rows)
    assert rows[-1] == client.counts.handed_over + client.counts.overwritten
    assert ends == []


# -- the rig ---------------------------------------------------------------------------------------------------

RIG = """format = "sonosteer rig"
version = 1
[guide]
kind = "fixed"
angle_rad = 0.6
roll_rad = 0.0
[arm]
kind = "fixed"
probe = true
[needle]
kind = "ur"
host = "127.0.0.1"
moves = "insertion"
zero = "absolute"
zero_mm = [400.0, 0.0, 320.0]
rtde_port = {port}
dashboard_port = {dashboard_port}
script_port = {script_port}
"""


def test_a_rig_file_with_an_arm_is_looked_at_and_run_dry_without_motion(controller, tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(RIG.format(**controller.ports))
    _, seen = look_at_rig(path, RealClock())
    needle = next(part for part in seen if part.name == "needle")
    assert needle.works
    assert "robot mode RUNNING, safety mode NORMAL, speed slider 100 %, sonosteer.script 1 waits" in needle.seen
    clock = RealClock()
    robot = open_rig(path, clock, dry_run=True)
    assert robot.read().depth_mm == pytest.approx(20.0)
    robot.send(cleared(clock.now_s()))
    robot.close()
    assert controller.report()["state"] == "WAITS"
    assert controller.report()["travel_mm"] == 0.0


def test_a_rig_whose_controller_has_to_be_set_first_ends_with_exit_code_2(controller, tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(RIG.format(**controller.ports))
    controller.hand("old")
    with pytest.raises(InputError, match=r"rig.toml: needle cannot be made ready: version 99") as e:
        open_rig(path, RealClock())
    assert e.value.exit_code == 2
    assert controller.report()["travel_mm"] == 0.0
