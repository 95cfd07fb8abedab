"""Waits for the frames of a live source, and says for how long none has come and why. `track` and `insert` share it."""

from __future__ import annotations

from sonosteer.core.live import LiveSource
from sonosteer.core.types import Frame

SILENT_S = 0.5  # chosen: as long as a publisher shows a tip without a new picture


class AwaitedFrames:
    """The newest frame of a source whenever somebody asks. In one thread."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.last_s = source.clock.now_s()

    def next(self, timeout_s: float) -> Frame | None:
        """Return the newest frame that nobody has taken. Waits up to timeout_s for one, then None.

        Raises what the source raises: InputError if its pictures changed, BrokenError if nothing will come any more.
        """
        frame = self.source.next_frame(timeout_s)
        if frame is not None:
            self.last_s = self.source.clock.now_s()
        return frame

    @property
    def silent_s(self) -> float:
        """How long no frame has come, s. 0 until that is SILENT_S."""
        silent_s = self.source.clock.now_s() - self.last_s
        return silent_s if silent_s >= SILENT_S else 0.0

    @property
    def reason(self) -> str:
        """Why none comes, as far as the source knows."""
        return self.source.complaint() or "nothing is sent"
