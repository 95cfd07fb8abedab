"""A measured insertion speed beside any source: each frame gets the speed at its time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.protocols import Source
from sonosteer.core.types import Frame
from sonosteer.recording.tables import number, read_table


class WithVelocity:
    """Frames of `source` with `velocity_mm_s`: one speed for all, or a CSV `time_s,velocity_mm_s`.

    Between the rows of a table the speed is linear. Before the first and after the last it is not known.
    Raises InputError if the table is damaged or empty, or if its times do not rise.
    """

    def __init__(self, source: Source, velocity_mm_s: float | Path) -> None:
        self._source = source
        self.info = source.info
        self._speed = velocity_mm_s if isinstance(velocity_mm_s, float) else 0.0
        self._table = None if isinstance(velocity_mm_s, float) else _read(velocity_mm_s)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop` of the source."""
        for frame in self._source.frames(start, stop):
            yield dataclasses.replace(frame, velocity_mm_s=self._at(frame.time_s))

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _at(self, time_s: float) -> float | None:
        """Speed at a time in mm/s, None where it is not known."""
        if self._table is None:
            return self._speed
        times_s, speeds = self._table
        if not times_s[0] - 1e-6 <= time_s <= times_s[-1] + 1e-6:
            return None
        return float(np.interp(time_s, times_s, speeds))


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = read_table(path, ("time_s", "velocity_mm_s"), lambda r: (number(r, "time_s"), number(r, "velocity_mm_s")))
    if not rows:
        raise InputError(f"{path} has no rows: give time_s,velocity_mm_s")
    table = np.array(rows, float).T
    if (np.diff(table[0]) <= 0).any():
        raise InputError(f"{path}: time_s must rise from row to row")
    return table[0], table[1]
