"""Three trackers that know nothing. Whatever ranks behind one of them does not help.

They have the shape of every tracker, so that the benchmark runs them like all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track

SD = 0.1  # chosen: what they claim of their error, as a part of the longer side


@dataclass(frozen=True)
class AlwaysLost:
    """Says nothing, ever."""

    def prepare(self) -> None:
        """Prepare nothing."""

    def start(self, hint: Hint) -> None:
        """Return no state."""

    def step(self, state: None, frame: Frame) -> tuple[None, Estimate]:
        """Return `Lost`."""
        return None, Lost(frame.index, frame.time_s, "it never says anything")


@dataclass(frozen=True)
class AlwaysCentre:
    """Claims the middle of the picture."""

    def prepare(self) -> None:
        """Prepare nothing."""

    def start(self, hint: Hint) -> None:
        """Return no state."""

    def step(self, state: None, frame: Frame) -> tuple[None, Estimate]:
        """Return the middle of the picture."""
        width, height = frame.size_px
        return None, _claim(frame, ((width - 1) / 2, (height - 1) / 2), 0.5)


@dataclass(frozen=True)
class AtRandom:
    """Claims any place of the picture, as sure as chance says."""

    seed: int = 0
    """Seed of its chance."""

    def prepare(self) -> None:
        """Prepare nothing."""

    def start(self, hint: Hint) -> None:
        """Return no state."""

    def step(self, state: None, frame: Frame) -> tuple[None, Estimate]:
        """Return a place drawn from the seed and the frame's number."""
        x, y, sure = np.random.default_rng([self.seed, frame.index]).random(3).tolist()
        width, height = frame.size_px
        return None, _claim(frame, (x * (width - 1), y * (height - 1)), sure)


def _claim(frame: Frame, tip_px: Point, confidence: float) -> TipEstimate:
    sd_px = SD * max(frame.size_px)
    return TipEstimate(
        frame_index=frame.index,
        time_s=frame.time_s,
        tip_px=tip_px,
        angle_rad=math.pi / 4,
        covariance_mm2=None,
        confidence=confidence,
        state=Track.TRACKING,
        entry_px=(0.0, 0.0),
        covariance_px2=np.diag([sd_px**2, sd_px**2]),
    )
