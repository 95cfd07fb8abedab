"""One trial of the obstacle study: one scene, steered by controllers that differ in one thing."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonosteer.core.clock import RealClock
from sonosteer.episodes.steering import (
    DEVICE,
    SteeringConfig,
    SteeringResult,
    build_steering_episode,
    path_errors,
    run_steering_episode,
)
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.policies.steered import REACHED
from sonosteer.sim.setups import Split
from sonosteer.steering.budget import Limited, RollLimits
from sonosteer.steering.obstacles import NO_OBSTACLES, combine_obstacles
from sonosteer.steering.planner import MovePlanner
from sonosteer.steering.table import AMONG_OBSTACLES
from sonosteer.steering.transient import transient_preset
from sonosteer.studies.obstacles.peer import TREE_EVERY_MM, RandomTreePlanner
from sonosteer.studies.obstacles.scenes import (
    GOAL_DEPTH_MM,
    LEAVES_PER_MM,
    SCENE_RECIPE,
    SHAFT_MM,
    ObstacleScene,
    obstacle_scene,
)

WITHIN_MM = 1.0  # chosen: as in the steering study
TIP_NOISE_MM = 0.1  # chosen: standard deviation of the measured tip
SAFE_STOP = "stop: no safe path"
_PATH_POINTS = 120  # points of a path that is kept for pictures
SHAPE_STEP_MM = 0.5  # between two points of the shaft whose clearance is taken

OURS, IGNORES, PEER = "moves", "moves, obstacles not told", "random tree of OMPL"


@dataclass(frozen=True, slots=True)
class ObstacleTrial:
    """One scene and the controllers that are tried on it."""

    number: int
    """Number of the scene in its split."""
    split: Split
    """Split of the scenes."""
    controllers: tuple[str, ...]
    """Names of the controllers, as in the tables."""

    @property
    def name(self) -> str:
        """Unlike that of any other trial."""
        return f"{self.split}/{self.number}/{' + '.join(self.controllers)}"


def run_obstacle_trial(trial: ObstacleTrial) -> dict[str, Any]:
    """Steer one scene with each controller. Returns what is known of the scene, and what came of it by controller."""
    scene = obstacle_scene(trial.number, trial.split)
    return {
        "number": trial.number,
        "kind": scene.kind,
        "tissue": scene.tissue,
        "bevel_gain": scene.bevel_gain,
        "target_mm": list(scene.target_mm),
        "margin_mm": scene.margin_mm,
        "block_mm": scene.block_mm,
        "parts": [dataclasses.asdict(part) for part in scene.parts],
        "outcomes": {name: steer_scene(scene, name) for name in trial.controllers},
    }


def steer_scene(scene: ObstacleScene, controller: str) -> dict[str, Any]:
    """Steer one scene. Contacts are counted with the true tip and the true obstacles, not with what was told."""
    told = NO_OBSTACLES if controller == IGNORES else combine_obstacles(scene.parts)
    known = LEAVES_PER_MM * scene.bevel_gain  # the make of the needle tells about how much it bends
    model = dataclasses.replace(
        transient_preset(scene.tissue), curvature_per_mm=known, backlash_rad=DEVICE.roll_backlash_rad
    )
    config = SteeringConfig(
        tissue=scene.tissue,
        recipe=SCENE_RECIPE,
        seed=scene.seed,
        split=scene.split,
        target_mm=scene.target_mm,
        obstacles=told,
        limits=RollLimits(),
        model=model,
        controller_settings={"weights": AMONG_OBSTACLES},
        tracker=None,
        noise_mm=TIP_NOISE_MM,
        scene_fields={"bevel_gain": scene.bevel_gain},
    )
    episode = build_steering_episode(config)
    if controller == PEER:
        ours = episode.steerer
        assert isinstance(ours, Limited)
        assert isinstance(ours.controller, MovePlanner)
        fields = {f.name: getattr(ours.controller, f.name) for f in dataclasses.fields(MovePlanner)}
        peer = RandomTreePlanner(**fields | {"every_mm": TREE_EVERY_MM})
        episode = dataclasses.replace(episode, steerer=Limited(peer, ours.limits))
    done = run_steering_episode(episode, RealClock())
    flexible = episode.world.plant.flexible
    assert flexible is not None
    return _outcome(scene, done, np.asarray(flexible.shape_mm(SHAPE_STEP_MM)))


def _outcome(scene: ObstacleScene, done: SteeringResult, shape: Any) -> dict[str, Any]:
    path = done.path()
    clearance = min(float(part.distance(path).min()) for part in scene.parts) - SHAFT_MM
    shaft = min(float(part.distance(shape).min()) for part in scene.parts) - SHAFT_MM
    final = path_errors(path, GOAL_DEPTH_MM, scene.target_mm).final_mm
    times = percentiles_ms(done.ledger.times_ms.get("steer", []))
    return {
        "came_of_it": came_of_it(done.ended, min(clearance, shaft), final),
        "final_mm": final,
        "depth_mm": float(path[-1, 0]),
        "ended": done.ended,
        "clearance_mm": clearance,
        "shaft_clearance_mm": shaft,
        "rotation_deg": math.degrees(done.rotation_rad),
        "warnings": list(done.warnings),
        "time_s": done.rows[-1].time_s,
        "steer_ms": times,
        "path": np.round(path[:: max(len(path) // _PATH_POINTS, 1)], 3).tolist(),
    }


def came_of_it(ended: str, clearance_mm: float, final_mm: float) -> str:
    """Return solved, contact, missed, stopped or lost: one word for how an insertion ended."""
    if clearance_mm <= 0:
        return "contact"
    if ended == SAFE_STOP:
        return "stopped"
    if ended != REACHED:
        return "lost"
    return "solved" if final_mm <= WITHIN_MM else "missed"
