"""What the laws share: a sentence for a broken one, a fresh object for each run, and what hides in a state."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def require(kept: object, sentence: str) -> None:
    """Raise AssertionError with the sentence unless the law is kept."""
    if not kept:
        raise AssertionError(sentence)


def maker(given: Any, by_name: Callable[[str], Any], kind: str, adapt: Callable[[Any, str], Any]) -> Callable[[], Any]:
    """A function that makes a fresh object each time it is called.

    given: a name in our table, a class, a function that makes one, or an object, which is copied. adapt: puts what is
    not ours behind our protocol.
    """
    if isinstance(given, str):
        return lambda: by_name(given)
    if isinstance(given, type):
        return lambda: _ours(given(), kind, adapt)
    if callable(getattr(given, "start", None)):
        return lambda: _ours(copy.deepcopy(given), kind, adapt)
    return lambda: _ours(given(), kind, adapt)


def _ours(thing: Any, kind: str, adapt: Callable[[Any, str], Any]) -> Any:
    known = type(thing).__module__.startswith("sonosteer.")
    return thing if known else adapt(thing, f"{kind} {type(thing).__name__}")


def stored(state: Any) -> Any:
    """A state as it comes back from a file. Raises AssertionError if it cannot be stored."""
    try:
        return pickle.loads(pickle.dumps(state))
    except Exception as e:
        raise AssertionError(f"the state cannot be stored and loaded: {type(e).__name__}: {e}") from e


def arrays_in(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    """All arrays in a value, in its tuples, lists, dictionaries and dataclasses."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from arrays_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from arrays_in(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from arrays_in(getattr(value, field.name))
