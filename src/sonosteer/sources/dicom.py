"""DICOM ultrasound, single frame or cine, or a folder of single frames, with its calibrated regions as the scale.

Everything in a file is read in a process of its own, within bounds (`core/guarded`).
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.geometry import Spacing
from sonosteer.core.guarded import GuardedReader
from sonosteer.core.limits import check_limit
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels
from sonosteer.sources.endings import ENDINGS
from sonosteer.sources.identity import BURNED_IN, MAY_BE_BURNED_IN, Region, blackened, regions_of, words_of

CENTIMETRES = 3  # PhysicalUnitsXDirection, DICOM PS3.3 C.8.5.5.1.15
TISSUE = 1  # RegionDataType
TWO_D = 1  # RegionSpatialFormat
RATE_HZ = 20.0  # chosen: of files that give no times
RATES_HZ = (1e-3, 1e5)  # chosen: from a frame in a quarter of an hour to more than any scanner makes
SCALES_MM = (1e-4, 100.0)  # chosen: from a tenth of a micrometre to a decimetre a pixel
SAME_SCALE = 0.01  # chosen: scales that differ by less come from rounding
RIVAL_AREA = 0.5  # chosen: an overview or a zoom window is smaller than half of the image it belongs to

Head = dict[str, Any]

#: reads all DICOM files of this process
_decoder = GuardedReader()


class DicomCine:
    """A DICOM file with pixel data, decoded frame by frame, or a folder of files with one frame each.

    Scale: the largest calibrated 2-D tissue region in centimetres (PS3.3 C.8.5.5), else PixelSpacing (of the file or of
    all its frames), else ImagerPixelSpacing, else unknown. Two large regions of different scales leave it unknown.
    Times: what FrameIncrementPointer names, FrameTimeVector, FrameTime, CineRate, RecommendedDisplayFrameRate,
    ActualFrameDuration, else 1/20 s apart. A field whose values are no times is passed over. MONOCHROME1 and a falling
    rescale slope are inverted. Values with a sign begin at the lowest, which is black. YBR and palette colour become
    RGB. Window centre and width are not applied: white is 2**BitsStored - 1. Files of a folder are in the order of
    their InstanceNumber, else of their names. keep_identity: False blackens what the file says to be burned in.
    Raises InputError if there are no pixels or they cannot be decoded.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, keep_identity: bool = True) -> None:
        if not _installed():
            raise MissingExtraError("reading DICOM files", "pydicom", "dicom")
        self._path = path
        files = dicom_files_in(path) if path.is_dir() else [path]
        check_limit(path, len(files), "SONOSTEER_MAX_FRAMES")
        heads = [(file, self._head(file)) for file in files]
        heads = [(file, head) for file, head in heads if head["pixels"]] if len(heads) > 1 else heads
        if len(heads) > 1:
            heads = _in_order(path, heads)
        elif not heads:
            raise InputError(f"{path} holds no DICOM file with pictures")
        first, head = heads[0]
        size = _size(first, head)
        count = _count(first, head)
        #: the file and the number in it of each frame
        self._frames = [(file, 0) for file, _ in heads] if len(heads) > 1 else None
        self._first = first
        count = len(heads) if self._frames else count
        self._times_s, rate = _file_times([h for _, h in heads]) if self._frames else _times(head, count)
        said, notes = _scale(head)
        self._full_scale = float((1 << _bits(first, head)) - 1)
        self._kept, burned = (None, ()) if keep_identity else _kept_regions(path, [h for _, h in heads], size)
        #: words of the patient's identity, lower case, to keep them out of results
        self.identity_words = words_of([text for _, h in heads for text in h["identity"]])
        self._palette = head["PhotometricInterpretation"].strip() == "PALETTE COLOR"
        self.info = SourceInfo(
            name=str(path),
            kind="dicom",
            size_px=size,
            frames=count,
            rate_hz=rate,
            spacing=spacing or said,
            notes=(*(() if spacing else notes), *burned),
        )

    @staticmethod
    def _head(file: Path) -> Head:
        data = _decoder.read(str(file), "sonosteer.sources.dicom_decoding:head", str(file))
        head: Head = json.loads(data.tobytes())
        return head

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`. Decodes only these."""
        count = self.info.frames or 0
        function = "sonosteer.sources.dicom_decoding:picture"
        for index in range(start, count if stop is None else min(stop, count)):
            file, number = self._frames[index] if self._frames else (self._first, index)
            try:
                pixels = _decoder.read(str(file), function, str(file), number)
            except InputError as e:
                raise InputError(
                    f"{self._path} ends early or cannot be decoded: {index} of {count} frames could be read ({e})"
                ) from None
            yield self._frame(file, pixels, index)

    def _frame(self, file: Path, pixels: Pixels, index: int) -> Frame:
        size = (int(pixels.shape[1]), int(pixels.shape[0]))
        if size != self.info.size_px or pixels.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"{file}: frame {index} is {size[0]}x{size[1]}, and not {self.info.size_px[0]}x{self.info.size_px[1]}"
            )
        if self._kept is not None:
            pixels = blackened(pixels, self._kept)
        full_scale = float(np.iinfo(pixels.dtype).max) if self._palette else self._full_scale
        return Frame(pixels, index, self._times_s[index], self.info.spacing, full_scale=full_scale)

    def close(self) -> None:
        """Release nothing: the process that decodes serves other files, too."""


def _installed() -> bool:
    try:
        return importlib.util.find_spec("pydicom") is not None
    except ValueError:
        return False


def dicom_files_in(folder: Path) -> list[Path]:
    """The DICOM files of a folder, by ending or by mark, without hidden files and DICOMDIR."""
    try:
        files = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
        return sorted(p for p in files if p.name != "DICOMDIR" and _is_dicom(p))
    except OSError as e:
        raise InputError(f"{folder} cannot be read: {e.strerror}") from None


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS["dicom"]:
        return True
    if path.suffix and not path.suffix[1:].isdecimal():  # scanners write IM0001, IM_0001.1 and 1.2.840.113
        return False
    with path.open("rb") as f:
        return f.read(132)[128:] == b"DICM"


def _kept_regions(
    path: Path, heads: Sequence[Head], size_px: tuple[int, int]
) -> tuple[tuple[Region, ...] | None, tuple[str, ...]]:
    """(parts of the pictures that are kept or None for all, a line about what may be burned in).

    Raises InputError if names are burned in and nothing says where.
    """
    said = {head["BurnedInAnnotation"].strip().upper() for head in heads}
    if "YES" in said:
        regions = regions_of(heads[0]["regions"], size_px)
        if not regions:
            raise InputError(
                f"{path} says that names are burned into its pictures, and not where: nothing is passed on; "
                "`keep_identity` passes them on as they are"
            )
        return regions, (BURNED_IN,)
    return None, () if said == {"NO"} else (MAY_BE_BURNED_IN,)


def _size(path: Path, head: Head) -> tuple[int, int]:
    """(width, height). Raises InputError if there are no pictures, or they are larger than the limit allows."""
    rows, columns = (int(head[name] or 0) for name in ("Rows", "Columns"))
    if not head["pixels"] or rows < 1 or columns < 1:
        kind = head["Modality"] or "of unknown modality"
        raise InputError(f"{path} holds no pictures (it is {head['syntax']}, {kind})")
    check_limit(path, rows * columns, "SONOSTEER_MAX_FRAME_PX")
    return columns, rows


def _count(path: Path, head: Head) -> int:
    count = int(head["NumberOfFrames"] or 1)
    if count < 1:
        raise InputError(f"{path} says it has {count} frames")
    check_limit(path, count, "SONOSTEER_MAX_FRAMES")
    return count


def _bits(path: Path, head: Head) -> int:
    """Bits of a value that are used. Raises InputError for more than are read."""
    bits = int(head["BitsStored"] or 8)
    if not 1 <= bits <= 16:
        raise InputError(f"{path} says that {bits} bits of each value are used; 1 to 16 are read")
    return bits


def _in_order(folder: Path, heads: Sequence[tuple[Path, Head]]) -> list[tuple[Path, Head]]:
    """The files of a folder as one clip. Raises InputError if they are no frames of one clip."""
    several = next((file for file, head in heads if (head["NumberOfFrames"] or 1) > 1), None)
    if several is not None:
        raise InputError(f"{folder} holds {len(heads)} DICOM files, and {several.name} is a clip itself: name one file")
    series = {head["SeriesInstanceUID"] for _, head in heads}
    if len(series) > 1:
        raise InputError(f"{folder} holds pictures of {len(series)} DICOM series: put each into a folder of its own")
    kinds = {
        (_size(file, head), head["BitsStored"], head["PhotometricInterpretation"] == "PALETTE COLOR")
        for file, head in heads
    }
    if len(kinds) > 1:
        raise InputError(f"{folder} holds DICOM pictures of {len(kinds)} sizes or depths: put each into its own folder")
    numbers = {head["InstanceNumber"] for _, head in heads}
    if None not in numbers and len(numbers) == len(heads):
        return sorted(heads, key=lambda each: float(each[1]["InstanceNumber"]))
    return sorted(heads, key=lambda each: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", each[0].name)])


# -- scale -----------------------------------------------------------------------------------------------------


def _scale(head: Head) -> tuple[Spacing | None, tuple[str, ...]]:
    """(scale, a line where the file says several)."""
    regions = sorted(_regions(head), key=lambda region: region[0], reverse=True)
    if regions:
        area, scale = regions[0]
        others = [(a, s) for a, s in regions[1:] if not _same(s, scale)]
        if not others:
            return scale, ()
        told = " and ".join(f"{s.x_mm:g} x {s.y_mm:g} mm" for s in (scale, others[0][1]))
        if others[0][0] > RIVAL_AREA * area:
            return None, (f"its regions have different scales per pixel ({told}): the scale is unknown, say which",)
        return scale, (f"its regions have different scales per pixel ({told}): that of the largest is taken",)
    measures = [_spacing(each) for each in head["frame_spacings"]]
    known = [each for each in measures if each is not None]
    if len(known) > 1:
        return None, ("its frames have different scales: the scale is unknown",)
    named = [_spacing(head[name]) for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")]
    return next((each for each in (named[0], *known, *named[1:]) if each is not None), None), ()


def _regions(head: Head) -> Iterator[tuple[float, Spacing]]:
    """(area in px, scale) of the calibrated 2-D regions of tissue (PS3.3 C.8.5.5)."""
    for region in head["regions"]:
        units = (region["PhysicalUnitsXDirection"], region["PhysicalUnitsYDirection"])
        kinds = (region["RegionSpatialFormat"], region["RegionDataType"])
        deltas = (region["PhysicalDeltaX"], region["PhysicalDeltaY"])
        if units != (CENTIMETRES, CENTIMETRES) or kinds not in itertools.product((TWO_D, None), (TISSUE, None)):
            continue
        scale = None if None in deltas else _spacing([10.0 * abs(deltas[1]), 10.0 * abs(deltas[0])])
        if scale is not None:
            yield _area(region, int(head["Columns"]), int(head["Rows"])), scale


def _area(region: dict[str, float | None], columns: int, rows: int) -> float:
    """Pixels of the picture that a region has, 0 where it does not say."""
    ends = [region[f"RegionLocation{name}"] for name in ("MinX0", "MaxX1", "MinY0", "MaxY1")]
    if None in ends:
        return 0.0
    x_0, x_1, y_0, y_1 = (float(e) for e in ends if e is not None)
    width, height = min(x_1, columns - 1) - max(x_0, 0) + 1, min(y_1, rows - 1) - max(y_0, 0) + 1
    return width * height if width > 0 and height > 0 else 0.0


def _spacing(row_column_mm: list[float] | None) -> Spacing | None:
    """The scale of a pair (between rows, between columns), None if it is no such pair."""
    if row_column_mm is None or len(row_column_mm) != 2:
        return None
    y_mm, x_mm = row_column_mm
    low, high = SCALES_MM
    return Spacing(x_mm, y_mm) if low <= x_mm <= high and low <= y_mm <= high else None


def _same(a: Spacing, b: Spacing) -> bool:
    return abs(a.x_mm / b.x_mm - 1.0) < SAME_SCALE and abs(a.y_mm / b.y_mm - 1.0) < SAME_SCALE


# -- times -----------------------------------------------------------------------------------------------------


def _times(head: Head, count: int) -> tuple[Sequence[float], float | None]:
    """(time of each frame in s, frame rate in Hz, None where the times are uneven)."""
    vector = _vector_times(head["FrameTimeVector"], count)
    rate = _rate_of(head["FrameTime"])
    if vector is not None and not (head["increments_by"] == "FrameTime" and rate is not None):
        return vector, None
    if rate is None:
        by_name = (_rate(head["CineRate"]), _rate(head["RecommendedDisplayFrameRate"]))
        rate = next((each for each in (*by_name, _rate_of(head["ActualFrameDuration"])) if each is not None), RATE_HZ)
    return [i / rate for i in range(count)], rate


def _rate(value: float | None) -> float | None:
    """A rate in Hz, None if it is none."""
    return value if value is not None and RATES_HZ[0] <= value <= RATES_HZ[1] else None


def _rate_of(step_ms: float | None) -> float | None:
    """Rate of frames that are so many ms apart, Hz. None if that is no time."""
    return _rate(1000.0 / step_ms) if step_ms is not None and step_ms > 0.0 else None


def _vector_times(steps_ms: list[float] | None, count: int) -> Sequence[float] | None:
    """Times by FrameTimeVector, s: the time from the frame before for each. None if they do not all grow."""
    if steps_ms is None or count < 2 or len(steps_ms) < count:
        return None
    steps_s = np.array(steps_ms[1:count]) * 1e-3
    if not (steps_s > 0.0).all() or steps_s.max() > 1.0 / RATES_HZ[0]:
        return None
    return [0.0, *np.cumsum(steps_s).tolist()]


def _file_times(heads: Sequence[Head]) -> tuple[Sequence[float], float | None]:
    """As `_times`, of files with one frame each: by their clocks, if these grow from file to file."""
    stamps = [
        _clock_s(head["AcquisitionDateTime"]) or _clock_s(head["ContentDate"] + head["ContentTime"]) for head in heads
    ]
    clocks = [stamp for stamp in stamps if stamp is not None]
    if len(clocks) == len(heads) and all(a < b for a, b in itertools.pairwise(clocks)):
        return [clock - clocks[0] for clock in clocks], None
    return _times({**heads[0], "FrameTimeVector": None}, len(heads))


def _clock_s(text: str) -> float | None:
    """Seconds of a DICOM date and time, such as 20240131120000.5. None if it is none."""
    found = re.fullmatch(r"(\d{14})(\.\d{1,6})?([+-]\d{4})?\s*", text)
    if found is None:
        return None
    try:
        whole = datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return whole.timestamp() + float(found[2] or 0.0)
