"""What the needle detector is shown: a picture made small, its local contrast, and what changed.

None of this is published. The detector knows no millimetres: a picture is reduced so that its longer side has the
network's size, whatever it shows.
"""

from __future__ import annotations

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


def fill_planes(now: U8, earlier: U8, out: F32) -> None:
    """Fill out (3, rows, columns) with grey level, local contrast and change, no unit.

    now, earlier: (h, w) grey pictures of one size, at most that of the planes. What lies beyond them is 0.
    """
    h, w = now.shape
    out[:] = 0.0
    grey = now.astype(np.float32)
    mean = cv2.blur(grey, (CONTRAST_BOX_PX, CONTRAST_BOX_PX), borderType=cv2.BORDER_REFLECT_101)
    power = cv2.blur(grey * grey, (CONTRAST_BOX_PX, CONTRAST_BOX_PX), borderType=cv2.BORDER_REFLECT_101)
    scale = UNIT / (np.sqrt(np.maximum(power - mean * mean, 0.0)) + CONTRAST_GREY)
    out[0, :h, :w] = grey / 255
    out[1, :h, :w] = (grey - mean) * scale
    out[2, :h, :w] = (grey - earlier) * scale
