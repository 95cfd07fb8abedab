"""What a user would pick instead: OpenCV's general trackers and Lucas-Kanade, started on the true tip.

None of them knows an angle or an uncertainty. Each follows a box of 48 px, or points in it, from the first frame on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point

BOX_PX = 48
Step = Callable[[U8], Point | None]


def start_general(name: str, image: U8, tip_px: Point) -> Step:
    """A function that takes the next grey image and gives the tip in px, or None when it has lost it."""
    if name == "lucas-kanade":
        return _lucas_kanade(image, tip_px)
    tracker: Any = getattr(cv2, f"Tracker{name.upper()}_create")()
    half = BOX_PX // 2
    x = min(max(round(tip_px[0]) - half, 0), image.shape[1] - BOX_PX)
    y = min(max(round(tip_px[1]) - half, 0), image.shape[0] - BOX_PX)
    cv2.setRNGSeed(0)
    tracker.init(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), (x, y, BOX_PX, BOX_PX))
    offset = (tip_px[0] - x, tip_px[1] - y)

    def step(now: U8) -> Point | None:
        found, box = tracker.update(cv2.cvtColor(now, cv2.COLOR_GRAY2BGR))
        return (box[0] + offset[0], box[1] + offset[1]) if found else None

    return step


def _lucas_kanade(image: U8, tip_px: Point) -> Step:
    """Pyramidal Lucas-Kanade on up to 30 corners of the box. The tip moves by their median, as do new corners."""
    last, tip = image, tip_px
    corners = _corners(image, tip)

    def step(now: U8) -> Point | None:
        nonlocal last, tip, corners
        if corners is None:
            return None
        moved, found, _ = cv2.calcOpticalFlowPyrLK(last, now, corners, None, winSize=(21, 21), maxLevel=3)
        good = found[:, 0] == 1
        if good.sum() < 3:
            corners = None
            return None
        dx, dy = np.median((moved - corners)[good, 0], axis=0).tolist()
        last, tip = now, (tip[0] + dx, tip[1] + dy)
        corners = moved[good] if good.sum() >= 8 else _corners(now, tip)
        return tip

    return step


def _corners(image: U8, tip_px: Point) -> NDArray[np.float32] | None:
    mask = np.zeros_like(image)
    x, y = (round(v) for v in tip_px)
    mask[max(y - BOX_PX // 2, 0) : y + BOX_PX // 2, max(x - BOX_PX // 2, 0) : x + BOX_PX // 2] = 1
    found: NDArray[np.float32] | None = cv2.goodFeaturesToTrack(image, 30, 0.01, 3, mask=mask)
    return found
