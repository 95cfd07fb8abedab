"""Checks what a tracker and a policy answer: of its type, dated by what it was asked, and fit to be recorded.

Any other answer means that the tracker or the policy is broken. Numbers may be NaN here: the gate refuses those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np

from sonosteer.core.errors import BrokenError
from sonosteer.core.types import Action, Estimate, Frame, Lost, Observation, TipEstimate
from sonosteer.recording.wire import decode, encode, recorded_fields

_Check: TypeAlias = Callable[[Any], bool]


def check_estimate(said: Any, frame: Frame) -> Estimate:
    """Return what a tracker said of a frame. Raises BrokenError unless it is an estimate of this frame and time."""
    if not isinstance(said, TipEstimate | Lost):
        raise BrokenError(f"it says {_short(said)}, which is no estimate")
    _check_fields(said)
    if (said.frame_index, said.time_s) != (frame.index, frame.time_s):
        raise BrokenError(
            f"asked about frame {frame.index} of {frame.time_s} s, it speaks of {said.frame_index} of {said.time_s} s"
        )
    return said


def check_action(said: Any, observation: Observation) -> Action:
    """Return what a policy said. Raises BrokenError unless it is an action, no younger than its observation."""
    if not isinstance(said, Action):
        raise BrokenError(f"it says {_short(said)}, which is no action")
    action = _checked_action(said)
    index, time_s = observation.frame_index, observation.capture_time_s
    if action.frame_index > index or action.capture_time_s > time_s:
        raise BrokenError(
            f"it was told of frame {index} of {time_s} s, and dates its action {action.frame_index}, "
            f"{action.capture_time_s} s"
        )
    return action


def _checked_action(said: Action) -> Action:
    """Return the action with Python's own numbers. A stranger's may be numpy's, such as a stop that is np.False_.

    The gate takes only Python's truth values, and a recording gives nothing else back.
    """
    if _check_of(Action)(said):
        return said
    try:
        plain: Action = decode(Action, encode(said))
    except (TypeError, ValueError) as e:
        raise BrokenError(f"{_short(said)}: {e}") from None
    return plain


def _check_fields(said: Any) -> None:
    """Check that each field is of a type that a recording can give back.

    What is plainly of its type passes at once. Anything else, such as numpy's numbers, is judged by the recording.
    """
    kind: Any = type(said)
    if kind in (TipEstimate, Lost) and _check_of(kind)(said):
        return
    try:
        decode(kind, encode(said))
    except (TypeError, ValueError) as e:
        raise BrokenError(f"{_short(said)}: {e}") from None


def _is_float(value: Any) -> bool:
    return type(value) is float or isinstance(value, float) or _is_int(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


_PLAIN: dict[Any, _Check] = {float: _is_float, int: _is_int}


@lru_cache
def _check_of(kind: Any) -> _Check:
    """Return a function that is true for what is plainly of this type."""
    origin, options = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin in (Union, UnionType):
        return _check_of_union(options)
    if origin is tuple:
        return _check_of_tuple(options)
    if origin is np.ndarray:
        return _is_array
    if is_dataclass(kind):
        return _check_of_dataclass(kind)
    if kind in (bool, str, NoneType) or (isinstance(kind, type) and issubclass(kind, Enum)):
        return lambda value: type(value) is kind
    return lambda value: False


def _check_of_union(options: tuple[Any, ...]) -> _Check:
    checks = [_check_of(option) for option in options]

    def fits(value: Any) -> bool:
        for check in checks:  # noqa: SIM110  any() of a generator takes twice as long
            if check(value):
                return True
        return False

    return fits


def _check_of_tuple(options: tuple[Any, ...]) -> _Check:
    if options[-1] is Ellipsis:
        each = _check_of(options[0])
        return lambda value: type(value) is tuple and all(map(each, value))
    checks = [_check_of(option) for option in options]

    def fits(value: Any) -> bool:
        if type(value) is not tuple or len(value) != len(checks):
            return False
        return all(map(_call, checks, value))

    return fits


def _check_of_dataclass(kind: Any) -> _Check:
    hints = get_type_hints(kind)
    names = recorded_fields(kind)
    checks, read = [_check_of(hints[name]) for name in names], attrgetter(*names)
    return lambda value: type(value) is kind and all(map(_call, checks, read(value)))


def _call(check: _Check, value: Any) -> bool:
    return check(value)


def _short(said: Any) -> str:
    text = repr(said)
    return text if len(text) <= 120 else text[:117] + "..."
