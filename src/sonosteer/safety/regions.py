"""Convex regions of tissue that the tip must not enter, with a stated probability.

Points are mm of the first frame, x along the image and y down, as `Task` has them. They stay in the tissue while the
probe moves. Let d be the unit vector from the tip's path to the nearest point of a convex region, and P the tip's
covariance. The region lies beyond a line across d at that point, and the path lies before it. The true path is off by
the same error all along. It can enter only if that error exceeds the distance along d. This happens with probability
1 - p at most, if distance > Phi^-1(p) sqrt(d^T P d).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point

Path: TypeAlias = tuple[Point, Point]
Covariance: TypeAlias = tuple[float, float, float]  # xx, xy, yy in mm^2


@dataclass(frozen=True, slots=True)
class Circle:
    """A vessel or nerve in cross-section. Raises InputError unless the centre is finite and the radius positive."""

    name: str
    """What it is, for messages."""
    center_mm: Point
    """Centre, mm of the first frame: x along the image, y down."""
    radius_mm: float
    """Half its width, mm."""

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, self.center_mm)) and 0.0 < self.radius_mm < math.inf):
            raise InputError(f"forbidden region {self.name}: {self.center_mm}, {self.radius_mm} mm is no circle")

    def nearest(self, path: Path) -> tuple[float, Point]:
        """Return (distance from a straight path in mm, unit vector towards the region). Not above 0 if it enters."""
        distance, towards = _to(_on_segment(self.center_mm, path), self.center_mm)
        return distance - self.radius_mm, towards


@dataclass(frozen=True, slots=True)
class Polygon:
    """A convex polygon. Raises InputError for one that is not convex: cover that with several convex ones."""

    name: str
    """What it is, for messages."""
    corners_mm: tuple[Point, ...]
    """Corners either way round, mm of the first frame: x along the image, y down."""

    def __post_init__(self) -> None:
        turns = [_side(edge, c) for edge in self._edges() for c in self.corners_mm if c not in edge]
        if len(self.corners_mm) < 3 or not (all(t > 0 for t in turns) or all(t < 0 for t in turns)):
            raise InputError(
                f"forbidden region {self.name}: its corners must go round a convex polygon, no three in a line"
            )

    def nearest(self, path: Path) -> tuple[float, Point]:
        """Return (distance from a straight path in mm, unit vector towards the region). 0 if the path enters."""
        if self._holds(path[0]) or any(_cross(path, edge) for edge in self._edges()):
            return 0.0, (0.0, 0.0)
        corners = [_to(_on_segment(c, path), c) for c in self.corners_mm]
        ends = [_to(end, _on_segment(end, edge)) for edge in self._edges() for end in path]
        return min(corners + ends)

    def _edges(self) -> Iterator[Path]:
        return zip(self.corners_mm, self.corners_mm[1:] + self.corners_mm[:1], strict=True)

    def _holds(self, point: Point) -> bool:
        sides = [_side(edge, point) for edge in self._edges()]
        return all(s >= 0 for s in sides) or all(s <= 0 for s in sides)


Region: TypeAlias = Circle | Polygon


def margin_mm(towards: Point, covariance_mm2: Covariance, clearance: float) -> float:
    """Return the distance to keep along `towards`, mm, so that the tip is clear with this probability."""
    (x, y), (xx, xy, yy) = towards, covariance_mm2
    return NormalDist().inv_cdf(clearance) * math.sqrt(max(x * x * xx + 2 * x * y * xy + y * y * yy, 0.0))


def _to(start: Point, end: Point) -> tuple[float, Point]:
    x, y = end[0] - start[0], end[1] - start[1]
    distance = math.hypot(x, y)
    return (distance, (x / distance, y / distance)) if distance > 0 else (0.0, (0.0, 0.0))


def _on_segment(point: Point, segment: Path) -> Point:
    """Return the point of the segment that is nearest to a point."""
    (ax, ay), (bx, by) = segment
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    along = ((point[0] - ax) * dx + (point[1] - ay) * dy) / length2 if length2 > 0 else 0.0
    fraction = min(max(along, 0.0), 1.0)
    return ax + fraction * dx, ay + fraction * dy


def _side(edge: Path, point: Point) -> float:
    """Return a positive number on one side of the line through an edge, a negative one on the other."""
    (ax, ay), (bx, by) = edge
    return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)


def _cross(one: Path, other: Path) -> bool:
    """Return True if two segments cross at a point inside both."""
    return _side(one, other[0]) * _side(one, other[1]) < 0 and _side(other, one[0]) * _side(other, one[1]) < 0
