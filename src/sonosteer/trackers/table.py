"""The trackers by name. A name is what `sonosteer track --method` takes."""

from __future__ import annotations

from typing import Any

from sonosteer.core.protocols import Tracker
from sonosteer.core.registry import LazyTable

TRACKERS = LazyTable(
    "tracking method",
    {
        "kf+f": "sonosteer.trackers.kf_f:KalmanFeedback",
    },
)


def make_tracker(method: str, **settings: Any) -> Tracker[Any]:
    """Build a tracker by name; InputError names the methods there are."""
    tracker: Tracker[Any] = TRACKERS.load(method)(**settings)
    return tracker
