"""OpenIGTLink as bytes: headers of version 1 to 3, IMAGE, TRANSFORM, POINT, STRING and STATUS. No sockets here.

Source: the OpenIGTLink protocol, versions 2 and 3, http://openigtlink.org/developers/spec. Everything is big-endian,
except for pixels. From version 2 on a body has an extended header before its content, and metadata behind it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import MissingExtraError
from sonosteer.core.geometry import Matrix

HEADER = struct.Struct(">H12s20sIIQQ")  # version, type, device, seconds, fraction / 2**32, size of the body, CRC
EXTENDED = struct.Struct(">HHII")  # size of itself, of the metadata's index, of the metadata, message number
IMAGE_HEADER = struct.Struct(">HBBBBHHH12f6H")  # version, components, scalar, endian, space, size, matrix, sub-volume
POINT = struct.Struct(">64s32s4B4f20s")  # name, group, RGBA, place and diameter in mm, owner
STATUS = struct.Struct(">HQ20s")  # code, sub-code, name of the error. A message follows.
VERSIONS = (1, 2, 3)
#: scalar type of IMAGE -> type of a pixel. Others hold no grey levels.
PIXEL_TYPES = {3: "u1", 5: "u2"}
SCALAR_NAMES = {2: "int8", 4: "int16", 6: "int32", 7: "uint32", 10: "float32", 11: "float64"}
LITTLE_ENDIAN, BIG = 2, 1
RAS, LPS = 1, 2
MAX_BODY = 64 << 20  # chosen: a body that claims more is refused before anything is allocated
ASCII, UTF8 = 3, 106  # IANA's MIBenum

BodyView: TypeAlias = memoryview


class WireError(ValueError):
    """What came is not as the protocol says. The message is a reason to count."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first 58 bytes of a message. Its check sum covers the body only."""

    version: int
    """Version of the header, no unit: 1, 2 or 3."""
    kind: str
    """Type of the message, such as IMAGE."""
    device: str
    """Name of the device, at most 20 bytes."""
    stamp_s: float | None
    """When it was acquired on the sender's clock, s since 1970. None where the sender does not say."""
    size: int
    """Size of the body, bytes."""
    crc: int
    """CRC-64 of the body, no unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One picture of an IMAGE message."""

    pixels: NDArray[Any]
    """Values of pixels (rows, columns) or (rows, columns, components), uint8 or uint16, a view of the body."""
    spacing_mm: tuple[float, float] | None
    """Along x and y, mm per pixel. None where the sender says 1 x 1 x 1, which is its word for unknown."""
    T_space_image: Matrix
    """4x4 matrix, mm from the first pixel's centre -> the sender's space (RAS), mm."""
    placed: bool
    """Whether the sender says where the image is: its matrix is more than a scale."""


@lru_cache(maxsize=1)
def _crc64() -> Any:
    try:
        from fastcrc.crc64 import ecma_182
    except ImportError:
        raise MissingExtraError("OpenIGTLink", "fastcrc", "live") from None
    return ecma_182


def crc64(body: bytes | bytearray | BodyView) -> int:
    """CRC-64 of ECMA-182 as OpenIGTLink computes it. Raises MissingExtraError without fastcrc."""
    value: int = _crc64()(body)
    return value


# -- reading ------------------------------------------------------------------------------------------------------


def parse_header(data: bytes | bytearray | BodyView, max_body: int = MAX_BODY) -> Header:
    """Read 58 bytes. Raises WireError for what is no header, and for a body of more than max_body bytes."""
    version, kind, device, seconds, fraction, size, crc = HEADER.unpack(data)
    if version not in VERSIONS:
        raise WireError("bytes that are no OpenIGTLink message")
    if size > max_body:
        raise WireError("a body that is too large is announced")
    stamp_s = seconds + fraction * 2.0**-32 if seconds or fraction else None
    return Header(version, _name(kind), _name(device), stamp_s, size, crc)


def _name(field: bytes) -> str:
    text = field.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def split_body(header: Header, body: BodyView) -> tuple[BodyView, dict[str, str], int | None]:
    """Part a body into content, metadata and message number. The number is None where the sender counts nothing."""
    if header.version == 1:
        return body, {}, None
    if len(body) < EXTENDED.size:
        raise WireError("a body is shorter than its extended header")
    skip, index_size, metadata_size, number = EXTENDED.unpack_from(body)
    end = len(body) - index_size - metadata_size
    if not EXTENDED.size <= skip <= end:
        raise WireError("an extended header and metadata do not fit into their body")
    return body[skip:end], _metadata(body[end:], index_size), number or None


def _metadata(data: BodyView, index_size: int) -> dict[str, str]:
    if index_size < 2:
        return {}
    (count,) = struct.unpack_from(">H", data)
    if index_size != 2 + 8 * count:
        raise WireError("metadata whose index has a wrong size")
    found, at = {}, index_size
    for i in range(count):
        key_size, _, value_size = struct.unpack_from(">HHI", data, 2 + 8 * i)
        key, at = bytes(data[at : at + key_size]), at + key_size
        value, at = bytes(data[at : at + value_size]), at + value_size
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    if at > len(data):
        raise WireError("metadata that run past the end of their body")
    return found


def parse_image(content: BodyView) -> Image:
    """Read the content of an IMAGE. Raises WireError for volumes, parts of images and pixels that are no grey levels.

    The message gives the place of the image's centre. Ours is that of the first pixel's centre, (N - 1) / 2 pixels off.
    """
    if len(content) < IMAGE_HEADER.size:
        raise WireError("an IMAGE that is shorter than its header")
    version, parts, scalar, endian, space, nx, ny, nz, *rest = IMAGE_HEADER.unpack_from(content)
    if version not in (1, 2) or endian not in (LITTLE_ENDIAN, BIG) or space not in (RAS, LPS):
        raise WireError("an IMAGE whose header makes no sense")
    if scalar not in PIXEL_TYPES:
        name = SCALAR_NAMES.get(scalar, f"of type {scalar}")
        raise WireError(f"an IMAGE of {name} values: uint8 and uint16 are read")
    if parts not in (1, 3, 4):
        raise WireError(f"an IMAGE of {parts} components: 1, 3 and 4 are read")
    if nz != 1:
        raise WireError(f"a volume of {nz} slices: single pictures are read")
    if rest[15:18] != [nx, ny, nz] or any(rest[12:15]):
        raise WireError("a part of an image: whole ones are read")
    dtype = np.dtype(("<" if endian == LITTLE_ENDIAN else ">") + PIXEL_TYPES[scalar])
    if nx == 0 or ny == 0 or len(content) - IMAGE_HEADER.size != nx * ny * parts * dtype.itemsize:
        raise WireError("an IMAGE whose pixels are not as many as its header says")
    pixels = np.frombuffer(content, dtype, offset=IMAGE_HEADER.size)
    pixels = pixels.reshape((ny, nx) if parts == 1 else (ny, nx, parts))
    return _placed(pixels, np.array(rest[:12], np.float64).reshape(4, 3), lps=space == LPS)


def _placed(pixels: NDArray[Any], columns: NDArray[np.float64], *, lps: bool) -> Image:
    """columns: three axes, each as long as a pixel in mm, and the place of the image's centre in mm."""
    steps = np.linalg.norm(columns[:3], axis=1)
    if not (np.isfinite(columns).all() and (steps > 0).all()):
        raise WireError("an IMAGE whose matrix is not finite, or has no scale")
    half = 0.5 * (np.array([pixels.shape[1], pixels.shape[0], 1]) - 1)
    T = np.eye(4)
    T[:3, :3] = (columns[:3] / steps[:, None]).T
    T[:3, 3] = columns[3] - columns[:3].T @ half
    # a sender that knows no place has the centre or the first pixel at zero, or the offset that a viewer likes
    turned = not np.allclose(T[:3, :3], np.eye(3), atol=1e-6)
    moved = not (np.allclose(columns[3], 0.0) or np.allclose(T[:3, 3], 0.0, atol=1e-3))
    if lps:
        T = np.diag([-1.0, -1.0, 1.0, 1.0]) @ T
    x, y, z = (float(s) for s in steps)
    unknown = x == y == z == 1.0
    return Image(pixels, None if unknown else (x, y), T, turned or moved)


def parse_transform(content: BodyView) -> Matrix:
    """Read the content of a TRANSFORM as a 4x4 matrix in mm. Raises WireError if it is none."""
    if len(content) != 48:
        raise WireError("a TRANSFORM that has not 48 bytes")
    T = np.eye(4)
    T[:3] = np.array(struct.unpack(">12f", content), np.float64).reshape(4, 3).T
    if not np.isfinite(T).all():
        raise WireError("a TRANSFORM that is not finite")
    return T


def parse_status(content: BodyView) -> str:
    """Read the content of a STATUS as a line. Raises WireError if it is none."""
    if len(content) < STATUS.size:
        raise WireError("a STATUS that is too short")
    code, _, name = STATUS.unpack_from(content)
    text = bytes(content[STATUS.size :]).split(b"\0", 1)[0].decode("utf-8", "replace")
    return " ".join(filter(None, (str(code), _name(name), text)))


def parse_string(content: BodyView) -> str:
    """Read the content of a STRING. Raises WireError if it is none."""
    if len(content) < 4:
        raise WireError("a STRING that is too short")
    _, size = struct.unpack_from(">HH", content)
    if len(content) - 4 < size:
        raise WireError("a STRING that is shorter than it says")
    return bytes(content[4 : 4 + size]).decode("utf-8", "replace")


# -- writing ------------------------------------------------------------------------------------------------------


def split_time(time_s: float) -> tuple[int, int]:
    """Seconds, and fraction of 2**32. By whole numbers: a float of seconds since 1970 has 22 bits left for it."""
    seconds, rest_ns = divmod(round(time_s * 1e9), 10**9)
    return seconds, (rest_ns << 32) // 10**9


def transform_content(T: Matrix) -> bytes:
    """Content of a TRANSFORM. T: 4x4, mm."""
    return struct.pack(">12f", *np.asarray(T, np.float64)[:3].T.ravel())


def string_content(text: str) -> bytes:
    """Content of a STRING. Text beyond 65,535 bytes is left out."""
    data = text.encode()[:65535]
    return struct.pack(">HH", ASCII if text.isascii() else UTF8, len(data)) + data


def status_content(text: str = "") -> bytes:
    """Content of a STATUS that says that all is well."""
    return STATUS.pack(1, 0, b"") + text.encode() + b"\0"


@dataclass(frozen=True, slots=True)
class NamedPoint:
    """One point of a POINT message."""

    name: str
    """What it is called."""
    place_mm: tuple[float, float, float]
    """Where it is, mm."""
    group: str = "Fiducial"
    """What kind of point it is."""
    rgb: tuple[int, int, int] = (0, 200, 140)
    """Its colour, 0 to 255 each."""
    diameter_mm: float = 1.0
    """How large it is to be drawn, mm."""


def points_content(points: Sequence[NamedPoint]) -> bytes:
    """Content of a POINT message. Without a point it clears the list in 3D Slicer."""
    fields = [(_field(p.name, 63), _field(p.group, 31), *p.rgb, 255, *p.place_mm, p.diameter_mm, b"") for p in points]
    return b"".join(POINT.pack(*each) for each in fields)


def image_content(pixels: NDArray[Any], spacing_mm: tuple[float, float] | None, T_space_image: Matrix) -> bytes:
    """Content of an IMAGE. pixels: (rows, columns[, components]) uint8 or uint16. spacing_mm: None is sent as 1 x 1."""
    rows, columns = pixels.shape[:2]
    parts = 1 if pixels.ndim == 2 else pixels.shape[2]
    scalar = 3 if pixels.dtype.itemsize == 1 else 5
    steps = np.array([*(spacing_mm or (1.0, 1.0)), 1.0])
    axes = T_space_image[:3, :3] * steps
    centre = T_space_image[:3, 3] + axes @ (0.5 * (np.array([columns, rows, 1]) - 1))
    size = (columns, rows, 1)
    fields = (1, parts, scalar, LITTLE_ENDIAN, RAS, *size, *axes.T.ravel(), *centre, 0, 0, 0, *size)
    head = IMAGE_HEADER.pack(*fields)
    little = pixels if scalar == 3 else pixels.astype("<u2", copy=False)
    return head + little.tobytes()


def make_message(
    kind: str,
    device: str,
    content: bytes,
    *,
    stamp_s: float | None = None,
    number: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A whole message: of version 1, or of 2 where a number or metadata are given. stamp_s: None is sent as 0."""
    version, body = 1, content
    if number is not None or metadata:
        version = 2
        pairs = [(k.encode(), v.encode()) for k, v in (metadata or {}).items()]
        index = struct.pack(">H", len(pairs)) + b"".join(struct.pack(">HHI", len(k), UTF8, len(v)) for k, v in pairs)
        data = b"".join(k + v for k, v in pairs)
        body = EXTENDED.pack(EXTENDED.size, len(index), len(data), (number or 0) & 0xFFFFFFFF) + content + index + data
    seconds, fraction = (0, 0) if stamp_s is None or not math.isfinite(stamp_s) else split_time(stamp_s)
    fields = (version, kind.encode(), _field(device, 20), seconds, fraction, len(body), crc64(body))
    return HEADER.pack(*fields) + body


def _field(text: str, most: int) -> bytes:
    """A text as at most so many bytes of UTF-8, whole characters only."""
    return text.encode()[:most].decode("utf-8", "ignore").encode()
