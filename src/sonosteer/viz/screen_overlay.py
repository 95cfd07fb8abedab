"""A scanner's screen with what was found on it: the picture's outline, and the ticks of its ruler."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError
from sonosteer.imaging.screen_layout import PictureArea
from sonosteer.imaging.screen_ruler import Ruler
from sonosteer.recording.pictures import to_png
from sonosteer.recording.tables import make_folder, writing_failed
from sonosteer.viz.overlay import RGB, SHIFT

#: Okabe-Ito: told apart by colour-blind readers too
OUTLINE: RGB = (0, 200, 140)
BOX: RGB = (86, 180, 233)
TICKS: RGB = (240, 170, 30)
OUTSIDE = 0.55  # chosen: dims what is outside of the picture, and leaves it readable


def draw_screen(grey: U8, area: PictureArea, ruler: Ruler | None) -> U8:
    """(rows, columns, 3) RGB picture of a screen. What is outside of the field of view is dimmed."""
    dimmed = np.where(area.mask > 0, grey, (grey * OUTSIDE).astype(np.uint8))
    canvas: U8 = cv2.cvtColor(dimmed, cv2.COLOR_GRAY2RGB)
    unit = max(1, round(max(grey.shape) / 640))
    left, top, width, height = area.crop_px
    cv2.rectangle(canvas, (left, top), (left + width - 1, top + height - 1), BOX, unit)
    outline, _ = cv2.findContours(area.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outline, -1, OUTLINE, unit)
    for x, y in () if ruler is None else ruler.places_px:
        at = round(x * (1 << SHIFT)), round(y * (1 << SHIFT))
        cv2.circle(canvas, at, (3 + 3 * unit) << SHIFT, TICKS, unit, cv2.LINE_AA, SHIFT)
    return canvas


def write_screen(path: Path, picture: U8) -> None:
    """Write an RGB picture as PNG. Its folder is made. Raises InputError if it cannot be written."""
    if path.suffix.lower() != ".png":
        raise InputError(f"`out` {path}: the picture is a PNG, so give a name that ends in .png")
    make_folder(path.parent)
    try:
        path.write_bytes(to_png(picture))
    except OSError as e:
        raise writing_failed(path, e, "nothing was written") from None
