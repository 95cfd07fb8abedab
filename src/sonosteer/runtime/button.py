"""The operator's button: stop, release, pause, resume, by hand.

Any thread may press it, and control obeys in its next period.

It is the only way to take back a latched stop (SAFETY.md). Nothing that decides has one. Once nobody listens to the
operator any more, the button says so, and control holds the needle.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Literal

Word = Literal["stop", "release", "pause", "resume", "back", "forth"]
KEYS: dict[str, Word] = {"s": "stop", "r": "release", "p": "pause", "c": "resume", "b": "back", "f": "forth"}
MOST_WORDS = 64  # chosen: nobody presses so often within a control period


class Button:
    """Keeps what the operator did until control takes it. A stop is never lost."""

    def __init__(self) -> None:
        self._words: deque[Word] = deque()
        self._lock = threading.Lock()
        self._lost: str | None = None
        self._listener: threading.Thread | None = None

    def press(self) -> None:
        """Stop. The stop is latched until it is released."""
        self._say("stop")

    def release(self) -> None:
        """Take the stop back."""
        self._say("release")

    def pause(self) -> None:
        """Let everything wait. Nothing is latched."""
        self._say("pause")

    def resume(self) -> None:
        """Go on after a pause."""
        self._say("resume")

    def back(self) -> None:
        """Draw a needle whose tip is lost back a little, by hand."""
        self._say("back")

    def forth(self) -> None:
        """Push a needle whose tip is lost a little, by hand, no deeper than it has been."""
        self._say("forth")

    def taken(self) -> list[Word]:
        """Return what was done since the last call, oldest first."""
        with self._lock:
            out = list(self._words)
            self._words.clear()
        return out

    def lose(self, why: str) -> None:
        """Say that the operator can no longer be heard. Control holds the needle from its next period on."""
        self._lost = f"the operator's stop key cannot be heard: {why}"

    @property
    def unheard(self) -> str | None:
        """Why the operator can no longer be heard, None while all is well."""
        if self._lost is None and self._listener is not None and not self._listener.is_alive():
            self.lose("what reads it has ended")
        return self._lost

    def heard_by(self, listener: threading.Thread) -> None:
        """Watch the thread that listens to the operator: if it dies, nobody hears him any more."""
        self._listener = listener

    def _say(self, word: Word) -> None:
        """Keep a word. When too many wait, a stop outdoes them all, and nothing else is added."""
        with self._lock:
            if len(self._words) < MOST_WORDS:
                self._words.append(word)
            elif word == "stop":
                self._words.clear()
                self._words.append(word)


def listen(button: Button, lines: Iterable[str]) -> threading.Thread:
    """Start a thread that reads keys from lines: stop s, release r, pause p, continue c, back b, forth f.

    Each comes with Enter. Any other line stops, too. The end of the lines and a line that cannot be read hold the
    needle.
    """
    does = {"stop": button.press, "release": button.release, "pause": button.pause, "resume": button.resume}
    does |= {"back": button.back, "forth": button.forth}

    def read() -> None:
        try:
            for line in lines:
                does[KEYS.get(line.strip().lower(), "stop")]()
        except Exception as e:  # noqa: BLE001  whatever it is, a later stop would not be heard
            button.lose(f"{type(e).__name__}: {e}")
        else:
            button.lose("its input has ended")

    thread = threading.Thread(target=read, name="operator", daemon=True)
    thread.start()
    button.heard_by(thread)
    return thread
