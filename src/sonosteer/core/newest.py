"""Hands values from one thread to another, the newest only, and counts those that nobody took."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Newest(Generic[Value]):
    """Holds the newest value until it is taken. Every value that was put is taken, overwritten or still waiting.

    Whoever puts never waits. Whoever takes waits without polling, and never gets what is stale.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Value] = []  # none or one
        self._error: Exception | None = None
        self._put = self._overwritten = self._taken = 0

    def put(self, value: Value) -> None:
        """Put a value in the place of the one that waits, if any."""
        with self._changed:
            self._put += 1
            self._overwritten += len(self._waiting)
            self._waiting = [value]
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Raise an error in `take` once what waits has been taken: no value will come any more."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Value | None:
        """Return the newest value and forget it. Waits up to timeout_s for one, then None.

        Raises what `fail` was given.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._error is not None, timeout_s)
            if self._waiting:
                self._taken += 1
                return self._waiting.pop()
            if self._error is not None:
                raise self._error
            return None

    def peek(self, timeout_s: float) -> Value | None:
        """Return the newest value and leave it there. Waits up to timeout_s for one, then None."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._error is not None, timeout_s)
            return self._waiting[0] if self._waiting else None

    def discard(self) -> None:
        """Count what still waits as overwritten: nobody will take it."""
        with self._changed:
            self._overwritten += len(self._waiting)
            self._waiting = []

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Number of values that were put, taken, overwritten, and that wait, all of one moment."""
        with self._changed:
            return self._put, self._taken, self._overwritten, len(self._waiting)
