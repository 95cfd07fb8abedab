"""Whoever reads a mirror sees the newest value, whole, or nothing."""

import contextlib
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.console.mirror import HEADER_BYTES, MIRROR_SLOTS, NEWEST_SERIAL, SLOT_HEAD, Mirror


@pytest.fixture
def mirror():
    with contextlib.closing(Mirror(100)) as made:
        yield made


@pytest.fixture
def reader(mirror):
    """As another process sees it."""
    with contextlib.closing(Mirror(100, mirror.name)) as made:
        yield made


def test_nothing_is_there_before_the_first(reader):
    assert reader.newer(0) is None


@given(st.lists(st.tuples(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4), st.binary(max_size=100))))
def test_the_newest_is_read_as_it_was_put(values):
    with contextlib.closing(Mirror(100)) as mirror, contextlib.closing(Mirror(100, mirror.name)) as reader:
        for n, (header, payload) in enumerate(values, 1):
            assert mirror.put(header, payload) == n
            assert reader.newer(n - 1) == (n, header, payload)
            assert reader.newer(n) is None
        if values:
            assert reader.newer(0) == (len(values), *values[-1])


def test_a_slot_that_is_being_written_is_not_read(mirror, reader):
    mirror.put({"a": 1}, b"whole")
    at = NEWEST_SERIAL.size + (1 % MIRROR_SLOTS) * (SLOT_HEAD.size + HEADER_BYTES + 100)
    SLOT_HEAD.pack_into(mirror._buffer, at, 0, 0, 0, 0)
    assert reader.newer(0) is None


def test_a_torn_copy_is_not_read(mirror, reader):
    """The serial is right, and one byte is not: as where a processor writes out of order."""
    mirror.put({"a": 1}, b"whole")
    at = NEWEST_SERIAL.size + (1 % MIRROR_SLOTS) * (SLOT_HEAD.size + HEADER_BYTES + 100) + SLOT_HEAD.size + HEADER_BYTES
    mirror._buffer[at + 2] ^= 1
    assert reader.newer(0) is None
    mirror.put({"a": 2}, b"next")
    assert reader.newer(0) == (2, {"a": 2}, b"next")


def test_a_reader_that_waits_misses_values_and_nothing_else(mirror, reader):
    for n in range(10):
        mirror.put({"n": n})
    assert reader.newer(0).header == {"n": 9}


@pytest.mark.parametrize(
    ("header", "payload"), [({}, b"x" * 101), ({"a": "x" * HEADER_BYTES}, b""), ({"a": math.nan}, b"")]
)
def test_what_does_not_fit_is_refused_and_the_last_value_stays(mirror, reader, header, payload):
    mirror.put({"a": 1})
    with pytest.raises(ValueError):
        mirror.put(header, payload)
    assert reader.newer(0).header == {"a": 1}


def test_a_mirror_may_be_closed_twice_and_is_gone_then():
    mirror = Mirror(10)
    name = mirror.name
    mirror.close()
    mirror.close()
    with pytest.raises(FileNotFoundError):
        Mirror(10, name)


def test_no_torn_value_is_ever_seen_of_another_process():
    """A process overwrites as fast as it can. Every value that is read is whole, and none is older than the last."""
    words = [sys.executable, str(Path(__file__).with_name("mirror_writer.py")), "4000"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        reader = Mirror(200_000, writer.stdout.readline().strip())
        last = seen = 0
        while last < 4000:
            found = reader.newer(last)
            if found is None:
                assert writer.poll() is None
                continue
            assert found.serial > last
            assert found.header == {"serial": found.serial, "filler": "x" * (found.serial % 900)}
            assert found.payload == bytes([found.serial % 251]) * (200_000 - found.serial % 1000)
            last, seen = found.serial, seen + 1
        reader.close()
        writer.stdin.close()
    assert seen > 1
