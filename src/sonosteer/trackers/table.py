"""The trackers by name. A name is what `track(clip, method)` and `sonosteer track --method` take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonosteer.core.registry import LazyTable

if TYPE_CHECKING:
    from sonosteer.core.protocols import Tracker

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
        "vla": "sonosteer.trackers.vla:VlaTipTracker",
    },
    group="sonosteer.trackers",
)


def make_tracker(method: str, **settings: Any) -> Tracker[Any]:
    """Build a tracker by name. settings: its fields; "part.field" for those of its parts.

    method: a built-in name ("auto" is recommended), the name of an installed plug-in, or `package.module:Class` for a
    class of your own, which needs `start(hint)` and `step(state, frame)`. Raises InputError with the methods or the
    settings that there are, and if a plug-in cannot be used.
    """
    from sonosteer.core.plugins import construct

    tracker: Tracker[Any] = construct(TRACKERS.load(method), settings, f"method {method}")
    return tracker if method in TRACKERS.built_in else plug_in_tracker(tracker, f"method {method}")


def needs_scale(tracker: Any) -> bool:
    """True for a tracker that works in millimetres and refuses a frame without a scale: its `needs_scale` says so."""
    from sonosteer.core.plugins import PluggedIn

    return bool(getattr(tracker.thing if isinstance(tracker, PluggedIn) else tracker, "needs_scale", False))


def plug_in_tracker(tracker: Any, name: str) -> Tracker[Any]:
    """Put a tracker from outside behind the protocol: what goes wrong in it is one line that begins with its name."""
    from sonosteer.core.plugins import plug_in
    from sonosteer.core.types import Lost, TipEstimate

    return plug_in(tracker, name, (TipEstimate, Lost))
