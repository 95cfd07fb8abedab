"""`simulated`: the rig of a simulated world behind the protocol that a real robot would have, and ways to break it."""

from __future__ import annotations

import threading
from typing import Literal

from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.types import Command, RobotState
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.sim.world import World

#: what can be wrong on the way to the rig: it says no, it is gone, or it says yes and hears nothing
LinkFault = Literal["refuses", "disconnects", "deaf"]
LINK_FAULTS: tuple[LinkFault, ...] = ("refuses", "disconnects", "deaf")


class SimulatedRobot:
    """Tells a world's rig what to do, and reads its encoders. The world's clock and the run's must agree.

    lock: held for every access to the world. Whoever lets its time pass must hold the same one. After a command's
    expiry the rig stands still by itself, even if nobody can reach it any more.
    """

    def __init__(self, world: World, lock: threading.Lock | None = None) -> None:
        self.lock = lock or threading.Lock()
        self.fault: LinkFault | None = None
        self.held_because: str | None = None
        self._world = world
        self._closed = False

    def break_(self, fault: LinkFault) -> None:
        """Break it: it "refuses" commands, "disconnects" (neither reads nor hears), or is "deaf" without saying so."""
        if fault not in LINK_FAULTS:
            raise InputError(f"there is no fault {fault!r}; there are: {', '.join(LINK_FAULTS)}")
        self.fault = fault

    def mend(self) -> None:
        """Put it right."""
        self.fault = None

    def read(self) -> RobotState:
        """Read the encoders now. Raises RobotError if it is gone."""
        self._reach()
        with self.lock:
            return self._world.read()

    def send(self, cleared: Cleared) -> None:
        """Carry out a command until it expires. A stop is a hold.

        Raises RobotError if it refuses or is gone, and for anything but what the gate itself has cleared.
        """
        if not genuine(cleared):
            raise RobotError("the simulated robot takes only what the safety gate has cleared: ask Gate.clear")
        self._reach()
        if self.fault == "refuses":
            raise RobotError("the simulated robot refuses the order: it was told to fail so")
        if cleared.command.stop:
            self.hold("stop")
            return
        with self.lock:
            self._tell(cleared.command)
            if self.fault != "deaf":
                self.held_because = None

    def hold(self, reason: str) -> None:
        """Stop every motion where it is and stay. Raises RobotError if it is gone: then its last command expires."""
        self._reach()
        with self.lock:
            if self.fault == "deaf":
                return
            self.held_because = reason
            self._tell(Command(expires_at_s=None, stop=True))

    def close(self) -> None:
        """Hold if it can be reached, and close. May be called twice."""
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
