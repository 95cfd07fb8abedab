"""What flows: Frame -> TipEstimate -> Action. Everything here is frozen.

A frame is born with its acquisition time and never loses it; every estimate and every action says which
frame it came from, and an action says when it expires. Absence is a value (`Lost`), never NaN.
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
    """One image as it came from its source.

    pixels: (rows, columns) or (rows, columns, 3) RGB, uint8 or uint16, read-only.
    index: number of the frame in its source, from 0.
    time_s: acquisition time in seconds from the source's own origin.
    spacing: mm per pixel, None where the source does not say.
    probe: geometry of the transducer, None where unknown.
    full_scale: pixel value drawn as white (255 for 8 bit; the source's own window for 16 bit).
    T_world_image: 4x4, image mm -> world mm, where a tracking system gave it.
    velocity_mm_s: insertion speed along the needle at that time as a robot measured it, None where nobody did.
    """

    pixels: Pixels
    index: int
    time_s: float
    spacing: Spacing | None = None
    probe: Probe | None = None
    full_scale: float = 255.0
    T_world_image: Matrix | None = None
    velocity_mm_s: float | None = None

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
    """Direction from entry to tip in millimetre space, rad from image +x towards +y (down)."""
    covariance_mm2: NDArray[np.float64]
    """Covariance of the tip, mm^2: (2, 2), axes along and across the needle."""
    confidence: float
    """How surely this is the tip, 0 to 1."""
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
    features: NDArray[np.float32] | None = field(default=None, repr=False)
    """What the tracker's network made of the frame, for a policy, no unit. Read-only, never recorded. None without."""

    @property
    def sd_along_mm(self) -> float:
        """Standard deviation along the needle."""
        return math.sqrt(float(self.covariance_mm2[0, 0]))

    @property
    def sd_across_mm(self) -> float:
        """Standard deviation across the needle."""
        return math.sqrt(float(self.covariance_mm2[1, 1]))


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

    @property
    def state(self) -> Track:
        """Always `Track.LOST`."""
        return Track.LOST


Estimate: TypeAlias = TipEstimate | Lost


@dataclass(frozen=True, slots=True)
class Hint:
    """What the user knows beforehand, in image terms; every field may be absent.

    angle_rad: (low, high) expected direction from entry to tip. enters: side of the image.
    start_px: (x, y) of the tip in the first frame.
    """

    angle_rad: tuple[float, float] | None = None
    enters: Side | None = None
    start_px: Point | None = None


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
    """A frame and what the encoders said when it was acquired. arrived_s: on the run's clock."""

    frame: Frame
    robot_state: RobotState
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: bring the tip to a target. All as in the first frame.

    target_px: (column, row). technique: the probe stands still (Paper V's IPS) or moves with the needle (IPM).
    angle_rad: planned insertion angle below the horizontal. enters: side of the image. spacing: mm per pixel.
    """

    target_px: Point
    technique: Technique
    angle_rad: float
    enters: Literal["left", "right"]
    spacing: Spacing

    def target_at(self, probe_mm: Vector) -> Point:
        """(column, row) of the target once the probe has moved by probe_mm; the target stays in the tissue."""
        x, y = self.target_px
        return x - probe_mm[0] / self.spacing.x_mm, y - probe_mm[2] / self.spacing.y_mm


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a policy is told, all of one moment. robot_state: the newest before the frame was acquired.

    target_px: in this frame. features: what the tracker's network made of the frame (read-only), None without one.
    """

    frame_index: int
    capture_time_s: float
    estimate: Estimate
    robot_state: RobotState
    target_px: Point
    features: NDArray[np.float32] | None = None


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

    def age_s(self, now_s: float) -> float:
        """Seconds since the frame behind this action was acquired."""
        return now_s - self.capture_time_s


@dataclass(frozen=True, slots=True)
class TipMeasurement:
    """What a steering controller is told at one moment.

    depth_mm: inserted length; roll_rad: of the base, as its encoder says. tip_mm: (y, z) across the insertion axis,
    None where the tip was not seen; sd_mm: its standard deviation, each way. breath: respiratory signal from 0
    (breathed out) to 1, 0 where there is none.
    """

    time_s: float
    depth_mm: float
    roll_rad: float
    tip_mm: Point | None
    sd_mm: float = 0.15
    breath: float = 0.0


@dataclass(frozen=True, slots=True)
class RollCommand:
    """What a steering controller wants: the roll of the base, now.

    why: "steer", or the reason for holding or stopping. stop: the needle must not be pushed on. miss_mm: predicted
    distance from the target, with its standard deviation; None where the controller predicts none.
    """

    roll_rad: float
    why: str = "steer"
    stop: bool = False
    miss_mm: float | None = None
    miss_sd_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What really was, for one frame of a simulation or an annotated clip.

    tip_px: the geometric tip as drawn, None while no needle is in the image. visible: False where the tip
    cannot be seen (faded, occluded, out of plane). depth_mm: inserted length along the needle from its entry.
    """

    frame_index: int
    time_s: float
    tip_px: Point | None
    angle_rad: float
    visible: bool
    depth_mm: float
    velocity_mm_s: float
