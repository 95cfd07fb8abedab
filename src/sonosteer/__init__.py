"""sonosteer: see the needle, steer the needle. Research software, not a medical device."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sonosteer.core.geometry import ConvexProbe, LinearProbe, Spacing
    from sonosteer.core.types import Action, Estimate, Frame, Hint, Lost, TipEstimate, Track
    from sonosteer.sources.opening import open_source
    from sonosteer.trackers.table import make_tracker

_WHERE = {
    "Action": "sonosteer.core.types",
    "ConvexProbe": "sonosteer.core.geometry",
    "Estimate": "sonosteer.core.types",
    "Frame": "sonosteer.core.types",
    "Hint": "sonosteer.core.types",
    "LinearProbe": "sonosteer.core.geometry",
    "Lost": "sonosteer.core.types",
    "Spacing": "sonosteer.core.geometry",
    "TipEstimate": "sonosteer.core.types",
    "Track": "sonosteer.core.types",
    "make_tracker": "sonosteer.trackers.table",
    "open_source": "sonosteer.sources.opening",
}

__all__ = [
    "Action",
    "ConvexProbe",
    "Estimate",
    "Frame",
    "Hint",
    "LinearProbe",
    "Lost",
    "Spacing",
    "TipEstimate",
    "Track",
    "__version__",
    "make_tracker",
    "open_source",
]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import sonosteer` stays quick."""
    if name not in _WHERE:
        raise AttributeError(f"module 'sonosteer' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
