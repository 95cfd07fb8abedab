"""The robots by name: drivers that take cleared orders."""

from __future__ import annotations

from typing import Any

from sonosteer.core.registry import LazyTable
from sonosteer.safety.robot import Robot

ROBOTS = LazyTable(
    "robot",
    {
        "hold": "sonosteer.robots.hold:Hold",
        "simulated": "sonosteer.robots.simulated:SimulatedRobot",
    },
)


def make_robot(name: str, *args: Any, **settings: Any) -> Robot:
    """Build a driver by name, with what it drives; InputError names the robots there are."""
    robot: Robot = ROBOTS.load(name)(*args, **settings)
    return robot
