"""The scanner's screen looked at once: where the picture lies, and what its ruler says of the scale.

Nothing is decided here. A person reads what was found, looks at the annotated picture, and gives `--crop` and
`--spacing-mm` to the commands that need them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import Source
from sonosteer.core.types import Frame
from sonosteer.imaging.screen_layout import PictureArea, find_picture
from sonosteer.imaging.screen_ruler import Ruler, read_ruler
from sonosteer.viz.screen_overlay import draw_screen

LOOKS = 8  # chosen: frames that are looked at. More tell no more
IN_ONE_GO = 240  # chosen: frames that are read in a row. Beyond, each is looked up on its own
SIMULATED = "simulated"  # kind of source whose frames are always drawn from the first on


@dataclass(frozen=True, slots=True)
class ScaleCandidate:
    """A scale that holds if a tick of the ruler has some length."""

    tick_mm: float
    """Length of a tick, mm."""
    spacing_mm: float
    """Millimetres per pixel, mm/px."""
    spacing_sd_mm: float
    """Standard deviation of that, mm/px, from the places of the ticks alone."""
    width_mm: float
    """Width of the picture, mm."""
    depth_mm: float
    """Height of the picture, mm. Compare it with the depth that the scanner shows."""


@dataclass(frozen=True, slots=True, eq=False)
class ScreenCalibration:
    """What was found on a screen."""

    name: str
    """Name of the source."""
    size_px: tuple[int, int]
    """Width and height of the screen, px."""
    frames: tuple[int, ...]
    """Index of each frame that was looked at."""
    grey: U8
    """(rows, columns) the last of them, grey levels."""
    area: PictureArea
    """Where the picture lies."""
    ruler: Ruler | None
    """The ruler. None if none was found."""
    scales: tuple[ScaleCandidate, ...]
    """A scale for each length that a tick may have. Empty without a ruler."""
    spacing: Spacing | None
    """Millimetres per pixel that the source itself says, None if it does not."""

    @property
    def crop(self) -> str | None:
        """The area as `--crop` takes it. None if it is the whole screen."""
        return None if self.area.shape == "whole" else ",".join(map(str, self.area.crop_px))

    def options(self, scale: ScaleCandidate | None) -> str:
        """The options to paste for a scale, or for the crop alone. Empty if there is nothing to give."""
        words = [] if self.crop is None else [f"--crop {self.crop}"]
        words += [] if scale is None else [f"--spacing-mm {scale.spacing_mm:.4g}"]
        return " ".join(words)

    def picture(self) -> U8:
        """(rows, columns, 3) RGB: the last frame with the picture's outline and the ticks."""
        return draw_screen(self.grey, self.area, self.ruler)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can say it, without the pixels."""
        area, ruler = self.area, self.ruler
        return {
            "name": self.name,
            "size_px": list(self.size_px),
            "frames": list(self.frames),
            "area": {
                **{k: getattr(area, k) for k in ("left_px", "top_px", "width_px", "height_px", "shape")},
                "confidence": round(area.confidence, 4),
            },
            "crop": self.crop,
            "ruler": None if ruler is None else {**to_dict(ruler), "ticks": len(ruler.places_px)},
            "scales": [{**to_dict(s), "options": self.options(s)} for s in self.scales],
            "spacing_mm": None if self.spacing is None else [self.spacing.x_mm, self.spacing.y_mm],
        }


def calibrate_screen(
    source: Source, *, start: int = 0, stop: int | None = None, tick_mm: float | None = None
) -> ScreenCalibration:
    """Find the picture and the ruler on the screens of a source, frames `start` to `stop` (excluded).

    tick_mm: length of a tick, mm, if it is known. Else the usual ones are candidates. Raises InputError if there is no
    such frame, or if tick_mm is no length.
    """
    if tick_mm is not None and not 0 < tick_mm < math.inf:
        raise InputError(f"`tick_mm` is {tick_mm:g}: give the length of a tick in millimetres, e.g. 5 or 10")
    frames = list(_spread(source, start, stop))
    if not frames:
        raise InputError(f"{source.info.name}: there are no frames from {start} on to look at")
    screens = [np.asarray(frame.grey(), np.uint8) for frame in frames]
    area = find_picture(screens)
    ruler = read_ruler(screens, area)
    return ScreenCalibration(
        name=source.info.name,
        size_px=frames[0].size_px,
        frames=tuple(frame.index for frame in frames),
        grey=screens[-1],
        area=area,
        ruler=ruler,
        scales=() if ruler is None else _scales(ruler, area, ruler.usual_ticks_mm if tick_mm is None else (tick_mm,)),
        spacing=source.info.spacing,
    )


def _scales(ruler: Ruler, area: PictureArea, ticks_mm: tuple[float, ...]) -> tuple[ScaleCandidate, ...]:
    """The scale for each length of a tick. Pixels are taken to be square."""
    out = []
    for tick_mm in ticks_mm:
        spacing_mm = ruler.spacing_mm(tick_mm)
        out.append(
            ScaleCandidate(
                tick_mm=tick_mm,
                spacing_mm=spacing_mm,
                spacing_sd_mm=spacing_mm * ruler.tick_sd_px / ruler.tick_px,
                width_mm=area.width_px * spacing_mm,
                depth_mm=area.height_px * spacing_mm,
            )
        )
    return tuple(out)


def _spread(source: Source, start: int, stop: int | None) -> Iterator[Frame]:
    """A few frames spread over a range, in order. The first ones of a source that does not know its length."""
    total = source.info.frames
    if total is None:
        yield from islice(source.frames(start, stop), LOOKS)
        return
    last = total if stop is None else min(stop, total)
    if start >= last:
        return
    wanted = sorted(set(np.linspace(start, last - 1, LOOKS).round().astype(int).tolist()))
    if source.info.kind == SIMULATED or last - start <= IN_ONE_GO:
        yield from (frame for frame in source.frames(start, last) if frame.index in wanted)
        return
    for index in wanted:
        yield from source.frames(index, index + 1)
