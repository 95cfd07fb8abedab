"""Swap by table: a literal `name -> "module:Class"`, imported only when somebody asks for the name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from sonosteer.core.errors import InputError


class LazyTable(Mapping[str, str]):
    """A literal table of implementations. `table.load("kf+f")` imports its module and returns the class."""

    def __init__(self, what: str, entries: Mapping[str, str]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> str:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, name: str) -> Any:
        """Import and return the object behind `name`; InputError with the nearest names if there is none."""
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"there is no {self.what} called {name!r}{hint}; there are: {', '.join(self._entries)}")
        module, _, attribute = self._entries[name].partition(":")
        return getattr(import_module(module), attribute)
