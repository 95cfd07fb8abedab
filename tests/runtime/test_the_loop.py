import dataclasses
import threading
import time

import numpy as np
import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Hint, Lost
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.runtime.tracking import Background, track_frames


class Clip:
    """Blank frames; breaks off with an error at `breaks`."""

    def __init__(self, n, breaks=None):
        self.n, self.breaks = n, breaks
        self.info = SourceInfo("clip", "test", (4, 4), n, 20.0, None)

    def frames(self, start=0, stop=None):
        for i in range(start, self.n if stop is None else min(stop, self.n)):
            if i == self.breaks:
                raise InputError("clip ends early")
            yield Frame(np.zeros((4, 4), np.uint8), i, i / 20)

    def close(self):
        pass


class Counter:
    """A tracker whose state is the number of frames it has seen; may press Ctrl-C."""

    def __init__(self, interrupt=None):
        self.interrupt = interrupt

    def prepare(self):
        pass

    def start(self, hint):
        return 0

    def step(self, state, frame):
        if frame.index == self.interrupt:
            raise KeyboardInterrupt
        return state + 1, Lost(frame.index, frame.time_s, f"seen {state}")


class Notes:
    def __init__(self, delay_s=0.0, fails_at=None):
        self.seen, self.delay_s, self.fails_at = [], delay_s, fails_at

    def saw(self, frame, estimate):
        time.sleep(self.delay_s)
        if frame.index == self.fails_at:
            raise InputError("the disk is full")
        self.seen.append(frame.index)


def run(source, tracker=None, watchers=(), **kw):
    ledger = FrameLedger(source.n - kw.get("start", 0))
    track_frames(source, tracker or Counter(), Hint(), SimulatedClock(), ledger, watchers=watchers, **kw)
    return ledger


def test_every_frame_is_accounted_for():
    notes = Notes()
    counts = run(Clip(7), watchers=[notes]).tracking_counts()
    assert counts["frames"] == counts["tracking"] + counts["coasting"] + counts["lost"] == 7
    assert counts["dropped"] == 0
    assert notes.seen == list(range(7))


def test_watchers_get_no_features_which_would_make_memory_grow_with_the_clip():
    class Seeing(Counter):
        def step(self, state, frame):
            state, lost = super().step(state, frame)
            return state, dataclasses.replace(lost, features=np.zeros(9, np.float32))

    class Keeps:
        def __init__(self):
            self.estimates = []

        def saw(self, frame, estimate):
            self.estimates.append(estimate)

    keeps = Keeps()
    run(Clip(3), Seeing(), [keeps])
    assert [e.frame_index for e in keeps.estimates] == [0, 1, 2]
    assert all(e.features is None for e in keeps.estimates)


def test_only_the_frames_asked_for_are_tracked():
    notes = Notes()
    run(Clip(9), watchers=[notes], start=2, stop=5)
    assert notes.seen == [2, 3, 4]


def test_ctrl_c_keeps_what_was_done_and_books_the_rest():
    notes = Notes()
    counts = run(Clip(9), Counter(interrupt=4), [notes]).tracking_counts()
    assert notes.seen == [0, 1, 2, 3]
    assert counts["interrupted"]
    assert counts["dropped_because"] == {"interrupted": 5}


def test_a_source_that_breaks_off_is_booked_and_raised():
    ledger = FrameLedger(9)
    with pytest.raises(InputError, match="ends early"):
        track_frames(Clip(9, breaks=3), Counter(), Hint(), SimulatedClock(), ledger)
    assert ledger.tracking_counts()["frames"] == 3
    assert ledger.tracking_counts()["dropped_because"] == {"clip ends early": 6}


def test_times_are_kept_per_stage_and_frame():
    ledger = run(Clip(5))
    assert {k: len(v) for k, v in ledger.times_ms.items()} == {"read": 5, "track": 5, "hand over": 5}


def test_a_slow_watcher_in_the_background_loses_nothing_of_a_recorded_clip():
    notes = Notes(delay_s=0.002)
    with Background(notes, depth=2) as background:
        run(Clip(20), watchers=[background])
    assert notes.seen == list(range(20))
    assert background.dropped == 0


def test_a_live_source_never_waits_for_a_hung_watcher():
    release = threading.Event()

    class Hung:
        seen = 0

        def saw(self, frame, estimate):
            release.wait(5)
            self.seen += 1

    hung = Hung()
    with Background(hung, depth=2, complete=False) as background:
        counts = run(Clip(50), watchers=[background]).tracking_counts()
        release.set()
    assert counts["frames"] == 50
    assert background.dropped >= 40
    assert hung.seen + background.dropped == 50


def test_what_a_watcher_raises_reaches_the_loop():
    notes = Notes(fails_at=3)
    with pytest.raises(InputError, match="disk is full"), Background(notes, depth=1) as background:
        run(Clip(200), watchers=[background])
    assert notes.seen == [0, 1, 2]
