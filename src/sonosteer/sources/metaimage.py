"""MetaImage and NRRD sequences, as the PLUS toolkit (.igs.mha, .igs.nrrd) and 3D Slicer (.seq.nrrd) write them.

Header and pixels are read here, frame by frame, within limits: a library that loads a whole sequence would need memory
that grows with the clip, and SimpleITK hangs or dies on damaged headers.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Spacing
from sonosteer.core.limits import check_limit, limit_of
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels
from sonosteer.sources.picture_axes import PictureAxes, find_axes
from sonosteer.sources.poses import PoseChain, chain_matrix, chain_of, checked_matrix, image_in_mm, pixel_size
from sonosteer.sources.sequence_header import SequenceHeader, axis_times_s, read_header, shown
from sonosteer.sources.stored_values import StoredValues
from sonosteer.sources.turning import AS_IS, Turn

RATE_HZ = 20.0  # chosen: of sequences that give no times
LATEST_S = 1e12  # chosen: the clock of a computer counts 1.8e9 seconds since 1970
SORT_BYTES = 1 << 22  # chosen: sorted at once

#: UltrasoundImageOrientation -> what makes it MF: x along the transducer to its marked side, y away from it
ORIENTATIONS = {
    "MF": AS_IS,
    "UF": Turn(mirror_x=True),
    "MN": Turn(mirror_y=True),
    "UN": Turn(mirror_x=True, mirror_y=True),
    "FM": Turn(swap=True),
    "FU": Turn(swap=True, mirror_x=True),
    "NM": Turn(swap=True, mirror_y=True),
    "NU": Turn(swap=True, mirror_x=True, mirror_y=True),
    "XX": AS_IS,  # PLUS' word for unknown
    "": AS_IS,
}


class MetaImageSequence:
    """A .mha, .mhd, .nrrd or .nhdr file with one image or a sequence of them.

    Time is the axis of kind list or time, else the last one. Times come from `Seq_FrameNNNN_Timestamp` or NRRD's
    `axis N index values`, relative to the first, else 1/20 s apart. A frame without a time among others lies
    between its neighbours. Frames whose image status is not OK are left out and counted. A spacing of exactly 1
    along x and y is what PLUS writes when it does not know the scale. It is then that of the poses, else unknown.
    An `UltrasoundImageOrientation` other than MF is turned to it. Values of more than 8 bit: white is the smallest
    of 255, 511, 1023 ... 65535 that holds the first frame. Transparent parts of RGBA are black. poses: the chain of
    transforms from Image to the world (`sources/poses`). Without one, the only `ImageTo...` of the file is taken.
    Raises InputError if the file cannot be read.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, poses: PoseChain | None = None) -> None:
        self._path = path
        header = self._header = read_header(path)
        try:
            axes = self._axes = find_axes(header.sizes, header.kinds)
        except InputError as e:
            raise InputError(f"{path}: {e}") from None
        check_limit(path, axes.frames, "SONOSTEER_MAX_FRAMES")
        check_limit(path, axes.size_px[0] * axes.size_px[1], "SONOSTEER_MAX_FRAME_PX")
        self._dtype = np.dtype(header.dtype)
        self._frame_bytes = axes.size_px[0] * axes.size_px[1] * axes.channels * self._dtype.itemsize
        check_limit(path, self._frame_bytes, "SONOSTEER_MAX_FRAME_BYTES")
        self._values = StoredValues(
            header=path,
            place=header.data,
            dtype=self._dtype,
            size=self._frame_bytes * axes.frames,
            slices=next((size for size in reversed(axes.sizes) if size > 1), 1),
        )
        self._values.check()
        self._turn = _orientation(path, header)
        self._stored, left_out = _usable(path, header, axes.frames)
        self._times_s = _times_s(path, header, axes.frames)
        self._full_scale: float | None = None
        names = {n.removesuffix("Transform") for said in header.frames.poses.values() for n in said}
        self._chain, unused = chain_of([n for n in names if not n.endswith("Status")], poses, path)
        self._sorted: NDArray[Any] | None = None
        self.info = SourceInfo(
            name=str(path),
            kind="metaimage",
            size_px=self._turn.size_px(*axes.size_px),
            frames=len(self._stored),
            rate_hz=None,
            spacing=spacing or _spacing(header, axes, swapped=self._turn.swap) or self._scale_of_poses(),
            world=None if self._chain is None else self._chain[-1].end,
            notes=(*left_out, *unused),
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`. A compressed file is decompressed from its beginning."""
        count = len(self._stored)
        wanted = range(start, count if stop is None else min(stop, count))
        for index, values in self._read(wanted) if self._axes.in_order else self._read_sorted(wanted):
            yield self._frame(self._axes.picture(values), index)

    def transform_names(self) -> tuple[str, ...]:
        """Names of the transforms that the file gives, such as ProbeToTracker."""
        found = {key for said in self._header.frames.poses.values() for key in said if key.endswith("Transform")}
        return tuple(sorted(key.removesuffix("Transform") for key in found))

    def transforms(self, name: str) -> dict[int, tuple[float, Matrix]]:
        """(time in s, 4 x 4 matrix as it stands) by the number of the frame, where the file calls it valid."""
        key, out = f"{name}Transform", {}
        for index, stored in enumerate(self._stored):
            said = self._header.frames.poses.get(stored, {})
            if key in said and said.get(key + "Status", "OK").upper() == "OK":
                words = said[key].split(maxsplit=16)
                if len(words) == 16:
                    out[index] = self._time_s(index), _matrix(words, f"{self._path}: {key} of frame {stored}")
        return out

    def _read(self, wanted: range) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield index and values of frames that are stored one after the other."""
        size = self._frame_bytes
        with self._values.open() as reader:
            at = 0  # number of the stored frame that is next
            for index in wanted:
                reader.skip((self._stored[index] - at) * size)
                data = reader.read(size)
                at = self._stored[index] + 1
                if len(data) < size:
                    self._ends_early(index)
                yield index, np.frombuffer(data, self._dtype)

    def _read_sorted(self, wanted: range) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield index and values of frames that are stored value by value, all frames of the first one first."""
        if wanted and self._sorted is None:
            self._sorted = self._sort()
        for index in wanted:
            assert self._sorted is not None
            yield index, self._sorted[self._stored[index]]

    def _sort(self) -> NDArray[Any]:
        """(frames, values of a frame): all values, sorted by frames into a file without a name."""
        total = self._values.size
        if total > limit_of("SONOSTEER_MAX_SORTED_BYTES"):
            check_limit(self._path, total, "SONOSTEER_MAX_SORTED_BYTES")
        slower, faster = self._axes.around_time
        frames = self._axes.frames
        block = frames * faster * self._dtype.itemsize  # bytes for each value of the slower axes
        at_once = max(1, SORT_BYTES // block)
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as its map
            out: NDArray[Any] = np.memmap(file, self._dtype, "w+", shape=(frames, slower, faster))
            file.close()
        except OSError as e:
            raise InputError(f"{self._path}: its frames cannot be sorted in {tempfile.gettempdir()}: {e}") from None
        with self._values.open() as reader:
            for a in range(0, slower, at_once):
                b = min(a + at_once, slower)
                data = reader.read((b - a) * block)
                if len(data) < (b - a) * block:
                    self._ends_early(0)
                out[:, a:b] = np.frombuffer(data, self._dtype).reshape(b - a, frames, faster).swapaxes(0, 1)
        return out.reshape(frames, slower * faster)

    def _ends_early(self, index: int) -> None:
        raise InputError(f"{self._path} ends early: {index} of {len(self._stored)} frames could be read")

    def _frame(self, picture: NDArray[Any], index: int) -> Frame:
        levels: Any = _grey_levels(self._path, picture, index)
        if levels.ndim == 3 and levels.shape[2] == 4:
            levels = _on_black(levels)
        if self._full_scale is None:
            top = int(levels.max()) if levels.dtype == np.uint16 else 255
            self._full_scale = float((1 << max(8, top.bit_length())) - 1)
        pixels: Any = np.ascontiguousarray(self._turn.of(levels))
        return Frame(
            pixels if pixels.base is None else pixels.copy(),
            index=index,
            time_s=self._time_s(index),
            spacing=self.info.spacing,
            full_scale=self._full_scale,
            T_world_image=self._pose(self._stored[index]),
        )

    def _time_s(self, index: int) -> float:
        if self._times_s is None:
            return (self._stored[index] - self._stored[0]) / RATE_HZ
        return float(self._times_s[self._stored[index]] - self._times_s[self._stored[0]])

    def _pose(self, stored: int) -> Matrix | None:
        """Image to world of a frame, None where the file does not say or says that it is invalid."""
        if self._chain is None:
            return None
        total = self._chain_matrix(stored)
        return None if total is None else image_in_mm(total, self.info.spacing, f"{self._path}, frame {stored}")

    def _chain_matrix(self, stored: int) -> Matrix | None:
        """The chain of a frame as one matrix, as the file says it. None if a step is missing or invalid."""
        assert self._chain is not None
        said = self._header.frames.poses.get(stored, {})
        matrices: dict[str, Matrix] = {}
        for step in self._chain:
            key = f"{step.name}Transform"
            values = said.get(key, "").split(maxsplit=16)
            if step.matrix is None and len(values) == 16 and said.get(key + "Status", "OK").upper() == "OK":
                what = f"{self._path}: {key} of frame {stored}"
                matrices[step.name] = checked_matrix(_matrix(values, what), what)
        return chain_matrix(self._chain, matrices)

    def _scale_of_poses(self) -> Spacing | None:
        """Scale that the poses say, where their Image is in pixels. None if nothing says it."""
        totals = (self._chain_matrix(stored) for stored in self._stored) if self._chain is not None else ()
        first = next((total for total in totals if total is not None), None)
        return None if first is None else pixel_size(first)

    def close(self) -> None:
        """Release the sorted frames. Every reading opens the file for itself."""
        self._sorted = None


def _orientation(path: Path, header: SequenceHeader) -> Turn:
    """What to do with each picture. Raises InputError for what is no B-mode picture."""
    names = ("ultrasoundimageorientation", "ultrasound image orientation")
    said = next((header.fields[n] for n in names if n in header.fields), "").upper()
    kind = next((header.fields[n] for n in ("ultrasoundimagetype", "ultrasound image type") if n in header.fields), "")
    if kind.upper().startswith("RF_"):
        raise InputError(f"{path} holds {shown(kind)}, radio-frequency lines and no pictures; convert them to B-mode")
    if said[:2] not in ORIENTATIONS or said[2:] not in ("", "A", "D"):
        raise InputError(f"{path}: UltrasoundImageOrientation {shown(said)} is not known; MF, UF, FM and such are")
    return ORIENTATIONS[said[:2]]


def _usable(path: Path, header: SequenceHeader, count: int) -> tuple[Sequence[int], tuple[str, ...]]:
    """(numbers of the frames that hold a picture, a line about the others)."""
    bad = {index: status for index, status in header.frames.status.items() if index < count}
    if not bad:
        return range(count), ()
    stored = [index for index in range(count) if index not in bad]
    first = min(bad)
    said = f"{len(bad)} of {count} frames are left out, since the file says that they hold no valid image: the first "
    said += f"is {first}, {shown(bad[first])}"
    if not stored:
        raise InputError(f"{path} holds no pictures: {said}")
    return stored, (said,)


def _times_s(path: Path, header: SequenceHeader, count: int) -> NDArray[np.float64] | None:
    """Time of each stored frame, s. None where the header gives none. Raises InputError for what is no time."""
    stamps = {index: text for index, text in header.frames.times.items() if index < count}
    if not stamps:
        listed = axis_times_s(header)
        if len(listed) != count:
            return None
        stamps = dict(enumerate(listed))
    numbers = np.array(sorted(stamps), np.int64)
    times = np.array([_number(stamps[int(n)]) for n in numbers])
    wrong = np.flatnonzero(~(np.abs(times) < LATEST_S))
    if wrong.size:
        n = int(numbers[wrong[0]])
        raise InputError(f"{path}: the time of frame {n} is {shown(stamps[n])}, which is not a number of seconds")
    back = np.flatnonzero(np.diff(times) < 0.0)
    if back.size:
        after = numbers[back[0] + 1]
        raise InputError(f"{path}: frame {after} is earlier than the frame before it; sort the frames by time")
    return np.interp(np.arange(count), numbers, times) if len(times) < count else times


def _number(text: str) -> float:
    """The number that a text says, NaN if it says none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _spacing(header: SequenceHeader, axes: PictureAxes, *, swapped: bool) -> Spacing | None:
    """Scale of the picture as it is handed on, None where the header does not say."""
    x, y = header.steps_mm[axes.x], header.steps_mm[axes.y]
    if x is None or y is None or (x == 1.0 and y == 1.0):
        return None
    return Spacing(y, x) if swapped else Spacing(x, y)


def _grey_levels(path: Path, stored: Any, index: int) -> Pixels:
    """uint8 or uint16. Raises InputError for values that are no grey levels."""
    if stored.dtype == np.uint8:
        return stored  # type: ignore[no-any-return]
    low, high = float(stored.min()), float(stored.max())
    if low < 0.0:
        raise InputError(f"{path}: frame {index} has negative values; grey levels start at 0")
    if not high <= 65535.0 or (stored.dtype.kind == "f" and not np.array_equal(stored, np.rint(stored))):
        raise InputError(f"{path}: frame {index} has values that are no whole numbers from 0 to 65535")
    return stored.astype(np.uint8 if stored.dtype.itemsize == 1 else np.uint16)  # type: ignore[no-any-return]


def _on_black(rgba: Any) -> Any:
    """RGB of RGBA, with the transparent parts black. One that is transparent all over is taken as it is."""
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    if not alpha.any():
        return colour
    white = int(np.iinfo(rgba.dtype).max) if rgba.dtype == np.uint8 else int(alpha.max())
    return np.rint(colour * (alpha.astype(np.float32) / white)).astype(rgba.dtype)


def _matrix(words: Sequence[str], what: str) -> Matrix:
    values = [_number(word) for word in words]
    if not all(map(math.isfinite, values)):
        raise InputError(f"{what} is no matrix of 16 numbers")
    return np.array(values).reshape(4, 4)
