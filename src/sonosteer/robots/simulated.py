"""`simulated`: the rig of a simulated world behind the face that a real robot would have, and ways to break it."""

from __future__ import annotations

import threading
from typing import Literal

from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.types import Command, RobotState
from sonosteer.safety.gate import Cleared
from sonosteer.sim.world import World

#: what can be wrong with the way to the rig: it says no; it is gone; it says yes and hears nothing
Fault = Literal["refuses", "disconnects", "deaf"]
FAULTS: tuple[Fault, ...] = ("refuses", "disconnects", "deaf")


class SimulatedRobot:
    """Orders to a world's rig, its encoders back. Times are the world's own: its clock and the run's must agree.

    lock: held for every touch of the world; whoever lets its time pass holds the same one. After an order's expiry the
    rig stands still by itself, also when nobody can reach it any more.
    """

    def __init__(self, world: World, lock: threading.Lock | None = None) -> None:
        self.lock = lock or threading.Lock()
        self.fault: Fault | None = None
        self.held_because: str | None = None
        self._world = world
        self._held: tuple[float, float] | None = None  # angle and roll that the rig holds at
        self._closed = False

    def break_(self, fault: Fault) -> None:
        """From now on: "refuses" orders, "disconnects" (neither reads nor hears), or is "deaf" without saying so."""
        if fault not in FAULTS:
            raise InputError(f"there is no fault {fault!r}; there are: {', '.join(FAULTS)}")
        self.fault = fault

    def mend(self) -> None:
        """Someone has put it right."""
        self.fault = None

    def read(self) -> RobotState:
        """The encoders, now. RobotError when it is gone."""
        self._reach()
        with self.lock:
            return self._world.read()

    def send(self, cleared: Cleared) -> None:
        """Carry out an order until it expires; one that says stop is a hold. RobotError when it refuses or is gone."""
        self._reach()
        if self.fault == "refuses":
            raise RobotError("the simulated robot refuses the order: it was told to fail so")
        if cleared.command.stop:
            self.hold("stop")
            return
        with self.lock:
            self._tell(cleared.command)
            if self.fault != "deaf":
                self._held, self.held_because = None, None

    def hold(self, reason: str) -> None:
        """Stop every motion where it is and stay. RobotError when it is gone: then its last order expires."""
        self._reach()
        with self.lock:
            if self.fault == "deaf":
                return
            if self._held is None:  # read once: a goal read anew each time would wander with the encoders' noise
                robot_state = self._world.read()
                self._held = robot_state.insertion_angle_rad, robot_state.roll_rad
            self.held_because = reason
            angle, roll = self._held
            self._tell(Command(expires_at_s=None, insertion_angle_rad=angle, roll_rad=roll, stop=True))

    def close(self) -> None:
        """Hold, if it can be reached, and let go. May be called twice."""
        if self._closed:
            return
        if self.fault != "disconnects":
            self.hold("closed")
        self._closed = True

    def _tell(self, command: Command) -> None:
        if self.fault == "deaf":
            return
        try:
            self._world.order(command)
        except InputError as e:
            raise RobotError(f"the simulated robot refuses the order: {e}") from None

    def _reach(self) -> None:
        if self._closed:
            raise RobotError("the simulated robot is closed: make a new one")
        if self.fault == "disconnects":
            raise RobotError("the simulated robot is gone: connection lost")
