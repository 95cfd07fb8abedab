"""The way of pictures to one browser tab: newest only, and never more than a few that it has not drawn yet.

WebSocket has no back-pressure of its own. So a tab says when it has drawn a picture. What comes meanwhile waits in one
place, where a newer one takes it. Everything is counted: asked = sent + passed by + waiting.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

WINDOW = 2  # chosen: one is drawn while the next one travels. Measured: better than one, and three add age only

Wish = TypeVar("Wish")


@dataclass(eq=False)
class PictureWay(Generic[Wish]):
    """What a tab wants to see, and what is on its way."""

    asked: int = 0
    """Number of pictures that the tab asked for."""
    sent: int = 0
    """Number of pictures that were sent."""
    passed_by: int = 0
    """Number of pictures that a newer one replaced before they were sent."""
    on_way: set[int] = field(default_factory=set)
    """Serial numbers of the pictures that were sent and not yet drawn, no unit."""
    waiting: Wish | None = None
    """The newest picture that was asked for and is not yet sent. None if there is none."""
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, wish: Wish) -> None:
        """Ask for a picture. It takes the place of the one that waits."""
        self.asked += 1
        self.passed_by += self.waiting is not None
        self.waiting = wish
        self._wake()

    def drawn(self, serial: int) -> None:
        """Take note that the tab has drawn a picture."""
        self.on_way.discard(serial)
        self._wake()

    async def next(self) -> tuple[int, Wish]:
        """Wait until a picture is wanted and may be sent. Returns its serial number and the wish."""
        while self.waiting is None or len(self.on_way) >= WINDOW:
            self._ready.clear()
            await self._ready.wait()
        wish, self.waiting = self.waiting, None
        self.sent += 1
        self.on_way.add(self.sent)
        return self.sent, wish

    def _wake(self) -> None:
        if self.waiting is not None and len(self.on_way) < WINDOW:
            self._ready.set()


def pack(header: Mapping[str, Any], payload: bytes) -> bytes:
    """One binary message: length of the header (u32, little end first), header (JSON, padded to 4 bytes), payload."""
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 4)
    return struct.pack("<I", len(said)) + said + payload
