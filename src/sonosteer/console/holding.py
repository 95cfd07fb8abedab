"""A key or a button that must be held: what moves something, or allows it again, takes a second of holding.

A tab says again and again that its person holds. The time is taken here, not by the tab. A word that is late, one of
another tab, a tab that is gone, or a change of what is held for begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

HELD_S = 1.0  # chosen: long enough that nobody holds by mistake
GAP_S = 0.4  # chosen: a tab says it ten times a second. Three lost words are allowed, and no more

#: what is held for: that a latched stop is released, or that a run goes on
HeldFor: TypeAlias = Literal["release", "start"]


@dataclass
class _Grip:
    what: HeldFor
    about: Any
    since_s: float
    last_s: float
    done: bool = False


@dataclass
class Holding:
    """Who holds, for what, since when. Tabs are told apart by what they are, not by their names."""

    _grips: dict[int, tuple[Any, _Grip]] = field(default_factory=dict)

    def grip(self, tab: Any, what: HeldFor, now_s: float, *, about: Any = None) -> tuple[bool, float]:
        """Take note that a tab's person holds. Returns (True once it has been long enough, how long it has been in s).

        about: what it is held for, such as the stop that is to be released. If it changes, the time begins anew.
        """
        _, grip = self._grips.get(id(tab), (None, None))
        fresh = grip is None or grip.what != what or grip.about != about or not 0.0 <= now_s - grip.last_s <= GAP_S
        if fresh or grip is None:
            grip = _Grip(what, about, now_s, now_s)
            self._grips[id(tab)] = tab, grip
        grip.last_s = now_s
        enough = now_s - grip.since_s >= HELD_S and not grip.done
        grip.done = grip.done or enough
        return enough, now_s - grip.since_s

    def let_go(self, tab: Any) -> None:
        """Take note that a tab's person holds no more, or that the tab is gone."""
        self._grips.pop(id(tab), None)

    def let_all_go(self) -> None:
        """Begin anew with everybody."""
        self._grips.clear()
