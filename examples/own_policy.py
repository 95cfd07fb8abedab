"""A policy of one's own behind the Policy face: in the Gymnasium environment, and in a whole simulated insertion with
tracker, safety gate and robot.

Run: .venv/bin/python examples/own_policy.py      (needs: pip install 'sonosteer[env]')
In the environment the tip comes from `info`, which holds the truth; in the insertion from the tracker. A simulation:
nothing here drives a device.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

import sonosteer.episodes.environments
from sonosteer.core.types import Action, Observation, RobotState, Task, TipEstimate, Track
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.policies.geometry import target_offset
from sonosteer.policies.orders import Axes, order, stay

EPISODES = 2


@dataclass(frozen=True)
class State:
    """All memory of a policy is here, and frozen."""

    task: Task
    axes: Axes | None = None  # where the needle's angle and roll were first read, and stay


class HalfSpeed:
    """Push at 12 mm/s, half of it where the tip is seen badly, less near the target; stop a millimetre before it."""

    def prepare(self) -> None:
        """Nothing to load or compile."""

    def start(self, task: Task) -> State:
        return State(task)

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        axes = stay(state.axes, observation.robot_state, state.task)
        state = dataclasses.replace(state, axes=axes)
        seen = target_offset(observation, state.task)  # None where the tip is lost, or a number is none
        if seen is None:
            return state, order(observation, axes)  # hold
        fast = 12.0 if seen.visibility > 0.5 else 6.0
        speed = min(fast, max(2.0 * seen.along_mm, 2.0))
        return state, order(observation, axes, speed, stop=seen.along_mm < 1.0)


def in_the_environment(policy: HalfSpeed) -> int:
    """How many of some episodes of sonosteer/Insertion-v0 end within 5 mm of the target."""
    env = gymnasium.make("sonosteer/Insertion-v0", image_px=128, scene={"mode": "ips"})
    hits = 0
    for episode in range(EPISODES):
        observed, info = env.reset(seed=episode)
        state = policy.start(env.unwrapped.task)
        for frame in range(300):
            state, action = policy.step(state, observation(env, frame, observed, info))
            observed, _, ended, late, info = env.step(as_the_environment_has_it(action))
            if ended or late:
                break
        hits += info["success"]
        print(f"{info['scene']}: {info['cost_mm']:.1f} mm from the target")
    return hits


def observation(env: Any, frame: int, observed: dict[str, Any], info: dict[str, Any]) -> Observation:
    """What a tracker and the encoders would say: here the true tip, and its visibility as the simulation knows it."""
    depth, speed, angle, roll, *probe, x, y, _ = observed["state"].tolist()
    now, visible = env.unwrapped.world.time_s, 0.9 if info["visible"] else 0.2
    tip = info["tip_px"]
    estimate = TipEstimate(frame, now, tip, angle, np.eye(2), visible, Track.TRACKING, tip, visibility=visible)
    return Observation(frame, now, estimate, RobotState(now, depth, speed, angle, roll, tuple(probe)), (x, y))


def as_the_environment_has_it(action: Action) -> np.ndarray:
    """Insertion in parts of 30 mm/s, no turn, probe in parts of 20, 5 and 5 mm/s, stop."""
    wanted = action.command
    probe = np.array(wanted.probe_velocity_mm_s) / (20.0, 5.0, 5.0)
    return np.array([wanted.insertion_speed_mm_s / 30.0, 0.0, *probe, float(wanted.stop)], np.float32)


def in_an_insertion(policy: HalfSpeed) -> bool:
    """One whole insertion: images, the tracker that ships, the gate, the simulated robot."""
    episode = build_episode(InsertionConfig(policy="hold", mode="ips", seed=14))
    episode.policy = policy
    done = run_episode(episode)
    result = done.summary()
    print(f"insertion: {result['reason']}, {result['final_error_mm']:.1f} mm, {result['time_s']:.1f} s")
    return done.outcome.success


def main() -> int:
    """Run both; return how many of the episodes, and the insertion, ended within 5 mm of the target."""
    policy = HalfSpeed()
    hits = in_the_environment(policy) + in_an_insertion(policy)
    print(f"{hits} of {EPISODES + 1} within {sonosteer.episodes.environments.HIT_MM:g} mm")
    return hits


if __name__ == "__main__":
    main()
