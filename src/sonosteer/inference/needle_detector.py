"""The needle detector at run time: a picture and an earlier one in, needles with their chances out.

The network answers on a grid of cells (`learning/nets/dense_detector.py`). Here its answers become candidates: each
peak of the tip's map, with the shaft that leads to it. A candidate's score is the probability that its tip is right, by
a logistic regression on validation stills (`docs/explanation/auto.md`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.config import parse_json
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.imaging.detector_planes import (
    CELL_PX,
    NEAR_PART,
    NEAR_PX,
    PLANES,
    STEP_PX,
    fill_planes,
    reduce_picture,
)
from sonosteer.inference.onnx_graphs import OnnxGraphs, model_folder, read_shape

DETECTOR_ARCHITECTURE, DETECTOR_GRAPH, CALIBRATION = "sonosteer-needle-detector", "detector.onnx", "calibration.json"
CANDIDATES = {"whole": 8, "near": 3}  # chosen: the right one is nearly always among the first three
LEAST_LOGIT = -5.0  # chosen: weaker peaks are hardly ever right
APART_CELLS = 3.0  # chosen: of two peaks this close only the stronger counts
OFFSET_CELLS = 2.5  # chosen: a tip further from its cell was not learnt, cells
RIGHT_WITHIN, WRONG_BEYOND = 0.02, 0.05  # what a right and a wrong tip is, as fractions of the picture's longer side
CLOSE_LOOKS = 2  # chosen: a third is hardly ever right
CLOSE_PX, CLOSE_PART = 192, 0.4  # chosen: input px of a closer look, and which part of the longer side it shows
CLOSE_MOVE = 0.06  # chosen: a tip of the closer look is the same within this, as a fraction of the longer side
WHOLE_FEATURES = ("tip", "visible", "shaft", "length", "ahead", "lead")
#: what a score is made of, by how the picture was looked at: see `Detection` and `features_of`
FEATURES: dict[str, tuple[str, ...]] = {
    "whole": WHOLE_FEATURES,
    "close": (*WHOLE_FEATURES, "close_tip", "close_visible", "close_shaft", "moved"),
    "near": WHOLE_FEATURES,
}


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What the network says of a needle in a part of the picture at higher resolution."""

    tip_logit: float
    """How surely it calls the place a tip, log odds, no unit."""
    visible: float
    """Probability that a person can see the tip, 0 to 1."""
    shaft: float
    """Mean probability of a shaft up to the tip, 0 to 1."""
    moved: float
    """How far the tip lies from the first look's, as a fraction of the picture's longer side, no unit."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A needle that may be there. Places and lengths are px of the picture."""

    tip_px: Point
    """The end of the needle, px."""
    angle_rad: float
    """Direction of the needle towards its tip, rad from image +x towards +y (down)."""
    width_px: float
    """Width of its shaft, px."""
    tail_px: Point
    """Where the shaft that can be seen begins, px."""
    tip_logit: float
    """How surely the network calls this place a tip, log odds, no unit."""
    visible: float
    """Probability that a person can see the tip, if it is here, 0 to 1."""
    shaft: float
    """Mean probability of a shaft from the tail to the tip, 0 to 1."""
    ahead: float
    """Mean probability of a shaft beyond the tip, 0 to 1."""
    lead: float
    """How much stronger its tip is than the strongest other one, log odds, no unit."""
    closer: CloserLook | None = None
    """What a second look at higher resolution found. None if there was none."""
    score: float = 0.0
    """Probability that this tip is right, 0 to 1."""

    @property
    def length_px(self) -> float:
        """Length of the shaft that can be seen."""
        return math.dist(self.tip_px, self.tail_px)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns what is known of a needle into the probability that its tip is right, by logistic regressions."""

    weights: dict[str, tuple[float, ...]]
    """For each kind of look: weight of each of its `FEATURES`, and the bias, no unit."""

    def score(self, look: str, features: F64) -> float:
        """Probability that a tip with these features is right. look: whole, close or near."""
        *weights, bias = self.weights[look]
        return _logistic(bias + float(np.dot(weights, features)))


#: before a network is calibrated: its own word
UNCALIBRATED = Calibration({look: (1.0, *(0.0,) * len(names)) for look, names in FEATURES.items()})


class NeedleDetector:
    """Runs a detector with ONNX Runtime, on pictures of any size.

    model: name of a shipped model, or a folder. Raises InputError if a file of the model is missing or damaged.
    """

    def __init__(self, model: str = "detector", *, threads: int = 1) -> None:
        folder = model_folder(model)
        shape = read_shape(folder)
        if shape["architecture"] != DETECTOR_ARCHITECTURE:
            raise InputError(f"{folder} holds another model ({shape['architecture']}), not a needle detector")
        self.side_px = int(shape["side_px"])
        self.calibration = read_calibration(folder)
        self._session = OnnxGraphs(folder, threads).session(DETECTOR_GRAPH)

    def look(self, pixels: U8, earlier: U8 | None = None, *, closer: int = CLOSE_LOOKS) -> DetectorAnswer:
        """Find needles in a grey picture (rows, columns).

        earlier: a picture of the same scene some tenths of a second before. Without one, or if it is of another size,
        the picture stands for itself. closer: how many of the best are looked at once more, at higher resolution.
        """
        answer = self._see("whole", pixels, earlier, self.side_px)
        looked = [self._look_closer(d, pixels, earlier) for d in answer.found[:closer]]
        answer.needles = tuple(sorted((*looked, *answer.found[closer:]), key=lambda d: -d.score))
        return answer

    def look_near(self, pixels: U8, earlier: U8 | None, tip_px: Point, angle_rad: float) -> DetectorAnswer:
        """Look at the part of a picture round a tip that is expected there, from a needle of this direction."""
        answer = self._see("near", pixels, earlier, NEAR_PX, _square(tip_px, angle_rad, NEAR_PART, max(pixels.shape)))
        answer.needles = answer.found
        return answer

    def _see(
        self, look: str, pixels: U8, before: U8 | None, input_px: int, square: tuple[int, int, int] | None = None
    ) -> DetectorAnswer:
        """What the network says of a picture, or of a square (left, top, side) of it, reduced to input_px.

        before: the earlier picture. Without one, or if it is of another size, the picture stands for itself.
        """
        if before is not None and before.shape != pixels.shape:
            before = None
        left = top = 0
        longer = float(max(pixels.shape))
        inside = None
        if square is not None:
            left, top, side = square
            inside = _inside(pixels.shape, square, input_px)
            pixels, before = _part(pixels, left, top, side), None if before is None else _part(before, left, top, side)
        height, width = pixels.shape
        now = reduce_picture(pixels, input_px)
        then = now if before is None else reduce_picture(before, input_px)
        rows, columns = now.shape
        planes = np.zeros((1, PLANES, _whole_steps(rows), _whole_steps(columns)), np.float32)
        fill_planes(now, then, planes[0], inside)
        cells: F32 = self._session.run(None, {"planes": planes})[0][0]
        cells = np.ascontiguousarray(cells[:, : -(-rows // CELL_PX), : -(-columns // CELL_PX)])
        k = width / columns, height / rows
        return DetectorAnswer(look, cells, k, corner_px=(left, top), picture_px=longer, calibration=self.calibration)

    def _look_closer(self, d: Detection, pixels: U8, before: U8 | None) -> Detection:
        """The needle after a second look at the part of the picture round its tip."""
        longer = float(max(pixels.shape))
        square = _square(d.tip_px, d.angle_rad, CLOSE_PART, longer)
        answer = self._see("near", pixels, before, CLOSE_PX, square)
        same = [e for e in answer.found if math.dist(e.tip_px, d.tip_px) < CLOSE_MOVE * longer]
        best = max(same, key=lambda e: e.tip_logit, default=answer.at(d.tip_px))
        if best is None:
            return d
        moved = min(math.dist(best.tip_px, d.tip_px) / longer, CLOSE_MOVE)
        closer = CloserLook(best.tip_logit, best.visible, best.shaft, moved)
        tip = best.tip_px if best.tip_logit > d.tip_logit - 2.0 else d.tip_px  # chosen: the finer place, if one is seen
        d = replace(d, closer=closer, tip_px=tip, width_px=best.width_px)
        return replace(d, score=self.calibration.score("close", features_of(d, longer)))


class DetectorAnswer:
    """What the network says of one picture. Places and lengths are px of that picture."""

    def __init__(
        self,
        look: str,
        cells: F32,
        k: tuple[float, float],
        *,
        corner_px: Point,
        picture_px: float,
        calibration: Calibration,
    ) -> None:
        """Keep the network's answers (8, rows, columns).

        look: whole or near. k: px of the picture per input px along x and y. corner_px: left upper corner of what was
        looked at. picture_px: longer side of the picture.
        """
        self.look, self.cells, self._k, self._corner = look, cells, k, corner_px
        self._picture_px, self._calibration = picture_px, calibration
        shaft: F32 = 1.0 / (1.0 + np.exp(-np.clip(cells[0], -30, 30)))
        self.shaft = np.ascontiguousarray(shaft)
        #: needles that may be there, most probable first, after closer looks at the best. Empty: nothing like one
        self.needles: tuple[Detection, ...] = ()
        self._peaks = np.zeros((CANDIDATES[look], 3))
        self._peaks = self._peaks[: find_peaks(cells[1], APART_CELLS, LEAST_LOGIT, self._peaks)]

    @cached_property
    def found(self) -> tuple[Detection, ...]:
        """Needles that may be there by this look alone, most probable first."""
        found = [self._read(int(r), int(c)) for _, r, c in self._peaks.tolist()]
        return tuple(sorted(found, key=lambda d: -d.score))

    def at(self, tip_px: Point) -> Detection | None:
        """What the network says of a needle whose tip is here. None outside of the picture."""
        rows, columns = self.shaft.shape
        c, r = ((p - o + 0.5) / k / CELL_PX - 0.5 for p, o, k in zip(tip_px, self._corner, self._k, strict=True))
        if not (-0.5 <= c < columns - 0.5 and -0.5 <= r < rows - 0.5):
            return None
        return self._read(round(r), round(c))

    def _read(self, r: int, c: int) -> Detection:
        """The needle whose tip is in this cell."""
        cells = self.cells
        top, left = max(r - 1, 0), max(c - 1, 0)
        near = np.s_[top : r + 2, left : c + 2]
        logit = float(cells[1][near].max())
        weight = np.exp(np.clip(cells[1][near] - logit, -8.0, 0.0))
        weight = weight / weight.sum()
        ys, xs = np.mgrid[top : top + weight.shape[0], left : left + weight.shape[1]]
        x = c + min(max(float((weight * (xs + cells[2][near])).sum()) - c, -OFFSET_CELLS), OFFSET_CELLS)
        y = r + min(max(float((weight * (ys + cells[3][near])).sum()) - r, -OFFSET_CELLS), OFFSET_CELLS)
        towards = math.atan2(float((weight * cells[5][near]).sum()), float((weight * cells[4][near]).sum()))
        traced = np.zeros(3)
        angle = trace_shaft(self.shaft, x, y, towards, traced)
        length, mean, ahead = traced.tolist()
        others = [v for v, i, j in self._peaks.tolist() if math.hypot(i - r, j - c) >= APART_CELLS]
        back = max(length, 1.0)
        d = Detection(
            tip_px=self._px(x, y),
            angle_rad=math.atan2(self._k[1] * math.sin(angle), self._k[0] * math.cos(angle)),
            width_px=math.exp(min(max(float(cells[6, r, c]), 0.0), 4.5)) * math.sqrt(self._k[0] * self._k[1]),
            tail_px=self._px(x - back * math.cos(angle), y - back * math.sin(angle)),
            tip_logit=logit,
            visible=_logistic(float(cells[7, r, c])),
            shaft=mean,
            ahead=ahead,
            lead=logit - max(others, default=LEAST_LOGIT),
        )
        return replace(d, score=self._calibration.score(self.look, features_of(d, self._picture_px)))

    def _px(self, x: float, y: float) -> Point:
        """Cells -> px of the picture."""
        k_x, k_y = self._k
        left, top = self._corner
        return (x + 0.5) * CELL_PX * k_x - 0.5 + left, (y + 0.5) * CELL_PX * k_y - 0.5 + top


def read_calibration(folder: Path) -> Calibration:
    """Read calibration.json of a model's folder. A model without one is uncalibrated: its own word counts."""
    path = folder / CALIBRATION
    if not path.exists():
        return UNCALIBRATED
    try:
        said: dict[str, Any] = parse_json(path.read_text(), path)
        return Calibration(
            {
                look: (*(float(said[look][name]) for name in names), float(said[look]["bias"]))
                for look, names in FEATURES.items()
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} is damaged or of another model ({e!r}); copy or train it again") from None


def features_of(d: Detection, picture_px: float) -> F64:
    """What a score is made of, no unit, in the order of the look's `FEATURES`.

    picture_px: longer side of the picture.
    """
    out = [
        d.tip_logit,
        _log_odds(d.visible),
        _log_odds(d.shaft),
        math.log(d.length_px / picture_px + 0.02),
        d.ahead,
        min(d.lead, 6.0),
    ]
    if d.closer is not None:
        look = d.closer
        out += [look.tip_logit, _log_odds(look.visible), _log_odds(look.shaft), 20.0 * look.moved]
    return np.array(out)


def _part(pixels: U8, left: int, top: int, side: int) -> U8:
    """A square of the picture, black where it lies beyond."""
    out = np.zeros((side, side), np.uint8)
    rows, columns = pixels.shape
    y0, y1, x0, x1 = max(top, 0), min(top + side, rows), max(left, 0), min(left + side, columns)
    if y0 < y1 and x0 < x1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    return out


def _inside(shape: tuple[int, ...], square: tuple[int, int, int], input_px: int) -> U8 | None:
    """(input_px, input_px), 1 where a square (left, top, side) shows a picture (rows, columns). None: everywhere."""
    left, top, side = square
    k = input_px / side
    y0, y1, x0, x1 = (min(max(round(edge * k), 0), input_px) for edge in (-top, shape[0] - top, -left, shape[1] - left))
    if (y0, y1, x0, x1) == (0, input_px, 0, input_px):
        return None
    out = np.zeros((input_px, input_px), np.uint8)
    out[y0:y1, x0:x1] = 1
    return out


def _square(tip_px: Point, angle_rad: float, part: float, longer: float) -> tuple[int, int, int]:
    """(left, top, side) of a square, px, of a part of the longer side. The tip lies ahead of its middle."""
    side = max(round(part * longer), STEP_PX)
    towards = math.cos(angle_rad), math.sin(angle_rad)
    left, top = (round(p - 0.2 * side * a - side / 2) for p, a in zip(tip_px, towards, strict=True))
    return left, top, side


def _logistic(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(z, -30.0), 30.0)))


def _log_odds(p: float) -> float:
    q = min(max(p, 1e-3), 1 - 1e-3)
    return math.log(q / (1 - q))


def _whole_steps(px: int) -> int:
    return -(-px // STEP_PX) * STEP_PX


@njit(cache=True, nogil=True)
def find_peaks(logit: F32, apart: float, least: float, peaks: F64) -> int:
    """Fill peaks (K, 3) with (value, row, column) of the strongest local maxima. Returns how many there are.

    A maximum closer than `apart` cells to a stronger one that is taken is not taken. Of equals the first counts.
    """
    rows, columns = logit.shape
    for n in range(len(peaks)):
        value, row, column = -np.inf, -1, -1
        for r in range(rows):
            for c in range(columns):
                v = logit[r, c]
                if v > value and v >= least and _is_top(logit, r, c) and _is_free(peaks[:n], r, c, apart):
                    value, row, column = v, r, c
        if row < 0:
            return n
        peaks[n, 0], peaks[n, 1], peaks[n, 2] = value, row, column
    return len(peaks)


@njit(cache=True, nogil=True)
def _is_top(logit: F32, row: int, column: int) -> bool:
    """Is none of the cells round this one larger?"""
    rows, columns = logit.shape
    for r in range(max(row - 1, 0), min(row + 2, rows)):
        for c in range(max(column - 1, 0), min(column + 2, columns)):
            if logit[r, c] > logit[row, column]:
                return False
    return True


@njit(cache=True, nogil=True)
def _is_free(peaks: F64, row: int, column: int, apart: float) -> bool:
    """Does no peak lie closer than `apart` cells?"""
    near = False
    for k in range(len(peaks)):
        near = near or (peaks[k, 1] - row) ** 2 + (peaks[k, 2] - column) ** 2 < apart * apart
    return not near


@njit(cache=True, nogil=True)
def _read(plane: F32, x: float, y: float) -> float:
    """Bilinear value at (column, row). 0 outside."""
    rows, columns = plane.shape
    if not (0 <= x <= columns - 1 and 0 <= y <= rows - 1):
        return 0.0
    i, j = min(int(y), rows - 2), min(int(x), columns - 2)
    if i < 0 or j < 0:
        return float(plane[max(i, 0), max(j, 0)])
    fy, fx = y - i, x - j
    top = plane[i, j] + fx * (plane[i, j + 1] - plane[i, j])
    low = plane[i + 1, j] + fx * (plane[i + 1, j + 1] - plane[i + 1, j])
    return float(top + fy * (low - top))


@njit(cache=True, nogil=True)
def trace_shaft(shaft: F32, x: float, y: float, angle: float, traced: F64) -> float:
    """Follow a shaft back from a tip at (x, y), cells. Returns its direction, rad, fitted to the shaft's map.

    traced: gets (length in cells, mean probability along it, mean probability in the 4 cells beyond the tip). The
    shaft ends where its probability stays under a third for a tenth of the map.
    """
    most = float(max(shaft.shape))
    patience = max(0.1 * most, 3.0)
    length = 0.0
    for turn in range(3):
        c, s = math.cos(angle), math.sin(angle)
        length, missed, u = 0.0, 0.0, 1.0
        weight = uu = uv = 0.0
        while u < most * 1.42 and missed < patience:
            best = 0.0
            for k in range(-4, 5):
                v = 0.5 * k
                p = _read(shaft, x - u * c - v * s, y - u * s + v * c)
                if p > 0.1:
                    weight += p
                    uu += p * u * u
                    uv += p * u * v
                best = max(best, p)
            if best > 0.33:
                length, missed = u, 0.0
            else:
                missed += 1.0
            u += 1.0
        if turn < 2 and weight > 3.0:
            # the line must pass through the tip: v = slope u
            angle -= math.atan(min(max(uv / uu, -0.3), 0.3))
    c, s = math.cos(angle), math.sin(angle)
    total, count, u = 0.0, 0, 0.5
    while u <= max(length, 2.0):
        best = 0.0
        for k in range(-2, 3):
            best = max(best, _read(shaft, x - u * c - 0.5 * k * s, y - u * s + 0.5 * k * c))
        total += best
        count += 1
        u += 1.0
    beyond = 0.0
    for k in range(2, 6):
        beyond += _read(shaft, x + k * c, y + k * s) / 4
    traced[0], traced[1], traced[2] = length, total / count, beyond
    return angle
