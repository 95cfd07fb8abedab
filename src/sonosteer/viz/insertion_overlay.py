"""A frame of an insertion with tip, its uncertainty and the target drawn in."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Truth
from sonosteer.metrics.success import HIT_MM
from sonosteer.viz.overlay import RGB, draw_overlay

TARGET_RGB: RGB = (240, 228, 66)  # Okabe-Ito yellow


def draw_insertion(frame: Frame, estimate: Estimate, target_px: Point, truth: Truth | None = None) -> NDArray[np.uint8]:
    """(rows, columns, 3) RGB: an overlay with the target, and the circle within which a stop is a success."""
    canvas = draw_overlay(frame, estimate, truth)
    unit = max(canvas.shape[0], canvas.shape[1]) / 512
    x, y = (round(v) for v in target_px)
    size = max(6, round(9 * unit))
    cv2.drawMarker(canvas, (x, y), TARGET_RGB, cv2.MARKER_CROSS, size, max(1, round(unit)), cv2.LINE_AA)
    if frame.spacing is not None:
        axes = round(HIT_MM / frame.spacing.x_mm), round(HIT_MM / frame.spacing.y_mm)
        cv2.ellipse(canvas, (x, y), axes, 0, 0, 360, TARGET_RGB, max(1, round(unit)), cv2.LINE_AA)
    return canvas
