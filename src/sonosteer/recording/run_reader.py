"""Reads a recorded run: all of it, or all up to where its process was killed."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Message

from sonosteer.core.errors import InputError
from sonosteer.core.types import Frame
from sonosteer.recording.mcap_walk import MAGIC, McapWalk
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


class RunReader:
    """A recording, opened: what is in it, and whether it is whole.

    counts: number of messages per topic. until_s: the latest time in it. cut: why it ends early, None for a complete
    one. configuration: what the run was started with. ended: why the run ended, None where that was not recorded.
    Raises InputError if nothing can be read, or if another version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_beginning(path)
        walk = McapWalk(path)
        self.counts: Counter[str] = Counter()
        self.until_s = 0.0
        first = end = None
        for topic, message in walk.messages():
            self.counts[topic] += 1
            self.until_s = max(self.until_s, message.log_time * 1e-9)
            first = first or (topic, message)
            end = self._what(topic, message) if topic == END else end
        _check_profile(path, walk)
        if first is None or first[0] != CONFIGURATION:
            raise InputError(f"{path} was {walk.cut or 'closed'} before anything was recorded")
        begin = self._what(*first)
        self.cut = walk.cut
        self.configuration: dict[str, Any] = begin["configuration"]
        self.versions: dict[str, str] = begin["versions"]
        self.started_at: str = begin["started_at"]
        self.ended: str | None = None if end is None else end["ended"]

    @property
    def complete(self) -> bool:
        """True if the run was closed and the file is whole."""
        return self.cut is None

    def messages(self, *topics: str) -> Iterator[Recorded]:
        """Yield the messages of these topics in the order of writing. No topic: all of them.

        Raises InputError if one is damaged in a way that its checksum does not show.
        """
        arrival: FrameArrival | None = None
        for topic, message in McapWalk(self.path).messages():
            wanted = not topics or topic in topics
            if not wanted and (topic != ARRIVAL or PICTURE not in topics):
                continue
            what: Any = self._what(topic, message)
            time_s = what.pop("log_s")
            if topic == ARRIVAL:
                what = arrival = what["arrival"]
            elif topic == PICTURE:
                what = self._frame(what, arrival)
            if wanted:
                yield Recorded(message.sequence, topic, time_s, what)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames whose pictures were recorded, as they arrived."""
        return (message.what for message in self.messages(PICTURE))

    def _what(self, topic: str, message: Message) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(message.data)
            time_s = decode(float, said["log_s"])
            if topic == PICTURE:
                return said | {"log_s": time_s}
            return {key: revive(value) for key, value in said.items()} | {"log_s": time_s}
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise InputError(f"{self.path}: message {message.sequence} on {topic} is damaged: {e}") from None

    def _frame(self, picture: dict[str, Any], arrival: FrameArrival | None) -> Frame:
        try:
            if arrival is None or arrival.index != picture["index"]:
                raise ValueError("its arrival is missing")
            return arrival.frame(from_png(base64.b64decode(picture["data"])))
        except (ValueError, TypeError, KeyError) as e:
            raise InputError(f"{self.path}: the picture of frame {picture.get('index')} is damaged: {e}") from None


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
        raise InputError(f"{path} was cut off before anything was recorded")
    kind, _, version = walk.profile.partition("/")
    if kind != PROFILE:
        raise InputError(f"{path} is an MCAP file, but no recorded run of sonosteer: its profile is {walk.profile!r}")
    if version != str(VERSION):
        writer = walk.library or "a sonosteer that does not say its version"
        raise InputError(
            f"{path} has format {version}, written by {writer}. This sonosteer reads format {VERSION}: "
            "install the version that wrote it, or record the run again"
        )
