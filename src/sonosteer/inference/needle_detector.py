"""The needle detector at run time: a picture and an earlier one in, needles with their chances out.

The network answers on a grid of cells (`learning/nets/dense_detector.py`). Here its answers become candidates: each
peak of the tip's map, with the shaft that leads to it. A candidate's score is the probability that its tip is right, by
a logistic regression on validation stills (`docs/explanation/auto.md`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

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
MAX_TURN_RAD = 0.3  # chosen: a direction is put right by so much at a time. More is another needle
LOOKS = ("whole", "near")  # how a picture is looked at: all of it, or the part round an expected tip
FEATURES = ("tip", "visible", "shaft", "length", "ahead", "lead")  # what a score is made of: see `features_of`


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
    """For each of `LOOKS`: weight of each of `FEATURES`, and the bias, no unit."""

    def score(self, look: str, features: F64) -> float:
        """Probability that a tip with these features is right. look: one of `LOOKS`."""
        *weights, bias = self.weights[look]
        return _logistic(bias + float(np.dot(weights, features)))


#: before a network is calibrated: its own word
UNCALIBRATED = Calibration(dict.fromkeys(LOOKS, (1.0, *(0.0,) * len(FEATURES))))


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

    def look(self, pixels: U8, earlier: U8 | None = None) -> DetectorAnswer:
        """Find needles in a grey picture (rows, columns).

        earlier: a picture of the same scene some tenths of a second before. Without one, or if it is of another size,
        the picture stands for itself.
        """
        return self._see("whole", pixels, earlier, self.side_px)

    def look_near(self, pixels: U8, earlier: U8 | None, tip_px: Point, angle_rad: float) -> DetectorAnswer:
        """Look at the part of a picture round a tip that is expected there, from a needle of this direction."""
        return self._see("near", pixels, earlier, NEAR_PX, _square(tip_px, angle_rad, NEAR_PART, max(pixels.shape)))

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
        self._peaks = find_peaks(cells[1], APART_CELLS, LEAST_LOGIT, CANDIDATES[look])
        found = self._read_needles([(int(r), int(c)) for _, r, c in self._peaks.tolist()])
        #: needles that may be there, most probable first. Empty: nothing like one
        self.needles: tuple[Detection, ...] = tuple(sorted(found, key=lambda d: -d.score))

    def at(self, tip_px: Point) -> Detection | None:
        """What the network says of a needle whose tip is here. None outside of the picture."""
        rows, columns = self.shaft.shape
        c, r = ((p - o + 0.5) / k / CELL_PX - 0.5 for p, o, k in zip(tip_px, self._corner, self._k, strict=True))
        if not (-0.5 <= c < columns - 0.5 and -0.5 <= r < rows - 0.5):
            return None
        return self._read_needles([(round(r), round(c))])[0]

    def _read_needles(self, at: Sequence[tuple[int, int]]) -> list[Detection]:
        """The needles whose tips are in these cells (row, column)."""
        tips = [self._read_tip(r, c) for r, c in at]
        x, y, towards = np.array(tips).reshape(-1, 3).T
        traced = trace_shafts(self.shaft, x, y, towards)
        return [self._read_needle(r, c, (tips[n][0], tips[n][1]), traced, n) for n, (r, c) in enumerate(at)]

    def _read_tip(self, r: int, c: int) -> tuple[float, float, float]:
        """(x, y in cells, direction in rad) of the tip in this cell."""
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
        return x, y, towards

    def _read_needle(self, r: int, c: int, tip: Point, traced: TracedShafts, n: int) -> Detection:
        """The needle whose tip is in this cell, at a place in cells, with the n-th of the shafts."""
        cells, (x, y), angle, length = self.cells, tip, float(traced.angle_rad[n]), float(traced.length[n])
        logit = float(cells[1][max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].max())
        others = [v for v, i, j in self._peaks.tolist() if math.hypot(i - r, j - c) >= APART_CELLS]
        back = max(length, 1.0)
        d = Detection(
            tip_px=self._px(x, y),
            angle_rad=math.atan2(self._k[1] * math.sin(angle), self._k[0] * math.cos(angle)),
            width_px=math.exp(min(max(float(cells[6, r, c]), 0.0), 4.5)) * math.sqrt(self._k[0] * self._k[1]),
            tail_px=self._px(x - back * math.cos(angle), y - back * math.sin(angle)),
            tip_logit=logit,
            visible=_logistic(float(cells[7, r, c])),
            shaft=float(traced.mean[n]),
            ahead=float(traced.ahead[n]),
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
            {look: (*(float(said[look][name]) for name in FEATURES), float(said[look]["bias"])) for look in LOOKS}
        )
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} is damaged or of another model ({e!r}); copy or train it again") from None


def features_of(d: Detection, picture_px: float) -> F64:
    """What a score is made of, no unit, in the order of `FEATURES`.

    picture_px: longer side of the picture.
    """
    return np.array(
        [
            d.tip_logit,
            _log_odds(d.visible),
            _log_odds(d.shaft),
            math.log(d.length_px / picture_px + 0.02),
            d.ahead,
            min(d.lead, 6.0),
        ]
    )


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


def find_peaks(logit: F32, apart: float, least: float, most: int) -> F64:
    """Return (n, 3) value, row and column of the strongest local maxima of a map (rows, columns), at most `most`.

    A maximum closer than `apart` cells to a stronger one that is taken is not taken. Of equals the first counts.
    """
    tops = (logit >= cv2.dilate(logit, np.ones((3, 3), np.uint8))) & (logit >= least)
    rows, columns = np.nonzero(tops)
    value = logit[rows, columns]
    order = np.argsort(-value, kind="stable")
    left = np.column_stack([value, rows, columns])[order].astype(np.float64)
    peaks = np.empty((most, 3))
    n = 0
    while n < most and len(left):
        peaks[n] = left[0]
        left = left[np.square(left[:, 1:] - left[0, 1:]).sum(1) >= apart * apart]
        n += 1
    return peaks[:n]


@dataclass(frozen=True, slots=True, eq=False)
class TracedShafts:
    """Shafts that were followed back from n tips."""

    angle_rad: F64
    """(n,) direction towards the tip, fitted to the shaft's map, rad."""
    length: F64
    """(n,) length in cells of the map, no unit."""
    mean: F64
    """(n,) mean probability of a shaft along it, 0 to 1."""
    ahead: F64
    """(n,) mean probability of a shaft in the 4 cells beyond the tip, 0 to 1."""


def trace_shafts(shaft: F32, x: F64, y: F64, angle_rad: F64) -> TracedShafts:
    """Follow shafts back from n tips at (x, y), cells, in a map of probabilities (rows, columns).

    angle_rad: (n,) directions to begin with. A shaft ends where its probability stays under a third for a tenth of the
    map.
    """
    longest = float(max(shaft.shape))
    patience = max(0.1 * longest, 3.0)
    back: F64 = np.arange(1.0, 1.42 * longest)
    aside: F64 = np.arange(-2.0, 2.5, 0.5)
    angle, length = angle_rad.copy(), np.zeros(len(x))
    for turn in range(3):
        p = _read(shaft, x, y, angle, -back[:, None], aside)
        length, steps = _extent(p.max(2) > 0.33, patience)
        if turn == 2:
            break
        seen = np.where((p > 0.1) & (np.arange(len(back)) < steps[:, None])[:, :, None], p, 0.0)
        # the line must pass through the tip: v = slope u
        uu, uv = seen.sum(2) @ (back * back), (seen @ aside) @ back
        slope = np.divide(uv, uu, out=np.zeros_like(uu), where=seen.sum((1, 2)) > 3.0)
        angle -= np.arctan(np.clip(slope, -MAX_TURN_RAD, MAX_TURN_RAD))
    within = np.maximum(length, 2.0)[:, None]
    along = np.arange(0.5, within.max(initial=2.0) + 0.25)
    best = _read(shaft, x, y, angle, -along[:, None], np.arange(-1.0, 1.5, 0.5)).max(2)
    mean = np.where(along <= within, best, 0.0).sum(1) / np.count_nonzero(along <= within, axis=1)
    ahead = _read(shaft, x, y, angle, np.arange(2.0, 6.0), np.zeros(1)).mean(1)
    return TracedShafts(angle, length, mean, ahead)


def _extent(seen: NDArray[np.bool_], patience: float) -> tuple[F64, NDArray[np.intp]]:
    """((n,) length of the shafts, (n,) steps that were walked), from where a shaft was seen: (n, steps), cells."""
    at = np.arange(seen.shape[1])
    last = np.maximum.accumulate(np.where(seen, at, -1), axis=1)
    tired = at - last >= patience
    steps = np.where(tired.any(1), tired.argmax(1) + 1, len(at))
    return last[np.arange(len(seen)), steps - 1] + 1.0, steps


def _read(plane: F32, x: F64, y: F64, angle_rad: F64, ahead: F64, aside: F64) -> F64:
    """Bilinear values of a map at places ahead of n points and aside, cells. 0 outside of the map.

    ahead, aside: of shapes that fit together. The result is (n, *their shape).
    """
    x, y, c, s = (
        each.reshape(-1, *(1,) * max(ahead.ndim, aside.ndim)) for each in (x, y, np.cos(angle_rad), np.sin(angle_rad))
    )
    u, v = x + ahead * c - aside * s, y + ahead * s + aside * c
    rows, columns = plane.shape
    inside = (u >= 0) & (u <= columns - 1) & (v >= 0) & (v <= rows - 1)
    j, i = (np.clip(p, 0, max(n - 2, 0)).astype(np.intp) for p, n in ((u, columns), (v, rows)))
    right, down = min(columns - 1, 1), columns * min(rows - 1, 1)
    flat, k, fu, fv = plane.ravel(), i * columns + j, u - j, v - i
    top, low = flat[k], flat[k + down]
    top = top + fu * (flat[k + right] - top)
    low = low + fu * (flat[k + down + right] - low)
    return np.where(inside, top + fv * (low - top), 0.0)
