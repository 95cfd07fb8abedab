"""Publishes what an insertion knows of the needle, frame by frame. Nothing in the loop waits for a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sonosteer.core.clock import Clock
from sonosteer.core.types import Capture, Frame, Observation
from sonosteer.runtime.branches import TrackingBranch
from sonosteer.sources.igtlink.publisher import STALE_S, Publisher


class InsertionPublisher:
    """Hands each tracked frame to a publisher, and says when none was tracked for STALE_S. clock: of the run."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher, self._clock = publisher, clock
        self._tracked_s: float | None = None
        self._told_s = 0.0

    def begin(self) -> None:
        """Note that the run begins: from now on frames are expected."""
        self._tracked_s = self._told_s = self._clock.now_s()

    def saw(self, frame: Frame, seen: Observation) -> None:
        """Publish a frame, and what was seen in it. Called in the tracker's thread."""
        self._publisher.saw(frame, seen.estimate, target=seen.target_px)
        self._tracked_s = self._told_s = self._clock.now_s()

    def look(self, now_s: float) -> None:
        """Say that what was published of the last frame holds no more, once it is so. Called every control period."""
        if self._tracked_s is not None and now_s - self._told_s > STALE_S:
            self._told_s = now_s
            self._publisher.silent(f"no picture was tracked for {now_s - self._tracked_s:.1f} s")

    def summary(self) -> dict[str, Any]:
        """What was published, as in summary.json."""
        return self._publisher.summary()

    def close(self) -> None:
        """Say that the run is over, and let the clients go. May be called twice."""
        self._publisher.close()


@dataclass
class PublishedTracking(TrackingBranch):
    """A tracking branch that publishes what it says."""

    publisher: InsertionPublisher | None = None
    """Who is told. None: nobody."""

    def see(self, capture: Capture) -> Observation:
        """Track one frame, and publish it. Returns all that the policy is told of it."""
        seen = super().see(capture)
        if self.publisher is not None:
            self.publisher.saw(capture.frame, seen)
        return seen
