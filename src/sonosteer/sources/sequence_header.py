"""Headers of MetaImage and NRRD files, read here within bounds.

MetaImage: the fields of ITK's MetaIO. NRRD: the format's definition 1.11 at teem.sourceforge.net. SimpleITK is not
asked, since a damaged header can make it loop for ever or end the whole process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sonosteer.core.errors import InputError
from sonosteer.core.limits import check_limit, limit_of

MAX_AXES = 16  # NRRD_DIM_MAX of the NRRD library
#: of a frame: PLUS writes Seq_Frame0007_Timestamp, and wrote "sequence frame0007 image status" into NRRD once
FRAME_FIELD = re.compile(r"seq(?:uence)?[_ ]frame(\d{1,9})[_ ]([\w ]+)", re.IGNORECASE)
INDEX_FIELD = re.compile(r"axis \d{1,2} index (values|unit|type)")
#: where a tracked thing lies, and whether that is valid
POSE_FIELD = re.compile(r"\w+To\w+Transform(Status)?")

META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "signed long long int": "i8",
    "float": "f4",
    "double": "f8",
}
NRRD_PACKINGS = {
    "raw": "raw",
    **dict.fromkeys(("txt", "text", "ascii"), "text"),
    "hex": "hex",
    **dict.fromkeys(("gz", "gzip"), "gzip"),
    **dict.fromkeys(("bz2", "bzip2"), "bzip2"),
}
UNITS_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1e3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "micrometer", "micrometre"), 1e-3),
}
UNITS_S = {"": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
NUMBER = r"[+-]?\d{1,9}"


@dataclass(slots=True)
class FrameFields:
    """What a header says of single frames, each by the number of the frame in the file."""

    times: dict[int, str] = field(default_factory=dict)
    """Text of the time of each frame that has one, s."""
    status: dict[int, str] = field(default_factory=dict)
    """Image status of each frame whose status is not OK."""
    poses: dict[int, dict[str, str]] = field(default_factory=dict)
    """Transforms of each frame and their status, by name."""

    def take(self, key: str, value: str) -> bool:
        """Keep a field if it belongs to a frame. Return whether it does."""
        match = FRAME_FIELD.fullmatch(key)
        if match is None:
            return False
        index, name = int(match[1]), match[2].replace(" ", "_")
        lower = name.lower().replace("_", "")
        if lower == "timestamp":
            self.times[index] = value
        elif lower in ("imagestatus", "status"):  # PLUS writes the second into NRRD
            if value.upper() != "OK":
                self.status[index] = value
        elif POSE_FIELD.fullmatch(name):
            self.poses.setdefault(index, {})[name] = value
        return True


@dataclass(frozen=True, slots=True)
class DataPlace:
    """Where a header says the values are."""

    names: tuple[str, ...]
    """Names of the files that hold them, in order, relative to the header. Empty: behind the header itself."""
    packing: str
    """How they are packed: "raw", "zlib", "gzip", "bzip2", "text" or "hex"."""
    begin: int = 0
    """Where the values begin in each file, bytes from its first one."""
    skip_lines: int = 0
    """Number of lines to skip from there on."""
    skip_bytes: int = 0
    """Number of bytes to skip behind those, after unpacking. -1: the values are the last bytes of the file."""


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """What the header of a MetaImage or NRRD file says, its values checked one by one."""

    sizes: tuple[int, ...]
    """Number of values along each axis, the fastest axis first."""
    kinds: tuple[str, ...]
    """Kind of each axis in lower case, such as domain, list, time or vector. Empty where the header does not say."""
    steps_mm: tuple[float | None, ...]
    """Spacing along each axis, mm. None where the header does not say."""
    dtype: str
    """NumPy's name of the type of the stored values."""
    data: DataPlace
    """Where the values are."""
    fields: dict[str, str]
    """All other fields and key/value pairs, by their names in lower case."""
    frames: FrameFields
    """What it says of single frames."""


def read_header(path: Path) -> SequenceHeader:
    """Read the header of a MetaImage or NRRD file. Raises InputError if it is none, or asks for what is not read."""
    try:
        with path.open("rb") as file:
            if file.read(4) == b"NRRD":
                return _nrrd_header(path, file)
            file.seek(0)
            return _meta_header(path, file)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}") from None


def axis_times_s(header: SequenceHeader) -> list[str]:
    """Times that a sequence of 3D Slicer gives as values of its list axis, s. Empty where there are none."""
    found: dict[str, str] = {}
    for key, value in header.fields.items():
        match = INDEX_FIELD.fullmatch(key)
        if match is not None:
            found[match[1]] = value
    scale = UNITS_S.get(found.get("unit", "").strip().lower())
    if scale is None or found.get("type", "numeric").strip().lower() not in ("numeric", ""):
        return []
    values = found.get("values", "").split()
    return values if scale == 1.0 else [_scaled(v, scale) for v in values]


def _scaled(text: str, scale: float) -> str:
    try:
        return repr(float(text) * scale)
    except ValueError:
        return text  # whoever reads the times says what is wrong with it


class _Lines:
    """Lines of a header, together no longer than the limit."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self._most = limit_of("SONOSTEER_MAX_HEADER_BYTES")
        self._read = file.tell()

    def __iter__(self) -> Iterator[str]:
        """Yield the lines without their ends."""
        while line := self._file.readline(self._most + 1):
            self._read += len(line)
            if self._read > self._most:
                check_limit(self._path, self._read, "SONOSTEER_MAX_HEADER_BYTES")
            yield line.decode("utf-8", errors="replace").rstrip("\r\n")


def shown(text: str) -> str:
    """Some text of a file, fit for a message: in quotes, short, without control characters."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _whole(path: Path, name: str, text: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises InputError for anything else."""
    if not re.fullmatch(r"[+-]?\d{1,18}", text) or not low <= int(text) <= high:
        raise InputError(f"{path}: {name} is {shown(text)}, which is not a whole number from {low} to {high}")
    return int(text)


def _sizes(path: Path, name: str, text: str, axes: int) -> tuple[int, ...]:
    words = text.split(maxsplit=MAX_AXES)
    if len(words) != axes:
        raise InputError(f"{path}: {name} has {len(words)} numbers for {axes} axes")
    sizes = tuple(_whole(path, name, w, 0, 1 << 40) for w in words)
    if 0 in sizes:
        raise InputError(f"{path} holds no pictures: {name} is {' '.join(map(str, sizes))}")
    return sizes


def _step(text: str, unit_mm: float | None) -> float | None:
    """A spacing in mm, None if it is no finite number other than 0, or its unit is no length."""
    try:
        value = abs(float(text))
    except ValueError:
        return None
    return value * unit_mm if unit_mm is not None and 0.0 < value < math.inf else None


def _pattern(path: Path, text: str) -> tuple[str, ...] | None:
    """The names that `s%03d.raw FIRST LAST STEP [AXES]` stands for, None if the text is no such pattern."""
    words, numbers_said = text.rsplit(maxsplit=4), list[int]()
    while len(words) > 1 and len(numbers_said) < 4 and re.fullmatch(NUMBER, words[-1]):
        numbers_said.insert(0, int(words.pop()))
    name = " ".join(words)
    if "%" not in name or len(numbers_said) < 2:
        return None
    place = re.fullmatch(r"([^%]*)%(0?)(\d{0,2})[diu]([^%]*)", name)
    if place is None:
        raise InputError(f"{path}: the pattern {shown(name)} is not read; one %d or %03d must be in it")
    first, last, step = (*numbers_said, 1)[:3]
    if step == 0 or (last - first) * step < 0:
        raise InputError(f"{path}: the pattern {shown(text)} names no file")
    numbers = range(first, last + (1 if step > 0 else -1), step)
    check_limit(path, len(numbers), "SONOSTEER_MAX_FRAMES")
    width = int(place[3] or 0)
    fill = "0" if place[2] else ""
    return tuple(f"{place[1]}{number:{fill}{width or ''}d}{place[4]}" for number in numbers)


def _names(path: Path, text: str, rest: Iterator[str]) -> tuple[str, ...]:
    """Names of the data files: one, a LIST of them in the lines that follow, or a pattern."""
    if re.fullmatch(r"LIST(\s+\d+D?)?", text, re.IGNORECASE):
        names = tuple(line.strip() for line in rest if line.strip())
        if not names:
            raise InputError(f"{path}: the list of the files that hold its pixels is empty")
        return names
    if not text:
        raise InputError(f"{path} does not say which file holds its pixels")
    return _pattern(path, text) or (text,)


# -- MetaImage -------------------------------------------------------------------------------------------------

# fmt: off
META_FIELDS = frozenset({
    "objecttype", "ndims", "dimsize", "kinds", "elementspacing", "elementsize", "elementtype", "distanceunits",
    "elementnumberofchannels", "binarydata", "binarydatabyteordermsb", "elementbyteordermsb", "compresseddata",
    "headersize", "elementdatafile", "ultrasoundimageorientation", "ultrasoundimagetype",
})
# fmt: on


def _meta_header(path: Path, file: IO[bytes]) -> SequenceHeader:
    """A MetaImage header. It ends with the line ElementDataFile."""
    fields: dict[str, str] = {}
    frames = FrameFields()
    lines = iter(_Lines(path, file))
    for line in lines:
        key, _, value = (part.strip() for part in line.partition("=" if "=" in line else ":"))
        if key.lower() in META_FIELDS:
            fields[key.lower()] = value
        else:
            frames.take(key, value)
        if key.lower() == "elementdatafile":
            break
    if "elementdatafile" not in fields or "dimsize" not in fields:
        raise InputError(f"{path} is not a MetaImage or NRRD file: it has no DimSize and ElementDataFile")
    kind = fields.get("objecttype", "Image")
    if kind.lower() != "image":
        raise InputError(f"{path} holds no pictures, but a MetaIO object of type {shown(kind)}")
    axes = _whole(path, "NDims", fields.get("ndims", "?"), 1, MAX_AXES)
    sizes = _sizes(path, "DimSize", fields["dimsize"], axes)
    unit_mm = UNITS_MM.get(fields.get("distanceunits", "mm").lower())
    words = fields.get("elementspacing", fields.get("elementsize", "")).split(maxsplit=MAX_AXES)
    steps: tuple[float | None, ...] = tuple(_step(w, unit_mm) for w in words[:axes]) + (None,) * (axes - len(words))
    kinds = tuple(fields.get("kinds", "").lower().split(maxsplit=MAX_AXES))
    kinds = kinds if len(kinds) == axes else ()
    channels = _whole(path, "ElementNumberOfChannels", fields.get("elementnumberofchannels", "1"), 1, 1 << 20)
    if channels > 1:
        sizes, steps = (channels, *sizes), (None, *steps)
        kinds = ("vector", *(kinds or ("domain",) * axes))
    stored = fields.get("elementtype", "?").upper().removesuffix("_ARRAY")
    if stored not in META_TYPES:
        raise InputError(f"{path}: values of type {shown(stored)} are not read; whole numbers and floats are")
    msb = _true(fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "False")))
    data = _meta_data(path, fields, lines, file)
    return SequenceHeader(
        sizes=sizes,
        kinds=kinds,
        steps_mm=steps,
        dtype=(">" if msb else "<") + META_TYPES[stored],
        data=data,
        fields=fields,
        frames=frames,
    )


def _meta_data(path: Path, fields: dict[str, str], rest: Iterator[str], file: IO[bytes]) -> DataPlace:
    """Where the values are."""
    packing = "zlib" if _true(fields.get("compresseddata", "False")) else "raw"
    if not _true(fields.get("binarydata", "True")):
        packing = "text"
    skip = _whole(path, "HeaderSize", fields.get("headersize", "0"), -1, 1 << 40)
    if skip == -1 and packing != "raw":
        raise InputError(f"{path}: HeaderSize = -1 tells nothing of packed values, since their size is not known")
    name = fields["elementdatafile"]
    if name.upper() != "LOCAL":
        return _placed(_names(path, name, rest), packing, begin=0, skip_lines=0, skip_bytes=skip)
    end = file.tell()
    if skip > 0 and skip < end:
        raise InputError(f"{path}: HeaderSize = {skip} lies within the header, which has {end} bytes")
    return _placed((), packing, begin=max(end, skip), skip_lines=0, skip_bytes=min(skip, 0))


def _placed(names: tuple[str, ...], packing: str, *, begin: int, skip_lines: int, skip_bytes: int) -> DataPlace:
    """A place whose bytes to skip are those of the file where nothing is packed: MetaImage counts these."""
    if skip_bytes > 0:
        return DataPlace(names, packing, begin + skip_bytes, skip_lines, 0)
    return DataPlace(names, packing, begin, skip_lines, skip_bytes)


def _true(text: str) -> bool:
    return text[:1].lower() in ("t", "1", "y")


# -- NRRD ------------------------------------------------------------------------------------------------------

# fmt: off
NRRD_FIELDS = frozenset({
    "type", "dimension", "sizes", "kinds", "spacings", "encoding", "endian", "units", "line skip", "byte skip",
    "space directions", "space units", "ultrasound image orientation", "ultrasound image type",
})
# fmt: on
#: spellings of the fields that have more than one
NRRD_SPELLINGS = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "spacedirections": "space directions",
    "spaceunits": "space units",
    "ultrasoundimageorientation": "ultrasound image orientation",
    "ultrasoundimagetype": "ultrasound image type",
}


def _nrrd_header(path: Path, file: IO[bytes]) -> SequenceHeader:
    """An NRRD header. It ends with an empty line, with the end of the file, or with a list of data files."""
    lines = iter(_Lines(path, file))
    if not re.fullmatch(r"000\d", next(lines, "").strip()):
        raise InputError(f"{path} is not an NRRD file: its first line is not NRRD0001 to NRRD0009")
    fields: dict[str, str] = {}
    frames = FrameFields()
    names: tuple[str, ...] = ()
    for line in lines:
        if not line.strip():
            break
        key, _, value = line.partition(":")
        key, value = key.strip().lower(), value.removeprefix("=").strip()
        name = NRRD_SPELLINGS.get(key, key)
        if name == "data file":
            names = _names(path, value, lines)
        elif name in NRRD_FIELDS or INDEX_FIELD.fullmatch(name):
            fields[name] = value
        elif not line.startswith("#"):
            frames.take(line.partition(":")[0].strip(), value)
    return _checked_nrrd(path, fields, frames, names, file.tell())


def _checked_nrrd(
    path: Path, fields: dict[str, str], frames: FrameFields, names: tuple[str, ...], end: int
) -> SequenceHeader:
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise InputError(f"{path} is not a whole NRRD file: its header does not say {' and '.join(missing)}")
    axes = _whole(path, "dimension", fields["dimension"], 1, MAX_AXES)
    sizes = _sizes(path, "sizes", fields["sizes"], axes)
    kinds = tuple(fields.get("kinds", "").lower().split(maxsplit=MAX_AXES))
    stored, encoding = " ".join(fields["type"].lower().split()), fields["encoding"].lower()
    if stored not in NRRD_TYPES:
        raise InputError(f"{path}: values of type {shown(stored)} are not read; whole numbers and floats are")
    if encoding not in NRRD_PACKINGS:
        raise InputError(f"{path}: encoding {shown(encoding)} is not read; raw, gzip, bzip2, ascii and hex are")
    lines = _whole(path, "line skip", fields.get("line skip", "0"), 0, 1 << 40)
    skip = _whole(path, "byte skip", fields.get("byte skip", "0"), -1, 1 << 40)
    packing = NRRD_PACKINGS[encoding]
    if skip == -1 and packing != "raw":
        raise InputError(f"{path}: byte skip -1 tells nothing of packed values, since their size is not known")
    data = DataPlace(names, packing, begin=0 if names else end, skip_lines=lines, skip_bytes=skip)
    big = fields.get("endian", "little").lower() == "big"
    return SequenceHeader(
        sizes=sizes,
        kinds=kinds if len(kinds) == axes else (),
        steps_mm=_nrrd_steps(fields, axes),
        dtype=(">" if big else "<") + NRRD_TYPES[stored],
        data=data,
        fields=fields,
        frames=frames,
    )


def _nrrd_steps(fields: dict[str, str], axes: int) -> tuple[float | None, ...]:
    """Spacing of each axis: the length of its space direction, else its spacing, mm."""
    directions = re.findall(r"none|\([^()]{0,400}\)", fields.get("space directions", "").lower())
    if len(directions) == axes:
        units = [UNITS_MM.get(u.lower()) for u in re.findall(r'"([^"]*)"', fields.get("space units", ""))] or [1.0]
        return tuple(None if d == "none" else _step(_length(d), units[0]) for d in directions)
    said = re.findall(r'"([^"]*)"', fields.get("units", ""))
    units = [UNITS_MM.get(u.lower()) for u in said] if len(said) == axes else [1.0] * axes
    words = fields.get("spacings", "").split(maxsplit=MAX_AXES)
    if len(words) != axes:
        return (None,) * axes
    return tuple(_step(w, unit) for w, unit in zip(words, units, strict=True))


def _length(vector: str) -> str:
    """Length of a vector such as (0,0.1,0), as text. Not a number if one of its parts is none."""
    try:
        return repr(math.hypot(*(float(v) for v in vector.strip("()").split(","))))
    except ValueError:
        return "nan"
