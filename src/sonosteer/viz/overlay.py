"""The tracked needle drawn over the image: shaft, tip, 95 % ellipse, trail, state."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Point
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Box, Estimate, Frame, TipEstimate, Track, Truth
from sonosteer.recording.tables import writing_failed

RGB = tuple[int, int, int]
#: Okabe-Ito colours: told apart by colour-blind readers too
STATE_COLOURS: dict[Track, RGB] = {
    Track.TRACKING: (0, 200, 140),
    Track.COASTING: (240, 170, 30),
    Track.LOST: (230, 80, 40),
}
TRUTH: RGB = (86, 180, 233)
SHIFT = 4  # sub-pixel bits of OpenCV's drawing
CHI_95 = math.sqrt(5.991)  # half an axis of the 95 % ellipse, in standard deviations
KEPT_PX = 420  # chosen: width of the pictures that are kept of stills, as large as a report shows them


class Corner(NamedTuple):
    """A corner of the picture."""

    right: bool
    """Whether it is at the right, no unit."""
    low: bool
    """Whether it is at the bottom, no unit."""


class WordsPlaces(NamedTuple):
    """Where our words stand, so that they do not lie over those of the scanner."""

    caption: Corner
    """Corner of the line about the frame."""
    bar: Corner
    """Corner of the scale bar."""


#: in the order in which they are taken where all are alike empty
CORNERS = (Corner(False, True), Corner(True, True), Corner(False, False), Corner(True, False))
#: chosen: a corner must be emptier by this fraction of its pixels to be taken before one that comes first
CLEARLY = 0.01
#: chosen: step from a pixel to the next that is the edge of a letter, grey levels. Speckle has smaller ones
EDGE = 60


def words_places(grey: NDArray[np.uint8]) -> WordsPlaces:
    """The emptiest corners of a picture, (rows, columns): one for the caption, another one for the scale bar."""
    rows, columns = grey.shape
    high, unit = max(12, round(0.05 * rows)), max(rows, columns) / 512
    wide = min(columns, round(300 * unit))
    ink = {corner: _ink(grey, corner, wide, high) for corner in CORNERS}
    caption = _emptiest(ink, CORNERS)
    small = {corner: _ink(grey, corner, max(columns // 4, 12), high) for corner in CORNERS}
    others = [c for c in (CORNERS[1], CORNERS[0], *CORNERS[2:]) if c != caption]
    return WordsPlaces(caption, _emptiest(small, [*others, caption]))  # in the caption's own it stands beside it


def _emptiest(ink: Mapping[Corner, float], order: Sequence[Corner]) -> Corner:
    best = order[0]
    for corner in order[1:]:
        if ink[corner] < ink[best] - CLEARLY:
            best = corner
    return best


def _ink(grey: NDArray[np.uint8], corner: Corner, wide: int, high: int) -> float:
    """Fraction of the pixels in a corner that are edges, as letters have them, and a little for what is bright."""
    part = grey[-high:] if corner.low else grey[:high]
    part = (part[:, -wide:] if corner.right else part[:, :wide]).astype(np.int16)
    edges = np.abs(np.diff(part, axis=1)) > EDGE
    return float(edges.mean() if edges.size else 0.0) + 0.1 * float((part > 128).mean())


def draw_overlay(
    frame: Frame,
    estimate: Estimate,
    truth: Truth | None = None,
    trail: tuple[Point, ...] = (),
    places: WordsPlaces | None = None,
) -> NDArray[np.uint8]:
    """(rows, columns, 3) RGB picture of a frame with what is believed of it. A lost frame gets no needle.

    places: where our words stand. None: in the emptiest corners of this picture.
    """
    grey = frame.grey()
    places = places or words_places(grey)
    canvas: NDArray[np.uint8] = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    unit = max(canvas.shape[0], canvas.shape[1]) / 512
    colour = STATE_COLOURS[estimate.state]
    for i, point in enumerate(trail):
        fraction = (i + 1) / len(trail)
        _dot(canvas, point, max(1.0, 1.3 * unit), _mix(colour, 0.25 + 0.5 * fraction))
    if isinstance(estimate, TipEstimate):
        _needle(canvas, frame, estimate, colour, unit)
    if truth is not None and truth.tip_px is not None:
        x, y = (round(v) for v in truth.tip_px)
        size = max(7, round(11 * unit))
        cv2.drawMarker(canvas, (x, y), TRUTH, cv2.MARKER_TILTED_CROSS, size, max(1, round(unit)), cv2.LINE_AA)
    taken = _caption(canvas, _words(frame, estimate), colour, unit, corner=places.caption)
    _scale_bar(canvas, frame, unit, corner=places.bar, taken=taken)
    return canvas


draw = draw_overlay  # the name that scripts of earlier versions call


def _needle(canvas: NDArray[np.uint8], frame: Frame, e: TipEstimate, colour: RGB, unit: float) -> None:
    thickness = max(1, round(1.2 * unit))
    shaft = np.array(e.shaft_px or (e.entry_px, e.tip_px))
    at = np.linspace(0.0, 1.0, len(shaft))
    t = np.linspace(0.0, 1.0, 35)  # dashed unless it is tracking: every other piece
    x, y = (np.interp(t, at, shaft[:, k]).tolist() for k in (0, 1))
    for i in range(0, 34, 1 if e.state is Track.TRACKING else 2):
        start, end = _fixed((x[i], y[i])), _fixed((x[i + 1], y[i + 1]))
        cv2.line(canvas, start, end, colour, thickness=thickness, lineType=cv2.LINE_AA, shift=SHIFT)
    _ellipse(canvas, frame, e, colour, thickness)
    if e.confidence is None and e.box_px is not None:  # a box is all that a general tracker knows
        x0, y0, x1, y1 = e.box_px
        cv2.rectangle(canvas, _fixed((x0, y0)), _fixed((x1, y1)), colour, thickness, cv2.LINE_AA, SHIFT)
    _dot(canvas, e.tip_px, max(1.5, 2.2 * unit), (255, 255, 255))
    _dot(canvas, e.tip_px, max(1.0, 1.4 * unit), colour)


def _ellipse(canvas: NDArray[np.uint8], frame: Frame, e: TipEstimate, colour: RGB, thickness: int) -> None:
    """95 % ellipse as a polygon, right also where pixels are not square. None where nobody said how large it is."""
    if frame.spacing is not None and e.sd_along_mm is not None and e.sd_across_mm is not None:
        along, across, k_x, k_y = e.sd_along_mm, e.sd_across_mm, frame.spacing.x_mm, frame.spacing.y_mm
    elif frame.spacing is None and e.sd_along_px is not None and e.sd_across_px is not None:
        along, across, k_x, k_y = e.sd_along_px, e.sd_across_px, 1.0, 1.0
    else:
        return
    t = np.linspace(0, 2 * math.pi, 49)
    a, b = CHI_95 * along * np.cos(t), CHI_95 * across * np.sin(t)
    c, s = math.cos(e.angle_rad), math.sin(e.angle_rad)
    x = e.tip_px[0] + (a * c - b * s) / k_x
    y = e.tip_px[1] + (a * s + b * c) / k_y
    points = np.round(np.stack([x, y], 1) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [points], True, colour, thickness, cv2.LINE_AA, SHIFT)


def _words(frame: Frame, e: Estimate) -> str:
    start = f"{frame.index}  {frame.time_s:.2f} s  "
    if isinstance(e, TipEstimate):
        sd = f"  sd {e.sd_along_px:.0f} px" if e.sd_along_px is not None else ""
        if e.sd_along_mm is not None:
            sd = f"  sd {e.sd_along_mm:.1f} mm"
        return f"{start}{e.state.value}  {math.degrees(e.angle_rad):.0f} deg{sd}"
    return f"{start}LOST: {e.reason}"


def _caption(canvas: NDArray[np.uint8], text: str, colour: RGB, unit: float, *, corner: Corner) -> Box:
    """Write the caption in a corner. Returns the box around it, px: (left, top, right, bottom)."""
    scale = max(0.32, 0.42 * unit)
    thickness = max(1, round(unit))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    if width > canvas.shape[1] - 8:
        scale *= (canvas.shape[1] - 8) / width
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = max(3, round(4 * unit))
    rows, columns = canvas.shape[:2]
    wide, high = min(columns, width + 3 * pad), min(rows, height + base + 2 * pad)
    left = columns - wide if corner.right else 0
    top = rows - high if corner.low else 0
    box = canvas[top : top + high, left : left + wide]
    box[:] = (box * 0.35).astype(np.uint8)
    at = (min(left + pad, max(columns - width, 0)), top + high - pad - base)
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return left, top, left + wide, top + high


def _scale_bar(canvas: NDArray[np.uint8], frame: Frame, unit: float, *, corner: Corner, taken: Box) -> None:
    """Draw a bar of 10 mm in a corner, above or below the caption if that is in the way.

    taken: the box of the caption, px. No bar where the scale is unknown, or the picture is too small for it.
    """
    if frame.spacing is None:
        return
    length = 10.0 / frame.spacing.x_mm
    if not 8 <= length <= 0.6 * canvas.shape[1]:
        return
    rows, columns = canvas.shape[:2]
    pad = max(4, round(6 * unit))
    scale, gap = max(0.3, 0.34 * unit), max(3, round(4 * unit))
    (width, height), _ = cv2.getTextSize("10 mm", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    right = columns - pad if corner.right else min(columns - pad, round(max(length, width)) + pad)
    left = round(right - length)
    y = rows - pad if corner.low else pad + height + gap
    beside = right + pad <= taken[0] or min(left, columns - width) - pad >= taken[2]
    if not beside and y + pad > taken[1] and y - gap - height - pad < taken[3]:
        y = round(taken[1]) - pad if corner.low else round(taken[3]) + pad + gap + height
    if y - gap - height < 0 or y >= rows:
        return
    cv2.line(canvas, (left, y), (right, y), (255, 255, 255), max(1, round(1.5 * unit)))
    at = (min(left, max(0, columns - width)), y - gap)
    cv2.putText(canvas, "10 mm", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _dot(canvas: NDArray[np.uint8], at: Point, radius: float, colour: RGB) -> None:
    cv2.circle(canvas, _fixed(at), round(radius * (1 << SHIFT)), colour, -1, cv2.LINE_AA, SHIFT)


def _fixed(p: Point) -> tuple[int, int]:
    limit = 1 << 24
    x, y = (min(max(round(v * (1 << SHIFT)), -limit), limit) for v in p)
    return x, y


def _mix(colour: RGB, fraction: float) -> RGB:
    r, g, b = (round(fraction * c) for c in colour)
    return r, g, b


class OverlayVideo:
    """Watches a run and writes overlay.mp4. It keeps pictures spread over the clip for a contact sheet."""

    def __init__(
        self, path: Path, info: SourceInfo, truth_of: Callable[[int], Truth | None], keep: frozenset[int]
    ) -> None:
        from sonosteer.recording.clips import VideoWriter  # pictures do without the video library

        self._video = VideoWriter(path, info, crf=20)
        self._truth_of = truth_of
        self._keep = keep
        self._places: WordsPlaces | None = None
        self._trail: deque[Point] = deque(maxlen=40)
        self._done = 0
        self.sheet: list[tuple[str, NDArray[np.uint8]]] = []

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Draw and append one frame. Raises InputError if the disk is full."""
        self._places = self._places or words_places(frame.grey())  # one place for the whole clip
        truth, trail = self._truth_of(frame.index), tuple(self._trail)
        picture = draw_overlay(frame, estimate, truth, trail, places=self._places)
        if isinstance(estimate, TipEstimate):
            self._trail.append(estimate.tip_px)
        else:
            self._trail.clear()
        if self._done in self._keep:
            self.sheet.append((f"frame {frame.index}, {frame.time_s:.2f} s", picture))
        self._done += 1
        self._video.add(picture, frame.time_s)

    def close(self) -> None:
        """Finish the file."""
        self._video.close()


class OverlayPictures:
    """Watches a run over stills and writes an annotated PNG of each into a folder. It keeps small ones for a report.

    A file is called as its picture. names: of the pictures, by frame. Empty: they are numbered.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], truth_of: Callable[[int], Truth | None], keep: frozenset[int]
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise writing_failed(folder, e, "nothing was written") from None
        self._folder, self._names, self._truth_of, self._keep = folder, names, truth_of, keep
        self._taken: set[str] = set()
        self._done = 0
        self.sheet: list[tuple[str, NDArray[np.uint8]]] = []

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Draw and write one picture. Raises InputError if the disk is full."""
        picture = draw_overlay(frame, estimate, self._truth_of(frame.index))
        name = self._names[frame.index] if self._names else f"picture {frame.index}"
        file = self._folder / self._free_name(name, frame.index)
        try:
            file.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
        except OSError as e:
            file.unlink(missing_ok=True)
            raise writing_failed(file, e, f"the first {self._done} pictures are kept") from None
        if self._done in self._keep:
            k = min(1.0, KEPT_PX / picture.shape[1])
            small = cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            self.sheet.append((f"{name}, {estimate.state.value}", small))
        self._done += 1

    def _free_name(self, name: str, index: int) -> str:
        """The name of the picture's file with the ending .png, with a number where that is taken."""
        plain = re.sub(r"[^\w.-]+", "-", Path(name).stem) or "picture"
        free = plain
        while free.lower() in self._taken:
            free = f"{free}-{index}"
        self._taken.add(free.lower())
        return f"{free}.png"

    def close(self) -> None:
        """Nothing is open."""
