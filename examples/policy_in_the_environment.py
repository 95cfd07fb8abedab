"""Plug a policy of one's own into the simulated rig: push on while the tip comes nearer, then stop.

Run: .venv/bin/python examples/policy_in_the_environment.py      (needs: pip install 'sonosteer[env]')
It cheats: `info` holds the truth, which a real policy would have to see in `observation["image"]`.
"""

from __future__ import annotations

import gymnasium
import numpy as np

import sonosteer.episodes.environments

EPISODES = 3


def main() -> int:
    """Run some episodes; return how many ended within 5 mm of the target."""
    env = gymnasium.make("sonosteer/Insertion-v0", image_px=128, scene={"mode": "ips"})
    hits = 0
    for episode in range(EPISODES):
        _, info = env.reset(seed=episode)
        nearest, reward = info["cost_mm"], 0.0
        for _ in range(300):
            done = info["cost_mm"] > nearest + 0.2
            nearest = min(nearest, info["cost_mm"])
            action = np.zeros(6, np.float32)
            action[0], action[5] = 0.6, float(done)
            _, reward, ended, late, info = env.step(action)
            if ended or late:
                break
        hits += info["success"]
        print(f"{info['scene']}: {info['cost_mm']:.1f} mm from the target, last reward {reward:.1f}")
    print(f"{hits} of {EPISODES} within {sonosteer.episodes.environments.HIT_MM:g} mm")
    return hits


if __name__ == "__main__":
    main()
