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
        "csrt": "sonosteer.trackers.opencv:Csrt",
        "kcf": "sonosteer.trackers.opencv:Kcf",
        "mil": "sonosteer.trackers.opencv:Mil",
        "lk": "sonosteer.trackers.opencv:LucasKanade",
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
    return _says(tracker, "needs_scale", otherwise=False)


def needs_click(tracker: Any) -> bool:
    """True for a tracker that cannot find the needle by itself: its `needs_click` says so."""
    return _says(tracker, "needs_click", otherwise=False)


def says_confidence(tracker: Any) -> bool:
    """False for a tracker that knows neither a confidence nor an uncertainty: its `says_confidence` says so."""
    return _says(tracker, "says_confidence", otherwise=True)


def uses_readings(tracker: Any) -> bool:
    """True for a tracker that uses `Frame.robot_state`: its `uses_readings` says so."""
    return _says(tracker, "uses_readings", otherwise=False)


def has_open_state(tracker: Any) -> bool:
    """False for a tracker whose states serve once, and cannot be stored: its `open_state` says so."""
    return _says(tracker, "open_state", otherwise=True)


def repeats_itself(tracker: Any) -> bool:
    """False for a tracker that may say something else of the same clip the next time: its `repeats_itself` says so."""
    return _says(tracker, "repeats_itself", otherwise=True)


def _says(tracker: Any, what: str, *, otherwise: bool) -> bool:
    from sonosteer.core.plugins import PluggedIn

    return bool(getattr(tracker.thing if isinstance(tracker, PluggedIn) else tracker, what, otherwise))


def plug_in_tracker(tracker: Any, name: str) -> Tracker[Any]:
    """Put a tracker from outside behind the protocol: what goes wrong in it is one line that begins with its name."""
    from sonosteer.core.plugins import plug_in
    from sonosteer.core.types import Lost, TipEstimate

    return plug_in(tracker, name, (TipEstimate, Lost))
