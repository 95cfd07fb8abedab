"""How a stand-in in a process of its own is told what to do: a word a line in, a line of JSON out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

#: what the hand of a stand-in can do to its drive
HAND = {
    "jam": "the axis cannot move any more",
    "free": "it can again",
    "stop": "somebody presses the drive's own quick stop",
    "fault": "the drive finds too much current",
    "limit": "a switch at the end of travel",
    "off": "the drive is switched off",
    "mute": "the link is closed",
    "link": "it is there again",
}


def obey_input(
    hand: Callable[[str], None], report: Callable[[], dict[str, Any]], words: Mapping[str, str] = HAND, **first: Any
) -> None:
    """Obey words from the input until it ends, and answer each by a report. first: said at once."""
    print(json.dumps({"ready": True, **first}), flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word in words:
            hand(word)
        elif word != "report":
            print(json.dumps({"error": f"there is no {word!r}; there are: {', '.join(words)}, report"}), flush=True)
            continue
        print(json.dumps(report()), flush=True)


class StandIn:
    """A stand-in that was started in a process of its own. words: module and arguments for `python -m`."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._answer()

    def ask(self, word: str = "report") -> dict[str, Any]:
        """Tell it a word, and return its report."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stand-in ended with {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise ValueError(said["error"])
        return said
