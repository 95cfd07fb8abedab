"""The trackers by name. A name is what `sonosteer track --method` takes."""

from __future__ import annotations

from typing import Any

from sonosteer.core.protocols import Tracker
from sonosteer.core.registry import LazyTable

TRACKERS = LazyTable(
    "tracking method",
    {
        "auto": "sonosteer.trackers.auto:Auto",
        "axial": "sonosteer.trackers.axial:Axial",
        "df": "sonosteer.trackers.df:DingFenster",
        "om": "sonosteer.trackers.paper_t:OM",
        "om+f": "sonosteer.trackers.paper_t:OMFeedback",
        "kf": "sonosteer.trackers.paper_t:KF",
        "kf+f": "sonosteer.trackers.paper_t:KFFeedback",
        "pf": "sonosteer.trackers.paper_t:PF",
        "pf+f": "sonosteer.trackers.paper_t:PFFeedback",
        "kfv": "sonosteer.trackers.paper_t:KFv",
        "kfv+f": "sonosteer.trackers.paper_t:KFvFeedback",
        "pfv": "sonosteer.trackers.paper_t:PFv",
        "pfv+f": "sonosteer.trackers.paper_t:PFvFeedback",
        "vla": "sonosteer.trackers.vla:Vla",
    },
)


def make_tracker(method: str, **settings: Any) -> Tracker[Any]:
    """Build a tracker by name; InputError names the methods there are."""
    tracker: Tracker[Any] = TRACKERS.load(method)(**settings)
    return tracker
