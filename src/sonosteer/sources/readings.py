"""A robot's readings beside any recorded clip: each frame gets what the encoders said at its time."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.core.protocols import Source
from sonosteer.core.robot_readings import MAX_GAP_S, between
from sonosteer.core.types import Frame, RobotState
from sonosteer.recording.readings import read_readings


class WithReadings:
    """Frames of `source` with `robot_state`, from a readings.csv.

    Between two rows a state is linear. A frame before the first row, after the last, or in a gap of more than
    MAX_GAP_S has none. Raises InputError if the table is damaged, or of another time than the clip.
    """

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self.info = source.info
        self._states = read_readings(path)
        first_s, last_s = self._states[0].time_s, self._states[-1].time_s
        frames, rate_hz = self.info.frames, self.info.rate_hz
        if frames is not None and rate_hz:
            ends_s = frames / rate_hz
            if first_s > ends_s or last_s < 0.0:
                raise InputError(
                    f"{path} goes from {first_s:g} to {last_s:g} s, the clip from 0 to {ends_s:.4g} s: "
                    "give times on the clip's clock, 0 at its first frame"
                )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop` of the source."""
        for frame in self._source.frames(start, stop):
            yield dataclasses.replace(frame, robot_state=self.at(frame.time_s))

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def at(self, time_s: float) -> RobotState | None:
        """What the encoders said at a time, None where that is not known."""
        states = self._states
        k = bisect_left(states, time_s - 1e-6, key=lambda state: state.time_s)
        if k == len(states):
            return None
        after = states[k]
        if abs(after.time_s - time_s) <= 1e-6:
            return after
        gap_s = after.time_s - states[k - 1].time_s
        if k == 0 or not gap_s <= MAX_GAP_S:
            return None
        return between(states[k - 1], after, (time_s - states[k - 1].time_s) / gap_s)
