"""DF: threshold, Hough transform, first gap. Method 1 of Paper T, the one it compares itself with.

M. Ding, A. Fenster, "A real-time biopsy needle segmentation technique using Hough transform", Med. Phys. 30(8),
2003, as Mathiassen et al. 2017 re-implemented it (Section III-C; full reference in `paper_t.py`): adaptive
threshold, coarse-to-fine Hough transform within 5 degrees of the expected angle, highest value wins; the segmented
image along that line, closed by 21 px; the tip is at the first gap.

| symbol | name here | unit |
| --- | --- | --- |
| theta | `angle`, direction of the axis | rad |
| structuring element | `closing_px` | px |

Every frame stands alone: nothing is remembered. Lengths are px at 0.10 mm/px.

Departs from the paper: window and offset of the threshold, and the bins of the transform, are not published;
a line with fewer than `least_px` lit pixels before its first gap is no needle (`lost`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging.hough import lit_near, lit_pixels, vote
from sonosteer.imaging.scratch import Scratch
from sonosteer.trackers.working_image import SCALE_MM, length_inside, working_image


@dataclass(frozen=True, slots=True)
class State:
    """What the user expects: the range of angles. Nothing else."""

    range_rad: tuple[float, float]


@dataclass(frozen=True)
class DingFenster:
    """Parameters of DF."""

    blur_px: float = 1.2  # ours: a Gaussian of 5 x 5
    window_px: int = 61  # ours: three needle widths
    offset_grey: float = 12.0  # ours
    coarse_rad: float = math.radians(1.0)  # ours
    fine_rad: float = math.radians(0.1)  # ours
    coarse_step_px: int = 3  # ours: the coarse search looks at every third row and column
    closing_px: int = 21
    half_range_deg: float = 5.0
    least_px: int = 20  # ours
    sd_along_px: float = 120.0  # ours: the method itself claims nothing
    sd_across_px: float = 20.0  # ours
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def prepare(self) -> None:
        """Compile the kernels."""
        noise = np.random.default_rng(0).integers(10, 200, (256, 256)).astype(np.uint8)
        self._axis(self._segment(noise), (0.6, 0.7))

    def start(self, hint: Hint) -> State:
        """State before the first frame. InputError unless the angle is expected, or a side (then 20 to 70 degrees)."""
        low, high = math.radians(20), math.radians(70)
        if hint.angle_rad is not None:
            return State(hint.angle_rad)
        if hint.enters == "left":
            return State((low, high))
        if hint.enters == "right":
            return State((math.pi - high, math.pi - low))
        raise InputError("df looks for a line near an expected angle: give it with --angle-deg LO:HI (or --enters)")

    def step(self, state: State, frame: Frame) -> tuple[State, Estimate]:
        """One frame. InputError if the frame has no scale."""
        image, grid = working_image(frame)
        binary = self._segment(image)
        line = self._axis(binary, state.range_rad)
        if line is None:
            return state, Lost(frame.index, frame.time_s, "nothing in the segmented image")
        entry, angle = line
        length = self._first_gap(binary, entry, angle)
        if length is None:
            return state, Lost(frame.index, frame.time_s, "no line long enough in the segmented image")
        tip = (entry[0] + length * math.cos(angle), entry[1] + length * math.sin(angle))
        return state, TipEstimate(
            frame.index,
            frame.time_s,
            grid.to_frame(tip),
            angle,
            np.diag([(SCALE_MM * self.sd_along_px) ** 2, (SCALE_MM * self.sd_across_px) ** 2]),
            0.5,
            Track.TRACKING,
            grid.to_frame(entry),
        )

    def _segment(self, image: U8) -> U8:
        smooth = cv2.GaussianBlur(image, (5, 5), self.blur_px)
        binary: U8 = cv2.adaptiveThreshold(
            smooth, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, self.window_px, -self.offset_grey
        )
        return binary

    def _axis(self, binary: U8, range_rad: tuple[float, float]) -> tuple[Point, float] | None:
        """(where the best line enters the image, its angle)."""
        rows, columns = binary.shape
        reach = math.hypot(rows, columns)
        points = self._scratch.at_least("points", (2, rows * columns), np.int32)
        votes = self._scratch.at_least("votes", (2 * math.ceil(reach) + 2,), np.int32)
        n = lit_pixels(binary, self.coarse_step_px, points)
        if n == 0:
            return None
        span = range_rad[1] - range_rad[0]
        coarse = np.linspace(range_rad[0], range_rad[1], max(2, 1 + round(span / self.coarse_rad)))
        k, rho = vote(points, n, coarse, -reach, reach, 2.0 * self.coarse_step_px, votes)
        slack = 4.0 * self.coarse_step_px + reach * self.coarse_rad
        n = lit_near(binary, float(coarse[k]), rho, 2.0 * self.coarse_step_px + 0.6 * reach * self.coarse_rad, points)
        fine = np.clip(coarse[k] + self.fine_rad * np.arange(-10, 11), *range_rad)
        k, rho = vote(points, n, fine, rho - slack, rho + slack, 2.0, votes)
        angle = float(fine[k])
        return _entry(binary, angle, rho), angle

    def _first_gap(self, binary: U8, entry: Point, angle: float) -> float | None:
        """Distance of the tip from the entry in px."""
        c, s = math.cos(angle), math.sin(angle)
        u = np.arange(length_inside(binary, entry, c, s))
        x = np.clip(np.rint(entry[0] + u * c).astype(int), 0, binary.shape[1] - 1)
        y = np.clip(np.rint(entry[1] + u * s).astype(int), 0, binary.shape[0] - 1)
        line: NDArray[np.uint8] = binary[y, x][None]
        closed = cv2.morphologyEx(line, cv2.MORPH_CLOSE, np.ones((1, self.closing_px), np.uint8))[0]
        lit = np.flatnonzero(closed)
        if len(lit) == 0:
            return None
        gaps = np.flatnonzero(closed[lit[0] :] == 0)
        end = lit[0] + (gaps[0] if len(gaps) else len(closed) - lit[0])
        return float(end - 1) if end - lit[0] >= self.least_px else None


def _entry(binary: U8, angle: float, rho: float) -> Point:
    """Where the line at distance rho from the origin comes into the image."""
    c, s = math.cos(angle), math.sin(angle)
    foot = (-rho * s, rho * c)  # its point nearest to the origin
    rows, columns = binary.shape
    xs = sorted(((0 - foot[0]) / c, (columns - 1 - foot[0]) / c)) if abs(c) > 1e-9 else [-math.inf, math.inf]
    ys = sorted(((0 - foot[1]) / s, (rows - 1 - foot[1]) / s)) if abs(s) > 1e-9 else [-math.inf, math.inf]
    u = max(xs[0], ys[0])
    return (min(max(foot[0] + u * c, 0.0), columns - 1.0), min(max(foot[1] + u * s, 0.0), rows - 1.0))
