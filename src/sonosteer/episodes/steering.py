"""The closed loop of steering: a hand pushes, the probe follows the tip, a tracker looks, a controller rolls the base.

Everything that is decided comes from images (or, for studies of the controller alone, from the tip's true place with
noise), and from the encoders of depth and roll. The truth is kept for judging.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import Clock
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Steerer, Tracker
from sonosteer.core.types import Command, Frame, Hint, TipEstimate, TipMeasurement, Track
from sonosteer.runtime.ledger import Ledger
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.world import World

DT_S = 0.01
#: ours: a hand-held device that rolls the base: orders 50 ms late, a degree of backlash
DEVICE = RigLimits(latency_s=0.05, roll_backlash_rad=0.0175, roll_rad_s=6.5)
WAITS_S = 0.7  # without a tip before the hand waits and the probe looks for it, back and forth along the needle
SWEEP_MM, SWEEP_S = 1.5, 2.0
BLIND_MM = 2.0  # that it is then pushed on, without a turn, before it waits again
LOST_STOPS_MM = 15.0  # pushed without a tip before it is given up
LOST_STOPS_S = 30.0
LONGEST_S = 300.0
FIELDS = (
    *("time_s", "depth_mm", "y_mm", "z_mm", "seen_y_mm", "seen_z_mm", "sd_mm"),
    *("ordered_rad", "base_rad", "tip_rad", "miss_mm", "miss_sd_mm"),
)


@dataclass
class Insertion:
    """What happened, one row per frame (NaN: not seen, not predicted), and why it ended."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    ended: str = "running"
    warned: bool = False
    rotation_rad: float = 0.0

    def column(self, name: str) -> F64:
        """One quantity over the frames."""
        i = FIELDS.index(name)
        return np.array([row[i] for row in self.rows])

    def path(self) -> F64:
        """(n, 3) depth, y, z of the tip, once per depth, deeper every time; tissue coordinates."""
        table = np.array([row[1:4] for row in self.rows]).reshape(-1, 3)
        deepest = np.maximum.accumulate(table[:, 0])
        new = np.diff(deepest, prepend=-1.0) > 1e-9
        out: F64 = table[new]
        return out


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one insertion in mm: at the end, mean over the path (Paper S, Eq. (20)), largest on the way."""

    final_mm: float
    mean_mm: float
    max_mm: float


def errors(path: F64, depth_mm: float, target_mm: Point = (0.0, 0.0)) -> Errors:
    """Distance of a path (depth, y, z) from the reference: the axis, bent as the square of the depth to the target."""
    share = (path[:, 0] / depth_mm) ** 2
    r = np.hypot(path[:, 1] - target_mm[0] * share, path[:, 2] - target_mm[1] * share)
    way = path[-1, 0] - path[0, 0]
    mean = float(np.trapezoid(r, path[:, 0]) / way) if way > 0 else float(r[-1])
    end = math.hypot(path[-1, 1] - target_mm[0], path[-1, 2] - target_mm[1])
    return Errors(end, mean, float(r.max()))


def insert(
    world: World,
    steerer: Steerer[Any],
    clock: Clock,
    ledger: Ledger,
    *,
    tracker: Tracker[Any] | None = None,
    noise_mm: float = 0.15,
    breath_known: bool = False,
    watch: Callable[[Frame, Any, Insertion], None] | None = None,
) -> Insertion:
    """Push the needle of an axial world by its hand's script to the scene's end, steered. tracker None: the tip's
    place with noise_mm instead of images. breath_known: the respiratory signal is measured.

    The world is restarted. Ctrl-C ends the run; what was done is in the result.
    """
    world.restart()
    scene = world.scene
    rng = np.random.default_rng([scene.seed, 11])
    state = steerer.start(world.rig.roll_rad)
    eyes = _Eyes(world, tracker, noise_mm, rng, ledger, clock)
    record = Insertion()
    roll, k, unseen_s, seen_mm = world.rig.roll_rad, 0, 0.0, world.rig.depth_mm
    period = round(1.0 / scene.rate_hz / DT_S)
    try:
        while True:
            tip, sd, frame, estimate = eyes.look()
            robot_state = world.read()
            breath = math.sin(math.pi * scene.breathing_hz * world.time_s) ** 4 if breath_known else 0.0
            depth = robot_state.depth_mm if tracker is None else min(robot_state.depth_mm, robot_state.probe_mm[1])
            measurement = TipMeasurement(world.time_s, max(depth, 0.0), robot_state.roll_rad, tip, sd, breath)
            before_s = clock.now_s()
            state, turn = steerer.step(state, measurement)
            ledger.timed("steer", (clock.now_s() - before_s))
            record.rotation_rad += abs(turn.roll_rad - roll)
            roll = turn.roll_rad
            record.rows.append(_row(world, measurement, turn))
            if watch is not None and frame is not None:
                watch(frame, estimate, record)
            unseen_s = 0.0 if tip is not None else unseen_s + period * DT_S
            seen_mm = world.rig.depth_mm if tip is not None else seen_mm
            blind_mm = world.rig.depth_mm - seen_mm
            if world.rig.depth_mm >= scene.end_mm - 1e-6:
                record.ended = "target depth reached"
                break
            if turn.stop or unseen_s > LOST_STOPS_S or blind_mm > LOST_STOPS_MM:
                record.ended, record.warned = turn.why if turn.stop else "stop: the tip is lost", True
                break
            if world.time_s > LONGEST_S:
                record.ended = f"not there after {LONGEST_S:g} s"
                break
            looking_s = unseen_s - WAITS_S
            waiting = looking_s > 0 and looking_s // SWEEP_S >= blind_mm // BLIND_MM
            for _ in range(period):
                _push(world, k, roll, looking_s % SWEEP_S if waiting else None)
                k += not waiting
    except KeyboardInterrupt:
        record.ended, ledger.interrupted = "interrupted", True
    ledger.close()
    return record


def _push(world: World, k: int, roll_rad: float, looking_s: float | None) -> None:
    """One hundredth of a second of the hand's script; a little more where it ends before the target.

    looking_s: for how long the hand has waited for a tip that is not seen; the probe sweeps.
    """
    scene, script, rig = world.scene, world.script, world.rig
    at_end = k >= len(script.speed_mm_s) - round(scene.end_rest_frames / scene.rate_hz / DT_S) - 20
    speed = scene.speed_mm_s if at_end else float(script.speed_mm_s[k])
    speed = min(speed, max(scene.end_mm - rig.depth_mm, 0.0) / DT_S)
    aim = rig.depth_mm
    if looking_s is not None:
        speed, aim = 0.0, aim - SWEEP_MM * (0.5 - 0.5 * math.cos(2 * math.pi * looking_s / SWEEP_S))
    follow = speed + 4.0 * (aim - rig.probe_mm[1])
    command = Command(
        expires_at_s=world.time_s + 0.5,
        insertion_speed_mm_s=speed,
        insertion_angle_rad=scene.angle_rad,
        roll_rad=roll_rad,
        probe_velocity_mm_s=(0.0, follow, 0.0),
    )
    world.order(command)
    world.advance(DT_S)


def _row(world: World, seen: TipMeasurement, turn: Any) -> tuple[float, ...]:
    state = world.plant.state
    tissue = world.plant.flexible.mechanics.breathing(world.time_s) if world.plant.flexible else np.zeros(2)
    _, y, z = state.tip_mm
    tip = seen.tip_mm or (math.nan, math.nan)
    miss = (turn.miss_mm, turn.miss_sd_mm)
    return (
        *(world.time_s, state.inserted_mm, y - float(tissue[0]), z - float(tissue[1]), *tip, seen.sd_mm),
        *(turn.roll_rad, world.rig.base_rad, state.roll_rad, *(math.nan if m is None else m for m in miss)),
    )


class _Eyes:
    """Images and a tracker, or the true tip with noise."""

    def __init__(
        self,
        world: World,
        tracker: Tracker[Any] | None,
        noise_mm: float,
        rng: np.random.Generator,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self.world, self.tracker, self.noise_mm, self.rng = world, tracker, noise_mm, rng
        self.ledger, self.clock = ledger, clock
        if tracker is not None:
            self.axis_px = world.to_px(world.scene.entry_mm, world.rig.probe_mm)
            self.state = tracker.start(Hint(start_px=self.axis_px))

    def look(self) -> tuple[Point | None, float, Frame | None, Any]:
        """(tip (y, z) in mm or None, its deviation, frame, estimate)."""
        if self.tracker is None:
            _, y, z = self.world.plant.state.tip_mm
            n = self.rng.normal(0.0, self.noise_mm, 2).tolist()
            return (y + n[0], z + n[1]), max(self.noise_mm, 1e-3), None, None
        before_s = self.clock.now_s()
        frame, _ = self.world.look()
        drawn_s = self.clock.now_s()
        self.state, estimate = self.tracker.step(self.state, frame)
        tracked_s = self.clock.now_s()
        self.ledger.timed("image", drawn_s - before_s)
        self.ledger.timed("track", tracked_s - drawn_s)
        self.ledger.count(estimate)
        if not isinstance(estimate, TipEstimate) or estimate.state is not Track.TRACKING:
            return None, 1.0, frame, estimate
        spacing = self.world.spacing
        x, y = self.axis_px
        tip = ((estimate.tip_px[0] - x) * spacing.x_mm, (estimate.tip_px[1] - y) * spacing.y_mm)
        return tip, max(estimate.sd_along_mm, estimate.sd_across_mm), frame, estimate
