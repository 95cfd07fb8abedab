"""A command that the gate has cleared. Nothing else passes for one: not a copy, not a changed one, not a look-alike.

`genuine` knows every cleared command that still exists, and what it said when it was made.
"""

from __future__ import annotations

import weakref
from dataclasses import InitVar, dataclass
from typing import Any, TypeAlias

from sonosteer.core.types import Command

_Content: TypeAlias = tuple[Any, ...]
_KEY = object()
_MADE: dict[int, tuple[weakref.ref[Cleared], _Content]] = {}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Cleared:
    """A command that a robot may carry out until it expires. A driver holds where it says stop.

    Only the gate makes one. Raises TypeError elsewhere.
    """

    frame_index: int | None
    """Index of the frame that the action was decided on, None for a stop without one."""
    cleared_at_s: float
    """When the gate cleared it, s on the run's clock."""
    command: Command
    """No larger than what the action wanted. Of a stop, the angles are where the needle was last known to be."""
    bounded: tuple[str, ...] = ()
    """In what less was cleared than was wanted, and why: one line each."""
    key: InitVar[object] = None
    """The gate's own mark. It is not kept."""

    def __post_init__(self, key: object) -> None:
        if key is not _KEY:
            raise TypeError("only the safety gate clears orders: ask Gate.clear")


def make_cleared(
    frame_index: int | None, cleared_at_s: float, command: Command, bounded: tuple[str, ...] = ()
) -> Cleared:
    """Make one, and remember it. For the gate alone."""
    cleared = Cleared(frame_index, cleared_at_s, command, bounded, key=_KEY)
    number = id(cleared)
    _MADE[number] = weakref.ref(cleared, lambda _: _MADE.pop(number, None)), _content(cleared)
    return cleared


def genuine(cleared: object) -> bool:
    """Return True for what the gate itself made, unchanged since. A driver asks this before anything moves."""
    made, content = _MADE.get(id(cleared), (None, None))
    return made is not None and made() is cleared and _content(cleared) == content


def _content(cleared: Any) -> _Content:
    command = cleared.command
    return (
        cleared.frame_index,
        cleared.cleared_at_s,
        command.expires_at_s,
        command.insertion_speed_mm_s,
        command.insertion_angle_rad,
        command.roll_rad,
        command.probe_velocity_mm_s,
        command.stop,
    )
