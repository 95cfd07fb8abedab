"""Laws that every source keeps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import Source
from sonosteer.core.types import Frame
from sonosteer.sources.opening import open_source
from sonosteer.sources.plugged_in import PluggedInSource
from sonosteer.testing.laws import require

RANGES = ((0, 3), (7, 12), (50, None), (20, 21))


def check_source(source: Any, *, spacing: Spacing | None = None) -> None:
    """Check that a source keeps the laws. Raises AssertionError for the first that it breaks.

    source: what `open_source` opens, with the `spacing` where it needs one, or an object. It must have an end, be
    readable more than once, and is closed afterwards.
    """
    opened: Source
    if isinstance(source, str):
        opened = open_source(source, spacing=spacing)
    elif type(source).__module__.startswith("sonosteer."):
        opened = source
    else:
        opened = PluggedInSource(source, f"source {type(source).__name__}")
    whole = list(opened.frames())
    _check_numbers(opened, whole)
    _check_ranges(opened, whole)
    _check_frames_stay(opened)
    opened.close()
    opened.close()


def _check_numbers(source: Source, whole: list[Frame]) -> None:
    info = source.info
    require(len(whole) == info.frames, f"info says {info.frames} frames, but {len(whole)} were read")
    require([f.index for f in whole] == list(range(len(whole))), "frames must be numbered from 0, one by one")
    for frame in whole:
        fits = frame.size_px == info.size_px
        require(fits, f"frame {frame.index} is {frame.size_px} px, but info says {info.size_px}")
    times = [f.time_s for f in whole]
    require(times[0] == 0, f"the first frame must be at 0 s, but is at {times[0]}")
    require(np.all(np.diff(times) > 0), "time must go forward from frame to frame")


def _check_ranges(source: Source, whole: list[Frame]) -> None:
    for start, stop in RANGES:
        part = [f.pixels for f in source.frames(start, stop)]
        wanted = [f.pixels for f in whole[start:stop]]
        same = len(part) == len(wanted) and all(map(np.array_equal, part, wanted))
        require(same, f"frames({start}, {stop}) must be what is there from {start} to {stop} of the whole clip")
    twice = [[f.pixels for f in source.frames(0, 5)] for _ in range(2)]
    require(all(map(np.array_equal, *twice)), "reading twice must give the same")


def _check_frames_stay(source: Source) -> None:
    frames = source.frames()
    first = next(frames)
    copy = first.pixels.copy()
    for _ in itertools.islice(frames, 10):
        pass
    require(np.array_equal(first.pixels, copy), "a frame must stay as it was while others are read")
    require(not first.pixels.flags.writeable, "the pixels of a frame must be read-only")
