"""What a DICOM file says and its pictures. Runs in the child process of a `GuardedReader`.

Pictures that are not compressed are read here at their place in the file: pydicom's iterator goes wrong from the second
frame on where two pixels share their colour (YBR_FULL_422). Compressed ones are decoded by pydicom's plug-ins.
"""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, iter_pixels

from sonosteer.core.errors import InputError
from sonosteer.core.limits import check_limit

GREY = ("MONOCHROME1", "MONOCHROME2")
#: what pydicom makes RGB while it decompresses
DECOMPRESSED_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
#: brightness of black and how much its values and those of the colours are stretched, of 255 (PS3.3 C.7.6.3.1.2)
YBR = {"YBR_FULL": (0.0, 1.0, 1.0), "YBR_FULL_422": (0.0, 1.0, 1.0), "YBR_PARTIAL_422": (16.0, 255 / 219, 255 / 224)}
#: numbers that are told of a region (PS3.3 C.8.5.5)
REGION_FIELDS = (
    "RegionSpatialFormat",
    "RegionDataType",
    "PhysicalUnitsXDirection",
    "PhysicalUnitsYDirection",
    "PhysicalDeltaX",
    "PhysicalDeltaY",
    "RegionLocationMinX0",
    "RegionLocationMinY0",
    "RegionLocationMaxX1",
    "RegionLocationMaxY1",
)
NUMBERS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsStored",
    "FrameTime",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "ActualFrameDuration",
    "InstanceNumber",
)
TEXTS = (
    "Modality",
    "PhotometricInterpretation",
    "SeriesInstanceUID",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "BurnedInAnnotation",
)
#: what tells a patient, only to see whether a path holds it
IDENTITY = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientBirthDate",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "OperatorsName",
)
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
MAX_REGIONS = 1000  # chosen: scanners write one to ten
ROWS_AT_ONCE = 256  # chosen: little memory beside the picture itself


def head(path: str) -> NDArray[np.uint8]:
    """What the file says, as the bytes of a JSON object. Raises InputError if it is no DICOM file."""
    file = _opened(path)
    said = file.said
    answer: dict[str, Any] = {name: _number(said, name) for name in NUMBERS}
    answer |= {name: str(_value(said, name) or "")[:200] for name in TEXTS}
    answer |= {name: _numbers(said, name) for name in (*SPACINGS, "FrameTimeVector")}
    answer["identity"] = [text for name in IDENTITY if (text := _identity(said, name))]
    answer["syntax"] = file.syntax.name
    answer["pixels"] = file.pixels is not None
    answer["increments_by"] = _increments_by(said)
    answer["regions"] = [
        {name: _number(region, name) for name in REGION_FIELDS}
        for region in _items(said, "SequenceOfUltrasoundRegions")[:MAX_REGIONS]
    ]
    answer["frame_spacings"] = _frame_spacings(said)
    return np.frombuffer(json.dumps(answer).encode(), np.uint8)


def picture(path: str, index: int) -> NDArray[Any]:
    """Frame `index`: (rows, columns) grey or (rows, columns, 3) RGB, 0 is black, uint8 or uint16.

    Raises InputError if it is not there or cannot be decoded.
    """
    return _opened(path).picture(index)


def _opened(path: str) -> _DicomFile:
    try:
        found = Path(path).stat()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    return _read_once(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=4)  # chosen: clips that are read side by side
def _read_once(path: str, changed_ns: int, size: int) -> _DicomFile:
    """A file that was opened before, if it was not changed since then."""
    warnings.simplefilter("ignore")  # pydicom tells every oddity of a header on stderr
    return _DicomFile(Path(path))


# -- fields ----------------------------------------------------------------------------------------------------


def _value(said: Any, name: str) -> Any:
    """The value of a field, None if it is not there, empty or damaged."""
    try:
        return said.get(name)
    except Exception:  # noqa: BLE001  pydicom raises all kinds at damaged fields
        return None


def _identity(said: Any, name: str) -> str:
    """A field as text, "" if it cannot be read."""
    value = _value(said, name)
    try:
        return "" if value is None else str(value)[:200]
    except Exception:  # noqa: BLE001  pydicom raises all kinds at damaged fields
        return ""


def _number(said: Any, name: str) -> float | None:
    """The number that a field holds, None if it holds none."""
    try:
        value = float(_value(said, name))
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _whole(said: Any, name: str, otherwise: int) -> int:
    value = _number(said, name)
    return otherwise if value is None else int(value)


def _numbers(said: Any, name: str) -> list[float] | None:
    """The numbers that a field holds, None if it holds anything else."""
    value = _value(said, name)
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        numbers = [float(v) for v in (value if hasattr(value, "__len__") else [value])]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _items(said: Any, name: str) -> list[Any]:
    """The items of a sequence, none if it is not there or damaged."""
    value = _value(said, name)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def _increments_by(said: Any) -> str:
    """The field that FrameIncrementPointer names, "" if it names none."""
    value = _value(said, "FrameIncrementPointer")
    first = value[0] if isinstance(value, list | pydicom.multival.MultiValue) and value else value
    try:
        return pydicom.datadict.keyword_for_tag(first) if first is not None else ""
    except (TypeError, ValueError, OverflowError):
        return ""


def _frame_spacings(said: Any) -> list[list[float]]:
    """PixelSpacing of all frames, and of single frames (enhanced multi-frame files), each once."""
    groups = [*_items(said, "SharedFunctionalGroupsSequence"), *_items(said, "PerFrameFunctionalGroupsSequence")]
    found = {
        tuple(_numbers(m, "PixelSpacing") or ()) for group in groups for m in _items(group, "PixelMeasuresSequence")
    }
    return [list(spacing) for spacing in sorted(found) if spacing]


# -- pictures --------------------------------------------------------------------------------------------------


class _DicomFile:
    """A file whose header was read. The pixels stay on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.said, self.pixels = _read(path)
            self.syntax = self.said.file_meta.TransferSyntaxUID
        except OSError as e:
            raise InputError(f"{path} cannot be read: {e.strerror or e}") from None
        except MemoryError:
            raise
        except Exception as e:  # noqa: BLE001  pydicom raises all kinds at damaged fields
            raise InputError(f"{path} is not a DICOM file: {' '.join(str(e).split())[:160]}") from None
        self.rows, self.columns = (_whole(self.said, name, 0) for name in ("Rows", "Columns"))
        self.samples = _whole(self.said, "SamplesPerPixel", 1)
        self.allocated = _whole(self.said, "BitsAllocated", 8)
        self.stored = _whole(self.said, "BitsStored", self.allocated)
        self.signed = _whole(self.said, "PixelRepresentation", 0) == 1
        self.photometric = str(_value(self.said, "PhotometricInterpretation") or "MONOCHROME2").strip()
        self._decoder: Iterator[Any] = iter(())
        self._next = -1

    def picture(self, index: int) -> NDArray[Any]:
        check_limit(self.path, self.rows * self.columns, "SONOSTEER_MAX_FRAME_PX")
        self._check()
        native = not self.syntax.is_compressed or self.syntax.is_deflated
        stored = self._native(index) if native else self._decompressed(index)
        if self.samples == 3:
            return _rgb(stored, self.photometric, self.stored) if native and self.photometric in YBR else stored
        mask = (1 << self.stored) - 1
        if self.photometric == "PALETTE COLOR":
            coloured: NDArray[Any] = self._palette[stored & mask]
            return coloured
        grey: NDArray[Any] = stored & mask
        if self.signed:
            grey ^= 1 << (self.stored - 1)
        slope = _number(self.said, "RescaleSlope")
        falling = slope is not None and slope < 0.0
        if (self.photometric == "MONOCHROME1") != falling:
            np.subtract(mask, grey, out=grey)
        return grey

    def _check(self) -> None:
        """Raise InputError for pictures of another kind than those that are read."""
        grey = self.samples == 1 and self.photometric in (*GREY, "PALETTE COLOR")
        native = self.photometric == "RGB" or self.photometric in YBR
        packed = self.syntax.is_compressed and self.photometric in DECOMPRESSED_COLOUR
        if not grey and not (self.samples == 3 and (native or packed)):
            raise InputError(
                f"{self.path} has {self.samples} values per pixel of kind {self.photometric[:40]!r}, which is not "
                f"read; {', '.join((*GREY, 'PALETTE COLOR', 'RGB', *YBR))} are"
            )
        if self.allocated not in (8, 16) or not 1 <= self.stored <= self.allocated:
            raise InputError(
                f"{self.path} stores {self.stored} bits in {self.allocated}, which is not read; 1 to 16 bits in 8 or "
                "16 are"
            )

    @functools.cached_property
    def _palette(self) -> NDArray[Any]:
        """(2**stored, 3): the colour of each value."""
        colours: NDArray[Any] = apply_color_lut(np.arange(1 << self.stored, dtype=np.uint16), self.said)
        return colours.astype(np.uint8) if colours.max() <= 255 else colours

    def _native(self, index: int) -> NDArray[Any]:
        """Unsigned values as they are stored, shifted to bit 0."""
        assert self.pixels is not None
        file, at, length = self.pixels
        halved = self.samples == 3 and self.photometric.endswith("_422")
        width = self.allocated // 8
        size = self.rows * self.columns * (2 if halved else self.samples) * width
        with file() as f:
            f.seek(at + index * size)
            data = f.read(min(size, max(0, length - index * size)))
        if len(data) < size:
            raise InputError(f"{self.path} is cut off in frame {index}")
        order = "<" if self.syntax.is_little_endian else ">"
        values: NDArray[Any] = np.frombuffer(data, f"{order}u{width}").astype(f"u{width}")
        shift = _whole(self.said, "HighBit", self.stored - 1) + 1 - self.stored
        if 0 < shift <= self.allocated - self.stored:
            values = values >> shift
        if halved:
            return _doubled(values.reshape(self.rows, -1, 4))
        if self.samples == 1:
            return values.reshape(self.rows, self.columns)
        if _whole(self.said, "PlanarConfiguration", 0) == 1:
            return np.moveaxis(values.reshape(3, self.rows, self.columns), 0, 2)
        return values.reshape(self.rows, self.columns, 3)

    def _decompressed(self, index: int) -> NDArray[Any]:
        if index != self._next:
            count = _whole(self.said, "NumberOfFrames", 1)
            self._decoder = iter_pixels(self.path, indices=range(index, max(1, count)))
        values: NDArray[Any] = next(self._decoder)
        self._next = index + 1
        unsigned: NDArray[Any] = values.view(f"u{values.dtype.itemsize}")
        return unsigned


Place = tuple[Any, int, int]


def _read(path: Path) -> tuple[Any, Place | None]:
    """(the fields of a file, how to open its pixels, where they begin and how many bytes they have)."""
    with path.open("rb") as f:
        said: Any = pydicom.dcmread(f, stop_before_pixels=True)
        syntax = said.file_meta.TransferSyntaxUID
        if syntax.is_deflated:
            data = pydicom.dcmread(path).get("PixelData")
            return said, None if data is None else (lambda: BytesIO(data), 0, len(data))
        order: Literal["little", "big"] = "little" if syntax.is_little_endian else "big"
        tag = [int.from_bytes(f.read(2), order) for _ in range(2)]
        if tag != [0x7FE0, 0x0010]:
            return said, None
        if not syntax.is_implicit_VR:
            f.read(4)  # kind of value, and two bytes that mean nothing
        length = int.from_bytes(f.read(4), order)
        return said, (lambda: path.open("rb"), f.tell(), length)


def _doubled(pairs: NDArray[Any]) -> NDArray[Any]:
    """(rows, columns, 3) of (rows, columns / 2, 4): two brightnesses, which share the two colours behind them."""
    out = np.empty((pairs.shape[0], 2 * pairs.shape[1], 3), pairs.dtype)
    out[:, 0::2, 0], out[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    out[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
    return out


def _rgb(ybr: NDArray[Any], photometric: str, bits: int) -> NDArray[Any]:
    """RGB of brightness and two differences of colour (PS3.3 C.7.6.3.1.2)."""
    black, stretch, stretch_colour = YBR[photometric]
    top = float((1 << bits) - 1)
    out = np.empty_like(ybr)
    for a in range(0, len(ybr), ROWS_AT_ONCE):
        part = ybr[a : a + ROWS_AT_ONCE].astype(np.float32)
        y = (part[..., 0] - black * top / 255.0) * stretch
        b, r = ((part[..., k] - (1 << (bits - 1))) * stretch_colour for k in (1, 2))
        colours = (y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b)
        out[a : a + ROWS_AT_ONCE] = np.clip(np.rint(np.stack(colours, -1)), 0.0, top)
    return out
