"""A tracker of your own in under ten lines: tried, compared with the built-in ones, and held to their laws.

Run: .venv/bin/python examples/own_tracker.py
On the command line, in this folder: sonosteer track clip.mp4 --method own_tracker:Brightest --out results
"""

from __future__ import annotations

import cv2
import numpy as np

from sonosteer import Lost, TipEstimate, Track, compare, make_tracker, simulate, track
from sonosteer.testing import check_tracker


class Brightest:
    def start(self, hint):
        return None  # all memory of a tracker is in its state; this one has none

    def step(self, state, frame):
        image = cv2.GaussianBlur(frame.grey(), (0, 0), 2.0)
        y, x = np.unravel_index(image.argmax(), image.shape)
        if image[y, x] == 0:
            return state, Lost(frame.index, frame.time_s, "a black image")
        tip, covariance = (float(x), float(y)), np.diag([100.0, 100.0])  # px; mm^2 along and across the needle
        return state, TipEstimate(frame.index, frame.time_s, tip, 0.7, covariance, 0.5, Track.TRACKING, (0.0, 0.0))


def main() -> float:
    """Print how it compares; return its mean tip error in mm, which is large: the brightest place is rarely the tip."""
    clip = simulate("in-plane-linear", seed=7, frames=slice(30, 110))
    result = track(clip, Brightest)
    print(result)
    table = compare(clip, [Brightest, "kf+f", "auto"], enters="left")
    print(table)
    make_tracker("own_tracker:Brightest")  # its name, wherever a method's name is taken
    check_tracker(Brightest)  # raises AssertionError if it breaks a law
    print("Brightest keeps the laws that every tracker keeps")
    return table.rows[0]["mean_mm"]


if __name__ == "__main__":
    main()
