"""A controller of your own against the recommended one, on a simulated needle.

Run: .venv/bin/python examples/steer_in_python.py
A simulation: nothing here drives a device.
"""

from __future__ import annotations

import math

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.episodes.steering import DEVICE, errors, insert
from sonosteer.runtime.ledger import Ledger
from sonosteer.sim.steering_scenes import steering_scene
from sonosteer.sim.world import World
from sonosteer.steering.budget import Limited
from sonosteer.steering.table import make_steerer

DEPTH_MM = 80.0


class OneTurn:
    """Half a turn, once, a third of the way down. State: the roll at the entry."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, roll_rad: float) -> float:
        return roll_rad

    def step(
        self, state: float, sighting: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[float, RollCommand]:
        return state, RollCommand(state + (math.pi if sighting.depth_mm > 0.3 * DEPTH_MM else 0.0))


def final_mm(steerer: object) -> float:
    """Distance from the axis at the end; the tip is seen with 0.15 mm of noise."""
    world = World(steering_scene("porcine", "middle", seed=1, depth_mm=DEPTH_MM), DEVICE)
    done = insert(world, steerer, SimulatedClock(), Ledger())
    return errors(done.path(), DEPTH_MM).final_mm


def main() -> float:
    """Print where each controller ends; return the recommended one's distance from the axis in mm."""
    mine = Limited(OneTurn())  # within the limits that hold for every controller
    ours = make_steerer("moves", tissue="porcine", depth_mm=DEPTH_MM, backlash_rad=DEVICE.roll_backlash_rad)
    for name, steerer in (("none", make_steerer("none")), ("half a turn", mine), ("moves", ours)):
        end = final_mm(steerer)
        print(f"{name:12} {end:.2f} mm off the axis")
    return end


if __name__ == "__main__":
    main()
