"""A map of what hides the planned line from the probe, at every place of the probe, from pictures alone.

A shadow in a picture begins at what casts it. So each picture says of every scan line how far it is free and where it
is blocked. Pictures from several places of the probe add up in one grid of the tissue, as a robot's range readings add
up in an occupancy grid (Elfes 1989, doi:10.1109/2.30720). From it follows which lines would be blocked at a place where
the probe never was. Lost contact belongs to the probe's face and is kept by line.

All is in millimetres of the tissue: x along the image and z down, from the middle of the probe's face as the run began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.arrays import F32, F64
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.imaging.scan_lines import ScanGeometry

CELL_MM = 1.5  # chosen: a scan line is as wide at the depth of a rib
MAP_HALF_MM, DEEPEST_MM = 90.0, 60.0  # chosen: a bone that hides a target lies above it
CONTACT_MM = 3.5  # chosen: a shadow from less deep begins at the face
ONSET_MM = 2.0  # chosen: the onset of a shadow is known so well
MIN_HITS = 1.5  # chosen: one picture alone may be wrong
BLOCKED_FRACTION = 0.4  # chosen: of the lines that came to a cell, so many must end there
PLACE_STEP_MM = 5.0  # chosen: contact is kept for stretches of the skin as long as this
_SHAPE = (round(2 * MAP_HALF_MM / CELL_MM), round(DEEPEST_MM / CELL_MM))


@dataclass(frozen=True, slots=True, eq=False)
class ViewMap:
    """What pictures have said so far."""

    geometry: ScanGeometry
    """The scan lines that are read."""
    hits: F32
    """(n, m) number of lines that were blocked in each cell of the tissue, no unit."""
    passes: F32
    """(n, m) number of samples of lines that went through each cell, no unit."""
    lost: F32
    """(places, lines) number of pictures in which a line had no contact, by place of the probe, no unit."""
    looks: F32
    """(places,) number of pictures from each place of the probe, no unit."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    @classmethod
    def empty(cls, geometry: ScanGeometry) -> ViewMap:
        """Return a map without pictures."""
        places = round(2 * MAP_HALF_MM / PLACE_STEP_MM) + 1
        return cls(
            geometry=geometry,
            hits=np.zeros(_SHAPE, np.float32),
            passes=np.zeros(_SHAPE, np.float32),
            lost=np.zeros((places, geometry.lines), np.float32),
            looks=np.zeros(places, np.float32),
        )

    def with_picture(self, starts_mm: F32, probe_mm: Point) -> ViewMap:
        """Return the map with one more picture.

        starts_mm: (lines,) where each line's shadow begins, inf without one, as of `imaging.scan_lines`. probe_mm:
        place (x, z) of the probe.
        """
        here = _place(probe_mm[0])
        contact = starts_mm <= CONTACT_MM
        lost, looks = self.lost.copy(), self.looks.copy()
        lost[here] += contact
        looks[here] += 1
        reach = min(self.geometry.probe.depth_mm, 2 * DEEPEST_MM)
        ranges = np.arange(0.5, reach, 1.0)
        line, along = np.meshgrid(np.arange(self.geometry.lines, dtype=float), ranges, indexing="ij")
        x, z = self.geometry.from_lines(line, along)
        x, z = x + probe_mm[0], z + probe_mm[1]
        starts = starts_mm[:, None]
        free = (along < starts - ONSET_MM) & ~contact[:, None]
        blocked = (along >= starts) & (along < starts + ONSET_MM) & ~contact[:, None]
        return replace(
            self,
            hits=self.hits + _counted(x[blocked], z[blocked]),
            passes=self.passes + _counted(x[free], z[free]),
            lost=lost,
            looks=looks,
        )

    def blockers_mm(self) -> F64:
        """(n, 2) x and z of the cells that block the beam."""
        blocks = (self.hits >= MIN_HITS) & (self.hits >= BLOCKED_FRACTION * (self.hits + self.passes))
        i, j = np.nonzero(blocks)
        out: F64 = np.stack([(i + 0.5) * CELL_MM - MAP_HALF_MM, (j + 0.5) * CELL_MM], axis=1)
        return out

    def hidden(self, places_mm: F64, points_mm: F64, probe_z_mm: float = 0.0) -> F64:
        """(places, points) how much of each point is hidden from each place of the probe, 0 to 1.

        places_mm: (places,) along the image. points_mm: (points, 2) in the tissue.
        """
        geometry = self.geometry
        first = self._first_blocked_mm(places_mm, probe_z_mm)
        x = points_mm[None, :, 0] - places_mm[:, None]
        line, range_mm = geometry.to_lines(x, np.broadcast_to(points_mm[None, :, 1] - probe_z_mm, x.shape))
        rows = np.arange(len(places_mm))[:, None]
        shadow = np.zeros(line.shape)
        for aside in (-0.7, 0.0, 0.7):  # the beam is wider than a line
            k = np.clip(np.rint(line + aside), 0, geometry.lines - 1).astype(int)
            shadow += (first[rows, k] < range_mm - ONSET_MM) / 3
        k = np.clip(np.rint(line), 0, geometry.lines - 1).astype(int)
        out: F64 = np.maximum(shadow, self._contact_lost(places_mm)[rows, k])
        return out

    def _first_blocked_mm(self, places_mm: F64, probe_z_mm: float) -> F64:
        """(places, lines) range at which each line is blocked first, inf where it is free."""
        geometry, cells = self.geometry, self.blockers_mm()
        first = np.full((len(places_mm), geometry.lines), math.inf)
        if not len(cells):
            return first
        x = cells[None, :, 0] - places_mm[:, None]
        line, range_mm = geometry.to_lines(x, np.broadcast_to(cells[None, :, 1] - probe_z_mm, x.shape))
        rows = np.broadcast_to(np.arange(len(places_mm))[:, None], line.shape)
        for aside in (-1, 0, 1):
            k = np.rint(line).astype(int) + aside
            near = (np.abs(line - k) <= 0.9) & (k >= 0) & (k < geometry.lines)
            np.minimum.at(first, (rows[near], k[near]), range_mm[near])
        return first

    def _contact_lost(self, places_mm: F64) -> F64:
        """(places, lines) how often each line had no contact, 0 to 1, at the nearest place that was looked from."""
        known = np.flatnonzero(self.looks)
        if not len(known):
            return np.zeros((len(places_mm), self.geometry.lines))
        wanted = (places_mm + MAP_HALF_MM) / PLACE_STEP_MM
        nearest = known[np.abs(known[None, :] - wanted[:, None]).argmin(1)]
        out: F64 = (self.lost[nearest] / self.looks[nearest, None]).astype(np.float64)
        return out


def _place(x_mm: float) -> int:
    return round(min(max(x_mm, -MAP_HALF_MM), MAP_HALF_MM) / PLACE_STEP_MM + MAP_HALF_MM / PLACE_STEP_MM)


def _counted(x_mm: F64, z_mm: F64) -> F32:
    """Number of points in each cell."""
    i = np.floor((x_mm + MAP_HALF_MM) / CELL_MM).astype(int)
    j = np.floor(z_mm / CELL_MM).astype(int)
    inside = (i >= 0) & (i < _SHAPE[0]) & (j >= 0) & (j < _SHAPE[1])
    flat = np.bincount(i[inside] * _SHAPE[1] + j[inside], minlength=_SHAPE[0] * _SHAPE[1])
    out: F32 = flat.reshape(_SHAPE).astype(np.float32)
    return out
