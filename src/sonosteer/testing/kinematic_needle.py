"""A rigid needle on paper: no images, no tissue, every number known. It does what it is told, at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sonosteer.core.geometry import ConvexProbe, Point, Spacing
from sonosteer.core.protocols import Policy
from sonosteer.core.types import (
    Action,
    Estimate,
    Frame,
    Lost,
    Observation,
    RobotState,
    Task,
    Technique,
    TipEstimate,
    Track,
    Vector,
)

SPACING = Spacing(0.25, 0.25)
PLANNED_RAD = math.radians(40)
START_MM = 10.0  # chosen: the needle is in the image from the beginning

#: an even grey, for policies that read pictures: no shadow and no needle
GREY_PICTURE = Frame(
    np.full((224, 224), 80, np.uint8),
    0,
    0.0,
    SPACING,
    ConvexProbe((0.0, 0.0), radius_mm=60.0, fov_rad=1.6, depth_mm=56.0),
)

#: every number of an observation that may fail to be one
NUMBERS = (
    "capture_time_s",
    "target_px",
    *(
        f"robot_state.{n}"
        for n in ("time_s", "depth_mm", "insertion_speed_mm_s", "insertion_angle_rad", "roll_rad", "probe_mm")
    ),
    *(f"estimate.{n}" for n in ("tip_px", "angle_rad", "covariance_mm2", "confidence", "visibility")),
)


def kinematic_task(
    technique: Technique = "in-plane-static",
    enters: Literal["left", "right"] = "left",
    along_mm: float = 50.0,
    across_mm: float = 0.0,
) -> Task:
    """A target so far along the needle, and across it to the steeper side, from a tip at a depth of 10 mm."""
    side = 1.0 if enters == "left" else -1.0
    c, s = math.cos(PLANNED_RAD), math.sin(PLANNED_RAD)
    x = side * ((START_MM + along_mm) * c - across_mm * s)
    y = (START_MM + along_mm) * s + across_mm * c
    return Task(SPACING.to_px((x, y)), technique, PLANNED_RAD, enters, SPACING)


@dataclass
class KinematicNeedle:
    """State of the rig, and how well its tip is seen. Change the fields to try something."""

    task: Task = field(default_factory=kinematic_task)
    """What the policy is asked to do."""
    depth_mm: float = START_MM
    """Inserted length, mm."""
    angle_rad: float = PLANNED_RAD
    """Angle of the needle below the horizontal, rad."""
    roll_rad: float = 0.3
    """Roll of the base, rad."""
    probe_mm: Vector = (0.0, 0.0, 0.0)
    """Place of the probe from where it began, mm: x along the image, y across it, z down."""
    speed_mm_s: float = 0.0
    """Speed of the needle along itself, mm/s."""
    time_s: float = 0.0
    """Time since the beginning, s."""
    frame: int = 0
    """Index of the frame that is seen now."""
    visible: float = 0.95
    """How well the tip is seen, 0 to 1."""
    state: Track = Track.TRACKING
    """What the tracker says of its estimate."""
    noise_mm: float = 0.0
    """Amplitude by which the seen tip wobbles along the image, mm."""

    @property
    def side(self) -> float:
        """1 for a needle from the left, -1 from the right."""
        return 1.0 if self.task.enters == "left" else -1.0

    @property
    def tip_mm(self) -> Point:
        """(x, z) of the tip in the tissue."""
        return (
            self.side * self.depth_mm * math.cos(self.angle_rad),
            self.depth_mm * math.sin(self.angle_rad),
        )

    @property
    def miss_mm(self) -> float:
        """Distance of the tip from the target."""
        return math.dist(self.tip_mm, SPACING.to_mm(self.task.target_px))

    def robot_state(self) -> RobotState:
        """What the encoders say now."""
        return RobotState(
            time_s=self.time_s,
            depth_mm=self.depth_mm,
            insertion_speed_mm_s=self.speed_mm_s,
            insertion_angle_rad=self.angle_rad,
            roll_rad=self.roll_rad,
            probe_mm=self.probe_mm,
        )

    def observe(self) -> Observation:
        """What a policy is told now."""
        x, z = self.tip_mm
        estimate: Estimate
        if self.state is Track.LOST:
            estimate = Lost(self.frame, self.time_s, "told so")
        else:
            wobble = self.noise_mm * math.sin(1.7 * self.frame)
            estimate = TipEstimate(
                frame_index=self.frame,
                time_s=self.time_s,
                tip_px=SPACING.to_px((x - self.probe_mm[0] + wobble, z - self.probe_mm[2])),
                angle_rad=self.angle_rad,
                covariance_mm2=0.04 * np.eye(2),
                confidence=0.9,
                state=self.state,
                entry_px=(0.0, 0.0),
                visibility=self.visible,
            )
        robot_state = self.robot_state()
        target_px = self.task.target_at(self.probe_mm)
        picture = dataclasses.replace(GREY_PICTURE, index=self.frame, time_s=self.time_s, robot_state=robot_state)
        return Observation(self.frame, self.time_s, estimate, robot_state, target_px, recent=(picture,))

    def move(self, action: Action, dt_s: float = 0.1) -> None:
        """Do what an action says for some time."""
        command = action.command
        self.speed_mm_s = 0.0 if command.stop else command.insertion_speed_mm_s
        self.depth_mm += self.speed_mm_s * dt_s
        self.angle_rad, self.roll_rad = command.insertion_angle_rad, command.roll_rad
        speeds = (0.0, 0.0, 0.0) if command.stop else command.probe_velocity_mm_s
        x, y, z = (p + v * dt_s for p, v in zip(self.probe_mm, speeds, strict=True))
        self.probe_mm = x, y, z
        self.time_s += dt_s
        self.frame += 1


def insert_on_paper(
    policy: Policy[Any],
    needle: KinematicNeedle,
    steps: int = 600,
    until_stop: bool = True,
    change: Callable[[KinematicNeedle], None] | None = None,
    features: np.ndarray[Any, np.dtype[np.float32]] | None = None,
) -> tuple[list[Action], KinematicNeedle]:
    """(actions, the needle at the end). change: what happens before a step. features: of every frame."""
    policy.prepare()
    state, actions = policy.start(needle.task), []
    for _ in range(steps):
        if change is not None:
            change(needle)
        state, action = policy.step(state, dataclasses.replace(needle.observe(), features=features))
        actions.append(action)
        needle.move(action)
        if action.command.stop and until_stop:
            break
    return actions, needle


def spoiled(observation: Observation, where: str) -> Observation:
    """The same observation with one number that is NaN. where: one of NUMBERS."""
    part, _, name = where.partition(".")
    if not name:
        old = getattr(observation, part)
        bad: Any = (math.nan, old[1]) if isinstance(old, tuple) else math.nan
        return dataclasses.replace(observation, **{part: bad})
    owner = getattr(observation, part)
    old = getattr(owner, name)
    if isinstance(old, np.ndarray):
        bad = old.copy()
        bad[0, 0] = math.nan
    else:
        bad = (*old[:-1], math.nan) if isinstance(old, tuple) else math.nan
    return dataclasses.replace(observation, **{part: dataclasses.replace(owner, **{name: bad})})
