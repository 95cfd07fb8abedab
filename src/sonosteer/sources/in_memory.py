"""Frames that are in memory already, or come from a loop of somebody's own, as a source."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame


class FramesInMemory:
    """A sequence of frames that can be read again and again."""

    def __init__(self, frames: Sequence[Frame], *, rate_hz: float | None = None) -> None:
        if not frames:
            raise InputError("there are no frames to read")
        self._frames = frames
        first = frames[0]
        self.info = SourceInfo(
            name="memory",
            kind="memory",
            size_px=first.size_px,
            frames=len(frames),
            rate_hz=rate_hz,
            spacing=first.spacing,
            probe=first.probe,
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`."""
        yield from self._frames[start:stop]

    def close(self) -> None:
        """Release nothing."""


class FramesFromLoop:
    """Frames of an iterable, which are read once as they come: a generator, a camera's loop.

    one_size: False for stills, which may differ in size.
    """

    def __init__(
        self, frames: Iterable[Any], *, spacing: Spacing | None, rate_hz: float, one_size: bool = True
    ) -> None:
        self._one_size = one_size
        counted = (as_frame(f, i, spacing=spacing, rate_hz=rate_hz) for i, f in enumerate(frames))
        first = next(counted, None)
        if first is None:
            raise InputError("there are no frames to read")
        self._rest = itertools.chain([first], counted)
        self.info = SourceInfo(
            name="loop",
            kind="memory",
            size_px=first.size_px,
            frames=None,
            rate_hz=rate_hz,
            spacing=spacing or first.spacing,
            probe=first.probe,
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop` of those not read yet. Raises InputError at one of another size.

        Not for stills, whose sizes may differ.
        """
        for frame in itertools.islice(self._rest, start, stop):
            if self._one_size and frame.size_px != self.info.size_px:
                raise InputError(
                    f"frame {frame.index} is {frame.size_px[0]}x{frame.size_px[1]}, the frames before it "
                    f"{self.info.size_px[0]}x{self.info.size_px[1]}"
                )
            yield frame

    def close(self) -> None:
        """Release nothing."""


def frames_of_array(images: NDArray[Any], *, spacing: Spacing | None, rate_hz: float) -> FramesInMemory:
    """Make a source of an array (n, rows, columns) or (n, rows, columns, 3), uint8 or uint16.

    Raises InputError for an array of another shape or type.
    """
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise InputError(
            f"an array of shape {images.shape} is no clip: (n, rows, columns) is, or (n, rows, columns, 3) in colour"
        )
    frames = [as_frame(pixels, i, spacing=spacing, rate_hz=rate_hz) for i, pixels in enumerate(images)]
    return FramesInMemory(frames, rate_hz=rate_hz)


def as_frame(image: Any, index: int, *, spacing: Spacing | None, rate_hz: float) -> Frame:
    """Return a Frame as it is, or make one of an image: uint8, uint16, or floats from 0 to 1.

    Raises InputError for anything else.
    """
    if isinstance(image, Frame):
        return image
    pixels = np.asarray(image)
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0.0 and pixels.max() <= 1.0:
        pixels = np.rint(pixels * 255.0).astype(np.uint8)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"frame {index} is {pixels.dtype}; uint8, uint16 and floats from 0 to 1 can be read")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise InputError(f"frame {index} has the shape {pixels.shape}; (rows, columns) and (rows, columns, 3) are read")
    full_scale = 65535.0 if pixels.dtype == np.uint16 else 255.0
    return Frame(pixels.copy(), index, index / rate_hz, spacing, full_scale=full_scale)
