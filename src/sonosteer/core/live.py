"""What a live source is, beside a source: it can be waited for, it counts, and it has the run's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sonosteer.core.clock import Clock
from sonosteer.core.protocols import Source
from sonosteer.core.types import Frame
from sonosteer.core.wall_clock import ClockStep


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCounts:
    """Account of everything that came. received = seen + overwritten + waiting + the sum of bad, at all times."""

    received: int
    """Number of pictures that came, usable or not."""
    seen: int
    """Number of pictures that were handed on."""
    overwritten: int
    """Number of pictures that a newer one replaced before anybody took them."""
    waiting: int
    """Number of pictures that came and are not taken yet: 0 or 1, and 0 once the source is closed."""
    bad: Mapping[str, int]
    """Number of pictures and messages that could not be used, by reason."""
    other: Mapping[str, int] = field(default_factory=dict)
    """Number of messages that are no picture of this device, by kind and device."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """Number of times that something else was wrong, by what: connections that broke, clocks that stepped."""
    connections: int = 1
    """How many times a connection was made."""
    lost_before: int = 0
    """Number of pictures that were lost before they came here, where the sender's numbers or times tell."""

    def to_summary(self) -> dict[str, Any]:
        """As in summary.json. What waits when a run ends is overwritten."""
        return {
            "received": self.received,
            "seen": self.seen,
            "overwritten": self.overwritten + self.waiting,
            "bad": dict(self.bad),
            "other": dict(self.other),
            "faults": dict(self.faults),
            "connections": self.connections,
            "lost_before": self.lost_before,
        }


class LiveSource(Source, Protocol):
    """Frames as they come. info.frames is None. Times of frames are on `clock`."""

    @property
    def clock(self) -> Clock:
        """The run's clock. The first frame was acquired at about 0 s on it."""
        ...

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame that nobody has taken. Waits up to timeout_s for one, then None.

        Raises InputError if the stream goes on in another way than it began: with another size, another scale.
        """
        ...

    def counts(self) -> StreamCounts:
        """Return the account of the stream up to now."""
        ...

    def lag(self) -> dict[str, Any]:
        """Return what is known of the sender's clock and of the time on the way, as JSON can say it."""
        ...

    def complaint(self) -> str | None:
        """Say why nothing comes just now: not connected, nothing sent. None while pictures come."""
        ...

    def clock_step(self) -> ClockStep | None:
        """Return the last step of this machine's time of day, dated on `clock`. None if there was none."""
        ...

    def to_wall_s(self, time_s: float) -> float:
        """Return the time of day of a moment on `clock`, s since 1970. A run has this one mapping."""
        ...


def is_live(source: object) -> bool:
    """True for a source that can be waited for."""
    return callable(getattr(source, "next_frame", None))
