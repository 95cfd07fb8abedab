"""Writes clips: mp4 that plays in browsers, lossless mkv/avi, MetaImage sequences, folders of PNG.

If the process dies, the file is readable up to the last whole frame.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.clip_comment import format_clip_comment
from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.protocols import SourceInfo
from sonosteer.recording.tables import TableWriter, writing_failed

CLOCK = Fraction(1, 90_000)


class ClipWriter(Protocol):
    """Writes pictures, each (rows, columns) grey or (rows, columns, 3) RGB uint8, with their times."""

    def add(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Append one picture."""
        ...

    def close(self) -> None:
        """Finish the file. May be called twice."""
        ...


def open_clip(path: Path, info: SourceInfo) -> ClipWriter:
    """Open a writer by the path's ending: .mp4, .mkv, .avi, .mha, or a folder of PNG. Raises InputError for others."""
    ending = path.suffix.lower()
    if ending in (".mp4", ".m4v"):
        return VideoWriter(path, info)
    if ending in (".mkv", ".avi"):
        return VideoWriter(path, info, codec="ffv1")
    if ending == ".mha":
        return MetaImageWriter(path, info)
    if ending == "":
        return PngWriter(path, info)
    raise InputError(f"{path}: clips are written as .mp4, .mkv, .avi, .mha or a folder of PNG, not as {ending}")


class VideoWriter:
    """Writes video through PyAV: H.264 in fragments, so that a cut-off file still plays, or lossless FFV1.

    Grey levels are flagged as full range, so that they come back as they went in. Odd sizes are padded by
    one row or column, as H.264 in browsers needs.
    """

    def __init__(self, path: Path, info: SourceInfo, *, codec: str = "libx264", crf: int = 12) -> None:
        self._path = path
        self._frames = 0
        self._failed: SonosteerError | None = None
        lossless = codec == "ffv1"
        mp4 = path.suffix.lower() in (".mp4", ".m4v")
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"} if mp4 else {}
        try:
            path.open("wb").close()  # PyAV opens the file late: say now if it cannot be written
            self._file: Any = av.open(str(path), "w", options=flags)
        except OSError as e:
            raise writing_failed(path, e, "nothing was written") from None
        self._file.metadata["comment"] = format_clip_comment(info.spacing, info.probe)
        rate = Fraction(info.rate_hz or 20.0).limit_denominator(1001)
        options = {} if lossless else {"crf": str(crf), "preset": "veryfast", "g": "12", "bf": "0"}
        self._stream: Any = self._file.add_stream(codec, rate=rate, options=options)
        pad = 0 if lossless else 1
        self._stream.width, self._stream.height = (v + (v & pad) for v in info.size_px)
        self._stream.pix_fmt = "gray" if lossless else "yuv420p"
        self._stream.codec_context.color_range = 2
        self._stream.codec_context.thread_count = 1
        self._clock = 1 / rate if path.suffix.lower() == ".avi" else CLOCK  # AVI knows no times but n / rate
        self._stream.time_base = self._stream.codec_context.time_base = self._clock
        self._next_pts = 0

    def add(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Append one picture. Raises InputError if the disk is full."""
        h, w = self._stream.height - pixels.shape[0], self._stream.width - pixels.shape[1]
        if h or w:
            pixels = cv2.copyMakeBorder(pixels, 0, h, 0, w, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(pixels, format="gray" if pixels.ndim == 2 else "rgb24")
        if pixels.ndim == 2:
            frame.color_range = 2
        frame = frame.reformat(format=self._stream.pix_fmt, dst_color_range=2)
        frame.color_range = 2
        frame.pts, frame.time_base = max(self._next_pts, round(time_s / self._clock)), self._clock
        self._next_pts = frame.pts + 1
        self._mux(frame)
        self._frames += 1

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._file.mux(packet)
        except OSError as e:
            self._failed = writing_failed(self._path, e, "the frames before are kept")
            raise self._failed from None

    def close(self) -> None:
        """Write what the encoder still holds and close the file. After a failure, cut it to whole fragments."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            if self._failed is None:
                for packet in self._stream.encode(None):
                    file.mux(packet)
            file.close()
        except OSError as e:
            self._failed = self._failed or writing_failed(self._path, e, "the frames before are kept")
        if self._failed is not None:
            if self._path.suffix.lower() in (".mp4", ".m4v"):
                cut_to_whole_fragments(self._path)
            raise self._failed


def cut_to_whole_fragments(path: Path) -> None:
    """Drop the broken end of a fragmented mp4, so that every player reads what is left."""
    with path.open("r+b") as f:
        size = f.seek(0, 2)
        at = whole = 0
        while at + 8 <= size:
            f.seek(at)
            length = int.from_bytes(f.read(4), "big")
            kind = f.read(4)
            if length < 8 or at + length > size:
                break
            at += length
            if kind in (b"moov", b"mdat"):
                whole = at
        f.truncate(whole)


class MetaImageWriter:
    """Writes an uncompressed MetaImage sequence with a time for each frame, as PLUS does.

    The header has fixed places for the number of frames and every frame's time. They are patched as frames arrive.
    """

    def __init__(self, path: Path, info: SourceInfo) -> None:
        if not info.frames:
            raise InputError(f"{path}: a MetaImage sequence needs to know its number of frames beforehand")
        self._path, self._frames = path, 0
        spacing = info.spacing
        step = f"{spacing.x_mm!r} {spacing.y_mm!r} 1" if spacing else "1 1 1"
        before = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        before += f"CompressedData = False\nDimSize = {info.size_px[0]} {info.size_px[1]} "
        after = f"\nElementSpacing = {step}\nElementType = MET_UCHAR\nUltrasoundImageOrientation = MFA\n"
        self._count_at, text = len(before), before + f"{0:<8d}" + after
        self._time_at = []
        for i in range(info.frames):
            text += f"Seq_Frame{i:04d}_Timestamp = "
            self._time_at.append(len(text))
            text += f"{0.0:<16.6f}\n"
        text += "ElementDataFile = LOCAL\n"
        self._data_at = len(text)
        try:
            self._file = path.open("wb", buffering=0)
            self._file.write(text.encode())
        except OSError as e:
            raise writing_failed(path, e, "nothing was written") from None

    def add(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Append one grey picture. Raises InputError if the disk is full."""
        grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        try:
            self._put(self._data_at + self._frames * grey.size, np.ascontiguousarray(grey).tobytes())
            self._put(self._time_at[self._frames], f"{time_s:<16.6f}".encode())
            self._put(self._count_at, f"{self._frames + 1:<8d}".encode())
            self._frames += 1
        except OSError as e:
            raise writing_failed(self._path, e, f"the first {self._frames} frames are kept") from None

    def _put(self, at: int, data: bytes) -> None:
        self._file.seek(at)
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Close the file: its header is up to date already."""
        self._file.close()


class PngWriter:
    """Writes a folder of PNG. sequence.json holds scale and probe, times.csv the time of each picture."""

    def __init__(self, path: Path, info: SourceInfo) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            comment = format_clip_comment(info.spacing, info.probe)
            (path / "sequence.json").write_text(json.dumps({"comment": comment}) + "\n")
        except OSError as e:
            raise writing_failed(path, e, "nothing was written") from None
        self._times = TableWriter(path / "times.csv", ("frame", "time_s"))

    def add(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Append one picture. Raises InputError if the disk is full."""
        bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        number = self._times.rows
        file = self._path / f"frame_{number:06d}.png"
        try:
            file.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
        except OSError as e:
            file.unlink(missing_ok=True)
            raise writing_failed(file, e, f"the first {number} frames are kept") from None
        self._times.write((str(number), f"{time_s:.6f}"))

    def close(self) -> None:
        """Close times.csv."""
        self._times.close()
