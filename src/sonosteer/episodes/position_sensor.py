"""A position sensor in place of images: each reading is a picture of twelve pixels, which hold its counts.

A reading goes the way of a picture. So it is watched, recorded and replayed as one. A count is a micrometre. The
counter of the readings stands in the picture, too. So a sensor that repeats itself is found, as a frozen picture is.
"""

from __future__ import annotations

import numpy as np

from sonosteer.core.errors import BrokenError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Frame, Hint, TipEstimate, Track

COUNT_MM = Spacing(0.001, 0.001)  # chosen: far less than the sensor's noise
MIDDLE = 32768  # counts on the insertion axis. The sensor reaches 32 mm to all sides
MIDDLE_PX: Point = (float(MIDDLE), float(MIDDLE))
AT = (0, 4, 8)  # pixels of the counter, y and z. The watch of the stream looks at every fourth pixel


def sensor_reading(index: int, time_s: float, tip_mm: Point) -> Frame:
    """Return a reading of the tip (y, z) across the axis, mm. Farther than 32 mm off, it is read as 32 mm."""
    pixels = np.zeros((1, 12), np.uint16)
    counts = (index % 65536, *(MIDDLE + round(v / COUNT_MM.x_mm) for v in tip_mm))
    pixels[0, list(AT)] = np.clip(counts, 0, 65535)
    return Frame(pixels, index, time_s, COUNT_MM, full_scale=65535.0)


class PositionSensor:
    """The tracker of such readings. It has no state."""

    def __init__(self, sd_mm: float) -> None:
        self.sd_mm = sd_mm

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, hint: Hint) -> None:
        """No state."""

    def step(self, state: None, frame: Frame) -> tuple[None, Estimate]:
        """Return the tip of a reading. Raises BrokenError for what is no reading."""
        if frame.pixels.shape != (1, 12):
            raise BrokenError(f"a picture of {frame.pixels.shape} pixels is no reading of a position sensor")
        _, y, z = (float(frame.pixels[0, k]) for k in AT)
        return None, TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=(y, z),
            angle_rad=0.0,
            covariance_mm2=self.sd_mm**2 * np.eye(2),
            confidence=1.0,
            state=Track.TRACKING,
            entry_px=MIDDLE_PX,
        )
