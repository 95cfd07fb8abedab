"""Which axis of a stored array is the picture's x, its y, its colour and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sonosteer.core.errors import InputError

COLOUR_KINDS = frozenset({"vector", "rgb-color", "rgba-color", "3-color", "4-color", "3-vector", "4-vector"})
TIME_KINDS = frozenset({"list", "time"})
PLACE_KINDS = frozenset({"domain", "space", "none", "???", ""})
SINGLE_KINDS = frozenset({"scalar", "stub"})


@dataclass(frozen=True, slots=True)
class PictureAxes:
    """The axes of an array of pictures, each by its number among the stored ones, the fastest first."""

    sizes: tuple[int, ...]
    """Number of values along each axis, the fastest first."""
    x: int
    """Axis of the columns, an index of sizes."""
    y: int
    """Axis of the rows, an index of sizes."""
    colour: int | None
    """Axis of the colour channels, an index of sizes. None for grey pictures."""
    time: int | None
    """Axis of the frames, an index of sizes. None for one picture."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as stored, px."""
        return self.sizes[self.x], self.sizes[self.y]

    @property
    def channels(self) -> int:
        """Number of values for each pixel."""
        return 1 if self.colour is None else self.sizes[self.colour]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return 1 if self.time is None else self.sizes[self.time]

    @property
    def in_order(self) -> bool:
        """Whether the values of a frame lie together: no axis is slower than time."""
        return self.time is None or math.prod(self.sizes[self.time + 1 :]) == 1

    @property
    def around_time(self) -> tuple[int, int]:
        """Number of values on the axes slower and faster than time."""
        time = len(self.sizes) if self.time is None else self.time
        return math.prod(self.sizes[time + 1 :]), math.prod(self.sizes[:time])

    def picture(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn the values of one frame in stored order into (rows, columns) or (rows, columns, channels)."""
        kept = [a for a in range(len(self.sizes)) if a != self.time]
        stored = values.reshape([self.sizes[a] for a in reversed(kept)])
        wanted = [self.y, self.x, *([] if self.colour is None else [self.colour])]
        rest = [a for a in kept if a not in wanted]  # all of size 1
        place = {a: len(kept) - 1 - i for i, a in enumerate(kept)}
        shape = [self.sizes[a] for a in wanted]
        return stored.transpose([place[a] for a in (*wanted, *rest)]).reshape(shape)


def find_axes(sizes: Sequence[int], kinds: Sequence[str]) -> PictureAxes:
    """Find the axes of pictures. kinds: in lower case, empty where nobody says.

    The first two axes of places are x and y. An axis of kind list or time is time, else the third axis of places that
    has more than one value. Raises InputError, without a file's name, if the array holds no pictures or a volume.
    """
    said = kinds or ("",) * len(sizes)
    places = [a for a, kind in enumerate(said) if kind in PLACE_KINDS]
    times = [a for a, kind in enumerate(said) if kind in TIME_KINDS]
    colours = [a for a, kind in enumerate(said) if kind in COLOUR_KINDS and sizes[a] > 1]
    shown = " x ".join(map(str, sizes))
    for a, kind in enumerate(said):
        known = kind in PLACE_KINDS | TIME_KINDS | COLOUR_KINDS | SINGLE_KINDS
        if not known or (kind in SINGLE_KINDS and sizes[a] != 1):
            raise InputError(f"an axis of kind {kind[:40]!r} is not read; domain, list, time, vector and colours are")
    if len(places) < 2:
        raise InputError(f"{shown} values hold no pictures: two axes of kind domain are needed")
    x, y, *further = places
    further = [a for a in further if sizes[a] > 1]
    if not times and further:
        times = [further.pop()]
    if further or len(times) > 1:
        raise InputError(f"{shown} values are a volume: pictures with time as one more axis are read")
    if len(colours) > 1 or (colours and sizes[colours[0]] not in (3, 4)):
        counts = " x ".join(str(sizes[a]) for a in colours)
        raise InputError(f"{counts} values for each pixel are not read: grey, RGB and RGBA pictures are")
    return PictureAxes(tuple(sizes), x, y, colours[0] if colours else None, times[0] if times else None)
