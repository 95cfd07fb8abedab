"""The operator's stop button: pressed and released from any thread, obeyed by the hand in its next control period.

It is the only way to take back a latched stop (SAFETY.md): nothing that decides holds one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Literal

Word = Literal["stop", "release"]
KEYS: dict[str, Word] = {"s": "stop", "r": "release"}


class Button:
    """Keeps what the operator did until the hand takes it. Never waits."""

    def __init__(self) -> None:
        self._words: deque[Word] = deque(maxlen=64)

    def press(self) -> None:
        """Stop; latched until it is released."""
        self._words.append("stop")

    def release(self) -> None:
        """Let go, and take the stop back."""
        self._words.append("release")

    def taken(self) -> list[Word]:
        """What was done since the last time, oldest first."""
        out: list[Word] = []
        while self._words:
            out.append(self._words.popleft())
        return out


def listen(button: Button, lines: Iterable[str]) -> threading.Thread:
    """A thread that takes s (stop) and r (release), each with Enter, from a terminal. Any other line stops, too."""

    def read() -> None:
        for line in lines:
            if KEYS.get(line.strip().lower(), "stop") == "release":
                button.release()
            else:
                button.press()

    thread = threading.Thread(target=read, name="operator", daemon=True)
    thread.start()
    return thread
