"""Watches the stream of frames, and says at any time why it cannot be trusted: reasons for `GateInput.faults`.

It compares how much time the stamps say has passed with how much passed on arrival, so that the two clocks need not
agree. The gate itself makes sure that every age is small.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field

from sonosteer.core.types import Pixels
from sonosteer.safety.limits import Limits

STRIDE = 4  # chosen for speed: every fourth pixel each way is looked at


@dataclass(frozen=True, slots=True)
class WatchedFrame:
    """One frame as it came."""

    index: int
    """Number of the frame in its source, from 0."""
    time_s: float
    """Its time stamp, s."""
    now_s: float
    """When it arrived, s on the run's clock."""
    fingerprint: int
    """Number that only pictures alike share, no unit."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What is known of the stream."""

    since_s: float
    """When watching began, s on the run's clock."""
    last: WatchedFrame | None = None
    """The newest frame, None before the first."""
    same: int = 0
    """Number of pictures in a row that were shown before, the first of pictures alike included."""
    shown: tuple[int, ...] = ()
    """Fingerprints of the pictures of late, oldest first, each once, no unit."""
    offset_s: float | None = None
    """By how much a frame came after its stamp where it came soonest, s. None before the first that was right."""
    complaint: str | None = None
    """What was wrong within the last frames, None if nothing was."""
    clean: int = 0
    """Number of frames since then that were right."""


@dataclass(frozen=True, slots=True)
class StreamWatch:
    """Finds silence, time stamps that go back, jump or fall behind, frame numbers that go back, old pictures again."""

    limits: Limits = field(default_factory=Limits)
    """Every number that the stream is held to."""

    def start(self, now_s: float) -> StreamState:
        """Return the state before the first frame, which is due within `Limits.silent_s`."""
        return StreamState(now_s)

    def saw(self, state: StreamState, frame: WatchedFrame) -> StreamState:
        """Return the state after one more frame."""
        again = frame.fingerprint in state.shown
        same = state.same + 1 if again else 1
        shown = state.shown if again else (*state.shown, frame.fingerprint)[-self.limits.remembered :]
        wrong = self._wrong(state, frame, same)
        offset_s = state.offset_s
        if wrong is None and math.isfinite(frame.time_s):
            came_s = frame.now_s - frame.time_s
            offset_s = came_s if offset_s is None else min(offset_s, came_s)
        clean = 0 if wrong is not None else state.clean + 1
        complaint = state.complaint if wrong is None and clean < self.limits.clean else wrong
        return StreamState(state.since_s, frame, same, shown=shown, offset_s=offset_s, complaint=complaint, clean=clean)

    def reasons(self, state: StreamState, now_s: float) -> tuple[str, ...]:
        """Return why the stream cannot be trusted now, nothing if it can."""
        last_s = state.since_s if state.last is None else state.last.now_s
        complaints = () if state.complaint is None else (state.complaint,)
        if not now_s - last_s <= self.limits.silent_s:
            return (f"no frame for {now_s - last_s:.3g} s; {self.limits.silent_s:g} s are allowed", *complaints)
        return complaints

    def _wrong(self, state: StreamState, frame: WatchedFrame, same: int) -> str | None:
        last = state.last
        if last is None:
            return None
        if not frame.index > last.index:
            return f"frame {frame.index} came after frame {last.index}"
        stamped_s, passed_s = frame.time_s - last.time_s, frame.now_s - last.now_s
        if not stamped_s > 0:
            return f"time stamps go back: {last.time_s:.6g} s, then {frame.time_s:.6g} s"
        if not abs(stamped_s - passed_s) <= self.limits.time_step_s:
            return f"time stamps jump: {stamped_s:.3g} s between two frames that came {passed_s:.3g} s apart"
        if state.offset_s is not None and not frame.now_s - frame.time_s - state.offset_s <= self.limits.time_step_s:
            return f"frames come {frame.now_s - frame.time_s - state.offset_s:.3g} s later than at first"
        if not same < self.limits.repeats:
            alike = frame.fingerprint == last.fingerprint
            return f"the same picture {same} times in a row" if alike else f"{same} old pictures in a row"
        return None


def fingerprint(pixels: Pixels) -> int:
    """Return a number that two pictures share only if they look alike."""
    return zlib.crc32(pixels[::STRIDE, ::STRIDE].tobytes())
