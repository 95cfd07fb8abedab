"""A run is recorded as it happens, and never holds anything up."""

import errno
import json
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import LinearProbe, Spacing
from sonosteer.core.types import Action, Command, Frame, Lost, Observation, RobotState, TipEstimate, Track
from sonosteer.recording import run_log
from sonosteer.recording.appended import AppendedFile
from sonosteer.recording.run_log import PICTURES, RunLog, to_ns
from sonosteer.recording.run_reader import RunReader
from sonosteer.recording.run_topics import TOPICS, schema_of
from sonosteer.recording.wire import same

RNG = np.random.default_rng(5)
READING = RobotState(0.1, 12.0, 5.0, 0.7, 0.0, (0.0, 1.0, float("nan")))


def frame(i, shape=(24, 32), dtype=np.uint8):
    pixels = RNG.integers(0, np.iinfo(dtype).max, shape, dtype)
    probe = LinearProbe((16.0, 0.0), 38.0, 40.0)
    full = float(np.iinfo(dtype).max)
    return Frame(pixels, i, i * 0.04, Spacing(0.1, 0.2), probe, full, np.eye(4) * i, None if i % 2 else 3.5)


def tip(i):
    return TipEstimate(i, i * 0.04, (i / 3, 4.0), 0.7, np.eye(2) / 7, 0.9, Track.COASTING, (0.0, 0.0), (), 0.5)


def observation(i):
    return Observation(i, i * 0.04, tip(i) if i % 3 else Lost(i, i * 0.04, "gone"), READING, (3.0, 4.0))


@pytest.fixture
def held_disk(monkeypatch):
    """A disk that takes nothing until the event is set."""
    event, real = threading.Event(), AppendedFile.write

    def write(self, data):
        if data and threading.current_thread().name == "recorder":
            event.wait()
        return real(self, data)

    monkeypatch.setattr(AppendedFile, "write", write)
    yield event
    event.set()


NOT_SENT = ("/configuration", "/arrival", "/annotations", "/end")


def test_everything_that_was_handed_over_comes_back_in_order(tmp_path):
    path, sent = tmp_path / "run.mcap", []
    with RunLog(path, {"seed": 3, "limit": float("inf")}, live=False) as log:

        def write(topic, time_s, what):
            log.write(topic, time_s, what)
            sent.append((topic, time_s, what))

        for i in range(40):
            picture = frame(
                i, *[((24, 32), np.uint8), ((9, 7, 3), np.uint8), ((5, 6), np.uint16)][i % 3 : i % 3 + 1][0]
            )
            log.frame(picture, i * 0.04 + 1 / 3)
            sent.append(("/frames", i * 0.04 + 1 / 3, picture))
            write("/estimate", i / 7, {"estimate": tip(i), "started_s": float("nan")})
            write(
                "/decision",
                i / 7,
                {
                    "observation": observation(i),
                    "action": Action(i, 0.1, Command(expires_at_s=0.2, insertion_speed_mm_s=5.0)),
                },
            )
            write("/tick", i / 7, {"robot_state": READING, "faults": ("a", "b"), "verdict": None})
        write("/event", 9.0, {"text": "stop pressed"})
        write("/of/somebody/else", 9.5, {"x": [1, 2]})
    assert log.failed is None
    recorded = RunReader(path)
    assert (recorded.complete, recorded.cut, recorded.ended) == (True, None, "closed")
    assert recorded.configuration == {"seed": 3, "limit": float("inf")}
    assert recorded.until_s == 9.5
    assert recorded.started_at.endswith("+00:00")
    got = list(recorded.messages())
    assert [m.number for m in got] == list(range(len(got)))
    back = [(m.topic, m.time_s, m.what) for m in got if m.topic not in NOT_SENT]
    assert same(back, sent)
    assert same(list(recorded.frames()), [w for t, _, w in sent if t == "/frames"])
    assert recorded.counts == Counter(m.topic for m in got)
    assert got[-1].what["counts"] == {t: n for t, n in recorded.counts.items() if t != "/end"}
    assert [m.topic for m in recorded.messages("/event", "/end")] == ["/event", "/end"]
    assert [m.what.arrived_s for m in recorded.messages("/arrival")][:2] == [1 / 3, 0.04 + 1 / 3]


def test_the_caller_never_waits_for_a_disk_that_takes_nothing(tmp_path, held_disk):
    path = tmp_path / "run.mcap"
    with RunLog(path, {}) as log:
        for i in range(20 * PICTURES):
            log.frame(frame(i, (300, 300)), i * 0.04)
            log.write("/tick", i * 0.04, {"k": i})
        held_disk.set()
    recorded = RunReader(path)
    n, dropped = 20 * PICTURES, log.dropped["the recorder was behind"]
    assert dropped > 0
    assert [m.what["k"] for m in recorded.messages("/tick")] == list(range(n))
    arrivals = [m.what for m in recorded.messages("/arrival")]
    assert [a.index for a in arrivals] == list(range(n))
    assert Counter(a.no_picture for a in arrivals) == {None: n - dropped, "the recorder was behind": dropped}
    assert [f.index for f in recorded.frames()] == [a.index for a in arrivals if a.no_picture is None]
    assert next(recorded.messages("/end")).what["pictures_dropped"] == {"the recorder was behind": dropped}


def test_a_disk_that_takes_nothing_for_a_second_is_a_failure_that_may_pass(tmp_path, held_disk):
    clock = SimulatedClock()
    with RunLog(tmp_path / "run.mcap", {}, clock=clock) as log:
        log.write("/event", 0.0, {"text": "one"})
        assert log.failed is None
        clock.advance(1.5)
        assert log.failed == f"nothing has reached the disk for 1.5 s: {log.path}"
        held_disk.set()
    assert log.failed is None
    assert RunReader(log.path).complete


def test_the_end_of_a_run_does_not_wait_for_ever_for_a_disk(tmp_path, held_disk, monkeypatch):
    monkeypatch.setattr(run_log, "CLOSING_S", 0.01)
    log = RunLog(tmp_path / "run.mcap", {})
    log.write("/event", 0.0, {"text": "one"})
    log.close()
    assert log.failed.startswith("the disk did not take the end of the run")


def test_on_a_simulated_clock_nothing_is_dropped(tmp_path):
    with RunLog(tmp_path / "run.mcap", {}, live=False) as log:
        for i in range(5 * PICTURES):
            log.frame(frame(i, (200, 200)), i * 0.04)
    assert not log.dropped
    assert RunReader(log.path).counts["/frames"] == 5 * PICTURES


def fill_the_disk(monkeypatch, room, number=errno.ENOSPC):
    real = os.write

    def small_disk(fd, data):
        nonlocal room
        if threading.current_thread().name != "recorder":
            return real(fd, data)
        if room <= 0:
            raise OSError(number, os.strerror(number))
        n = real(fd, data[:room])
        room -= n
        return n

    monkeypatch.setattr(os, "write", small_disk)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "failed")])
def test_a_full_disk_is_said_and_what_was_written_is_kept(tmp_path, monkeypatch, live, number, said):
    path = tmp_path / "run.mcap"
    fill_the_disk(monkeypatch, 1_500_000, number)
    with RunLog(path, {}, live=live) as log:
        for i in range(40):
            log.write("/event", float(i), {"text": RNG.bytes(100_000).hex()})
            log.frame(frame(i), float(i))
    assert said in log.failed
    assert "what was recorded before is kept" in log.failed
    monkeypatch.undo()
    recorded = RunReader(path)
    assert not recorded.complete
    assert recorded.ended is None
    got = list(recorded.messages())
    assert [m.number for m in got] == list(range(len(got)))
    assert 5 < len(got) < 120
    log.write("/event", 99.0, {"text": "too late"})
    log.frame(frame(99), 99.0)
    log.close("again")
    assert RunReader(path).counts == recorded.counts


def test_a_run_is_not_begun_on_a_full_disk_or_where_nothing_can_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        RunLog(tmp_path / "nowhere" / "run.mcap", {})
    if Path("/dev/full").exists():
        with pytest.raises(InputError, match="the disk is full"):
            RunLog(Path("/dev/full"), {})


def test_what_cannot_be_recorded_is_a_failure_and_raises_nothing(tmp_path):
    with RunLog(tmp_path / "run.mcap", {}) as log:
        log.write("/event", 0.0, {"text": "before"})
        log.write("/tick", 0.1, {"verdict": object()})
    assert "a object has no form in JSON" in log.failed
    assert log.failed.count("\n") == 0


def test_a_frame_that_is_no_picture_is_counted_and_the_rest_goes_on(tmp_path):
    with RunLog(tmp_path / "run.mcap", {}) as log:
        log.frame(Frame(np.zeros((4, 4, 4), np.uint8), 0, 0.0), 0.0)
        log.frame(frame(1), 0.1)
    why = "pixels of shape (4, 4, 4) and type uint8 are no picture"
    assert log.failed is None
    assert log.dropped == {why: 1}
    recorded = RunReader(log.path)
    assert [m.what.no_picture for m in recorded.messages("/arrival")] == [why, None]
    assert [f.index for f in recorded.frames()] == [1]


def test_an_error_that_ends_the_run_is_why_it_ended(tmp_path):
    with pytest.raises(ZeroDivisionError), RunLog(tmp_path / "run.mcap", {}) as log:
        log.write("/tick", 3.5, {})
        raise ZeroDivisionError("of nothing")
    recorded = RunReader(log.path)
    assert recorded.ended == "ZeroDivisionError: of nothing"
    assert next(recorded.messages("/end")).time_s == 3.5


def test_what_changes_afterwards_was_recorded_as_it_was(tmp_path, held_disk):
    with RunLog(tmp_path / "run.mcap", {}) as log:
        what = {"k": 1}
        log.write("/tick", 0.0, what)
        what["k"] = 2
        held_disk.set()
    assert next(RunReader(log.path).messages("/tick")).what == {"k": 1}


@pytest.mark.parametrize("topic", [*TOPICS, "/new/topic"])
def test_the_schemas_hold_only_what_foxglove_can_show(topic):
    """Its parser throws on a choice of types, on nested arrays and on objects without properties."""

    def check(schema):
        assert schema["type"] in ("object", "array", "number", "integer", "string", "boolean")
        if schema["type"] == "object":
            for each in schema["properties"].values():
                check(each)
        if schema["type"] == "array":
            assert schema["items"]["type"] not in ("array", "null")
            check(schema["items"])

    name, schema = schema_of(topic)
    check(json.loads(schema))
    foreign = {"/frames": "foxglove.CompressedImage", "/annotations": "foxglove.ImageAnnotations"}
    assert name == foreign.get(topic, name)
    assert name.startswith("foxglove.") == (topic in foreign)


@pytest.mark.parametrize(("time_s", "ns"), [(1.5, 1_500_000_000), (-1.0, 0), (float("nan"), 0), (1e300, 9 * 10**18)])
def test_a_time_that_mcap_cannot_say_is_held_in_range(time_s, ns):
    assert to_ns(time_s) == ns


def test_a_time_that_is_no_number_is_recorded_as_it_is(tmp_path):
    with RunLog(tmp_path / "run.mcap", {}) as log:
        log.write("/event", float("inf"), {"text": "?"})
    assert next(RunReader(log.path).messages("/event")).time_s == float("inf")
