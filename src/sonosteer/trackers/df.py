"""DF: thresholds the image, finds a line by a Hough transform, and takes its first gap as the tip.

M. Ding, A. Fenster, "A real-time biopsy needle segmentation technique using Hough transform", Med. Phys. 30(8), 2003,
as Mathiassen et al. 2017 implemented it again (Section III-C, method 1; full reference in `mathiassen2017.py`). They
compare their own methods with it.

| symbol | name here | unit |
| --- | --- | --- |
| theta | `angle`, direction of the axis | rad |
| structuring element | `closing_px`, along the axis | px |

Every frame stands alone: nothing is remembered. Lengths are px at 0.10 mm/px.

Departs from the paper: window and offset of the threshold and the bins of the transform are not published. They are
chosen here. The user's range of angles is searched instead of 5 degrees about the expected angle. A line shorter than
`min_length_px` before its first gap is no needle (`lost`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

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
class DingFensterState:
    """What the user expects, and nothing else."""

    range_rad: tuple[float, float]
    """First and last angle of the axis, rad."""


@dataclass(frozen=True)
class DingFenster:
    """Parameters of DF."""

    needs_scale: ClassVar[bool] = True
    """It works in millimetres."""
    blur_px: float = 1.2  # chosen: a Gaussian of 5 x 5, not published
    """Deviation of the blur before the threshold, px."""
    window_px: int = 61  # chosen: three needle widths, not published
    """Side of the threshold's window, px."""
    offset_grey: float = 12.0  # chosen: not published
    """How much brighter than its window a pixel must be, grey levels."""
    coarse_rad: float = math.radians(1.0)  # chosen: as the axis search of Mathiassen et al. 2017
    """Step of the first pass over the angles, rad."""
    fine_rad: float = math.radians(0.1)  # chosen: as the axis search of Mathiassen et al. 2017
    """Step of the second pass over the angles, rad."""
    coarse_step_px: int = 3  # chosen: the first pass reads every third row and column
    """Distance of the pixels that the first pass reads, px."""
    closing_px: int = 21
    """Longest gap that is closed along the axis, px."""
    min_length_px: int = 20  # chosen: one needle width
    """Shortest line that counts as a needle, px."""
    sd_along_px: float = 120.0  # chosen: the method itself claims nothing
    """Claimed deviation along the needle, px."""
    sd_across_px: float = 20.0  # chosen: the method itself claims nothing
    """Claimed deviation across the needle, px."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def prepare(self) -> None:
        """Compile the kernels."""
        noise = np.random.default_rng(0).integers(10, 200, (256, 256)).astype(np.uint8)
        self._axis(self._segment(noise), (0.6, 0.7))

    def start(self, hint: Hint) -> DingFensterState:
        """State before the first frame.

        A side alone means 20 to 70 degrees. Raises InputError if neither an angle nor a side is given.
        """
        low, high = math.radians(20), math.radians(70)
        if hint.angle_rad is not None:
            return DingFensterState(hint.angle_rad)
        if hint.enters == "left":
            return DingFensterState((low, high))
        if hint.enters == "right":
            return DingFensterState((math.pi - high, math.pi - low))
        raise InputError("df looks for a line near an expected angle: give it with `angle_deg` (or `enters`)")

    def step(self, state: DingFensterState, frame: Frame) -> tuple[DingFensterState, Estimate]:
        """Find the needle in one frame. Raises InputError if the frame has no scale."""
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
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=grid.to_frame(tip),
            angle_rad=angle,
            covariance_mm2=np.diag([(SCALE_MM * self.sd_along_px) ** 2, (SCALE_MM * self.sd_across_px) ** 2]),
            confidence=0.5,  # chosen: the method itself claims nothing
            state=Track.TRACKING,
            entry_px=grid.to_frame(entry),
        )

    def _segment(self, image: U8) -> U8:
        """Threshold the image: 1 where a pixel is brighter than its surroundings."""
        smooth = cv2.GaussianBlur(image, (5, 5), self.blur_px)
        binary: U8 = cv2.adaptiveThreshold(
            smooth, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, self.window_px, -self.offset_grey
        )
        return binary

    def _axis(self, binary: U8, range_rad: tuple[float, float]) -> tuple[Point, float] | None:
        """Find the best line, coarse then fine. Returns (where it enters the image, its angle), None if all is dark."""
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
        """Distance from the entry to the first gap, px. None if there is no line, or only a short one."""
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
        return float(end - 1) if end - lit[0] >= self.min_length_px else None


def _entry(binary: U8, angle: float, rho: float) -> Point:
    """Where the line at distance rho from the origin enters the image."""
    c, s = math.cos(angle), math.sin(angle)
    foot = (-rho * s, rho * c)  # the line's point nearest to the origin
    rows, columns = binary.shape
    xs = sorted(((0 - foot[0]) / c, (columns - 1 - foot[0]) / c)) if abs(c) > 1e-9 else [-math.inf, math.inf]
    ys = sorted(((0 - foot[1]) / s, (rows - 1 - foot[1]) / s)) if abs(s) > 1e-9 else [-math.inf, math.inf]
    u = max(xs[0], ys[0])
    return (min(max(foot[0] + u * c, 0.0), columns - 1.0), min(max(foot[1] + u * s, 0.0), rows - 1.0))
