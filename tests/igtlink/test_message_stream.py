"""Any cut, flip, repeat or insertion at any byte: no exception, no wrong picture, counted, and back in sync."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.intake import Intake
from sonosteer.sources.igtlink.message_stream import Damaged, EndOfStream, MessageStream, WholeMessage
from sonosteer.sources.igtlink.wire import HEADER, WireError, image_content, make_message

N = 9
SIZE = (24, 20)


def pictures():
    return [np.random.default_rng(i).integers(0, 255, SIZE, dtype=np.uint8) for i in range(N)]


PICTURES = pictures()


def messages(version=1):
    out = []
    for i, pixels in enumerate(PICTURES):
        content = image_content(pixels, (0.2, 0.1), np.eye(4))
        beside = {} if version == 1 else {"number": i + 1, "metadata": {"Depth": "40"}}
        out.append(make_message("IMAGE", "Image", content, stamp_s=1000.0 + 0.02 * i, **beside))
    return out


STREAMS = {version: messages(version) for version in (1, 2)}


def receive_from(data, most=None):
    file = io.BytesIO(data)

    def receive_into(view):
        return file.readinto(view[:most])

    return receive_into


def read_all(data, most=None):
    """(items, how it ended) of a stream."""
    stream, items = MessageStream(receive_from(data, most)), []
    while True:
        try:
            items.append(stream.next())
        except (EndOfStream, WireError) as e:
            return items, e


def taken(data):
    """(numbers of the pictures that came out, counts)."""
    clock = SimulatedClock()
    intake = Intake(WallClock(clock, lambda: 1000.0), device="Image")
    numbers = []
    items, _ = read_all(data)
    for item in items:
        clock.advance(0.02)
        intake.take(item, clock.now_s())
        got = intake.pictures.take(0.0)
        if got is not None:
            same = [i for i, p in enumerate(PICTURES) if np.array_equal(p, got.image.pixels)]
            assert len(same) == 1, "a picture came out that was never sent"
            numbers += same
    return numbers, intake.counts()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("most", [None, 1, 7, 58, 4096])
def test_what_is_whole_comes_out_whole_in_pieces_of_any_size(version, most):
    items, end = read_all(b"".join(STREAMS[version]), most)
    assert isinstance(end, EndOfStream)
    assert len(items) == N
    assert all(isinstance(item, WholeMessage) for item in items)


@st.composite
def damages(draw):
    """(damaged stream, numbers of the messages that were not touched, what was done)."""
    version = draw(st.sampled_from([1, 2]))
    sent = STREAMS[version]
    size = len(sent[0])
    data = b"".join(sent)
    at = draw(st.integers(0, len(data) - 1))
    kind = draw(st.sampled_from(["cut", "flip", "repeat", "insert", "bytes"]))
    length = draw(st.integers(1, 3 * size))
    end = min(at + length, len(data))
    if kind == "cut":
        damaged = data[:at] + data[end:]
    elif kind == "flip":
        end = at + 1
        damaged = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[end:]
    elif kind == "repeat":
        damaged = data[:end] + data[at:end] + data[end:]
        at = end = end  # nothing is gone
    elif kind == "bytes":
        end = min(at + draw(st.integers(1, 80)), len(data))
        damaged = data[:at] + draw(st.binary(min_size=end - at, max_size=end - at)) + data[end:]
    else:
        damaged = data[:at] + draw(st.binary(min_size=1, max_size=200)) + data[at:]
        end = at
    untouched = [i for i in range(N) if (i + 1) * size <= at or i * size >= end]
    return damaged, untouched, kind


@settings(max_examples=600)
@given(damages())
def test_any_damage_is_counted_and_the_rest_comes_through(damage):
    data, untouched, kind = damage
    numbers, counts = taken(data)
    if kind == "repeat":  # a header made of two is right where no check sum covers it: its stamp is another
        assert len(numbers) - len(set(numbers)) <= 1
    else:
        assert numbers == sorted(set(numbers)), "each picture once, in order"
    assert counts.received == counts.seen + counts.overwritten + counts.waiting + sum(counts.bad.values())
    missing = set(untouched) - set(numbers)
    if missing:  # a header whose size grew may have swallowed some to the end of the stream, and none else
        assert kind != "cut" or not missing
    lost = N - len(numbers)
    if kind in ("flip", "bytes") and lost:
        assert sum(counts.bad.values()) + sum(counts.other.values()) >= 1
    assert not missing


@pytest.mark.parametrize("at", range(42, 58))
def test_a_size_that_is_too_large_or_too_small_costs_one_message(at):
    """The fields of size and check sum of the third message, one byte after the other."""
    for value in (0, 1, 2, 5, 127, 255):
        sent = [bytearray(m) for m in STREAMS[1]]
        if sent[2][at] == value:
            continue
        sent[2][at] = value
        numbers, counts = taken(b"".join(sent))
        assert numbers == [i for i in range(N) if i != 2]
        assert sum(counts.bad.values()) >= 1


def test_a_stream_that_is_no_openigtlink_is_damage_and_an_end():
    items, end = read_all(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes())
    assert isinstance(end, EndOfStream | WireError)
    assert all(isinstance(item, Damaged) for item in items)
    assert len(items) >= 1


def test_damage_without_an_end_breaks_the_connection_off():
    bad = bytearray(STREAMS[1][0])
    bad[-1] ^= 1
    _, end = read_all(bytes(bad) * 40)
    assert isinstance(end, WireError)
    assert "in a row" in str(end)


def test_a_body_of_4_gb_or_more_is_refused_before_it_is_allocated():
    for size in (1 << 32, 1 << 60, (1 << 64) - 1):
        head = HEADER.pack(1, b"IMAGE", b"Image", 0, 0, size, 0)
        items, _ = read_all(head + b"".join(STREAMS[1]))
        assert isinstance(items[0], Damaged)
        assert "too large" in items[0].reason
        assert sum(isinstance(item, WholeMessage) for item in items) == N


def test_once_a_picture_came_none_a_hundred_times_as_large_is_believed():
    stream = MessageStream(receive_from(b"".join(STREAMS[1])))
    assert stream.max_body == 64 << 20
    stream.next()
    assert stream.max_body == 4 << 20


def test_a_picture_that_shows_a_whole_message_is_a_picture():
    inner = np.frombuffer(STREAMS[1][1].ljust(4000, b"\0")[:4000], np.uint8).reshape(40, 100)
    data = make_message("IMAGE", "Image", image_content(inner, None, np.eye(4))) + STREAMS[1][2]
    items, _ = read_all(data)
    assert len(items) == 2
    assert all(isinstance(item, WholeMessage) for item in items)


def test_unchecked_streams_take_wrong_check_sums():
    bad = bytearray(STREAMS[1][0])
    bad[-1] ^= 1
    assert isinstance(MessageStream(receive_from(bytes(bad)), checked=False).next(), WholeMessage)
    assert isinstance(MessageStream(receive_from(bytes(bad))).next(), Damaged)
