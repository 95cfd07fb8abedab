"""A clip's script: what the rig is told at every moment, written before the clip begins.

The needle is pushed at a constant speed, or by a hand: the speed wanders, pauses and turns back for a while. The
probe stands, slides along with the needle, or (axial) follows the tip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonosteer.core.arrays import F64

if TYPE_CHECKING:
    from sonosteer.sim.scenes import Scene

SCRIPT_STEP_S = 0.01  # chosen: 5 steps per frame at 20 Hz
MAX_SCRIPT_S = 600.0  # chosen: a script ends after ten minutes, also if the needle has not got there


@dataclass(frozen=True)
class Script:
    """What the rig is told during a clip, every SCRIPT_STEP_S."""

    insertion_speed_mm_s: F64
    """(n,) insertion speed, mm/s. Negative draws the needle back."""
    roll_rad: F64
    """(n,) roll of the base, rad."""
    probe_velocity_mm_s: F64
    """(n, 3) velocity of the probe along x, y, z, mm/s."""
    frames: int
    """Number of frames of the clip."""


def write_script(scene: Scene, rng: np.random.Generator) -> Script:
    """Draw the script of a scene from `rng`."""
    still = np.zeros(round(scene.rest_frames / scene.rate_hz / SCRIPT_STEP_S))
    moving = _hand(scene, rng) if scene.pace == "hand" else _constant(scene)
    moving = np.concatenate([moving, _leaving(scene, scene.start_mm + max(float(moving.sum()) * SCRIPT_STEP_S, 0.0))])
    speed = np.concatenate([still, moving, np.zeros(round(scene.end_rest_frames / scene.rate_hz / SCRIPT_STEP_S) + 1)])
    frames = 1 + math.floor((len(speed) - 1) * SCRIPT_STEP_S * scene.rate_hz + 1e-6)
    speed = np.concatenate([speed, np.zeros(round(1 / scene.rate_hz / SCRIPT_STEP_S) + 2)])
    roll = _roll(scene, speed, rng)
    return Script(
        insertion_speed_mm_s=speed, roll_rad=roll, probe_velocity_mm_s=_probe(scene, speed, rng), frames=frames
    )


def _constant(scene: Scene) -> F64:
    """(n,) constant speed in mm/s. The last step is shorter, so that the end is met exactly."""
    seconds = min((scene.end_mm - scene.start_mm) / scene.speed_mm_s, MAX_SCRIPT_S)
    n = math.ceil(seconds / SCRIPT_STEP_S)
    speed = np.full(n, scene.speed_mm_s)
    if n:
        speed[-1] = (scene.end_mm - scene.start_mm) / SCRIPT_STEP_S - scene.speed_mm_s * (n - 1)
    return speed.clip(max=scene.speed_mm_s)


def _hand(scene: Scene, rng: np.random.Generator) -> F64:
    """(n,) speed of a hand in mm/s: it wanders over 0.8 s, pauses for 0.5 to 2 s and retracts by 2 to 6 mm.

    At the end it draws the needle back by back_mm, at 0.15 to 0.5 of the speed. All numbers are chosen.
    """
    way = scene.end_mm - scene.start_mm
    stops = np.sort(rng.uniform(0.1, 0.9, scene.pauses)) * way
    backs = np.sort(rng.uniform(0.2, 0.9, scene.retractions)) * way
    speed: list[float] = []
    at, drift, stop_i, back_i = 0.0, 0.0, 0, 0
    fade = math.exp(-SCRIPT_STEP_S / 0.8)
    while at < way and len(speed) < MAX_SCRIPT_S / SCRIPT_STEP_S:
        if stop_i < len(stops) and at > stops[stop_i]:
            speed += [0.0] * int(rng.uniform(0.5, 2.0) / SCRIPT_STEP_S)
            stop_i += 1
        if back_i < len(backs) and at > backs[back_i]:
            n = int(rng.uniform(2.0, 6.0) / scene.speed_mm_s / SCRIPT_STEP_S)
            speed += [-scene.speed_mm_s] * n
            at -= n * scene.speed_mm_s * SCRIPT_STEP_S
            back_i += 1
        drift = fade * drift + math.sqrt(1 - fade**2) * rng.standard_normal()
        v = scene.speed_mm_s * min(max(1 + scene.speed_sd * drift, 0.15), 2.5)
        speed.append(v)
        at += v * SCRIPT_STEP_S
    if scene.back_mm > 0:
        speed += [0.0] * int(rng.uniform(0.2, 0.8) / SCRIPT_STEP_S)
        v = scene.speed_mm_s * rng.uniform(0.15, 0.5)
        speed += [-v] * int(min(scene.back_mm, way) / v / SCRIPT_STEP_S)
    return np.array(speed)


def _leaving(scene: Scene, inserted_mm: float) -> F64:
    """(n,) speed in mm/s that draws the needle out after half a second, at twice its speed but within two seconds."""
    if not scene.leaves:
        return np.zeros(0)
    v = max(2 * scene.speed_mm_s, inserted_mm / 2.0)
    rest, steps = round(0.5 / SCRIPT_STEP_S), int(inserted_mm / v / SCRIPT_STEP_S) + 30
    return np.concatenate([np.zeros(rest), np.full(steps, -v)])


def _roll(scene: Scene, speed: F64, rng: np.random.Generator) -> F64:
    """(n,) roll of the base in rad: as set, with `turns` turns of up to half a turn, each within half a second."""
    roll = np.full(len(speed), math.radians(scene.roll_deg))
    moving = np.flatnonzero(speed > 0)
    for _ in range(scene.turns if len(moving) else 0):
        begin = int(moving[int(rng.uniform(0.15, 0.85) * (len(moving) - 1))])
        n = round(0.5 / SCRIPT_STEP_S)
        ramp = np.clip(np.arange(len(speed) - begin) / n, 0, 1)
        roll[begin:] += rng.uniform(-math.pi, math.pi) * ramp
    return roll


def _probe(scene: Scene, speed: F64, rng: np.random.Generator) -> F64:
    """(n, 3) velocity of the probe in mm/s."""
    out = np.zeros((len(speed), 3))
    wander = _wander(len(speed), scene.probe_wander_mm, rng)
    if scene.view == "axial":  # follow the tip, late and not quite
        keep = math.exp(-SCRIPT_STEP_S / scene.probe_lag_s) if scene.probe_lag_s > 0 else 0.0
        v = 0.0
        for i, s in enumerate(speed):
            v = keep * v + (1 - keep) * s
            out[i, 1] = v
        out[:, 1] += wander
    else:
        way = np.cumsum(np.abs(speed)) * SCRIPT_STEP_S
        total = way[-1] if len(way) and way[-1] > 0 else 1.0
        side = math.copysign(1.0, scene.direction[0])
        out[:, 0] = side * scene.probe_slide_mm * np.abs(speed) / total
        out[:, 1] = wander
    _add_jerks(out, scene, rng)
    return out


def _add_jerks(velocity_mm_s: F64, scene: Scene, rng: np.random.Generator) -> None:
    """Add sudden moves of the probe, each within a tenth to a third of a second, in place."""
    for _ in range(scene.jerks):
        begin, n = int(rng.uniform(0.1, 0.9) * len(velocity_mm_s)), int(rng.uniform(0.1, 0.35) / SCRIPT_STEP_S)
        n = min(n, len(velocity_mm_s) - begin)
        way = rng.normal(0, scene.jerk_mm, 2)
        velocity_mm_s[begin : begin + n, :2] += way * (1 / max(n, 1) / SCRIPT_STEP_S)


def _wander(n: int, sd_mm: float, rng: np.random.Generator) -> F64:
    """(n,) velocity in mm/s of a smooth unsteadiness of about sd_mm: three slow sines of random phase."""
    if sd_mm == 0 or n < 2:
        return np.zeros(n)
    t = np.arange(n) * SCRIPT_STEP_S
    place = np.zeros(n)
    for period in (1.7, 3.1, 5.3):
        place += sd_mm * math.sqrt(2 / 3) * np.sin(2 * np.pi * (t / period + rng.random())) * rng.uniform(0.5, 1.2)
    return np.gradient(place, SCRIPT_STEP_S)
