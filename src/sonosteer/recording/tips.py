"""Reads and writes tips.csv: what a tracker said, one row for every frame of the source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Lost
from sonosteer.recording.tables import TableWriter, number, optional, read_table

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

    @classmethod
    def lost(cls, frame: int, time_s: float) -> TipRow:
        """Return the row of a frame in which the tip is lost: everything but frame and time is absent."""
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
        )


class TipsWriter(TableWriter):
    """Writes estimates as rows of tips.csv. Positions in mm are pixels times the spacing."""

    def __init__(self, path: Path, spacing: Spacing) -> None:
        super().__init__(path, TIPS_CSV_COLUMNS)
        self._spacing = spacing

    def add(self, estimate: Estimate) -> None:
        """Append one estimate."""
        start = [str(estimate.frame_index), f"{estimate.time_s:.6f}"]
        if isinstance(estimate, Lost):
            self.write([*start, *[""] * 8, "lost"])
            return
        x, y = estimate.tip_px
        x_mm, y_mm = self._spacing.to_mm(estimate.tip_px)
        self.write(
            [
                *start,
                f"{x:.3f}",
                f"{y:.3f}",
                f"{x_mm:.4f}",
                f"{y_mm:.4f}",
                f"{math.degrees(estimate.angle_rad):.3f}",
                f"{estimate.sd_along_mm:.4f}",
                f"{estimate.sd_across_mm:.4f}",
                f"{estimate.confidence:.3f}",
                estimate.state.value,
            ]
        )


def read_tips(path: Path) -> list[TipRow]:
    """Read tips.csv. Raises InputError with the line that is wrong and why."""
    return read_table(path, TIPS_CSV_COLUMNS, _parse)


def _parse(row: dict[str, str]) -> TipRow:
    state = (row["state"] or "").strip()
    if state not in ("tracking", "coasting", "lost"):
        raise ValueError(f"state is {state!r}; it must be tracking, coasting or lost")
    if state == "lost":
        return TipRow.lost(int(row["frame"]), number(row, "time_s"))
    mm = (optional(row, "tip_x_mm"), optional(row, "tip_y_mm"))
    return TipRow(
        frame=int(row["frame"]),
        time_s=number(row, "time_s"),
        tip_px=(number(row, "tip_x_px"), number(row, "tip_y_px")),
        tip_mm=None if mm[0] is None or mm[1] is None else (mm[0], mm[1]),
        angle_deg=number(row, "angle_deg"),
        sd_along_mm=optional(row, "sd_along_mm"),
        sd_across_mm=optional(row, "sd_across_mm"),
        confidence=optional(row, "confidence"),
        state=state,  # type: ignore[arg-type]
    )
