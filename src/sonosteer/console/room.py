"""What every room of the console is: tabs that are told things, words that are heard, pictures by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from sonosteer.console.clip_frames import ShownPicture
from sonosteer.console.words import SeekFrame, TabWord

PROTOCOL = 1

Told: TypeAlias = Mapping[str, Any]


class Listener(Protocol):
    """A tab that is told things."""

    name: str
    """Name of the tab, the same after a reload."""

    def tell(self, said: Told) -> None:
        """Queue a message."""
        ...

    def want(self, wish: SeekFrame) -> None:
        """Send a picture as soon as there is room for one. A newer wish takes its place."""
        ...


class Room(Protocol):
    """What the console serves. All methods but `picture` belong to one asyncio loop."""

    @property
    def tabs(self) -> set[Listener]:
        """Who is told."""
        ...

    @property
    def ways(self) -> int:
        """Number of pictures that are shown at a time."""
        ...

    def frames(self, way: int) -> int:
        """Number of pictures that can be asked for."""
        ...

    def picture(self, wish: SeekFrame) -> ShownPicture:
        """A picture that was asked for. Any thread may call this."""
        ...

    def hello(self, tab: Listener) -> None:
        """Tell a new tab everything."""
        ...

    async def hear(self, tab: Listener, word: TabWord) -> None:
        """Do what a tab asks for, and answer it."""
        ...

    async def watch(self) -> None:
        """Do what is to be done while the room is open. It is ended by being cancelled."""
        ...

    def close(self) -> None:
        """End what the room began."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """A room in which something moves."""

    def press_stop(self, by: str) -> None:
        """Press the operator's stop. by: who pressed, in words."""
        ...


@runtime_checkable
class Clocked(Protocol):
    """A room with a clock of its own, that tabs tell ages by."""

    def now_s(self) -> float | None:
        """The run's time now, s. None before it is known."""
        ...
