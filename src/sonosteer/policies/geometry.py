"""Reads an observation for a scripted policy: how far the target is, and how well the tip is seen.

| symbol | meaning | unit |
| --- | --- | --- |
| d | direction of the needle in the image, from the encoder's angle and the side it enters from | no unit |
| n | direction across it, to the steeper side | no unit |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sonosteer.core.config import check_finite
from sonosteer.core.geometry import Point
from sonosteer.core.types import Lost, Observation, RobotState, Task, Track


@dataclass(frozen=True, slots=True)
class TargetOffset:
    """The target as seen from a known tip."""

    along_mm: float
    """Way from the tip to the target along d, mm."""
    across_mm: float
    """Way from the tip to the target along n, mm. Positive to the steeper side."""
    tip_mm: Point
    """Tip (x, z) in the tissue, mm. It stays when the probe moves."""
    visibility: float
    """How well the tip is seen, 0 to 1. The tracker's confidence if it gives no visibility."""
    tracked: bool
    """True if the tip is tracked, False if it is only predicted."""
    angle_rad: float
    """Angle of the needle by its encoder, rad."""
    depth_mm: float
    """Inserted length by its encoder, mm."""

    @property
    def distance_mm(self) -> float:
        """Distance from the tip to the target in the image plane, mm."""
        return math.hypot(self.along_mm, self.across_mm)

    @property
    def turn_rad(self) -> float:
        """Angle at the tip from the needle's direction to the target, rad. Positive to the steeper side."""
        return math.atan2(self.across_mm, self.along_mm)

    def reached(self, within_mm: float) -> bool:
        """True if at most within_mm is left along the needle, and also past the target."""
        return self.along_mm <= within_mm


def check_task(task: Task) -> Task:
    """Return the task itself. Raises InputError if a number of it is not finite."""
    check_finite(task, "task")
    return task


def side(task: Task) -> float:
    """Return +1 for a needle that goes to the right of the image, -1 to the left."""
    return 1.0 if task.enters == "left" else -1.0


def target_offset(observation: Observation, task: Task) -> TargetOffset | None:
    """Return the target as seen from the tip. None if the tip is lost or anything is unknown (see `known`)."""
    estimate, robot_state = observation.estimate, observation.robot_state
    if isinstance(estimate, Lost) or estimate.state is Track.LOST or not known(observation):
        return None
    visibility = estimate.confidence if estimate.visibility is None else estimate.visibility
    if visibility is None:
        return None
    mm = task.spacing
    x, y = mm.to_mm((observation.target_px[0] - estimate.tip_px[0], observation.target_px[1] - estimate.tip_px[1]))
    across = side(task) * x
    c, s = math.cos(robot_state.insertion_angle_rad), math.sin(robot_state.insertion_angle_rad)
    tip_x, tip_y = mm.to_mm(estimate.tip_px)
    return TargetOffset(
        along_mm=across * c + y * s,
        across_mm=y * c - across * s,
        tip_mm=(tip_x + robot_state.probe_mm[0], tip_y + robot_state.probe_mm[2]),
        visibility=min(max(visibility, 0.0), 1.0),
        tracked=estimate.state is Track.TRACKING,
        angle_rad=robot_state.insertion_angle_rad,
        depth_mm=robot_state.depth_mm,
    )


def known(observation: Observation) -> bool:
    """True if every number is finite, in mm, and the robot reports no fault. A lost tip is known, too.

    A tip without a covariance in mm, as of a picture without a scale, is not known. Nor is one whose tracker says no
    confidence.
    """
    o, e = observation, observation.estimate
    if not (finite((o.capture_time_s, *o.target_px)) and usable_robot_state(o.robot_state)):
        return False
    if isinstance(e, Lost):
        return True
    seen = () if e.visibility is None else (e.visibility,)
    P = e.covariance_mm2
    if P is None or e.confidence is None:
        return False
    return finite((*e.tip_px, e.angle_rad, e.confidence, *seen)) and bool(np.isfinite(P).all())


def usable_robot_state(robot_state: RobotState) -> bool:
    """True if every encoder says a finite number and no axis has failed."""
    r = robot_state
    return r.fault is None and finite(
        (r.time_s, r.depth_mm, r.insertion_speed_mm_s, r.insertion_angle_rad, r.roll_rad, *r.probe_mm)
    )


def finite(numbers: Iterable[float]) -> bool:
    """True if all numbers are finite."""
    return all(map(math.isfinite, numbers))
