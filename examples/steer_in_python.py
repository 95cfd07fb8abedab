"""A controller of your own against the recommended one, on a simulated needle.

Run: .venv/bin/python examples/steer_in_python.py
A simulation: nothing here drives a device.
"""

from __future__ import annotations

import dataclasses
import math

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.episodes.steering import (
    SteeringConfig,
    SteeringEpisode,
    build_steering_episode,
    path_errors,
    run_steering_episode,
)
from sonosteer.steering.budget import Limited

DEPTH_MM = 80.0


class OneTurn:
    """Half a turn, once, a third of the way down. State: the roll at the entry."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, roll_rad: float) -> float:
        return roll_rad

    def step(
        self, state: float, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[float, RollCommand]:
        return state, RollCommand(state + (math.pi if measurement.depth_mm > 0.3 * DEPTH_MM else 0.0))


def final_mm(episode: SteeringEpisode) -> float:
    """Distance from the axis at the end, mm."""
    done = run_steering_episode(episode, SimulatedClock())
    return path_errors(done.path(), DEPTH_MM).final_mm


def episode_with(controller: str) -> SteeringEpisode:
    """An insertion in porcine tissue. The tip is measured with 0.15 mm of noise, there are no images."""
    return build_steering_episode(SteeringConfig(controller=controller, seed=1, depth_mm=DEPTH_MM, tracker=None))


def main() -> float:
    """Print where each controller ends; return the recommended one's distance from the axis in mm."""
    none, moves = episode_with("none"), episode_with("moves")
    mine = dataclasses.replace(none, steerer=Limited(OneTurn()))  # within the limits that hold for every controller
    for name, episode in (("none", none), ("half a turn", mine), ("moves", moves)):
        end = final_mm(episode)
        print(f"{name:12} {end:.2f} mm off the axis")
    return end


if __name__ == "__main__":
    main()
