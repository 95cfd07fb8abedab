"""Reads and writes truth.csv: what really was, one row per frame, made by the simulator or by hand."""

from __future__ import annotations

import math
from pathlib import Path

from sonosteer.core.types import Truth
from sonosteer.recording.tables import TableWriter, number, optional, read_table

TRUTH_CSV_COLUMNS = ("frame", "time_s", "tip_x_px", "tip_y_px", "angle_deg", "visible", "depth_mm", "velocity_mm_s")


class TruthWriter(TableWriter):
    """Writes truths as rows of truth.csv. The tip is empty while no needle is in the image."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, TRUTH_CSV_COLUMNS)

    def add(self, truth: Truth) -> None:
        """Append one truth."""
        tip = ("", "") if truth.tip_px is None else (f"{truth.tip_px[0]:.3f}", f"{truth.tip_px[1]:.3f}")
        self.write(
            [
                str(truth.frame_index),
                f"{truth.time_s:.6f}",
                *tip,
                f"{math.degrees(truth.angle_rad):.4f}",
                "1" if truth.visible else "0",
                f"{truth.depth_mm:.4f}",
                f"{truth.velocity_mm_s:.4f}",
            ]
        )


def read_truth(path: Path) -> list[Truth]:
    """Read truth.csv. Raises InputError with the line that is wrong and why."""
    return read_table(path, TRUTH_CSV_COLUMNS, _parse)


def _parse(row: dict[str, str]) -> Truth:
    x, y = optional(row, "tip_x_px"), optional(row, "tip_y_px")
    return Truth(
        frame_index=int(row["frame"]),
        time_s=number(row, "time_s"),
        tip_px=None if x is None or y is None else (x, y),
        angle_rad=math.radians(number(row, "angle_deg")),
        visible=number(row, "visible") != 0,
        depth_mm=optional(row, "depth_mm") or 0.0,
        velocity_mm_s=optional(row, "velocity_mm_s") or 0.0,
    )
