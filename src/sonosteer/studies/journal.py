"""What a long study has done so far, a line a trial: an interrupted study goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sonosteer.core.config import to_dict
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
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        if lines and lines[0] == said:
            for line in lines[1:]:
                entry = json.loads(line)
                self.done[entry["trial"]] = entry["result"]
        kept = [json.dumps({"trial": k, "result": v}) for k, v in self.done.items()]
        self._writer = LineWriter(path)
        for line in (said, *kept):
            self._writer.line(line)

    def add(self, trial: str, result: Any) -> None:
        """Enter one trial. It is on disk when this returns."""
        self.done[trial] = result
        self._writer.line(json.dumps({"trial": trial, "result": result}, allow_nan=False))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def run_missing(
    work: Callable[[AnyTrial], Any], todo: Sequence[AnyTrial], journal: Journal, executor: str
) -> Iterator[int]:
    """Run the trials that are not in the journal yet. Yields how many are done."""
    missing = [t for t in todo if t.name not in journal.done]
    yield len(todo) - len(missing)
    for i, result in run_trials(work, missing, executor):
        journal.add(missing[i].name, result)
        yield len(journal.done)
