"""Draws the target of an insertion on the simulated rig, and judges whether the needle came to it.

Reference: Zhang et al. 2026, IV-C. An insertion succeeds if the tip is within 5 mm of the target when it stops. It
fails on deviation or on complete loss of visualisation. The time of the successes counts.

Departs from the paper: it does not define deviation and complete loss. The fields of `Judge` do.
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

#: chosen: a robot like that of Zhang et al. 2026. Commands come 50 ms late, and the encoders have 0.05 mm
INSERTION_ROBOT = RigLimits(latency_s=0.05, encoder_mm=0.05)

Reason = Literal[
    "hit", "stopped elsewhere", "passed the target", "off the line", "lost from sight", "gave up", "time out"
]


def insertion_task(world: World, rng: np.random.Generator) -> tuple[Task, F64]:
    """Draw a target in an in-plane scene. Returns the task as in the first frame, and the (3,) target in mm.

    The target lies 0.55 to 0.95 of the way to the end of the scene's own insertion. It lies 2 mm (sd) beside the way in
    the image plane, and 0.3 mm (sd) out of it. If the probe of the scene slides along (ipm), the way is longer by that
    slide of 8 to 24 mm. A probe that stood still would mostly have the tip in its sector all the same. But there the
    beam meets the needle less squarely. The tip is 4 dB fainter at the end, and at the very edge for the farthest
    targets. The target is a point of the world. It moves in the image with the probe, and it does not breathe. Raises
    InputError for an axial scene.
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
    """How an insertion ended."""

    success: bool
    """True if the needle stopped within reach of the target."""
    reason: Reason
    """Why it ended."""
    final_error_mm: float | None
    """Distance of the tip from the target in space, mm. None if no needle was ever in the tissue."""
    time_s: float
    """Time since the task began, s."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a judge remembers."""

    began_s: float | None = None
    """Time of the first image, s. None before it."""
    start_mm: Vector | None = None
    """First (x, y, z) of the tip, mm. None before a needle is in the tissue."""
    last: NeedleTruth | None = None
    """The true needle in the last image that had one."""
    unseen_mm: float = 0.0
    """Insertion since the tip was last visible, mm."""
    unseen_s: float = 0.0
    """Time that the needle moved since the tip was last visible, s."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Says by the truth when an insertion is over, and how."""

    target_mm: Vector
    """(x, y, z) of the target, mm."""
    within_mm: float = HIT_MM
    """Distance from the target that counts as a hit, mm. So far past the target is a failure."""
    max_stray_mm: float = 10.0  # chosen: bevel, tissue and a target aside together explain 5 mm
    """Largest distance from the straight line between the first tip and the target, mm."""
    max_unseen_mm: float = 25.0  # chosen: at 10 mm/s straight on, one scene in ten goes so far unseen, whoever pushes
    """Insertion with the tip never visible that is complete loss, mm. Rest and retraction add nothing."""
    max_unseen_s: float = 8.0  # chosen: the paper gives no number
    """Time of motion with the tip never visible that is complete loss, s."""
    max_time_s: float = 90.0  # chosen: the paper gives no number
    """Longest time of an insertion, s."""

    def __post_init__(self) -> None:
        check_finite(self, "judge")
        for name in ("within_mm", "max_stray_mm", "max_unseen_mm", "max_unseen_s", "max_time_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"judge: {name} is {getattr(self, name)}, but must be more than 0")

    def start(self) -> Watched:
        """Return the state before the first image."""
        return Watched()

    def step(self, watched: Watched, truth: NeedleTruth, stopped: bool = False) -> tuple[Watched, Outcome | None]:
        """Judge an image by its truth. Returns no outcome while the insertion goes on.

        stopped: the needle rests because the policy said stop.
        """
        watched = self._watch(watched, truth)
        if stopped:
            error_mm = self._error_mm(watched)
            hit = error_mm is not None and error_mm <= self.within_mm
            return watched, self._outcome(watched, "hit" if hit else "stopped elsewhere")
        failure = self._failure(watched)
        return watched, None if failure is None else self._outcome(watched, failure)

    def give_up(self, watched: Watched) -> Outcome:
        """Judge a run that ended without a stop.

        It is a failure wherever the needle is: nobody said that it had arrived.
        """
        return self._outcome(watched, "gave up")

    def _watch(self, before: Watched, truth: NeedleTruth) -> Watched:
        """Take in the truth of one image."""
        if truth.tip_mm is None:
            return replace(before, began_s=truth.time_s if before.began_s is None else before.began_s)
        last = before.last
        pushed = 0.0 if last is None else truth.depth_mm - last.depth_mm
        moving_s = 0.0 if last is None or abs(truth.velocity_mm_s) < 0.1 else truth.time_s - last.time_s
        seen = truth.visible
        return Watched(
            began_s=truth.time_s if before.began_s is None else before.began_s,
            start_mm=before.start_mm or truth.tip_mm,
            last=truth,
            unseen_mm=0.0 if seen else before.unseen_mm + max(pushed, 0.0),
            unseen_s=0.0 if seen else before.unseen_s + moving_s,
        )

    def _failure(self, watched: Watched) -> Reason | None:
        """Return why the insertion has failed, None while it has not."""
        last, start = watched.last, watched.start_mm
        if last is None or last.tip_mm is None or start is None:
            return None
        along, aside = _along_and_aside(start, self.target_mm, last.tip_mm)
        if along > self.within_mm:
            return "passed the target"
        if aside > self.max_stray_mm:
            return "off the line"
        if watched.unseen_mm > self.max_unseen_mm or watched.unseen_s > self.max_unseen_s:
            return "lost from sight"
        return "time out" if self._time_s(watched) >= self.max_time_s else None

    def _outcome(self, watched: Watched, reason: Reason) -> Outcome:
        """Return the outcome for a reason."""
        return Outcome(
            success=reason == "hit", reason=reason, final_error_mm=self._error_mm(watched), time_s=self._time_s(watched)
        )

    def _error_mm(self, watched: Watched) -> float | None:
        """Return the distance of the tip from the target, mm. None if no needle was ever in the tissue."""
        tip = None if watched.last is None else watched.last.tip_mm
        return None if tip is None else math.dist(tip, self.target_mm)

    @staticmethod
    def _time_s(watched: Watched) -> float:
        """Return the time since the task began, s."""
        if watched.last is None or watched.began_s is None:
            return 0.0
        return watched.last.time_s - watched.began_s


def _along_and_aside(start: Vector, target: Vector, tip: Vector) -> tuple[float, float]:
    """Return how far the tip is past the target, and how far from the line, mm."""
    line = np.subtract(target, start)
    length = float(np.linalg.norm(line))
    if length == 0.0:
        return 0.0, math.dist(tip, target)
    way = np.subtract(tip, start)
    along = float(way @ line) / length
    return along - length, math.sqrt(max(float(way @ way) - along * along, 0.0))
