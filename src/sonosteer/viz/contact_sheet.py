"""Sheets of labelled frames: each tile a small picture with the tip and its box, a name, and whether it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point
from sonosteer.recording.tables import writing_failed
from sonosteer.viz.overlay import RGB, SHIFT

THUMB, TILES_A_ROW = 256, 4  # px, tiles a row
INSET, INSET_BOXES = 88, 1.6  # px; side of what it shows, in boxes
GAP_PX, CAPTION_PX, HEAD_PX = 12, 24, 48  # px
SHEET_DPI = 100
#: Okabe-Ito, lighter, for a dark ground: told apart by colour-blind readers too
SEEN: RGB = (0, 210, 150)
HIDDEN: RGB = (245, 175, 40)
SHEET_GROUND: RGB = (18, 20, 24)
PLAIN_WORDS: RGB = (170, 176, 186)
TITLE_WORDS: RGB = (242, 243, 245)


@dataclass(frozen=True)
class Tile:
    """One frame of a contact sheet."""

    grey: U8
    """Picture, (rows, columns) grey levels 0 to 255."""
    tip_px: Point | None
    """Tip in the picture, x and y, px. None: the frame has no tip."""
    box_px: tuple[float, float, float, float] | None
    """The tip's box in the picture, x0, y0, x1, y1, px. None without a tip."""
    seen: bool
    """Whether the tip can be seen."""
    name: str
    """Text below the picture, at the left: video and frame."""
    note: str = ""
    """Text behind the name, such as the material."""

    @property
    def said(self) -> str:
        """What stands at the right."""
        return "no tip" if self.tip_px is None else "seen" if self.seen else "hidden"


@dataclass(frozen=True)
class SheetCell:
    """One picture of a sheet and the line below it."""

    picture: U8
    """(rows, columns, 3) RGB, at most THUMB px each way."""
    name: str
    """Text below the picture, at the left."""
    note: str
    """Text behind the name."""
    said: str
    """Text below the picture, at the right."""
    colour: RGB
    """Colour of that text, RGB, 0 to 255."""


def write_sheet(path: Path, title: str, note: str, tiles: Sequence[Tile]) -> None:
    """Write the sheet as PNG. Raises InputError if the disk is full."""
    cells = [SheetCell(thumbnail(t), t.name, t.note, t.said, _colour(t) if t.tip_px else PLAIN_WORDS) for t in tiles]
    write_cells(path, cells, title=title, note=note, kept="the videos are kept")


def write_cells(
    path: Path, cells: Sequence[SheetCell], *, title: str, note: str, kept: str, a_row: int = TILES_A_ROW
) -> None:
    """Write pictures in rows of `a_row` as PNG. Raises InputError if the disk is full, which says what is `kept`."""
    side = min(a_row, max(len(cells), 2))  # two, for the title's sake
    height = max(c.picture.shape[0] for c in cells)
    rows = -(-len(cells) // side)
    wide = GAP_PX + side * (THUMB + GAP_PX)
    high = HEAD_PX + rows * (height + CAPTION_PX + GAP_PX)
    canvas = np.empty((high, wide, 3), np.uint8)
    canvas[:] = SHEET_GROUND
    figure = Figure(figsize=(wide / SHEET_DPI, high / SHEET_DPI), dpi=SHEET_DPI)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 8.5, "text.parse_math": False}):

        def write(x: float, y: float, text: str, colour: RGB = PLAIN_WORDS, **more: Any) -> None:
            figure.text(x / wide, 1 - y / high, text, color=_hex(colour), va="center_baseline", **more)

        write(GAP_PX, HEAD_PX / 2, _fitted(title, letters=12 * side - 2), TITLE_WORDS, fontsize=12, weight="bold")
        write(wide - GAP_PX, HEAD_PX / 2, note, ha="right")
        for i, cell in enumerate(cells):
            picture = cell.picture
            x = GAP_PX + i % side * (THUMB + GAP_PX)
            y = HEAD_PX + i // side * (height + CAPTION_PX + GAP_PX)
            down, right = (height - picture.shape[0]) // 2, (THUMB - picture.shape[1]) // 2
            canvas[y + down : y + down + picture.shape[0], x + right : x + right + picture.shape[1]] = picture
            line = y + height + CAPTION_PX / 2 + 2
            write(x + 1, line, _fitted(cell.name, cell.note))
            write(x + THUMB - 1, line, cell.said, cell.colour, ha="right", weight="bold")
        figure.figimage(canvas)
        try:
            figure.savefig(path, dpi=SHEET_DPI, metadata={"Software": None})
        except OSError as e:
            raise writing_failed(path, e, kept) from None


def _hex(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _fitted(name: str, note: str = "", letters: int = 36) -> str:
    text = f"{name}   {note}" if note else name
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _colour(tile: Tile) -> RGB:
    return SEEN if tile.seen else HIDDEN


def thumbnail(tile: Tile) -> U8:
    """(rows, columns, 3) RGB, at most THUMB each way: the frame with box and tip, and the tip enlarged in a corner."""
    rows, columns = tile.grey.shape
    k = THUMB / max(rows, columns)
    size = (max(round(columns * k), 1), max(round(rows * k), 1))
    way = cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR
    out: U8 = cv2.cvtColor(cv2.resize(tile.grey, size, interpolation=way), cv2.COLOR_GRAY2RGB)
    if tile.tip_px is None or tile.box_px is None:
        return out
    scale = (size[0] / columns, size[1] / rows)

    def place(x: float, y: float) -> Point:
        return (x + 0.5) * scale[0] - 0.5, (y + 0.5) * scale[1] - 0.5

    x0, y0, x1, y1 = tile.box_px
    _rectangle(out, place(x0, y0), place(x1, y1), _colour(tile))
    _inset(out, tile, place(*tile.tip_px))
    return out


def _inset(out: U8, tile: Tile, tip: Point) -> None:
    """The surroundings of the tip, enlarged, in the corner farthest from it. A small picture has none."""
    assert tile.tip_px is not None
    assert tile.box_px is not None
    rows, columns = out.shape[:2]
    if min(rows, columns) < 2 * INSET:
        _mark(out, tip, _colour(tile), 4.0)
        return
    x0, y0, x1, y1 = tile.box_px
    step_x, step_y = (INSET_BOXES * (b - a) / INSET for a, b in ((x0, x1), (y0, y1)))
    half = (INSET - 1) / 2
    at = np.array([[step_x, 0, tile.tip_px[0] - half * step_x], [0, step_y, tile.tip_px[1] - half * step_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    near: U8 = cv2.cvtColor(cv2.warpAffine(tile.grey, at, (INSET, INSET), flags=flags), cv2.COLOR_GRAY2RGB)
    _mark(near, (half, half), _colour(tile), 9.0)
    left = 0 if tip[0] > columns / 2 else columns - INSET
    top = 0 if tip[1] > rows / 2 else rows - INSET
    out[top : top + INSET, left : left + INSET] = near
    cv2.rectangle(out, (left, top), (left + INSET - 1, top + INSET - 1), (120, 126, 136), 1)


def _mark(canvas: U8, at: Point, colour: RGB, reach: float) -> None:
    """Four strokes that leave the tip itself free to see."""
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        a = _fixed((at[0] + 0.45 * reach * dx, at[1] + 0.45 * reach * dy))
        b = _fixed((at[0] + reach * dx, at[1] + reach * dy))
        cv2.line(canvas, a, b, colour, thickness=1, lineType=cv2.LINE_AA, shift=SHIFT)


def _rectangle(canvas: U8, a: Point, b: Point, colour: RGB) -> None:
    cv2.rectangle(canvas, _fixed(a), _fixed(b), colour, 1, cv2.LINE_AA, SHIFT)


def _fixed(p: Point) -> tuple[int, int]:
    x, y = (min(max(round(v * (1 << SHIFT)), -(1 << 24)), 1 << 24) for v in p)
    return x, y
