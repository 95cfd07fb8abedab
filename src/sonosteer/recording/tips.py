"""Reads and writes tips.csv: what a tracker said, one row for every frame of the source.

A track without a scale has empty columns in mm, and two columns in px behind the others. One of a source with poses has
the tip in world mm, too. A track of stills has a last column `name`. tips.parquet has the same rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Point, Spacing, transform_point
from sonosteer.core.types import Estimate, Lost, Vector
from sonosteer.recording.tables import TableWriter, number, optional, quoted, read_table, whole
from sonosteer.recording.tables_parquet import read_parquet, write_parquet

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
#: columns behind them where the source has poses
WORLD_COLUMNS = ("tip_x_world_mm", "tip_y_world_mm", "tip_z_world_mm")
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
    tip_world_mm: Vector | None = None
    """Place of the tip in the world, mm: (x, y, z). None without a pose."""

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
    def of(
        cls,
        estimate: Estimate,
        spacing: Spacing | None,
        name: str | None = None,
        T_world_image: Matrix | None = None,
    ) -> TipRow:
        """Return the row of an estimate, not rounded. spacing: None if the scale is unknown, then in px only.

        T_world_image: 4x4, image mm to world mm. None without a pose.
        """
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
            tip_world_mm=None
            if spacing is None or T_world_image is None
            else transform_point(T_world_image, (*spacing.to_mm(estimate.tip_px), 0.0)),
        )


class TipsWriter(TableWriter):
    """Writes estimates as rows of tips.csv. Positions in mm are pixels times the spacing.

    spacing: None if the scale is unknown. names: of stills, by frame. Empty for a clip. world: whether the source has
    poses.
    """

    def __init__(self, path: Path, spacing: Spacing | None, names: Sequence[str] = (), *, world: bool = False) -> None:
        further = (
            *(PIXEL_COLUMNS if spacing is None else ()),
            *(WORLD_COLUMNS if world else ()),
            *((NAME_COLUMN,) if names else ()),
        )
        super().__init__(path, (*TIPS_CSV_COLUMNS, *further))
        self._spacing, self._names, self._world = spacing, names, world

    def add(self, estimate: Estimate, T_world_image: Matrix | None = None) -> None:
        """Append one estimate. T_world_image: pose of its frame, image mm to world mm. None without one."""
        row = TipRow.of(estimate, self._spacing, T_world_image=T_world_image)
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
        if self._world:
            values += [_rounded(v, 4) for v in row.tip_world_mm or (None, None, None)]
        if self._names:
            values.append(quoted(self._names[row.frame]))
        self.write(values)


def _rounded(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def read_tips(path: Path) -> list[TipRow]:
    """Read tips.csv or tips.parquet, a row for each frame. Raises InputError with the line that is wrong and why."""
    if path.suffix.lower() == ".parquet":
        return _of_parquet(path)
    return read_table(path, TIPS_CSV_COLUMNS, _parse, unique="frame")


def write_tips_parquet(path: Path, tips: Path) -> None:
    """Write the rows of a tips.csv as tips.parquet: the same numbers. Further columns stand where they hold any."""
    rows = read_tips(tips)
    names: list[str] = [*TIPS_CSV_COLUMNS]
    further = (*PIXEL_COLUMNS, *WORLD_COLUMNS, NAME_COLUMN)
    names += [c for c in further if any(_cell(row, c) is not None for row in rows)]
    write_parquet(path, {name: [_cell(row, name) for row in rows] for name in names})


def _cell(row: TipRow, column: str) -> str | float | None:
    """What a column holds of a row."""
    pairs = {"tip_x_px": (row.tip_px, 0), "tip_y_px": (row.tip_px, 1), "tip_x_mm": (row.tip_mm, 0)}
    pairs |= {"tip_y_mm": (row.tip_mm, 1)}
    if column in pairs:
        point, axis = pairs[column]
        return None if point is None else point[axis]
    if column in WORLD_COLUMNS:
        return None if row.tip_world_mm is None else row.tip_world_mm[WORLD_COLUMNS.index(column)]
    value: str | float | None = getattr(row, column)
    return value


def _of_parquet(path: Path) -> list[TipRow]:
    rows = read_parquet(path)
    missing = [c for c in TIPS_CSV_COLUMNS if rows and c not in rows[0]]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]!r}; it needs {','.join(TIPS_CSV_COLUMNS)}")
    out, seen = [], set()
    for n, row in enumerate(rows, 1):
        try:
            parsed = _parse({k: "" if v is None else v if isinstance(v, str) else repr(v) for k, v in row.items()})
        except (ValueError, TypeError, KeyError) as e:
            raise InputError(f"{path}, row {n}: {e}") from None
        if parsed.frame in seen:
            raise InputError(f"{path}, row {n}: frame {parsed.frame} stands twice")
        seen.add(parsed.frame)
        out.append(parsed)
    return out


def _parse(row: dict[str, str]) -> TipRow:
    state = (row["state"] or "").strip()
    if state not in ("tracking", "coasting", "lost"):
        raise ValueError(f"state is {state!r}; it must be tracking, coasting or lost")
    name = row.get(NAME_COLUMN)
    if state == "lost":
        return TipRow.lost(whole(row, "frame"), number(row, "time_s"), name)
    mm = (optional(row, "tip_x_mm"), optional(row, "tip_y_mm"))
    x, y, z = (optional(row, column) for column in WORLD_COLUMNS)
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
        tip_world_mm=None if x is None or y is None or z is None else (x, y, z),
    )
