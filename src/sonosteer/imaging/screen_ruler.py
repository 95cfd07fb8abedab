"""The ruler beside an ultrasound picture: ticks or dots, evenly spaced, some of them larger.

A mark is brighter than what lies above, below and beside it. Marks that share a column, or end in the same column, are
tried for a comb: places a + k b. First letters of a menu stand in a column, too, but have letters beside them.

What a tick means in millimetres is not on the screen. It is usually 1, 5 or 10 mm.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64, U8
from sonosteer.core.geometry import Point
from sonosteer.imaging.screen_layout import PictureArea, checked_size

RulerAxis: TypeAlias = Literal["vertical", "horizontal"]

USUAL_TICKS_MM = (1.0, 5.0, 10.0)
LARGE_TICK_MM = 10.0  # what the larger ticks usually are
MIN_MARK_PX = 9  # chosen: a large dot on a small screen
BEYOND = 0.12  # chosen: a ruler beside the picture is so close, of the screen's longer side
DARK_OUTSIDE: dict[str, Any] = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}  # of the screen
MIN_CONTRAST = 30  # chosen: grey levels of a mark over its surroundings
MARK = 0.03  # chosen: height that marks do not reach, of the screen's longer side
MARK_LENGTH = 0.025  # chosen: length that they do not reach, of the same
INSIDE = 0.25  # chosen: a ruler inside the picture lies within this fraction of its width from a side
BESIDE = 0.02  # chosen: the next letter of a word is nearer, of the screen's longer side
ALIGNED_PX = 1.5  # chosen: marks of one ruler share a column that well
MIN_TICKS = 5  # chosen: four even places are found among a few letters by chance
MIN_TICKS_ANYWHERE = 8  # chosen: where the picture is not found, nothing tells where a ruler may stand
MIN_TICK_PX = 4.0  # chosen: closer marks touch
OFF_TICK, MIN_OFF_PX, MAX_OFF_PX = 0.08, 0.75, 2.0  # chosen: error of a tick's place, of the spacing, and its limits
WHOLE_PX = 0.35  # chosen: error of marks that are drawn at whole pixels, and a little more
MIN_SPAN = 0.3  # chosen: a ruler is at least so long, of the picture's side
MIN_COVERAGE = 0.7  # chosen: fraction of the places of the comb at which there is a mark
LABELLED = 0.25  # chosen: fraction of ticks that have grown together with their labels
CONVEX = 0.85  # chosen: area of a mark, of its convex hull's. Letters have half
MIN_SCORE = 0.5  # chosen: half of what an ideal ruler has
PERIODS = (2, 4, 5, 10)  # of larger ticks
LARGER = 1.25  # chosen: size of a larger tick, of the others


@dataclass(frozen=True, slots=True)
class Ruler:
    """Evenly spaced marks on a screen. What a tick means in millimetres is for a person to say."""

    axis: RulerAxis
    """Direction in which the marks follow each other."""
    tick_px: float
    """Distance of two ticks, px."""
    tick_sd_px: float
    """Standard deviation of that distance, px, from how well the marks fit an even spacing."""
    places_px: tuple[Point, ...]
    """Place of each mark that was found, px: (column, row)."""
    large_every: int | None
    """Number of ticks from one larger tick to the next. None if all look alike."""
    score: float
    """How much it looks like a ruler, 0 to 1."""

    def spacing_mm(self, tick_mm: float) -> float:
        """Millimetres per pixel if a tick is `tick_mm` millimetres."""
        return tick_mm / self.tick_px

    @property
    def usual_ticks_mm(self) -> tuple[float, ...]:
        """What a tick may mean, mm: the usual ones, and what makes the larger ticks 10 mm."""
        by_large = () if self.large_every is None else (LARGE_TICK_MM / self.large_every,)
        return tuple(sorted({*USUAL_TICKS_MM, *by_large}))


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """Small bright things, from the top down."""

    x: F64
    """(n,) middle column, px."""
    y: F64
    """(n,) middle row, px."""
    left: F64
    """(n,) first column, px."""
    right: F64
    """(n,) column after the last, px."""
    height: F64
    """(n,) number of rows, px."""
    peak: F64
    """(n,) largest contrast, grey levels."""

    def __len__(self) -> int:
        return len(self.x)

    def only(self, which: NDArray[np.int64]) -> _Marks:
        """Some of them, by index."""
        return _Marks(*(getattr(self, f.name)[which] for f in dataclasses.fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class _Comb:
    """Evenly spaced marks."""

    marks: _Marks
    """The marks on it."""
    steps: F64
    """(n,) whole number of ticks from the first mark."""
    spacing_px: float
    """Distance of two ticks, px."""
    rms_px: float
    """Root mean square distance of the marks from their places, px."""
    score: float
    """How much it looks like a ruler, 0 to 1."""

    @property
    def worth(self) -> float:
        """The score, more for many marks: of two rulers in one column the finer one is meant."""
        return self.score * math.pow(min(len(self.marks) / 24, 1.0), 0.3)  # chosen: twice the marks make up for a fifth

    @property
    def x(self) -> F64:
        """(n,) middle columns, px."""
        return self.marks.x

    @property
    def y(self) -> F64:
        """(n,) middle rows, px."""
        return self.marks.y


def read_ruler(frames: Sequence[U8], area: PictureArea) -> Ruler | None:
    """Find the ruler beside a picture, or just inside of its edge.

    frames: (rows, columns) screens of one size. Of several, what is bright in all of them counts. area: as of
    `find_picture`. Returns None if there is nothing that looks like a ruler. Raises InputError as `find_picture` does.
    """
    checked_size(frames)
    grey = frames[0]
    for frame in frames[1:]:
        grey = np.minimum(grey, frame)
    left, top, width, height = area.crop_px
    fewest = MIN_TICKS if area.confidence >= 0.5 else MIN_TICKS_ANYWHERE
    upright = _best_comb(grey, area.mask, (left, top, width, height), fewest=fewest)
    turned = np.ascontiguousarray(grey.T), np.ascontiguousarray(area.mask.T)
    level = _best_comb(*turned, (top, left, height, width), fewest=fewest)
    if upright is not None and (level is None or upright.worth >= level.worth):
        return _ruler(upright, "vertical")
    return None if level is None else _ruler(level, "horizontal")


def _ruler(comb: _Comb, axis: RulerAxis) -> Ruler:
    """What is told of a comb. That of a level ruler was found in the transposed screen."""
    along, across = comb.y.tolist(), comb.x.tolist()
    places = zip(across, along, strict=True) if axis == "vertical" else zip(along, across, strict=True)
    k = comb.steps - comb.steps.mean()
    return Ruler(
        axis=axis,
        tick_px=comb.spacing_px,
        tick_sd_px=max(comb.rms_px, 0.1) / math.sqrt(float(k @ k)),  # chosen: a place is known to a tenth at best
        places_px=tuple(places),
        large_every=_large_every(comb),
        score=comb.score,
    )


# -- marks -------------------------------------------------------------------------------------------------------


def _marks(grey: U8, mask: U8, box: tuple[int, int, int, int]) -> tuple[_Marks, U8]:
    """(small bright things beside the picture or just inside of its left and right edge, contrast of each pixel)."""
    left, _, width, _ = box
    longer = max(grey.shape)
    high, long = (max(round(fraction * longer), MIN_MARK_PX) for fraction in (MARK, MARK_LENGTH))
    contrast = np.zeros_like(grey)
    for picture in (grey, np.where(mask > 0, np.uint8(0), grey)):  # ticks may touch the picture
        over, beside = (
            cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, np.ones(side, np.uint8), **DARK_OUTSIDE)
            for side in ((high, 1), (1, long))
        )
        contrast = np.maximum(contrast, np.minimum(over, beside))
    contrast[:, round(left + INSIDE * width) : round(left + (1 - INSIDE) * width)] = 0
    contrast[:, : max(round(left - BEYOND * longer), 0)] = 0
    contrast[:, round(left + width + BEYOND * longer) :] = 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats((contrast > MIN_CONTRAST).astype(np.uint8))
    y, x = np.nonzero(labels)
    number, weight = labels[y, x], contrast[y, x].astype(np.float64)
    count = len(stats)
    total = np.maximum(np.bincount(number, weight, minlength=count), 1e-9)
    peak = np.zeros(count)
    np.maximum.at(peak, number, weight)
    kept = (stats[:, cv2.CC_STAT_HEIGHT] < high) & (stats[:, cv2.CC_STAT_WIDTH] < long)
    kept[0] = False
    marks = _Marks(
        x=np.bincount(number, weight * x, minlength=count) / total,
        y=np.bincount(number, weight * y, minlength=count) / total,
        left=stats[:, cv2.CC_STAT_LEFT].astype(np.float64),
        right=(stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH]).astype(np.float64),
        height=stats[:, cv2.CC_STAT_HEIGHT].astype(np.float64),
        peak=peak,
    )
    return marks.only(np.flatnonzero(kept)[np.argsort(marks.y[kept], kind="stable")]), contrast


# -- combs -------------------------------------------------------------------------------------------------------


def _best_comb(grey: U8, mask: U8, box: tuple[int, int, int, int], *, fewest: int) -> _Comb | None:
    """The best upright ruler. None if none is good enough. box: left, top, width, height of the picture, px."""
    marks, contrast = _marks(grey, mask, box)
    best: _Comb | None = None
    for group in _columns(marks):
        for bright in (0.6, 0.25):  # chosen: the marks of one ruler are alike, or the smaller ones are dim
            strong = group.peak >= bright * np.percentile(group.peak, 75)
            comb = _comb(group.only(np.flatnonzero(strong)), contrast, MIN_SPAN * box[3])
            if comb is None or len(comb.marks) < fewest or comb.score < MIN_SCORE or not _beside(comb, box):
                continue
            if best is None or comb.worth > best.worth:
                best = comb
    return best


def _beside(comb: _Comb, box: tuple[int, int, int, int]) -> bool:
    """True if a comb does not reach beyond the picture's top and bottom."""
    _, top, _, height = box
    slack = max(comb.spacing_px / 2, 0.1 * height)  # chosen: a ruler may begin at the probe, above a sector
    return bool(comb.y[0] > top - slack and comb.y[-1] < top + height + slack)


def _columns(marks: _Marks) -> Iterator[_Marks]:
    """Marks that share their middle, their first or their last column."""
    for key in (marks.x, marks.left, marks.right):
        if not len(key):
            return
        counts = np.bincount(np.round(key).astype(int))
        near = np.convolve(counts, np.ones(3, int), "same")
        peaks = np.flatnonzero((near >= MIN_TICKS) & (near == cv2.dilate(near.astype(np.float32), np.ones(3)).ravel()))
        for column in peaks.tolist():
            together = np.flatnonzero(np.abs(key - column) <= ALIGNED_PX)
            if len(together) >= MIN_TICKS:
                yield marks.only(together)


def _comb(marks: _Marks, contrast: U8, min_span_px: float) -> _Comb | None:
    """The comb in a column of marks. None if there are too few, or too short."""
    y = marks.y
    if len(y) < MIN_TICKS or y[-1] - y[0] < min_span_px:
        return None
    frequency = np.arange(2 / (y[-1] - y[0]), 1 / MIN_TICK_PX, 0.25 / (y[-1] - y[0]))
    if not len(frequency):
        return None
    wave = np.exp(2j * np.pi * frequency[:, None] * (y - y[0])).sum(1)
    power = np.abs(wave)
    best: _Comb | None = None
    for i in {int(power.argmax()), int(np.flatnonzero(power >= 0.85 * power.max())[0])}:  # an overtone is as strong
        first = y[0] + np.angle(wave[i]) / (2 * np.pi * frequency[i])
        comb = _fitted_comb(marks, first, 1 / frequency[i])
        if comb is None or comb.y[-1] - comb.y[0] < min_span_px:
            continue
        comb = _scored(comb, marks, contrast)
        if best is None or comb.worth > best.worth:
            best = comb
    return best


def _fitted_comb(marks: _Marks, first_px: float, spacing_px: float) -> _Comb | None:
    """The comb near a first place and a spacing, by least squares. None if few marks are on it."""
    on = np.empty(0, int)
    for _ in range(4):
        k = np.round((marks.y - first_px) / spacing_px)
        off = np.abs(marks.y - first_px - k * spacing_px)
        near = np.flatnonzero(off <= _tolerance_px(spacing_px))
        on = near[np.unique(k[near], return_index=True)[1]]
        if len(on) < MIN_TICKS:
            return None
        spacing_px, first_px = (float(v) for v in np.polyfit(k[on], marks.y[on], 1))
        if spacing_px < MIN_TICK_PX:
            return None
    k = np.round((marks.y[on] - first_px) / spacing_px)
    rms = float(np.sqrt(np.mean((marks.y[on] - first_px - k * spacing_px) ** 2)))
    return _Comb(marks=marks.only(on), steps=k - k[0], spacing_px=spacing_px, rms_px=rms, score=0.0)


def _tolerance_px(spacing_px: float) -> float:
    """How far a mark may be off its place, px."""
    return min(max(OFF_TICK * spacing_px, MIN_OFF_PX), MAX_OFF_PX)


def _scored(comb: _Comb, column: _Marks, contrast: U8) -> _Comb:
    """A comb with its score: how full it is, what else stands in its column and beside its marks, and their shape."""
    full = len(comb.steps) / (comb.steps[-1] + 1)
    if full < MIN_COVERAGE:
        return comb
    pure = len(comb.steps) / np.count_nonzero((column.y >= comb.y[0]) & (column.y <= comb.y[-1]))
    tight = 1 - max(comb.rms_px - WHOLE_PX, 0.0) / _tolerance_px(comb.spacing_px)
    score = full * pure * tight * _alone(comb.marks, contrast) * _plain(comb.marks, contrast)
    return dataclasses.replace(comb, score=float(score))


def _alone(marks: _Marks, contrast: U8) -> float:
    """Fraction of marks without a thing as bright to their left or right."""
    reach = max(round(BESIDE * max(contrast.shape)), 4)
    alone = 0
    for i in range(len(marks)):
        top, bottom = (round(float(marks.y[i] + s * 0.5 * marks.height[i])) for s in (-1, 1))
        left, right = int(marks.left[i]), int(marks.right[i])
        rows = contrast[max(top, 0) : bottom + 1]
        sides = rows[:, max(left - reach, 0) : max(left - 1, 0)], rows[:, right + 1 : right + reach]
        alone += all(s.size == 0 or s.max() < 0.6 * marks.peak[i] for s in sides)
    return alone / len(marks)


def _plain(marks: _Marks, contrast: U8) -> float:
    """1 if most marks have neither notch nor hole, less if not. Ticks and dots are convex, letters are not."""
    plain = 0
    for i in range(len(marks)):
        half = 0.5 * marks.height[i] + 1
        rows = slice(max(math.floor(marks.y[i] - half), 0), math.ceil(marks.y[i] + half) + 1)
        part = contrast[rows, int(marks.left[i]) : int(marks.right[i])]
        mark = (part > 0.4 * marks.peak[i]).astype(np.uint8)
        points = cv2.findNonZero(mark)
        if points is None:
            continue
        hull = np.zeros_like(mark)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        plain += bool(len(points) >= CONVEX * np.count_nonzero(hull))
    return min(plain / len(marks) / (1 - LABELLED), 1.0)


def _large_every(comb: _Comb) -> int | None:
    """Number of ticks from one larger tick to the next. None if all look alike."""
    size = np.maximum(comb.marks.right - comb.marks.left, comb.marks.height)
    best, best_fraction = None, 0.85  # chosen: so many ticks must be as large as their place says
    for every in PERIODS:
        for phase in range(every):
            large = (comb.steps % every) == phase
            if np.count_nonzero(large) < 2 or np.count_nonzero(~large) < 2:
                continue
            low, high = float(np.median(size[~large])), float(np.median(size[large]))
            if high < LARGER * low or high - low < 1.0:
                continue
            fraction = float(((size > (low + high) / 2) == large).mean())
            if fraction > best_fraction:
                best, best_fraction = every, fraction
    return best
