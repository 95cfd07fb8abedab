"""Types of the functions that long work calls to report its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: called with the number of things done
CountProgress: TypeAlias = Callable[[int], None]
#: called with the name of the stage, the number of things done, and how many there are
StageProgress: TypeAlias = Callable[[str, int, int], None]
