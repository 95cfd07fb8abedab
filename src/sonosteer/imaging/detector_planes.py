"""What the needle detector is shown: a picture made small, its local contrast, and what changed.

None of this is published. The detector knows no millimetres: a picture is reduced so that its longer side has the
network's size, whatever it shows.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from sonosteer.core.arrays import F32, U8

PLANES = 3
CELL_PX = 4  # side of a cell of the detector's answer, input px
STEP_PX = 32  # a network of five halvings takes sizes that are multiples of this
CONTRAST_BOX_PX = 41  # chosen: side of the box that local mean and deviation are taken over, an eighth of the picture
NEAR_PX, NEAR_PART = 96, 0.3  # chosen: input px of a look near a tip, which part of the longer side it shows
CONTRAST_GREY = 5.0  # chosen: added to the deviation, so that the noise of a black bath stays small
UNIT = 0.5  # chosen: a deviation becomes this much, as the network begins with values of about one


def reduce_picture(pixels: U8, longer_px: int) -> U8:
    """Reduce or enlarge a grey picture (rows, columns) so that its longer side has longer_px."""
    height, width = pixels.shape
    k = longer_px / max(width, height)
    size = max(round(width * k), 1), max(round(height * k), 1)
    if size == (width, height):
        return pixels
    how = cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR
    out: U8 = cv2.resize(pixels, size, interpolation=how)
    return out


def fill_planes(now: U8, earlier: U8, out: F32, inside: U8 | None = None) -> None:
    """Fill out (3, rows, columns) with grey level, local contrast and change, no unit.

    now, earlier: (h, w) grey pictures of one size, at most that of the planes. What lies beyond them is 0. inside:
    (h, w), 1 where they show the scanner's picture and 0 where they were filled up with black. Local mean and deviation
    are of what the box holds of the picture.
    """
    h, w = now.shape
    out[:] = 0.0
    if inside is not None:  # reducing and warping mix the picture's rim with the black beyond it
        now, earlier = now * inside, earlier * inside
    grey = now.astype(np.float32)
    part = _part_of_box(h, w) if inside is None else _box_mean(inside.astype(np.float32))
    part = np.maximum(part, 1 / CONTRAST_BOX_PX**2)
    mean, power = _box_mean(grey) / part, _box_mean(grey * grey) / part
    scale = UNIT / (np.sqrt(np.maximum(power - mean * mean, 0.0)) + CONTRAST_GREY)
    contrast = (grey - mean) * scale
    if inside is not None:
        contrast *= inside
    out[0, :h, :w] = grey / 255
    out[1, :h, :w] = contrast
    out[2, :h, :w] = (grey - earlier) * scale


def _box_mean(values: F32) -> F32:
    """Mean over the box round each place of (h, w). Beyond the edge is 0."""
    out: F32 = cv2.blur(values, (CONTRAST_BOX_PX, CONTRAST_BOX_PX), borderType=cv2.BORDER_CONSTANT)
    return out


@lru_cache(maxsize=16)  # the few sizes that a run looks at
def _part_of_box(h: int, w: int) -> F32:
    """Which part of the box round each place lies within a picture of (h, w), 0 to 1."""
    return _box_mean(np.ones((h, w), np.float32))
