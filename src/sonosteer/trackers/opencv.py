"""OpenCV's general trackers and Lucas-Kanade, started by a click: what a user would pick instead of ours.

| name | reference |
| --- | --- |
| `csrt` | A. Lukezic et al., "Discriminative correlation filter with channel and spatial reliability", CVPR 2017 |
| `kcf` | J. F. Henriques et al., "High-speed tracking with kernelized correlation filters", TPAMI 37(3), 2015 |
| `mil` | B. Babenko, M.-H. Yang, S. Belongie, "Visual tracking with online multiple instance learning", CVPR 2009 |
| `lk` | B. D. Lucas, T. Kanade, "An iterative image registration technique", IJCAI 1981, pyramidal, on corners |

OpenCV computes them, with its own defaults. Each follows a box around the click, or corners in it. The tip keeps its
place in the box. None of them knows an angle, a confidence or an uncertainty. So `confidence` and covariance are None,
and the angle is the middle of the hint's, 0 without one. A box without any contrast cannot be followed, and is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import U8
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import Box, Estimate, Frame, Hint, Lost, TipEstimate, Track

#: chosen: side of the box where the click has none, px. At 0.1 mm per px it is 5 mm: a tip and some shaft
BOX_PX = 48
#: chosen: corners that Lucas-Kanade follows, how many must be left, and below how many new ones are looked for
CORNERS, MIN_CORNERS, FEW_CORNERS = 30, 3, 8
#: an image -> (whether it was found, left, top, width, height), px
BoxStep: TypeAlias = Callable[[U8], tuple[bool, Box]]
BoxName: TypeAlias = Literal["csrt", "kcf", "mil"]


def start_box(name: BoxName, image: U8, box: Box) -> BoxStep:
    """Start one of OpenCV's trackers on a box of a grey image. Returns the function that takes the next images.

    box: (left, top, width, height), px, whole numbers.
    """
    tracker: Any = getattr(cv2, f"Tracker{name.upper()}_create")()
    cv2.setRNGSeed(0)  # it is OpenCV's own, for all of its trackers
    tracker.init(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), tuple(round(v) for v in box))

    def step(now: U8) -> tuple[bool, Box]:
        found, (x, y, width, height) = tracker.update(cv2.cvtColor(now, cv2.COLOR_GRAY2BGR))
        return bool(found), (float(x), float(y), float(width), float(height))

    return step


def box_around(tip_px: Point, size_px: tuple[int, int], image_px: tuple[int, int]) -> Box:
    """Box (left, top, width, height) around a tip, moved so that it lies in an image of (width, height) px."""
    width, height = (min(a, b) for a, b in zip(size_px, image_px, strict=True))
    x = min(max(round(tip_px[0]) - width // 2, 0), image_px[0] - width)
    y = min(max(round(tip_px[1]) - height // 2, 0), image_px[1] - height)
    return float(x), float(y), float(width), float(height)


class _Session:
    """One run of an OpenCV tracker, which keeps what it knows inside OpenCV. `steps` counts the images it has seen."""

    def __init__(self, name: BoxName, image: U8, box: Box) -> None:
        self.steps = 0
        self._step = start_box(name, image, box)

    def step(self, image: U8, at: int, name: str) -> tuple[bool, Box]:
        if at != self.steps:
            raise BrokenError(
                f"method {name}: a state was used twice. OpenCV's trackers keep theirs inside: begin with `start` again"
            )
        self.steps += 1
        return self._step(image)

    def __reduce__(self) -> Any:
        raise BrokenError("the state of one of OpenCV's trackers cannot be stored")


@dataclass(frozen=True, slots=True)
class BoxState:
    """What is known between frames. What OpenCV knows is in the session, which serves the newest state only."""

    hint: Hint
    """What the user said."""
    session: _Session | None = None
    """The run of OpenCV's tracker. None before the first frame, and where there is nothing to follow."""
    steps: int = 0
    """Number of images that OpenCV's tracker has seen since its start, no unit."""
    offset_px: Point = (0.0, 0.0)
    """Place of the tip in the box, from its left and top, px."""
    why_not: str = ""
    """Why nothing is followed. Empty while it is."""


@dataclass(frozen=True)
class OpenCvBox:
    """A tracker of OpenCV that follows a box from a click on. Give `start`, the tip in the first frame."""

    needs_click: ClassVar[bool] = True
    """It cannot find a needle by itself."""
    says_confidence: ClassVar[bool] = False
    """It knows neither a confidence nor an uncertainty."""
    open_state: ClassVar[bool] = False
    """Its state lies inside OpenCV. It serves once: a state that was used cannot be used again, or stored."""
    name: ClassVar[BoxName] = "csrt"
    """Name of the method."""
    box_px: int = BOX_PX
    """Side of the box where the click has none, px."""

    def __post_init__(self) -> None:
        if not self.box_px >= 8:  # chosen: KCF refuses smaller ones
            raise InputError(f"method {self.name}: box_px is {self.box_px}; it must be 8 or more")

    def prepare(self) -> None:
        """Nothing has to be prepared."""

    def start(self, hint: Hint) -> BoxState:
        """Return the state before the first frame. Raises InputError without a click."""
        _check_click(self.name, hint)
        return BoxState(hint)

    def step(self, state: BoxState, frame: Frame) -> tuple[BoxState, Estimate]:
        """Return the next state and the estimate. Raises BrokenError for a state that was used before."""
        image = np.ascontiguousarray(frame.grey())
        if state.why_not:
            return state, Lost(frame.index, frame.time_s, state.why_not)
        if state.session is None:
            return self._first(state, frame, image)
        found, box = state.session.step(image, state.steps, self.name)
        state = replace(state, steps=state.steps + 1)
        if not found:
            return state, Lost(frame.index, frame.time_s, f"{self.name} has lost its box")
        tip = (box[0] + state.offset_px[0], box[1] + state.offset_px[1])
        return state, _estimate(frame, tip, state.hint, box)

    def _first(self, state: BoxState, frame: Frame, image: U8) -> tuple[BoxState, Estimate]:
        tip = state.hint.start_px
        assert tip is not None
        box = _first_box(self.name, state.hint, self.box_px, frame)
        if not _has_contrast(image, box):
            state = replace(state, why_not=NOTHING_THERE)
            return state, Lost(frame.index, frame.time_s, NOTHING_THERE)
        session = _Session(self.name, image, box)
        offset = (tip[0] - box[0], tip[1] - box[1])
        return replace(state, session=session, offset_px=offset), _estimate(frame, tip, state.hint, box)


@dataclass(frozen=True)
class Csrt(OpenCvBox):
    """Discriminative correlation filter with channel and spatial reliability, from a click on."""

    name: ClassVar[BoxName] = "csrt"
    """Name of the method."""


@dataclass(frozen=True)
class Kcf(OpenCvBox):
    """Kernelized correlation filter, from a click on."""

    name: ClassVar[BoxName] = "kcf"
    """Name of the method."""


@dataclass(frozen=True)
class Mil(OpenCvBox):
    """Multiple instance learning, from a click on."""

    name: ClassVar[BoxName] = "mil"
    """Name of the method."""
    repeats_itself: ClassVar[bool] = False
    """OpenCV draws its samples from a generator that nobody can seed. So it may follow something else another time."""


@dataclass(frozen=True, slots=True)
class LucasKanadeState:
    """Everything that is known between frames. Arrays are never written to."""

    hint: Hint
    """What the user said."""
    image: U8 | None = None
    """Last image, (rows, columns), grey levels 0 to 255. None before the first frame."""
    tip_px: Point | None = None
    """Last place of the tip, px. None before the first frame."""
    corners: NDArray[np.float32] | None = None
    """(n, 1, 2) corners that are followed, px. None where there are none."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class LucasKanade:
    """Pyramidal Lucas-Kanade on up to 30 corners around a click. The tip moves by their median."""

    needs_click: ClassVar[bool] = True
    """It cannot find a needle by itself."""
    says_confidence: ClassVar[bool] = False
    """It knows neither a confidence nor an uncertainty."""
    box_px: int = BOX_PX
    """Side of the box in which corners are looked for where the click has none, px."""

    def prepare(self) -> None:
        """Nothing has to be prepared."""

    def start(self, hint: Hint) -> LucasKanadeState:
        """Return the state before the first frame. Raises InputError without a click."""
        _check_click("lk", hint)
        return LucasKanadeState(hint)

    def step(self, state: LucasKanadeState, frame: Frame) -> tuple[LucasKanadeState, Estimate]:
        """Return the next state and the estimate."""
        image = np.ascontiguousarray(frame.grey())
        if state.image is None or state.tip_px is None:
            return self._first(state, frame, image)
        if state.corners is None:
            return state, Lost(frame.index, frame.time_s, "lk has lost its corners")
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            state.image, image, state.corners, None, winSize=(21, 21), maxLevel=3
        )
        good = found[:, 0] == 1
        if good.sum() < MIN_CORNERS:
            return replace(state, corners=None), Lost(frame.index, frame.time_s, "lk has lost its corners")
        dx, dy = np.median((moved - state.corners)[good, 0], axis=0).tolist()
        tip = (state.tip_px[0] + dx, state.tip_px[1] + dy)
        corners = moved[good] if good.sum() >= FEW_CORNERS else self._corners(image, tip, state.hint)
        return LucasKanadeState(state.hint, image, tip, corners), _estimate(frame, tip, state.hint, None)

    def _first(self, state: LucasKanadeState, frame: Frame, image: U8) -> tuple[LucasKanadeState, Estimate]:
        tip = state.hint.start_px
        assert tip is not None
        box = _first_box("lk", state.hint, self.box_px, frame)
        corners = self._corners(image, tip, state.hint)
        state = LucasKanadeState(state.hint, image, tip, corners)
        if corners is None or not _has_contrast(image, box):
            return replace(state, corners=None), Lost(frame.index, frame.time_s, NOTHING_THERE)
        return state, _estimate(frame, tip, state.hint, None)

    def _corners(self, image: U8, tip_px: Point, hint: Hint) -> NDArray[np.float32] | None:
        mask = np.zeros_like(image)
        x, y = (round(v) for v in tip_px)
        width, height = hint.box_px or (self.box_px, self.box_px)
        left, top = max(x - width // 2, 0), max(y - height // 2, 0)
        mask[top : max(y + height // 2, 0), left : max(x + width // 2, 0)] = 1
        found: NDArray[np.float32] | None = cv2.goodFeaturesToTrack(image, CORNERS, 0.01, 3, mask=mask)
        return found


NOTHING_THERE = "there is nothing around the click that could be followed"


def _check_click(name: str, hint: Hint) -> None:
    if hint.start_px is None:
        raise InputError(f"method {name} needs a click: give `start` X,Y, the tip in the first frame in pixels")


def _first_box(name: str, hint: Hint, side_px: int, frame: Frame) -> Box:
    """The box around the click. Raises InputError if the click lies outside the picture."""
    tip, (width, height) = hint.start_px, frame.size_px
    assert tip is not None
    if not (-0.5 <= tip[0] <= width - 0.5 and -0.5 <= tip[1] <= height - 0.5):
        raise InputError(f"method {name}: `start` {tip[0]:g},{tip[1]:g} lies outside the picture of {width}x{height}")
    return box_around(tip, hint.box_px or (side_px, side_px), (width, height))


def _has_contrast(image: U8, box: Box) -> bool:
    x, y, width, height = (round(v) for v in box)
    part = image[y : y + height, x : x + width]
    return bool(part.size) and int(part.max()) > int(part.min())


def _estimate(frame: Frame, tip_px: Point, hint: Hint, box: Box | None) -> TipEstimate:
    """What is known: a place and a box. The needle is drawn as a point, since its axis is not."""
    corners = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
    return TipEstimate(
        frame_index=frame.index,
        time_s=frame.time_s,
        tip_px=tip_px,
        angle_rad=0.0 if hint.angle_rad is None else sum(hint.angle_rad) / 2,
        covariance_mm2=None,
        confidence=None,
        state=Track.TRACKING,
        entry_px=tip_px,
        box_px=corners,
    )
