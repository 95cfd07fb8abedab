"""The tracked needle drawn over the image: shaft, tip, 95 % ellipse, trail, state."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Point
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Estimate, Frame, TipEstimate, Track, Truth
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
MOST_KEPT = 24  # chosen: between 12 and 24 pictures are spread over a live run, and fit two screens
KEPT_PX = 420  # chosen: width of the pictures that are kept of stills, as large as a report shows them


def draw_overlay(
    frame: Frame, estimate: Estimate, truth: Truth | None = None, trail: tuple[Point, ...] = ()
) -> NDArray[np.uint8]:
    """(rows, columns, 3) RGB picture of a frame with what is believed of it. A lost frame gets no needle."""
    canvas: NDArray[np.uint8] = cv2.cvtColor(frame.grey(), cv2.COLOR_GRAY2RGB)
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
    right, top = _caption(canvas, _words(frame, estimate), colour, unit)
    _scale_bar(canvas, frame, unit, right, top)
    return canvas


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


def _caption(canvas: NDArray[np.uint8], text: str, colour: RGB, unit: float) -> tuple[int, int]:
    """Write the caption in the lower left. Returns the column and the row at which its box ends."""
    scale = max(0.32, 0.42 * unit)
    thickness = max(1, round(unit))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    if width > canvas.shape[1] - 8:
        scale *= (canvas.shape[1] - 8) / width
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = max(3, round(4 * unit))
    bottom = canvas.shape[0] - pad
    right, top = width + 3 * pad, max(0, bottom - height - base - pad)
    box = canvas[top : bottom + pad, :right]
    box[:] = (box * 0.35).astype(np.uint8)
    at = (pad, bottom - base)
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return right, top


def _scale_bar(canvas: NDArray[np.uint8], frame: Frame, unit: float, right: int, top: int) -> None:
    """Draw a bar of 10 mm in the lower right, above the caption if that is in the way.

    right, top: the column and the row at which the caption ends. No bar where the scale is unknown, or the picture is
    too small for it.
    """
    if frame.spacing is None:
        return
    length = 10.0 / frame.spacing.x_mm
    if not 8 <= length <= 0.6 * canvas.shape[1]:
        return
    pad = max(4, round(6 * unit))
    y, x = canvas.shape[0] - pad, canvas.shape[1] - pad
    left = round(x - length)
    if left - pad < right:
        y = top - pad
    scale, gap = max(0.3, 0.34 * unit), max(3, round(4 * unit))
    (width, height), _ = cv2.getTextSize("10 mm", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if y - gap - height < 0:
        return
    cv2.line(canvas, (left, y), (x, y), (255, 255, 255), max(1, round(1.5 * unit)))
    at = (min(left, max(0, canvas.shape[1] - width)), y - gap)
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


def shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture as small as a report shows it, (rows, columns, 3)."""
    k = min(1.0, KEPT_PX / picture.shape[1])
    small: NDArray[np.uint8] = cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    return small


class OverlayVideo:
    """Watches a run and writes overlay.mp4. It keeps pictures spread over the clip for a contact sheet.

    keep: numbers of the frames to keep, counted from 0. None where nobody knows how long the run will be: then small
    pictures are kept, and every second one is given up whenever they are too many.
    """

    def __init__(
        self, path: Path, info: SourceInfo, truth_of: Callable[[int], Truth | None], keep: frozenset[int] | None
    ) -> None:
        from sonosteer.recording.clips import VideoWriter  # pictures do without the video library

        self._video = VideoWriter(path, info, crf=20)
        self._truth_of = truth_of
        self._keep = keep
        self._trail: deque[Point] = deque(maxlen=40)
        self._done = 0
        self._every = 1
        self.sheet: list[tuple[str, NDArray[np.uint8]]] = []

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Draw and append one frame. Raises InputError if the disk is full."""
        picture = draw_overlay(frame, estimate, self._truth_of(frame.index), tuple(self._trail))
        if isinstance(estimate, TipEstimate):
            self._trail.append(estimate.tip_px)
        else:
            self._trail.clear()
        caption = f"frame {frame.index}, {frame.time_s:.2f} s"
        if self._keep is None:
            self._spread(caption, picture)
        elif self._done in self._keep:
            self.sheet.append((caption, picture))
        self._done += 1
        self._video.add(picture, frame.time_s)

    def _spread(self, caption: str, picture: NDArray[np.uint8]) -> None:
        if self._done % self._every:
            return
        self.sheet = [*self.sheet, (caption, shrunk(picture))]
        if len(self.sheet) > MOST_KEPT:
            self.sheet, self._every = self.sheet[::2], 2 * self._every

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
            self.sheet.append((f"{name}, {estimate.state.value}", shrunk(picture)))
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
