"""A tracker for tests: the tip is the brightest pixel. Its state is the number of frames that it has seen."""

import numpy as np

from sonosteer.core.types import Lost, TipEstimate, Track


class Brightest:
    """Says how many frames it has seen by its confidence: 1 / number. Speaks of pixels, and of mm with a scale."""

    def start(self, hint):
        return 0

    def step(self, state, frame):
        grey = frame.grey()
        if grey.max() == 0:
            return state + 1, Lost(frame.index, frame.time_s, "black")
        y, x = np.unravel_index(int(grey.argmax()), grey.shape)
        covariance = np.diag([16.0, 4.0])
        mm = frame.spacing
        return state + 1, TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=(float(x), float(y)),
            angle_rad=0.5,
            covariance_mm2=None if mm is None else covariance * mm.x_mm * mm.y_mm,
            confidence=1.0 / (state + 1),
            state=Track.TRACKING,
            entry_px=(0.0, 0.0),
            shaft_px=((0.0, 0.0), (float(x), float(y))),
            box_px=(x - 2.0, y - 2.0, x + 2.0, y + 2.0),
            covariance_px2=covariance,
        )
