"""Chooses the probe's place for every depth of the needle, so that the planned line stays in view at the least cost.

Dynamic programming (Bellman) over depth and place. The cost is in millimetres of hidden way. A moved probe costs the
time that it takes, and `MM_PER_S` says how much hidden way a second is worth.

| symbol | name here | unit |
| --- | --- | --- |
| h(x, s) | `hidden`, fraction of the tip that is hidden at depth s from place x | no unit |
| m(x, s) | `misaligned_rad`, angle between the beam and the needle's normal | rad |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point, Spacing
from sonosteer.policies.view_map import ViewMap

DEPTH_STEP_MM = 2.0  # chosen: of depth
PLACE_MM = 1.0  # chosen: from place to place
MM_PER_S = 4.0  # chosen: so much hidden way is worth a second
SHORT_COST, LONG_COST = 0.3, 1.2  # chosen: a policy pushes on through a short shadow, and gets lost in a long one
LONG_MM = 13.0  # chosen: a stretch that is hidden from end to end costs both
OUT_COST = 2.0  # chosen: worse than a shadow: a tip beyond the picture cannot come back by itself
ANGLE_COST = 0.15  # chosen: of a needle whose normal lies MISALIGNED_RAD from the beam
MISALIGNED_RAD = math.radians(45)
EDGE_LINES = 3.0  # chosen: from the edge of the field of view
FIRST_WEIGHT = 4.0  # chosen: the tip must be seen where the needle waits, and where it stops
FREE_PER_STEP_MM = 1.5  # chosen: so far the probe slides along while the needle goes a step
SLIDE_COST = 0.02  # chosen: of a mm that the probe slides along, so that it does not for nothing
SETTLE_S = 0.5  # chosen: lost with every stop for a move of the probe


@dataclass(frozen=True, slots=True, eq=False)
class ViewPlan:
    """Where the probe shall be at which depth of the needle."""

    depths_mm: F64
    """(n,) inserted length, mm."""
    places_mm: F64
    """(n,) place of the probe along the image, mm."""
    hidden: F64
    """(n,) how much of the tip will be hidden, 0 to 1."""
    cost_mm: float
    """Cost of the plan, mm of hidden way."""
    seconds: float
    """Time that the probe's moves take while the needle waits, s."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    def place_mm(self, depth_mm: float) -> float:
        """Return the place of the probe for a depth, mm: the next one that is planned."""
        k = int(np.searchsorted(self.depths_mm, depth_mm - 1e-9))
        return float(self.places_mm[min(k, len(self.places_mm) - 1)])


@dataclass(frozen=True, slots=True)
class PictureSize:
    """How large the pictures are."""

    spacing: Spacing
    """Millimetres per pixel."""
    size_px: tuple[int, int]
    """(width, height), px."""


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """The way from the tip to the target."""

    tip_mm: Point
    """Tip (x, z) in the tissue, as in `view_map`, mm."""
    target_mm: Point
    """Target (x, z) there, mm."""
    depth_mm: float
    """Inserted length now, mm."""

    @property
    def length_mm(self) -> float:
        """Way that is left, mm."""
        return math.dist(self.tip_mm, self.target_mm)

    @property
    def direction(self) -> Point:
        """Unit vector from tip to target."""
        length = max(self.length_mm, 1e-6)
        return (self.target_mm[0] - self.tip_mm[0]) / length, (self.target_mm[1] - self.tip_mm[1]) / length

    def advanced(self, depth_mm: float) -> PlannedLine:
        """Return the way that is left once the needle has gone on to a depth without being seen."""
        dx, dz = self.direction
        went = min(depth_mm - self.depth_mm, max(self.length_mm - 1e-3, 0.0))
        return PlannedLine((self.tip_mm[0] + went * dx, self.tip_mm[1] + went * dz), self.target_mm, depth_mm)

    def points_mm(self) -> tuple[F64, F64]:
        """Return the way in (n,) mm, and (n, 2) points every DEPTH_STEP_MM, the tip and the target included."""
        way = np.append(np.arange(0.0, max(self.length_mm - 0.5 * DEPTH_STEP_MM, 0.1), DEPTH_STEP_MM), self.length_mm)
        d = np.array(self.direction)
        return way, np.array(self.tip_mm) + way[:, None] * d


def costs_mm(
    view: ViewMap, line: PlannedLine, places_mm: F64, picture: PictureSize, probe_z_mm: float
) -> tuple[F64, F64]:
    """(places, points) cost per mm of way, and how much of each point is hidden from each place, 0 to 1."""
    _, points = line.points_mm()
    geometry, spacing, size_px = view.geometry, picture.spacing, picture.size_px
    hidden = view.hidden(places_mm, points, probe_z_mm)
    x = points[None, :, 0] - places_mm[:, None]
    z = np.broadcast_to(points[None, :, 1] - probe_z_mm, x.shape)
    number, range_mm = geometry.to_lines(x, z)
    apex_x, apex_y = geometry.probe.apex_px
    column, row = x / spacing.x_mm + apex_x, z / spacing.y_mm + apex_y
    out = (number < EDGE_LINES) | (number > geometry.lines - 1 - EDGE_LINES)
    out |= (range_mm < 0) | (range_mm > geometry.probe.depth_mm - 1.0)
    edge_x, edge_y = 4.0 / spacing.x_mm, 4.0 / spacing.y_mm  # chosen: 4 mm, a tracker wants some picture around a tip
    out |= (column < edge_x) | (column > size_px[0] - 1 - edge_x) | (row < 0) | (row > size_px[1] - 1 - edge_y)
    beam = geometry.beam_rad(x, z)
    dx, dz = line.direction
    misaligned_rad = np.arcsin(np.clip(dx * np.sin(beam) + dz * np.cos(beam), -1.0, 1.0))
    shadow = hidden * (SHORT_COST + LONG_COST * _nearby(hidden))
    cost = np.where(out, OUT_COST, shadow) + ANGLE_COST * (misaligned_rad / MISALIGNED_RAD) ** 2
    return cost, np.where(out, 1.0, hidden)


def _nearby(hidden: F64) -> F64:
    """(places, points) mean of what is hidden over LONG_MM of way around each point."""
    half = round(LONG_MM / DEPTH_STEP_MM / 2)
    total = np.cumsum(np.pad(hidden, ((0, 0), (half + 1, half))), axis=1)
    out: F64 = (total[:, 2 * half + 1 :] - total[:, : -(2 * half + 1)]) / (2 * half + 1)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeMoves:
    """How the probe may move."""

    reach_mm: float
    """Furthest place either way, mm."""
    probe_mm_s: float
    """Speed of the probe, mm/s."""
    moving: bool
    """True where the probe slides along with the needle. Otherwise the needle waits whenever it moves."""

    def costs_mm(self, far_mm: F64) -> F64:
        """Cost of moves between two steps of depth, mm of hidden way."""
        if not self.moving:
            return MM_PER_S * _waiting_s(far_mm, self.probe_mm_s)
        beyond = np.maximum(far_mm - FREE_PER_STEP_MM, 0.0)
        return MM_PER_S * _waiting_s(beyond, self.probe_mm_s) + SLIDE_COST * far_mm


def plan_view(
    view: ViewMap,
    line: PlannedLine,
    at_mm: float,
    moves: ProbeMoves,
    picture: PictureSize,
    *,
    probe_z_mm: float = 0.0,
    kept: ViewPlan | None = None,
) -> ViewPlan:
    """Choose the places. at_mm: where the probe is. kept: a plan whose places are only looked over, not chosen anew."""
    places = np.unique(np.append(np.arange(-moves.reach_mm, moves.reach_mm + PLACE_MM / 2, PLACE_MM), at_mm))
    way, _ = line.points_mm()
    cost, hidden = costs_mm(view, line, places, picture, probe_z_mm)
    steps = np.diff(way, prepend=-DEPTH_STEP_MM)
    steps[0] = FIRST_WEIGHT * DEPTH_STEP_MM
    steps[-1] += FIRST_WEIGHT * DEPTH_STEP_MM
    here = int(np.flatnonzero(places == at_mm)[0])
    first = MM_PER_S * _waiting_s(np.abs(places - at_mm), moves.probe_mm_s)
    if kept is None:
        best = _cheapest(cost * steps, first, moves.costs_mm(np.abs(places[:, None] - places[None, :])))
    else:
        asked = np.array([kept.place_mm(line.depth_mm + s) for s in way])
        best = np.abs(places[None, :] - asked[:, None]).argmin(1)
        best[0] = here if abs(places[best[0]] - at_mm) <= PLACE_MM else best[0]
    far = np.abs(np.diff(places[best]))
    total = first[best[0]] + moves.costs_mm(far).sum() + (cost * steps)[best, np.arange(len(way))].sum()
    waits = np.maximum(far - FREE_PER_STEP_MM, 0.0) if moves.moving else far
    seconds = _waiting_s(np.append(waits, abs(places[best[0]] - at_mm)), moves.probe_mm_s).sum()
    return ViewPlan(
        depths_mm=line.depth_mm + way,
        places_mm=places[best],
        hidden=hidden[best, np.arange(len(way))],
        cost_mm=float(total),
        seconds=float(seconds),
    )


def _cheapest(at: F64, first: F64, between: F64) -> NDArray[np.int64]:
    """(points,) index of the place at each point. at: (places, points), first: (places,), between: (places, places)."""
    points = at.shape[1]
    total = first + at[:, 0]
    came = np.zeros((points, len(first)), np.int64)
    for k in range(1, points):
        through = total[:, None] + between
        came[k] = through.argmin(0)
        total = through.min(0) + at[:, k]
    chosen = np.empty(points, np.int64)
    chosen[-1] = total.argmin()
    for k in range(points - 1, 0, -1):
        chosen[k - 1] = came[k, chosen[k]]
    return chosen


def _waiting_s(far_mm: F64, probe_mm_s: float) -> F64:
    """How long the needle waits for moves of the probe, s."""
    out: F64 = far_mm / probe_mm_s + SETTLE_S * (far_mm > 1e-9)
    return out
