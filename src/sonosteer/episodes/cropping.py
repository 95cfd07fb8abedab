"""Tracks in a part of each picture. What is said stays in pixels of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Point, rigid
from sonosteer.core.protocols import Tracker
from sonosteer.core.types import Estimate, Frame, Hint, Lost, Pixels


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of a picture. Raises InputError if it has no area."""

    left_px: int
    """Column of its first pixel, px."""
    top_px: int
    """Row of its first pixel, px."""
    width_px: int
    """Number of columns, px."""
    height_px: int
    """Number of rows, px."""

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise InputError(f"`crop` {self}: width and height must be 1 px or more")

    def __str__(self) -> str:
        return f"{self.left_px},{self.top_px},{self.width_px},{self.height_px}"

    def outside(self, size_px: tuple[int, int]) -> str | None:
        """Say how it does not fit into a picture of (width, height) px, None if it does."""
        right, bottom = self.left_px + self.width_px, self.top_px + self.height_px
        if min(self.left_px, self.top_px) >= 0 and right <= size_px[0] and bottom <= size_px[1]:
            return None
        return f"`crop` {self} (x, y, width, height) lies outside the picture, which is {size_px[0]}x{size_px[1]} px"

    def cut(self, frame: Frame) -> Frame:
        """Return the part of a frame. It must fit. Probe and pose are moved with it."""
        x, y = self.left_px, self.top_px
        probe = frame.probe
        if probe is not None:
            probe = replace(probe, apex_px=(probe.apex_px[0] - x, probe.apex_px[1] - y))
        pose = frame.T_world_image
        if pose is not None:
            mm = None if frame.spacing is None else frame.spacing.to_mm((x, y))
            pose = None if mm is None else pose @ rigid(np.eye(3), (*mm, 0.0))
        part: Pixels = frame.pixels[y : y + self.height_px, x : x + self.width_px].copy()
        return replace(frame, pixels=part, probe=probe, T_world_image=pose)


def in_crop(tracker: Tracker[Any], crop: Crop | None, names: Sequence[str] = ()) -> Tracker[Any]:
    """Return the tracker, shown the crop only if there is one. names: of stills, for messages."""
    return tracker if crop is None else InCrop(tracker, crop, names)


@dataclass(frozen=True)
class InCrop:
    """A tracker that sees a part of each picture, and speaks of the whole. A tracker itself."""

    tracker: Tracker[Any]
    """The tracker that is shown the part."""
    crop: Crop
    """The part."""
    names: Sequence[str] = ()
    """Names of stills, for messages. Empty for a clip."""

    def prepare(self) -> None:
        """Prepare the tracker."""
        self.tracker.prepare()

    def start(self, hint: Hint) -> Any:
        """Return the tracker's state before the first frame. Raises InputError if the start lies outside the crop."""
        if hint.start_px is None:
            return self.tracker.start(hint)
        x, y = self._moved(hint.start_px, -1)
        if not (-0.5 <= x <= self.crop.width_px - 0.5 and -0.5 <= y <= self.crop.height_px - 0.5):
            raise InputError(f"`start` {hint.start_px[0]:g},{hint.start_px[1]:g} lies outside `crop` {self.crop}")
        return self.tracker.start(replace(hint, start_px=(x, y)))

    def step(self, state: Any, frame: Frame) -> tuple[Any, Estimate]:
        """Track the part of a frame. Raises PictureError if the crop does not fit into the picture."""
        wrong = self.crop.outside(frame.size_px)
        if wrong is not None:
            name = f"{self.names[frame.index]}: " if self.names else ""
            raise PictureError(name + wrong.replace("`", ""), frame.index, frame.time_s)
        state, said = self.tracker.step(state, self.crop.cut(frame))
        return state, said if isinstance(said, Lost) else replace(
            said,
            tip_px=self._moved(said.tip_px),
            entry_px=self._moved(said.entry_px),
            shaft_px=tuple(map(self._moved, said.shaft_px)),
            box_px=None if said.box_px is None else (*self._moved(said.box_px[:2]), *self._moved(said.box_px[2:])),
        )

    def _moved(self, point_px: Point, way: int = 1) -> Point:
        """A place of the part as one of the whole picture, and the other way round with way = -1."""
        return point_px[0] + way * self.crop.left_px, point_px[1] + way * self.crop.top_px
