"""A CANopen drive: `canopen`'s own master and its own node on a bus within this process."""

import itertools

import pytest
from orders import PATIENT, cleared, opening, wait_until

from sonosteer.core.errors import InputError, MissingExtraError, RobotError
from sonosteer.robots import cia402_objects as co

pytest.importorskip("canopen")

from sonosteer.robots.cia402 import Cia402Axis, Cia402Settings
from sonosteer.testing.cia402_drive import COUNTS_PER_MM, SimulatedCia402Drive

BUSES = itertools.count()
#: word of the hand -> what the part calls it
FAULTS = {
    "jam": "following error",
    "stop": "stopped",
    "fault": "drive fault",
    "limit": "end of travel",
    "off": "stopped",
    "mute": "silent",
}


@pytest.fixture
def drive():
    drive = SimulatedCia402Drive("virtual", f"bus {next(BUSES)}")
    drive.start()
    yield drive
    drive.close()


def settings_for(drive, **changed):
    where = {"interface": "virtual", "channel": drive._where["channel"], "node": 5}
    usual = {"counts_per_mm": COUNTS_PER_MM, "zero": "absolute", "watchdog_s": 1.0, **PATIENT}
    return Cia402Settings(**(where | usual | changed))


@pytest.fixture
def open_axis(drive):
    opened = []

    def make(**changed):
        opened.append(Cia402Axis(opening(), settings_for(drive, **changed)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def now(axis):
    return axis._clock.now_s()


def moving(drive, axis, speed=5.0, **how):
    axis.enable()
    axis.carry_out(cleared(now(axis), speed, **how))
    wait_until(lambda: drive.report()["speed_mm_s"] == pytest.approx(speed), "the axis to move")


def test_opening_and_describing_write_nothing_and_move_nothing(drive, open_axis):
    written = []
    drive._node.add_write_callback(lambda **what: written.append(what))
    axis = open_axis()
    said = axis.describe()
    assert "SWITCH ON DISABLED" in said
    assert "depth 20.00 mm" in said
    assert axis.state().depth_mm == 20.0
    axis.close()
    assert written == []


def test_enabled_it_stands(drive, open_axis):
    axis = open_axis()
    axis.enable()
    assert drive.report()["state"] == co.ENABLED
    assert drive.report()["speed_mm_s"] == 0.0
    assert axis.state().fault is None


def test_an_order_moves_it_until_it_expires_and_that_is_no_fault(drive, open_axis):
    axis = open_axis()
    moving(drive, axis, lasts_s=0.5)
    wait_until(lambda: drive.report()["stands"], "the order to expire")
    assert drive.report()["state"] == co.ENABLED
    assert axis.state().fault is None
    wait_until(lambda: abs(axis.state().depth_mm - drive.report()["depth_mm"]) < 0.01, "the encoder to say so")
    assert axis.state().depth_mm > 20.5


def test_a_hold_stops_it_at_once_and_it_stays(drive, open_axis):
    axis = open_axis()
    moving(drive, axis)
    axis.hold("a test")
    wait_until(lambda: drive.report()["stands"], "the axis to stand")
    since_s = drive.report()["time_s"]
    wait_until(lambda: drive.report()["time_s"] > since_s + 0.3, "a while to pass")
    assert drive.report()["crept_mm"] == 0.0


def test_a_stop_is_a_hold(drive, open_axis):
    axis = open_axis()
    moving(drive, axis)
    axis.carry_out(cleared(now(axis), stop=True))
    wait_until(lambda: drive.report()["stands"], "the axis to stand")


def test_the_drive_stops_itself_when_orders_are_not_renewed_although_this_process_lives(drive, open_axis):
    """While it moves, a heartbeat goes out with a new order only."""
    axis = open_axis(watchdog_s=0.3)
    moving(drive, axis, lasts_s=30.0)
    wait_until(lambda: drive.report()["stands"], "its watchdog")
    report = drive.report()
    assert report["fault"] == "0x8130"
    assert report["travel_mm"] <= 5.0 * (0.3 + 0.01) + 5.0**2 / 2000.0
    wait_until(lambda: axis.state().fault is not None, "the fault to be said")
    assert axis.state().fault.kind == "watchdog"


@pytest.mark.parametrize(("word", "kind"), FAULTS.items())
def test_every_fault_is_named_and_stops_it_for_good(drive, open_axis, word, kind):
    axis = open_axis(following_mm=1.0) if word == "jam" else open_axis()
    moving(drive, axis)
    drive.hand(word)
    wait_until(lambda: axis.state().fault is not None, "the fault")
    assert axis.state().fault.kind == kind
    with pytest.raises(RobotError, match=kind):
        axis.carry_out(cleared(now(axis)))
    wait_until(lambda: drive.report()["stands"], "the axis to stand")
    if word in ("jam", "mute"):
        drive.hand({"jam": "free", "mute": "link"}[word])
    since_s = drive.report()["time_s"]
    wait_until(lambda: drive.report()["time_s"] > since_s + 0.2, "a while to pass")
    assert drive.report()["crept_mm"] == 0.0
    assert axis.state().fault.kind == kind


def test_a_quick_stop_of_the_drive_is_not_taken_back_by_what_we_repeat(drive, open_axis):
    """With the reaction that many drives come with, the controlword that goes out each period enables it again."""
    axis = open_axis()
    moving(drive, axis)
    drive.hand("stop")
    wait_until(lambda: drive.report()["stands"], "the axis to stand")
    since_s = drive.report()["time_s"]
    wait_until(lambda: drive.report()["time_s"] > since_s + 0.3, "a while to pass")
    assert drive.report()["crept_mm"] == 0.0
    assert drive.report()["state"] == "SWITCH ON DISABLED"


def test_a_drive_in_its_fault_is_not_made_ready_until_somebody_resets_it(drive, open_axis):
    drive.hand("fault")
    wait_until(lambda: drive.report()["state"] == co.FAULT, "its fault")
    axis = open_axis()
    with pytest.raises(RobotError, match=r"state FAULT, error 0x2310: current\): find out why, then .* --reset needle"):
        axis.enable()
    assert axis.reset_fault() == "SWITCH ON DISABLED"
    axis.enable()
    assert drive.report()["state"] == co.ENABLED


def test_a_drive_that_watches_no_heartbeat_is_refused(drive, open_axis):
    drive.keeps_heartbeat = False
    with pytest.raises(RobotError, match="object 0x1016 is refused"):
        open_axis().enable()
    assert drive.report()["state"] != co.ENABLED


def test_nothing_moves_before_it_is_enabled_and_once_it_is_closed(drive, open_axis):
    axis = open_axis()
    order = cleared(now(axis))
    with pytest.raises(RobotError, match="call enable first"):
        axis.carry_out(order)
    axis.close()
    axis.close()
    with pytest.raises(RobotError, match="closed"):
        axis.carry_out(order)


def test_only_what_the_gate_has_cleared_is_carried_out(open_axis):
    axis = open_axis()
    axis.enable()
    with pytest.raises(RobotError, match=r"ask Gate\.clear"):
        axis.carry_out(cleared(now(axis)).command)


def test_closing_a_moving_axis_stops_it_and_switches_it_off(drive, open_axis):
    axis = open_axis()
    moving(drive, axis)
    axis.close()
    wait_until(lambda: drive.report()["stands"], "the axis to stand")
    assert drive.report()["state"] == "READY TO SWITCH ON"
    assert drive.report()["fault"] == "-"


@pytest.mark.parametrize(
    ("changed", "depth_mm"),
    [({"zero": "here"}, 0.0), ({"zero_counts": 40_000}, 10.0), ({"counts_per_mm": -COUNTS_PER_MM}, -20.0)],
)
def test_depth_is_counted_from_the_zero_that_was_given(open_axis, changed, depth_mm):
    assert open_axis(**changed).state().depth_mm == depth_mm


def test_an_axis_that_counts_down_is_driven_the_other_way(drive, open_axis):
    axis = open_axis(counts_per_mm=-COUNTS_PER_MM)
    axis.enable()
    axis.carry_out(cleared(now(axis), 5.0))
    wait_until(lambda: drive.report()["speed_mm_s"] == pytest.approx(-5.0), "the axis to move")
    wait_until(lambda: axis.state().insertion_speed_mm_s == pytest.approx(5.0, abs=0.1), "the encoder to say so")


def test_a_node_that_is_not_there_and_one_that_is_no_drive_are_said_in_one_line(drive):
    with pytest.raises(RobotError, match=r"node 6 on virtual .* does not answer"):
        Cia402Axis(opening(), settings_for(drive, node=6))
    drive._node.object_dictionary[co.DEVICE_TYPE].default = 0x191
    with pytest.raises(RobotError, match="is no drive: its profile is 401"):
        Cia402Axis(opening(), settings_for(drive))


def test_an_interface_that_there_is_not_is_said_in_one_line(drive):
    with pytest.raises(RobotError, match=r"the CAN interface nonsense can0 cannot be opened") as e:
        Cia402Axis(opening(), settings_for(drive, interface="nonsense", channel="can0"))
    assert "\n" not in str(e.value)


def test_without_the_library_the_extra_is_named(monkeypatch, drive):
    monkeypatch.setitem(__import__("sys").modules, "canopen", None)
    with pytest.raises(MissingExtraError, match=r"sonosteer\[canopen\]"):
        Cia402Axis(opening(), settings_for(drive))


@pytest.mark.parametrize(
    "wrong",
    [{"node": 0}, {"own_node": 5}, {"watchdog_s": 5.0}, {"counts_per_mm": 0.0}, {"following_mm": float("nan")}],
)
def test_settings_that_cannot_be_are_refused(drive, wrong):
    with pytest.raises(InputError):
        settings_for(drive, **wrong)


@pytest.mark.parametrize(
    ("code", "kind"), [(0x8130, "watchdog"), (0x8611, "following error"), (0x2310, "drive fault"), (0, "drive fault")]
)
def test_error_codes_have_names(code, kind):
    assert co.meaning_of(code)[0] == kind
