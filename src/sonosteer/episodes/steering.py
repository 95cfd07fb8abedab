"""A steered insertion on the simulated rig, from its scene to how far the needle ends from its target.

A steering episode is a scene of an axial world, a tracker, a controller and a rig, put together once. A hand pushes the
needle, the probe follows the tip, the tracker looks, and the controller rolls the base (Carriere et al. 2019, Section
6). It runs in the loop of every insertion: the controller and the hand are a policy (`policies/steered`), and what they
want goes through the gate to the rig. Decisions rest on images and on the encoders of depth and roll. Studies of the
controller alone use a position sensor with noise instead of images. The truth is kept for the judge.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import Clock, RealClock, SimulatedClock
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Policy, Steerer, Tracker
from sonosteer.core.types import (
    Action,
    Capture,
    Estimate,
    Frame,
    Hint,
    Observation,
    RollCommand,
    Task,
    TipMeasurement,
)
from sonosteer.episodes.position_sensor import COUNT_MM, MIDDLE_PX, PositionSensor, sensor_reading
from sonosteer.policies.steered import REACHED, Hand, Steered, SteeredState
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.robots.simulated import SimulatedRobot
from sonosteer.robots.simulated_rig import SimulatedRig
from sonosteer.runtime.branches import ControlBranch, NoRecorder, PolicyBranch, Recorder, TrackingBranch, with_fields
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import Pace, Run, insert
from sonosteer.runtime.live import insert_live
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.script import SCRIPT_STEP_S
from sonosteer.sim.steering_scenes import steering_scene
from sonosteer.sim.world import World
from sonosteer.steering.budget import RollLimits
from sonosteer.steering.obstacles import NO_OBSTACLES, Obstacles
from sonosteer.steering.table import make_steerer
from sonosteer.steering.transient import Transient
from sonosteer.trackers.table import make_tracker

#: chosen: a hand-held device that rolls the base. Commands come 50 ms late, and the backlash is one degree
DEVICE = RigLimits(latency_s=0.05, roll_backlash_rad=0.0175, roll_rad_s=6.5)
#: chosen: a control period a picture, since a controller decides no more often. Tracker and controller take less than a
#: millisecond each. A hand may wait 30 s for a tip. No script of a scene takes as long as 300 s
PACE = Pace(
    track_s=1e-3,
    decide_s=1e-3,
    together_s=1e-3,
    asynchronous=False,
    period_s=0.05,
    patience_s=40.0,
    settle_s=0.2,
    longest_s=300.0,
)
WARNING = "warning: "  # how a reason begins by which a controller warns
LIVE_PACE = replace(PACE, period_s=0.025)  # chosen: a picture that comes between two periods waits less
PAST_TARGET_MM = 0.5  # chosen: the gate lets the needle go no further beyond the target's depth
FOLLOWS_MM = 10.0  # chosen: the probe follows the tip to the target's depth, and needs room to stop
OVERLAP_S = 0.025  # chosen: an order outlasts the arrival of the next by so much, else the needle moves in jerks
SCRIPT_TAIL_S = 0.2  # chosen: rest at the end of a scene's script, beside that of its last pictures
DECIDING_STAGES = ("image", "track", "steer")


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
    plant: str = "beam"
    """How the simulated needle moves: beam or nonholonomic."""
    device: RigLimits = DEVICE
    """What rolls and pushes the needle: its latency, backlash and rates."""
    scene_fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the scene that differ from its recipe."""
    live: bool = False
    """True for a run on a real clock, False for one on the simulated clock."""


@dataclass
class SteeringEpisode:
    """Everything of one steered insertion before it begins. Steerer, tracker, robot can be exchanged for your own."""

    config: SteeringConfig
    """What it was built from."""
    world: World
    """The simulated scene with its rig."""
    steerer: Steerer[Any]
    """Who decides on the roll of the base."""
    tracker: Tracker[Any]
    """Who looks for the tip: in images, or as a position sensor."""
    robot: Any
    """What carries out cleared commands."""

    @property
    def images(self) -> bool:
        """Whether the tip is looked for in images. Otherwise a position sensor measures it."""
        return not isinstance(self.tracker, PositionSensor)

    @property
    def axis_px(self) -> Point:
        """Where the insertion axis goes through the picture, px: (column, row)."""
        scene = self.world.scene
        start = (0.0, scene.start_mm, 0.0)
        return self.world.to_px(scene.entry_mm, start) if self.images else MIDDLE_PX

    @property
    def task(self) -> Task:
        """What is to be done."""
        (x, y), (ty, tz) = self.axis_px, self.config.target_mm
        mm = self.world.spacing if self.images else COUNT_MM
        target_px = (x + ty / mm.x_mm, y + tz / mm.y_mm)
        return Task(target_px, "across", self.world.scene.angle_rad, "left", mm)

    @property
    def hint(self) -> Hint:
        """What the tracker is told of the first picture: where the insertion axis is."""
        return Hint(start_px=self.axis_px)

    @property
    def hand(self) -> Hand:
        """The hand that pushes by the scene's script."""
        world, scene = self.world, self.world.scene
        speeds = world.script.insertion_speed_mm_s
        rest_s = scene.end_rest_frames / scene.rate_hz + SCRIPT_TAIL_S
        return Hand(
            speeds_mm_s=tuple(speeds[: max(len(speeds) - round(rest_s / SCRIPT_STEP_S), 0)].tolist()),
            step_s=SCRIPT_STEP_S,
            even_mm_s=scene.speed_mm_s,
            depth_mm=scene.end_mm,
            frame_s=1.0 / scene.rate_hz,
        )

    @property
    def policy(self) -> Steered:
        """The controller and the hand, as one policy."""
        return Steered(
            steerer=self.steerer,
            hand=self.hand,
            target_mm=self.config.target_mm,
            image_follows=self.images,
            breathing_hz=self.world.scene.breathing_hz if self.config.breath_known else None,
        )

    @property
    def gate(self) -> Gate:
        """The safety gate. The target's depth is its limit. Pictures stand across the needle."""
        return Gate(steering_limits(self.world.scene.end_mm), (), self.task.spacing, shows_depth=False)

    def configuration(self) -> dict[str, Any]:
        """All that a replay needs beside the words of the command, to build tracker, policy and gate again."""
        policy, gate = self.policy, self.gate
        steered = {"hand": policy.hand, "image_follows": policy.image_follows, "breathing_hz": policy.breathing_hz}
        return {
            "task": self.task,
            "hint": self.hint,
            "limits": gate.limits,
            "regions": [],
            "shows_depth": gate.shows_depth,
            "steered": steered,
        }


def steering_limits(depth_mm: float) -> Limits:
    """Return the gate's limits for an insertion to this depth, mm."""
    return Limits(
        depth_mm=(0.0, depth_mm + PAST_TARGET_MM),
        probe_mm=(1.0, depth_mm + FOLLOWS_MM, 1.0),
        growth_s=PACE.period_s,
        order_s=PACE.period_s + DEVICE.latency_s + OVERLAP_S,
    )


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
    """What happened, one row per frame that was decided on."""
    ended: str = "running"
    """Why it ended."""
    warned: bool = False
    """Whether the needle was stopped before the target, by the controller or for want of a tip."""
    warnings: tuple[str, ...] = ()
    """What the controller warned of on the way, the first of each kind, with the inserted length."""
    rotation_rad: float = 0.0
    """Total ordered rotation of the base, rad."""
    run: Run = field(default_factory=Run)
    """What the loop says: decisions, frames by outcome, and why it ended."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of actions that the gate refused, by rule."""
    held_because: Counter[str] = field(default_factory=Counter)
    """Number of control periods at hold, by rule."""

    @property
    def ledger(self) -> FrameLedger:
        """Frames by outcome, and the time of each stage."""
        return self.run.ledger

    def timing_ms(self, *, live: bool = False) -> dict[str, list[float]]:
        """Return how long each stage took for each frame, ms. live: also from a frame's capture to each stage's end.

        On a simulated clock those are settings, not times.
        """
        times_ms = self.ledger.times_ms
        return {stage: times for stage, times in times_ms.items() if times and (live or stage in DECIDING_STAGES)}

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
        config.tissue,
        config.recipe,
        config.seed,
        split=config.split,
        depth_mm=config.depth_mm,
        plant=config.plant,
        **config.scene_fields,
    )
    world = World(scene, config.device)
    return SteeringEpisode(
        config=config,
        world=world,
        steerer=build_steerer(config),
        tracker=build_steering_tracker(config),
        robot=SimulatedRobot(world),
    )


def build_steering_tracker(config: SteeringConfig) -> Tracker[Any]:
    """Build the tracker of a configuration, or the position sensor in its place. Raises InputError as above."""
    if config.tracker is None:
        return PositionSensor(max(config.noise_mm, 1e-3))
    return make_tracker(config.tracker, **config.tracker_settings)


def build_steerer(config: SteeringConfig) -> Steerer[Any]:
    """Build the controller of a configuration. Raises InputError as `build_steering_episode` does."""
    return make_steerer(
        config.controller,
        tissue=config.tissue if config.model is None else config.model,
        depth_mm=config.depth_mm,
        target_mm=config.target_mm,
        obstacles=config.obstacles,
        limits=config.limits,
        backlash_rad=config.device.roll_backlash_rad,
        seed=config.seed,
        **config.controller_settings,
    )


def run_steering_episode(
    episode: SteeringEpisode,
    clock: Clock,
    *,
    recorder: Recorder | None = None,
    watch: Callable[[Frame, Observation | None], None] | None = None,
    button: Button | None = None,
) -> SteeringResult:
    """Push the needle by the hand's script to the target's depth, steered. The world begins anew.

    clock: measures the time of each stage. watch: told of every frame, with the newest observation. button: of a live
    run. Ctrl-C ends the run, and the result holds what was done.
    """
    config, world, task = episode.config, episode.world, episode.task
    tracker = with_fields(episode.tracker, waits=False) if config.live else episode.tracker
    tracker.prepare()
    episode.steerer.prepare()
    world.restart()
    rig = _SteeringRig(episode, clock)
    policy = _Noting(episode.policy, clock)
    timed = _Timed(tracker, clock)
    tracking_branch = TrackingBranch.open(timed, task, episode.hint)
    policy_branch = PolicyBranch.open(policy, task)
    run_clock = RealClock() if config.live else SimulatedClock()  # time begins when all is ready
    control_branch = ControlBranch.open(
        episode.gate, episode.robot, task, run_clock.now_s(), recorder=recorder or NoRecorder()
    )

    def look(now_s: float, capture: Capture | None, seen: Observation | None) -> str | None:
        if watch is not None and capture is not None:
            watch(capture.frame, seen)
        return None

    branches = (rig, tracking_branch, policy_branch, control_branch)
    if isinstance(run_clock, SimulatedClock):
        run = insert(*branches, run_clock, PACE, watch=look)
    else:
        run = insert_live(*branches, run_clock, LIVE_PACE, watch=look, button=button)
    for stage, times_s in (
        ("image", rig.times_s),
        ("track", timed.times_s),
        ("steer", policy.times_s),
    ):
        for each_s in times_s:
            run.ledger.timed(stage, each_s)
    return _result(run, control_branch, rig, policy.noted)


def _result(
    run: Run, control_branch: ControlBranch, rig: _SteeringRig, noted: list[tuple[int, SteeredState]]
) -> SteeringResult:
    """Put together what was decided and what really was."""
    rows, rotation_rad, roll_rad = [], 0.0, None
    ended = run.ended
    for index, state in noted:
        if state.measurement is None or state.turn is None:
            continue
        at_rad = state.measurement.roll_rad if roll_rad is None else roll_rad
        rotation_rad += abs(state.turn.roll_rad - at_rad)
        roll_rad = state.turn.roll_rad
        rows.append(_row(rig.noted[index], state.measurement, state.turn))
    if run.stopped and not run.interrupted and noted:
        ended = noted[-1][1].ended or run.ended
    return SteeringResult(
        rows=rows,
        ended=ended,
        warned=run.stopped and ended != REACHED,
        warnings=_warnings(noted),
        rotation_rad=rotation_rad,
        run=run,
        refused=control_branch.refused,
        held_because=control_branch.held_because,
    )


def _warnings(noted: list[tuple[int, SteeredState]]) -> tuple[str, ...]:
    """Return the first warning of each kind. Those of a kind differ in their numbers only."""
    first: dict[str, str] = {}
    for _, state in noted:
        if state.measurement is not None and state.turn is not None and state.turn.why.startswith(WARNING):
            said = state.turn.why.removeprefix(WARNING)
            first.setdefault(re.sub(r"[0-9.]+", "", said), f"at {state.measurement.depth_mm:.0f} mm: {said}")
    return tuple(first.values())


class _TruePose(NamedTuple):
    """What really was when a frame was acquired. The tip is relative to the tissue."""

    time_s: float
    depth_mm: float
    y_mm: float
    z_mm: float
    base_rad: float
    tip_rad: float


class _SteeringRig(SimulatedRig):
    """The camera, or the position sensor, and the time of the world. It keeps what really was at every frame."""

    def __init__(self, episode: SteeringEpisode, clock: Clock) -> None:
        super().__init__(episode.world, episode.robot.lock)
        self.images, self.noise_mm, self.clock = episode.images, episode.config.noise_mm, clock
        self.noted: dict[int, _TruePose] = {}
        self.times_s: list[float] = []
        self._rng = np.random.default_rng([episode.world.scene.seed, 11])
        self._index = 0

    def look(self) -> Frame:
        """Take a picture, or a reading, now."""
        before_s = self.clock.now_s()
        frame = super().look() if self.images else self._reading()
        if self.images:
            self.times_s.append(self.clock.now_s() - before_s)
        self.noted[frame.index] = _true_pose(self.world)
        return frame

    def _reading(self) -> Frame:
        """Measure the true tip with noise."""
        _, y, z = self.world.plant.state.tip_mm
        n = self._rng.normal(0.0, self.noise_mm, 2).tolist()
        frame = sensor_reading(self._index, self.world.time_s, (y + n[0], z + n[1]))
        self._index += 1
        return frame


class _Timed(Tracker[Any]):
    """A tracker whose steps are timed."""

    def __init__(self, tracker: Tracker[Any], clock: Clock) -> None:
        self.tracker, self.clock = tracker, clock
        self.times_s: list[float] = []

    def prepare(self) -> None:
        """Let it prepare."""
        self.tracker.prepare()

    def start(self, hint: Hint) -> Any:
        """Return its state before the first frame."""
        return self.tracker.start(hint)

    def step(self, state: Any, frame: Frame) -> tuple[Any, Estimate]:
        """Let it look, and note how long that took."""
        before_s = self.clock.now_s()
        said: tuple[Any, Estimate] = self.tracker.step(state, frame)
        self.times_s.append(self.clock.now_s() - before_s)
        return said


class _Noting(Policy[SteeredState]):
    """A policy whose steps are timed, and whose state after each frame is kept."""

    def __init__(self, policy: Steered, clock: Clock) -> None:
        self.policy, self.clock = policy, clock
        self.times_s: list[float] = []
        self.noted: list[tuple[int, SteeredState]] = []

    def prepare(self) -> None:
        """Let it prepare."""
        self.policy.prepare()

    def start(self, task: Task) -> SteeredState:
        """Return its state before the first observation."""
        return self.policy.start(task)

    def step(self, state: SteeredState, observation: Observation) -> tuple[SteeredState, Action]:
        """Let it decide, and note what it did."""
        before_s = self.clock.now_s()
        after, action = self.policy.step(state, observation)
        self.times_s.append(self.clock.now_s() - before_s)
        self.noted.append((observation.frame_index, after))
        return after, action


def _true_pose(world: World) -> _TruePose:
    state = world.plant.state
    tissue = world.plant.flexible.mechanics.breathing(world.time_s) if world.plant.flexible else np.zeros(2)
    _, y, z = state.tip_mm
    return _TruePose(
        time_s=world.time_s,
        depth_mm=state.inserted_mm,
        y_mm=y - float(tissue[0]),
        z_mm=z - float(tissue[1]),
        base_rad=world.rig.base_rad,
        tip_rad=state.roll_rad,
    )


def _row(true: _TruePose, seen: TipMeasurement, turn: RollCommand) -> SteeringRow:
    """Return what happened in this frame, the truth beside what was measured."""
    seen_y, seen_z = (None, None) if seen.tip_mm is None else seen.tip_mm
    return SteeringRow(
        time_s=true.time_s,
        depth_mm=true.depth_mm,
        y_mm=true.y_mm,
        z_mm=true.z_mm,
        seen_y_mm=seen_y,
        seen_z_mm=seen_z,
        sd_mm=seen.sd_mm,
        ordered_rad=turn.roll_rad,
        base_rad=true.base_rad,
        tip_rad=true.tip_rad,
        miss_mm=turn.miss_mm,
        miss_sd_mm=turn.miss_sd_mm,
    )
