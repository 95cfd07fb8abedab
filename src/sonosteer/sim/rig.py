"""Model of the robot that holds needle and probe: what it is told, what it does, what its encoders say.

Axes of the needle: depth, insertion angle, roll of the base. Axes of the probe: three translations. Every axis has
limits of travel and speed. Commands arrive late and encoders are noisy. A fault may stop an axis or deafen the
controller. The rig protects itself, not the patient. Safety belongs to the gate in front of it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sonosteer.core.config import check_finite
from sonosteer.core.errors import InputError
from sonosteer.core.types import Command, RobotState
from sonosteer.needle.torsion import roll_with_play

RigFault = Literal["stalled", "probe stuck", "deaf"]
RIG_FAULTS: tuple[RigFault, ...] = ("stalled", "probe stuck", "deaf")
DEAF_S = 0.5  # chosen: a deaf controller hears nothing for this long


@dataclass(frozen=True, slots=True)
class RigLimits:
    """Travel, speeds, accelerations and errors of the rig's axes."""

    depth_mm: tuple[float, float] = (0.0, 190.0)
    """Least and largest depth of the base, mm."""
    angle_rad: tuple[float, float] = (math.radians(5), math.radians(80))
    """Least and largest insertion angle below the horizontal, rad."""
    probe_mm: tuple[float, float, float] = (60.0, 190.0, 10.0)
    """Largest way of the probe along x, y, z from where it began, either way, mm."""
    insertion_mm_s: float = 50.0
    """Largest insertion speed, either way, mm/s. More than 0."""
    insertion_mm_s2: float = 1000.0
    """Largest acceleration along the needle, mm/s^2. More than 0."""
    angle_rad_s: float = 0.5
    """Largest speed of the insertion angle, rad/s. More than 0."""
    roll_rad_s: float = 6.0
    """Largest speed of the roll, rad/s. More than 0."""
    probe_mm_s: float = 60.0
    """Largest speed of the probe along each axis, mm/s. More than 0."""
    latency_s: float = 0.0
    """Time from a command to the motor, s. 0 or more."""
    roll_backlash_rad: float = 0.0
    """Play in all between the roll's motor, where its encoder sits, and the needle's base, rad. 0 or more."""
    encoder_mm: float = 0.02
    """Standard deviation of the encoders in mm. The speed has 10 times as much per second. 0 or more."""
    encoder_rad: float = 0.001
    """Standard deviation of the encoders in rad. 0 or more."""
    failure_per_s: float = 0.0
    """Rate of faults, 1/s. 0 or more."""

    def __post_init__(self) -> None:
        check_finite(self, "rig")
        for name in ("insertion_mm_s", "insertion_mm_s2", "angle_rad_s", "roll_rad_s", "probe_mm_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"rig: {name} is {getattr(self, name)}, but must be more than 0")
        for name in ("latency_s", "roll_backlash_rad", "encoder_mm", "encoder_rad", "failure_per_s"):
            if not getattr(self, name) >= 0:
                raise InputError(f"rig: {name} is {getattr(self, name)}, but must not be negative")


@dataclass(slots=True)
class RigModel:
    """State of the axes, in the open. `order` takes a command, `advance` lets time pass."""

    limits: RigLimits
    """What the axes can do."""
    rng: np.random.Generator
    """Chance of the encoders' noise and of faults."""
    depth_mm: float = 0.0
    """Depth of the base: how far the needle is pushed in, mm."""
    insertion_angle_rad: float = math.radians(45)
    """Insertion angle below the horizontal, rad."""
    roll_rad: float = 0.0
    """Roll of the motor, rad."""
    probe_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(x, y, z) of the probe from where it began, mm."""
    insertion_speed_mm_s: float = 0.0
    """Insertion speed now, mm/s. Positive pushes in."""
    time_s: float = 0.0
    """Time since the start, s."""
    fault: RigFault | None = None
    """Which axis has failed. None: all work."""
    base_rad: float = field(init=False)
    """Roll of the needle's base, rad. It follows the motor with the backlash."""
    _deaf_until_s: float | None = None
    _angle_goal: float | None = None
    _roll_goal: float | None = None
    _speed_goal: float = 0.0
    _probe_goal: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _expires_s: float | None = None
    _waiting: deque[tuple[float, Command]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.base_rad = self.roll_rad

    def order(self, command: Command) -> None:
        """Take a command. It acts after the latency, and never past its expiry.

        Raises InputError if a number of it is not finite.
        """
        numbers = (command.insertion_speed_mm_s, command.insertion_angle_rad, command.roll_rad)
        if not all(map(math.isfinite, (*numbers, *command.probe_velocity_mm_s))):
            raise InputError(f"rig: an order that is not a number was refused: {command}")
        if self._deaf_until_s is None or self.time_s >= self._deaf_until_s:
            self._waiting.append((self.time_s + self.limits.latency_s, command))

    def advance(self, dt_s: float) -> None:
        """Let dt_s pass. Motion stops where a command expires, at the end of travel and on a fault."""
        self._maybe_fail(dt_s)
        self.time_s += dt_s
        while self._waiting and self._waiting[0][0] <= self.time_s:
            self._take(self._waiting.popleft()[1])
        if self._expires_s is not None and not self.time_s <= self._expires_s:
            self._stand()
        self._move_needle(dt_s)
        self._turn_needle(dt_s)
        self._move_probe(dt_s)

    def _move_needle(self, dt_s: float) -> None:
        """Push or draw the needle, within its limits of speed, acceleration and travel."""
        limits = self.limits
        stalled = self.fault == "stalled"
        goal = 0.0 if stalled else min(max(self._speed_goal, -limits.insertion_mm_s), limits.insertion_mm_s)
        change = limits.insertion_mm_s2 * dt_s
        before = self.insertion_speed_mm_s
        self.insertion_speed_mm_s = 0.0 if stalled else before + min(max(goal - before, -change), change)
        depth = self.depth_mm + 0.5 * (before + self.insertion_speed_mm_s) * dt_s
        self.depth_mm = min(max(depth, limits.depth_mm[0]), limits.depth_mm[1])
        if self.depth_mm != depth:
            self.insertion_speed_mm_s = 0.0

    def _turn_needle(self, dt_s: float) -> None:
        """Turn the needle towards the angle and the roll that were commanded."""
        limits = self.limits
        if self._angle_goal is not None:
            self.insertion_angle_rad = _towards(self.insertion_angle_rad, self._angle_goal, limits.angle_rad_s * dt_s)
        if self._roll_goal is not None:
            self.roll_rad = _towards(self.roll_rad, self._roll_goal, limits.roll_rad_s * dt_s)
            self.base_rad = roll_with_play(self.base_rad, self.roll_rad, 0.5 * limits.roll_backlash_rad)

    def _move_probe(self, dt_s: float) -> None:
        """Move the probe, within its limits of speed and travel."""
        if self.fault == "probe stuck":
            return
        limits, moved = self.limits, []
        for at, speed, travel in zip(self.probe_mm, self._probe_goal, limits.probe_mm, strict=True):
            speed = min(max(speed, -limits.probe_mm_s), limits.probe_mm_s)
            moved.append(min(max(at + speed * dt_s, -travel), travel))
        self.probe_mm = (moved[0], moved[1], moved[2])

    def read(self) -> RobotState:
        """What the encoders say, with their noise."""
        mm, rad = self.limits.encoder_mm, self.limits.encoder_rad
        n = self.rng.standard_normal(7)
        probe = tuple(p + mm * e for p, e in zip(self.probe_mm, n[4:], strict=True))
        return RobotState(
            time_s=self.time_s,
            depth_mm=self.depth_mm + mm * n[0],
            insertion_speed_mm_s=self.insertion_speed_mm_s + 10 * mm * n[1],
            insertion_angle_rad=self.insertion_angle_rad + rad * n[2],
            roll_rad=self.roll_rad + rad * n[3],
            probe_mm=(probe[0], probe[1], probe[2]),
            fault=self.fault,
        )

    def clear_fault(self) -> None:
        """Somebody has repaired the axis."""
        self.fault = None

    def _take(self, command: Command) -> None:
        if command.expired(self.time_s):
            return
        self._expires_s = command.expires_at_s
        if command.stop:
            self._stand()
            return
        self._speed_goal, self._probe_goal = command.insertion_speed_mm_s, command.probe_velocity_mm_s
        low, high = self.limits.angle_rad
        self._angle_goal = min(max(command.insertion_angle_rad, low), high)
        self._roll_goal = command.roll_rad

    def _stand(self) -> None:
        """Give every axis up where it is. Encoders are not asked: they may lie."""
        self._speed_goal, self._probe_goal = 0.0, (0.0, 0.0, 0.0)
        self._angle_goal = self._roll_goal = None

    def _maybe_fail(self, dt_s: float) -> None:
        if self.limits.failure_per_s <= 0 or self.fault is not None:
            return
        if self.rng.random() < -math.expm1(-self.limits.failure_per_s * dt_s):
            kind = RIG_FAULTS[int(self.rng.integers(len(RIG_FAULTS)))]
            if kind == "deaf":
                self._deaf_until_s = self.time_s + DEAF_S
            else:
                self.fault = kind


def _towards(at: float, goal: float, max_step: float) -> float:
    return at + min(max(goal - at, -max_step), max_step)
