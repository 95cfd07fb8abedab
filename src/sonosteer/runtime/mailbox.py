"""A mailbox between branches that holds the newest value only.

A slow reader never makes a writer wait, and never reads what is stale. Values are handed over, not copied: they are
frozen.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """Holds one value and its serial number, from 1. Safe between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serial = 0
        self._value: Value | None = None

    def put(self, value: Value) -> int:
        """Put a value in the place of the last one. Returns its serial number."""
        with self._changed:
            self._serial += 1
            self._value = value
            self._changed.notify_all()
            return self._serial

    def peek(self) -> tuple[int, Value] | None:
        """Return (serial, newest value), None before the first."""
        with self._changed:
            return None if self._value is None else (self._serial, self._value)

    def newer(self, than: int, timeout_s: float = 0.0) -> tuple[int, Value] | None:
        """Return (serial, newest value) if it is newer than a serial. Waits up to timeout_s for one, then None."""
        with self._changed:
            if self._serial <= than and timeout_s > 0:
                self._changed.wait_for(lambda: self._serial > than, timeout_s)
            return None if self._value is None or self._serial <= than else (self._serial, self._value)
