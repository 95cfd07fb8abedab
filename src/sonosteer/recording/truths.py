"""Reads and writes truth.csv: what really was, one row per frame, made by the simulator or by hand.

Marks of one's own need `frame,tip_x_px,tip_y_px` only. `visible`, `uncertainty_px` and the columns of the simulator are
read where they are there. All others are left alone. Marks of other programs are read, too (`recording/marks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Truth
from sonosteer.recording.marks import is_foreign, marks_format, read_foreign_marks, with_frames
from sonosteer.recording.markups import PlaceInPicture, read_markups
from sonosteer.recording.tables import TableWriter, optional, read_table, whole

TRUTH_CSV_COLUMNS = ("frame", "time_s", "tip_x_px", "tip_y_px", "angle_deg", "visible", "depth_mm", "velocity_mm_s")
MARK_COLUMNS = ("frame", "tip_x_px", "tip_y_px")
UNCERTAINTY_COLUMN = "uncertainty_px"


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
                "" if truth.time_s is None else f"{truth.time_s:.6f}",
                *tip,
                "" if truth.angle_rad is None else f"{math.degrees(truth.angle_rad):.4f}",
                "1" if truth.visible else "0",
                "" if truth.depth_mm is None else f"{truth.depth_mm:.4f}",
                "" if truth.velocity_mm_s is None else f"{truth.velocity_mm_s:.4f}",
            ]
        )


def read_truth(path: Path, *, point: str | None = None, place: PlaceInPicture | None = None) -> list[Truth]:
    """Read truth.csv, or marks by hand or of another program, a row for each frame.

    point: name of the point that is the tip, where a file has several. place: turns a position of 3D Slicer's markups
    into a place in the picture. Raises InputError with the line that is wrong and why.
    """
    if not is_foreign(path):
        return read_table(path, MARK_COLUMNS, _parse, unique="frame")
    if marks_format(path) == "markups":
        return _of_markups(path, place)
    marks = with_frames(path, read_foreign_marks(path, point))
    return [_mark(frame, mark.tip_px, visible=mark.visible, time_s=mark.time_s) for frame, mark in marks]


def _of_markups(path: Path, place: PlaceInPicture | None) -> list[Truth]:
    """Marks of control points. Raises InputError if their place in the picture cannot be told."""
    if place is None:
        raise InputError(f"{path} has positions in mm: without the clip and its scale they are no marks")
    out = []
    for point in sorted(read_markups(path), key=lambda p: p.frame):
        tip = place(point.frame, point.position_mm, point.axes)
        if tip is None:
            raise InputError(f"{path}, {point.where}: frame {point.frame} has no pose, so its place is unknown")
        out.append(_mark(point.frame, tip, visible=point.sure, time_s=None))
    return out


def _mark(frame: int, tip_px: Point | None, *, visible: bool, time_s: float | None) -> Truth:
    return Truth(
        frame_index=frame,
        time_s=time_s,
        tip_px=tip_px,
        angle_rad=None,
        visible=visible,
        depth_mm=None,
        velocity_mm_s=None,
    )


#: chosen: a mark this far outside the picture is of another clip, as a fraction of the longer side
OUTSIDE_FRACTION = 0.02


def check_truth(path: Path, truths: Sequence[Truth], *, frames: int | None, size_px: tuple[int, int] | None) -> None:
    """Raise InputError if marks are of another clip: of frames beyond its end, or of places outside its pictures.

    frames: number of frames of the clip. size_px: (width, height). None where it is not known, then it is not checked.
    """
    beyond = [t.frame_index for t in truths if t.frame_index < 0 or (frames is not None and t.frame_index >= frames)]
    if beyond:
        there = "the first frame is 0" if frames is None else f"the clip has {frames} frames (0 to {frames - 1})"
        raise InputError(f"{path} marks frame {beyond[0]}, but {there}: are the marks of another clip?")
    if size_px is None:
        return
    for t in truths:
        if t.tip_px is None or not t.visible:
            continue
        off_px = max(OUTSIDE_FRACTION * max(size_px), t.uncertainty_px or 0.0)
        if not all(-off_px <= at <= size - 1 + off_px for at, size in zip(t.tip_px, size_px, strict=True)):
            raise InputError(
                f"{path} marks the tip of frame {t.frame_index} at {t.tip_px[0]:g},{t.tip_px[1]:g} px, outside the "
                f"pictures of {size_px[0]}x{size_px[1]} px: are the marks of another clip?"
            )


def _parse(row: dict[str, str]) -> Truth:
    x, y = optional(row, "tip_x_px"), optional(row, "tip_y_px")
    if (x is None) != (y is None):
        raise ValueError("one of tip_x_px and tip_y_px is empty")
    tip = None if x is None or y is None else (x, y)
    angle_deg, visible = optional(row, "angle_deg"), optional(row, "visible")
    uncertainty_px = optional(row, UNCERTAINTY_COLUMN)
    if uncertainty_px is not None and uncertainty_px < 0:
        raise ValueError(f"{UNCERTAINTY_COLUMN} is {uncertainty_px:g}; it must be 0 or more")
    return Truth(
        frame_index=whole(row, "frame"),
        time_s=optional(row, "time_s"),
        tip_px=tip,
        angle_rad=None if angle_deg is None else math.radians(angle_deg),
        visible=tip is not None if visible is None else visible != 0,
        depth_mm=optional(row, "depth_mm"),
        velocity_mm_s=optional(row, "velocity_mm_s"),
        uncertainty_px=uncertainty_px,
    )
