"""The tracks of a clip that the console holds, and how a page is told of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Estimate, Lost, TipEstimate

MAX_TRACKS = 9  # chosen: as many as there are number keys


@dataclass
class HeldTrack:
    """What one method said of a clip, as far as it is."""

    name: str
    """Name on the page, such as `kf+f, from the left`."""
    method: str
    """Name of the tracking method."""
    number: int
    """Its number among the tracks, from 1, no unit. Its colour and its key go by it."""
    spacing: Spacing | None
    """Millimetres per pixel that the method was told. None: it was told none."""
    estimates: dict[int, Estimate] = field(default_factory=dict)
    """What was said, by frame."""
    median_ms: float | None = None
    """Median time of a frame, ms. None until it is done."""
    state: str = "waits"
    """How far it is: waits, tracking, done, or why it ended."""
    job: int | None = None
    """Number of the work that fills it, no unit. None: nothing does."""

    def told(self) -> dict[str, Any]:
        """What a page is told of it, without the estimates."""
        return {
            "name": self.name,
            "method": self.method,
            "number": self.number,
            "median_ms": self.median_ms,
            "state": self.state,
            "job": self.job,
            "spacing_mm": pair_of(self.spacing),
        }


def rows_of(estimates: Iterable[Estimate]) -> list[list[Any]]:
    """Estimates as short rows: frame, state, and, unless it is lost, tip, angle, shaft, deviations, confidence.

    A lost one is `[frame, "lost", reason]`, any other
    `[frame, state, x, y, angle_rad, [[x, y], ...], sd_along, sd_across, in_mm, confidence]`.
    """
    return [_row(e) for e in estimates]


def _row(e: Estimate) -> list[Any]:
    if isinstance(e, Lost):
        return [e.frame_index, "lost", e.reason]
    shaft = e.shaft_px or (e.entry_px, e.tip_px)
    return [
        *(e.frame_index, e.state.value, round(e.tip_px[0], 3), round(e.tip_px[1], 3), round(e.angle_rad, 5)),
        [[round(x, 1), round(y, 1)] for x, y in shaft],
        *_deviations(e),
        None if e.confidence is None else round(e.confidence, 3),
    ]


def _deviations(e: TipEstimate) -> tuple[float | None, float | None, bool]:
    """(along, across, whether in mm) of the tip's standard deviations. In px where the scale is unknown."""
    if e.sd_along_mm is not None and e.sd_across_mm is not None:
        return round(e.sd_along_mm, 4), round(e.sd_across_mm, 4), True
    if e.sd_along_px is not None and e.sd_across_px is not None:
        return round(e.sd_along_px, 3), round(e.sd_across_px, 3), False
    return None, None, False


def pair_of(spacing: Spacing | None) -> list[float] | None:
    """A scale as JSON has it: [x, y] in mm per pixel."""
    return None if spacing is None else [spacing.x_mm, spacing.y_mm]
