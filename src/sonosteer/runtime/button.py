"""The operator's stop button. Any thread may press it, and control obeys in its next period.

It is the only way to take back a latched stop (SAFETY.md). Nothing that decides has one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Literal

Word = Literal["stop", "release"]
KEYS: dict[str, Word] = {"s": "stop", "r": "release"}


class Button:
    """Keeps what the operator did until control takes it. Never waits."""

    def __init__(self) -> None:
        self._words: deque[Word] = deque(maxlen=64)

    def press(self) -> None:
        """Stop. The stop is latched until it is released."""
        self._words.append("stop")

    def release(self) -> None:
        """Take the stop back."""
        self._words.append("release")

    def taken(self) -> list[Word]:
        """Return what was done since the last call, oldest first."""
        out: list[Word] = []
        while self._words:
            out.append(self._words.popleft())
        return out


def listen(button: Button, lines: Iterable[str]) -> threading.Thread:
    """Start a thread that reads s (stop) and r (release), each with Enter, from lines. Any other line stops, too."""

    def read() -> None:
        for line in lines:
            if KEYS.get(line.strip().lower(), "stop") == "release":
                button.release()
            else:
                button.press()

    thread = threading.Thread(target=read, name="operator", daemon=True)
    thread.start()
    return thread
