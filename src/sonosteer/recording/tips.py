"""Reads and writes tips.csv: what a tracker said, one row for every frame of the source.

A track without a scale has empty columns in mm, and two columns in px behind the others. A track of stills has a last
column `name`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Lost
from sonosteer.recording.tables import TableWriter, number, optional, quoted, read_table, whole

TIPS_CSV_COLUMNS = (
    "frame",
    "time_s",
    "tip_x_px",
    "tip_y_px",
    "tip_x_mm",
    "tip_y_mm",
    "angle_deg",
    "sd_along_mm",
    "sd_across_mm",
    "confidence",
    "state",
)
#: columns behind them where the scale is unknown
PIXEL_COLUMNS = ("sd_along_px", "sd_across_px")
#: last column of a track of stills
NAME_COLUMN = "name"


@dataclass(frozen=True, slots=True)
class TipRow:
    """One row of tips.csv. Everything but frame, time and state is None where the tracker was lost."""

    frame: int
    """Index of the frame."""
    time_s: float
    """When it was acquired, s."""
    tip_px: Point | None
    """Place of the tip, px: (column, row)."""
    tip_mm: Point | None
    """Place of the tip in image mm. None where the table lacks it, too."""
    angle_deg: float | None
    """Direction from entry to tip, deg from image +x towards +y (down)."""
    sd_along_mm: float | None
    """Standard deviation of the tip along the needle, mm."""
    sd_across_mm: float | None
    """Standard deviation of the tip across the needle, mm."""
    confidence: float | None
    """How surely this is the tip, 0 to 1."""
    state: Literal["tracking", "coasting", "lost"]
    """What the tracker said of its estimate."""
    sd_along_px: float | None = None
    """Standard deviation of the tip along the needle, px. None where nobody said it."""
    sd_across_px: float | None = None
    """Standard deviation of the tip across the needle, px. None where nobody said it."""
    name: str | None = None
    """Name of the picture among stills. None in a clip."""

    @classmethod
    def lost(cls, frame: int, time_s: float, name: str | None = None) -> TipRow:
        """Return the row of a frame in which the tip is lost: all but frame, time and name is absent."""
        return cls(
            frame=frame,
            time_s=time_s,
            tip_px=None,
            tip_mm=None,
            angle_deg=None,
            sd_along_mm=None,
            sd_across_mm=None,
            confidence=None,
            state="lost",
            name=name,
        )

    @classmethod
    def of(cls, estimate: Estimate, spacing: Spacing | None, name: str | None = None) -> TipRow:
        """Return the row of an estimate, not rounded. spacing: None if the scale is unknown, then in px only."""
        if isinstance(estimate, Lost):
            return cls.lost(estimate.frame_index, estimate.time_s, name)
        return cls(
            frame=estimate.frame_index,
            time_s=estimate.time_s,
            tip_px=estimate.tip_px,
            tip_mm=None if spacing is None else spacing.to_mm(estimate.tip_px),
            angle_deg=math.degrees(estimate.angle_rad),
            sd_along_mm=None if spacing is None else estimate.sd_along_mm,
            sd_across_mm=None if spacing is None else estimate.sd_across_mm,
            confidence=estimate.confidence,
            state=estimate.state.value,
            sd_along_px=estimate.sd_along_px,
            sd_across_px=estimate.sd_across_px,
            name=name,
        )


class TipsWriter(TableWriter):
    """Writes estimates as rows of tips.csv. Positions in mm are pixels times the spacing.

    spacing: None if the scale is unknown. names: of stills, by frame. Empty for a clip.
    """

    def __init__(self, path: Path, spacing: Spacing | None, names: Sequence[str] = ()) -> None:
        further = (*(PIXEL_COLUMNS if spacing is None else ()), *((NAME_COLUMN,) if names else ()))
        super().__init__(path, (*TIPS_CSV_COLUMNS, *further))
        self._spacing, self._names = spacing, names

    def add(self, estimate: Estimate) -> None:
        """Append one estimate."""
        row = TipRow.of(estimate, self._spacing)
        x, y = row.tip_px or (None, None)
        x_mm, y_mm = row.tip_mm or (None, None)
        values = [
            str(row.frame),
            f"{row.time_s:.6f}",
            _rounded(x, 3),
            _rounded(y, 3),
            _rounded(x_mm, 4),
            _rounded(y_mm, 4),
            _rounded(row.angle_deg, 3),
            _rounded(row.sd_along_mm, 4),
            _rounded(row.sd_across_mm, 4),
            _rounded(row.confidence, 3),
            row.state,
        ]
        if self._spacing is None:
            values += [_rounded(row.sd_along_px, 3), _rounded(row.sd_across_px, 3)]
        if self._names:
            values.append(quoted(self._names[row.frame]))
        self.write(values)


def _rounded(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def read_tips(path: Path) -> list[TipRow]:
    """Read tips.csv, a row for each frame. Raises InputError with the line that is wrong and why."""
    return read_table(path, TIPS_CSV_COLUMNS, _parse, unique="frame")


def _parse(row: dict[str, str]) -> TipRow:
    state = (row["state"] or "").strip()
    if state not in ("tracking", "coasting", "lost"):
        raise ValueError(f"state is {state!r}; it must be tracking, coasting or lost")
    name = row.get(NAME_COLUMN)
    if state == "lost":
        return TipRow.lost(whole(row, "frame"), number(row, "time_s"), name)
    mm = (optional(row, "tip_x_mm"), optional(row, "tip_y_mm"))
    return TipRow(
        frame=whole(row, "frame"),
        time_s=number(row, "time_s"),
        tip_px=(number(row, "tip_x_px"), number(row, "tip_y_px")),
        tip_mm=None if mm[0] is None or mm[1] is None else (mm[0], mm[1]),
        angle_deg=number(row, "angle_deg"),
        sd_along_mm=optional(row, "sd_along_mm"),
        sd_across_mm=optional(row, "sd_across_mm"),
        confidence=optional(row, "confidence"),
        state=state,  # type: ignore[arg-type]
        sd_along_px=optional(row, "sd_along_px"),
        sd_across_px=optional(row, "sd_across_px"),
        name=name,
    )
