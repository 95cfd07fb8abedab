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
        "om": "sonosteer.trackers.mathiassen2017:OM",
        "om+f": "sonosteer.trackers.mathiassen2017:OMFeedback",
        "kf": "sonosteer.trackers.mathiassen2017:KF",
        "kf+f": "sonosteer.trackers.mathiassen2017:KFFeedback",
        "pf": "sonosteer.trackers.mathiassen2017:PF",
        "pf+f": "sonosteer.trackers.mathiassen2017:PFFeedback",
        "kfv": "sonosteer.trackers.mathiassen2017:KFv",
        "kfv+f": "sonosteer.trackers.mathiassen2017:KFvFeedback",
        "pfv": "sonosteer.trackers.mathiassen2017:PFv",
        "pfv+f": "sonosteer.trackers.mathiassen2017:PFvFeedback",
        "vla": "sonosteer.trackers.vla:Vla",
    },
)


def make_tracker(method: str, **settings: Any) -> Tracker[Any]:
    """Build a tracker by name; InputError names the methods there are."""
    tracker: Tracker[Any] = TRACKERS.load(method)(**settings)
    return tracker
