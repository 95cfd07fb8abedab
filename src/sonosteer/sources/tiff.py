"""Pages of TIFF files, read within bounds: TIFF revision 6.0 (Adobe, 1992) and BigTIFF.

Only the directories are read here. A page is decoded in a process of its own, since libraries crash on damaged ones.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.limits import check_limit

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NEW_SUBFILE_TYPE, WIDTH, HEIGHT, DESCRIPTION = 254, 256, 257, 270
NOT_A_PICTURE = 0b101  # bits of NewSubfileType: a smaller version of another page, a mask
SIZES = {3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes of whole numbers by their type: SHORT, LONG, IFD, LONG8, IFD8
MAX_BYTES = (1 << 31) - 1  # OpenCV counts bytes in 32 bits
MAX_DESCRIPTION_BYTES = 1 << 14  # chosen: what ImageJ says of a stack stands in its first 200 bytes


@dataclass(frozen=True, slots=True)
class TiffPage:
    """One picture of a TIFF file."""

    offset: int
    """Where its directory begins in the file, bytes."""
    size_px: tuple[int, int]
    """Size of the picture, px: (width, height)."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file writes its numbers."""

    order: str
    big: bool

    def numbers(self, kinds: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(self.order + kinds, data)

    @property
    def pointer(self) -> str:
        return "Q" if self.big else "I"

    @property
    def entry(self) -> str:
        return "HHQ8s" if self.big else "HHI4s"


def tiff_pages(path: Path) -> list[TiffPage]:
    """The pages of a TIFF file in their order, without thumbnails and masks.

    Raises InputError if the file is damaged, has more pages than the limit allows, or keeps pictures without pages.
    """
    try:
        with path.open("rb") as file:
            return _pages(path, file)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    except struct.error:
        raise InputError(f"{path} cannot be read: the file is cut off") from None


def _pages(path: Path, file: IO[bytes]) -> list[TiffPage]:
    mark = file.read(4)
    layout = _Layout("<" if mark[:1] == b"I" else ">", big=mark in MARKS[2:])
    size = file.seek(0, 2)
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size} bytes: TIFF files of up to {MAX_BYTES} are read; save it as several files")
    file.seek(8 if layout.big else 4)
    (at,) = layout.numbers(layout.pointer, file.read(8 if layout.big else 4))
    pages: list[TiffPage] = []
    others: list[TiffPage] = []
    seen: set[int] = set()
    directories = 0
    while at:
        if at in seen or directories > size:
            raise InputError(f"{path} cannot be read: its directories run in a circle")
        seen.add(at)
        check_limit(path, len(seen), "SONOSTEER_MAX_FRAMES")
        fields, following, length = _directory(file, layout, at)
        directories += length
        page = TiffPage(at, (_field(fields, layout, WIDTH), _field(fields, layout, HEIGHT)))
        if len(seen) == 1:
            _check_description(path, _description(file, layout, fields), alone=following == 0)
        (others if _field(fields, layout, NEW_SUBFILE_TYPE) & NOT_A_PICTURE else pages).append(page)
        at = following
    found = pages or others
    if not found:
        raise InputError(f"{path} cannot be read: it has no page")
    for page in found:
        width, height = page.size_px
        if width == 0 or height == 0:
            raise InputError(f"{path} cannot be read: a page has no size")
        check_limit(path, width * height, "SONOSTEER_MAX_FRAME_PX")
    return found


Fields = dict[int, tuple[int, int, bytes]]


def _directory(file: IO[bytes], layout: _Layout, at: int) -> tuple[Fields, int, int]:
    """(type, count and value of each field by its tag, where the next directory is, length in bytes)."""
    file.seek(at)
    head = "Q" if layout.big else "H"
    (count,) = layout.numbers(head, file.read(struct.calcsize("=" + head)))
    step = struct.calcsize("=" + layout.entry)
    data = file.read(min(count, 1 << 16) * step)  # chosen: more fields than there are tags
    if len(data) < count * step:
        raise struct.error
    fields: Fields = {}
    for tag, kind, n, value in struct.iter_unpack(layout.order + layout.entry, data):
        fields.setdefault(tag, (kind, n, value))
    (following,) = layout.numbers(layout.pointer, file.read(8 if layout.big else 4))
    return fields, following, count * step


def _field(fields: Fields, layout: _Layout, tag: int) -> int:
    """The whole number of a field, 0 where there is none."""
    kind, count, value = fields.get(tag, (0, 0, b""))
    size = SIZES.get(kind)
    if size is None or count != 1 or size > len(value):
        return 0
    return int.from_bytes(value[:size], "little" if layout.order == "<" else "big")


def _description(file: IO[bytes], layout: _Layout, fields: Fields) -> str:
    kind, count, value = fields.get(DESCRIPTION, (0, 0, b""))
    if kind != 2:
        return ""
    if count > len(value):
        (at,) = layout.numbers(layout.pointer, value)
        if at >= MAX_BYTES:
            return ""
        file.seek(at)
        value = file.read(min(count, MAX_DESCRIPTION_BYTES))
    return value.decode("latin-1")


def _check_description(path: Path, text: str, *, alone: bool) -> None:
    """Raise InputError for stacks of ImageJ whose pages are no frames, or which have no pages."""
    if not text.startswith("ImageJ="):
        return
    said = dict(line.partition("=")[::2] for line in text.splitlines())
    images, channels = (_count(said.get(name, "1")) for name in ("images", "channels"))
    if alone and images > 1:
        raise InputError(
            f"{path} holds {images} pictures behind one directory, as ImageJ writes large stacks; save it in parts"
        )
    if channels > 1:
        raise InputError(f"{path} is a stack of {channels} channels; save one channel, or the colours as RGB")


def _count(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 1


# -- in the child process --------------------------------------------------------------------------------------


def decode_page(path: str, offset: int) -> NDArray[Any]:
    """Grey or RGB values of the page whose directory begins at `offset`. The file is mapped, not read.

    Raises InputError if it cannot be decoded.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
        order = "<" if data[:1] == b"I" else ">"
        if data[:4] in MARKS[2:]:
            data[8:16] = struct.pack(order + "Q", offset)
        else:
            data[4:8] = struct.pack(order + "I", offset)
        whole = np.frombuffer(data, np.uint8)
        image = cv2.imdecode(whole, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
        del whole  # the map can only be closed without it
    if image is None:
        raise InputError(f"{path} is not a picture of 8 or 16 bit that can be read")
    values: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image
    return values
