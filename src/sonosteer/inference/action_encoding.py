"""Numbers in and out of the learnt policy, each as a place 0..1 in its range: the ranges decide what a bin is worth.

Lengths along the image count forward: from the side where the needle enters, so that left and right are one task.
`along` and `across` are the way from the tip to the target in the needle's own frame, in fine; `ahead` and `below` are
the same way in the image's, in coarse. All of them but the tip's box and the robot's state are ours, beside the paper's
text, which names the target's pixel only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import F32
from sonosteer.core.types import Action, Observation, RobotState, Task, TipEstimate

#: of each of the numbers, as Qwen2.5's free rows allow (`learning/nets/policy.py`)
BINS = 256
#: ours: half the side of a box around the tip where a tracker draws none (`BOX_MM` of the data sets)
HALF_BOX_MM = 5.0


@dataclass(frozen=True, slots=True)
class Range:
    """A number's name, unit included, and what 0 and 1 mean."""

    name: str
    low: float
    high: float

    def place(self, value: float) -> float:
        """0..1; what lies outside is taken to the edge."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def value(self, place: float) -> float:
        """Back again."""
        return self.low + place * (self.high - self.low)


#: robot's state, how well the tip is seen, tip's box, way to the target
NUMBERS = (
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
SPEED = 1  # place of the robot's own speed among them
#: what an action says; the probe's speed counts forward. The angle is said as the turn from where the needle points:
#: bins of a whole right angle are coarser than an expert's corrections, and errors of the angle itself add up
ACTIONS = (Range("turn_deg", -3.0, 3.0), Range("insertion_mm_s", 0.0, 20.0), Range("probe_mm_s", -20.0, 20.0))


def forward(task: Task) -> float:
    """1 where the needle goes towards the image's right, -1 where towards its left."""
    return 1.0 if task.enters == "left" else -1.0


def numbers_of(task: Task, observation: Observation, seen: TipEstimate) -> F32:
    """(len(NUMBERS),) of one moment. seen: the observation's estimate, which must not be lost."""
    robot_state, spacing, sign = observation.robot_state, task.spacing, forward(task)
    x, y = spacing.to_mm(seen.tip_px)
    goal_x, goal_y = spacing.to_mm(observation.target_px)
    ahead, below = sign * (goal_x - x), goal_y - y
    c, s = math.cos(robot_state.angle_rad), math.sin(robot_state.angle_rad)
    box = (x - HALF_BOX_MM, y - HALF_BOX_MM, x + HALF_BOX_MM, y + HALF_BOX_MM)
    if seen.box_px is not None:
        box = (*spacing.to_mm(seen.box_px[:2]), *spacing.to_mm(seen.box_px[2:]))
    values = (
        *(
            robot_state.depth_mm,
            robot_state.speed_mm_s,
            math.degrees(robot_state.angle_rad),
            sign * robot_state.probe_mm[0],
        ),
        seen.confidence if seen.visibility is None else seen.visibility,
        max(seen.sd_along_mm, seen.sd_across_mm),
        *box,
        *(ahead, below, ahead * c + below * s, below * c - ahead * s),
    )
    out = np.array([r.place(v) for r, v in zip(NUMBERS, values, strict=True)], np.float32)
    return out


def places_of(task: Task, action: Action, robot_state: RobotState) -> F32:
    """(len(ACTIONS),) 0..1: what an expert's action would be as an answer, from what the robot read then."""
    said = (
        math.degrees(action.insertion_angle_rad - robot_state.angle_rad),
        action.insertion_speed_mm_s,
        forward(task) * action.probe_speed_mm_s[0],
    )
    return np.array([r.place(v) for r, v in zip(ACTIONS, said, strict=True)], np.float32)
