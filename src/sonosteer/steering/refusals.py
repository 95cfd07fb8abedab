"""Sightings that a filter refused, and whether they agree with one another.

Not published. A gate keeps misread sightings out of a filter. A filter that has gone wrong refuses the right ones with
the same gate, for good. The way out: misread sightings disagree, right ones do not. Refused sightings whose distances
from the prediction lie on one straight line over the depth tell where the needle is, and the filter starts anew there.

| symbol | name here | unit |
| --- | --- | --- |
| r_y, r_z | `y_mm`, `z_mm`, sighting less prediction | mm |
| l | `depth_mm`, inserted length | mm |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.core.geometry import Point

APART_MM = 0.5  # chosen: of sightings nearer to each other only the first is kept
#: chosen: so many refused sightings running must agree, over so much insertion. An artefact that is taken for the tip
#: seldom lasts that long. Over such a way a needle's bend and turns leave less than 0.1 mm beside a straight line
ENOUGH, MIN_WAY_MM = 8, 7.5
MAX_WAY_MM = 10.0  # chosen: older ones are forgotten
AGREE_SD = 2.0  # chosen: largest root mean square distance from their line, in deviations of a sighting


@dataclass(frozen=True, slots=True)
class RefusedSighting:
    """One sighting that was refused, as its distance from what was predicted."""

    depth_mm: float
    """Inserted length, mm."""
    y_mm: float
    """Sighting less prediction along y, mm."""
    z_mm: float
    """Sighting less prediction along z, mm."""
    sd_mm: float
    """Standard deviation of the sighting each way, mm."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Where sightings that agree say that the tip is, beside the prediction. At the depth of the last of them."""

    place_mm: Point
    """Sighting less prediction, mm: (y, z)."""
    slope_rad: Point
    """Change of that with the depth, rad: (y, z)."""
    place_sd_mm: float
    """Standard deviation of the place each way, mm."""
    slope_sd_rad: float
    """Standard deviation of the slope each way, rad."""


def with_refused(refused: tuple[RefusedSighting, ...], this: RefusedSighting) -> tuple[RefusedSighting, ...]:
    """Return the refused sightings with one more, without those that are too old or too near to tell something new."""
    if refused and this.depth_mm - refused[-1].depth_mm < APART_MM:
        return refused
    return (*(r for r in refused if this.depth_mm - r.depth_mm <= MAX_WAY_MM), this)


def agreed_line(refused: tuple[RefusedSighting, ...]) -> Agreement | None:
    """Return what refused sightings agree on. None if they are too few, over too short a way, or do not agree."""
    n = len(refused)
    if n < ENOUGH or refused[-1].depth_mm - refused[0].depth_mm < MIN_WAY_MM:
        return None
    way = np.array([r.depth_mm for r in refused]) - refused[-1].depth_mm
    sd = float(np.mean([r.sd_mm for r in refused]))
    design = np.stack([np.ones(n), way], axis=1)
    seen = np.array([(r.y_mm, r.z_mm) for r in refused])
    line, *_ = np.linalg.lstsq(design, seen, rcond=None)
    left = seen - design @ line
    if not float(np.sqrt(np.sum(left**2) / (2 * (n - 2)))) <= AGREE_SD * sd:
        return None
    covariance = np.linalg.inv(design.T @ design) * sd**2
    return Agreement(
        place_mm=(float(line[0, 0]), float(line[0, 1])),
        slope_rad=(float(line[1, 0]), float(line[1, 1])),
        place_sd_mm=float(np.sqrt(covariance[0, 0])),
        slope_sd_rad=float(np.sqrt(covariance[1, 1])),
    )
