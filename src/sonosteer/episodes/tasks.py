"""The insertion task on the simulated rig: where the target lies, and whether the needle came to it.

Source: Paper V, IV-C: an insertion succeeds with the tip within 5 mm of the target when it stops, and fails on
deviation or on complete loss of visualisation; of the successes the time counts. What deviation and complete loss
are is not said: the fields of `Judge` are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite
from sonosteer.core.errors import InputError
from sonosteer.core.types import Task, Vector
from sonosteer.metrics.success import HIT_MM
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import Scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World

#: ours: a robot of Paper V's kind: orders 50 ms late, encoders of 0.05 mm
ROBOT = RigLimits(latency_s=0.05, encoder_mm=0.05)

Reason = Literal[
    "hit", "stopped elsewhere", "passed the target", "off the line", "lost from sight", "gave up", "time out"
]


def insertion_task(world: World, rng: np.random.Generator) -> tuple[Task, F64]:
    """Draw a target on the way of an in-plane scene: (the task as in the first frame, (x, y, z) of the target in mm).

    The target lies 0.55 to 0.95 of the way to the end of the scene's own insertion, 2 mm (sd) beside it in the image
    plane and 0.3 mm (sd) out of it. Where the scene's probe slides along (ipm), the way is longer by that slide (8 to
    24 mm): a probe that stood still would mostly still have the tip in its sector, but where the beam meets the needle
    ever less squarely, 4 dB fainter at the end and, for the farthest targets, at the very edge. The target is a point
    of the world: it moves in the image with the probe, and does not breathe. InputError for an axial scene.
    """
    scene = world.scene
    if scene.view != "in-plane":
        raise InputError(f"scene {scene.name} is {scene.view}: an insertion task needs an in-plane scene")
    way = scene.end_mm + scene.probe_slide_mm - scene.start_mm
    depth = rng.uniform(0.55, 0.95) * way + scene.start_mm
    aside, out = rng.normal(0.0, 2.0), rng.normal(0.0, 0.3)
    d, entry = np.array(scene.direction), np.array(scene.entry_mm)
    target_mm = entry + depth * d + aside * np.array([-d[2], 0.0, d[0]]) + np.array([0.0, out, 0.0])
    x, y, z = target_mm.tolist()
    px = world.to_px((x, y, z), world.rig.probe_mm)
    return Task(px, _technique(scene), scene.angle_rad, scene.enters, world.spacing), target_mm


def _technique(scene: Scene) -> Literal["in-plane-static", "in-plane-moving"]:
    return "in-plane-moving" if scene.mode == "ipm" else "in-plane-static"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an insertion ended. final_error_mm: the tip from the target, in space. time_s: since the task began."""

    success: bool
    reason: Reason
    final_error_mm: float
    time_s: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What a judge remembers: the truth so far. start_mm: of the tip. The unseen_* count since the tip was visible."""

    began_s: float | None = None
    start_mm: Vector | None = None
    last: NeedleTruth | None = None
    unseen_mm: float = 0.0
    unseen_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """Says by the truth when an insertion is over, and how. Numbers but within_mm are ours.

    within_mm: of the target, where the needle stops; so much past it is a failure. stray_mm: from the straight line
    from where the tip began to the target (bevel, tissue and target aside together explain 5). unseen_mm, unseen_s:
    pushed on, or moving, for so long with the tip never visible is complete loss of visualisation; a needle that rests
    or is drawn back adds nothing to the way. Of this package's scenes pushed straight on 10 mm/s one in ten goes so far
    unseen, whoever pushes. longest_s: of all.
    """

    target_mm: Vector
    within_mm: float = HIT_MM
    stray_mm: float = 10.0
    unseen_mm: float = 25.0
    unseen_s: float = 8.0
    longest_s: float = 90.0

    def __post_init__(self) -> None:
        check_finite(self, "judge")
        for name in ("within_mm", "stray_mm", "unseen_mm", "unseen_s", "longest_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"judge: {name} is {getattr(self, name)}, but must be more than 0")

    def start(self) -> Watched:
        """Before the first picture."""
        return Watched()

    def step(self, watched: Watched, truth: NeedleTruth, stopped: bool = False) -> tuple[Watched, Outcome | None]:
        """Look at the truth of a picture; stopped: the needle rests, for the policy said stop. None: it goes on."""
        watched = self._watch(watched, truth)
        if stopped:
            hit = self._error_mm(watched) <= self.within_mm
            return watched, self._outcome(watched, "hit" if hit else "stopped elsewhere")
        failure = self._failure(watched)
        return watched, None if failure is None else self._outcome(watched, failure)

    def give_up(self, watched: Watched) -> Outcome:
        """The run was ended without a stop: a failure wherever the needle is, for nobody said that it had arrived."""
        return self._outcome(watched, "gave up")

    def _watch(self, before: Watched, truth: NeedleTruth) -> Watched:
        if truth.tip_mm is None:
            return replace(before, began_s=truth.time_s if before.began_s is None else before.began_s)
        last = before.last
        pushed = 0.0 if last is None else truth.depth_mm - last.depth_mm
        moving_s = 0.0 if last is None or abs(truth.velocity_mm_s) < 0.1 else truth.time_s - last.time_s
        seen = truth.visible
        return Watched(
            truth.time_s if before.began_s is None else before.began_s,
            before.start_mm or truth.tip_mm,
            truth,
            0.0 if seen else before.unseen_mm + max(pushed, 0.0),
            0.0 if seen else before.unseen_s + moving_s,
        )

    def _failure(self, watched: Watched) -> Reason | None:
        last, start = watched.last, watched.start_mm
        if last is None or last.tip_mm is None or start is None:
            return None
        along, aside = _along_and_aside(start, self.target_mm, last.tip_mm)
        if along > self.within_mm:
            return "passed the target"
        if aside > self.stray_mm:
            return "off the line"
        if watched.unseen_mm > self.unseen_mm or watched.unseen_s > self.unseen_s:
            return "lost from sight"
        return "time out" if self._time_s(watched) >= self.longest_s else None

    def _outcome(self, watched: Watched, reason: Reason) -> Outcome:
        return Outcome(reason == "hit", reason, self._error_mm(watched), self._time_s(watched))

    def _error_mm(self, watched: Watched) -> float:
        """Infinite where no needle was ever in the tissue."""
        tip = None if watched.last is None else watched.last.tip_mm
        return math.inf if tip is None else math.dist(tip, self.target_mm)

    @staticmethod
    def _time_s(watched: Watched) -> float:
        if watched.last is None or watched.began_s is None:
            return 0.0
        return watched.last.time_s - watched.began_s


def _along_and_aside(start: Vector, target: Vector, tip: Vector) -> tuple[float, float]:
    """(how far the tip is past the target, how far it is from the line), both in mm."""
    line = np.subtract(target, start)
    length = float(np.linalg.norm(line))
    if length == 0.0:
        return 0.0, math.dist(tip, target)
    way = np.subtract(tip, start)
    along = float(way @ line) / length
    return along - length, math.sqrt(max(float(way @ way) - along * along, 0.0))
