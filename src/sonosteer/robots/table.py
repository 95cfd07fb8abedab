"""The robots by name: drivers that take cleared commands."""

from __future__ import annotations

from typing import Any

from sonosteer.core.errors import RobotError
from sonosteer.core.plugins import check_methods, construct, naming
from sonosteer.core.registry import LazyTable
from sonosteer.core.types import RobotState
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.safety.robot import Robot

ROBOTS = LazyTable(
    "robot",
    {
        "hold": "sonosteer.robots.hold:HoldRobot",
        "simulated": "sonosteer.robots.simulated:SimulatedRobot",
    },
    group="sonosteer.robots",
)


def make_robot(name: str, *args: Any, **settings: Any) -> Robot:
    """Build a driver by name, with what it drives.

    name: a built-in name, the name of an installed plug-in, or `package.module:Class` for a driver of your own, which
    needs `read`, `send`, `hold` and `close`. Raises InputError with the robots there are, and if a plug-in cannot be
    used.
    """
    make = ROBOTS.load(name)
    if name in ROBOTS.built_in:
        robot: Robot = make(*args, **settings)
        return robot
    made = construct(lambda **given: make(*args, **given), settings, f"robot {name}")
    return plug_in_robot(made, f"robot {name}")


def plug_in_robot(driver: Any, name: str) -> Robot:
    """Put a plug-in driver behind the protocol. Raises InputError if it lacks a method."""
    check_methods(driver, name, ("read", "send", "hold", "close"))
    return PluggedInRobot(driver, name)


class PluggedInRobot:
    """A plug-in driver. What it raises becomes a RobotError, so that the needle is held."""

    def __init__(self, driver: Any, name: str) -> None:
        self.driver = driver
        self._name = name

    def read(self) -> RobotState:
        """Its encoders, now. Raises RobotError if it breaks, or returns anything but a RobotState."""
        with naming(self._name, "read", self.driver, RobotError):
            said = self.driver.read()
        if not isinstance(said, RobotState):
            raise RobotError(f"{self._name}: read must return a RobotState, but returned {type(said).__name__}")
        return said

    def send(self, cleared: Cleared) -> None:
        """Hand over a command. Raises RobotError if it breaks, and for anything but what the gate has cleared."""
        if not genuine(cleared):
            raise RobotError(f"{self._name} takes only what the safety gate has cleared: ask Gate.clear")
        with naming(self._name, "send", self.driver, RobotError):
            self.driver.send(cleared)

    def hold(self, reason: str) -> None:
        """Tell it to stop every motion. Raises RobotError if it breaks."""
        with naming(self._name, "hold", self.driver, RobotError):
            self.driver.hold(reason)

    def close(self) -> None:
        """Let go of it. Raises RobotError if it breaks."""
        with naming(self._name, "close", self.driver, RobotError):
            self.driver.close()
