"""Can the stream of frames be trusted? Told every frame, it says at any time why not: reasons for `GateInput.faults`.

It compares what the time stamps say has passed with what has passed at the door, so that the two clocks need not agree.
That every single age is small is the gate's own rule.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from sonosteer.core.types import Pixels
from sonosteer.safety.limits import Limits

STRIDE = 4


@dataclass(frozen=True, slots=True)
class WatchedFrame:
    """One frame as it came."""

    index: int
    time_s: float
    now_s: float
    fingerprint: int


@dataclass(frozen=True, slots=True)
class StreamState:
    """since_s: when watching began. same: pictures alike in a row. complaint: what was wrong within the last frames.

    clean: frames since that were right.
    """

    since_s: float
    last: WatchedFrame | None = None
    same: int = 0
    complaint: str | None = None
    clean: int = 0


@dataclass(frozen=True, slots=True)
class StreamWatch:
    """Silence, time stamps that go back or jump, frame numbers that go back, a frozen picture."""

    limits: Limits = field(default_factory=Limits)

    def start(self, now_s: float) -> StreamState:
        """Before the first frame, which is due within `Limits.silent_s`."""
        return StreamState(now_s)

    def saw(self, state: StreamState, index: int, time_s: float, now_s: float, fingerprint: int) -> StreamState:
        """The state after one more frame: its number, its time stamp, when it arrived, what its pixels were like."""
        frame = WatchedFrame(index, time_s, now_s, fingerprint)
        same = state.same + 1 if state.last is not None and state.last.fingerprint == frame.fingerprint else 1
        wrong = self._wrong(state.last, frame, same)
        if wrong is not None:
            return StreamState(state.since_s, frame, same, wrong, 0)
        clean = state.clean + 1
        return StreamState(state.since_s, frame, same, state.complaint if clean < self.limits.clean else None, clean)

    def reasons(self, state: StreamState, now_s: float) -> tuple[str, ...]:
        """Why the stream cannot be trusted now; empty if it can."""
        last_s = state.since_s if state.last is None else state.last.now_s
        complaints = () if state.complaint is None else (state.complaint,)
        if not now_s - last_s <= self.limits.silent_s:
            return (f"no frame for {now_s - last_s:.3g} s; {self.limits.silent_s:g} s are allowed", *complaints)
        return complaints

    def _wrong(self, last: WatchedFrame | None, frame: WatchedFrame, same: int) -> str | None:
        if last is None:
            return None
        if not frame.index > last.index:
            return f"frame {frame.index} came after frame {last.index}"
        stamped_s, passed_s = frame.time_s - last.time_s, frame.now_s - last.now_s
        if not stamped_s > 0:
            return f"time stamps go back: {last.time_s:.6g} s, then {frame.time_s:.6g} s"
        if not abs(stamped_s - passed_s) <= self.limits.time_step_s:
            return f"time stamps jump: {stamped_s:.3g} s between two frames that came {passed_s:.3g} s apart"
        if same >= self.limits.repeats:
            return f"the same picture {same} times in a row"
        return None


def fingerprint(pixels: Pixels) -> int:
    """A number that two pictures share only if they look alike: of every fourth pixel, which is quick."""
    return zlib.crc32(pixels[::STRIDE, ::STRIDE].tobytes())
