"""Keeps the arrays inside frozen dataclasses read-only, also after pickling.

NumPy forgets the flag when an array is pickled. This matters because numba compiles a kernel anew for writable arrays,
and the two may differ in the last digits.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


def lock(value: Any) -> None:
    """Set an array, or the arrays of a nested tuple, read-only."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, tuple):
        for each in value:
            lock(each)


def lock_fields(self: Any) -> None:
    """Lock all arrays: the `__post_init__` of a frozen dataclass that holds some."""
    for field in fields(self):
        lock(getattr(self, field.name))


def load_locked(self: Any, values: list[Any]) -> None:
    """Load and lock: the `__setstate__` of such a dataclass with slots."""
    for field, value in zip(fields(self), values, strict=True):
        lock(value)
        object.__setattr__(self, field.name, value)
