"""What flows: Frame -> TipEstimate -> Action. Everything here is frozen.

A frame keeps its acquisition time. Every estimate and every action says which frame it came from. A command says when
it expires. Absence is a value (`Lost`), never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Matrix, Point, Probe, Spacing

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
Side: TypeAlias = Literal["left", "right", "top"]
Technique: TypeAlias = Literal["in-plane-static", "in-plane-moving"]
Box: TypeAlias = tuple[float, float, float, float]
Vector: TypeAlias = tuple[float, float, float]


class Track(Enum):
    """What a tracker says of its own estimate."""

    TRACKING = "tracking"
    COASTING = "coasting"
    LOST = "lost"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image as it came from its source."""

    pixels: Pixels
    """(rows, columns) or (rows, columns, 3) RGB, uint8 or uint16, read-only."""
    index: int
    """Number of the frame in its source, from 0."""
    time_s: float
    """When it was acquired, s from the source's own origin."""
    spacing: Spacing | None = None
    """Millimetres per pixel, None where the source does not say."""
    probe: Probe | None = None
    """Geometry of the transducer, None where unknown."""
    full_scale: float = 255.0
    """Pixel value drawn as white, grey levels: 255 for 8 bit, the source's own window for 16 bit."""
    T_world_image: Matrix | None = None
    """4x4 matrix, image mm to world mm. None without a tracking system."""
    velocity_mm_s: float | None = None
    """Measured speed of the needle along itself at that time, mm/s. None where nobody measured it."""
    robot_state: RobotState | None = None
    """What the robot's encoders said at that time. None without a robot."""

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[0])

    def grey(self) -> NDArray[np.uint8]:
        """(rows, columns) uint8: luminance (ITU-R BT.601) of a colour frame, windowed to 8 bit."""
        p = self.pixels
        if p.ndim == 2 and p.dtype == np.uint8 and self.full_scale == 255.0:
            return p  # type: ignore[return-value]
        f = p.astype(np.float32)
        if p.ndim == 3:
            f = f[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
        scaled = f * np.float32(255.0 / self.full_scale) + np.float32(0.5)
        out: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
        out.flags.writeable = False
        return out


@dataclass(frozen=True, slots=True, eq=False)
class TipEstimate:
    """Where a tracker believes the tip to be."""

    frame_index: int
    """Index of the frame this was said of."""
    time_s: float
    """When that frame was acquired, s."""
    tip_px: Point
    """Place of the tip in the image, px: (column, row)."""
    angle_rad: float
    """Direction from entry to tip, rad from image +x towards +y (down). Of mm, or of px where the scale is unknown."""
    covariance_mm2: NDArray[np.float64] | None
    """Covariance of the tip, mm^2: (2, 2), axes along and across the needle. None where the scale is unknown."""
    confidence: float | None
    """How surely this is the tip, 0 to 1. None from trackers that do not say."""
    state: Track
    """Whether the tip was seen or only predicted."""
    entry_px: Point
    """Where the axis enters the image, px: (column, row). For drawing."""
    shaft_px: tuple[Point, ...] = ()
    """Points from the entry to the tip along a curved axis, px: (column, row). Empty for a straight one."""
    visibility: float | None = None
    """How well the tip itself is seen, 0 to 1. None from trackers that do not say."""
    box_px: Box | None = None
    """Box around the tip, px: (left, top, right, bottom). None from trackers that do not say."""
    covariance_px2: NDArray[np.float64] | None = None
    """Covariance of the tip, px^2: (2, 2), axes along and across the needle as drawn. None where no tracker says it."""
    answer_frame: int | None = None
    """Index of the frame that the detector's answer applied here was about. None where none was applied."""
    note: str | None = None
    """What else the tracker has to say of this frame, such as that another place took over. None if nothing."""
    features: NDArray[np.float32] | None = field(default=None, repr=False)
    """What the tracker's network made of the frame, for a policy, no unit. Read-only, never recorded. None without."""

    @property
    def sd_along_mm(self) -> float | None:
        """Standard deviation along the needle, mm. None where the scale is unknown."""
        return _sd(self.covariance_mm2, 0)

    @property
    def sd_across_mm(self) -> float | None:
        """Standard deviation across the needle, mm. None where the scale is unknown."""
        return _sd(self.covariance_mm2, 1)

    @property
    def sd_along_px(self) -> float | None:
        """Standard deviation along the needle, px. None from trackers that do not say."""
        return _sd(self.covariance_px2, 0)

    @property
    def sd_across_px(self) -> float | None:
        """Standard deviation across the needle, px. None from trackers that do not say."""
        return _sd(self.covariance_px2, 1)


def _sd(covariance: NDArray[np.float64] | None, axis: int) -> float | None:
    return None if covariance is None else math.sqrt(float(covariance[axis, axis]))


@dataclass(frozen=True, slots=True)
class Lost:
    """The tracker does not know, and says why."""

    frame_index: int
    """Index of the frame this was said of."""
    time_s: float
    """When that frame was acquired, s."""
    reason: str
    """Why the tip is not known, in one line."""
    features: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """As in `TipEstimate`, no unit."""
    answer_frame: int | None = None
    """Index of a frame, as in `TipEstimate`."""

    @property
    def state(self) -> Track:
        """Always `Track.LOST`."""
        return Track.LOST


Estimate: TypeAlias = TipEstimate | Lost


@dataclass(frozen=True, slots=True)
class Hint:
    """What the user knows beforehand, in image terms. Every field may be absent."""

    angle_rad: tuple[float, float] | None = None
    """Expected direction from entry to tip, rad: (low, high)."""
    enters: Side | None = None
    """Side of the image at which the needle enters."""
    start_px: Point | None = None
    """Place of the tip in the first frame, px: (column, row)."""
    box_px: tuple[int, int] | None = None
    """Size of the box around it that a general tracker follows, px: (width, height)."""


@dataclass(frozen=True, slots=True)
class RobotState:
    """What a robot's encoders say."""

    time_s: float
    """When they were read, s on the run's clock."""
    depth_mm: float
    """Inserted length of the needle, mm."""
    insertion_speed_mm_s: float
    """Speed of the needle along itself, mm/s. Positive goes in."""
    insertion_angle_rad: float
    """Angle of the needle, rad below the horizontal."""
    roll_rad: float
    """Roll of the needle's base, rad."""
    probe_mm: Vector
    """Where the probe is, mm from where the run began: x along the image, y across it, z down."""
    fault: str | None = None
    """Why an axis does not move until somebody has put it right, None while all is well."""


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """A frame and what the encoders said when it was acquired."""

    frame: Frame
    """The image."""
    robot_state: RobotState
    """What the encoders said."""
    arrived_s: float
    """When it arrived, s on the run's clock."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: bring the tip to a target. All as in the first frame."""

    target_px: Point
    """Place of the target, px: (column, row)."""
    technique: Literal["in-plane-static", "in-plane-moving", "across"]
    """The probe stands still (IPS of Zhang et al. 2026), moves along (IPM), or images across the needle (steering)."""
    angle_rad: float
    """Planned insertion angle, rad below the horizontal."""
    enters: Literal["left", "right"]
    """Side of the image at which the needle enters. Without meaning where the image stands across the needle."""
    spacing: Spacing
    """Millimetres per pixel."""

    def target_at(self, probe_mm: Vector) -> Point:
        """(column, row) of the target once the probe has moved by probe_mm. The target stays in the tissue."""
        x, y = self.target_px
        return x - probe_mm[0] / self.spacing.x_mm, y - probe_mm[2] / self.spacing.y_mm


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a policy is told, all of one moment."""

    frame_index: int
    """Number of the frame in its source, from 0."""
    capture_time_s: float
    """When it was acquired, s."""
    estimate: Estimate
    """What the tracker said of it."""
    robot_state: RobotState
    """The newest state before the frame was acquired."""
    target_px: Point
    """Place of the target in this frame, px: (column, row)."""
    features: NDArray[np.float32] | None = None
    """As in `TipEstimate`, no unit."""
    recent: tuple[Frame, ...] = field(default=(), repr=False)
    """The pictures tracked last, this one at the end, each with its robot state. Recorded as frames. May be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What every axis shall do, and until when. Stands inside `Action` (wanted) and inside the gate's `Cleared`."""

    expires_at_s: float | None
    """Nothing moves on this command after that time, s on the run's clock. None: never, for a hold."""
    insertion_speed_mm_s: float = 0.0
    """Speed of the needle along itself, mm/s. Positive pushes in."""
    insertion_angle_rad: float = 0.0
    """Where the needle shall be turned to, rad below the horizontal."""
    roll_rad: float = 0.0
    """Where the base shall be rolled to, rad."""
    probe_velocity_mm_s: Vector = (0.0, 0.0, 0.0)
    """Velocity of the probe, mm/s: x along the image, y across it, z down."""
    stop: bool = False
    """True where nothing shall move on: in an action, the procedure is over."""

    def expired(self, now_s: float) -> bool:
        """True once it is too late, and also whenever a time is NaN."""
        return self.expires_at_s is not None and not now_s <= self.expires_at_s


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy wants, and the frame it was decided on."""

    frame_index: int
    """Index of the frame this was decided on."""
    capture_time_s: float
    """When that frame was acquired, s."""
    command: Command
    """What shall be done, and until when."""
    wiggle: bool = False
    """True where a held needle shall be moved to and fro on the way that it has gone, so that pictures show its tip."""
    found_px: Point | None = None
    """Where the policy found the tip in this frame, px: the tracker begins anew there. None where it found none."""

    def age_s(self, now_s: float) -> float:
        """Seconds since the frame behind this action was acquired."""
        return now_s - self.capture_time_s


@dataclass(frozen=True, slots=True)
class TipMeasurement:
    """What a steering controller is told at one moment."""

    time_s: float
    """When it was measured, s."""
    depth_mm: float
    """Inserted length of the needle, mm."""
    roll_rad: float
    """Roll of the base, rad, as its encoder says."""
    tip_mm: Point | None
    """Place of the tip across the insertion axis, mm: (y, z). None where the tip was not seen."""
    sd_mm: float = 0.15
    """Standard deviation of that place each way, mm."""
    breath: float = 0.0
    """Respiratory signal, 0 to 1: 0 is breathed out. 0 where there is none."""


@dataclass(frozen=True, slots=True)
class RollCommand:
    """What a steering controller wants now."""

    roll_rad: float
    """Where the base shall be rolled to, rad."""
    why: str = "steer"
    """Why: "steer", or the reason for holding or stopping."""
    stop: bool = False
    """True where the needle must not be pushed on."""
    miss_mm: float | None = None
    """Predicted distance from the target, mm. None where the controller predicts none."""
    miss_sd_mm: float | None = None
    """Standard deviation of that distance, mm. None where the controller predicts none."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What really was, for one frame of a simulation or an annotated clip. Marks by hand know the tip only."""

    frame_index: int
    """Number of the frame in its source, from 0."""
    time_s: float | None
    """When it was acquired, s. None where nobody noted it."""
    tip_px: Point | None
    """The geometric tip as drawn, px: (column, row). None while no needle is in the image."""
    angle_rad: float | None
    """Direction from entry to tip, rad from image +x towards +y (down). None where nobody marked it."""
    visible: bool
    """False where the tip cannot be seen: faded, occluded, out of plane."""
    depth_mm: float | None
    """Inserted length along the needle from its entry, mm. None where nobody measured it."""
    velocity_mm_s: float | None
    """Speed of the needle along itself, mm/s. Positive goes in. None where nobody measured it."""
    uncertainty_px: float | None = field(default=None, kw_only=True)
    """How far the mark may be off, px. None where nobody said."""
