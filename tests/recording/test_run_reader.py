"""A recording opens wherever it was cut off, and says so."""

import base64
import json
import os
import struct

import numpy as np
import pytest
from mcap.reader import make_reader

from altering import Written, counted, put_together, taken_apart
from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.types import Frame, Lost
from sonosteer.recording import run_log
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import AlteredRecordingError, RunReader
from sonosteer.recording.wire import same


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A recording with a chunk for about every message."""
    monkeypatch.setattr(run_log, "FLUSH_S", 0.0)
    path = tmp_path / "run.mcap"
    with RunLog(path, {"seed": 1}, live=False) as log:
        for i in range(2):
            log.frame(Frame(np.full((3, 4), 40 * i, np.uint8), i, i * 0.1), i * 0.1)
            log.write("/estimate", i * 0.1, {"estimate": Lost(i, i * 0.1, "small")})
    return path


def prefix_of(path, whole, known=None):
    """(number of messages, complete) of a prefix of the whole, None where it cannot be opened; anything else raises.

    known: a number of messages that has been looked at before.
    """
    try:
        recorded = RunReader(path)
    except SonosteerError as e:
        said = str(e)
    else:
        said = ""
    if said:
        assert said.startswith(str(path))
        assert "\n" not in said
        return None
    n = sum(recorded.counts.values())
    if n == known:
        return n, recorded.complete
    got = list(recorded.messages())
    assert n == len(got)
    assert [m.number for m in got] == list(range(len(got)))
    assert same([m.what for m in got], [m.what for m in whole[: len(got)]])
    return n, recorded.complete


def cuts_and_summary(path):
    """Every byte of the messages, from the back, after every eleventh of the summary behind them."""
    data = path.read_bytes()
    (summary,) = struct.unpack("<Q", data[-28:-20])  # the footer's first number
    return [*range(len(data) - 1, summary, -11), *range(summary, -1, -1)], summary


def test_cut_off_at_any_byte_it_gives_what_was_whole(small):
    whole = list(RunReader(small).messages())
    cuts, summary = cuts_and_summary(small)
    assert 0 < summary < small.stat().st_size - 28
    assert prefix_of(small, whole) == (len(whole), True)
    before, lengths = len(whole), set()
    for n in cuts:
        os.truncate(small, n)
        got = prefix_of(small, whole, before)
        if got is None:
            before = 0
            continue
        assert not got[1]
        assert got[0] <= before
        before = got[0]
        lengths.add(before)
    assert before == 0
    assert len(lengths) >= 4


def test_with_any_byte_damaged_it_gives_what_came_before_and_is_not_whole(small):
    whole = list(RunReader(small).messages())
    data = small.read_bytes()
    for at in range(0, len(data), 37):
        small.write_bytes(data[:at] + bytes([data[at] ^ 0xA5]) + data[at + 1 :])
        got = prefix_of(small, whole)
        assert got is None or not got[1]


def test_a_missing_message_ends_the_reading(small):
    messages = taken_apart(small)
    put_together(small, [*messages[:2], *messages[3:]])
    recorded = RunReader(small)
    assert recorded.cut == "altered: message 2 is missing, 3 follows"
    assert sum(recorded.counts.values()) == 2


def test_a_message_that_says_something_else_ends_the_reading(small):
    messages = taken_apart(small)
    messages[3] = messages[3].saying(log_s=0.5)
    put_together(small, messages)
    recorded = RunReader(small)
    assert recorded.cut == "altered: message 3 is not what was written, or not where it was"
    assert sum(recorded.counts.values()) == 3


def test_a_recording_whose_beginning_says_something_else_counts_for_nothing(small):
    messages = taken_apart(small)
    put_together(small, [messages[0].saying(configuration={"seed": 2}), *messages[1:]])
    with pytest.raises(AlteredRecordingError, match=r"was altered: message 0 .* before anything was recorded"):
        RunReader(small)


def test_a_recording_that_was_packed_otherwise_is_the_same(small):
    before = RunReader(small)
    put_together(small, taken_apart(small), chunks=False)
    after = RunReader(small)
    assert after.complete
    assert after.digest == before.digest
    assert same(list(after.messages()), list(before.messages()))


def test_a_recording_without_its_closing_message_is_cut(small):
    put_together(small, taken_apart(small)[:-1])
    assert RunReader(small).cut == "cut off: it has no closing message"


def test_a_closing_message_that_counts_otherwise_is_found_though_the_chain_was_made_anew(small):
    messages = taken_apart(small)
    put_together(small, [m for m in messages if m.topic != "/estimate"], chained=True)
    assert RunReader(small).cut.startswith("altered: its closing message counts ")


def test_something_behind_the_end_is_found(small):
    small.write_bytes(small.read_bytes() + b"\0")
    assert RunReader(small).cut == "altered: it goes on after its end"


def test_a_cut_recording_says_where(small):
    os.truncate(small, small.stat().st_size - 1)
    recorded = RunReader(small)
    assert recorded.cut == f"cut off at byte {small.stat().st_size}"
    assert recorded.ended == "closed"


def test_a_run_that_is_still_being_written_can_be_read(tmp_path):
    with RunLog(tmp_path / "run.mcap", {"seed": 4}) as log:
        recorded = RunReader(log.path)
        assert recorded.configuration == {"seed": 4}
        assert not recorded.complete
        assert recorded.ended is None


def test_others_read_it_too(small):
    """Foxglove goes by the summary at the end, and by the schema's name."""
    with small.open("rb") as f:
        reader = make_reader(f, validate_crcs=True)
        assert reader.get_summary().statistics.message_count == sum(RunReader(small).counts.values())
        found = [(schema.name, json.loads(message.data)) for schema, _, message in reader.iter_messages("/frames")]
    assert [name for name, _ in found] == ["foxglove.CompressedImage"] * 2
    assert found[1][1]["timestamp"] == {"sec": 0, "nsec": 100_000_000}
    assert base64.b64decode(found[1][1]["data"]).startswith(b"\x89PNG")


def test_what_is_no_recording_is_said_in_one_line(tmp_path):
    path = tmp_path / "run.mcap"

    def said():
        with pytest.raises(SonosteerError) as e:
            RunReader(path)
        return str(e.value)

    assert said() == f"{path} does not exist"
    path.mkdir()
    assert said() == f"{path} cannot be read: Is a directory"
    path.rmdir()
    path.touch()
    assert said() == f"{path} is empty"
    path.write_bytes(b"RIFF and so on")
    assert said() == f"{path} is no recording: it is not an MCAP file"
    put_together(path, [], profile="ros2", library="")
    assert said() == f"{path} is an MCAP file, but no recorded run of sonosteer: its profile is 'ros2'"
    now = "This sonosteer reads format 3: install the version that wrote it, or record the run again"
    put_together(path, [], profile="sonosteer-run/7", library="sonosteer 3.1.0")
    assert said() == f"{path} has format 7, written by sonosteer 3.1.0. {now}"
    put_together(
        path, [], profile="sonosteer-run/1", library="sonosteer 0.4.0"
    )  # before there was a command inside an action
    assert said() == f"{path} has format 1, written by sonosteer 0.4.0. {now}"
    put_together(path, [])
    assert said() == f"{path} was closed before anything was recorded"


def recording_of(path, *messages):
    """Written by somebody else who knows the chain: (topic, JSON text)."""
    first = '{"configuration":{},"versions":{},"started_at":"","log_s":0.0}'
    said = [("/configuration", first), *messages, ("/end", '{"ended":"closed","log_s":0.0}')]
    put_together(path, counted([Written(topic, 0, 0, text.encode()) for topic, text in said]), chained=True)


@pytest.mark.parametrize(
    ("topic", "text", "said"),
    [
        ("/tick", '{"log_s":[]}', "message 1 on /tick is damaged"),
        ("/tick", "{}", "message 1 on /tick is damaged: 'log_s'"),
        ("/tick", '{"log_s":0,"robot_state":{"_type":"RobotState"}}', "RobotState lacks 'time_s'"),
        ("/frames", '{"log_s":0,"index":3}', "the picture of frame 3 is damaged: its arrival is missing"),
    ],
)
def test_a_message_that_makes_no_sense_is_named(tmp_path, topic, text, said):
    path = tmp_path / "run.mcap"
    recording_of(path, (topic, text))
    with pytest.raises(InputError, match=said):
        list(RunReader(path).messages())
