"""Numbers in and out of the learned policy, each as a place from 0 to 1 in its range.

The ranges decide what a bin is worth. Lengths along the image count forward, from the side where the needle enters, so
that left and right are one task. `along` and `across` are the way from the tip to the target in the needle's frame,
finely resolved. `ahead` and `below` are the same way in the image's frame, coarsely.

Departs from the paper (Zhang et al. 2026): its text names only the target's pixel. All inputs but the tip's box and the
robot's state are added here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation, RobotState, Task, TipEstimate

#: number of bins of each number. chosen: as many as the free rows of Qwen2.5 allow (`learning/nets/policy.py`)
BINS = 256
#: half the side of the box around the tip, mm, for trackers that draw none. chosen: as `BOX_MM` of the data sets
HALF_BOX_MM = 5.0


@dataclass(frozen=True, slots=True)
class Range:
    """A number's name, and the values that 0 and 1 stand for."""

    name: str
    """Name, with the unit at its end."""
    low: float
    """Value at place 0, in the unit at the end of the name (mm, deg, mm/s or no unit)."""
    high: float
    """Value at place 1, in the unit at the end of the name (mm, deg, mm/s or no unit)."""

    def place(self, value: float) -> float:
        """Turn a value into its place, 0 to 1. A value outside the range goes to its edge."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def value(self, place: float) -> float:
        """Turn a place, 0 to 1, back into a value."""
        return self.low + place * (self.high - self.low)


#: inputs: the robot's state, how well the tip is seen, the tip's box, the way to the target
INPUT_RANGES = (
    Range("depth_mm", 0.0, 200.0),
    Range("speed_mm_s", -20.0, 20.0),
    Range("angle_deg", 0.0, 90.0),
    Range("probe_mm", -100.0, 100.0),
    Range("visibility", 0.0, 1.0),
    Range("sd_mm", 0.0, 8.0),
    Range("left_mm", 0.0, 200.0),
    Range("top_mm", 0.0, 200.0),
    Range("right_mm", 0.0, 200.0),
    Range("bottom_mm", 0.0, 200.0),
    Range("ahead_mm", -100.0, 100.0),
    Range("below_mm", -100.0, 100.0),
    Range("along_mm", -20.0, 20.0),
    Range("across_mm", -20.0, 20.0),
)
#: index of the robot's own speed among the inputs
SPEED_INPUT = 1
#: outputs: the turn from where the needle points, the insertion speed, the probe's speed (forward is positive).
#: chosen: a turn instead of the angle. Bins of a whole right angle are coarser than an expert's corrections, and errors
#: of the angle itself add up
ACTION_RANGES = (Range("turn_deg", -3.0, 3.0), Range("insertion_mm_s", 0.0, 20.0), Range("probe_mm_s", -20.0, 20.0))


def forward(task: Task) -> float:
    """Sign of the way forward: 1 towards the image's right, -1 towards its left."""
    return 1.0 if task.enters == "left" else -1.0


def encode_inputs(task: Task, observation: Observation, seen: TipEstimate) -> F32:
    """Encode what the policy reads, (len(INPUT_RANGES),), 0 to 1.

    seen: the observation's estimate. It must not be lost. Raises InputError if it has no covariance in mm.
    """
    robot_state, spacing, sign = observation.robot_state, task.spacing, forward(task)
    x, y = spacing.to_mm(seen.tip_px)
    goal_x, goal_y = spacing.to_mm(observation.target_px)
    ahead, below = sign * (goal_x - x), goal_y - y
    c, s = math.cos(robot_state.insertion_angle_rad), math.sin(robot_state.insertion_angle_rad)
    box = (x - HALF_BOX_MM, y - HALF_BOX_MM, x + HALF_BOX_MM, y + HALF_BOX_MM)
    if seen.box_px is not None:
        box = (*spacing.to_mm(seen.box_px[:2]), *spacing.to_mm(seen.box_px[2:]))
    sd_along_mm, sd_across_mm = seen.sd_along_mm, seen.sd_across_mm
    if sd_along_mm is None or sd_across_mm is None:
        raise InputError("the policy reads the tip's standard deviation in mm, but the scale is unknown")
    visibility = seen.confidence if seen.visibility is None else seen.visibility
    if visibility is None:
        raise InputError("the policy reads the tip's visibility, but the tracker says none")
    values = (
        robot_state.depth_mm,
        robot_state.insertion_speed_mm_s,
        math.degrees(robot_state.insertion_angle_rad),
        sign * robot_state.probe_mm[0],
        visibility,
        max(sd_along_mm, sd_across_mm),
        *box,
        ahead,
        below,
        ahead * c + below * s,
        below * c - ahead * s,
    )
    return np.array([r.place(v) for r, v in zip(INPUT_RANGES, values, strict=True)], np.float32)


def encode_action(task: Task, action: Action, robot_state: RobotState) -> F32:
    """Encode an expert's action as the policy would give it, (len(ACTION_RANGES),), 0 to 1.

    robot_state: what the robot measured when the expert acted.
    """
    said = (
        math.degrees(action.command.insertion_angle_rad - robot_state.insertion_angle_rad),
        action.command.insertion_speed_mm_s,
        forward(task) * action.command.probe_velocity_mm_s[0],
    )
    return np.array([r.place(v) for r, v in zip(ACTION_RANGES, said, strict=True)], np.float32)
