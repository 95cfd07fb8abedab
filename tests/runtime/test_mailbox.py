import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from sonosteer.runtime.mailbox import Latest


def test_an_empty_mailbox_has_nothing():
    box = Latest()
    assert box.peek() is None
    assert box.newer(0) is None


@given(st.lists(st.one_of(st.none(), st.integers())))
def test_whoever_asks_gets_the_newest_value_once_and_never_an_older_one(steps):
    """None: the reader asks. A number: the writer puts it."""
    box, put, seen = Latest(), [], 0
    for step in steps:
        if step is not None:
            put.append(step)
            assert box.put(step) == len(put)
            continue
        fresh = box.newer(seen)
        assert fresh == (None if seen == len(put) else (len(put), put[-1]))
        seen = len(put)
    assert box.peek() == (None if not put else (len(put), put[-1]))


def test_a_value_is_handed_over_not_copied():
    box, value = Latest(), object()
    box.put(value)
    assert box.peek()[1] is value
    assert box.newer(0)[1] is value


def test_a_reader_that_waits_is_woken_by_the_next_value():
    box, got = Latest(), []
    reader = threading.Thread(target=lambda: got.append(box.newer(0, timeout_s=30.0)))
    reader.start()
    box.put("frame")
    reader.join(30.0)
    assert got == [(1, "frame")]


def test_a_reader_waits_no_longer_than_it_said():
    assert Latest().newer(0, timeout_s=0.01) is None


def test_a_writer_never_waits_for_readers_that_are_asleep():
    box, awake = Latest(), threading.Event()

    def slow():
        box.newer(0, 30.0)
        awake.wait(30.0)

    readers = [threading.Thread(target=slow) for _ in range(4)]
    for reader in readers:
        reader.start()
    for k in range(1000):
        box.put(k)
    assert box.peek() == (1000, 999)
    awake.set()
    for reader in readers:
        reader.join(30.0)


def test_between_threads_every_reader_sees_values_in_order_and_the_last_one():
    box, ends, seen = Latest(), 2000, [[] for _ in range(3)]

    def read(mine):
        serial = 0
        while serial < ends:
            fresh = box.newer(serial, timeout_s=30.0)
            if fresh is not None:
                serial = fresh[0]
                mine.append(fresh)

    readers = [threading.Thread(target=read, args=(mine,)) for mine in seen]
    for reader in readers:
        reader.start()
    for k in range(1, ends + 1):
        box.put(-k)
        if k % 100 == 0:
            time.sleep(0)
    for reader in readers:
        reader.join(30.0)
    for mine in seen:
        serials = [serial for serial, _ in mine]
        assert serials == sorted(set(serials))
        assert all(value == -serial for serial, value in mine)
        assert serials[-1] == ends
