"""What really was, in one frame of a simulation: more than any tracker is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.geometry import Point
from sonosteer.core.types import Truth

#: ours: a tip is called visible while it is this much brighter than the tissue around it; a line of shaft is seen
#: sooner than a point, which competes with single grains of speckle
VISIBLE_DB = {"in-plane": 3.0, "axial": 9.0}


@dataclass(frozen=True, slots=True)
class NeedleTruth(Truth):
    """A `Truth` and all else that the world knows.

    tip_px: in plane the apex of the bevel, in axial images the end of the axis, projected. bright_px: brightest
    point of the needle's echo. tip_mm, direction: (x, y, z) of the apex and unit vector of the tip in the world (x
    lateral, y elevation, z depth). shaft_px: polyline of the axis from the tip back, projected. out_of_plane_mm: the
    tip's distance from the image plane (axial: ahead of it). visibility_db: needle over tissue at the tip, with what
    occlusion, depth and plane leave of it. roll_rad: of the bevel, wind-up included. Forces at base (axial), bevel
    and guide in N. occluded: what hides the tip ("occluder", "contact", "plane"). probe_mm: pose of the probe.
    tissue_mm: (x, z) displacement by breathing. repeated: the picture is the previous one once more, and so is this.
    """

    bright_px: Point | None
    tip_mm: tuple[float, float, float] | None
    direction: tuple[float, float, float]
    shaft_px: tuple[Point, ...]
    out_of_plane_mm: float
    visibility_db: float
    roll_rad: float
    axial_n: float
    bevel_n: float
    guide_n: float
    occluded: tuple[str, ...]
    probe_mm: tuple[float, float, float]
    tissue_mm: tuple[float, float]
    repeated: bool
