"""readings.csv: what a robot's encoders said beside a clip, a row for each reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.core.types import RobotState
from sonosteer.recording.tables import TableWriter, number, optional, read_table

READING_COLUMNS = ("time_s", "depth_mm", "angle_deg", "probe_x_mm", "probe_y_mm", "probe_z_mm", "roll_deg")
NEEDED_COLUMNS = READING_COLUMNS[:3]
#: chosen: no needle is pushed further in, or drawn out further than it was zeroed
DEPTHS_MM = (-50.0, 500.0)


class ReadingsWriter(TableWriter):
    """Writes readings.csv."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, READING_COLUMNS)

    def add(self, time_s: float, said: RobotState) -> None:
        """Append a reading, at its time on the clip's clock."""
        angle, roll = math.degrees(said.insertion_angle_rad), math.degrees(said.roll_rad)
        self.write([f"{time_s:.6f}", *(f"{v:.4f}" for v in (said.depth_mm, angle, *said.probe_mm, roll))])


def read_readings(path: Path) -> tuple[RobotState, ...]:
    """Read readings.csv: the states at their times on the clip's clock, s. The speed is that between two rows.

    The columns of probe and roll may be absent: the probe then stands still. Raises InputError with the line that is
    wrong and why.
    """
    rows = read_table(path, NEEDED_COLUMNS, _parse)
    if len(rows) < 2:
        raise InputError(f"{path} has fewer than two rows: give {','.join(NEEDED_COLUMNS)}, a row for each reading")
    for a, b in pairwise(rows):
        if not b.time_s > a.time_s:
            raise InputError(f"{path}: time_s must rise from row to row, but {b.time_s:g} follows {a.time_s:g}")
    return tuple(_with_speed(rows))


def _parse(row: dict[str, str]) -> RobotState:
    depth, angle = number(row, "depth_mm"), number(row, "angle_deg")
    if not DEPTHS_MM[0] <= depth <= DEPTHS_MM[1]:
        raise ValueError(f"depth_mm is {depth:g}; {DEPTHS_MM[0]:g} to {DEPTHS_MM[1]:g} are possible")
    if not 0.0 <= angle <= 90.0:
        raise ValueError(f"angle_deg is {angle:g}; 0 to 90 degrees below the horizontal are possible")
    x, y, z = (optional(row, name) or 0.0 for name in READING_COLUMNS[3:6])
    return RobotState(
        time_s=number(row, "time_s"),
        depth_mm=depth,
        insertion_speed_mm_s=0.0,
        insertion_angle_rad=math.radians(angle),
        roll_rad=math.radians(optional(row, "roll_deg") or 0.0),
        probe_mm=(x, y, z),
    )


def _with_speed(rows: Sequence[RobotState]) -> list[RobotState]:
    speeds = [(b.depth_mm - a.depth_mm) / (b.time_s - a.time_s) for a, b in pairwise(rows)]
    return [replace(row, insertion_speed_mm_s=v) for row, v in zip(rows, [speeds[0], *speeds], strict=True)]
