"""A recorded run as the replay room shows it: its pictures by index, and all that was said and decided, by time.

It is read once when it is opened. Pictures lie in a file without a name meanwhile, so that memory stays small.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sonosteer.console.clip_frames import ShownPicture, encode_picture
from sonosteer.console.tracks import pair_of, rows_of
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Estimate, Observation, RobotState, Task, TipEstimate
from sonosteer.recording.pictures import from_png
from sonosteer.recording.run_reader import Recorded, RunReader
from sonosteer.recording.run_topics import ARRIVAL
from sonosteer.recording.wire import FrameArrival

CURVE_POINTS = 4000  # chosen: twice what the widest screen shows
OPENED_PICTURES = 64  # chosen: encoded pictures that are kept, some five megabytes

Said: TypeAlias = dict[str, Any]
#: what control did: the order went out whole, less of it did, it was held, or a stop was latched
Word: TypeAlias = Literal["cleared", "bounded", "held", "stopped"]


@dataclass(frozen=True, slots=True)
class _StoredPicture:
    """Where the PNG of a frame lies in the file, in bytes."""

    at: int
    length: int
    arrival: FrameArrival


@dataclass(slots=True)
class GateSpan:
    """A time in which control went on doing the same for the same reason."""

    from_s: float
    """When it began, s on the run's clock."""
    to_s: float
    """When it was last so, s on the run's clock."""
    word: Word
    """What control did."""
    rule: str
    """Rule of the gate, or what bounded the order. Empty of one that was cleared whole."""
    reason: str
    """Why, in one line, as it was said first."""

    def told(self) -> list[Any]:
        """As a page is told: from, to, word, rule, reason."""
        return [round(self.from_s, 4), round(self.to_s, 4), self.word, self.rule, self.reason]


class RecordedRun:
    """One recording, read. Raises InputError if it is none, and AlteredRecordingError if nothing in it counts."""

    def __init__(self, path: Path) -> None:
        reader = RunReader(path)
        self.path, self.configuration = path, reader.configuration
        self.until_s, self.ended, self.cut, self.digest = reader.until_s, reader.ended, reader.cut, reader.digest
        self.frames: list[list[Any]] = []
        self.estimates: list[Said] = []
        self.decisions: list[list[Any]] = []
        self.spans: list[GateSpan] = []
        self.events: list[list[Any]] = []
        self.curve: list[list[Any]] = []
        self.spacing: Spacing | None = None
        self.size_px = (1, 1)
        self._stored: dict[int, _StoredPicture] = {}
        self._arrivals: dict[int, int] = {}
        self._ready: OrderedDict[tuple[int, bool], ShownPicture] = OrderedDict()
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  `close` closes it
        try:
            self._read(reader)
        except BaseException:
            self._file.close()
            raise
        stride = max(1, len(self.curve) // CURVE_POINTS)
        self.curve = self.curve[::stride]

    def close(self) -> None:
        """Release the file of pictures."""
        self._file.close()

    def about(self) -> Said:
        """What a page is told first: what was run, how long, how it ended, and whether the recording is whole."""
        command, task = self.configuration.get("command", {}), self.configuration.get("task")
        return {
            "name": f"{self.path.parent.name}/{self.path.name}",
            "frames": len(self.frames),
            "pictures": len(self._stored),
            "size_px": list(self.size_px),
            "spacing_mm": pair_of(self.spacing),
            "until_s": self.until_s,
            "ended": self.ended,
            "cut": self.cut,
            "digest": self.digest,
            "command": {str(k): v for k, v in command.items() if isinstance(v, str | int | float | bool)},
            "target_px": list(task.target_px) if isinstance(task, Task) else None,
            "regions": self.configuration.get("regions", []),
        }

    def parts(self) -> Mapping[str, list[Any]]:
        """All rows by name. frames: index, arrival in s, outcome, whether there is a picture. estimates: from when on
        it was known in s, capture in s, row of `rows_of`. decisions: time in s, frame, speed in mm/s, angle in rad,
        stop, target in px. spans: see `GateSpan.told`. events: time in s, text. curve: time in s, cleared speed in
        mm/s, depth in mm, tip's deviation in mm, distance to the target in mm.
        """
        return {
            "frames": self.frames,
            "estimates": [[e["done_s"], e["time_s"], e["row"]] for e in self.estimates],
            "decisions": self.decisions,
            "spans": [span.told() for span in self.spans],
            "events": self.events,
            "curve": self.curve,
        }

    def picture(self, index: int, *, exact: bool) -> ShownPicture:
        """The picture of the frame at a place in `frames`, as JPEG, or, exact, as PNG without loss."""
        with self._lock:
            ready = self._ready.get((index, exact))
            if ready is not None:
                self._ready.move_to_end((index, exact))
                return ready
            shown = self._open(index, exact)
            self._ready[index, exact] = shown
            if len(self._ready) > OPENED_PICTURES:
                self._ready.popitem(last=False)
            return shown

    def _open(self, index: int, exact: bool) -> ShownPicture:
        stored = self._stored.get(index)
        if stored is None:
            row = self.frames[index]
            return ShownPicture(index, row[1], self.size_px, "", b"", "the picture of this frame was not recorded")
        self._file.seek(stored.at)
        try:
            frame = stored.arrival.frame(from_png(self._file.read(stored.length)))
        except ValueError as e:
            return ShownPicture(index, stored.arrival.arrived_s, self.size_px, "", b"", str(e))
        kind, payload = encode_picture(frame.grey(), exact=exact)
        return ShownPicture(index, stored.arrival.arrived_s, frame.size_px, kind, payload)

    # -- reading -------------------------------------------------------------------------------------------------

    def _read(self, reader: RunReader) -> None:
        does = {
            ARRIVAL: self._arrived,
            "/frame": self._settled,
            "/estimate": self._estimated,
            "/decision": self._decided,
            "/tick": self._ticked,
            "/event": self._happened,
        }
        self._target: tuple[float, float] | None = None
        self._tip: TipEstimate | None = None
        for message in reader.messages(*does):
            try:
                does[message.topic](message)
            except (KeyError, TypeError, AttributeError, ValueError, IndexError) as e:
                where = f"{self.path}: message {message.number} on {message.topic}"
                raise InputError(f"{where} makes no sense ({type(e).__name__}: {e})") from None
        for index, arrival, png in reader.coded_pictures():
            place = self._arrivals.get(index)
            if place is not None:
                at = self._file.tell()
                self._file.write(png)
                self._stored[place] = _StoredPicture(at, len(png), arrival)
                self.frames[place][3] = True
        first = min(self._stored, default=None)
        if first is not None:
            self.size_px = self._open(first, exact=False).size_px

    def _arrived(self, message: Recorded) -> None:
        arrival: FrameArrival = message.what
        self._arrivals[arrival.index] = len(self.frames)
        self.frames.append([arrival.index, round(arrival.arrived_s, 4), "", False])
        self.spacing = self.spacing or arrival.spacing

    def _settled(self, message: Recorded) -> None:
        place = self._arrivals.get(message.what["index"])
        if place is not None:
            self.frames[place][2] = message.what["outcome"]

    def _estimated(self, message: Recorded) -> None:
        estimate: Estimate = message.what["estimate"]
        done_s = float(message.what["done_s"])
        self._tip = estimate if isinstance(estimate, TipEstimate) else None
        self.estimates.append(
            {"done_s": round(done_s, 4), "time_s": round(estimate.time_s, 4), "row": rows_of([estimate])[0]}
        )

    def _decided(self, message: Recorded) -> None:
        seen: Observation = message.what["observation"]
        action: Action = message.what["action"]
        order = action.command
        self._target = seen.target_px
        self.decisions.append(
            [
                *(round(message.time_s, 4), action.frame_index, round(order.insertion_speed_mm_s, 3)),
                *(round(order.insertion_angle_rad, 5), order.stop, [round(v, 2) for v in seen.target_px]),
            ]
        )

    def _happened(self, message: Recorded) -> None:
        self.events.append([round(message.time_s, 4), str(message.what["text"])])

    def _ticked(self, message: Recorded) -> None:
        what = message.what
        word, rule, reason = word_of(what)
        last = self.spans[-1] if self.spans else None
        if last is not None and (last.word, last.rule) == (word, rule):
            last.to_s = message.time_s
        else:
            if last is not None:
                last.to_s = message.time_s
            self.spans.append(GateSpan(message.time_s, message.time_s, word, rule, reason))
        robot: RobotState | None = what.get("robot_state")
        command = what["verdict"].get("command")
        speed = command.insertion_speed_mm_s if command is not None and word in ("cleared", "bounded") else 0.0
        depth = None if robot is None else round(robot.depth_mm, 3)
        self.curve.append([round(message.time_s, 4), round(speed, 3), depth, *self._tip_now()])

    def _tip_now(self) -> tuple[float | None, float | None]:
        """(deviation of the tip along the needle, its distance to the target), mm. None where not known."""
        tip, mm = self._tip, self.spacing
        if tip is None:
            return None, None
        sd = None if tip.sd_along_mm is None else round(tip.sd_along_mm, 3)
        if self._target is None or mm is None:
            return sd, None
        dx, dy = mm.to_mm((self._target[0] - tip.tip_px[0], self._target[1] - tip.tip_px[1]))
        return sd, round((dx * dx + dy * dy) ** 0.5, 3)


def word_of(tick: Mapping[str, Any]) -> tuple[Word, str, str]:
    """(what control did, rule, reason) in a control period, of its record."""
    verdict = tick["verdict"]
    if tick.get("stop") is not None:
        return "stopped", "stop", str(tick["stop"])
    if verdict["_type"] == "Refused":
        return "held", str(verdict["rule"]), str(verdict["reason"])
    if verdict["command"].stop:
        return "held", "the policy stops", "the policy says stop"
    bounded = verdict.get("bounded") or []
    if bounded:
        return "bounded", "less than was wanted", "; ".join(map(str, bounded))
    return "cleared", "", ""
