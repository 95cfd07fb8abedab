"""Frames of a clip by their index, as pictures that a browser shows.

The source reads from key frame to key frame. Here its readings are kept open where the next frame is asked for, and a
few frames before a backward step are kept, so that stepping either way is quick.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError, PictureError, SonosteerError
from sonosteer.core.protocols import Source, SourceInfo
from sonosteer.core.types import Frame
from sonosteer.sources.images import PictureFiles

JPEG_QUALITY = 90  # chosen: mean error of 1.3 grey levels, 62 kB at 512 x 512
PNG_LEVEL = 1  # chosen: the quickest that still packs
READ_ON = 24  # chosen: frames to read past rather than to look for the key frame again
FRAMES_BEFORE = 12  # chosen: frames read before one that is asked for on a way back
CACHE_BYTES = 96 << 20  # chosen: some hundred frames of 512 x 512


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """One frame as a browser takes it."""

    index: int
    """Number of the frame in its clip, from 0."""
    time_s: float
    """When it was acquired, s."""
    size_px: tuple[int, int]
    """Width and height, px."""
    kind: str
    """Coding of the payload: jpeg or png. Empty if the frame cannot be read."""
    payload: bytes
    """The coded picture. Empty if the frame cannot be read."""
    wrong: str | None = None
    """Why the frame cannot be read, None if it can."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else the page is told of it."""


class ClipFrames:
    """Pictures of a source by index. Any thread may ask, one is served at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reading: Iterator[Frame] | None = None
        self._next = 0
        self._kept: OrderedDict[int, Frame | PictureError] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    @property
    def info(self) -> SourceInfo:
        """What the clip says of itself."""
        return self._source.info

    def picture(self, index: int, *, exact: bool) -> ShownPicture:
        """The frame as JPEG, or, exact, as PNG without loss. One that cannot be read says why."""
        with self._lock:
            try:
                read = self._frame(index)
            except SonosteerError as e:
                read = PictureError(str(e), index, index / (self.info.rate_hz or 20.0))
        if isinstance(read, PictureError):
            return ShownPicture(index, read.time_s, self.info.size_px, "", b"", str(read))
        kind, payload = encode_picture(read.grey(), exact=exact)
        return ShownPicture(index, read.time_s, read.size_px, kind, payload)

    def file_of(self, index: int) -> Path:
        """The file of a picture of a folder. Raises InputError for a clip that is one file."""
        if not isinstance(self._source, PictureFiles):
            raise InputError(f"{self.info.name} is no folder of pictures")
        return self._source.file_of(index)

    def close(self) -> None:
        """Release the source."""
        with self._lock:
            self._reading = None
            self._kept.clear()
            self._source.close()

    def _frame(self, index: int) -> Frame | PictureError:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        back = self._next - READ_ON <= index < self._next  # whoever steps back once does so again
        first = max(0, index - FRAMES_BEFORE) if back else index
        if self._reading is None or not self._next <= index < self._next + READ_ON:
            self._reading, self._next = self._source.frames(first), first
        while self._next <= index:
            self._read_one()
        return self._kept[index]

    def _read_one(self) -> None:
        """Read the next frame. A source that ends early has no more, which is said as an unreadable frame."""
        index = self._next
        try:
            frame = None if self._reading is None else next(self._reading, None)
        except PictureError as e:
            self._keep(e.index if e.index >= index else index, e)
            self._next = max(e.index, index) + 1
            self._reading = self._source.frames(self._next)
            return
        except SonosteerError:
            self._reading = None
            raise
        if frame is None:
            self._reading = None
            why = f"the clip ends before frame {index}"
            self._keep(index, PictureError(why, index, index / (self.info.rate_hz or 20.0)))
            self._next = index + 1
            return
        self._keep(frame.index, frame)
        self._next = frame.index + 1

    def _keep(self, index: int, read: Frame | PictureError) -> None:
        self._kept[index] = read
        self._kept_bytes += _bytes_of(read)
        while self._kept_bytes > CACHE_BYTES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= _bytes_of(old)


def _bytes_of(read: Frame | PictureError) -> int:
    return int(read.pixels.nbytes) if isinstance(read, Frame) else 0


def encode_picture(grey: U8, *, exact: bool) -> tuple[str, bytes]:
    """(coding, bytes) of (rows, columns) grey levels: JPEG, or PNG if exact."""
    if exact:
        return "png", cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].tobytes()
    return "jpeg", cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
