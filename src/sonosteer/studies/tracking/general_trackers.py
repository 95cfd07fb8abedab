"""What a user would pick instead: OpenCV's general trackers and Lucas-Kanade, started on the true tip.

They are those of `trackers/opencv`, under the names of the study. The first frame is the click.
"""

from __future__ import annotations

from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint
from sonosteer.trackers.table import make_tracker

#: name in the study -> name in the table
GENERAL = {"csrt": "csrt", "kcf": "kcf", "mil": "mil", "lucas-kanade": "lk"}


class GeneralRun:
    """One of them on one clip, frame by frame."""

    def __init__(self, name: str, tip_px: Point) -> None:
        self._tracker = make_tracker(GENERAL[name])
        self._state = self._tracker.start(Hint(start_px=tip_px))

    def step(self, frame: Frame) -> Estimate:
        """What it says of the next frame. The first one is where it starts."""
        self._state, estimate = self._tracker.step(self._state, frame)
        return estimate
