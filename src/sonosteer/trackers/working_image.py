"""Makes the image that trackers work on: grey, at a fixed scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Frame

#: scale of the working image in Mathiassen et al. 2017, mm per px
SCALE_MM = 0.10


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the working image's pixels lie in the frame: frame px = (work px + 0.5) k - 0.5."""

    k_x: float
    """Frame pixels per working pixel along x, no unit."""
    k_y: float
    """Frame pixels per working pixel along y, no unit."""

    def to_frame(self, point_px: Point) -> Point:
        """Turn working pixels into frame pixels."""
        return (point_px[0] + 0.5) * self.k_x - 0.5, (point_px[1] + 0.5) * self.k_y - 0.5

    def to_work(self, point_px: Point) -> Point:
        """Turn frame pixels into working pixels."""
        return (point_px[0] + 0.5) / self.k_x - 0.5, (point_px[1] + 0.5) / self.k_y - 0.5


def scale_of(frame: Frame) -> Spacing:
    """Scale of the frame. Raises InputError if it has none."""
    if frame.spacing is None:
        raise InputError("the scale is unknown: give `spacing_mm`, mm per pixel")
    return frame.spacing


def working_image(frame: Frame, scale_mm: float = SCALE_MM) -> tuple[U8, Grid]:
    """Resample a frame in grey to scale_mm per px.

    Returns the image, and where its pixels lie in the frame. Raises InputError if the frame has no scale.
    """
    spacing = scale_of(frame)
    grey = frame.grey()
    width, height = frame.size_px
    w = max(2, round(width * spacing.x_mm / scale_mm))
    h = max(2, round(height * spacing.y_mm / scale_mm))
    if (w, h) == (width, height):
        return grey, Grid(1.0, 1.0)
    return cv2.resize(grey, (w, h), interpolation=cv2.INTER_AREA), Grid(width / w, height / h)


def length_inside(image: U8, foot: Point, c: float, s: float) -> int:
    """Length in px from a point along the direction (c, s) to the image's border, at least 2."""
    rows, columns = image.shape
    x = (columns - 1 - foot[0]) / c if c > 1e-9 else -foot[0] / c if c < -1e-9 else math.inf
    y = (rows - 1 - foot[1]) / s if s > 1e-9 else -foot[1] / s if s < -1e-9 else math.inf
    return max(2, int(min(x, y)) + 1)
