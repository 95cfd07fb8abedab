"""MetaImage and NRRD sequences, as the PLUS toolkit (.igs.mha) and 3D Slicer (.seq.nrrd) write them.

SimpleITK reads the header. The pixels are read here, frame by frame, raw or through the standard library's
decompressors, since a library that loads a whole sequence would need memory that grows with the clip.
"""

from __future__ import annotations

import bz2
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.geometry import Matrix, Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame

#: where a tracked image lies, best first. Any target will do.
TRANSFORMS = (r"ImageTo\w+Transform", r"ProbeTo\w+Transform")


@dataclass(frozen=True, slots=True)
class Payload:
    """Where the pixels of a file begin."""

    path: Path
    """File that holds the pixels."""
    offset: int
    """Where they begin in that file, bytes."""
    packing: str
    """How they are packed: "raw", "zlib", "gzip" or "bzip2"."""


class MetaImageSequence:
    """A .mha, .mhd, .nrrd or .nhdr file with one image or a sequence of them (time is the last axis).

    Times come from `Seq_FrameNNNN_Timestamp` or NRRD's `axis N index values`, relative to the first, else
    1/20 s apart. A spacing of exactly 1 on every axis is what PLUS writes when it does not know the scale. The scale is
    then unknown. An `UltrasoundImageOrientation` other than MF is flipped to it. 16 bit: white is the smallest of 255,
    511, 1023 ... 65535 that holds the first frame.
    Raises InputError if the file cannot be read.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None) -> None:
        try:
            import SimpleITK as sitk  # noqa: N813  its common name
        except ImportError:
            raise MissingExtraError(f"reading {path.suffix} files", "SimpleITK", "metaimage") from None
        self._path = path
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError as e:
            raise InputError(f"{path} is not a MetaImage or NRRD file: {_last_line(e)}") from None
        size, step = reader.GetSize(), reader.GetSpacing()
        self._keys = {k: reader.GetMetaData(k) for k in reader.GetMetaDataKeys()}
        self._channels = reader.GetNumberOfComponents()
        self._dtype, self._payload = _describe(path)
        if self._channels not in (1, 3) or len(size) > 4 or (len(size) == 4 and size[2] != 1):
            raise InputError(
                f"{path} has size {size} with {self._channels} values per pixel: a sequence of grey or RGB "
                "pictures with time as the last axis is needed"
            )
        count = 1 if len(size) == 2 else size[-1]
        self._shape = (size[1], size[0]) if self._channels == 1 else (size[1], size[0], 3)
        known = any(s != 1.0 for s in step[:2])
        scale = spacing or (Spacing(step[0], step[1]) if known else None)
        self._times_s = self._frame_times(count)
        self._full_scale: float | None = None
        self.info = SourceInfo(
            name=str(path), kind="metaimage", size_px=(size[0], size[1]), frames=count, rate_hz=None, spacing=scale
        )

    def _frame_times(self, count: int) -> list[float]:
        stamps = [self._keys.get(f"Seq_Frame{i:04d}_Timestamp") for i in range(count)]
        listed = next((v for k, v in self._keys.items() if re.match(r"axis \d index values", k)), "").split()
        try:
            if count and all(s is not None for s in stamps):
                times_s = [float(s) for s in stamps if s is not None]
            elif len(listed) == count:
                times_s = [float(s) for s in listed]
            else:
                return [i / 20.0 for i in range(count)]
        except ValueError as e:
            raise InputError(f"{self._path}: a frame's time is not a number: {e}") from None
        return [t - times_s[0] for t in times_s]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`. A compressed file is decompressed from its beginning."""
        count = self.info.frames or 0
        last = count if stop is None else min(stop, count)
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        with self._payload.path.open("rb") as f:
            chunks = _Chunks(f, self._payload)
            chunks.skip(start * size)
            for index in range(start, last):
                data = chunks.read(size)
                if len(data) < size:
                    raise InputError(f"{self._path} ends early: {index} of {count} frames could be read")
                yield self._frame(np.frombuffer(data, self._dtype).reshape(self._shape), index)

    def _frame(self, stored: Any, index: int) -> Frame:
        if self._dtype.itemsize == 2:
            if self._dtype.kind == "i" and stored.min() < 0:
                raise InputError(f"{self._path}: frame {index} has negative values; grey levels start at 0")
            stored = stored.astype(np.uint16)
        if self._full_scale is None:
            top = int(stored.max()) if stored.dtype == np.uint16 else 255
            self._full_scale = float((1 << max(8, top.bit_length())) - 1)
        orientation = self._keys.get("UltrasoundImageOrientation", "MF")
        if orientation[:1] == "U":
            stored = stored[:, ::-1]
        if orientation[1:2] == "N":
            stored = stored[::-1]
        pixels = np.ascontiguousarray(stored)
        return Frame(
            pixels if pixels.base is None else pixels.copy(),
            index=index,
            time_s=self._times_s[index],
            spacing=self.info.spacing,
            full_scale=self._full_scale,
            T_world_image=self._pose(index),
        )

    def _pose(self, index: int) -> Matrix | None:
        """Image to world of a frame, None where the file does not say or says that it is invalid."""
        prefix = f"Seq_Frame{index:04d}_"
        for pattern in TRANSFORMS:
            for key in sorted(k for k in self._keys if k.startswith(prefix)):
                if re.fullmatch(pattern, key[len(prefix) :]) and self._keys.get(key + "Status", "OK") == "OK":
                    values = self._keys[key].split()
                    if len(values) == 16:
                        return np.array([float(v) for v in values]).reshape(4, 4)
        return None

    def close(self) -> None:
        """Release nothing: every reading opens the file for itself."""


class _Chunks:
    """Bytes of a payload in order, decompressed on the way. Holds one chunk at a time."""

    def __init__(self, file: IO[bytes], payload: Payload) -> None:
        self._file = file
        self._raw = payload.packing == "raw"
        file.seek(payload.offset)
        self._unpack: Any = None
        if payload.packing in ("zlib", "gzip"):
            self._unpack = zlib.decompressobj(15 if payload.packing == "zlib" else 31)
        elif payload.packing == "bzip2":
            self._unpack = bz2.BZ2Decompressor()
        self._held = bytearray()

    def skip(self, n: int) -> None:
        if self._raw:
            self._file.seek(n, 1)
            return
        while n > 0:
            got = len(self.read(min(n, 1 << 20)))
            if got == 0:
                return
            n -= got

    def read(self, n: int) -> bytes:
        if self._raw:
            return self._file.read(n)
        while len(self._held) < n:
            data = self._file.read(1 << 16)
            if not data:
                break
            try:
                self._held += self._unpack.decompress(data)
            except (zlib.error, OSError, EOFError):
                break
        out = bytes(self._held[:n])
        del self._held[:n]
        return out


def _describe(path: Path) -> tuple[np.dtype[Any], Payload]:
    """Type of the stored values and where they begin. Raises InputError if they cannot be streamed."""
    with path.open("rb") as f:
        return _describe_nrrd(path, f) if path.suffix in (".nrrd", ".nhdr") else _describe_meta(path, f)


def _describe_meta(path: Path, f: IO[bytes]) -> tuple[np.dtype[Any], Payload]:
    fields: dict[str, str] = {}
    while line := f.readline():
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    kinds = {"MET_UCHAR": "u1", "MET_USHORT": "u2", "MET_SHORT": "i2"}
    packing = "zlib" if fields.get("CompressedData", "False").lower() == "true" else "raw"
    msb = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = _dtype(path, kinds, fields.get("ElementType", "?"), msb)
    data = fields.get("ElementDataFile", "LOCAL")
    if data.upper() == "LOCAL":
        return dtype, Payload(path, f.tell(), packing)
    return dtype, _beside(path, data, packing)


def _describe_nrrd(path: Path, f: IO[bytes]) -> tuple[np.dtype[Any], Payload]:
    fields: dict[str, str] = {}
    while (line := f.readline()).strip():
        key, _, value = line.decode("latin-1").partition(":")
        fields[key.strip().lower()] = value.strip()
    kinds = dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1")
    kinds |= dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t", "unsigned short int"), "u2")
    kinds |= dict.fromkeys(("short", "signed short", "int16", "int16_t", "short int"), "i2")
    packings = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
    encoding = fields.get("encoding", "?")
    if encoding not in packings:
        raise InputError(f"{path}: encoding {encoding!r} is not read; raw, gzip and bzip2 are")
    dtype = _dtype(path, kinds, fields.get("type", "?"), fields.get("endian", "little") == "big")
    data = fields.get("data file", fields.get("datafile"))
    if data is None:
        return dtype, Payload(path, f.tell(), packings[encoding])
    return dtype, _beside(path, data, packings[encoding])


def _beside(path: Path, name: str, packing: str) -> Payload:
    data = path.parent / name
    if not data.is_file():
        raise InputError(f"{path} keeps its pixels in {name}, which is not beside it")
    return Payload(data, 0, packing)


def _dtype(path: Path, kinds: dict[str, str], name: str, big_endian: bool) -> np.dtype[Any]:
    if name not in kinds:
        raise InputError(f"{path}: pixels of type {name} are not read; 8 and 16 bit whole numbers are")
    return np.dtype((">" if big_endian else "<") + kinds[name])


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1][:200]
