"""A steered insertion on the simulated rig, from its scene to how far the needle ends from its target.

A steering episode is a scene of an axial world, a tracker, a controller and a rig, put together once. A hand pushes the
needle, the probe follows the tip, the tracker looks, and the controller rolls the base (Carriere et al. 2019, Section
6). Decisions rest on images and on the encoders of depth and roll. Studies of the controller alone use the tip's true
position with noise instead of images. The truth is kept for the judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import Clock
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Steerer, Tracker
from sonosteer.core.types import Command, Estimate, Frame, Hint, RollCommand, TipEstimate, TipMeasurement, Track
from sonosteer.needle.tissue import respiratory_signal
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.steering_scenes import steering_scene
from sonosteer.sim.world import World
from sonosteer.steering.budget import RollLimits
from sonosteer.steering.obstacles import NO_OBSTACLES, Obstacles
from sonosteer.steering.table import make_steerer
from sonosteer.steering.transient import Transient
from sonosteer.trackers.table import make_tracker

HAND_PERIOD_S = 0.01  # chosen: as the scripts of the scenes
#: chosen: a hand-held device that rolls the base. Commands come 50 ms late, and the backlash is one degree
DEVICE = RigLimits(latency_s=0.05, roll_backlash_rad=0.0175, roll_rad_s=6.5)
WAITS_S = 0.7  # chosen: without a tip for so long the hand waits, and the probe looks for the tip along the needle
SWEEP_MM, SWEEP_S = 1.5, 2.0  # chosen: length and period of that sweep
BLIND_MM = 2.0  # chosen: after a sweep the needle is pushed on so far, without a turn, before the hand waits again
LOST_STOPS_MM, LOST_STOPS_S = 15.0, 30.0  # chosen: pushed so far, or so long without a tip, it is given up
MAX_INSERTION_S = 300.0  # chosen: longer than any script of a scene
AT_DEPTH_MM = 1e-6  # chosen: rounding of the inserted length
PROBE_GAIN_PER_S = 4.0  # chosen: the probe closes its gap to the tip at this rate
PUSH_LIFETIME_S = 0.5  # chosen: much longer than the hand's period


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringConfig:
    """What is steered, and where."""

    controller: str = "moves"
    """Name of the controller, see `steering.table`."""
    tissue: str = "porcine"
    """Tissue of the scene: porcine, bovine or plastisol."""
    recipe: str = "middle"
    """How strongly the bevel pulls: mild, middle or harsh."""
    seed: int = 0
    """Seed of scene and controller."""
    split: str = "test"
    """Split of the scenes: train, validation or test."""
    depth_mm: float = 120.0
    """Inserted length at the target, mm."""
    target_mm: Point = (0.0, 0.0)
    """Target (y, z) across the axis, mm."""
    obstacles: Obstacles = NO_OBSTACLES
    """What the needle must not touch."""
    limits: RollLimits = RollLimits()
    """Total rotation and rate that are allowed."""
    model: Transient | None = None
    """How the controller thinks that the needle answers a turn. None: the preset of the tissue."""
    controller_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the controller."""
    tracker: str | None = "axial"
    """Name of the tracker. None: no images, the controller gets the true tip with noise."""
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the tracker."""
    noise_mm: float = 0.15
    """Standard deviation of the true tip's noise where there is no tracker, mm each way."""
    breath_known: bool = False
    """Whether a respiratory signal is measured."""
    scene_fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the scene that differ from its recipe."""


@dataclass
class SteeringEpisode:
    """Everything of one steered insertion before it begins. Steerer and tracker can be exchanged for your own."""

    config: SteeringConfig
    """What it was built from."""
    world: World
    """The simulated scene with its rig."""
    steerer: Steerer[Any]
    """Who decides on the roll of the base."""
    tracker: Tracker[Any] | None
    """Who looks for the tip. None: the true tip with noise."""


class SteeringRow(NamedTuple):
    """One frame of a steered insertion. Positions are relative to the tissue, which breathing moves."""

    time_s: float
    """Time of the frame, s."""
    depth_mm: float
    """True inserted length, mm."""
    y_mm: float
    """True position of the tip along y, mm."""
    z_mm: float
    """True position of the tip along z, mm."""
    seen_y_mm: float | None
    """Measured position of the tip along y, mm. None if the tip was not seen."""
    seen_z_mm: float | None
    """Measured position of the tip along z, mm. None if the tip was not seen."""
    sd_mm: float
    """Standard deviation of the measured position, mm each way."""
    ordered_rad: float
    """Ordered roll of the base, rad."""
    base_rad: float
    """True roll of the base, rad."""
    tip_rad: float
    """True roll of the tip, rad."""
    miss_mm: float | None
    """Predicted distance from the target, mm. None if the controller predicts none."""
    miss_sd_mm: float | None
    """Standard deviation of that prediction, mm. None if the controller predicts none."""


@dataclass
class SteeringResult:
    """What came of a steered insertion."""

    rows: list[SteeringRow] = field(default_factory=list)
    """What happened, one row per frame."""
    ended: str = "running"
    """Why it ended."""
    warned: bool = False
    """Whether the needle was stopped before the target, by the controller or for want of a tip."""
    rotation_rad: float = 0.0
    """Total ordered rotation of the base, rad."""
    ledger: FrameLedger = field(default_factory=FrameLedger)
    """Frames by outcome, and the time of each stage."""

    def column(self, name: str) -> F64:
        """Return one quantity over the frames, (n,). NaN stands where there is none."""
        i = SteeringRow._fields.index(name)
        return np.array([math.nan if row[i] is None else row[i] for row in self.rows], np.float64)

    def path(self) -> F64:
        """Return the (n, 3) depth, y, z of the tip in the tissue, mm, each depth once and rising."""
        table = np.array([row[1:4] for row in self.rows]).reshape(-1, 3)
        deepest = np.maximum.accumulate(table[:, 0])
        new = np.diff(deepest, prepend=-1.0) > 1e-9
        out: F64 = table[new]
        return out


@dataclass(frozen=True, slots=True)
class PathErrors:
    """Distance of one insertion from its reference path."""

    final_mm: float
    """Distance at the end, mm."""
    mean_mm: float
    """Mean distance over the path, mm. Carriere et al. 2019, Eq. (20)."""
    max_mm: float
    """Largest distance on the way, mm."""


def path_errors(path: F64, depth_mm: float, target_mm: Point = (0.0, 0.0)) -> PathErrors:
    """Return the distance of a path (depth, y, z) from its reference.

    The reference is the axis, bent to the target as the square of the depth.
    """
    fraction = (path[:, 0] / depth_mm) ** 2
    r = np.hypot(path[:, 1] - target_mm[0] * fraction, path[:, 2] - target_mm[1] * fraction)
    way = path[-1, 0] - path[0, 0]
    mean = float(np.trapezoid(r, path[:, 0]) / way) if way > 0 else float(r[-1])  # Eq. (20)
    end = math.hypot(path[-1, 1] - target_mm[0], path[-1, 2] - target_mm[1])
    return PathErrors(final_mm=end, mean_mm=mean, max_mm=float(r.max()))


def build_steering_episode(config: SteeringConfig) -> SteeringEpisode:
    """Build the world, the controller and the tracker of a configuration.

    Raises InputError if a name in it is unknown, or if the controller cannot do what is asked.
    """
    scene = steering_scene(
        config.tissue, config.recipe, config.seed, split=config.split, depth_mm=config.depth_mm, **config.scene_fields
    )
    tracker = None if config.tracker is None else make_tracker(config.tracker, **config.tracker_settings)
    return SteeringEpisode(config=config, world=World(scene, DEVICE), steerer=build_steerer(config), tracker=tracker)


def build_steerer(config: SteeringConfig) -> Steerer[Any]:
    """Build the controller of a configuration. Raises InputError as `build_steering_episode` does."""
    return make_steerer(
        config.controller,
        tissue=config.tissue if config.model is None else config.model,
        depth_mm=config.depth_mm,
        target_mm=config.target_mm,
        obstacles=config.obstacles,
        limits=config.limits,
        backlash_rad=DEVICE.roll_backlash_rad,
        seed=config.seed,
        **config.controller_settings,
    )


def run_steering_episode(
    episode: SteeringEpisode,
    clock: Clock,
    *,
    watch: Callable[[Frame, Estimate, SteeringResult], None] | None = None,
) -> SteeringResult:
    """Push the needle by the hand's script to the end of the scene, steered. The world begins anew.

    clock: measures the time of each stage. watch: told of every image. Ctrl-C ends the run, and the result holds what
    was done.
    """
    world, steerer = episode.world, episode.steerer
    steerer.prepare()
    if episode.tracker is not None:
        episode.tracker.prepare()
    world.restart()
    result, hand = SteeringResult(), _Hand(world)
    sensor = _TipSensor(episode, clock, result.ledger)
    roll_rad = world.rig.roll_rad
    state = steerer.start(roll_rad)
    try:
        while True:
            measurement, frame, estimate = sensor.measure()
            before_s = clock.now_s()
            state, turn = steerer.step(state, measurement)
            result.ledger.timed("steer", (clock.now_s() - before_s))
            result.rotation_rad += abs(turn.roll_rad - roll_rad)
            roll_rad = turn.roll_rad
            result.rows.append(_row(world, measurement, turn))
            if watch is not None and frame is not None and estimate is not None:
                watch(frame, estimate, result)
            hand.notice(seen=measurement.tip_mm is not None)
            stopped = hand.stopped_by(turn)
            if hand.arrived or stopped is not None or world.time_s > MAX_INSERTION_S:
                late = f"not there after {MAX_INSERTION_S:g} s"
                result.ended = "target depth reached" if hand.arrived else stopped or late
                result.warned = stopped is not None and not hand.arrived
                break
            hand.push_until_next_frame(roll_rad)
    except KeyboardInterrupt:
        result.ended, result.ledger.interrupted = "interrupted", True
    result.ledger.close()
    return result


class _Hand:
    """Pushes by the script of the scene. Without a tip it waits, and the probe looks for the tip."""

    def __init__(self, world: World) -> None:
        self.world, self.script_at = world, 0
        self.unseen_s, self.seen_mm = 0.0, world.rig.depth_mm
        self.frame_steps = round(1.0 / world.scene.rate_hz / HAND_PERIOD_S)

    @property
    def blind_mm(self) -> float:
        """Insertion since the tip was last seen, mm."""
        return self.world.rig.depth_mm - self.seen_mm

    @property
    def arrived(self) -> bool:
        """Whether the needle is at the target's depth."""
        return self.world.rig.depth_mm >= self.world.scene.end_mm - AT_DEPTH_MM

    def notice(self, *, seen: bool) -> None:
        """Take in whether the tip is seen in this frame."""
        self.unseen_s = 0.0 if seen else self.unseen_s + self.frame_steps * HAND_PERIOD_S
        self.seen_mm = self.world.rig.depth_mm if seen else self.seen_mm

    def stopped_by(self, turn: RollCommand) -> str | None:
        """Return why the hand stops before the target, None if it goes on."""
        if turn.stop:
            return turn.why
        lost = self.unseen_s > LOST_STOPS_S or self.blind_mm > LOST_STOPS_MM
        return "stop: the tip is lost" if lost else None

    def push_until_next_frame(self, roll_rad: float) -> None:
        """Push for one frame, or wait and let the probe sweep along the needle."""
        looking_s = self.unseen_s - WAITS_S
        waiting = looking_s > 0 and looking_s // SWEEP_S >= self.blind_mm // BLIND_MM
        for _ in range(self.frame_steps):
            self._push(roll_rad, looking_s % SWEEP_S if waiting else None)
            self.script_at += not waiting

    def _push(self, roll_rad: float, looking_s: float | None) -> None:
        """Push for one period. Beyond the end of its script the hand pushes on evenly.

        looking_s: how long the probe has swept for the tip. None if the hand pushes.
        """
        world, scene, rig = self.world, self.world.scene, self.world.rig
        speed, aim = self._script_speed_mm_s(), rig.depth_mm
        if looking_s is not None:
            speed, aim = 0.0, aim - SWEEP_MM * (0.5 - 0.5 * math.cos(2 * math.pi * looking_s / SWEEP_S))
        follow = speed + PROBE_GAIN_PER_S * (aim - rig.probe_mm[1])
        command = Command(
            expires_at_s=world.time_s + PUSH_LIFETIME_S,
            insertion_speed_mm_s=speed,
            insertion_angle_rad=scene.angle_rad,
            roll_rad=roll_rad,
            probe_velocity_mm_s=(0.0, follow, 0.0),
        )
        world.order(command)
        world.advance(HAND_PERIOD_S)

    def _script_speed_mm_s(self) -> float:
        """Return the speed of the script, mm/s, and no more than what is left to the target."""
        world, scene = self.world, self.world.scene
        speeds = world.script.insertion_speed_mm_s
        at_end = self.script_at >= len(speeds) - round(scene.end_rest_frames / scene.rate_hz / HAND_PERIOD_S) - 20
        speed = scene.speed_mm_s if at_end else float(speeds[self.script_at])
        return min(speed, max(scene.end_mm - world.rig.depth_mm, 0.0) / HAND_PERIOD_S)


def _row(world: World, seen: TipMeasurement, turn: RollCommand) -> SteeringRow:
    """Return what happened in this frame, the truth beside what was measured."""
    state = world.plant.state
    tissue = world.plant.flexible.mechanics.breathing(world.time_s) if world.plant.flexible else np.zeros(2)
    _, y, z = state.tip_mm
    seen_y, seen_z = (None, None) if seen.tip_mm is None else seen.tip_mm
    return SteeringRow(
        time_s=world.time_s,
        depth_mm=state.inserted_mm,
        y_mm=y - float(tissue[0]),
        z_mm=z - float(tissue[1]),
        seen_y_mm=seen_y,
        seen_z_mm=seen_z,
        sd_mm=seen.sd_mm,
        ordered_rad=turn.roll_rad,
        base_rad=world.rig.base_rad,
        tip_rad=state.roll_rad,
        miss_mm=turn.miss_mm,
        miss_sd_mm=turn.miss_sd_mm,
    )


class _TipSensor:
    """Measures the tip: by images and a tracker, or as the true tip with noise. Encoders measure depth and roll."""

    def __init__(self, episode: SteeringEpisode, clock: Clock, ledger: FrameLedger) -> None:
        self.world, self.tracker, self.config = episode.world, episode.tracker, episode.config
        self.clock, self.ledger = clock, ledger
        self.rng = np.random.default_rng([self.world.scene.seed, 11])
        if self.tracker is not None:
            self.axis_px = self.world.to_px(self.world.scene.entry_mm, self.world.rig.probe_mm)
            self.state = self.tracker.start(Hint(start_px=self.axis_px))

    def measure(self) -> tuple[TipMeasurement, Frame | None, Estimate | None]:
        """Return the measurement of this frame, with its image and the tracker's estimate if there is a tracker."""
        world = self.world
        tip, sd_mm, frame, estimate = self._true_tip() if self.tracker is None else self._tracked_tip(self.tracker)
        robot_state = world.read()
        breath = respiratory_signal(world.scene.breathing_hz, world.time_s) if self.config.breath_known else 0.0
        depth = robot_state.depth_mm
        if self.tracker is not None:  # the image lies where the probe is
            depth = min(depth, robot_state.probe_mm[1])
        measurement = TipMeasurement(
            time_s=world.time_s,
            depth_mm=max(depth, 0.0),
            roll_rad=robot_state.roll_rad,
            tip_mm=tip,
            sd_mm=sd_mm,
            breath=breath,
        )
        return measurement, frame, estimate

    def _true_tip(self) -> tuple[Point | None, float, Frame | None, Estimate | None]:
        """Return the true tip (y, z) with noise and its standard deviation, mm."""
        _, y, z = self.world.plant.state.tip_mm
        noise_mm = self.config.noise_mm
        n = self.rng.normal(0.0, noise_mm, 2).tolist()
        return (y + n[0], z + n[1]), max(noise_mm, 1e-3), None, None

    def _tracked_tip(self, tracker: Tracker[Any]) -> tuple[Point | None, float, Frame | None, Estimate | None]:
        """Return the tracked tip (y, z) and its standard deviation, mm, with image and estimate."""
        before_s = self.clock.now_s()
        frame, _ = self.world.look()
        drawn_s = self.clock.now_s()
        self.state, estimate = tracker.step(self.state, frame)
        tracked_s = self.clock.now_s()
        self.ledger.timed("image", drawn_s - before_s)
        self.ledger.timed("track", tracked_s - drawn_s)
        self.ledger.tracked(estimate)
        if not isinstance(estimate, TipEstimate) or estimate.state is not Track.TRACKING:
            return None, 1.0, frame, estimate
        along_mm, across_mm = estimate.sd_along_mm, estimate.sd_across_mm
        if along_mm is None or across_mm is None:  # said in pixels only: its place in mm is not known
            return None, 1.0, frame, estimate
        spacing = self.world.spacing
        x, y = self.axis_px
        tip = ((estimate.tip_px[0] - x) * spacing.x_mm, (estimate.tip_px[1] - y) * spacing.y_mm)
        return tip, max(along_mm, across_mm), frame, estimate
