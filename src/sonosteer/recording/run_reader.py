"""Reads a recorded run: all of it, or all up to where it was cut off or altered."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.types import Frame
from sonosteer.recording.mcap_walk import MAGIC, McapWalk, WalkedMessage
from sonosteer.recording.pictures import from_png
from sonosteer.recording.run_topics import ARRIVAL, CONFIGURATION, END, PICTURE, PROFILE, VERSION
from sonosteer.recording.wire import FrameArrival, decode, revive


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One message."""

    number: int
    """Its place in the order of writing, an index from 0."""
    topic: str
    """Topic that it was written to."""
    time_s: float
    """When it was said, s on the run's clock."""
    what: Any
    """The frame of a picture, the `FrameArrival` of a frame, else a dictionary that holds values of core's types."""


class AlteredRecordingError(BrokenError):
    """A recording was cut off or altered so early that nothing in it is to be believed."""


class RunReader:
    """A recording, opened: what is in it, and whether it is whole and as it was written.

    Messages count only as far as the hash chain says that they are what was written. counts: number of them per topic.
    until_s: the latest time in it. cut: what is wrong, None for a whole, unaltered one. digest: of what counts.
    configuration: what the run was started with. ended: why the run ended, None where that was not recorded.
    Raises InputError if the file is no recording, or if another version wrote it, and AlteredRecordingError if not
    even its first message counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_beginning(path)
        walk = McapWalk(path)
        self.counts: Counter[str] = Counter()
        self.until_s = 0.0
        first = last = None
        for message in walk.messages():
            self.counts[message.topic] += 1
            self.until_s = max(self.until_s, message.log_ns * 1e-9)
            first, last = first or message, message
        _check_profile(path, walk)
        if first is None or first.topic != CONFIGURATION:
            raise AlteredRecordingError(f"{path} was {walk.cut or 'closed'} before anything was recorded")
        begin = self._what(first)
        end = self._what(last) if last is not None and last.topic == END else None
        self.digest = walk.chain.digest
        self.cut = walk.cut or _wrong_end(end, self.counts)
        self.configuration: dict[str, Any] = begin["configuration"]
        self.versions: dict[str, str] = begin["versions"]
        self.started_at: str = begin["started_at"]
        self.ended: str | None = None if end is None else end["ended"]

    @property
    def complete(self) -> bool:
        """True if the run was closed, and the file is whole and as it was written."""
        return self.cut is None

    def messages(self, *topics: str) -> Iterator[Recorded]:
        """Yield the messages of these topics in the order of writing. No topic: all of them.

        Raises InputError if one makes no sense.
        """
        arrival: FrameArrival | None = None
        for message in McapWalk(self.path).messages():
            topic = message.topic
            wanted = not topics or topic in topics
            if not wanted and (topic != ARRIVAL or PICTURE not in topics):
                continue
            what: Any = self._what(message)
            time_s = what.pop("log_s")
            if topic == ARRIVAL:
                what = arrival = what["arrival"]
            elif topic == PICTURE:
                what = self._frame(what, arrival)
            if wanted:
                yield Recorded(message.number, topic, time_s, what)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames whose pictures were recorded, as they arrived."""
        return (message.what for message in self.messages(PICTURE))

    def coded_pictures(self) -> Iterator[tuple[int, FrameArrival, bytes]]:
        """Yield (index of the frame, its arrival, PNG as it was recorded) of each picture. It is not decoded.

        Raises InputError if one makes no sense.
        """
        arrival: FrameArrival | None = None
        for message in McapWalk(self.path).messages():
            if message.topic == ARRIVAL:
                arrival = self._what(message)["arrival"]
            elif message.topic == PICTURE:
                said = self._what(message)
                if arrival is None or arrival.index != said.get("index"):
                    raise InputError(f"{self.path}: the picture of frame {said.get('index')} has no arrival")
                try:
                    yield arrival.index, arrival, base64.b64decode(said["data"])
                except (ValueError, TypeError, KeyError) as e:
                    raise InputError(f"{self.path}: the picture of frame {arrival.index} is damaged: {e}") from None

    def _what(self, message: WalkedMessage) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(message.body)
            time_s = decode(float, said["log_s"])
            if message.topic == PICTURE:
                return said | {"log_s": time_s}
            return {key: revive(value) for key, value in said.items()} | {"log_s": time_s}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise InputError(f"{self.path}: message {message.number} on {message.topic} is damaged: {e}") from None

    def _frame(self, picture: dict[str, Any], arrival: FrameArrival | None) -> Frame:
        try:
            if arrival is None or arrival.index != picture["index"]:
                raise ValueError("its arrival is missing")
            return arrival.frame(from_png(base64.b64decode(picture["data"])))
        except (ValueError, TypeError, KeyError) as e:
            raise InputError(f"{self.path}: the picture of frame {picture.get('index')} is damaged: {e}") from None


def _wrong_end(end: dict[str, Any] | None, counts: Counter[str]) -> str | None:
    """Say how the closing message and the messages before it disagree, None if they agree."""
    if end is None:
        return "cut off: it has no closing message"
    said = end.get("counts")
    found = {topic: n for topic, n in counts.items() if topic != END}
    if said != found or counts[END] != 1:
        return f"altered: its closing message counts {said}, and there are {found}"
    return None


def _check_beginning(path: Path) -> None:
    try:
        with path.open("rb") as f:
            begin = f.read(len(MAGIC))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    if not begin:
        raise InputError(f"{path} is empty")
    if not MAGIC.startswith(begin):
        raise InputError(f"{path} is no recording: it is not an MCAP file")


def _check_profile(path: Path, walk: McapWalk) -> None:
    if walk.profile is None:
        raise AlteredRecordingError(f"{path} was cut off before anything was recorded")
    kind, _, version = walk.profile.partition("/")
    if kind != PROFILE:
        raise InputError(f"{path} is an MCAP file, but no recorded run of sonosteer: its profile is {walk.profile!r}")
    if version != str(VERSION):
        writer = walk.library or "a sonosteer that does not say its version"
        raise InputError(
            f"{path} has format {version}, written by {writer}. This sonosteer reads format {VERSION}: "
            "install the version that wrote it, or record the run again"
        )
