"""DICOM ultrasound, single frame or cine, with its calibrated regions as the scale."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels

CENTIMETRES = 3  # PhysicalUnitsXDirection, DICOM PS3.3 C.8.5.5.1.15
TISSUE = 1  # RegionDataType
TWO_D = 1  # RegionSpatialFormat


class DicomCine:
    """A DICOM file with pixel data, decoded frame by frame.

    Scale: the first calibrated 2-D tissue region in centimetres (PS3.3 C.8.5.5), else PixelSpacing, else
    ImagerPixelSpacing, else unknown. Times: FrameTimeVector, FrameTime, CineRate, RecommendedDisplayFrameRate, else
    1/20 s apart. MONOCHROME1 is inverted. YBR and palette colour become RGB. Window centre and width are not applied:
    white is 2**BitsStored - 1.
    Raises InputError if there are no pixels or they cannot be decoded.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None) -> None:
        try:
            import pydicom
        except ImportError:
            raise MissingExtraError("reading DICOM files", "pydicom", "dicom") from None
        self._path = path
        try:
            self._head: Any = pydicom.dcmread(path, stop_before_pixels=True)
            syntax = self._head.file_meta.TransferSyntaxUID
        except (pydicom.errors.InvalidDicomError, AttributeError, EOFError, ValueError) as e:
            raise InputError(f"{path} is not a DICOM file: {e}") from None
        if "Rows" not in self._head or "Columns" not in self._head:
            raise InputError(f"{path} holds no pictures (it is {syntax.name}, {self._what()})")
        count = int(self._head.get("NumberOfFrames", 1) or 1)
        self._times_s, rate = _times(self._head, count)
        size = (int(self._head.Columns), int(self._head.Rows))
        scale = spacing or _region_spacing(self._head) or _pixel_spacing(self._head)
        self.info = SourceInfo(name=str(path), kind="dicom", size_px=size, frames=count, rate_hz=rate, spacing=scale)

    def _what(self) -> str:
        return str(self._head.get("Modality", "of unknown modality"))

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`. Decodes only these."""
        from pydicom.pixels import apply_color_lut, iter_pixels

        count = self.info.frames or 0
        wanted = range(start, count if stop is None else min(stop, count))
        if not wanted:
            return
        index = start
        try:
            for stored in islice(iter_pixels(self._path, indices=list(wanted)), len(wanted)):
                if self._head.get("PhotometricInterpretation") == "PALETTE COLOR":
                    stored = apply_color_lut(stored, self._head)
                yield self._frame(stored, index)
                index += 1
        except (RuntimeError, NotImplementedError, ValueError, EOFError, AttributeError, KeyError) as e:
            raise InputError(
                f"{self._path} ends early or cannot be decoded: {index} of {count} frames could be read "
                f"({str(e).splitlines()[0][:160]})"
            ) from None

    def _frame(self, stored: Any, index: int) -> Frame:
        full_scale = float((1 << int(self._head.get("BitsStored", 8))) - 1)
        if stored.ndim == 3 and stored.dtype == np.uint16:
            full_scale = 65535.0  # colour tables hold 16 bit
        if self._head.get("PhotometricInterpretation") == "MONOCHROME1":
            stored = stored.dtype.type(full_scale) - stored
        kind: Any = np.uint8 if stored.dtype.itemsize == 1 else np.uint16
        pixels: Pixels = np.array(stored, dtype=kind, order="C")
        return Frame(pixels, index=index, time_s=self._times_s[index], spacing=self.info.spacing, full_scale=full_scale)

    def close(self) -> None:
        """Release nothing: every reading opens the file for itself."""


def _region_spacing(head: Any) -> Spacing | None:
    """Scale of the first calibrated region of tissue (PS3.3 C.8.5.5)."""
    for region in head.get("SequenceOfUltrasoundRegions", []):
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        spatial = region.get("RegionSpatialFormat", TWO_D) == TWO_D
        tissue = region.get("RegionDataType", TISSUE) == TISSUE
        if units == (CENTIMETRES, CENTIMETRES) and spatial and tissue:
            x, y = abs(float(region.PhysicalDeltaX)), abs(float(region.PhysicalDeltaY))
            if x > 0 and y > 0:
                return Spacing(10.0 * x, 10.0 * y)
    return None


def _pixel_spacing(head: Any) -> Spacing | None:
    """Scale as PixelSpacing or ImagerPixelSpacing says it."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if head.get(name):
            row_mm, column_mm = (float(v) for v in head.get(name))
            return Spacing(column_mm, row_mm)
    return None


def _times(head: Any, count: int) -> tuple[list[float], float | None]:
    """(time of each frame in s, frame rate in Hz, None where the times are uneven)."""
    vector = head.get("FrameTimeVector")
    if vector is not None and count > 1 and len(vector) >= count:
        steps_s = np.array([float(v) for v in vector[:count]]) * 1e-3
        return list(np.cumsum(steps_s) - steps_s[0]), None
    if head.get("FrameTime"):
        rate = 1000.0 / float(head.FrameTime)
    else:
        rate = float(head.get("CineRate") or head.get("RecommendedDisplayFrameRate") or 20.0)
    return [i / rate for i in range(count)], rate
