"""Arrays inside what flows are read-only, and stay so when it is pickled and loaded.

NumPy forgets the flag when an array is pickled. That matters beyond good manners: numba compiles a kernel anew for
writable arrays, and the two may differ in the last digits.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


def lock(value: Any) -> None:
    """Set an array, or the arrays of a (nested) tuple, read-only."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, tuple):
        for each in value:
            lock(each)


def lock_fields(self: Any) -> None:
    """`__post_init__` of a frozen dataclass that holds arrays."""
    for field in fields(self):
        lock(getattr(self, field.name))


def load_locked(self: Any, values: list[Any]) -> None:
    """`__setstate__` of the same dataclass, with slots."""
    for field, value in zip(fields(self), values, strict=True):
        lock(value)
        object.__setattr__(self, field.name, value)
