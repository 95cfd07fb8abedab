"""Video files through PyAV: true frame times, exact seeking, grey levels as they were recorded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition

from sonosteer.core.clip_comment import parse_clip_comment
from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Spacing
from sonosteer.core.limits import check_limit, limit_of
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.sources.turning import AS_IS, Turn, turn_of_display_matrix

#: containers and raw streams that are read. Others, such as playlists and concatenations, may name further files.
DEMUXERS = (
    "mov,mp4,avi,matroska,webm,asf,flv,ogg,mpeg,mpegts,mpegvideo,m4v,h264,hevc,mjpeg,dv,mxf,nut,rm,wtv,ivf,obu,"
    "yuv4mpegpipe,gif,apng"
)
#: containers whose index tells the place of a frame
INDEXED = ("mov", "matroska", "avi")
#: what a damaged file can make PyAV raise
DECODER_ERRORS = (
    *(av.FFmpegError, OSError, ValueError, ArithmeticError, LookupError),
    *(AttributeError, TypeError, RuntimeError, MemoryError),
)
#: streams without a container, which give no times
RAW_STREAMS = ("mpegvideo", "m4v", "h264", "hevc", "mjpeg", "obu")
USUAL_RATE_HZ = 25.0  # chosen: ffmpeg's own for streams that do not say
WIDEST = 10.0  # chosen: a pixel that is said to be 10 times as wide as high, or as high as wide, is not believed
FIRST_SEEK = 48  # chosen: before that it is cheaper to decode than to seek


SQUARE = 0.005  # chosen: sizes that were rounded make pixels of such a shape, which are square in truth


@dataclass(slots=True)
class _Reading:
    """How far one reading is."""

    index: int = 0
    """Index of the next frame."""
    packets: int = 0
    """Number of frames to show up to the last packet that was read, counted from the first one of the video."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A reading that ended at a damaged frame, and can go on behind it without decoding from the front again."""

    start: int
    """Index of the frame behind the damaged one."""
    reading: _Reading
    """How far it is."""
    pictures: Iterator[Any]
    """Pictures from there on."""


class VideoFile:
    """A video file as a source of grey frames (or RGB with `grey=False`).

    Decodes one frame at a time. time_s is the frame's own presentation time, from that of the first one. Frames are
    those that players show: hidden ones of an edit list are not, and pictures are turned as the file says. Where
    pixels are not square, a `spacing` with equal x and y is that of the rows, and x follows from the pixels' shape.
    Streams of more than 8 bits give uint16.
    Raises InputError if the file is no video, if it is cut off, or if the size of the frames changes on the way.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, grey: bool = True) -> None:
        self._path = path
        self._grey = grey
        self._held: _Held | None = None
        self._damage: dict[int, str] = {}  # index to reason of the frames that cannot be decoded
        try:
            with self._open() as container:
                stream = self._stream(container)
                said, probe = parse_clip_comment(_comment(container.metadata))
                rate, aspect = _rate_hz(stream), stream.sample_aspect_ratio
                count = _promised(container, stream)
                self._format = container.format.name
                self._time_base = Fraction(stream.time_base)
                self._reorders = self._format == "avi" and bool(stream.codec_context.has_b_frames)
            first = self._first_picture()
            self._origin = first.pts
            self._deep = max((c.bits for c in first.format.components), default=8) > 8
            turn = self._turn(first)
            count = count or len(self._packets)
        except DECODER_ERRORS as e:
            raise InputError(f"{path} is damaged: {_reason(e)}") from None
        check_limit(path, count, "SONOSTEER_MAX_FRAMES")
        scale, notes = _scale(spacing, said, float(aspect or 1), turn)
        if turn != AS_IS:
            notes += (f"pictures are {turn.words}, as the file says",)
        if first.interlaced_frame:
            notes += ("the video is interlaced: odd and even rows of a frame are of different times",)
        self.info = SourceInfo(
            name=str(path),
            kind="video",
            size_px=turn.size_px(first.width, first.height),
            frames=count,
            rate_hz=rate,
            spacing=scale,
            probe=probe,
            notes=notes,
        )

    def _open(self) -> Any:
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", **_bounds()}
        try:
            return av.open(f"file:{self._path}", options=options, metadata_errors="replace")
        except DECODER_ERRORS as e:
            raise InputError(f"{self._path} is not a video that can be read, or it is cut off: {_reason(e)}") from None

    def _stream(self, container: Any) -> Any:
        """The video that players show: no cover picture, no thumbnails."""
        streams = container.streams.video
        covers = Disposition.attached_pic | Disposition.timed_thumbnails
        shown = [s for s in streams if not s.disposition & covers]
        if not shown:
            raise InputError(f"{self._path} has {'a cover picture, but ' if streams else ''}no video in it")
        best = container.streams.best("video")
        stream = next((s for s in shown if best is not None and s.index == best.index), shown[0])
        if stream.codec_context is None:
            raise InputError(f"{self._path}: the way in which its video is coded is not known here")
        if stream.width <= 0 or stream.height <= 0:  # what the decoder says of a picture beyond the limit, too
            most = limit_of("SONOSTEER_MAX_FRAME_PX")
            raise InputError(
                f"{self._path} is damaged and has no size, or has more than {most} pixels in a frame: "
                "set SONOSTEER_MAX_FRAME_PX to raise that"
            )
        check_limit(self._path, stream.width * stream.height, "SONOSTEER_MAX_FRAME_PX")
        stream.codec_context.options = _bounds()
        stream.thread_type = "NONE"  # one thread: frame times elsewhere stay honest
        return stream

    def _first_picture(self) -> Any:
        """The first picture that can be decoded. Raises InputError if there is none."""
        why = "no frames"
        with self._open() as container:
            for packet in container.demux(self._stream(container)):
                try:
                    pictures = packet.decode()
                except av.FFmpegError as e:
                    why = f"no frame that can be decoded ({_reason(e)})"
                    continue
                if pictures:
                    return pictures[0]
        raise InputError(f"{self._path} has {why}")

    @cached_property
    def _packets(self) -> list[tuple[int | None, bool]]:
        """(presentation time, whether it is a key frame) of each packet that holds a frame to show."""
        with self._open() as container:
            found = []
            for packet in container.demux(self._stream(container)):
                if _is_shown(packet):
                    found.append((packet.pts, packet.is_keyframe))
                    check_limit(self._path, len(found), "SONOSTEER_MAX_FRAMES")
            return found

    @cached_property
    def _shuffled_times(self) -> list[int]:
        """Times of all frames if the file gives them in the order of decoding only. Empty if it does not.

        An AVI file knows no other order. Its pictures then carry each other's times.
        """
        times = [pts for pts, _ in self._packets if pts is not None] if self._reorders else []
        return times if times == sorted(times) else []

    @cached_property
    def _places(self) -> dict[int, int]:
        """Presentation time to index of each frame. Empty if not every packet has a right time of its own."""
        times = {pts for pts, _ in self._packets if pts is not None}
        right = len(times) == len(self._packets) and not self._shuffled_times
        return {pts: i for i, pts in enumerate(sorted(times))} if right else {}

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`. Decodes from the key frame before `start` on.

        Raises PictureError at a frame that cannot be decoded.
        """
        expected = start
        reading, pictures = self._go_on(start)
        try:
            for picture in pictures:
                index = self._places.get(picture.pts, reading.index) if self._damage else reading.index
                if index >= start:
                    if self._is_missing(expected, index if stop is None else min(index, stop)):
                        self._held = _Held(expected + 1, reading, itertools.chain([picture], pictures))
                        self._raise_missing(expected)
                    if stop is not None and index >= stop:
                        return
                    yield self._frame(picture, index)
                    expected = index + 1
                reading.index = index + 1
        except DECODER_ERRORS as e:
            self._end_early(reading.index, f" ({_reason(e)})")
        count = self.info.frames or 0
        wanted = count if stop is None else min(stop, count)
        whole = len(self._places) == count  # else it is cut off, and its last packet is damaged by that
        if whole and self._is_missing(expected, wanted):
            self._held = _Held(expected + 1, reading, iter(()))
            self._raise_missing(expected)
        if start < wanted and reading.index < wanted and reading.packets < count:
            self._end_early(reading.index)

    def _end_early(self, index: int, why: str = "") -> None:
        raise InputError(f"{self._path} ends early: {index} of {self.info.frames} frames could be read{why}")

    def _pictures(self, start: int, reading: _Reading) -> Iterator[Any]:
        """Yield pictures in the order in which they are shown, from a key frame at or before `start` on."""
        key = self._key_before(start)
        if key is not None:
            with self._open() as container:
                stream = self._stream(container)
                container.seek(key, stream=stream, backward=True, any_frame=False)
                pictures = self._decoded(container, stream, reading)
                first = next(pictures, None)
                if first is not None and first.pts == key:  # else the index of the file is not right
                    reading.index = self._places[key]
                    reading.packets += reading.index
                    yield first
                    yield from pictures
                    return
        reading.index = reading.packets = 0
        with self._open() as container:
            yield from self._decoded(container, self._stream(container), reading)

    def _key_before(self, start: int) -> int | None:
        """Presentation time of the last key frame at or before `start`. None if reading is to begin at the front."""
        if start < FIRST_SEEK or not self._format.startswith(INDEXED):
            return None
        keys = [pts for pts, key in self._packets if key and self._places.get(pts or 0, start + 1) <= start]
        return max((pts for pts in keys if pts is not None), default=None)

    def _decoded(self, container: Any, stream: Any, reading: _Reading) -> Iterator[Any]:
        """Yield the pictures in the order in which they are shown. Goes on behind a packet that is damaged."""
        for packet in container.demux(stream):
            reading.packets += _is_shown(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as e:
                if packet.pts not in self._places:
                    raise
                self._damage[self._places[packet.pts]] = _reason(e)
                continue
            yield from pictures

    def _go_on(self, start: int) -> tuple[_Reading, Iterator[Any]]:
        """A reading that ends before frame `start`: the one that found the frame before it damaged, or a new one."""
        held, self._held = self._held, None
        if held is not None and held.start == start:
            return held.reading, held.pictures
        reading = _Reading()
        return reading, self._pictures(start, reading)

    def _is_missing(self, expected: int, index: int) -> bool:
        """Whether frame `expected` was not decoded, since it is damaged or needs one that is."""
        return bool(self._damage) and expected < index

    def _raise_missing(self, index: int) -> None:
        """Raise PictureError for a frame that was not decoded."""
        reason = self._damage.get(index, "it needs a frame before it, which is damaged")
        pts = next(pts for pts, place in self._places.items() if place == index)
        message = f"{self._path}: frame {index} cannot be decoded: {reason}"
        raise PictureError(message, index, float((pts - (self._first_pts or 0)) * self._time_base))

    @property
    def _first_pts(self) -> int | None:
        """Presentation time of the first frame, also if that cannot be decoded."""
        first: int | None = min(self._places, default=self._origin) if self._damage else self._origin
        return first

    def _turn(self, picture: Any) -> Turn:
        """How a picture is to be shown. Raises InputError if that is no turn by 90, 180 or 270 degrees."""
        for said in picture.side_data:
            if said.type == SideData.DISPLAYMATRIX:
                turn = turn_of_display_matrix(bytes(said))
                if turn is None:
                    raise InputError(
                        f"{self._path} is to be shown turned by {picture.rotation} degrees: turn it by 90, 180 or 270, "
                        "e.g. with ffmpeg, which draws it so"
                    )
                return turn
        return AS_IS

    def _frame(self, picture: Any, index: int) -> Frame:
        turn = self._turn(picture)
        size = turn.size_px(picture.width, picture.height)
        if size != self.info.size_px:
            raise InputError(
                f"{self._path}: frame {index} is {size[0]}x{size[1]}, the frames before it "
                f"{self.info.size_px[0]}x{self.info.size_px[1]}; cut the clip where the size changes"
            )
        if self._deep:
            pixels = picture.to_ndarray(format="gray16le" if self._grey else "rgb48le")
        else:
            pixels = picture.to_ndarray(format="gray" if self._grey else "rgb24")
        shown: Any = np.ascontiguousarray(turn.of(pixels))
        return Frame(
            shown,
            index=index,
            time_s=self._time_s(picture, index),
            spacing=self.info.spacing,
            probe=self.info.probe,
            full_scale=65535.0 if self._deep else 255.0,
        )

    def _time_s(self, picture: Any, index: int) -> float:
        """When a picture is shown, s from the first one. Streams without a container have a rate only."""
        if self._format in RAW_STREAMS or picture.pts is None or self._first_pts is None:
            return index / (self.info.rate_hz or USUAL_RATE_HZ)
        times, base = self._shuffled_times, Fraction(picture.time_base)
        passed = times[index] - times[0] if index < len(times) else picture.pts - self._first_pts
        return float(passed * base)

    def close(self) -> None:
        """Release what a reading holds that ended at a damaged frame. Every other one opens the file for itself."""
        self._held = None


def _bounds() -> dict[str, str]:
    """Options of the decoders: a picture that is larger than the limit is not even allocated."""
    most = limit_of("SONOSTEER_MAX_FRAME_PX")
    return {"max_pixels": str(most + most // 8 + (1 << 16))}  # decoders work on whole blocks


def _is_shown(packet: Any) -> bool:
    """Whether a packet holds a frame that players show: an edit list may hide it."""
    return bool(packet.size > 0 and not packet.is_discard)


def _promised(container: Any, stream: Any) -> int | None:
    """Number of frames that the file says it has, even where it is cut off. None: they must be counted."""
    name = container.format.name
    entries = [bool(entry.is_discard) for entry in stream.index_entries] if name.startswith(("mov", "avi")) else []
    if name.startswith("mov") and stream.frames:
        return len(entries) - sum(entries)
    if entries and len(entries) != stream.frames:  # frames that repeat the one before have no packet
        return None
    frames: int = stream.frames
    return frames or None


def _rate_hz(stream: Any) -> float | None:
    """Nominal frame rate, Hz. None where the file says none, or one that is no rate of frames."""
    rates = [float(r) for r in (stream.average_rate, stream.base_rate, stream.guessed_rate) if r]
    return next((r for r in rates if 0.0 < r <= 1000.0), None)


def _scale(
    spacing: Spacing | None, said: Spacing | None, aspect: float, turn: Turn
) -> tuple[Spacing | None, tuple[str, ...]]:
    """(scale, what is to be said of it). aspect: width of a stored pixel divided by its height."""
    if abs(aspect - 1.0) < SQUARE:
        return spacing or said, ()
    shape = 1.0 / aspect if turn.swap else aspect
    text = f"the file says that pixels are {shape:.4g} times as wide as high"
    if not 1.0 / WIDEST <= shape <= WIDEST:
        return spacing or said, (f"{text}, which is not believed",)
    if spacing is None or spacing.x_mm != spacing.y_mm:
        return spacing or said, (text,)
    scaled = Spacing(spacing.x_mm * shape, spacing.y_mm)
    return scaled, (f"{text}: the scale is {scaled.x_mm:.6g} mm along x and {scaled.y_mm:.6g} mm along y",)


def _comment(metadata: dict[str, str]) -> str:
    return next((v for k, v in metadata.items() if k.lower() == "comment"), "")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n")[0][:200] or type(error).__name__
