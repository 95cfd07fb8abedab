"""tips.csv: what a tracker said, one row for every frame of the source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Lost
from sonosteer.recording.tables import TableWriter, number, optional, read_table

COLUMNS = (
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
    """One row of tips.csv; everything but frame, time and state is None where the tracker was lost."""

    frame: int
    time_s: float
    tip_px: Point | None
    tip_mm: Point | None
    angle_deg: float | None
    sd_along_mm: float | None
    sd_across_mm: float | None
    confidence: float | None
    state: Literal["tracking", "coasting", "lost"]


class TipsWriter(TableWriter):
    """Writes estimates as rows of tips.csv; positions in mm are pixels times the spacing."""

    def __init__(self, path: Path, spacing: Spacing) -> None:
        super().__init__(path, COLUMNS)
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
    """Read tips.csv. InputError says which line is wrong and why."""
    return read_table(path, COLUMNS, _parse)


def _parse(row: dict[str, str]) -> TipRow:
    state = (row["state"] or "").strip()
    if state not in ("tracking", "coasting", "lost"):
        raise ValueError(f"state is {state!r}; it must be tracking, coasting or lost")
    if state == "lost":
        return TipRow(int(row["frame"]), number(row, "time_s"), None, None, None, None, None, None, "lost")
    mm = (optional(row, "tip_x_mm"), optional(row, "tip_y_mm"))
    return TipRow(
        int(row["frame"]),
        number(row, "time_s"),
        (number(row, "tip_x_px"), number(row, "tip_y_px")),
        None if mm[0] is None or mm[1] is None else (mm[0], mm[1]),
        number(row, "angle_deg"),
        optional(row, "sd_along_mm"),
        optional(row, "sd_across_mm"),
        optional(row, "confidence"),
        state,  # type: ignore[arg-type]
    )
