"""Reads a picture along its scan lines: how bright each is, and from where on something above shadows it.

Reference: Karamalis et al. 2012 (doi:10.1016/j.media.2012.07.005) ask how much of a picture can be trusted, since bone,
air and lost contact leave dark stripes along the beam. Departs from the paper: it solves random walks over the whole
picture. Here each scan line is read by itself, since a shadow follows its line to the bottom. That is the measure which
the paper compares itself with, and it takes a millisecond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.geometry import ConvexProbe, Point, Probe, Spacing

SCAN_LINES = 64  # chosen: 1 degree each for a usual convex probe
RANGE_STEP_MM = 1.0  # chosen: the grain of speckle is as long
BLUR_MM = 2.0  # chosen: a few grains of speckle
SHADOW_LEVEL = 0.6  # chosen: grey level of a shadow, as a fraction of what the other lines have at that range
BELOW_MM = 30.0  # chosen: longer than a dark tumour or vessel
BELOW_FRACTION = 0.8  # chosen: a needle or a wall may cross a shadow
USUAL_PERCENTILE = 65.0  # chosen: as bright as the better half of the lines


@dataclass(frozen=True, slots=True)
class ScanGeometry:
    """Where the scan lines of a transducer run, in its own millimetres: x along the face, z away from it.

    A line is the middle of a stripe, so that the outermost ones lie half a stripe within the edge.
    """

    probe: Probe
    """The transducer."""
    lines: int = SCAN_LINES
    """Number of lines that are read."""

    @property
    def steps(self) -> int:
        """Number of samples along a line."""
        return max(round(self.probe.depth_mm / RANGE_STEP_MM), 1)

    @property
    def end(self) -> float:
        """The edge: rad for a convex probe, mm for a linear one."""
        return self.probe.fov_rad / 2 if isinstance(self.probe, ConvexProbe) else self.probe.width_mm / 2

    def to_lines(self, x_mm: F64, z_mm: F64) -> tuple[F64, F64]:
        """(x, z) in mm -> (number of the line, range in mm). Lines may be fractional, and lie outside 0 to lines-1."""
        probe = self.probe
        if isinstance(probe, ConvexProbe):
            deep = z_mm + probe.radius_mm
            across, range_mm = np.arctan2(x_mm, deep), np.hypot(x_mm, deep) - probe.radius_mm
        else:
            across, range_mm = x_mm, z_mm
        return (across / self.end + 1.0) * self.lines / 2 - 0.5, range_mm

    def from_lines(self, line: F64, range_mm: F64) -> tuple[F64, F64]:
        """(number of the line, range in mm) -> (x, z) in mm."""
        across = ((line + 0.5) * 2 / self.lines - 1.0) * self.end
        probe = self.probe
        if not isinstance(probe, ConvexProbe):
            return across, range_mm
        r = range_mm + probe.radius_mm
        return r * np.sin(across), r * np.cos(across) - probe.radius_mm

    def beam_rad(self, x_mm: F64, z_mm: F64) -> F64:
        """Direction of the beam through points, rad from straight down towards +x."""
        probe = self.probe
        if not isinstance(probe, ConvexProbe):
            return np.zeros_like(x_mm)
        out: F64 = np.arctan2(x_mm, z_mm + probe.radius_mm)
        return out


@lru_cache(maxsize=8)
def _where(
    geometry: ScanGeometry, spacing: Spacing, size_px: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Column and row of every sample, and whether it lies in the picture. All (lines, steps)."""
    line, range_mm = np.meshgrid(
        np.arange(geometry.lines, dtype=float), (np.arange(geometry.steps) + 0.5) * RANGE_STEP_MM, indexing="ij"
    )
    x, z = geometry.from_lines(line, range_mm)
    column = x / spacing.x_mm + geometry.probe.apex_px[0]
    row = z / spacing.y_mm + geometry.probe.apex_px[1]
    width, height = size_px
    edge_x, edge_y = BLUR_MM / spacing.x_mm, BLUR_MM / spacing.y_mm
    inside = (column >= edge_x) & (column <= width - 1 - edge_x) & (row >= 0) & (row <= height - 1 - edge_y)
    inside.flags.writeable = False
    return column.astype(np.float32), row.astype(np.float32), inside


def scan_lines(grey: U8, geometry: ScanGeometry, spacing: Spacing) -> F32:
    """(lines, steps) grey level along every scan line, smoothed over `BLUR_MM`. NaN outside the picture."""
    columns, rows, inside = _where(geometry, spacing, (grey.shape[1], grey.shape[0]))
    kernel = tuple(max(round(BLUR_MM / mm), 1) for mm in (spacing.x_mm, spacing.y_mm))
    smooth = cv2.blur(grey, kernel)
    read: F32 = cv2.remap(smooth, columns, rows, cv2.INTER_LINEAR).astype(np.float32)
    read[~inside] = np.nan
    return read


def usual_levels(read: F32) -> F32:
    """(steps,) grey level that a line without a shadow has at each range. NaN where no line is in the picture.

    read: (..., lines, steps), as of `scan_lines`. Taken over the neighbouring ranges as well, so that one bright layer
    makes no shadow of the rest.
    """
    flat = read.reshape(-1, read.shape[-1])
    known = np.isfinite(flat).any(0)
    levels = np.full(flat.shape[1], np.nan, np.float32)
    if known.any():
        levels[known] = np.nanpercentile(flat[:, known], USUAL_PERCENTILE, axis=0)
        near = 10  # chosen: 10 mm either way
        padded = np.pad(levels, near, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1)
        levels[known] = np.nanmedian(windows[known], axis=1)
    return levels


def shadow_starts_mm(read: F32, usual: F32) -> F32:
    """(lines,) range in mm from which on a line is shadowed, inf where it is not.

    read: (lines, steps). usual: (steps,). A shadow is dark for `BELOW_MM` but for a few samples. A line whose shadow
    begins at the face has lost contact.
    """
    dark = read < SHADOW_LEVEL * usual
    known = np.isfinite(read)
    below = round(BELOW_MM / RANGE_STEP_MM)
    darks, seen = (np.cumsum(np.pad(a.astype(np.float32), ((0, 0), (1, below))), axis=1) for a in (dark & known, known))
    n = read.shape[1]
    of_dark, of_seen = (a[:, below : below + n] - a[:, :n] for a in (darks, seen))
    starts = dark & (of_seen >= 0.5 * below) & (of_dark >= BELOW_FRACTION * of_seen)
    first = starts.argmax(1) * np.float32(RANGE_STEP_MM)
    return np.where(starts.any(1), first, np.float32(math.inf)).astype(np.float32)


def in_view(geometry: ScanGeometry, point_mm: Point, spacing: Spacing, size_px: tuple[int, int], margin: float) -> bool:
    """True if a point (x, z) in the probe's mm lies in field of view and picture. margin: lines from either edge."""
    (line,), (range_mm,) = geometry.to_lines(np.array([point_mm[0]]), np.array([point_mm[1]]))
    x, y = geometry.probe.to_image_px(point_mm, spacing)
    return bool(
        margin <= line <= geometry.lines - 1 - margin
        and 0.0 <= range_mm <= geometry.probe.depth_mm
        and 0 <= x < size_px[0]
        and 0 <= y < size_px[1]
    )
