"""Tables of implementations by name, each imported only when somebody asks for it.

A table is open to strangers. Besides its own names it takes `package.module:Class`, where the current directory counts
as importable, and the entry points that installed packages declare in the table's group. Built-in names win.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class LazyTable(Mapping[str, str]):
    """Implementations by name. `table.load("kf+f")` imports its module and returns the class.

    what: what an entry is, in words, for messages. entries: name -> "module:Class". group: entry points that count as
    entries, too. Iteration yields the built-in names first, then those of the entry points.
    """

    def __init__(self, what: str, entries: Mapping[str, str], *, group: str | None = None) -> None:
        self.what = what
        self.group = group
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> str:
        return self._entries[name] if name in self._entries else self._entry_points()[name].value

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from (name for name in self._entry_points() if name not in self._entries)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def built_in(self) -> tuple[str, ...]:
        """The names that this package brings itself."""
        return tuple(self._entries)

    def load(self, name: str) -> Any:
        """Import and return the object behind a name, `package.module:Class` or an entry point.

        Raises InputError with the nearest names if there is none, and in one line if it cannot be imported.
        """
        if name in self._entries:
            self.warn_of_clash(name)
            module, _, attribute = self._entries[name].partition(":")
            return getattr(import_module(module), attribute)
        from sonosteer.core.plugins import import_reference, is_reference  # needs numpy, a table does not

        if is_reference(name):
            return import_reference(name, f"{self.what} {name}")
        points = self._entry_points()
        if name in points:
            return import_reference(points[name].value, f"{self.what} {name}")
        near = difflib.get_close_matches(name, self, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(
            f"there is no {self.what} called {name!r}{hint}; there are: {', '.join(self)}, "
            f"or package.module:Name for your own"
        )

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {} if self.group is None else _points(self.group, tuple(sys.path))

    def warn_of_clash(self, name: str) -> None:
        """Warn if an installed package has an entry under a built-in name."""
        point = self._entry_points().get(name)
        if point is not None:
            package = point.dist.name if point.dist is not None else point.value
            warnings.warn(
                f"the package {package} has a {self.what} called {name!r}, too; the built-in one is used", stacklevel=3
            )


@lru_cache(maxsize=64)
def _points(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Entry points of a group by name; path: where they are looked for, so that a change of it is noticed."""
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        first = found.setdefault(point.name, point)
        if first.value != point.value:
            warnings.warn(
                f"two packages call something {point.name!r} in {group}: {first.value} is used, {point.value} is not",
                stacklevel=2,
            )
    return found
