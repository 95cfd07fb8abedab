"""What a long study has done so far, a line a trial: an interrupted study goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError
from sonosteer.recording.tables import LineWriter
from sonosteer.runtime.executor import run_trials


class Named(Protocol):
    """A trial: its name says which."""

    @property
    def name(self) -> str:
        """Unlike any other's of the study."""
        ...


AnyTrial = TypeVar("AnyTrial", bound=Named)


class Journal:
    """trials.jsonl. A first line says what was asked for. Another question begins a new file."""

    def __init__(self, path: Path, question: dict[str, Any]) -> None:
        self.done: dict[str, Any] = {}
        said = json.dumps(to_dict(question), sort_keys=True)
        lines = path.read_text(errors="replace").split("\n")[:-1] if path.exists() else []
        if lines and lines[0] == said:
            for number, line in enumerate(lines[1:], 2):
                name, result = _entry(path, number, line)
                self.done[name] = result
        kept = [json.dumps({"trial": k, "result": v}) for k, v in self.done.items()]
        fresh = path.with_suffix(".new")
        with LineWriter(fresh) as writer:
            for line in (said, *kept):
                writer.line(line)
        fresh.replace(path)  # whenever it is killed, the old file is there or the whole new one
        self._writer = LineWriter(path, more=True)

    def add(self, trial: str, result: Any) -> None:
        """Enter one trial. It is on disk when this returns."""
        self.done[trial] = result
        self._writer.line(json.dumps({"trial": trial, "result": result}, allow_nan=False))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def read_results(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a trials.jsonl: (what was asked for, name of a trial -> its result). Raises InputError if it is damaged."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: run the study first")
    lines = path.read_text(errors="replace").split("\n")[:-1]
    if not lines:
        raise InputError(f"{path} is empty: run the study first")
    try:
        question = json.loads(lines[0])
    except ValueError as e:
        raise InputError(f"{path}, line 1 is damaged ({e}): run the study again") from None
    return question, dict(_entry(path, number, line) for number, line in enumerate(lines[1:], 2))


def _entry(path: Path, number: int, line: str) -> tuple[str, Any]:
    try:
        entry = json.loads(line)
        return entry["trial"], entry["result"]
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{path}, line {number} is damaged ({e}): remove that line, and its trial is done again"
        ) from None


def run_missing(
    work: Callable[[AnyTrial], Any], todo: Sequence[AnyTrial], journal: Journal, executor: str
) -> Iterator[int]:
    """Run the trials that are not in the journal yet. Yields how many are done."""
    missing = [t for t in todo if t.name not in journal.done]
    yield len(todo) - len(missing)
    with closing(run_trials(work, missing, executor)) as results:
        for i, result in results:
            journal.add(missing[i].name, result)
            yield len(journal.done)
