"""The robot that holds needle and probe: what it is told, what it does, what it says it did.

Needle: axial displacement, insertion angle, base rotation. Probe: three translations. Every axis has limits of
travel, speed and acceleration; orders arrive late; encoders are noisy; and a fault may stop an axis or deafen the
controller. The rig protects itself, not the patient: safety belongs to the gate in front of it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sonosteer.core.config import check_finite
from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, RobotState
from sonosteer.needle.torsion import follow

Fault = Literal["stalled", "probe stuck", "deaf"]
FAULTS: tuple[Fault, ...] = ("stalled", "probe stuck", "deaf")
DEAF_S = 0.5


@dataclass(frozen=True, slots=True)
class RigLimits:
    """Travel in mm and rad, speeds per second, accelerations per second squared.

    roll_backlash_rad: play between the roll's motor, where its encoder sits, and the needle's base, in all.
    latency_s: from order to motor. encoder_mm, encoder_rad: sd of the readings. failure_per_s: rate of faults.
    """

    depth_mm: tuple[float, float] = (0.0, 190.0)
    angle_rad: tuple[float, float] = (math.radians(5), math.radians(80))
    probe_mm: tuple[float, float, float] = (60.0, 190.0, 10.0)
    insertion_mm_s: float = 50.0
    insertion_mm_s2: float = 1000.0
    angle_rad_s: float = 0.5
    roll_rad_s: float = 6.0
    probe_mm_s: float = 60.0
    latency_s: float = 0.0
    roll_backlash_rad: float = 0.0
    encoder_mm: float = 0.02
    encoder_rad: float = 0.001
    failure_per_s: float = 0.0

    def __post_init__(self) -> None:
        check_finite(self, "rig")
        for name in ("insertion_mm_s", "insertion_mm_s2", "angle_rad_s", "roll_rad_s", "probe_mm_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"rig: {name} is {getattr(self, name)}, but must be more than 0")
        for name in ("latency_s", "roll_backlash_rad", "encoder_mm", "encoder_rad", "failure_per_s"):
            if not getattr(self, name) >= 0:
                raise InputError(f"rig: {name} is {getattr(self, name)}, but must not be negative")


@dataclass(slots=True)
class Rig:
    """State of the axes, in the open. `order` takes an action, `advance` lets time pass.

    roll_rad: of the motor; base_rad: of the needle's base, which lags it by the backlash.
    """

    limits: RigLimits
    rng: np.random.Generator
    depth_mm: float = 0.0
    angle_rad: float = math.radians(45)
    roll_rad: float = 0.0
    probe_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    speed_mm_s: float = 0.0
    time_s: float = 0.0
    fault: Fault | None = None
    base_rad: float = math.nan
    _deaf_until_s: float = -1.0
    _angle_goal: float = math.nan
    _roll_goal: float = math.nan
    _speed_goal: float = 0.0
    _probe_speed: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _expires_s: float = math.inf
    _waiting: deque[tuple[float, Action]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if math.isnan(self.base_rad):
            self.base_rad = self.roll_rad

    def order(self, action: Action) -> None:
        """Take an order; it acts after the latency, and never past its expiry. What is not a number is refused."""
        numbers = (action.insertion_speed_mm_s, action.insertion_angle_rad, action.base_rotation_rad)
        if not all(map(math.isfinite, (*numbers, *action.probe_speed_mm_s))):
            raise InputError(f"rig: an order that is not a number was refused: {action}")
        if self.time_s >= self._deaf_until_s:
            self._waiting.append((self.time_s + self.limits.latency_s, action))

    def advance(self, dt_s: float) -> None:
        """Let dt_s pass; motion stops where an order expires, at the end of travel and on a fault."""
        self._maybe_fail(dt_s)
        self.time_s += dt_s
        while self._waiting and self._waiting[0][0] <= self.time_s:
            self._take(self._waiting.popleft()[1])
        if not self.time_s <= self._expires_s:
            self._speed_goal, self._probe_speed = 0.0, (0.0, 0.0, 0.0)
        limits = self.limits
        stalled = self.fault == "stalled"
        goal = 0.0 if stalled else min(max(self._speed_goal, -limits.insertion_mm_s), limits.insertion_mm_s)
        change = limits.insertion_mm_s2 * dt_s
        before = self.speed_mm_s
        self.speed_mm_s = 0.0 if stalled else before + min(max(goal - before, -change), change)
        depth = self.depth_mm + 0.5 * (before + self.speed_mm_s) * dt_s
        self.depth_mm = min(max(depth, limits.depth_mm[0]), limits.depth_mm[1])
        if self.depth_mm != depth:
            self.speed_mm_s = 0.0
        if math.isfinite(self._angle_goal):
            self.angle_rad = _towards(self.angle_rad, self._angle_goal, limits.angle_rad_s * dt_s)
        if math.isfinite(self._roll_goal):
            self.roll_rad = _towards(self.roll_rad, self._roll_goal, limits.roll_rad_s * dt_s)
            self.base_rad = follow(self.base_rad, self.roll_rad, 0.5 * limits.roll_backlash_rad)
        if self.fault != "probe stuck":
            moved = []
            for at, speed, travel in zip(self.probe_mm, self._probe_speed, limits.probe_mm, strict=True):
                speed = min(max(speed, -limits.probe_mm_s), limits.probe_mm_s)
                moved.append(min(max(at + speed * dt_s, -travel), travel))
            self.probe_mm = (moved[0], moved[1], moved[2])

    def read(self) -> RobotState:
        """The encoders, with their noise."""
        mm, rad = self.limits.encoder_mm, self.limits.encoder_rad
        n = self.rng.standard_normal(7)
        probe = tuple(p + mm * e for p, e in zip(self.probe_mm, n[4:], strict=True))
        return RobotState(
            self.time_s,
            self.depth_mm + mm * n[0],
            self.speed_mm_s + 10 * mm * n[1],
            self.angle_rad + rad * n[2],
            self.roll_rad + rad * n[3],
            (probe[0], probe[1], probe[2]),
            self.fault,
        )

    def clear_fault(self) -> None:
        """Someone has put it right."""
        self.fault = None

    def _take(self, action: Action) -> None:
        if action.expired(self.time_s):
            return
        self._expires_s = action.expires_at_s
        self._speed_goal = 0.0 if action.stop else action.insertion_speed_mm_s
        self._probe_speed = (0.0, 0.0, 0.0) if action.stop else action.probe_speed_mm_s
        low, high = self.limits.angle_rad
        self._angle_goal = min(max(action.insertion_angle_rad, low), high)
        self._roll_goal = action.base_rotation_rad

    def _maybe_fail(self, dt_s: float) -> None:
        if self.limits.failure_per_s <= 0 or self.fault is not None:
            return
        if self.rng.random() < -math.expm1(-self.limits.failure_per_s * dt_s):
            kind = FAULTS[int(self.rng.integers(len(FAULTS)))]
            if kind == "deaf":
                self._deaf_until_s = self.time_s + DEAF_S
            else:
                self.fault = kind


def _towards(at: float, goal: float, most: float) -> float:
    return at + min(max(goal - at, -most), most)
