"""Video files through PyAV: true frame times, exact seeking, grey levels as they were recorded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from sonosteer.core.clip_comment import parse_clip_comment
from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame


class VideoFile:
    """A video file as a source of grey frames (or RGB with `grey=False`).

    Decodes one frame at a time. time_s is the frame's own presentation time from the start of the stream. Streams of
    more than 8 bits give uint16.
    Raises InputError if the file is no video, if it is cut off, or if the size of the frames changes on the way.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, grey: bool = True) -> None:
        self._path = path
        self._grey = grey
        self._places: dict[int, int] = {}  # presentation time to index, once a frame was found damaged
        self._damage: dict[int, str] = {}  # index to reason of the frames that cannot be decoded
        with self._open() as container:
            stream = self._stream(container)
            said, probe = parse_clip_comment(_comment(container.metadata))
            rate = stream.average_rate or stream.base_rate
            self._deep = _bits(stream) > 8
            try:
                count = stream.frames or sum(p.size > 0 for p in container.demux(stream))
            except av.FFmpegError as e:
                raise InputError(f"{path} is damaged: {_reason(e)}") from None
            size = (stream.width, stream.height)
        if count == 0:
            raise InputError(f"{path} has no frames")
        self.info = SourceInfo(
            name=str(path),
            kind="video",
            size_px=size,
            frames=count,
            rate_hz=float(rate) if rate else None,
            spacing=spacing or said,
            probe=probe,
        )

    def _open(self) -> Any:
        try:
            return av.open(str(self._path))
        except (av.FFmpegError, OSError, ValueError) as e:
            raise InputError(f"{self._path} is not a video that can be read, or it is cut off: {_reason(e)}") from None

    def _stream(self, container: Any) -> Any:
        if not container.streams.video:
            raise InputError(f"{self._path} has no video in it")
        stream = container.streams.video[0]
        if stream.width <= 0 or stream.height <= 0:
            raise InputError(f"{self._path} is damaged: the video has no size")
        stream.thread_type = "NONE"  # one thread: frame times elsewhere stay honest
        return stream

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`. Decodes from the key frame before `start` on.

        Raises PictureError at a frame that cannot be decoded.
        """
        expected = start
        with self._open() as container:
            stream = self._stream(container)
            origin = stream.start_time or 0
            index = self._seek(container, stream, start)
            try:
                for picture in self._decoded(container, stream):
                    index = self._places.get(picture.pts, index)
                    if index >= start:
                        self._check_none_is_missing(expected, index if stop is None else min(index, stop))
                        if stop is not None and index >= stop:
                            return
                        yield self._frame(picture, index, origin, stream.time_base)
                        expected = index + 1
                    index += 1
            except av.FFmpegError as e:
                raise InputError(
                    f"{self._path} ends early: {index} of {self.info.frames} frames could be read ({_reason(e)})"
                ) from None
        count = len(self._places)
        if count == self.info.frames:  # else the file is cut off, and its last packet is damaged by that
            self._check_none_is_missing(expected, count if stop is None else min(stop, count))
        wanted = self.info.frames if stop is None else min(stop, self.info.frames or stop)
        if wanted is not None and start < wanted and index < wanted:
            raise InputError(f"{self._path} ends early: {index} of {self.info.frames} frames could be read")

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Yield the pictures in the order in which they are shown. Goes on behind a packet that is damaged."""
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError as e:
                if packet.pts is None:
                    raise
                self._note_damage(packet.pts, _reason(e))
                continue
            yield from pictures

    def _note_damage(self, pts: int, reason: str) -> None:
        """Note a frame that cannot be decoded. From now on frames are counted by their times, not one by one."""
        if not self._places:
            with self._open() as container:
                self._places, _ = _places(container, self._stream(container))
        self._damage[self._places[pts]] = reason

    def _check_none_is_missing(self, expected: int, index: int) -> None:
        """Raise PictureError if frame `expected` was not decoded, since it is damaged or needs one that is."""
        if self._damage and expected < index:
            reason = self._damage.get(expected, "it needs a frame before it, which is damaged")
            with self._open() as container:
                stream = self._stream(container)
                pts = sorted(self._places)[expected]
                time_s = float((pts - (stream.start_time or 0)) * stream.time_base)
            message = f"{self._path}: frame {expected} cannot be decoded: {reason}"
            raise PictureError(message, expected, time_s)

    def _seek(self, container: Any, stream: Any, start: int) -> int:
        """Seek to a key frame at or before `start`. Returns the index of the next decoded frame."""
        if start < 48:  # chosen: cheaper to decode than to seek
            return 0
        order, keys = _places(container, stream)
        wanted = [pts for pts in keys if order[pts] <= start]
        key = max(wanted) if wanted else min(order)
        container.seek(key, stream=stream, backward=True, any_frame=False)
        return order[key]

    def _frame(self, picture: Any, index: int, origin: int, time_base: Fraction) -> Frame:
        size = (picture.width, picture.height)
        if size != self.info.size_px:
            raise InputError(
                f"{self._path}: frame {index} is {size[0]}x{size[1]}, the frames before it "
                f"{self.info.size_px[0]}x{self.info.size_px[1]}; cut the clip where the size changes"
            )
        if self._deep:
            pixels = picture.to_ndarray(format="gray16le" if self._grey else "rgb48le")
        else:
            pixels = picture.to_ndarray(format="gray" if self._grey else "rgb24")
        if picture.pts is not None:
            time_s = float((picture.pts - origin) * time_base)
        else:
            time_s = index / (self.info.rate_hz or 25.0)
        return Frame(
            np.ascontiguousarray(pixels),
            index=index,
            time_s=time_s,
            spacing=self.info.spacing,
            probe=self.info.probe,
            full_scale=65535.0 if self._deep else 255.0,
        )

    def close(self) -> None:
        """Release nothing: every reading opens the file for itself."""


def _places(container: Any, stream: Any) -> tuple[dict[int, int], list[int]]:
    """(presentation time to index of each frame, presentation times of the key frames) of a whole stream."""
    packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.pts is not None]
    order = {pts: i for i, pts in enumerate(sorted(pts for pts, _ in packets))}
    return order, [pts for pts, key in packets if key]


def _comment(metadata: dict[str, str]) -> str:
    return next((v for k, v in metadata.items() if k.lower() == "comment"), "")


def _bits(stream: Any) -> int:
    return max((c.bits for c in stream.format.components), default=8)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n")[0]
