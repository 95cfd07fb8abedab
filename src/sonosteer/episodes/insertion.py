"""A robotic insertion on the simulated rig, from its scene to the judge's outcome.

An insertion episode is a scene, a tracker, a policy and a rig, put together once. The operator marks the tip in the
first frame, with the error of a click, and names target and technique. From then on the policy sees only what the
tracker says. The judge alone sees the truth.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import RealClock, SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Policy, Tracker
from sonosteer.core.types import Capture, Frame, Hint, Observation, Task
from sonosteer.episodes.tasks import INSERTION_ROBOT, Judge, Outcome, insertion_task
from sonosteer.policies.table import make_policy
from sonosteer.robots.simulated import SimulatedRobot
from sonosteer.robots.simulated_rig import SimulatedRig
from sonosteer.runtime.branches import (
    ControlBranch,
    NoRecorder,
    PolicyBranch,
    Recorder,
    TrackingBranch,
    with_fields,
)
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import Pace, Run, insert
from sonosteer.runtime.live import insert_live
from sonosteer.runtime.viewing import RunViewer
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import EXACT
from sonosteer.safety.regions import Covariance, Region
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World
from sonosteer.trackers.table import make_tracker

CLICK_SD_MM = 0.7  # chosen: standard deviation of a mark by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertionConfig:
    """What is inserted, and where."""

    policy: str = "vla"
    """Name of the policy, see `policies.table`."""
    mode: Literal["ips", "ipm"] = "ips"
    """Technique: the probe stands still (ips) or moves along (ipm)."""
    seed: int = 0
    """Seed of the scene, the target and the click."""
    scene: str = "in-plane-convex/test"
    """SETUP/SPLIT, or a TOML file."""
    tracker: str = "vla"
    """Name of the tracker that the policy sees through."""
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the policy."""
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the tracker."""
    scene_fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the scene that differ from its recipe."""
    pace: Pace = field(default_factory=Pace)
    """How long each branch takes on the simulated clock, and when the run is given up."""
    limits: Limits = field(default_factory=Limits)
    """Limits of the safety gate."""
    regions: tuple[Region, ...] = ()
    """Where the tip must not go, mm of the first frame."""
    calibration_mm2: Covariance = EXACT
    """Error of the image's calibration: xx, xy and yy of its covariance, mm^2. The gate adds it to every tip's."""
    live: bool = False
    """True for a run on a real clock, False for one on the simulated clock."""
    paused: bool = False
    """True for a live run that begins paused: nothing moves until the operator's button says resume."""

    def __post_init__(self) -> None:
        if self.paused and not self.live:
            raise InputError("an insertion on the simulated clock cannot begin paused: nobody could continue it")
        xx, xy, yy = self.calibration_mm2
        if not (math.isfinite(xx + xy + yy) and xx >= 0 and yy >= 0 and xy * xy <= xx * yy):
            raise InputError(f"calibration_mm2 is {self.calibration_mm2}: xx, xy and yy are no covariance in mm^2")


@dataclass
class Episode:
    """Everything of one insertion before it begins. Robot, tracker and policy can be exchanged for your own."""

    config: InsertionConfig
    """What it was built from."""
    world: World
    """The simulated scene."""
    task: Task
    """What the policy is told to do."""
    target_mm: F64
    """(3,) x, y, z of the target, mm."""
    hint: Hint
    """What the operator tells the tracker of the first frame."""
    rig: SimulatedRig
    """Images and encoders of the world, as a branch reads them."""
    robot: Any
    """What carries out cleared commands."""
    tracker: Tracker[Any]
    """Who looks for the tip."""
    policy: Policy[Any]
    """Who decides."""

    @property
    def gate(self) -> Gate:
        """The safety gate with the limits, regions and calibration error of the configuration."""
        return Gate(self.config.limits, self.config.regions, self.task.spacing, self.config.calibration_mm2)

    def first_picture(self) -> Frame:
        """The picture that the run will begin with. The world is then as it was."""
        frame, _ = self.world.look()
        self.world.restart()
        return frame

    def aim(self, target_px: Point, regions: tuple[Region, ...]) -> None:
        """Take another target and other regions, before the run begins.

        target_px: place in the first picture, px. Another target lies in the plane of that picture.
        """
        self.config = dataclasses.replace(self.config, regions=regions)
        if target_px == self.task.target_px:
            return
        probe, apex = self.world.rig.probe_mm, self.world.probe.apex_px
        x, z = self.task.spacing.to_mm((target_px[0] - apex[0], target_px[1] - apex[1]))
        self.target_mm = np.array([probe[0] + x, probe[1], probe[2] + z])
        self.task = dataclasses.replace(self.task, target_px=target_px)


@dataclass
class EpisodeResult:
    """What came of an insertion."""

    outcome: Outcome
    """What the judge says."""
    run: Run
    """What the loop says: decisions, frames by outcome, and why it ended."""
    task: Task
    """What the policy was told to do."""
    target_mm: F64
    """(3,) x, y, z of the target, mm."""
    refused: Counter[str]
    """Number of commands that the gate refused, by rule."""
    held_because: Counter[str]
    """Number of holds, by reason."""
    truths: list[NeedleTruth]
    """The true needle, one per image."""
    errors_mm: F64
    """(n, 2) time in s and distance of the true tip from the target in mm, a row per image with a needle."""

    def summary(self) -> dict[str, Any]:
        """Return the numbers that `insert --json` prints."""
        o, run = self.outcome, self.run
        rates = run.ledger.rates_hz(run.time_s)
        return {
            "success": o.success,
            "reason": o.reason if run.stopped or o.reason != "gave up" else run.ended,
            "final_error_mm": None if o.final_error_mm is None else round(o.final_error_mm, 3),
            "time_s": round(o.time_s, 3),
            "frames": run.ledger.frames,
            "actions": run.decisions,
            "tracking_hz": round(rates.get("estimate", 0.0), 2),
            "action_hz": round(rates.get("decision", 0.0), 2),
            "refused": dict(self.refused),
        }


def build_episode(config: InsertionConfig) -> Episode:
    """Build the world, the task, the tracker and the policy of a configuration.

    Raises InputError if a name in it is unknown.
    """
    scene = make_scene(config.scene, config.seed, mode=config.mode, **config.scene_fields)
    world = World(scene, INSERTION_ROBOT)
    rng = np.random.default_rng([scene.seed, 23])
    task, target_mm = insertion_task(world, rng)
    _, truth = world.look()
    world.restart()
    tip = truth.tip_px or task.target_px
    x, y = (
        v + rng.normal(0, CLICK_SD_MM) / mm for v, mm in zip(tip, (world.spacing.x_mm, world.spacing.y_mm), strict=True)
    )
    robot = SimulatedRobot(world)
    policy = make_policy(config.policy, **config.policy_settings)
    tracker = make_tracker(config.tracker, **config.tracker_settings)
    hint = Hint(enters=task.enters, start_px=(x, y))
    return Episode(
        config=config,
        world=world,
        task=task,
        target_mm=target_mm,
        hint=hint,
        rig=SimulatedRig(world, robot.lock),
        robot=robot,
        tracker=tracker,
        policy=policy,
    )


def run_episode(
    episode: Episode,
    *,
    recorder: Recorder | None = None,
    decide_s: Callable[[int], float] | None = None,
    watch: Callable[[Frame, Observation | None], None] | None = None,
    button: Button | None = None,
    viewer: RunViewer | None = None,
) -> EpisodeResult:
    """Carry out an insertion.

    decide_s: time that a decision takes on the simulated clock, by its number. watch: told of every image, with the
    newest observation. button: of a live run. viewer: is shown every control period.
    """
    config, task, rig = episode.config, episode.task, episode.rig
    tracker = with_fields(episode.tracker, waits=False) if config.live else episode.tracker
    tracker.prepare()
    episode.policy.prepare()
    judging = _Judging(episode, watch)
    tracking_branch = TrackingBranch.open(tracker, task, episode.hint, episode.policy)
    policy_branch = PolicyBranch.open(episode.policy, task)
    clock = RealClock() if config.live else SimulatedClock()  # time begins when all is ready
    begins = {"held": "the run begins paused"} if config.paused else {}
    control_branch = ControlBranch.open(
        episode.gate, episode.robot, task, clock.now_s(), recorder=recorder or NoRecorder(), **begins
    )
    branches = (rig, tracking_branch, policy_branch, control_branch)
    if isinstance(clock, SimulatedClock):
        run = insert(*branches, clock, config.pace, decide_s=decide_s, watch=judging.look, viewer=viewer)
    else:
        run = insert_live(*branches, clock, config.pace, watch=judging.look, button=button, viewer=viewer)
    return EpisodeResult(
        outcome=judging.close(stopped=run.stopped),
        run=run,
        task=task,
        target_mm=episode.target_mm,
        refused=control_branch.refused,
        held_because=control_branch.held_because,
        truths=rig.truths,
        errors_mm=_errors_mm(rig.truths, episode.target_mm),
    )


class _Judging:
    """Judges every image of a run as it comes, and ends the run when the judge has an outcome."""

    def __init__(self, episode: Episode, watch: Callable[[Frame, Observation | None], None] | None) -> None:
        x, y, z = episode.target_mm.tolist()
        self.judge = Judge((x, y, z), max_time_s=episode.config.pace.longest_s)
        self.truths, self.watch = episode.rig.truths, watch
        self.watched, self.judged = self.judge.start(), 0
        self.outcome: Outcome | None = None

    def look(self, now_s: float, capture: Capture | None, seen: Observation | None) -> str | None:
        """Judge the images that have come. Returns why the run is over, None if it goes on."""
        if capture is not None and self.watch is not None:
            self.watch(capture.frame, seen)
        while self.judged < len(self.truths) and self.outcome is None:
            self.watched, self.outcome = self.judge.step(self.watched, self.truths[self.judged])
            self.judged += 1
        return None if self.outcome is None else f"judged: {self.outcome.reason}"

    def close(self, *, stopped: bool) -> Outcome:
        """Return the outcome of the run. stopped: the policy said stop."""
        if self.outcome is None and stopped and self.truths:
            self.watched, self.outcome = self.judge.step(self.watched, self.truths[-1], stopped=True)
        return self.outcome or self.judge.give_up(self.watched)


def _errors_mm(truths: list[NeedleTruth], target_mm: F64) -> F64:
    """Return (n, 2) time in s and distance from the target in mm, for each image with a needle."""
    errors = [(t.time_s, math.dist(t.tip_mm, target_mm)) for t in truths if t.tip_mm is not None]
    return np.array(errors).reshape(-1, 2)
