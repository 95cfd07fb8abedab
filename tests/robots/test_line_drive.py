"""A drive that takes lines of text: our protocol, an adapter of somebody else's, and a stand-in over TCP."""

import contextlib
import dataclasses
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import PATIENT, cleared, opening, wait_until

from sonosteer.core.errors import InputError, MissingExtraError, RobotError
from sonosteer.robots.line_drive import LineDrive, LineSettings
from sonosteer.robots.line_protocol import FAULTS, LineAnswer, OwnProtocol, checked, unchecked
from sonosteer.testing.line_drive import SimulatedLineDrive

#: word of the hand -> what the part calls it
HAND_FAULTS = {
    "jam": "following error",
    "stop": "stopped",
    "fault": "drive fault",
    "limit": "end of travel",
    "off": "not ready",
    "mute": "silent",
}


@pytest.fixture
def drive():
    drive = SimulatedLineDrive()
    drive.start()
    yield drive
    drive.close()


@pytest.fixture
def open_axis(drive):
    opened = []

    def make(limits=None, **changed):
        settings = {"address": f"tcp://127.0.0.1:{drive.port}", "zero": "absolute", **PATIENT} | changed
        opened.append(LineDrive(opening(**(limits or {"order_s": 0.9})), LineSettings(**settings)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def moving(drive, axis, speed=5.0, **how):
    axis.enable()
    axis.carry_out(cleared(axis._clock.now_s(), speed, **({"lasts_s": 0.9} | how)))
    wait_until(lambda: drive.report()["speed_mm_s"] == pytest.approx(speed), "the axis to move")


def test_opening_and_describing_move_nothing_and_switch_nothing_on(drive, open_axis):
    axis = open_axis()
    assert axis.describe() == "stand-in 1, state OFF, depth 20.00 mm"
    assert drive.report()["state"] == "OFF"


def test_an_order_moves_it_until_it_expires_and_that_is_no_fault(drive, open_axis):
    axis = open_axis(margin_s=0.05)
    drive._do = _longer(drive._do)  # the drive waits longer, so that our own stop comes first on any machine
    moving(drive, axis, lasts_s=0.3)
    wait_until(lambda: drive.report()["stands"], "the order to expire")
    assert drive.report()["state"] == "READY"
    assert axis.state().fault is None


def _longer(do):
    def later(kind, numbers):
        return do(kind, [numbers[0], 1000] if kind == "V" else numbers)

    return later


def test_a_hold_stops_it_at_once_and_it_stays(drive, open_axis):
    axis = open_axis()
    moving(drive, axis)
    axis.hold("a test")
    wait_until(lambda: drive.report()["stands"], "the axis to stand")
    assert drive.report()["state"] == "READY"


@pytest.mark.parametrize(("word", "kind"), HAND_FAULTS.items())
def test_every_fault_is_named_and_stops_it_for_good(drive, open_axis, word, kind):
    axis = open_axis(following_mm=0.5) if word == "jam" else open_axis()
    moving(drive, axis)
    drive.hand(word)
    wait_until(lambda: axis.state().fault is not None, "the fault")
    assert axis.state().fault.kind == kind
    with pytest.raises(RobotError, match=kind):
        axis.carry_out(cleared(axis._clock.now_s()))
    wait_until(lambda: drive.report()["stands"], "the axis to stand")
    if word in ("jam", "mute"):
        drive.hand({"jam": "free", "mute": "link"}[word])
    since_s = drive.report()["time_s"]
    wait_until(lambda: drive.report()["time_s"] > since_s + 0.2, "a while to pass")
    assert drive.report()["crept_mm"] == 0.0
    assert axis.state().fault.kind == kind


def test_the_drive_keeps_the_deadline_itself_and_refuses_orders_that_were_held_up(drive):
    """Lines that wait in the link while it is closed move nothing once it is open again."""
    with contextlib.ExitStack() as closing, socket.create_connection(("127.0.0.1", drive.port)) as raw:
        file = closing.enter_context(raw.makefile("rwb", buffering=0))

        def ask(text):
            file.write(checked(text) + b"\n")
            return unchecked(file.readline().rstrip(b"\n"))

        assert ask("EN") == "OK"
        assert ask("V 5000 200") == "OK"
        drive.hand("mute")
        for _ in range(20):
            file.write(checked("V 5000 200") + b"\n")
        wait_until(lambda: drive.report()["stands"], "its watchdog")
        report = drive.report()
        assert report["fault"] == "WATCHDOG"
        assert report["travel_mm"] <= 5.0 * 0.201 + 5.0**2 / 2000.0
        drive.hand("link")
        assert [unchecked(file.readline().rstrip(b"\n")) for _ in range(20)] == ["ER fault WATCHDOG"] * 20
        assert ask("X") == "OK"
        assert ask("EN") == "ER fault WATCHDOG"
        assert drive.report()["crept_mm"] == 0.0


def test_a_drive_with_a_fault_is_not_made_ready_until_somebody_resets_it(drive, open_axis):
    drive.hand("limit")
    axis = open_axis()
    with pytest.raises(RobotError, match=r"end of travel: .* --reset needle"):
        axis.enable()
    assert axis.reset_fault() == "OFF"
    wait_until(lambda: axis._newest.fault is None, "the next status")
    axis.enable()
    assert drive.report()["state"] == "READY"


def test_a_drive_that_hangs_up_is_a_named_fault(drive, open_axis):
    axis = open_axis()
    moving(drive, axis)
    drive._client.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: axis.state().fault is not None, "the fault")
    assert axis.state().fault.kind == "no link"
    wait_until(lambda: drive.report()["stands"], "the axis to stand")


def test_an_axis_that_counts_the_other_way_is_driven_the_other_way(drive, open_axis):
    axis = open_axis(reversed=True, zero="here")
    assert axis.state().depth_mm == 0.0
    axis.enable()
    axis.carry_out(cleared(axis._clock.now_s(), 5.0, lasts_s=0.9))
    wait_until(lambda: drive.report()["speed_mm_s"] == pytest.approx(-5.0), "the axis to move")
    wait_until(lambda: axis.state().insertion_speed_mm_s == pytest.approx(5.0, abs=0.1), "the encoder to say so")
    assert axis.state().depth_mm > 0.0


def test_a_serial_port_is_the_same(drive, monkeypatch):
    """pyserial's own socket:// stands for the port."""
    pytest.importorskip("serial")
    settings = LineSettings(address=f"serial:socket://127.0.0.1:{drive.port}", zero="absolute", **PATIENT)
    axis = LineDrive(opening(order_s=0.9), settings)
    try:
        assert axis.describe().startswith("stand-in 1")
        moving(drive, axis)
    finally:
        axis.close()
    wait_until(lambda: drive.report()["stands"], "the axis to stand")


def test_without_pyserial_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "serial", None)
    with pytest.raises(MissingExtraError, match=r"sonosteer\[serial\]"):
        LineDrive(opening(), LineSettings(address="serial:/dev/none", zero="here"))


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("tcp://127.0.0.1", InputError, "give tcp://HOST:PORT"),
        ("tcp://127.0.0.1:99999", InputError, "give tcp://HOST:PORT"),
        ("udp://127.0.0.1:1", InputError, "give tcp://HOST:PORT"),
        ("serial:/dev/there-is-none", RobotError, "cannot be opened"),
        ("tcp://127.0.0.1:9", RobotError, "nobody answers"),
    ],
)
def test_an_address_that_cannot_be_is_said_in_one_line(address, error, said):
    pytest.importorskip("serial")
    with pytest.raises(error, match=said) as e:
        LineDrive(opening(), LineSettings(address=address, zero="here"))
    assert "\n" not in str(e.value)


# -- the protocol ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=40))
def test_no_line_at_all_is_taken_for_an_answer_that_it_is_not(line):
    try:
        said = OwnProtocol().answer(b"", line)
    except ValueError:
        return
    assert line.endswith(checked(unchecked(line))[-5:])
    assert isinstance(said, LineAnswer)


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_line_with_a_byte_changed_is_refused(at, change):
    line = bytearray(checked("V 25000 120"))
    line[at % len(line)] ^= change
    with pytest.raises((ValueError, UnicodeDecodeError)):
        unchecked(bytes(line))


def test_every_fault_of_the_protocol_has_a_name():
    for word, fault in FAULTS.items():
        assert OwnProtocol().answer(b"", checked(f"ST FAULT 0 0 {word}")).fault == fault


# -- somebody else's controller --------------------------------------------------------------------------------

ADAPTER = """
from sonosteer.robots.line_protocol import LineAnswer

class Mine:
    terminator = b"\\r"
    def identify(self): return b"?"
    def status(self): return b"P"
    def enable(self): return b"ON"
    def move(self, speed_mm_s, lasts_s): return b"G%.3f,%.3f" % (speed_mm_s, lasts_s)
    def stop(self): return b"H"
    def reset(self): return b"C"
    def answer(self, request, line):
        if request != b"P":
            return LineAnswer(text=line.decode())
        place, speed = line.split(b",")
        return LineAnswer(ready=True, depth_mm=float(place), speed_mm_s=float(speed))
"""


@pytest.fixture
def other_drive():
    """A drive of another make: lines end in CR, and P says place and speed."""
    server = socket.create_server(("127.0.0.1", 0))
    heard = []

    def serve():
        client, _ = server.accept()
        with client, client.makefile("rb") as file:
            rest = b""
            while came := file.read1(100):
                *lines, rest = (rest + came).split(b"\r")
                for line in lines:
                    heard.append(line)
                    client.sendall(b"12.5,0.0\r" if line == b"P" else b"mine 7\r")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], heard
    thread.join(5.0)
    server.close()


def test_a_class_of_ones_own_speaks_to_another_controller(tmp_path, monkeypatch, other_drive):
    port, heard = other_drive
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_drive.py").write_text(ADAPTER)
    settings = LineSettings(address=f"tcp://127.0.0.1:{port}", protocol="my_drive:Mine", zero="absolute", **PATIENT)
    axis = LineDrive(opening(), settings)
    try:
        assert axis.describe() == "mine 7, depth 12.50 mm"
        axis.enable()
        axis.carry_out(cleared(axis._clock.now_s(), 5.0, lasts_s=0.1))
        wait_until(lambda: any(line.startswith(b"G5.000,") for line in heard), "the order")
        wait_until(lambda: heard.count(b"H") >= 2, "the stop once it expired")
    finally:
        axis.close()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Mine: terminator = b'\\n'", "has no method 'identify'"),
        (ADAPTER.replace('b"\\r"', "None"), "has no terminator"),
        ("class Mine:\n    def __init__(self): 1 / 0", "cannot be set up: ZeroDivisionError"),
    ],
)
def test_a_class_that_cannot_be_used_is_said_in_one_line(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    name = f"drive_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(InputError, match=said):
        LineDrive(opening(), LineSettings(address="tcp://127.0.0.1:9", protocol=f"{name}:Mine", zero="here"))


def test_what_an_adapter_raises_holds_everything(drive, open_axis, monkeypatch):
    axis = open_axis()

    def broken(*_):
        raise KeyError("mine")

    monkeypatch.setattr(axis._protocol, "status", broken)
    wait_until(lambda: axis.state().fault is not None, "the fault")
    assert axis.state().fault.kind == "broke"
    assert "KeyError" in axis.state().fault.reason


@pytest.mark.parametrize("wrong", [{"baud": 1}, {"margin_s": 1.0}, {"protocol": "mine"}, {"zero_mm": float("inf")}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        dataclasses.replace(LineSettings(address="tcp://a:1", zero="here"), **wrong)
