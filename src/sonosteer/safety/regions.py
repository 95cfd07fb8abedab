"""Where the tip must not go: convex regions of tissue, kept clear of with a stated probability.

Points are mm of the first frame, x along the image and y down, as `Task` has them: they stay in the tissue while the
probe moves. Let d be the unit vector from the tip's path to the nearest point of a convex region, P the tip's
covariance. The region lies beyond a line across d there and the path before it, so the true path, off by the same
error all along, can enter only where that error exceeds the distance along d: with probability 1 - p at most, if
distance > Phi^-1(p) sqrt(d^T P d).
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
    """A vessel or nerve in cross-section. InputError unless its numbers are finite and its radius is positive."""

    name: str
    center_mm: Point
    radius_mm: float

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, self.center_mm)) and 0.0 < self.radius_mm < math.inf):
            raise InputError(f"forbidden region {self.name}: {self.center_mm}, {self.radius_mm} mm is no circle")

    def nearest(self, path: Path) -> tuple[float, Point]:
        """(distance from a straight path in mm, unit vector towards the region); not above 0 where the path enters."""
        distance, towards = _to(_on_segment(self.center_mm, path), self.center_mm)
        return distance - self.radius_mm, towards


@dataclass(frozen=True, slots=True)
class Polygon:
    """Convex, corners either way round. InputError for anything else: cover that with several convex ones."""

    name: str
    corners_mm: tuple[Point, ...]

    def __post_init__(self) -> None:
        turns = [_side(edge, c) for edge in self._edges() for c in self.corners_mm if c not in edge]
        if len(self.corners_mm) < 3 or not (all(t > 0 for t in turns) or all(t < 0 for t in turns)):
            raise InputError(
                f"forbidden region {self.name}: its corners must go round a convex polygon, no three in a line"
            )

    def nearest(self, path: Path) -> tuple[float, Point]:
        """(distance from a straight path in mm, unit vector towards the region); 0 where the path enters."""
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
    """Distance to keep along `towards` so that the tip is clear with this probability."""
    (x, y), (xx, xy, yy) = towards, covariance_mm2
    return NormalDist().inv_cdf(clearance) * math.sqrt(max(x * x * xx + 2 * x * y * xy + y * y * yy, 0.0))


def _to(start: Point, end: Point) -> tuple[float, Point]:
    x, y = end[0] - start[0], end[1] - start[1]
    distance = math.hypot(x, y)
    return (distance, (x / distance, y / distance)) if distance > 0 else (0.0, (0.0, 0.0))


def _on_segment(point: Point, segment: Path) -> Point:
    """The point of the segment nearest to a point."""
    (ax, ay), (bx, by) = segment
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    along = ((point[0] - ax) * dx + (point[1] - ay) * dy) / length2 if length2 > 0 else 0.0
    share = min(max(along, 0.0), 1.0)
    return ax + share * dx, ay + share * dy


def _side(edge: Path, point: Point) -> float:
    """Positive on one side of the line through an edge, negative on the other."""
    (ax, ay), (bx, by) = edge
    return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)


def _cross(one: Path, other: Path) -> bool:
    """True where two segments cross at a point inside both."""
    return _side(one, other[0]) * _side(one, other[1]) < 0 and _side(other, one[0]) * _side(other, one[1]) < 0
