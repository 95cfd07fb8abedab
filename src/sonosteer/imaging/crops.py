"""Cuts square crops around a place, resampled, for networks to look at.

How large a crop is follows from the scale (`working_scale`) or from the picture alone (`LongerSide`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point, Spacing


@njit(cache=True, nogil=True)
def mean_kernel(image: U8, x0: float, y0: float, step_x: float, step_y: float, flip: bool, out: U8) -> None:
    """out[i, j] = mean of the image's pixels in the cell of step_x by step_y around (x0 + j step_x, y0 + i step_y).

    Used for steps of more than a pixel. Bilinear points would skip pixels there, and thin needles with them.
    """
    rows, columns = image.shape
    n, m = out.shape
    for i in range(n):
        top = math.floor(y0 + (i - 0.5) * step_y + 0.5)
        low = math.floor(y0 + (i + 0.5) * step_y + 0.5)
        for j in range(m):
            k = m - 1 - j if flip else j
            left = math.floor(x0 + (k - 0.5) * step_x + 0.5)
            right = math.floor(x0 + (k + 0.5) * step_x + 0.5)
            if top < 0 or left < 0 or low > rows or right > columns:
                out[i, j] = 0
                continue
            total = 0
            for y in range(top, low):
                for x in range(left, right):
                    total += image[y, x]
            out[i, j] = np.uint8(total / ((low - top) * (right - left)) + 0.5)


@njit(cache=True, nogil=True)
def crop_kernel(image: U8, x0: float, y0: float, step_x: float, step_y: float, flip: bool, out: U8) -> None:
    """out[i, j] = image at (x0 + j step_x, y0 + i step_y), bilinear, 0 outside.

    flip: columns run from right to left.
    """
    rows, columns = image.shape
    n, m = out.shape
    for i in range(n):
        y = y0 + i * step_y
        iy = math.floor(y)
        fy = y - iy
        for j in range(m):
            x = x0 + (m - 1 - j if flip else j) * step_x
            ix = math.floor(x)
            if iy < 0 or ix < 0 or iy >= rows - 1 or ix >= columns - 1:
                out[i, j] = 0
                continue
            fx = x - ix
            top = image[iy, ix] * (1 - fx) + image[iy, ix + 1] * fx
            low = image[iy + 1, ix] * (1 - fx) + image[iy + 1, ix + 1] * fx
            out[i, j] = np.uint8(top * (1 - fy) + low * fy + 0.5)


def crop(image: U8, centre_px: Point, size_px: int, step: Point, flip: bool = False) -> U8:
    """Cut a square of size_px pixels around a place. It is 0 outside the image.

    step: distance of the crop's pixels in image pixels, (x, y). Steps of 2 or more average the pixels in between.
    """
    out = np.empty((size_px, size_px), np.uint8)
    half = (size_px - 1) / 2
    kernel = mean_kernel if min(step) >= 2.0 else crop_kernel
    kernel(image, centre_px[0] - half * step[0], centre_px[1] - half * step[1], *step, flip, out)
    return out


def step_of(spacing: Spacing, scale_mm: float) -> Point:
    """Image pixels per crop pixel, (x, y)."""
    return scale_mm / spacing.x_mm, scale_mm / spacing.y_mm


def working_scale(shape: tuple[int, ...], spacing: Spacing, size_px: int, scale_mm: float) -> float:
    """Scale of a crop in mm per pixel: scale_mm, or finer in a small image.

    In a small image the needle is thin and moves little.
    """
    # chosen: a crop spans at most 0.6 of the image's longer side, and the scale stays above 0.4 scale_mm
    longer_mm = max(shape[1] * spacing.x_mm, shape[0] * spacing.y_mm)
    return max(min(scale_mm, 0.6 * longer_mm / size_px), 0.4 * scale_mm)


@dataclass(frozen=True, slots=True)
class LongerSide:
    """The longer side of a picture as the unit of length. It needs no scale, and any scale leaves it as it is."""

    x_fraction: float
    """One pixel along a row, as a fraction of the longer side, no unit."""
    y_fraction: float
    """One pixel along a column, as a fraction of the longer side, no unit."""

    def fractions(self, point_px: Point) -> Point:
        """Image pixels -> fractions of the longer side."""
        return point_px[0] * self.x_fraction, point_px[1] * self.y_fraction

    def to_px(self, point: Point) -> Point:
        """Fractions of the longer side -> image pixels."""
        return point[0] / self.x_fraction, point[1] / self.y_fraction

    def step(self, pixel: float) -> Point:
        """Image pixels per crop pixel, (x, y). pixel: size of a crop's pixel, as a fraction of the longer side."""
        return self.to_px((pixel, pixel))

    def direction(self, angle_rad: float) -> float:
        """A direction as drawn, in pixels, as one in equal lengths, rad."""
        if self.x_fraction == self.y_fraction:
            return angle_rad
        return math.atan2(self.y_fraction * math.sin(angle_rad), self.x_fraction * math.cos(angle_rad))


def longer_side(shape: tuple[int, ...], spacing: Spacing | None) -> LongerSide:
    """Longer side of a picture of (rows, columns). Of the spacing only the ratio of y to x counts, 1 if unknown."""
    ratio = 1.0 if spacing is None else spacing.y_mm / spacing.x_mm
    longer = max(float(shape[1]), shape[0] * ratio)
    return LongerSide(1.0 / longer, ratio / longer)
