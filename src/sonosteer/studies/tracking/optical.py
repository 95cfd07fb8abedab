"""A simulated optical tracking system: where it says the tip is, from markers on the needle's holder and on the probe.

Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`) give the error of their OptiTrack in the last
row of Table III. It sees markers outside the body. What it says of the tip is carried there over two lever arms.

| symbol | name here | unit |
| --- | --- | --- |
| position and direction of the holder | `marker_sd_mm`, `baseline_mm` | mm |
| distance from the markers to the tip or the image | `needle_lever_mm`, `probe_lever_mm` | mm |
| what the calibration of both left | `calibration_mm`, `calibration_deg` | mm, deg |

Departs from the paper: nothing is fitted to its row, whose markers and calibration are not published. The sizes below
are chosen here, for markers as large as a hand. The paper's angle, SD 7.14 deg, is worse than any such body would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import F64


@dataclass(frozen=True, slots=True)
class OpticalTracker:
    """Errors of two tracked bodies in the plane of the image."""

    marker_sd_mm: float = 0.5  # chosen: of one marker, jitter and what twelve low-cost cameras disagree by
    """Deviation of a marker's measured place in each direction, mm."""
    markers: int = 4  # chosen: on each body
    """Number of markers on each body."""
    baseline_mm: float = 60.0  # chosen: a hand's breadth
    """Distance between the outer markers of a body, mm."""
    needle_lever_mm: float = 150.0  # chosen: a needle of 100 mm and its holder
    """Distance from the holder's markers to the tip, mm."""
    probe_lever_mm: float = 100.0  # chosen: markers at the probe's cable end
    """Distance from the probe's markers to the middle of the image, mm."""
    calibration_mm: float = 1.0  # chosen: of a hand-made calibration
    """Deviation, from insertion to insertion, of the tip's calibrated place in each direction, mm."""
    calibration_deg: float = 1.0  # chosen: of a hand-made calibration
    """Deviation, from insertion to insertion, of each body's calibrated direction, deg."""

    def errors(self, angles_rad: Sequence[float], rng: np.random.Generator) -> tuple[F64, F64, F64]:
        """Errors of one insertion: (along the needle in mm, across it in mm, of its angle in rad), each (frames,).

        angles_rad: true direction of the needle in each frame. They are truth minus what the system says.
        """
        frames = len(angles_rad)
        turn = math.sqrt(2.0) * self.marker_sd_mm / self.baseline_mm
        shift = self.marker_sd_mm / math.sqrt(self.markers)
        bias_turn = math.radians(self.calibration_deg) * rng.standard_normal(2)
        bias = self.calibration_mm * rng.standard_normal(2)
        turns = bias_turn + turn * rng.standard_normal((frames, 2))
        shifts = shift * rng.standard_normal((frames, 2, 2))
        needle_turn, probe_turn = turns.T
        along_probe = np.sin(np.asarray(angles_rad)) * self.probe_lever_mm  # how the image's lever lies to the needle
        across_probe = np.cos(np.asarray(angles_rad)) * self.probe_lever_mm
        along = bias[0] + shifts[:, 0, 0] - shifts[:, 1, 0] - along_probe * probe_turn
        across = bias[1] + shifts[:, 0, 1] - shifts[:, 1, 1] - across_probe * probe_turn
        across += self.needle_lever_mm * needle_turn
        return along, across, needle_turn - probe_turn
