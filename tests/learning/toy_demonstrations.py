"""A toy expert for the policy's tests: a bright tip on noise. Tip and ground are as bright as the tip is visible.

The ground brightens too, so that every token of the picture tells the visibility. With a bright tip alone a policy
says one speed for all until it has found the few tokens that tell, and how many steps that takes is chance.

The expert pushes as fast as the tip is bright, slides the probe along where it is to move, and stops near the target.
"""

import dataclasses
import math

import numpy as np

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, Frame, Observation, RobotState, Task, TipEstimate, Track
from sonosteer.datasets.insertions import EpisodeInfo, EpisodeWriter, write_insertions

SPACING = Spacing(0.4, 0.4)
SIZE = 120
FASTEST_MM_S, STOP_MM = 16.0, 2.0


def expert(visible, distance_mm, technique):
    """(insertion mm/s, probe mm/s, stop)."""
    if distance_mm < STOP_MM:
        return 0.0, 0.0, True
    speed = FASTEST_MM_S * visible
    return speed, 0.7 * speed if technique == "in-plane-moving" else 0.0, False


def scene(rng, technique, enters="left"):
    """(task, image, observation, action) of one moment drawn at random."""
    angle = rng.uniform(0.4, 1.0)
    sign = 1.0 if enters == "left" else -1.0
    tip = rng.uniform(35, 85, 2)
    away = rng.uniform(0.2, 30.0) if rng.random() < 0.8 else rng.uniform(0.2, 4.0)
    goal = tip + away / 0.4 * np.array([sign * math.cos(angle), math.sin(angle)])
    task = Task((float(goal[0]), float(goal[1])), technique, angle, enters, SPACING)
    return task, *sample(rng, task, tip, float(rng.uniform(0.1, 1.0)), angle, 0, float(rng.uniform(0, 60)))


def sample(rng, task, tip, visible, angle, index, depth_mm):
    """(frame, observation, action)."""
    image = (rng.integers(0, 30, (SIZE, SIZE)) + int(120 * visible)).astype(np.uint8)
    x, y = round(float(tip[0])), round(float(tip[1]))
    image[y - 2 : y + 3, x - 2 : x + 3] = 60 + int(190 * visible)
    at = (float(tip[0]), float(tip[1]))
    half = 5.0 / 0.4
    box = (at[0] - half, at[1] - half, at[0] + half, at[1] + half)
    t = index / 30
    seen = TipEstimate(
        *(index, t, at, angle, np.diag([0.09, 0.04]), 0.9, Track.TRACKING, (0.0, 0.0)), visibility=visible, box_px=box
    )
    robot_state = RobotState(t, depth_mm, float(rng.uniform(0, 16)), angle, 0.0, (0.0, 0.0, 0.0))
    speed, probe, stop = expert(visible, math.dist(at, task.target_px) * 0.4, task.technique)
    sign = 1.0 if task.enters == "left" else -1.0
    command = Command(
        expires_at_s=t + 0.35,
        insertion_speed_mm_s=speed,
        insertion_angle_rad=angle,
        probe_velocity_mm_s=(sign * probe, 0.0, 0.0),
        stop=stop,
    )
    action = Action(index, t, command)
    return Frame(image, index, t, SPACING), Observation(index, t, seen, robot_state, task.target_px), action


def make_set(folder, episodes=6, samples=20, seed=0, frames=True, features=None):
    """A set whose episodes hold moments along a straight way, or at random places towards one target."""
    rng = np.random.default_rng(seed)
    entries = []
    for k in range(episodes):
        technique = ("in-plane-static", "in-plane-moving")[k % 2]
        side = ("left", "right")[k // 2 % 2]
        task, *_ = scene(rng, technique, side)
        sign = 1.0 if side == "left" else -1.0
        goal = np.array(task.target_px)
        info = EpisodeInfo(
            *(f"{k:03d}", "validation" if k >= episodes - max(episodes // 5, 1) else "train", technique),
            **{"tissue": "agar", "operator": "toy", "source": "toy"},
        )
        with EpisodeWriter(folder, info, task) as writer:
            for i in range(samples):
                away = rng.uniform(0.2, 25.0) if i % 4 else rng.uniform(0.2, 4.0)
                tip = goal - away / 0.4 * np.array([sign * math.cos(task.angle_rad), math.sin(task.angle_rad)])
                visible, depth = float(rng.uniform(0.05, 1.0)), float(rng.uniform(0, 60))
                tip = np.clip(tip, 5, SIZE - 6)
                frame, observation, action = sample(rng, task, tip, visible, task.angle_rad, i, depth)
                observation = dataclasses.replace(observation, features=features)
                writer.add(observation, frame if frames else None, action)
            entries.append(writer.finish())
    write_insertions(folder, {"name": "d-insert", "seed": seed}, entries)
    return folder
