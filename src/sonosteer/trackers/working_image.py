"""The image that the trackers of Paper T work on: grey, 0.10 mm a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Frame

SCALE_MM = 0.10


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the working image's pixels lie in the frame: frame px = (work px + 0.5) k - 0.5."""

    k_x: float
    k_y: float

    def to_frame(self, point_px: Point) -> Point:
        """Working pixels -> frame pixels."""
        return (point_px[0] + 0.5) * self.k_x - 0.5, (point_px[1] + 0.5) * self.k_y - 0.5

    def to_work(self, point_px: Point) -> Point:
        """Frame pixels -> working pixels."""
        return (point_px[0] + 0.5) / self.k_x - 0.5, (point_px[1] + 0.5) / self.k_y - 0.5


def scale_of(frame: Frame) -> Spacing:
    """The frame's scale. InputError without one."""
    if frame.spacing is None:
        raise InputError("the scale is unknown: give it with --spacing-mm X[,Y] in mm per pixel")
    return frame.spacing


def working_image(frame: Frame, scale_mm: float = SCALE_MM) -> tuple[U8, Grid]:
    """The frame in grey at scale_mm per px, and where its pixels lie. InputError without a scale."""
    spacing = scale_of(frame)
    grey = frame.grey()
    width, height = frame.size_px
    w = max(2, round(width * spacing.x_mm / scale_mm))
    h = max(2, round(height * spacing.y_mm / scale_mm))
    if (w, h) == (width, height):
        return grey, Grid(1.0, 1.0)
    return cv2.resize(grey, (w, h), interpolation=cv2.INTER_AREA), Grid(width / w, height / h)


def length_inside(image: U8, foot: Point, c: float, s: float) -> int:
    """Pixels from a point along the direction (c, s) to where it leaves the image."""
    rows, columns = image.shape
    x = (columns - 1 - foot[0]) / c if c > 1e-9 else -foot[0] / c if c < -1e-9 else math.inf
    y = (rows - 1 - foot[1]) / s if s > 1e-9 else -foot[1] / s if s < -1e-9 else math.inf
    return max(2, int(min(x, y)) + 1)
