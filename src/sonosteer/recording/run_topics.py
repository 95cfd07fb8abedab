"""The topics of a recorded run, and for each the JSON schema by which Foxglove lists and plots its fields.

The schemas name what can be plotted and say nothing of matrices and lists of points, since Foxglove refuses nested
arrays and fields with a choice of types. A field may also be null, or "NaN", "Infinity" or "-Infinity".
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, Estimate, Observation, RobotState
from sonosteer.recording.wire import TAG, FrameArrival

#: of the file. A reader refuses what it does not know. 1: flat actions. 2: a command in each action.
#: 3: a hash chain, and the scale, `hold` and `by_hand` that the gate is told
PROFILE, VERSION = "sonosteer-run", 3

PICTURE, ARRIVAL, CONFIGURATION, END = "/frames", "/arrival", "/configuration", "/end"
ESTIMATE, ANNOTATIONS = "/estimate", "/annotations"
NUMBER, WHOLE, TEXT, YES_NO = ({"type": t} for t in ("number", "integer", "string", "boolean"))
SCALARS: dict[Any, dict[str, str]] = {float: NUMBER, int: WHOLE, str: TEXT, bool: YES_NO}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def shown(kind: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a field of that type, None where Foxglove cannot show it."""
    origin, options = get_origin(kind), [k for k in get_args(kind) if k not in (NoneType, Ellipsis)]
    if kind in SCALARS:
        return SCALARS[kind]
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return TEXT
    if is_dataclass(kind):
        fields = {name: shown(hint) for name, hint in get_type_hints(kind).items()}
        return _object({TAG: TEXT} | {name: schema for name, schema in fields.items() if schema})
    if origin in (Union, UnionType) and all(map(is_dataclass, options)):
        schemas = [shown(k) or {} for k in options]
        return _object({name: p for s in schemas for name, p in s["properties"].items()})
    if origin in (Union, UnionType) and len(options) == 1:
        return shown(options[0])
    if origin is tuple and options[0] in SCALARS:
        return {"type": "array", "items": SCALARS[options[0]]}
    return None


TIME = _object({"sec": WHOLE, "nsec": WHOLE}) | {"title": "time"}
IMAGE = {
    "timestamp": TIME,
    "frame_id": TEXT,
    "format": TEXT,
    "data": TEXT | {"contentEncoding": "base64"},
    "index": WHOLE,
}
POINT_2D = _object({"x": NUMBER, "y": NUMBER})
COLOUR = _object(dict.fromkeys("rgba", NUMBER))


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


LINE = {"timestamp": TIME, "thickness": NUMBER, "outline_color": COLOUR, "fill_color": COLOUR}
TEXT_ON_PICTURE = {"timestamp": TIME, "position": POINT_2D, "text": TEXT, "font_size": NUMBER}
DRAWN = {
    "circles": _list(_object({**LINE, "position": POINT_2D, "diameter": NUMBER})),
    "points": _list(_object({**LINE, "type": WHOLE, "points": _list(POINT_2D), "outline_colors": _list(COLOUR)})),
    "texts": _list(_object({**TEXT_ON_PICTURE, "text_color": COLOUR, "background_color": COLOUR})),
}
SPAN = {"started_s": NUMBER, "done_s": NUMBER}
VERDICT = (
    {TAG: TEXT, "rule": TEXT, "value": NUMBER, "bound": NUMBER, "unit": TEXT, "reason": TEXT}
    | {"frame_index": WHOLE, "cleared_at_s": NUMBER, "command": shown(Command)}
    | {"bounded": {"type": "array", "items": TEXT}}
)
TICK = {
    "robot_state": shown(RobotState),
    "estimate": WHOLE,
    "action": WHOLE,
    "faults": {"type": "array", "items": TEXT},
    "spacing": shown(Spacing),
    "stop": TEXT,
    "hold": TEXT,
    "by_hand": YES_NO,
    "verdict": _object(VERDICT),
    "would": _object(VERDICT),
}
#: of a live source: what came, by how much its clock differs, and the time of day at 0 s of the run
SOURCE = {
    "counts": _object(dict.fromkeys(("received", "seen", "overwritten", "connections", "lost_before"), WHOLE)),
    "lag": _object({"clock_offset_s": NUMBER, "clock_drift_ppm": NUMBER}),
    "complaint": TEXT,
    "run_began_wall_s": NUMBER,
    "clock_step": _object({"at_s": NUMBER, "by_s": NUMBER}),
}
OUTCOME = {"index": WHOLE, "time_s": NUMBER, "arrived_s": NUMBER, "outcome": TEXT, "why": TEXT} | {
    "robot_state": shown(RobotState),
    "start_px": {"type": "array", "items": NUMBER},
}

#: topic -> (name of its schema, fields)
TOPICS: dict[str, tuple[str, dict[str, Any]]] = {
    CONFIGURATION: ("sonosteer.Configuration", {"started_at": TEXT}),
    ARRIVAL: ("sonosteer.Arrival", {"arrival": shown(FrameArrival)}),
    PICTURE: ("foxglove.CompressedImage", IMAGE),
    "/frame": ("sonosteer.Frame", OUTCOME),
    ANNOTATIONS: ("foxglove.ImageAnnotations", DRAWN),
    ESTIMATE: ("sonosteer.Estimate", {"estimate": shown(Estimate), **SPAN}),
    "/decision": ("sonosteer.Decision", {"observation": shown(Observation), "action": shown(Action), **SPAN}),
    "/tick": ("sonosteer.Tick", TICK),
    "/source": ("sonosteer.Source", SOURCE),
    "/event": ("sonosteer.Event", {"text": TEXT}),
    "/ledger": ("sonosteer.Ledger", {"captured": WHOLE, "used": WHOLE, "late": WHOLE}),
    END: ("sonosteer.End", {"ended": TEXT}),
}


def schema_of(topic: str) -> tuple[str, bytes]:
    """Return (name, JSON schema) of a topic. One that is not in the table says only when it was written."""
    name, properties = TOPICS.get(topic, ("sonosteer" + topic.replace("/", "."), {}))
    return name, json.dumps({"title": name, **_object({"log_s": NUMBER, **properties})}).encode()
