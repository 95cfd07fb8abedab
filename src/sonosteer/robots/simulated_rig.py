"""A simulated world as the camera and clock of an insertion. It keeps the truth of every picture."""

from __future__ import annotations

import threading

from sonosteer.core.types import Capture, Frame
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World


class SimulatedRig:
    """Camera and time of a world. lock: shared with the world's robot. truths: of every picture, for a judge."""

    def __init__(self, world: World, lock: threading.Lock) -> None:
        self.world = world
        self.lock = lock
        self.truths: list[NeedleTruth] = []
        self._due_s = 0.0

    def capture(self, now_s: float) -> Capture | None:
        """Take the picture that is due, None before it is."""
        world = self.world
        if world.time_s < self._due_s - 1e-9:
            return None
        period = 1.0 / world.scene.rate_hz
        self._due_s = max(self._due_s + period, world.time_s - period)
        with self.lock:
            robot_state = world.read()
        return Capture(self.look(), robot_state, now_s)

    def look(self) -> Frame:
        """Take a picture now."""
        frame, truth = self.world.look()
        self.truths.append(truth)
        return frame

    def advance(self, dt_s: float) -> None:
        """Let the world's time pass."""
        with self.lock:
            self.world.advance(dt_s)
