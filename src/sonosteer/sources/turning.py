"""Turn and mirror stored pictures to the way they are to be shown."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from sonosteer.core.types import Pixels

TOLERANCE = math.sin(math.radians(1.0))  # chosen: of a turn by 90 degrees, as ffmpeg takes it


@dataclass(frozen=True, slots=True)
class Turn:
    """Swap x and y first, then mirror. Eight of them turn by 90, 180 and 270 degrees, with and without a mirror."""

    swap: bool = False
    """Whether rows become columns."""
    mirror_x: bool = False
    """Whether left becomes right."""
    mirror_y: bool = False
    """Whether top becomes bottom."""

    def size_px(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the turned picture, px."""
        return (height, width) if self.swap else (width, height)

    def of(self, pixels: Pixels) -> Pixels:
        """The turned picture, a view of (rows, columns) or (rows, columns, channels)."""
        if self.swap:
            pixels = pixels.swapaxes(0, 1)
        if self.mirror_x:
            pixels = pixels[:, ::-1]
        return pixels[::-1] if self.mirror_y else pixels

    @property
    def words(self) -> str:
        """What it does, in words."""
        if not self.swap:
            if self.mirror_x and self.mirror_y:
                return "turned by 180 degrees"
            return "mirrored left to right" if self.mirror_x else "mirrored top to bottom" if self.mirror_y else "as is"
        if self.mirror_x == self.mirror_y:
            return "mirrored along a diagonal"
        return "turned by 90 degrees" if self.mirror_x else "turned by 270 degrees"


AS_IS = Turn()


def turn_of_display_matrix(data: bytes) -> Turn | None:
    """The turn that the display matrix of a video asks for. None if it is none of the eight.

    data: nine int32 (a b u; c d v; x y w) as ffmpeg keeps them: shown x = a x + c y, shown y = b x + d y.
    """
    if len(data) < 36:
        return AS_IS
    a, b, _, c, d = struct.unpack("=5i", data[:20])
    x, y = math.hypot(a, b), math.hypot(c, d)
    if x == 0.0 or y == 0.0:
        return AS_IS  # no matrix at all: players take it as the picture is
    parts = a / x, b / x, c / y, d / y
    swap = abs(parts[0]) < 0.5
    off = (parts[0], parts[3]) if swap else (parts[1], parts[2])
    if max(map(abs, off)) > TOLERANCE:
        return None
    return Turn(True, parts[2] < 0, parts[1] < 0) if swap else Turn(False, parts[0] < 0, parts[3] < 0)
