"""The tracking loop on a live source: the newest frame whenever the tracker is free, until somebody ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from sonosteer.core.live import LiveSource
from sonosteer.core.protocols import Tracker, Watcher
from sonosteer.core.types import Hint
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.runtime.awaited import AwaitedFrames
from sonosteer.runtime.tracking import step_tracker, without_features

WAIT_S = 0.1  # chosen: how often the loop looks whether it is to end while nothing comes


@runtime_checkable
class SilenceWatcher(Protocol):
    """A watcher that wants to know when no pictures come."""

    def silent(self, reason: str) -> None:
        """Note that no picture came for a while (`awaited.SILENT_S`). Called again while that lasts."""
        ...


def track_live(
    source: LiveSource,
    tracker: Tracker[Any],
    hint: Hint,
    ledger: FrameLedger,
    *,
    start: int = 0,
    stop: int | None = None,
    seconds: float | None = None,
    velocity_mm_s: float | None = None,
    watchers: Sequence[Watcher] = (),
    progress: Callable[[str, int], None] = lambda trouble, done: None,
) -> FrameLedger:
    """Track frames as they come and enter them in the ledger, until stop - start are done or seconds are over.

    The first `start` frames are passed over. None: without an end, until Ctrl-C, which is noted in the ledger.
    velocity_mm_s: measured insertion speed of all frames. progress: called with what is wrong with the stream, if
    anything, and the number of frames done. If source or tracker break off, the ledger is closed and the error raised
    on. The ledger's stage `age` is from a frame's acquisition until its estimate is handed to the watchers.
    """
    clock, state = source.clock, tracker.start(hint)
    awaited, began_s = AwaitedFrames(source), clock.now_s()
    taken = 0
    with ledger.until_the_end():
        while stop is None or taken < stop:
            now_s = clock.now_s()
            left_s = WAIT_S if seconds is None else min(WAIT_S, began_s + seconds - now_s)
            if left_s <= 0.0:
                break
            frame = awaited.next(left_s)
            if frame is None:
                _tell_silence(awaited, watchers, ledger.frames, progress)
                continue
            taken += 1
            if taken <= start:
                continue
            if velocity_mm_s is not None:
                frame = replace(frame, velocity_mm_s=velocity_mm_s)
            state, estimate, bad = step_tracker(tracker, state, frame)
            tracked_s = clock.now_s()
            ledger.tracked(estimate, bad=bad)
            estimate = without_features(estimate)
            ledger.timed("age", tracked_s - frame.time_s)
            for watcher in watchers:
                watcher.saw(frame, estimate)
            ledger.timed("track", tracked_s - awaited.last_s)
            ledger.timed("hand over", clock.now_s() - tracked_s)
            progress("", ledger.frames)
    return ledger


def _tell_silence(
    awaited: AwaitedFrames, watchers: Sequence[Watcher], done: int, progress: Callable[[str, int], None]
) -> None:
    """Tell the watchers that nothing comes, once it is so."""
    silent_s = awaited.silent_s
    if not silent_s:
        return
    for watcher in watchers:
        if isinstance(watcher, SilenceWatcher):
            watcher.silent(f"no picture for {silent_s:.1f} s, {awaited.reason}")
    progress(f"no picture for {silent_s:.0f} s, {awaited.reason}", done)
