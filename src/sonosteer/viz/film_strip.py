"""A film strip of cases: a row each, its frames from left to right, each cut around the true tip.

The truth is a white cross. Every tracker has a colour and a shape of its own. A filled shape at the edge: its tip lies
outside the cut, that way. Below each frame the trackers' errors in mm, in their colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point
from sonosteer.recording.tables import writing_failed

#: Okabe-Ito, two of them lighter, for a dark ground: told apart by colour-blind readers too, and by shape
MARKS = (
    *(("o", "#56b4e9"), ("s", "#e69f00"), ("^", "#e39ac2"), ("D", "#00d296")),
    *(("v", "#f0e442"), ("p", "#f0743a"), ("h", "#b7a6f2"), ("*", "#c8ccd4")),
)
STRIP_GROUND, INK, SOFT_INK = "#121418", "#f2f3f5", "#aab0ba"
CELL_IN, GAP_IN, CAPTION_IN, LABEL_IN, HEAD_IN = 1.3, 0.07, 0.42, 1.5, 0.62  # inches
STRIP_DPI = 110
#: chosen: side of a cut, and size of its pixels
CUT_PX, CUT_MM_PER_PX = 128, 0.25


@dataclass(frozen=True)
class FilmStripCell:
    """One frame of a case: a cut around the true tip, with what the trackers say."""

    grey: U8
    """The cut, (n, n) grey levels 0 to 255."""
    truth_px: Point | None
    """True tip in the cut, x and y, px. None: nobody knows it, or there is none."""
    tips_px: Mapping[str, Point | None]
    """Tracker -> its tip in the cut, x and y, px. None: it says nothing."""
    mm_per_px: float
    """Size of a pixel of the cut, mm. Px of the image, where the scale is unknown."""
    caption: str
    """Text below the cut, such as the time."""

    def error_mm(self, tracker: str) -> float | None:
        """Distance of a tracker's tip from the truth. None where one of them is not known."""
        tip = self.tips_px[tracker]
        if tip is None or self.truth_px is None:
            return None
        return float(np.hypot(*np.subtract(tip, self.truth_px)) * self.mm_per_px)


@dataclass(frozen=True)
class FilmStripRow:
    """One case of a film strip."""

    label: str
    """Text at the left, line by line."""
    cells: Sequence[FilmStripCell]
    """Frames from left to right."""


def in_cut(tip_px: Point, centre_px: Point, step: NDArray[np.float64], middle: float) -> Point:
    """A place of the image in px of a cut, whose px are `step` apart, around another."""
    x, y = ((np.array(tip_px) - centre_px) / step + middle).tolist()
    return x, y


def write_strip(path: Path, title: str, trackers: Sequence[str], cases: Sequence[FilmStripRow]) -> int:
    """Write the strip as PNG. Returns how many cells it has. Raises InputError if the disk is full."""
    assert len(trackers) <= len(MARKS)
    columns = max((len(case.cells) for case in cases), default=1)
    wide, high = LABEL_IN + columns * (CELL_IN + GAP_IN), HEAD_IN + max(len(cases), 1) * (CELL_IN + CAPTION_IN + GAP_IN)
    figure = Figure(figsize=(wide, high), dpi=STRIP_DPI, facecolor=STRIP_GROUND)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 7.5, "text.parse_math": False}):
        _head(figure, wide, high, title, trackers)
        for i, case in enumerate(cases):
            top = high - HEAD_IN - i * (CELL_IN + CAPTION_IN + GAP_IN)
            figure.text(GAP_IN / wide, (top - 0.08) / high, case.label, color=INK, va="top", linespacing=1.5)
            for j, cell in enumerate(case.cells):
                left = LABEL_IN + j * (CELL_IN + GAP_IN)
                axis = figure.add_axes((left / wide, (top - CELL_IN) / high, CELL_IN / wide, CELL_IN / high))
                _draw(axis, cell, trackers)
        try:
            figure.savefig(path, facecolor=STRIP_GROUND, metadata={"Software": None})
        except OSError as e:
            raise writing_failed(path, e, "the trials are kept") from None
    return sum(len(case.cells) for case in cases)


def _head(figure: Figure, wide: float, high: float, title: str, trackers: Sequence[str]) -> None:
    figure.text(GAP_IN / wide, 1 - 0.2 / high, title, color=INK, fontsize=10, weight="bold", va="center")
    none: Any = {"ls": "", "ms": 6.5, "mfc": "none", "mew": 1.4}
    marks = [mpl.lines.Line2D([], [], marker="+", color="white", label="truth", **none)]
    marks += [
        mpl.lines.Line2D([], [], marker=shape, color=colour, label=name, **none)
        for name, (shape, colour) in zip(trackers, MARKS, strict=False)
    ]
    letters = len(title) + sum(len(name) + 4 for name in trackers)
    below = 0.075 * letters > wide - 0.6  # chosen: width of a letter, inches. The two would lie over each other
    figure.legend(
        handles=marks,
        loc="center left" if below else "center right",
        bbox_to_anchor=(0 if below else 1 - GAP_IN / wide, 1 - (0.45 if below else 0.2) / high),
        ncols=len(marks),
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        handletextpad=0.1,
        columnspacing=1.0,
    )


def _draw(axis: Any, cell: FilmStripCell, trackers: Sequence[str]) -> None:
    n = len(cell.grey)
    axis.imshow(cell.grey, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    axis.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    axis.set_axis_off()
    if cell.truth_px is not None:
        axis.plot(*cell.truth_px, "+", color="white", ms=11, mew=1.1)
    for i, (name, (shape, colour)) in enumerate(zip(trackers, MARKS, strict=False)):
        tip, error = cell.tips_px[name], cell.error_mm(name)
        if tip is not None:
            edge = 0.03 * n
            x, y = np.clip(tip, edge, n - 1 - edge)
            outside = not (-0.5 <= tip[0] <= n - 0.5 and -0.5 <= tip[1] <= n - 0.5)
            face = colour if outside else "none"
            axis.plot(x, y, shape, ms=6.5, mec=colour, mfc=face, mew=1.4, clip_on=False)
        said = f"{error:.1f}" if error is not None else "lost" if tip is None else "claim"
        place = ((i + 0.5) / len(trackers), -0.19)
        axis.text(*place, said, color=colour, ha="center", va="center", transform=axis.transAxes)
    axis.text(0.5, -0.07, cell.caption, color=SOFT_INK, ha="center", va="center", transform=axis.transAxes)
