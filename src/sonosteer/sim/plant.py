"""The needle in the world: from what the rig does to where the needle lies, in world millimetres.

World: x lateral, y elevation, z depth, from the middle of the probe's face at the start. A flexible needle bends in its
own frame, as a beam (`needle.flexible`) or by nonholonomic kinematics (`needle.nonholonomic`). This module turns that
frame into the world's. It knows nothing of the model that a controller steers by.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.needle.flexible import FlexibleNeedle, NeedleState
from sonosteer.needle.nonholonomic import NonholonomicNeedle
from sonosteer.needle.tissue import material

if TYPE_CHECKING:
    from sonosteer.sim.scenes import Scene

OUTSIDE_MM = 3.0  # chosen: length of shaft drawn before the skin
DRIFT_RAD_S = 0.35  # chosen: the tip drifts out of the plane and back within 18 s
MAX_PIVOT_RAD = 0.14  # chosen: about 8 degrees, so that the beam's slopes stay small
SLIP_PERIOD_MM = 30.0  # chosen: the slip comes and goes along the way, between none and twice its mean


class Plant:
    """A rigid or flexible needle at the scene's entry."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        self.flexible: FlexibleNeedle | NonholonomicNeedle | None = None
        self._phase = rng.uniform(0, 2 * math.pi)
        self._angle_rad = scene.angle_rad
        self._rigid_state = _rigid(0.0, 0.0)
        self._now = (scene.angle_rad, 0.0)
        if scene.material != "rigid":
            self.flexible = _flexible(scene, rng)
        self._yaw, self._bend = math.tan(math.radians(scene.yaw_deg)), scene.bend_per_mm
        self._slip_phase = np.random.default_rng([scene.seed, 41]).uniform(0, 2 * math.pi) if scene.slip else 0.0
        self._entry_slope = rng.normal(0.0, 1.0, 2) * scene.entry_sd_rad  # last: the fields do not depend on it

    @property
    def state(self) -> NeedleState:
        """Where the needle is in its own frame, and its forces."""
        return self._rigid_state if self.flexible is None else self.flexible.state

    def step(self, depth_mm: float, angle_rad: float, roll_rad: float, time_s: float) -> None:
        """The rig has taken the base to this depth, insertion angle (below the horizontal) and roll.

        A rigid needle pivots about its entry. Of a flexible one only the base does, up to 8 degrees.
        """
        self._now = (angle_rad, time_s)
        depth_mm -= self.slipped_mm(depth_mm)
        if self.flexible is None:
            self._rigid_state = _rigid(max(depth_mm, 0.0), roll_rad)
            return
        if self.scene.view == "axial":
            slope_x, slope_z = self._entry_slope.tolist()
        else:
            slope_x, slope_z = math.tan(min(max(self._angle_rad - angle_rad, -MAX_PIVOT_RAD), MAX_PIVOT_RAD)), 0.0
        self.flexible.step(depth_mm, roll_rad, time_s, (slope_x, slope_z))

    def slipped_mm(self, depth_mm: float) -> float:
        """How much of the encoder's depth has not reached the tip since the scene's start, mm."""
        if self.scene.slip == 0.0:
            return 0.0
        k = 2 * math.pi / SLIP_PERIOD_MM
        pushed = depth_mm - self.scene.start_mm
        waves = math.sin(k * pushed + self._slip_phase) - math.sin(self._slip_phase)
        return self.scene.slip * (pushed + waves / k) if pushed > 0.0 else 0.0

    def place(self) -> tuple[F64, tuple[float, float, float]]:
        """((n, 3) axis in the world from the tip back in mm, a range step apart, unit vector (x, y, z) of the tip)."""
        angle_rad, time_s = self._now
        entry, *axes = self._frame(angle_rad)
        step = self.scene.array.range_step_mm
        drift_rad, state = self._drift_rad(time_s) + self._yaw, self.state
        if self.flexible is None:
            along = state.inserted_mm - np.arange(0.0, state.inserted_mm + OUTSIDE_MM, step)
            local = np.zeros((len(along), 3))
            local[:, 0] = along
            local[:, 1] = 0.5 * self._bend * np.clip(along, 0, None) ** 2
        else:
            local = self.flexible.shape_mm(step, OUTSIDE_MM)
        local[:, 2] += drift_rad * local[:, 0]
        tx, ty, tz = state.direction
        if self.flexible is None:
            ty += self._bend * state.inserted_mm
        x, y, z = (np.array([tx, ty, tz + drift_rad]) @ np.array(axes)).tolist()
        norm = math.sqrt(x * x + y * y + z * z)
        return entry + local @ np.array(axes), (x / norm, y / norm, z / norm)

    def _frame(self, angle_rad: float) -> tuple[F64, F64, F64, F64]:
        """Entry in mm, then unit vectors: forward, towards the probe (axial: lateral), out of plane (axial: depth)."""
        scene = self.scene
        if scene.view == "axial":
            return np.array(scene.entry_mm), *np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        angle = angle_rad if self.flexible is None else self._angle_rad
        side = math.copysign(1.0, scene.direction[0])
        c, s = math.cos(angle), math.sin(angle)
        return np.array(scene.entry_mm), np.array([side * c, 0, s]), np.array([side * s, 0, -c]), np.array([0.0, 1, 0])

    def _drift_rad(self, time_s: float) -> float:
        """Out-of-plane angle in rad: the tip of a fully inserted needle wanders tip_y_mm out of the plane."""
        if self.scene.tip_y_mm == 0:
            return 0.0
        return self.scene.tip_y_mm / max(self.scene.end_mm, 1.0) * math.sin(DRIFT_RAD_S * time_s + self._phase)


def _flexible(scene: Scene, rng: np.random.Generator) -> FlexibleNeedle | NonholonomicNeedle:
    """The needle of the scene's plant."""
    mechanics = material(scene.material)
    breathing = (0.0, scene.breathing_mm) if scene.view == "axial" else (0.0, 0.0)
    mechanics = dataclasses.replace(mechanics, breathing_mm=breathing, breathing_hz=scene.breathing_hz)
    if scene.plant == "nonholonomic":
        return NonholonomicNeedle(
            scene.geometry,
            mechanics,
            rng,
            tissue=scene.material,
            bevel_gain=scene.bevel_gain,
            given=scene.nonholonomic,
        )
    layers = tuple((depth, k, force * scene.bevel_gain) for depth, k, force in mechanics.layers)
    return FlexibleNeedle(scene.geometry, dataclasses.replace(mechanics, layers=layers), rng)


def _rigid(depth_mm: float, roll_rad: float) -> NeedleState:
    """A straight needle. Its friction grows with the inserted length."""
    axial_n = 2.0 + 0.05 * depth_mm if depth_mm > 0 else 0.0  # chosen: 2 N to cut, 0.05 N of friction per mm
    return NeedleState(
        inserted_mm=depth_mm,
        tip_mm=(depth_mm, 0.0, 0.0),
        direction=(1.0, 0.0, 0.0),
        roll_rad=roll_rad,
        axial_n=axial_n,
        bevel_n=0.0,
        guide_n=0.0,
    )
