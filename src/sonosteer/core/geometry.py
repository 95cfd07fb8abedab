"""Frames of reference: image pixels, image millimetres, probe millimetres, world millimetres.

A point in image pixels is (column, row), 0 at the centre of the first pixel. Image millimetres are pixels
times spacing. Probe millimetres are (lateral x, depth z). Their origin lies at the middle of the transducer's
face, x along the face towards the image's right, z away from it. World is whatever a tracking system says,
reached by a 4x4 homogeneous matrix. Transforms are named target first, so that they cancel like fractions:
`T_world_tip = T_world_image @ T_image_tip`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError

Point: TypeAlias = tuple[float, float]
Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spacing:
    """Millimetres per pixel along x (columns) and y (rows).

    Raises InputError unless both are finite and positive.
    """

    x_mm: float
    """Along a row, mm per pixel."""
    y_mm: float
    """Along a column, mm per pixel."""

    def __post_init__(self) -> None:
        for name, value in (("x", self.x_mm), ("y", self.y_mm)):
            if not 0.0 < value < math.inf:
                raise InputError(
                    f"spacing along {name} is {value} mm per pixel: it must be a positive number, e.g. 0.1"
                )

    def to_mm(self, point_px: Point) -> Point:
        """Image pixels -> image mm."""
        return point_px[0] * self.x_mm, point_px[1] * self.y_mm

    def to_px(self, point_mm: Point) -> Point:
        """Image mm -> image pixels."""
        return point_mm[0] / self.x_mm, point_mm[1] / self.y_mm


@dataclass(frozen=True, slots=True)
class _Face:
    """Where the middle of a transducer's face is drawn, and the Cartesian coordinates that start there."""

    apex_px: Point
    """Pixel of the middle of the transducer's face, px: (column, row). For a sector, its point of least depth."""

    def to_probe_mm(self, point_px: Point, spacing: Spacing) -> Point:
        """Image pixels -> (lateral, depth) in mm from the middle of the face."""
        return spacing.to_mm((point_px[0] - self.apex_px[0], point_px[1] - self.apex_px[1]))

    def to_image_px(self, point_mm: Point, spacing: Spacing) -> Point:
        """(lateral, depth) in mm -> image pixels."""
        x, y = spacing.to_px(point_mm)
        return x + self.apex_px[0], y + self.apex_px[1]


@dataclass(frozen=True, slots=True)
class LinearProbe(_Face):
    """A linear array drawn as a rectangle."""

    width_mm: float
    """Length of the face, mm."""
    depth_mm: float
    """Imaged depth, mm."""

    def beam_angle_rad(self, point_mm: Point) -> float:
        """Direction of the beam through a point, from straight down towards +x: always 0 here."""
        return 0.0

    def contains_mm(self, point_mm: Point) -> bool:
        """True inside the field of view."""
        return abs(point_mm[0]) <= self.width_mm / 2 and 0.0 <= point_mm[1] <= self.depth_mm


@dataclass(frozen=True, slots=True)
class ConvexProbe(_Face):
    """A curved array drawn as a sector."""

    radius_mm: float
    """Radius of the face, mm."""
    fov_rad: float
    """Opening angle of the sector, rad."""
    depth_mm: float
    """Imaged depth along the middle line, mm."""

    def to_polar(self, point_mm: Point) -> Point:
        """(lateral, depth) in mm -> (range from the face in mm, beam angle in rad)."""
        x, z = point_mm[0], point_mm[1] + self.radius_mm
        return math.hypot(x, z) - self.radius_mm, math.atan2(x, z)

    def from_polar(self, range_mm: float, beam_rad: float) -> Point:
        """(range, beam angle) -> (lateral, depth) in mm."""
        r = range_mm + self.radius_mm
        return r * math.sin(beam_rad), r * math.cos(beam_rad) - self.radius_mm

    def beam_angle_rad(self, point_mm: Point) -> float:
        """Direction of the beam through a point, from straight down towards +x."""
        return self.to_polar(point_mm)[1]

    def contains_mm(self, point_mm: Point) -> bool:
        """True inside the field of view."""
        range_mm, beam_rad = self.to_polar(point_mm)
        return 0.0 <= range_mm <= self.depth_mm and abs(beam_rad) <= self.fov_rad / 2


Probe: TypeAlias = LinearProbe | ConvexProbe


def rigid(rotation: NDArray[np.float64], translation_mm: tuple[float, float, float]) -> Matrix:
    """4x4 homogeneous matrix of a rotation (3, 3) and a translation in mm."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation_mm
    return T


def transform_point(T: Matrix, point_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Apply a 4x4 homogeneous matrix to a point in mm."""
    x, y, z, _ = (T @ np.array([*point_mm, 1.0])).tolist()
    return x, y, z


def axis_angle_rad(direction: Point, spacing: Spacing) -> float:
    """Angle of an image-pixel direction measured in millimetres, from +x towards +y (down)."""
    return math.atan2(direction[1] * spacing.y_mm, direction[0] * spacing.x_mm)
