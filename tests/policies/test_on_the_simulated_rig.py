"""Policies on a simulated needle that bends in tissue, told the true tip with a little noise; images are not drawn."""

import math

import numpy as np
import pytest

from sonosteer.core.types import Observation, TipEstimate, Track
from sonosteer.episodes.tasks import insertion_task
from sonosteer.metrics.success import HIT_MM
from sonosteer.policies.table import make_policy
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

RIG = RigLimits(latency_s=0.05, encoder_mm=0.05)
SEEDS = range(5)


@pytest.fixture(scope="module")
def worlds():
    fields = {"width_px": 64, "height_px": 64, "spacing_mm": 2.0}
    return [World(make_scene("in-plane-convex/train", s, **fields), RIG) for s in SEEDS]


def tip_mm(world):
    scene, breath = world.scene, 0.0
    axis, _ = world.plant.place()
    breath = scene.breathing_mm * math.sin(math.pi * scene.breathing_hz * world.time_s) ** 4
    return axis[0] + np.array([0.0, 0.0, breath])


def insert(policy, world, seed, decide_s=0.1):
    """Distance from the target where it stops; an action is carried out decide_s after its image."""
    world.restart()
    rng = np.random.default_rng([seed, 9])
    task, target_mm = insertion_task(world, np.random.default_rng(seed))
    policy.prepare()
    state = policy.start(task)
    for frame in range(300):
        robot_state = world.read()
        x, y = world.to_px(tuple(tip_mm(world).tolist()), robot_state.probe_mm)
        at = (x + rng.normal(0, 0.3) / world.spacing.x_mm, y + rng.normal(0, 0.3) / world.spacing.y_mm)
        estimate = TipEstimate(
            frame, world.time_s, at, 0.7, 0.1 * np.eye(2), 0.9, Track.TRACKING, (0.0, 0.0), visibility=0.9
        )
        seen = Observation(frame, world.time_s, estimate, robot_state, task.target_at(robot_state.probe_mm))
        state, action = policy.step(state, seen)
        world.advance(decide_s)
        world.order(action.command)
        if action.command.stop:
            break
    assert action.command.stop
    world.advance(0.3)
    return float(np.linalg.norm(tip_mm(world) - target_mm))


@pytest.mark.parametrize("name", ["visibility", "steer", "seek", "expert"])
def test_the_target_is_reached(worlds, name):
    misses = [insert(make_policy(name), w, s) for s, w in zip(SEEDS, worlds, strict=True)]
    assert sum(m <= HIT_MM for m in misses) >= 4
    assert np.median(misses) < 2.5


@pytest.mark.parametrize("name", ["constant", "operator"])
def test_the_target_is_mostly_reached(worlds, name):
    misses = [insert(make_policy(name), w, s) for s, w in zip(SEEDS, worlds, strict=True)]
    assert sum(m <= HIT_MM for m in misses) >= 3


def test_turning_towards_the_target_comes_nearer_than_pushing_straight(worlds):
    straight = {"principle.max_turn_rad": 0.0}
    misses = [
        [insert(make_policy("visibility", **s), w, k) for k, w in zip(SEEDS, worlds, strict=True)]
        for s in (straight, {})
    ]
    assert np.mean(misses[1]) < np.mean(misses[0])
