"""The loop on a live source: newest first, ends when told, says when nothing comes."""

import numpy as np
import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.live import StreamCounts, is_live
from sonosteer.core.newest import Newest
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Hint, Lost
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.runtime.live_tracking import track_live


class Scanner:
    """A live source on a simulated clock: one picture each 20 ms, at the times that it is told."""

    def __init__(self, silent=(), broken_at=None):
        self.info = SourceInfo("scanner", "live", (8, 6), None, None, None)
        self.clock = SimulatedClock()
        self.silent, self.broken_at = silent, broken_at
        self.box, self.next = Newest(), 0

    def _film(self, until_s):
        while 0.02 * self.next <= until_s + 1e-9:
            time_s = 0.02 * self.next
            if not any(a <= time_s < b for a, b in self.silent):
                self.box.put(Frame(np.zeros((6, 8), np.uint8), self.next, time_s))
            self.next += 1

    def next_frame(self, timeout_s):
        end_s = self.clock.now_s() + timeout_s
        while True:
            self._film(self.clock.now_s())
            got = self.box.take(0.0)
            if got is not None:
                if self.broken_at is not None and got.index >= self.broken_at:
                    raise InputError("the size changed")
                return got
            if self.clock.now_s() >= end_s - 1e-9:
                return None
            self.clock.sleep_until(min(0.02 * self.next, end_s))

    def frames(self, start=0, stop=None):
        raise NotImplementedError

    def counts(self):
        put, taken, overwritten, waiting = self.box.counts
        return StreamCounts(received=put, seen=taken, overwritten=overwritten, waiting=waiting, bad={})

    def lag(self):
        return {}

    def complaint(self):
        return "unplugged"

    def close(self):
        self.box.discard()


class Slow:
    """A tracker that takes its time on the source's clock."""

    def __init__(self, clock, takes_s=0.0, interrupt_at=None):
        self.clock, self.takes_s, self.interrupt_at = clock, takes_s, interrupt_at

    def prepare(self):
        pass

    def start(self, hint):
        return 0

    def step(self, state, frame):
        if state == self.interrupt_at:
            raise KeyboardInterrupt
        self.clock.advance(self.takes_s)
        return state + 1, Lost(frame.index, frame.time_s, "nothing here")


class Noted:
    def __init__(self):
        self.frames, self.reasons = [], []

    def saw(self, frame, estimate):
        self.frames.append(frame.index)

    def silent(self, reason):
        self.reasons.append(reason)


def run(source, takes_s=0.0, interrupt_at=None, **options):
    ledger, noted = FrameLedger(), Noted()
    tracker = Slow(source.clock, takes_s, interrupt_at)
    track_live(source, tracker, Hint(), ledger, watchers=(noted,), **options)
    return ledger, noted


def test_a_scanner_can_be_waited_for_and_a_list_cannot():
    assert is_live(Scanner())
    assert not is_live([])


def test_it_ends_after_so_many_frames_and_passes_over_the_first():
    ledger, noted = run(Scanner(), start=3, stop=10)
    assert noted.frames == list(range(3, 10))
    assert ledger.frames == 7
    assert ledger.states["lost"] == 7


def test_it_ends_after_so_many_seconds_also_if_nothing_comes():
    source = Scanner()
    ledger, _ = run(source, seconds=1.0)
    assert ledger.frames == pytest.approx(50, abs=1)
    silent = Scanner(silent=[(0.0, 99.0)])
    ledger, noted = run(silent, seconds=2.0)
    assert ledger.frames == 0
    assert silent.clock.now_s() == pytest.approx(2.0)
    assert noted.reasons[0] == "no picture for 0.5 s, unplugged"


def test_a_tracker_that_is_slow_gets_the_newest_and_no_lag_grows():
    source = Scanner()
    ledger, noted = run(source, takes_s=0.05, seconds=5.0)
    source.close()
    ages_ms = ledger.times_ms["age"]
    assert max(ages_ms) <= 50.0 + 20.0 + 1e-6
    assert abs(ages_ms[-1] - ages_ms[5]) < 20.0
    counts = source.counts()
    assert counts.received == counts.seen + counts.overwritten
    assert counts.seen == ledger.frames == len(noted.frames)
    assert counts.overwritten > counts.seen


def test_silence_is_told_to_those_who_want_to_know_and_ends_with_the_next_picture():
    source = Scanner(silent=[(1.0, 3.0)])
    _, noted = run(source, seconds=4.0)
    assert 10 < len(noted.reasons) < 20
    assert noted.reasons[-1] in ("no picture for 1.9 s, unplugged", "no picture for 2.0 s, unplugged")
    assert noted.frames[-1] > 150


def test_ctrl_c_is_how_it_ends():
    ledger, noted = run(Scanner(), interrupt_at=5)
    assert ledger.interrupted
    assert ledger.frames == len(noted.frames) == 5


def test_a_source_that_breaks_off_closes_the_ledger():
    source, ledger = Scanner(broken_at=4), FrameLedger()
    with pytest.raises(InputError, match="the size changed"):
        track_live(source, Slow(source.clock), Hint(), ledger)
    assert ledger.frames == 4
    assert ledger.ended_early == "the size changed"
