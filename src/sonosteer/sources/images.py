"""A folder of pictures, or one still picture, as a clip."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.core.clip_comment import parse_clip_comment
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Probe, Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels
from sonosteer.recording.tables import number, read_table
from sonosteer.sources.endings import IMAGE_ENDINGS


class ImageFolder:
    """Pictures in natural order (frame2 before frame10), read one at a time.

    8 or 16 bit, grey or colour (RGB). `times.csv` (frame,time_s) and `sequence.json` beside them give times, scale and
    probe, as `sonosteer simulate` writes them. Without them frames are 1 / rate_hz apart, and the scale is not known
    unless `spacing` gives it.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, rate_hz: float = 20.0) -> None:
        self._path = path
        if path.is_dir():
            self._files = sorted((p for p in path.iterdir() if p.suffix.lower() in IMAGE_ENDINGS), key=_natural)
            if not self._files:
                raise InputError(f"{path} holds no pictures ({', '.join(sorted(IMAGE_ENDINGS))})")
        else:
            self._files = [path]
        self._times_s, said, probe = self._sequence()
        first = self._read(0)
        size = (int(first.shape[1]), int(first.shape[0]))
        self._rate_hz = rate_hz
        rate = None if self._times_s else rate_hz
        kind = "images" if path.is_dir() else "still"
        self.info = SourceInfo(
            name=str(path),
            kind=kind,
            size_px=size,
            frames=len(self._files),
            rate_hz=rate,
            spacing=spacing or said,
            probe=probe,
        )

    def _sequence(self) -> tuple[list[float] | None, Spacing | None, Probe | None]:
        """Times, scale and probe from times.csv and sequence.json, where there are any."""
        if not self._path.is_dir():
            return None, None, None
        spacing, probe = None, None
        path = self._path / "sequence.json"
        if path.exists():
            try:
                data: dict[str, Any] = json.loads(path.read_text())
                spacing, probe = parse_clip_comment(str(data.get("comment", "")))
            except (ValueError, AttributeError) as e:
                raise InputError(f"{path} is damaged: {e}") from None
        table = self._path / "times.csv"
        if not table.exists():
            return None, spacing, probe
        times_s = read_table(table, ("frame", "time_s"), lambda row: number(row, "time_s"))
        if len(times_s) == len(self._files) - 1:
            self._files.pop()  # a process that was killed had written this picture, but not yet its time
        if len(times_s) != len(self._files):
            raise InputError(f"{table} gives {len(times_s)} times for {len(self._files)} pictures")
        return times_s, spacing, probe

    def _read(self, index: int) -> Pixels:
        file = self._files[index]
        try:
            data = np.fromfile(file, np.uint8)
        except OSError as e:
            raise InputError(f"{file} cannot be read: {e.strerror}") from None
        if data.size == 0:
            raise InputError(f"{file} is empty (0 bytes)")
        image = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
        if image is None or image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{file} is not a picture of 8 or 16 bit that can be read")
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return image  # type: ignore[no-any-return]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield pictures `start` to `stop`. Raises InputError at one of another size."""
        for index in range(start, len(self._files) if stop is None else min(stop, len(self._files))):
            pixels = self._read(index)
            size = (int(pixels.shape[1]), int(pixels.shape[0]))
            if size != self.info.size_px:
                raise InputError(
                    f"{self._files[index]}: frame {index} is {size[0]}x{size[1]}, the frames before it "
                    f"{self.info.size_px[0]}x{self.info.size_px[1]}"
                )
            time_s = self._times_s[index] if self._times_s else index / self._rate_hz
            scale = 65535.0 if pixels.dtype == np.uint16 else 255.0
            yield Frame(
                pixels,
                index=index,
                time_s=time_s,
                spacing=self.info.spacing,
                probe=self.info.probe,
                full_scale=scale,
            )

    def close(self) -> None:
        """Release nothing."""


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]
