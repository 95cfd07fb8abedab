"""The truth of a simulated frame: more than any tracker is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.geometry import Point
from sonosteer.core.types import Truth

#: A tip is called visible while it is this much brighter than the tissue around it, dB.
#: chosen: a line of shaft is seen sooner than a point, which competes with single grains of speckle
VISIBLE_DB = {"in-plane": 3.0, "axial": 9.0}

#: With a display, a tip is called visible while it is this much brighter on the screen than what lies beside it, dB.
#: Its echo must also exceed the tissue's, so that a bright spot of tissue does not count. A shaft likewise
SEEN_DB = 3.0


@dataclass(frozen=True, slots=True)
class NeedleTruth(Truth):
    """A `Truth` and all else that the world knows.

    `tip_px` is the projected apex of the bevel in plane. In axial images it is the projected end of the axis.
    """

    time_s: float
    """When the frame was acquired, s."""
    angle_rad: float
    """Direction from entry to tip, rad from image +x towards +y (down)."""
    depth_mm: float
    """Inserted length along the needle from its entry, mm."""
    velocity_mm_s: float
    """Speed of the needle along itself, mm/s. Positive goes in."""
    bright_px: Point | None
    """Brightest point of the needle's echo, px. None where no needle is drawn."""
    tip_mm: tuple[float, float, float] | None
    """(x, y, z) of the apex in the world: lateral, elevation, depth, mm. None without a needle."""
    direction: tuple[float, float, float]
    """Unit vector (x, y, z) of the tip in the world, no unit."""
    shaft_px: tuple[Point, ...]
    """Projected polyline from the tip back, px: the axis. With a display: the drawn wall, as far as it echoes."""
    out_of_plane_mm: float
    """Distance of the tip from the image plane, mm. Axial: how far the tip is ahead of it."""
    visibility_db: float
    """Needle over tissue at the tip after occlusion, depth and distance from the plane, dB."""
    roll_rad: float
    """Roll of the bevel, wind-up of the shaft included, rad."""
    axial_n: float
    """Force along the needle at its base, N."""
    bevel_n: float
    """Force across the needle at its bevel, N."""
    guide_n: float
    """Force across the needle at its guide, N."""
    occluded: tuple[str, ...]
    """What hides the tip: "occluder", "contact", "plane". Empty where nothing does."""
    probe_mm: tuple[float, float, float]
    """(x, y, z) of the middle of the probe's face in the world, mm."""
    tissue_mm: tuple[float, float]
    """(x, z) displacement of the tissue by breathing, mm."""
    repeated: bool
    """True where the image is the previous one once more. So is this truth."""
    width_px: float | None = None
    """Width of the drawn shaft on the screen, px. None where no needle is drawn, and of scenes without a display."""
    shaft_seen: tuple[bool, ...] = ()
    """For each point of `shaft_px`: could a person see it? Empty for scenes without a display."""
    contrast_db: float | None = None
    """Tip over its surroundings on the screen, dB. None without a needle, and of scenes without a display."""
