"""What a scripted policy reads from an observation: how far the target is, how well the tip is seen. Millimetres.

| symbol | name here | unit |
| --- | --- | --- |
| d | direction of the needle in the image, from the encoder's angle and the side it enters from | |
| n | across it, to the steeper side | |
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
    """A tip that is known. along_mm, across_mm: from it to the target, along the needle and to its steeper side.

    tip_mm: (x, z) in the tissue, which stays when the probe moves. visible: 0..1, how well the tip is seen; by the
    tracker's confidence where it does not say. sure: tracked, not only predicted. angle_rad, depth_mm: of the needle
    then, as its encoders said.
    """

    along_mm: float
    across_mm: float
    tip_mm: Point
    visible: float
    sure: bool
    angle_rad: float
    depth_mm: float

    @property
    def distance_mm(self) -> float:
        """From the tip to the target, in the image plane."""
        return math.hypot(self.along_mm, self.across_mm)

    @property
    def turn_rad(self) -> float:
        """Angle at the tip from where the needle points to the target, positive to the steeper side."""
        return math.atan2(self.across_mm, self.along_mm)

    def reached(self, within_mm: float) -> bool:
        """True with no more than within_mm to go along the needle, and also past the target."""
        return self.along_mm <= within_mm


def check_task(task: Task) -> Task:
    """The task itself; InputError if a number of it is none."""
    check_finite(task, "task")
    return task


def side(task: Task) -> float:
    """+1 for a needle that goes to the image's right, -1 to its left."""
    return 1.0 if task.enters == "left" else -1.0


def target_offset(observation: Observation, task: Task) -> TargetOffset | None:
    """What is seen of tip and target; None where the tip is lost, a number is none, or the robot reports a fault."""
    estimate, robot_state = observation.estimate, observation.robot_state
    if isinstance(estimate, Lost) or estimate.state is Track.LOST or not known(observation):
        return None
    visible = estimate.confidence if estimate.visibility is None else estimate.visibility
    mm = task.spacing
    x, y = mm.to_mm((observation.target_px[0] - estimate.tip_px[0], observation.target_px[1] - estimate.tip_px[1]))
    across = side(task) * x
    c, s = math.cos(robot_state.angle_rad), math.sin(robot_state.angle_rad)
    tip_x, tip_y = mm.to_mm(estimate.tip_px)
    return TargetOffset(
        across * c + y * s,
        y * c - across * s,
        (tip_x + robot_state.probe_mm[0], tip_y + robot_state.probe_mm[2]),
        min(max(visible, 0.0), 1.0),
        estimate.state is Track.TRACKING,
        robot_state.angle_rad,
        robot_state.depth_mm,
    )


def known(observation: Observation) -> bool:
    """True if every number is one and the robot reports no fault; also where the tip is known to be lost."""
    o, e = observation, observation.estimate
    if not (finite((o.capture_time_s, *o.target_px)) and usable_robot_state(o.robot_state)):
        return False
    if isinstance(e, Lost):
        return True
    seen = () if e.visibility is None else (e.visibility,)
    return finite((*e.tip_px, e.angle_rad, e.confidence, *seen)) and bool(np.isfinite(e.covariance_mm2).all())


def usable_robot_state(robot_state: RobotState) -> bool:
    """True if every encoder says a number and no axis has failed."""
    r = robot_state
    return r.fault is None and finite((r.time_s, r.depth_mm, r.speed_mm_s, r.angle_rad, r.roll_rad, *r.probe_mm))


def finite(numbers: Iterable[float]) -> bool:
    """True if all of them are finite."""
    return all(map(math.isfinite, numbers))
