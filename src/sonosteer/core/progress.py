"""How long work says how far it is: a function that it calls, passed in by whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: called with the number of things done
CountProgress: TypeAlias = Callable[[int], None]
#: called with the name of the stage, the number of things done, and how many there are
StageProgress: TypeAlias = Callable[[str, int, int], None]
