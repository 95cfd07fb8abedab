"""One robotic insertion on the simulated rig, from its scene to what a judge says of it.

The operator marks the tip in the first frame (with the error of a click) and names target and technique; from there on
the policy sees only what the tracker says. Truth is seen by the judge alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import RealClock, SimulatedClock
from sonosteer.core.protocols import Policy, Tracker
from sonosteer.core.types import Capture, Frame, Hint, Observation, Task
from sonosteer.episodes.tasks import ROBOT, Judge, Outcome, insertion_task
from sonosteer.policies.table import make_policy
from sonosteer.robots.simulated import SimulatedRobot
from sonosteer.robots.simulated_rig import SimulatedRig
from sonosteer.runtime.branches import ControlBranch, Nobody, PolicyBranch, Recorder, TrackingBranch
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import Pace, Run, insert
from sonosteer.runtime.live import insert_live
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits
from sonosteer.safety.regions import Region
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World
from sonosteer.trackers.table import make_tracker

CLICK_SD_MM = 0.7  # ours: of a mark by hand


@dataclass(frozen=True, slots=True)
class InsertionConfig:
    """What is tried, and where. scene: SETUP/SPLIT. live: on a real clock. regions: forbidden, in mm."""

    policy: str = "vla"
    mode: Literal["ips", "ipm"] = "ips"
    seed: int = 0
    scene: str = "in-plane-convex/test"
    tracker: str = "vla"
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    limits: Limits = field(default_factory=Limits)
    regions: tuple[Region, ...] = ()
    live: bool = False


@dataclass
class Episode:
    """Everything of one insertion, before it begins. robot, tracker and policy can be exchanged (faults, your own)."""

    setup: InsertionConfig
    world: World
    task: Task
    target_mm: F64
    hint: Hint
    rig: SimulatedRig
    robot: Any
    tracker: Tracker[Any]
    policy: Policy[Any]

    @property
    def gate(self) -> Gate:
        """With the setup's limits and regions."""
        return Gate(self.setup.limits, self.setup.regions, self.task.spacing)


@dataclass
class EpisodeResult:
    """What came of it. errors_mm: (n, 2) time, distance of the true tip from the target, a row a picture."""

    outcome: Outcome
    run: Run
    task: Task
    target_mm: F64
    refused: Counter[str]
    held_because: Counter[str]
    truths: list[NeedleTruth]
    errors_mm: F64

    def summary(self) -> dict[str, Any]:
        """As `insert --json` says it."""
        o, run = self.outcome, self.run
        rates = run.fates.rates_hz(run.time_s)
        return {
            "success": o.success,
            "reason": o.reason if run.stopped or o.reason != "gave up" else run.ended,
            "final_error_mm": round(o.final_error_mm, 3),
            "time_s": round(o.time_s, 3),
            "frames": run.fates.frames,
            "actions": run.decisions,
            "tracking_hz": round(rates.get("estimate", 0.0), 2),
            "action_hz": round(rates.get("decision", 0.0), 2),
            "refused": dict(self.refused),
        }


def build_episode(setup: InsertionConfig) -> Episode:
    """World, task, tracker and policy of a setup. InputError for what there is not."""
    scene = make_scene(setup.scene, setup.seed, mode=setup.mode, **setup.fields)
    world = World(scene, ROBOT)
    rng = np.random.default_rng([scene.seed, 23])
    task, target_mm = insertion_task(world, rng)
    _, truth = world.look()
    world.restart()
    tip = truth.tip_px or task.target_px
    x, y = (
        v + rng.normal(0, CLICK_SD_MM) / mm for v, mm in zip(tip, (world.spacing.x_mm, world.spacing.y_mm), strict=True)
    )
    robot = SimulatedRobot(world)
    policy = make_policy(setup.policy, **setup.policy_settings)
    tracker = make_tracker(setup.tracker, **setup.tracker_settings)
    hint = Hint(enters=task.enters, start_px=(x, y))
    return Episode(setup, world, task, target_mm, hint, SimulatedRig(world, robot.lock), robot, tracker, policy)


def run_episode(
    episode: Episode,
    *,
    recorder: Recorder | None = None,
    decide_s: Callable[[int], float] | None = None,
    watch: Callable[[Frame, Observation | None], None] | None = None,
    button: Button | None = None,
) -> EpisodeResult:
    """Carry out an insertion. watch: told of every picture, with the newest observation. button: of a live one."""
    setup, task = episode.setup, episode.task
    episode.tracker.prepare()
    episode.policy.prepare()
    judge = Judge(tuple(episode.target_mm.tolist()), longest_s=setup.pace.longest_s)
    watched, outcome = judge.start(), None
    judged = 0

    def look(now_s: float, capture: Capture | None, seen: Observation | None) -> str | None:
        nonlocal watched, outcome, judged
        if capture is not None and watch is not None:
            watch(capture.frame, seen)
        truths = episode.rig.truths
        while judged < len(truths) and outcome is None:
            watched, outcome = judge.step(watched, truths[judged])
            judged += 1
        return None if outcome is None else f"judged: {outcome.reason}"

    robot, record = episode.robot, recorder or Nobody()
    tracking_branch = TrackingBranch.open(episode.tracker, task, episode.hint)
    policy_branch = PolicyBranch.open(episode.policy, task)
    clock = RealClock() if setup.live else SimulatedClock()  # time begins when all is ready
    control_branch = ControlBranch.open(episode.gate, robot, task, clock.now_s(), recorder=record)
    run = (
        insert(
            episode.rig,
            tracking_branch,
            policy_branch,
            control_branch,
            clock,
            setup.pace,
            decide_s=decide_s,
            watch=look,
        )
        if isinstance(clock, SimulatedClock)
        else insert_live(
            episode.rig, tracking_branch, policy_branch, control_branch, clock, setup.pace, watch=look, button=button
        )
    )
    if outcome is None and run.stopped and episode.rig.truths:
        watched, outcome = judge.step(watched, episode.rig.truths[-1], stopped=True)
    outcome = outcome or judge.give_up(watched)
    truths = episode.rig.truths
    target = episode.target_mm
    errors = [(t.time_s, math.dist(t.tip_mm, target)) for t in truths if t.tip_mm is not None]
    return EpisodeResult(
        outcome,
        run,
        task,
        target,
        control_branch.refused,
        control_branch.held_because,
        truths,
        np.array(errors).reshape(-1, 2),
    )
