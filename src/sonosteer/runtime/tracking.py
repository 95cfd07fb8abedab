"""The tracking loop: source -> tracker -> watchers.

Nothing in the loop waits for a viewer: a slow watcher is put behind `Background`. For a recorded clip it may lag but
loses nothing: the loop waits when it is `depth` frames behind, which costs no frame. With `complete=False`, for live
sources, the oldest waiting frame is dropped instead and counted.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from sonosteer.core.clock import Clock
from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.protocols import Source, Tracker, Watcher
from sonosteer.core.types import Estimate, Frame, Hint, Lost
from sonosteer.recording.frame_ledger import FrameLedger


def track_frames(
    source: Source,
    tracker: Tracker[Any],
    hint: Hint,
    clock: Clock,
    ledger: FrameLedger,
    *,
    start: int = 0,
    stop: int | None = None,
    stills: bool = False,
    watchers: Sequence[Watcher] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> FrameLedger:
    """Track frames `start` to `stop` of a source and enter them in the ledger.

    stills: every picture is tracked on its own, from a fresh state. A picture that cannot be read (PictureError) is
    lost, with its reason, and the run goes on; watchers see a black one. Ctrl-C ends the run and is noted in the
    ledger. If the source or the tracker breaks off, the frames before have been tracked and watched. The ledger is
    closed then, and the error is raised on. Raises InputError if not one picture could be read.
    """
    state = tracker.start(hint)
    with ledger.until_the_end():
        reading = _Reading(source, start, stop)
        while True:
            before_s = clock.now_s()
            read = reading.next()
            if read is None:
                break
            decoded_s = clock.now_s()
            if isinstance(read, Frame):
                frame, before = read, tracker.start(hint) if stills else state
                state, estimate, bad = step_tracker(tracker, before, read)
            else:
                frame, estimate, bad = _black(read, source.info.size_px), _unread(read), True
            tracked_s = clock.now_s()
            ledger.tracked(estimate, bad=bad)
            estimate = without_features(estimate)
            for watcher in watchers:
                watcher.saw(frame, estimate)
            ledger.timed("read", decoded_s - before_s)
            if not bad:
                ledger.timed("track", tracked_s - decoded_s)
            ledger.timed("hand over", clock.now_s() - tracked_s)
            progress(ledger.frames)
        _check_any_read(source.info.name, ledger)
    return ledger


class _Reading:
    """Frames of a source. Goes on behind a picture that cannot be read."""

    def __init__(self, source: Source, start: int, stop: int | None) -> None:
        self._source, self._stop, self._next = source, stop, start
        self._frames = source.frames(start, stop)

    def next(self) -> Frame | PictureError | None:
        """Return the next frame, why it cannot be read, or None at the end."""
        try:
            return next(self._frames, None)
        except PictureError as e:
            if e.index < self._next:  # it does not go on behind it
                raise
            self._next = e.index + 1
            self._frames = self._source.frames(self._next, self._stop)
            return e


def step_tracker(tracker: Tracker[Any], state: Any, frame: Frame) -> tuple[Any, Estimate, bool]:
    """Return the next state, the estimate, and whether the picture could not be used at all."""
    try:
        return (*tracker.step(state, frame), False)
    except PictureError as e:
        return state, _unread(e), True


def _unread(error: PictureError) -> Lost:
    return Lost(error.index, error.time_s, str(error))


def _black(error: PictureError, size_px: tuple[int, int]) -> Frame:
    """A picture to show instead of one that cannot be read."""
    return Frame(np.zeros((size_px[1], size_px[0]), np.uint8), error.index, error.time_s)


def _check_any_read(name: str, ledger: FrameLedger) -> None:
    if 0 < ledger.bad == ledger.frames:
        first = next(iter(ledger.bad_because))
        raise InputError(first if ledger.frames == 1 else f"{name}: no picture can be used, the first because {first}")


def without_features(estimate: Estimate) -> Estimate:
    """Drop the features: whoever keeps estimates would keep them, too, and memory would grow with the clip."""
    return estimate if estimate.features is None else replace(estimate, features=None)


class Background:
    """Runs a watcher in a thread of its own, `depth` frames behind at most.

    Use it as a context manager. Leaving it waits for the frames still queued. What the watcher raises is raised again
    at the next `saw` or at the end.
    """

    def __init__(self, watcher: Watcher, *, depth: int = 32, complete: bool = True) -> None:
        self._watcher = watcher
        self._queue: queue.Queue[tuple[Frame, Estimate] | None] = queue.Queue(depth)
        self._complete = complete
        self._error: BaseException | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._watcher.saw(*item)
                except Exception as e:  # noqa: BLE001  raised again in the loop's own thread
                    self._error = e

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Queue one frame."""
        if self._error is not None:
            raise self._error
        if self._complete:
            self._queue.put((frame, estimate))
            return
        try:
            self._queue.put_nowait((frame, estimate))
        except queue.Full:
            self.dropped += 1
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
            self._queue.put((frame, estimate))

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error
