"""Sheets of stills as a person would look at them: where the needle is, and what a tracker said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point
from sonosteer.viz.contact_sheet import PLAIN_WORDS, THUMB, SheetCell, write_cells
from sonosteer.viz.overlay import RGB, SHIFT

STILLS_A_ROW = 6
#: Okabe-Ito colours, lighter for a dark ground. What each means also stands below the picture
OUTCOME_COLOURS: dict[str, RGB] = {
    "right": (0, 210, 150),
    "near": (245, 175, 40),
    "wrong": (240, 90, 50),
    "lost": PLAIN_WORDS,
}
TRUE_TIP: RGB = (120, 200, 245)


@dataclass(frozen=True)
class StillTile:
    """One still, its truth, and what was said of it."""

    grey: U8
    """Picture, (rows, columns), grey levels 0 to 255."""
    true_tip_px: Point | None
    """True tip, px: (column, row). None: there is none."""
    true_shaft_px: tuple[Point, ...]
    """True shaft from the tip back, px: (column, row). Empty: no needle in the picture."""
    tip_px: Point | None
    """Estimated tip, px: (column, row). None: lost."""
    shaft_px: tuple[Point, ...]
    """Estimated axis from entry to tip, px: (column, row). Empty: lost."""
    outcome: str
    """Key of OUTCOME_COLOURS."""
    name: str
    """Text below the picture."""


def write_stills(path: Path, title: str, tiles: Sequence[StillTile]) -> None:
    """Write the stills as PNG. Raises InputError if the disk is full."""
    note = "blue: truth; green, amber, red: estimate; grey: lost"
    cells = [SheetCell(drawn_still(t), t.name, "", t.outcome, OUTCOME_COLOURS[t.outcome]) for t in tiles]
    write_cells(path, cells, title=title, note=note, kept="the trials are kept", a_row=STILLS_A_ROW)


def drawn_still(tile: StillTile) -> U8:
    """(rows, columns, 3) RGB, THUMB px on the longer side: the picture with truth and estimate.

    The truth is a short stroke on either side of the shaft and a ring round the tip, so that the needle itself can be
    seen. The estimate is a dashed axis and a cross.
    """
    rows, columns = tile.grey.shape
    k = THUMB / max(rows, columns)
    size = (max(round(columns * k), 1), max(round(rows * k), 1))
    small = cv2.resize(tile.grey, size, interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR)
    out: U8 = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)

    def place(points: Sequence[Point]) -> list[Point]:
        return [((x + 0.5) * size[0] / columns - 0.5, (y + 0.5) * size[1] / rows - 0.5) for x, y in points]

    if tile.true_tip_px is not None and tile.true_shaft_px:
        _ticks(out, place(tile.true_shaft_px), TRUE_TIP)
        cv2.circle(out, _fixed_px(place([tile.true_tip_px])[0]), 7 << SHIFT, TRUE_TIP, 1, cv2.LINE_AA, SHIFT)
    if tile.tip_px is not None:
        colour = OUTCOME_COLOURS[tile.outcome]
        _dashed(out, place(tile.shaft_px), colour)
        _cross(out, place([tile.tip_px])[0], colour)
    return out


def _ticks(canvas: U8, shaft: Sequence[Point], colour: RGB) -> None:
    """Strokes of 4 px on either side of the shaft at its far end and half way, which leave it free."""
    (x0, y0), (x1, y1) = shaft[0], shaft[-1]
    length = math.hypot(x1 - x0, y1 - y0)
    if length < 1.0:
        return
    normal = np.array([-(y1 - y0), x1 - x0]) / length
    for at in (shaft[len(shaft) // 2], shaft[-1]):
        for side in (-1, 1):
            near, far = (np.array(at) + side * d * normal for d in (5.0, 9.0))
            _line(canvas, (float(near[0]), float(near[1])), (float(far[0]), float(far[1])), colour)


def _dashed(canvas: U8, path: Sequence[Point], colour: RGB) -> None:
    """A dashed line along a path, 5 px on and 5 px off."""
    points = np.array(path)
    steps = np.hypot(*np.diff(points, axis=0).T) if len(points) > 1 else np.zeros(0)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    if not at[-1] > 0:
        return
    for start in np.arange(0.0, at[-1], 10.0):
        ends = np.array([start, min(start + 5.0, at[-1])])
        x, y = (np.interp(ends, at, points[:, k]).tolist() for k in (0, 1))
        _line(canvas, (x[0], y[0]), (x[1], y[1]), colour)


def _cross(canvas: U8, at: Point, colour: RGB) -> None:
    for dx, dy in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        _line(canvas, (at[0] + 2 * dx, at[1] + 2 * dy), (at[0] + 6 * dx, at[1] + 6 * dy), colour)


def _line(canvas: U8, a: Point, b: Point, colour: RGB) -> None:
    cv2.line(canvas, _fixed_px(a), _fixed_px(b), colour, thickness=1, lineType=cv2.LINE_AA, shift=SHIFT)


def _fixed_px(p: Point) -> tuple[int, int]:
    x, y = (min(max(round(v * (1 << SHIFT)), -(1 << 24)), 1 << 24) for v in p)
    return x, y
