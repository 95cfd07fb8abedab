"""A rigid needle on paper: no images, no tissue, every number known. It does what it is told, at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Lost, Observation, RobotState, Task, TipEstimate, Track

SPACING = Spacing(0.25, 0.25)
PLANNED_RAD = math.radians(40)


def task(technique="in-plane-static", enters="left", along_mm=50.0, across_mm=0.0):
    """A target so far along the needle and across it (to the steeper side) from a tip at 10 mm."""
    side = 1.0 if enters == "left" else -1.0
    c, s = math.cos(PLANNED_RAD), math.sin(PLANNED_RAD)
    x = side * ((10.0 + along_mm) * c - across_mm * s)
    y = (10.0 + along_mm) * s + across_mm * c
    return Task(SPACING.to_px((x, y)), technique, PLANNED_RAD, enters, SPACING)


@dataclass
class Lane:
    """State of the rig, and how well its tip is seen."""

    task: Task = field(default_factory=task)
    depth_mm: float = 10.0
    angle_rad: float = PLANNED_RAD
    roll_rad: float = 0.3
    probe_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    speed_mm_s: float = 0.0
    time_s: float = 0.0
    frame: int = 0
    visible: float = 0.95
    state: Track = Track.TRACKING
    noise_mm: float = 0.0

    @property
    def side(self) -> float:
        return 1.0 if self.task.enters == "left" else -1.0

    @property
    def tip_mm(self) -> tuple[float, float]:
        """(x, z) in the tissue."""
        return (
            self.side * self.depth_mm * math.cos(self.angle_rad),
            self.depth_mm * math.sin(self.angle_rad),
        )

    @property
    def miss_mm(self) -> float:
        return math.dist(self.tip_mm, SPACING.to_mm(self.task.target_px))

    def robot_state(self) -> RobotState:
        return RobotState(self.time_s, self.depth_mm, self.speed_mm_s, self.angle_rad, self.roll_rad, self.probe_mm)

    def observe(self) -> Observation:
        x, z = self.tip_mm
        if self.state is Track.LOST:
            estimate = Lost(self.frame, self.time_s, "told so")
        else:
            wobble = self.noise_mm * math.sin(1.7 * self.frame)
            at = SPACING.to_px((x - self.probe_mm[0] + wobble, z - self.probe_mm[2]))
            estimate = TipEstimate(
                self.frame, self.time_s, at, self.angle_rad, 0.04 * np.eye(2), 0.9, self.state, (0.0, 0.0),
                visibility=self.visible,
            )  # fmt: skip
        robot_state = self.robot_state()
        return Observation(self.frame, self.time_s, estimate, robot_state, self.task.target_at(self.probe_mm))

    def move(self, action: Action, dt_s: float = 0.1) -> None:
        self.speed_mm_s = 0.0 if action.command.stop else action.command.insertion_speed_mm_s
        self.depth_mm += self.speed_mm_s * dt_s
        self.angle_rad, self.roll_rad = action.command.insertion_angle_rad, action.command.roll_rad
        speeds = (0.0, 0.0, 0.0) if action.command.stop else action.command.probe_velocity_mm_s
        x, y, z = (p + v * dt_s for p, v in zip(self.probe_mm, speeds, strict=True))
        self.probe_mm = x, y, z
        self.time_s += dt_s
        self.frame += 1


def run(policy, lane, steps=600, until_stop=True, change=None):
    """(actions, lane at the end). change(lane): what happens before a step."""
    policy.prepare()
    state, actions = policy.start(lane.task), []
    for _ in range(steps):
        if change is not None:
            change(lane)
        state, action = policy.step(state, lane.observe())
        actions.append(action)
        lane.move(action)
        if action.command.stop and until_stop:
            break
    return actions, lane


def spoil(observation, where):
    """The same observation with one number that is none."""
    part, _, name = where.partition(".")
    if not name:
        old = getattr(observation, part)
        bad = (math.nan, old[1]) if isinstance(old, tuple) else math.nan
        return dataclasses.replace(observation, **{part: bad})
    owner = getattr(observation, part)
    old = getattr(owner, name)
    if isinstance(old, np.ndarray):
        bad = old.copy()
        bad[0, 0] = math.nan
    else:
        bad = (*old[:-1], math.nan) if isinstance(old, tuple) else math.nan
    return dataclasses.replace(observation, **{part: dataclasses.replace(owner, **{name: bad})})


NUMBERS = [
    "capture_time_s", "target_px",
    *(f"robot_state.{n}" for n in ("time_s", "depth_mm", "speed_mm_s", "angle_rad", "roll_rad", "probe_mm")),
    *(f"estimate.{n}" for n in ("tip_px", "angle_rad", "covariance_mm2", "confidence", "visibility")),
]  # fmt: skip
