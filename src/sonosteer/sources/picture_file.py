"""One picture of a file: PNG, JPEG, BMP, or a page of a TIFF file, within limits.

Sizes are read from the header before anything is decoded.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.core.guarded import GuardedReader
from sonosteer.core.limits import check_limit
from sonosteer.core.types import Pixels
from sonosteer.sources import tiff

PNG_MARK, JPEG_MARK, BMP_MARK = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
JPEG_BARE = {0x01, *range(0xD0, 0xD8)}  # marks that no length follows
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # marks that the size follows
MAX_SCANS = 100  # chosen: programs write ten. A small file with thousands of them takes minutes.
ROWS_AT_ONCE = 256  # chosen: little memory beside the picture itself

#: decodes pages of all TIFF files of this process
_tiff_decoder = GuardedReader()


@dataclass(frozen=True, slots=True)
class PicturePage:
    """One picture: a file, or a page of a TIFF file."""

    file: Path
    """The file that holds it."""
    number: int = 1
    """Which of its pictures it is, from 1, no unit."""
    pages: int = 1
    """How many pictures the file holds, no unit."""
    offset: int | None = None
    """Where its directory begins in a TIFF file, bytes. None in other files."""

    @property
    def name(self) -> str:
        """Name of the file, with the number of the page if there are several."""
        return self.file.name if self.pages == 1 else f"{self.file.name} page {self.number}"

    def __str__(self) -> str:
        return str(self.file) if self.pages == 1 else f"{self.file} page {self.number}"


def pages_of(file: Path) -> list[PicturePage]:
    """The pictures of a file: the pages of a TIFF file, one of any other.

    Does not raise: a damaged file has one picture, and reading that one says what is wrong.
    """
    try:
        with file.open("rb") as opened:
            if opened.read(4) not in tiff.MARKS:
                return [PicturePage(file)]
        found = tiff.tiff_pages(file)
    except (OSError, InputError):
        return [PicturePage(file)]
    return [PicturePage(file, i + 1, len(found), page.offset) for i, page in enumerate(found)]


def read_picture(page: PicturePage) -> Pixels:
    """Read (rows, columns) grey or (rows, columns, 3) RGB, uint8 or uint16. Transparent parts become black.

    Raises InputError, which names the file and says why, if it cannot be read.
    """
    file = page.file
    try:
        with file.open("rb") as opened:
            mark = opened.read(len(PNG_MARK))
            size = opened.seek(0, 2)
            opened.seek(0)
            is_tiff = mark[:4] in tiff.MARKS
            if not is_tiff:
                check_limit(file, size, "SONOSTEER_MAX_DECODE_BYTES")
                data = opened.read(size)
    except OSError as e:
        raise InputError(f"{file} cannot be read: {e.strerror}") from None
    if size == 0:
        raise InputError(f"{file} is empty (0 bytes)")
    image: Any = _tiff_page(page, size) if is_tiff else _picture(file, data)
    if image is not None and image.dtype == np.int16 and image.min() >= 0:
        image = image.astype(np.uint16)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{file} is not a picture of 8 or 16 bit that can be read (PNG, JPEG, BMP, TIFF)")
    return image  # type: ignore[no-any-return]


def _tiff_page(page: PicturePage, size: int) -> Any:
    offset = page.offset
    if offset is None:
        offset = tiff.tiff_pages(page.file)[0].offset  # says what is wrong, if something is
    decode = "sonosteer.sources.tiff:decode_page"
    return _tiff_decoder.read(str(page), decode, str(page.file), offset, mapped_bytes=size)


def _picture(file: Path, data: bytes) -> Any:
    """Grey or RGB values of a picture that is no TIFF. None if it is no picture."""
    damage = _damage(data)
    if damage is not None:
        raise InputError(f"{file} cannot be read: {damage}")
    size = _size_px(data)
    if size is None:
        return None
    check_limit(file, size[0] * size[1], "SONOSTEER_MAX_FRAME_PX")
    image = decoded(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image is None or image.ndim == 2:
        return image
    if data.startswith(PNG_MARK):
        _put_on_black(image, decoded(data, cv2.IMREAD_UNCHANGED))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decoded(data: bytes, flags: int) -> Any:
    """Decode without OpenCV's own lines on stderr: what is wrong is said once. None if it cannot be decoded."""
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # some damaged headers
        return None
    finally:
        log.setLogLevel(before)


def _size_px(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a header says. None if it is none of a PNG, JPEG or BMP."""
    if data.startswith(PNG_MARK):
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(JPEG_MARK):
        return _jpeg_size(data)
    if data.startswith(BMP_MARK) and len(data) >= 26:
        if int.from_bytes(data[14:18], "little") == 12:  # the oldest header
            return int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
        width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
        return abs(width), abs(height)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        kind = data[at + 1]
        if kind == 0xFF:  # a byte between marks
            at += 1
        elif kind in JPEG_BARE:
            at += 2
        elif kind in JPEG_FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _damage(data: bytes) -> str | None:
    """What is wrong with a file of a known kind, None if nothing is seen."""
    if data.startswith(PNG_MARK):
        return _png_damage(data)
    return _jpeg_damage(data) if data.startswith(JPEG_MARK) else None


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
        if kind == b"acTL" and int.from_bytes(data[at + 8 : at + 12], "big") > 1:
            return "it is an animated PNG; give it the ending .apng"
        if kind == b"IEND":
            return None
        at = end
    return "the file is cut off"


def _jpeg_damage(data: bytes) -> str | None:
    """A JPEG ends by a mark behind its last scan, and has few scans."""
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return "the file is cut off"
    return f"it has more than {MAX_SCANS} scans" if data.count(b"\xff\xda") > MAX_SCANS else None


def _put_on_black(colour: Any, whole: Any) -> None:
    """Make the transparent parts of a picture black. One that is transparent all over is left as it is."""
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4 or not whole[..., 3].any():
        return
    top = np.iinfo(whole.dtype).max
    for a in range(0, len(whole), ROWS_AT_ONCE):
        rows = whole[a : a + ROWS_AT_ONCE]
        colour[a : a + ROWS_AT_ONCE] = np.rint(rows[..., :3] * (rows[..., 3:].astype(np.float32) / top))
