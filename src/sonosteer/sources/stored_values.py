"""The values behind a MetaImage or NRRD header: in the same file or in others beside it, packed or not, in order.

One piece at a time is read, so memory does not grow with the file. Nothing outside the header's folder is opened.
"""

from __future__ import annotations

import bz2
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.sources.sequence_header import DataPlace, shown

PIECE = 1 << 16  # chosen: bytes of a packed file read at once
MAX_NUMBER = 64  # chosen: characters of a number in a text file. 17 digits tell a double.


@dataclass(frozen=True, slots=True)
class StoredValues:
    """Values of a known size in one or more files, and how to read them."""

    header: Path
    """File with the header. Its folder is the only one that is read."""
    place: DataPlace
    """Where the values are and how they are packed."""
    dtype: np.dtype[Any]
    """Type of a value."""
    size: int
    """All values together, bytes unpacked."""
    slices: int
    """Number of values on the slowest axis, which files of their own may share."""

    def check(self) -> None:
        """Raise InputError if the files do not share the values evenly, or one of them is missing or elsewhere."""
        names = self.place.names
        if names and self.slices % len(names):
            raise InputError(f"{self.header} names {len(names)} files, which cannot share {self.slices} pictures")
        for name in names:
            self._beside(name)

    @property
    def size_of_each(self) -> int:
        """Size of what each file holds, bytes unpacked."""
        return self.size // max(1, len(self.place.names))

    def path(self, number: int) -> Path:
        """Path of one of the files. Raises InputError if it is missing or lies elsewhere."""
        return self._beside(self.place.names[number]) if self.place.names else self.header

    def _beside(self, name: str) -> Path:
        """A data file below the header's folder, links followed."""
        said = f"{self.header} keeps its pixels in {name if name.isprintable() and len(name) < 60 else shown(name)}"
        try:
            folder = self.header.parent.resolve()
            path = (folder / name).resolve()
            if not path.is_relative_to(folder):
                raise InputError(f"{said}, which lies outside its folder and is not read; put both into one folder")
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise InputError(f"{said}, which is not beside it") from None
        except (OSError, ValueError, RuntimeError) as e:  # a name too long, with a 0 in it, or a circle of links
            raise InputError(f"{said}, which cannot be read: {getattr(e, 'strerror', None) or 'no path'}") from None
        if not stat.S_ISREG(mode):
            raise InputError(f"{said}, which is no file")
        return path

    def open(self) -> ValuesReader:
        """Begin to read."""
        return ValuesReader(self)


class ValuesReader:
    """Reads stored values in order, from one file after the other. Use it as a context manager."""

    def __init__(self, values: StoredValues) -> None:
        self._values = values
        self._number = -1  # of the file that is open
        self._left = 0  # bytes of it that were not read yet
        self._file: IO[bytes] | None = None
        self._take: Callable[[int], bytes] = lambda n: b""

    def __enter__(self) -> ValuesReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def skip(self, n: int) -> None:
        """Skip n bytes."""
        each = self._values.size_of_each
        if self._number < 0 and each:
            whole = min(n // each, max(1, len(self._values.place.names)) - 1)
            self._number += whole  # files that are skipped altogether are not opened
            n -= whole * each
        while n > 0 and self._next_file():
            step = min(n, self._left)
            if not self._skip_in_file(step):
                return
            n -= step

    def _skip_in_file(self, n: int) -> bool:
        """Skip n bytes of the open file. Return False if it ends before."""
        self._left -= n
        if self._values.place.packing == "raw" and self._file is not None:
            self._file.seek(n, 1)
            return True
        while n > 0:
            got = len(self._take(min(n, 1 << 20)))
            if got == 0:
                return False
            n -= got
        return True

    def read(self, n: int) -> bytearray:
        """Read n bytes, fewer if the values end before."""
        out = bytearray()
        while len(out) < n and self._next_file():
            part = self._take(min(n - len(out), self._left, 1 << 20))
            if not part:
                break
            self._left -= len(part)
            out += part
        return out

    def _next_file(self) -> bool:
        """Have a file open that has bytes left. Return False if there is none."""
        while self._left == 0:
            if self._number + 1 >= max(1, len(self._values.place.names)):
                return False
            self._number += 1
            self._begin(self._values.path(self._number))
        return True

    def _begin(self, path: Path) -> None:
        if self._file is not None:
            self._file.close()
        try:
            file = self._file = path.open("rb")
            place, self._left = self._values.place, self._values.size_of_each
            file.seek(place.begin)
            _skip_lines(file, place.skip_lines)
            if place.skip_bytes == -1:
                file.seek(max(place.begin, path.stat().st_size - self._left))
        except OSError as e:
            raise InputError(f"{path} cannot be read: {e.strerror or e}") from None
        self._take = _unpacked(file, place.packing, self._values.dtype)
        skip = max(0, place.skip_bytes)
        if place.packing == "raw":
            file.seek(skip, 1)
        while skip > 0 and place.packing != "raw":
            got = len(self._take(min(skip, 1 << 20)))
            if got == 0:
                return
            skip -= got


def _skip_lines(file: IO[bytes], n: int) -> None:
    """Skip n lines, or up to the end of the file."""
    while n > 0:
        piece = file.readline(PIECE)
        if not piece:
            return
        n -= piece.endswith(b"\n")


def _unpacked(file: IO[bytes], packing: str, dtype: np.dtype[Any]) -> Callable[[int], bytes]:
    """A function that reads up to n unpacked bytes, none at the end or where the file is damaged."""
    if packing == "raw":
        return file.read
    pieces = {
        "zlib": lambda: _inflated(file, 47),  # zlib or gzip, by its first bytes
        "gzip": lambda: _inflated(file, 31),
        "bzip2": lambda: _bunzipped(file),
        "text": lambda: _from_text(file, dtype),
        "hex": lambda: _from_hex(file),
    }[packing]()
    held = bytearray()

    def take(n: int) -> bytes:
        while len(held) < n and (piece := next(pieces, b"")):
            held.extend(piece)
        out = bytes(held[:n])
        del held[:n]
        return out

    return take


def _inflated(file: IO[bytes], window: int) -> Iterator[bytes]:
    """Pieces of a zlib or gzip stream, or of several in a row, 1 MiB each at most."""
    unpack = zlib.decompressobj(window)
    data = b""
    while data := data or file.read(PIECE):
        try:
            piece = unpack.decompress(data, 1 << 20)
        except zlib.error:
            return
        if piece:
            yield piece
        data = unpack.unconsumed_tail
        if unpack.eof:
            data = unpack.unused_data or file.read(PIECE)
            if not data.startswith(b"\x1f\x8b"):  # another member of a gzip file
                return
            unpack = zlib.decompressobj(window)


def _bunzipped(file: IO[bytes]) -> Iterator[bytes]:
    """Pieces of a bzip2 stream, or of several in a row, 1 MiB each at most."""
    unpack = bz2.BZ2Decompressor()
    data = file.read(PIECE)
    while data or not unpack.needs_input:
        try:
            piece = unpack.decompress(data, 1 << 20)
        except (OSError, EOFError, ValueError):
            return
        if piece:
            yield piece
        data = b""
        if unpack.eof:
            data = unpack.unused_data or file.read(PIECE)
            unpack = bz2.BZ2Decompressor()
        elif unpack.needs_input:
            data = file.read(PIECE)


def _from_text(file: IO[bytes], dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Values written as numbers with spaces, commas or line ends between them."""
    rest = b""
    while data := file.read(PIECE):
        words = re.split(rb"[\s,]+", rest + data)
        rest = words.pop()
        if len(rest) > MAX_NUMBER:
            return
        yield from _numbers(words, dtype)
    yield from _numbers([rest], dtype)


def _numbers(words: list[bytes], dtype: np.dtype[Any]) -> Iterator[bytes]:
    texts = [w for w in words if w]
    if not texts:
        return
    try:
        values = np.array(texts, dtype="S").astype(np.float64)
    except ValueError:
        return
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if not np.all((values >= limits.min) & (values <= limits.max)):
            return
    yield values.astype(dtype).tobytes()


def _from_hex(file: IO[bytes]) -> Iterator[bytes]:
    """Bytes written as pairs of hexadecimal digits."""
    rest = b""
    while data := file.read(PIECE):
        digits = rest + re.sub(rb"\s+", b"", data)
        even = len(digits) & ~1
        rest = digits[even:]
        try:
            yield bytes.fromhex(digits[:even].decode("ascii"))
        except ValueError:
            return
