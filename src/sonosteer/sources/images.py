"""Picture files: a folder of them as a clip, one still picture, or stills that have nothing to do with each other."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.core.clip_comment import parse_clip_comment
from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Probe, Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels
from sonosteer.recording.tables import number, read_table
from sonosteer.sources.endings import IMAGE_ENDINGS

PNG_MARK, JPEG_MARK = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class PictureFiles:
    """Picture files, read one at a time: 8 or 16 bit, grey or colour (RGB). Transparent parts are black.

    said: scale and probe. names: of stills. times_s: of each, None: 1 / rate_hz apart. one_size: False for stills,
    which may differ in size. 16 bit: white is the smallest of 255, 511, 1023 ... 65535 that holds the first, middle and
    last picture; of stills, each its own. Raises InputError if not one picture can be read.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        name: str,
        kind: str,
        said: tuple[Spacing | None, Probe | None] = (None, None),
        names: tuple[str, ...] = (),
        times_s: Sequence[float] | None = None,
        rate_hz: float = 20.0,
        one_size: bool = True,
    ) -> None:
        self._files, self._times_s, self._rate_hz, self._one_size = files, times_s, rate_hz, one_size
        first = self._first_readable(name)
        self._white = _white_of([first, *self._some_others()]) if first.dtype == np.uint16 else 65535.0
        self.info = SourceInfo(
            name=name,
            kind=kind,
            size_px=(int(first.shape[1]), int(first.shape[0])),
            frames=len(files),
            rate_hz=None if times_s else rate_hz,
            spacing=said[0],
            probe=said[1],
            names=names,
        )

    def _first_readable(self, name: str) -> Pixels:
        why: InputError | None = None
        for file in self._files:
            try:
                return read_picture(file)
            except InputError as e:
                why = why or e
        assert why is not None
        raise why if len(self._files) == 1 else InputError(f"{name}: no picture can be read, the first because {why}")

    def _some_others(self) -> Iterator[Pixels]:
        """The middle and the last picture, where they can be read."""
        for index in (len(self._files) // 2, len(self._files) - 1):
            try:
                yield read_picture(self._files[index])
            except InputError:
                continue

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield pictures `start` to `stop`.

        Raises PictureError at one that cannot be read. Raises InputError at one of another size, except for stills.
        """
        for index in range(start, len(self._files) if stop is None else min(stop, len(self._files))):
            time_s = self._times_s[index] if self._times_s else index / self._rate_hz
            try:
                pixels = read_picture(self._files[index])
            except InputError as e:
                raise PictureError(str(e), index, time_s) from None
            size = (int(pixels.shape[1]), int(pixels.shape[0]))
            if self._one_size and size != self.info.size_px:
                raise InputError(
                    f"{self._files[index]}: frame {index} is {size[0]}x{size[1]}, the frames before it "
                    f"{self.info.size_px[0]}x{self.info.size_px[1]}; `stills` tracks each picture on its own"
                )
            yield Frame(
                pixels,
                index=index,
                time_s=time_s,
                spacing=self.info.spacing,
                probe=self.info.probe,
                full_scale=self._full_scale(pixels),
            )

    def _full_scale(self, pixels: Pixels) -> float:
        if pixels.dtype == np.uint8:
            return 255.0
        return self._white if self._one_size else _white_of([pixels])

    def close(self) -> None:
        """Release nothing."""


class ImageFolder(PictureFiles):
    """The pictures of a folder as one clip, in natural order (frame2 before frame10), or one still picture.

    `times.csv` (frame,time_s) and `sequence.json` beside them give times, scale and probe, as `sonosteer simulate`
    writes them. Without them frames are 1 / rate_hz apart, and the scale is not known unless `spacing` gives it.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, rate_hz: float = 20.0) -> None:
        folder = path.is_dir()
        files, said = pictures_in(path) if folder else [path], _said_in(path)
        times_s = _times_in(path, files)
        super().__init__(
            files,
            name=str(path),
            kind="images" if folder else "still",
            said=(spacing or said[0], said[1]),
            names=() if folder else (path.name,),
            times_s=times_s,
            rate_hz=rate_hz,
        )


class StillPictures(PictureFiles):
    """Pictures that have nothing to do with each other, in the natural order of their names. Sizes may differ.

    They are the pictures of folders, and named files. `sequence.json` in the folder gives the scale where `spacing`
    does not. size_px is the size of the first one that can be read. Times are 1 / 20 s apart and mean nothing. Raises
    InputError for what does not exist or has not the ending of a picture, and if not one picture can be read.
    """

    def __init__(self, paths: Sequence[Path], *, spacing: Spacing | None = None) -> None:
        found = [file for path in paths for file in (pictures_in(path) if path.is_dir() else [_picture(path)])]
        files = sorted(found, key=lambda file: (_natural(file.name), _natural(str(file))))
        said = _said_in(paths[0]) if len(paths) == 1 else (None, None)
        plain = tuple(file.name for file in files)
        super().__init__(
            files,
            name=str(paths[0]) if len(paths) == 1 else f"{len(files)} pictures",
            kind="stills",
            said=(spacing or said[0], said[1]),
            names=plain if len(set(plain)) == len(plain) else tuple(map(str, files)),
            one_size=False,
        )


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order. Raises InputError if there are none."""
    files = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS), key=lambda p: _natural(p.name))
    if not files:
        raise InputError(f"{folder} holds no pictures ({', '.join(sorted(IMAGE_ENDINGS))})")
    return files


def _picture(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.suffix.lower() not in IMAGE_ENDINGS:
        raise InputError(
            f"{path} is no picture: `stills` reads folders and files of {', '.join(sorted(IMAGE_ENDINGS))}"
        )
    return path


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def _said_in(folder: Path) -> tuple[Spacing | None, Probe | None]:
    """Scale and probe of the sequence.json in a folder, where there is one."""
    path = folder / "sequence.json"
    if not folder.is_dir() or not path.exists():
        return None, None
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        return parse_clip_comment(str(data.get("comment", "")))
    except (ValueError, AttributeError) as e:
        raise InputError(f"{path} is damaged: {e}") from None


def _times_in(folder: Path, files: list[Path]) -> list[float] | None:
    """Times of the times.csv in a folder, where there is one. A last picture that has no time yet is left out."""
    table = folder / "times.csv"
    if not folder.is_dir() or not table.exists():
        return None
    times_s = read_table(table, ("frame", "time_s"), lambda row: number(row, "time_s"))
    if len(times_s) == len(files) - 1:
        files.pop()  # a process that was killed had written this picture, but not yet its time
    if len(times_s) != len(files):
        raise InputError(f"{table} gives {len(times_s)} times for {len(files)} pictures")
    return times_s


# -- one picture -----------------------------------------------------------------------------------------------


def read_picture(file: Path) -> Pixels:
    """Read (rows, columns) grey or (rows, columns, 3) RGB, uint8 or uint16. Transparent parts become black.

    Raises InputError, which names the file and says why, if it cannot be read.
    """
    try:
        data = file.read_bytes()
    except OSError as e:
        raise InputError(f"{file} cannot be read: {e.strerror}") from None
    if not data:
        raise InputError(f"{file} is empty (0 bytes)")
    damage = _png_damage(data) if data.startswith(PNG_MARK) else _jpeg_damage(data)
    if damage is not None:
        raise InputError(f"{file} cannot be read: {damage}")
    image = _decoded(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{file} is not a picture of 8 or 16 bit that can be read")
    if image.ndim == 2:
        return image  # type: ignore[no-any-return]
    if data.startswith(PNG_MARK):
        image = _on_black(image, _decoded(data, cv2.IMREAD_UNCHANGED))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[no-any-return]


def _decoded(data: bytes, flags: int) -> Any:
    """Decode without OpenCV's own lines on stderr: what is wrong is said once."""
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # some damaged headers
        return None
    finally:
        log.setLogLevel(before)


def _png_damage(data: bytes) -> str | None:
    """What is wrong with the blocks of a PNG, None if nothing is."""
    at = len(PNG_MARK)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data):
            break
        needed = kind[:1].isupper()
        if needed and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return "its data are damaged (checksum)"
        if kind == b"IEND":
            return None
        at = end
    return "the file is cut off"


def _jpeg_damage(data: bytes) -> str | None:
    """A JPEG ends by a mark behind its last scan."""
    if data.startswith(JPEG_MARK) and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return "the file is cut off"
    return None


def _on_black(colour: Any, whole: Any) -> Any:
    """A picture with its transparent parts black. One that is transparent all over is taken as it is."""
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4 or not whole[..., 3].any():
        return colour
    opaque = whole[..., 3:].astype(np.float32) / np.iinfo(whole.dtype).max
    return np.rint(whole[..., :3] * opaque).astype(whole.dtype)


def _white_of(pictures: Sequence[Pixels]) -> float:
    """The smallest of 255, 511, 1023 ... 65535 that holds all values."""
    top = max(int(p.max()) for p in pictures)
    return float((1 << max(8, top.bit_length())) - 1)
