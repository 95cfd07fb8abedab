"""Records a run as it happens, in MCAP: frames, estimates, decisions, what the gate said, why it ended.

A thread of its own writes, and the caller only puts into a queue. What is queued reaches the operating system every
FLUSH_S as one whole chunk, so that a killed process loses less than a second. Chunks cost less than single messages:
0.3 against 0.5 ms for a frame and five messages. Foxglove can seek in them, and zstd takes back the third that base64
adds to the pictures. The same thread computes the hash chain, so that nothing waits for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcap.writer import Writer

from sonosteer.core.clock import Clock, RealClock
from sonosteer.core.errors import BrokenError, SonosteerError
from sonosteer.core.types import Frame, Lost, TipEstimate
from sonosteer.recording.annotations import annotations_of
from sonosteer.recording.appended import AppendedFile
from sonosteer.recording.hash_chain import ChainLink, HashChain, channel_digest
from sonosteer.recording.pictures import no_picture, to_png
from sonosteer.recording.run_topics import (
    ANNOTATIONS,
    ARRIVAL,
    CONFIGURATION,
    END,
    ESTIMATE,
    PICTURE,
    PROFILE,
    TOPICS,
    VERSION,
    schema_of,
)
from sonosteer.recording.summary import versions
from sonosteer.recording.tables import writing_failed
from sonosteer.recording.wire import FrameArrival, encode

FLUSH_S = 0.25
STALLED_S = 1.0  # chosen: more than this would be lost if the process were killed now
PICTURES = 16  # chosen: at most half a second's work for the thread
MESSAGES = 2000  # number that a run on a simulated clock may be ahead of the disk
CLOSING_S = 10.0
LATEST_S = 9e9  # 285 years: nanoseconds have 64 bits
_KEPT = "what was recorded before is kept"


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """One message that waits. queued_s: on the disk's clock. time_s: on the run's.

    what: a mapping, a frame, or an estimate to draw.
    """

    queued_s: float
    number: int
    topic: str
    time_s: float
    what: Mapping[str, Any] | Frame | TipEstimate | Lost


class RunLog:
    """Records one run without blocking it. Nothing is raised once it is open: `failed` says why recording stopped.

    configuration: what the run was started with. clock: of the disk, real unless a test says otherwise.
    live=True: no call waits for the disk. A picture that finds PICTURES others waiting is dropped and counted in
    `dropped`. Everything else waits in a queue without end. live=False is for simulated clocks, which stand still
    meanwhile: calls wait for room, and nothing is dropped. Opening raises InputError if the file cannot be written.
    """

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], *, clock: Clock | None = None, live: bool = True
    ) -> None:
        self.path, self.live = path, live
        self.dropped: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._clock = clock or RealClock()
        self._queue: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._error: SonosteerError | None = None
        self._unsaved_s: float | None = None
        self._number = self._pictures = 0
        self._last_s = 0.0
        self._closing = self._finished = False
        self._chain = HashChain()
        self._channel_digests: dict[int, bytes] = {}
        with contextlib.ExitStack() as opened:
            try:
                self._file = opened.enter_context(contextlib.closing(AppendedFile(path)))
                self._writer = Writer(self._file, enable_data_crcs=True)
                self._begin(configuration)
            except OSError as e:
                raise writing_failed(path, e, "nothing was recorded") from None
            opened.pop_all()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> str | None:
        """Why nothing is written any more, or has not been for STALLED_S (which may pass); None while all is well."""
        since = self._unsaved_s
        if self._error is None and self.live and since is not None:
            late_s = self._clock.now_s() - since
            if late_s > STALLED_S:
                return f"nothing has reached the disk for {late_s:.1f} s: {self.path}"
        return None if self._error is None else str(self._error)

    @property
    def error(self) -> SonosteerError | None:
        """What to raise after the run because recording stopped, None if it did not."""
        return self._error

    @property
    def digest(self) -> str | None:
        """Digest of the whole recording, 64 hexadecimal digits. None before it is closed, and if that failed."""
        return self._chain.digest if self._finished else None

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Record something said or decided at time_s of the run. It is read later: do not change it afterwards.

        What is said of the tip on /estimate is drawn on /annotations, too.
        """
        with self._changed:
            self._wait_for_room()
            self._put(topic, time_s, dict(what))
            if topic == ESTIMATE and isinstance(what.get("estimate"), TipEstimate | Lost):
                self._put(ANNOTATIONS, time_s, what["estimate"])

    def frame(self, frame: Frame, now_s: float) -> None:
        """Record a frame that arrived at now_s of the run. Its picture is recorded only if there is room for it."""
        with self._changed:
            self._wait_for_room()
            why = no_picture(frame.pixels) or (None if self._pictures < PICTURES else "the recorder was behind")
            if why is not None:
                self.dropped[why] += 1
            self._put(ARRIVAL, now_s, {"arrival": FrameArrival.of(frame, now_s, why)})
            if why is None:
                self._pictures += 1
                self._put(PICTURE, now_s, frame)

    def close(self, ended: str = "closed") -> None:
        """Write why the run ended, and finish the file. May be called twice. Waits for the disk, up to CLOSING_S."""
        with self._changed:
            if not self._closing:
                self._put(END, self._last_s, {"ended": ended})
                self._closing = True
                self._changed.notify_all()
        self._thread.join(CLOSING_S)
        if self._thread.is_alive():
            self._error = BrokenError(f"the disk did not take the end of the run: {self.path}; {_KEPT}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("closed" if kind is None else f"{kind.__name__}: {error}")

    def _begin(self, configuration: Mapping[str, Any]) -> None:
        """Write before anything moves: what the file is, its topics, and what the run was started with."""
        made_by = versions()
        self._writer.start(f"{PROFILE}/{VERSION}", f"sonosteer {made_by['sonosteer']}")
        self._channels = {topic: self._channel(topic) for topic in TOPICS}
        first = {"configuration": configuration, "versions": made_by, "started_at": datetime.now(UTC).isoformat()}
        self._add(_Entry(0.0, 0, CONFIGURATION, 0.0, first))
        self._writer.flush()

    def _wait_for_room(self) -> None:
        if not self.live:
            self._changed.wait_for(lambda: self._error is not None or self._closing or self._has_room())

    def _has_room(self) -> bool:
        return len(self._queue) < MESSAGES and self._pictures < PICTURES

    def _put(self, topic: str, time_s: float, what: Mapping[str, Any] | Frame | TipEstimate | Lost) -> None:
        if self._error is not None or self._closing:
            return
        self._number += 1
        self._last_s = time_s
        entry = _Entry(self._clock.now_s(), self._number, topic, time_s, what)
        self._queue.append(entry)
        if self._unsaved_s is None:
            self._unsaved_s = entry.queued_s
        self._changed.notify_all()

    def _run(self) -> None:
        """Empty the queue and hand chunks to the disk: the thread's work."""
        try:
            self._record()
            self._writer.finish()
            self._finished = True
        except OSError as e:
            self._error = writing_failed(self.path, e, _KEPT)
        except Exception as e:  # noqa: BLE001  the control loop must not fall over its recorder: it reads `failed`
            self._error = BrokenError(f"recording {self.path} failed: {type(e).__name__}: {e}; {_KEPT}")
        with self._changed:
            self._queue.clear()
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._file.close()

    def _record(self) -> None:
        saved_s = self._clock.now_s()
        while True:
            entry = self._next()
            if entry is not None:
                self._add(entry)
            elif self._closing:
                return
            if entry is None or self._clock.now_s() - saved_s >= FLUSH_S:
                self._writer.flush()
                saved_s = self._clock.now_s()
                with self._changed:
                    self._unsaved_s = self._queue[0].queued_s if self._queue else None

    def _next(self) -> _Entry | None:
        """Return the oldest entry, None after FLUSH_S without one and at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing, FLUSH_S)
            entry = self._queue.popleft() if self._queue else None
            self._changed.notify_all()
            return entry

    def _add(self, entry: _Entry) -> None:
        what = self._encoded(entry)
        if entry.topic == END:
            what |= {"counts": dict(self.counts), "pictures_dropped": dict(self.dropped)}
        if entry.topic not in self._channels:
            self._channels[entry.topic] = self._channel(entry.topic)
        body = json.dumps(what | {"log_s": encode(entry.time_s)}, allow_nan=False, separators=(",", ":")).encode()
        at_ns, channel = to_ns(entry.time_s), self._channels[entry.topic]
        data = self._chain.sealed(ChainLink(entry.number, at_ns, at_ns, self._channel_digests[channel]), body)
        self._writer.add_message(channel, at_ns, data, at_ns, entry.number)
        self.counts[entry.topic] += 1

    def _encoded(self, entry: _Entry) -> dict[str, Any]:
        if isinstance(entry.what, Frame):
            return self._picture(entry, entry.what)
        if isinstance(entry.what, TipEstimate | Lost):
            drawn: dict[str, Any] = encode(annotations_of(entry.what, _stamp(entry.time_s)))
            return drawn
        told: dict[str, Any] = encode(entry.what)
        return told

    def _picture(self, entry: _Entry, frame: Frame) -> dict[str, Any]:
        png = to_png(frame.pixels)
        with self._changed:
            self._pictures -= 1
            self._changed.notify_all()
        return {
            "timestamp": _stamp(entry.time_s),
            "frame_id": "image",
            "format": "png",
            "index": frame.index,
            "data": base64.b64encode(png).decode(),
        }

    def _channel(self, topic: str) -> int:
        name, schema = schema_of(topic)
        number: int = self._writer.register_channel(
            topic, "json", self._writer.register_schema(name, "jsonschema", schema)
        )
        self._channel_digests[number] = channel_digest(topic, "json", name, "jsonschema", schema)
        return number


def _stamp(time_s: float) -> dict[str, int]:
    sec, nsec = divmod(to_ns(time_s), 10**9)
    return {"sec": sec, "nsec": nsec}


def to_ns(time_s: float) -> int:
    """Return nanoseconds as MCAP counts them, from 0. 0 for what is no time."""
    return round(min(max(time_s, 0.0), LATEST_S) * 1e9) if math.isfinite(time_s) else 0
