"""Measures by phase correlation how far the whole picture has moved, by breathing or by a probe that slides.

None of this is published. Least squares on brightness (Lucas-Kanade) halves the movement along fibres. At a quarter of
the size the needle's own movement pulls by a pixel. At half the size the median error is 0.06 px (simulated slides of
3 px).
"""

from __future__ import annotations

import cv2
import numpy as np

from sonosteer.core.arrays import F32, U8
from sonosteer.core.geometry import Point
from sonosteer.imaging.scratch import Scratch

REDUCE = 2  # chosen: at a quarter of the size the needle's own movement pulls by a pixel
MIN_RESPONSE = 0.15  # chosen: noise alone gives less
STILL_PX = 0.3  # chosen: below it the needle's own movement decides
MAX_FRACTION = 0.1  # chosen: of the longer side; a larger shift counts as a failure of the correlation


def reduced(image: U8) -> F32:
    """Reduce an image to half its size, for `translation`."""
    rows, columns = image.shape
    size = (max(8, columns // REDUCE), max(8, rows // REDUCE))
    out: F32 = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return out


def translation(now: F32, then: F32, scratch: Scratch) -> Point:
    """Movement (dx, dy) from `then` to `now` in px of the full image. It is (0, 0) if it cannot be measured.

    now, then: (rows, columns) from `reduced`.
    """
    if now.shape != then.shape:
        return 0.0, 0.0
    window = scratch.exactly(f"window {now.shape}", now.shape)
    if window[window.shape[0] // 2, window.shape[1] // 2] == 0.0:
        cv2.createHanningWindow(now.shape[::-1], cv2.CV_32F, window)
    (dx, dy), response = cv2.phaseCorrelate(then, now, window)
    small = max(abs(dx), abs(dy)) * REDUCE < STILL_PX
    if small or not response > MIN_RESPONSE or max(abs(dx), abs(dy)) > MAX_FRACTION * max(now.shape):
        return 0.0, 0.0
    return REDUCE * dx, REDUCE * dy
