"""Scenes in which the straight way to a target is blocked, by seed.

A random needle says what can be reached. The simulated needle itself is pushed with up to three random turns. Its end
becomes the target, so the target has a solution. Then three obstacles are placed:

* The straight line is blocked, and so is the reference way (the axis, bent to the target as the square of the depth).
  On each the shaft would overlap an obstacle by `MIN_BLOCK_MM` at least.
* Along the known way the shaft keeps `MIN_MARGIN_MM` at least from all of them.

A needle of the recipe middle leaves its reference way by 1 mm at most, which is no more than the margin. So the bevel
pulls as in the recipe harsh, or half as strongly again. `LEAVES_PER_MM` sorts out turns that hardly leave the straight
ways before the simulated needle is pushed.

Two scenes of ten are of another kind. In one nothing is blocked. In the other no needle can reach the target: a wall, a
wall with a hole narrower than the shaft, or a ball around the target. "No safe path" is the right answer there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import SimulatedClock
from sonosteer.core.geometry import Point
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.episodes.steering import SteeringConfig, build_steering_episode, run_steering_episode
from sonosteer.sim.setups import TISSUES, Split
from sonosteer.steering.obstacles import Cuboid, Sphere

ScenePart: TypeAlias = Sphere | Cuboid
SceneKind = Literal["blocked", "free", "closed"]

GOAL_DEPTH_MM = 120.0
SHAFT_MM = 0.64  # radius of an 18G shaft
#: chosen: by how much the shaft overlaps an obstacle on the straight line and on the reference way
MIN_BLOCK_MM = 0.3
#: chosen: the controller grows obstacles by at most this much (`MovePlanner.clearance_cap_mm`), so a way is free to it
MIN_MARGIN_MM = 0.7
MAX_MARGIN_MM = 2.5  # chosen: an obstacle that stands farther off hardly matters
#: chosen: where obstacles stand. Before it no needle has bent, after it nothing can be corrected
FIRST_MM, LAST_MM = 35.0, 105.0
RADIUS_MM = (1.5, 5.0)  # chosen: a vessel or a small bone
HOLE_MM = 0.8  # chosen: width of a hole that a shaft of 1.28 mm does not pass
WALL_HALF_WIDTH_MM = 25.0  # chosen: no needle of these scenes comes so far from its axis
SCENE_RECIPE = "harsh"
OBSTACLES = 3  # chosen: as many as there are turns to avoid them
MAX_TURNS = 3  # Carriere et al. 2019: event points
BEVEL_GAINS = (1.0, 1.5)  # factor on the bevel's force. The recipe harsh is 1
#: chosen: curvature of the simulated needle for a gain of 1, by which turns are sorted out
LEAVES_PER_MM = 1.1e-3
#: chosen: by how much a way must leave both straight ways to be worth a try, mm: margin, overlap and a little more
LEAVES_MM = 1.15
MAX_DRAWS = 400  # chosen: far more than any seed has needed
#: chosen: after so many draws in vain the bevel pulls half as strongly again. Else a stiff needle has no way round
DRAWS_A_GAIN = 80
PATH_STEP_MM = 0.5  # chosen: between two points of a way that is checked for obstacles


@dataclass(frozen=True, slots=True)
class ObstacleScene:
    """A target among obstacles, and what is known about it."""

    tissue: str
    """Tissue that is pierced."""
    bevel_gain: float
    """Factor on the bevel's force, no unit. 1: the recipe harsh."""
    seed: int
    """Seed of the scene."""
    split: Split
    """Split of the scenes. Other obstacles stand in the validation scene of a seed than in its test scene."""
    kind: SceneKind
    """blocked: the straight way is blocked, another one is known. free: nothing is blocked. closed: there is no way."""
    target_mm: Point
    """Target (y, z) across the axis, mm."""
    parts: tuple[ScenePart, ...]
    """The obstacles."""
    way: F64
    """(n, 3) depth, y, z of the needle whose end is the target, mm. Closed scenes block it, too."""
    margin_mm: float
    """Smallest clearance of the shaft along that way, mm. Below 0 if the scene is closed."""
    block_mm: float
    """By how much the shaft overlaps an obstacle on the better one of straight line and reference way, mm."""


class RandomTurns:
    """A controller that turns the base by given angles at given depths, whatever is measured."""

    def __init__(self, depths_mm: F64, turns_rad: F64) -> None:
        self.depths_mm, self.turns_rad = depths_mm, turns_rad

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, roll_rad: float) -> float:
        """Return the roll at the entry."""
        return roll_rad

    def step(self, state: float, measurement: TipMeasurement) -> tuple[float, RollCommand]:
        """Return the roll that belongs to this depth."""
        return state, RollCommand(state + float(self.turns_rad[self.depths_mm <= measurement.depth_mm].sum()))


def obstacle_scene(number: int, split: Split = "test") -> ObstacleScene:
    """Return scene `number` of a split: eight of ten are blocked, one is free, one is closed.

    Tissues take turns, and so do the two gains of the bevel's force.
    """
    kind: SceneKind = ("blocked", "free", "closed")[max(number // 6 % 10 - 7, 0)]
    return draw_obstacle_scene(TISSUES[number % 3], BEVEL_GAINS[number % 2], number, split, kind)


def draw_obstacle_scene(tissue: str, bevel_gain: float, seed: int, split: Split, kind: SceneKind) -> ObstacleScene:
    """Draw a scene of a kind. The same arguments give the same scene. It says which gain it needed."""
    rng = np.random.default_rng([seed, get_args(Split).index(split), 77])
    config = SteeringConfig(
        controller="none",
        tissue=tissue,
        recipe=SCENE_RECIPE,
        seed=seed,
        split=split,
        tracker=None,
        noise_mm=0.0,
        scene_fields={"bevel_gain": bevel_gain},
    )
    for draw in range(MAX_DRAWS):
        if draw and draw % DRAWS_A_GAIN == 0:
            bevel_gain *= 1.5
            config = replace(config, scene_fields={"bevel_gain": bevel_gain})
        way = _random_way(config, bevel_gain * LEAVES_PER_MM if kind == "blocked" else 0.0, rng)
        target = (float(way[-1, 1]), float(way[-1, 2]))
        parts = _closing(target, way, rng) if kind == "closed" else _beside(target, way, rng, blocks=kind == "blocked")
        if parts is not None:
            block, margin = -max(clearance_mm(parts, w) for w in straight_ways(target)), clearance_mm(parts, way)
            return ObstacleScene(
                tissue=tissue,
                bevel_gain=bevel_gain,
                seed=seed,
                split=split,
                kind=kind,
                target_mm=target,
                parts=parts,
                way=way,
                margin_mm=margin,
                block_mm=block,
            )
    raise RuntimeError(f"no {kind} scene was found for seed {seed}")


def straight_ways(target_mm: Point) -> tuple[F64, F64]:
    """Return the straight line from the entry to a target, and the controllers' reference way. Each is (n, 3), mm."""
    fraction = np.linspace(0.0, 1.0, round(GOAL_DEPTH_MM / PATH_STEP_MM) + 1)
    line = np.stack([GOAL_DEPTH_MM * fraction, target_mm[0] * fraction, target_mm[1] * fraction], 1)
    bent = np.stack([GOAL_DEPTH_MM * fraction, target_mm[0] * fraction**2, target_mm[1] * fraction**2], 1)
    return line, bent


def clearance_mm(parts: tuple[ScenePart, ...], way: F64) -> float:
    """Return the smallest distance of the shaft along an (n, 3) way from the nearest obstacle, mm. Below 0: contact."""
    return min(float(part.distance(way).min()) for part in parts) - SHAFT_MM


def _random_way(config: SteeringConfig, curvature_per_mm: float, rng: np.random.Generator) -> F64:
    """Push the simulated needle with up to three random turns. Returns its (n, 3) tip, mm.

    curvature_per_mm: of a bicycle that must leave both straight ways by `LEAVES_MM`. 0: any turns will do.
    """
    while True:
        n = int(rng.integers(1, MAX_TURNS + 1))
        depths, turns = np.sort(rng.uniform(10.0, 100.0, n)), rng.uniform(-math.pi, math.pi, n)
        if curvature_per_mm == 0.0 or _leaves_mm(depths, turns, curvature_per_mm) > LEAVES_MM:
            break
    episode = replace(build_steering_episode(config), steerer=RandomTurns(depths, turns))
    path = run_steering_episode(episode, SimulatedClock()).path()
    at = np.arange(float(path[0, 0]), float(path[-1, 0]), PATH_STEP_MM)
    fine = [np.interp(at, path[:, 0], path[:, i]) for i in (1, 2)]
    return np.concatenate([np.stack([at, *fine], 1), path[-1:]])


def _leaves_mm(depths_mm: F64, turns_rad: F64, curvature_per_mm: float) -> float:
    """Return how far a bicycle with these turns leaves the straight line and the reference way, the lesser one, mm."""
    at = np.arange(0.0, GOAL_DEPTH_MM + 1.0, 1.0)
    bevel = (turns_rad[None] * (depths_mm[None] <= at[:, None])).sum(axis=1)
    off = np.cumsum(np.cumsum(curvature_per_mm * np.exp(1j * bevel)))  # steps of 1 mm
    where = (at >= FIRST_MM) & (at <= LAST_MM)
    return min(float(np.abs(off - off[-1] * (at / GOAL_DEPTH_MM) ** p)[where].max()) for p in (1, 2))


def _at(way: F64, depth_mm: float) -> F64:
    return np.array([depth_mm, *(float(np.interp(depth_mm, way[:, 0], way[:, i])) for i in (1, 2))])


def _beside(target: Point, way: F64, rng: np.random.Generator, *, blocks: bool) -> tuple[ScenePart, ...] | None:
    """Place three obstacles beside a known way. blocks: on both straight ways. None if they leave no room for it."""
    parts: tuple[ScenePart, ...] = ()
    straight = straight_ways(target)
    for each in reversed(straight) if blocks else ():
        if not parts or clearance_mm(parts, each) > -MIN_BLOCK_MM:
            part = _across(each, way, rng)
            if part is None:
                return None
            parts = (*parts, part)
    while len(parts) < OBSTACLES:
        parts = (*parts, _one(way, rng, rng.uniform(-math.pi, math.pi)))
    free = max(clearance_mm(parts, w) for w in straight)
    wanted = free <= -MIN_BLOCK_MM if blocks else min(clearance_mm(parts, w) for w in straight) >= MIN_MARGIN_MM
    return parts if wanted and clearance_mm(parts, way) >= MIN_MARGIN_MM else None


def _across(straight: F64, way: F64, rng: np.random.Generator) -> ScenePart | None:
    """Place an obstacle across a straight way, beside a known one."""
    depths = np.arange(FIRST_MM, LAST_MM, 2.0)
    off = np.array([np.linalg.norm(_at(straight, d) - _at(way, d)) for d in depths])
    far = depths[off > MIN_MARGIN_MM + MIN_BLOCK_MM]
    if len(far) == 0:
        return None
    depth = float(rng.choice(far))
    here, there = _at(way, depth), _at(straight, depth)
    angle = math.atan2(there[2] - here[2], there[1] - here[1])
    most = min(float(off[depths == depth][0]) - MIN_BLOCK_MM, MAX_MARGIN_MM)
    return _one(way, rng, angle, depth, (MIN_MARGIN_MM, most))


def _one(
    way: F64,
    rng: np.random.Generator,
    angle_rad: float,
    depth_mm: float | None = None,
    gap_mm: tuple[float, float] = (MIN_MARGIN_MM, MAX_MARGIN_MM),
) -> ScenePart:
    """Place a sphere or a cube beside a way, on the side of an angle."""
    depth = float(rng.uniform(FIRST_MM, LAST_MM)) if depth_mm is None else depth_mm
    radius = float(rng.uniform(*RADIUS_MM))
    off = radius + SHAFT_MM + float(rng.uniform(*gap_mm))
    side = np.array([0.0, math.cos(angle_rad), math.sin(angle_rad)])
    centre = _at(way, depth) + off * side
    x, y, z = centre.tolist()
    if rng.random() < 0.6:
        return Sphere((x, y, z), radius)
    half = 0.8 * radius
    return Cuboid((x - half, y - half, z - half), (x + half, y + half, z + half))


def _closing(target: Point, way: F64, rng: np.random.Generator) -> tuple[ScenePart, ...]:
    """Place what no needle gets past: a wall, a wall with a hole narrower than the shaft, or a ball on the target."""
    wide = WALL_HALF_WIDTH_MM
    depth, thick = float(rng.uniform(50.0, 100.0)), float(rng.uniform(2.0, 6.0))
    which = int(rng.integers(3))
    if which == 0:
        return (Cuboid((depth, -wide, -wide), (depth + thick, wide, wide)),)
    if which == 1:
        radius = float(rng.uniform(2.0, 5.0))
        return (Sphere((GOAL_DEPTH_MM, *target), radius),)
    _, y, z = _at(straight_ways(target)[1], depth).tolist()
    h, far = HOLE_MM / 2, depth + thick
    return (
        Cuboid((depth, -wide, -wide), (far, y - h, wide)),
        Cuboid((depth, y + h, -wide), (far, wide, wide)),
        Cuboid((depth, y - h, -wide), (far, y + h, z - h)),
        Cuboid((depth, y - h, z + h), (far, y + h, wide)),
    )
