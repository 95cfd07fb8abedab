"""The newest value waits, and every value that was put is accounted for."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.newest import Newest


@given(st.lists(st.booleans(), max_size=60))
def test_every_value_is_taken_overwritten_or_waits(steps):
    box: Newest[int] = Newest()
    put = 0
    for is_put in steps:
        if is_put:
            box.put(put)
            put += 1
        else:
            got = box.take(0.0)
            assert got is None or got == put - 1
        total, taken, overwritten, waiting = box.counts
        assert (total, taken + overwritten + waiting) == (put, put)
    box.discard()
    assert box.counts[3] == 0


def test_a_value_is_taken_once_and_peeking_leaves_it():
    box: Newest[str] = Newest()
    box.put("a")
    assert box.peek(0.0) == "a"
    assert box.take(0.0) == "a"
    assert box.take(0.0) is None


def test_an_error_comes_after_what_waits():
    box: Newest[str] = Newest()
    box.put("a")
    box.fail(OSError("gone"))
    assert box.take(0.0) == "a"
    with pytest.raises(OSError, match="gone"):
        box.take(0.0)


def test_whoever_waits_is_woken():
    box: Newest[int] = Newest()
    got = []
    waiter = threading.Thread(target=lambda: got.append(box.take(60.0)))
    waiter.start()
    box.put(7)
    waiter.join(60.0)
    assert got == [7]
