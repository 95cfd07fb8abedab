import dataclasses
import threading
import time

import numpy as np
import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError, PictureError
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


class Damaged(Clip):
    """Some of its pictures cannot be read."""

    def __init__(self, n, bad, *, stuck=False):
        super().__init__(n)
        self.bad, self.stuck = bad, stuck

    def frames(self, start=0, stop=None):
        for frame in super().frames(0 if self.stuck else start, stop):
            if frame.index in self.bad:
                raise PictureError(f"picture {frame.index} is torn", frame.index, frame.time_s)
            yield frame


class Estimates:
    def __init__(self):
        self.estimates, self.pixels = [], []

    def saw(self, frame, estimate):
        assert frame.index == estimate.frame_index
        self.estimates.append(estimate)
        self.pixels.append(frame.pixels)


def test_a_picture_that_cannot_be_read_is_lost_with_its_reason():
    seen = Estimates()
    ledger = run(Damaged(6, {0, 3, 4}), watchers=[seen])
    torn = [Lost(i, i / 20, f"picture {i} is torn") for i in (0, 3, 4)]
    assert [e for e in seen.estimates if e.frame_index in (0, 3, 4)] == torn
    assert [e.reason for e in seen.estimates if e.frame_index in (1, 2, 5)] == ["seen 0", "seen 1", "seen 2"]
    assert seen.pixels[3].shape == (4, 4)
    assert not seen.pixels[3].any()
    counts = ledger.tracking_counts()
    assert (counts["frames"], counts["lost"], counts["bad"], counts["dropped"]) == (6, 6, 3, 0)
    assert counts["bad_because"] == {e.reason: 1 for e in torn}
    assert {k: len(v) for k, v in ledger.times_ms.items()} == {"read": 6, "track": 3, "hand over": 6}


def test_only_the_frames_asked_for_may_be_bad():
    assert run(Damaged(9, {2, 8}), start=3, stop=6).bad == 0
    assert run(Damaged(9, {2, 5, 8}), start=3, stop=6).bad == 1


@pytest.mark.parametrize(("n", "said"), [(1, "picture 0 is torn"), (3, "no picture can be used, the first because")])
def test_if_no_picture_can_be_read_the_run_is_refused(n, said):
    ledger = FrameLedger(n)
    with pytest.raises(InputError, match=said):
        track_frames(Damaged(n, set(range(n))), Counter(), Hint(), SimulatedClock(), ledger)
    assert ledger.bad == n
    assert said in ledger.ended_early


def test_a_source_that_does_not_go_on_behind_a_bad_picture_ends_the_run():
    with pytest.raises(PictureError, match="picture 2 is torn"):
        run(Damaged(6, {2}, stuck=True))


def test_a_tracker_may_say_that_it_cannot_use_a_picture():
    class Picky(Counter):
        def step(self, state, frame):
            if frame.index == 1:
                raise PictureError("too small", 1, frame.time_s)
            return super().step(state, frame)

    seen = Estimates()
    assert run(Clip(3), Picky(), [seen]).bad == 1
    assert [e.reason for e in seen.estimates] == ["seen 0", "too small", "seen 1"]


def test_stills_are_tracked_from_a_fresh_state_each():
    seen = Estimates()
    run(Clip(4), watchers=[seen], stills=True)
    assert [e.reason for e in seen.estimates] == ["seen 0"] * 4
