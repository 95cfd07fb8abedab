"""Turns what flows into JSON and back, exactly.

A dataclass becomes an object with its name under `_type`. `revive` makes the core's dataclasses of them again. It
leaves others, such as the gate's verdicts, as dictionaries. JSON has no NaN and no infinities: they become the texts
"NaN", "Infinity" and "-Infinity". These are read back as numbers where a field is a number, and anywhere in plain
objects, which have no types. Finite numbers are written with as many digits as their bits need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import ConvexProbe, LinearProbe, Matrix, Probe, Spacing
from sonosteer.core.types import (
    Action,
    Command,
    Frame,
    Hint,
    Lost,
    Observation,
    Pixels,
    RobotState,
    RollCommand,
    Task,
    TipEstimate,
    TipMeasurement,
    Truth,
)

Kind = TypeVar("Kind")
TAG = "_type"
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
NOT_RECORDED = {
    (TipEstimate, "features"),
    (Lost, "features"),
    (Observation, "features"),
    (Observation, "recent"),
}


@dataclass(frozen=True, slots=True, eq=False)
class FrameArrival:
    """All of a frame but its pixels. The fields that it shares with `Frame` are the same."""

    index: int
    """Number of the frame in its source, from 0."""
    time_s: float
    """When it was acquired, s from the source's own origin."""
    arrived_s: float
    """When it arrived, s on the run's clock."""
    spacing: Spacing | None = None
    """Millimetres per pixel, None where the source does not say."""
    probe: Probe | None = None
    """Geometry of the transducer, None where unknown."""
    full_scale: float = 255.0
    """Pixel value drawn as white, grey levels."""
    T_world_image: Matrix | None = None
    """4x4 matrix, image mm to world mm. None without a tracking system."""
    velocity_mm_s: float | None = None
    """Measured speed of the needle along itself, mm/s. None where nobody measured it."""
    no_picture: str | None = None
    """Why its pixels are not recorded, None if they are."""

    @classmethod
    def of(cls, frame: Frame, arrived_s: float, no_picture: str | None = None) -> FrameArrival:
        """Make the entry of a frame that has just arrived."""
        return cls(arrived_s=arrived_s, no_picture=no_picture, **{n: getattr(frame, n) for n in _OF_FRAME})

    def frame(self, pixels: Pixels) -> Frame:
        """Return the frame as it arrived."""
        return Frame(pixels, **{n: getattr(self, n) for n in _OF_FRAME})


#: what the robot said is not known yet when a frame arrives, and is recorded with its use
_OF_FRAME = tuple(f.name for f in fields(Frame) if f.name not in ("pixels", "robot_state"))
TYPES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        *(
            Action,
            FrameArrival,
            Command,
            Hint,
            Lost,
            Observation,
            RobotState,
            TipMeasurement,
            Task,
            TipEstimate,
            Truth,
            RollCommand,
        ),
        *(Spacing, LinearProbe, ConvexProbe),
    )
}


def encode(value: Any) -> Any:
    """Turn nested dataclasses, mappings, sequences, arrays and numbers into what JSON can hold.

    Features are left out, and so are fields whose name starts with _. Raises TypeError for anything else.
    """
    if isinstance(value, Enum):
        return encode(value.value)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _name_of(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, np.generic | np.ndarray):
        return encode(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {TAG: type(value).__name__} | {n: encode(getattr(value, n)) for n in _recorded(value)}
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def revive(value: Any) -> Any:
    """Invert `encode` for what says its own type. Plain objects become dictionaries, sequences become lists.

    Raises ValueError if an object does not fit the type it names.
    """
    if isinstance(value, dict):
        if value.get(TAG) in TYPES:
            return decode(TYPES[value[TAG]], value)
        return {k: revive(v) for k, v in value.items()}
    if isinstance(value, list):
        return [revive(v) for v in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def decode(kind: type[Kind], value: Any) -> Kind:
    """Invert `encode` for a known type. Raises ValueError with what does not fit."""
    try:
        out: Kind = _decode(kind, value)
    except InputError as e:
        raise ValueError(str(e)) from None
    return out


def same(a: Any, b: Any) -> bool:
    """Return True if two values agree in all that is recorded. NaN equals NaN, a list equals a tuple of the same."""
    kind: Any = type(a)
    if is_dataclass(kind):
        return kind is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in _recorded(a))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _recorded(value: Any) -> tuple[str, ...]:
    kind: Any = type(value)
    return recorded_fields(kind)


@lru_cache
def recorded_fields(cls: Any) -> tuple[str, ...]:
    """Names of the fields of a dataclass that are recorded: not what is private, not what is too large."""
    names = [f.name for f in fields(cls)]
    return tuple(n for n in names if not n.startswith("_") and (cls, n) not in NOT_RECORDED)


_hints = lru_cache(get_type_hints)


def _decode(kind: Any, value: Any) -> Any:
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(options, value)
    if origin is tuple:
        return _tuple(options, value)
    if origin is np.ndarray:
        return _array(get_args(options[1])[0], value)
    if origin is Literal and value in options:
        return value
    if is_dataclass(kind):
        return _object(kind, value)
    if kind is float and not isinstance(value, bool):
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str) and value in NOT_FINITE:
            return NOT_FINITE[value]
    elif isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    elif kind in (int, str, bool, NoneType) and type(value) is kind:
        return value
    raise ValueError(f"{value!r} is not of type {getattr(kind, '__name__', kind)}")


def _one_of(options: tuple[Any, ...], value: Any) -> Any:
    if value is None and NoneType in options:
        return None
    tag = value.get(TAG) if isinstance(value, dict) else None
    fits = [k for k in options if k is not NoneType and (tag is None or getattr(k, "__name__", "") == tag)]
    if len(fits) != 1:
        raise ValueError(f"{value!r} fits none of {', '.join(getattr(k, '__name__', str(k)) for k in options)}")
    return _decode(fits[0], value)


def _tuple(options: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    each = [options[0]] * len(value) if options[-1] is Ellipsis else list(options)
    if len(each) != len(value):
        raise ValueError(f"{value!r} has {len(value)} entries, not {len(each)}")
    return tuple(map(_decode, each, value))


def _array(dtype: Any, value: Any) -> Any:
    out = np.array(revive(value), dtype)
    out.flags.writeable = False
    return out


def _object(cls: Any, value: Any) -> Any:
    if not isinstance(value, dict) or value.get(TAG) != cls.__name__:
        raise ValueError(f"{value!r} is no {cls.__name__}")
    hints, known = _hints(cls), set(recorded_fields(cls))
    more = value.keys() - known - {TAG}
    missing = [
        f.name
        for f in fields(cls)
        if f.name in known and f.name not in value and f.default is MISSING and f.default_factory is MISSING
    ]
    if more or missing:
        what = f"has no field {min(more)!r}" if more else f"lacks {missing[0]!r}"
        raise ValueError(f"{cls.__name__} {what}")
    return cls(**{name: _decode(hints[name], each) for name, each in value.items() if name != TAG})
