"""What a scanner's display makes of an image: filters, grey map, size on the screen, margins, menus, compression.

Pixels of the image come from the scan conversion. Pixels of the screen are what a frame holds. The default display
changes nothing. The line filter takes the brightest mean along short lines of all directions, as scanners' speckle
reduction does (R. N. Czerwinski et al., "Detection of lines and boundaries in speckle images", IEEE TMI 18, 1999).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64, U8
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.sim.kernels import brighter_mean

NOISE_SHIFTS = 251  # chosen: number of places from which the bank of noise is read
BESIDE_MM = (1.6, 4.0)  # chosen: distance from the shaft, beyond its own width, at which its surroundings are read
TIP_BACK_MM = (1.2, 3.5)  # chosen: lengths of shaft of which one must stand out for the tip to be seen
SCREEN_WORDS = (
    "B 62",
    "MI 1.1",
    "TIs 0.2",
    "Gain 58",
    "Depth 4.5 cm",
    "FR 23 Hz",
    "DR 66",
    "Vol Nerve",
    "L12-3",
    "12:07:31",
)


@dataclass(frozen=True, slots=True)
class Display:
    """How the screen shows the image. The defaults change nothing."""

    speckle_reduction: float = 0.0
    """Fraction of the image that an edge-preserving filter replaces. 0 to 1, 0: none, no unit."""
    reduction_px: float = 4.0
    """Reach of that filter, image px. 1 to 12."""
    line_filter: float = 0.0
    """Fraction of the image that the line filter replaces. 0 to 1, 0: none, no unit."""
    line_px: int = 9
    """Length of its lines, image px. 3 to 41."""
    smoothing_px: float = 0.0
    """Standard deviation of a Gaussian blur, image px. 0 to 10, 0: none."""
    sharpening: float = 0.0
    """Amount of unsharp masking (edge enhancement). 0 to 4, 0: none, no unit."""
    sharpening_px: float = 2.0
    """Standard deviation of its blur, image px. 0.3 to 20."""
    gain_grey: float = 0.0
    """Change of the grey level before the contrast, grey levels. -128 to 128."""
    contrast: float = 1.0
    """Factor on the grey levels. What exceeds 255 is saturated. 0.3 to 4, no unit."""
    gamma: float = 1.0
    """Exponent of the grey map. Above 1 darkens the middle. 0.3 to 3, no unit."""
    floor_grey: int = 0
    """Least grey level inside the image. 0 to 60."""
    noise_grey: float = 0.0
    """Standard deviation of the picture's noise, grey levels. 0 to 30."""
    scale: float = 1.0
    """Screen px per image px. 0.2 to 4, no unit."""
    margins_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, top, right and bottom margin round the image, screen px. 0 to 1000 each."""
    background_grey: int = 0
    """Grey level of the margins, 0 to 255. At most 120."""
    menus: int = 0
    """Number of menus: columns of short texts with a frame or a bar. 0 to 8."""
    captions: int = 0
    """Number of captions, single texts anywhere. 0 to 12."""
    ticks: int = 0
    """Number of ticks of the ruler beside the image. 0 to 100, 0: no ruler."""
    bars: int = 0
    """Number of bright bars: grey wedges and frames. 0 to 8."""
    jpeg_quality: int = 0
    """Quality of JPEG compression, 1 to 100 percent. 0: none."""
    h264_crf: int = 0
    """Constant rate factor of H.264 compression, 1 to 45, no unit. 0: none. Each screen is coded after the last."""
    seed: int = 0
    """Seed of what menus, captions and bars say and where they stand. 0 or more."""

    def __post_init__(self) -> None:
        check_finite(self, "display")
        check_range(self, "display", 0.0, 1.0, "speckle_reduction", "line_filter")
        check_range(self, "display", 1.0, 12.0, "reduction_px")
        check_range(self, "display", 3, 41, "line_px")
        check_range(self, "display", 0.0, 10.0, "smoothing_px")
        check_range(self, "display", 0.0, 4.0, "sharpening")
        check_range(self, "display", 0.3, 20.0, "sharpening_px")
        check_range(self, "display", -128.0, 128.0, "gain_grey")
        check_range(self, "display", 0.3, 4.0, "contrast")
        check_range(self, "display", 0.3, 3.0, "gamma")
        check_range(self, "display", 0, 60, "floor_grey")
        check_range(self, "display", 0.0, 30.0, "noise_grey")
        check_range(self, "display", 0.2, 4.0, "scale")
        check_range(self, "display", 0, 120, "background_grey")
        check_range(self, "display", 0, 8, "menus", "bars")
        check_range(self, "display", 0, 12, "captions")
        check_range(self, "display", 0, 100, "ticks", "jpeg_quality")
        check_range(self, "display", 0, 45, "h264_crf")
        for k, name in enumerate(("left", "top", "right", "bottom")):
            if not 0 <= self.margins_px[k] <= 1000:
                raise InputError(f"display: the {name} margin is {self.margins_px[k]} px; 0 to 1000 px are possible")

    @property
    def plain(self) -> bool:
        """True if the display changes nothing."""
        return self == Display(seed=self.seed)

    def size_px(self, image_px: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the screen for an image of (width, height), px."""
        left, top, right, bottom = self.margins_px
        width, height = (max(round(n * self.scale), 1) for n in image_px)
        return left + width + right, top + height + bottom

    def to_screen_px(self, image_px: Point) -> Point:
        """Image px -> screen px."""
        left, top = self.margins_px[:2]
        if self.scale == 1.0:
            return image_px[0] + left, image_px[1] + top
        return (image_px[0] + 0.5) * self.scale - 0.5 + left, (image_px[1] + 0.5) * self.scale - 0.5 + top


class Screen:
    """A display at work on images of one size. What stands around the image is drawn once and stays."""

    def __init__(self, display: Display, image_px: tuple[int, int], inside: U8 | None = None) -> None:
        """Set the screen up. image_px: (width, height). inside: (height, width) image, not 0 in the field of view."""
        self.display = display
        self.image_px = image_px
        self.size_px = display.size_px(image_px)
        rng = np.random.default_rng(display.seed)
        self._curve = _curve(display)
        self._outside = None if inside is None else inside == 0
        self._lines = _line_offsets(display.line_px) if display.line_filter > 0 else []
        x, y = display.to_screen_px((0.0, 0.0))
        self._matrix = np.array([[display.scale, 0.0, x], [0.0, display.scale, y]])
        self._overlay, self._drawn = _draw_overlay(display, image_px, rng)
        width, height = self.size_px
        self._film: Film | None = None
        shape = (height + NOISE_SHIFTS, width)
        self._noise = rng.standard_normal(shape, dtype=np.float32) if display.noise_grey > 0 else None

    def restart(self) -> None:
        """Begin a new film: what was shown is forgotten."""
        self._film = None

    def show(self, pixels: U8, moment: int = 0) -> U8:
        """The screen, (height, width), with an image on it. moment: any number, decides the picture's noise."""
        d = self.display
        if d.plain:
            return pixels
        screen = self._place(self._map(self._filter(pixels)))
        if self._noise is not None:
            at = moment * 97 % NOISE_SHIFTS
            noisy = screen + d.noise_grey * self._noise[at : at + screen.shape[0]]
            screen = np.clip(noisy, 0, 255).astype(np.uint8)
        screen = np.where(self._drawn, self._overlay, screen)
        if d.jpeg_quality > 0:
            _, packed = cv2.imencode(".jpg", screen, [cv2.IMWRITE_JPEG_QUALITY, d.jpeg_quality])
            screen = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
        if d.h264_crf > 0:
            self._film = self._film or Film(self.size_px, d.h264_crf)
            screen = self._film.through(screen)
        return screen

    def covers(self, places_px: F64) -> NDArray[np.bool_]:
        """(n,) does a caption, a menu, a ruler or a bar cover each place? places_px: (n, 2) screen px."""
        width, height = self.size_px
        x = np.clip(np.round(places_px[:, 0]).astype(int), 0, width - 1)
        y = np.clip(np.round(places_px[:, 1]).astype(int), 0, height - 1)
        covered: NDArray[np.bool_] = self._drawn[y, x] != 0
        return covered

    def _filter(self, pixels: U8) -> U8:
        """Reduce speckle, blur and sharpen."""
        d = self.display
        if d.speckle_reduction > 0:
            smooth = cv2.bilateralFilter(pixels, 2 * round(d.reduction_px) + 1, 42.0, d.reduction_px)
            pixels = cv2.addWeighted(smooth, d.speckle_reduction, pixels, 1 - d.speckle_reduction, 0.0).astype(np.uint8)
        if self._lines:
            half = d.line_px // 2
            framed = cv2.copyMakeBorder(pixels, half, half, half, half, cv2.BORDER_REFLECT_101).astype(np.uint8)
            best = np.zeros_like(pixels)
            for offsets in self._lines:
                brighter_mean(framed, offsets, best)
            # the brightest mean lies above the mean: take that away again
            level = cv2.blur(pixels, (d.line_px, d.line_px))
            lift = cv2.blur(best, (d.line_px, d.line_px))
            best = cv2.subtract(best, cv2.subtract(lift, level))
            pixels = cv2.addWeighted(best, d.line_filter, pixels, 1 - d.line_filter, 0.0).astype(np.uint8)
        if d.smoothing_px > 0:
            pixels = cv2.GaussianBlur(pixels, (0, 0), d.smoothing_px).astype(np.uint8)
        if d.sharpening > 0:
            smooth = cv2.GaussianBlur(pixels, (0, 0), d.sharpening_px)
            pixels = cv2.addWeighted(pixels, 1 + d.sharpening, smooth, -d.sharpening, 0.0).astype(np.uint8)
        return pixels

    def _map(self, pixels: U8) -> U8:
        """Apply gain, contrast, gamma and floor. Outside the field of view the background shows."""
        out: U8 = cv2.LUT(pixels, self._curve).astype(np.uint8)
        if self._outside is not None:
            out[self._outside] = self.display.background_grey
        return out

    def _place(self, pixels: U8) -> U8:
        """Scale the image and put it on the screen."""
        d, border = self.display, float(self.display.background_grey)
        if d.scale == 1.0:
            left, top, right, bottom = d.margins_px
            framed = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=border)
            return np.asarray(framed, np.uint8)
        if d.scale < 0.75:  # warping would skip pixels: blur first
            pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 / d.scale).astype(np.uint8)
        how = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_CONSTANT}
        framed = cv2.warpAffine(pixels, self._matrix, self.size_px, borderValue=border, **how)
        return np.asarray(framed, np.uint8)


class Film:
    """H.264 there and back, a picture at a time: what a stored clip has lost."""

    def __init__(self, size_px: tuple[int, int], crf: int) -> None:
        """Begin a film. size_px: (width, height). crf: constant rate factor, 1 to 45, no unit."""
        self.size_px = size_px
        self._even_px = tuple(n + n % 2 for n in size_px)
        self._coder: Any = av.CodecContext.create("libx264", "w")
        self._coder.width, self._coder.height = self._even_px
        self._coder.pix_fmt, self._coder.time_base = "yuv420p", Fraction(1, 25)
        self._coder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        self._reader: Any = av.CodecContext.create("h264", "r")
        self._reader.thread_count = 1
        self._count = 0

    def through(self, screen: U8) -> U8:
        """Code a screen, (height, width), and read it again. Nearly the same picture comes back."""
        height, width = screen.shape
        even_width, even_height = self._even_px
        planes = np.full((even_height * 3 // 2, even_width), 128, np.uint8)
        planes[:height, :width] = screen
        planes[height:even_height, :width] = screen[-1:]
        planes[:even_height, width:] = planes[:even_height, width - 1 : width]
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts = self._count
        self._count += 1
        read = [picture for packet in self._coder.encode(frame) for picture in self._reader.decode(packet)]
        out: U8 = np.ascontiguousarray(read[-1].to_ndarray()[:height, :width])
        return out


def _curve(d: Display) -> U8:
    """(256,) grey level on the screen of each grey level of the image."""
    grey = (np.arange(256) + d.gain_grey) * d.contrast / 255
    shown = 255 * np.clip(grey, 0, 1) ** d.gamma
    return np.clip(np.round(np.maximum(shown, d.floor_grey)), 0, 255).astype(np.uint8)


def _line_offsets(length_px: int, directions: int = 6) -> list[NDArray[np.int64]]:
    """(n, 2) rows and columns, from 0, of the pixels of a line of this length, one array for each direction."""
    half = length_px // 2
    out = []
    for k in range(directions):
        a = math.pi * k / directions
        steps = np.linspace(-half, half, 4 * half + 1)
        places = {(half + round(t * math.sin(a)), half + round(t * math.cos(a))) for t in steps.tolist()}
        out.append(np.array(sorted(places), np.int64))
    return out


def _draw_overlay(d: Display, image_px: tuple[int, int], rng: np.random.Generator) -> tuple[U8, U8]:
    """((height, width) grey levels, (height, width) not 0 where they cover the picture)."""
    width, height = d.size_px(image_px)
    grey, drawn = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    left, top, right, bottom = d.margins_px
    for _ in range(d.bars):
        _draw_bar(grey, drawn, d, rng)
    for _ in range(d.menus):
        x = _beside(left, width - right, width, rng)
        _draw_menu(grey, drawn, (x, int(rng.integers(0, max(height - 60, 1)))), rng)
    for _ in range(d.captions):
        edge = rng.random() < 0.75
        x, y = int(rng.uniform(0.0, 0.9) * width), int(rng.uniform(0.0, 1.0) * height)
        if edge:
            y = _beside(top, height - bottom, height, rng)
        _write(grey, drawn, _words(rng), (x, y), rng)
    if d.ticks:
        _draw_ruler(grey, drawn, d, rng)
    return grey, drawn


def _beside(low: int, high: int, size: int, rng: np.random.Generator) -> int:
    """A place in one of two margins, or near the edge where there is none."""
    if rng.random() < 0.5:
        return int(rng.uniform(0, max(low, 0.06 * size)))
    return int(min(rng.uniform(high, size), size - 1) if size - high > 12 else rng.uniform(0.9, 0.98) * size)


def _words(rng: np.random.Generator) -> str:
    if rng.random() < 0.6:
        return str(SCREEN_WORDS[int(rng.integers(len(SCREEN_WORDS)))])
    letters = list("ABCDEFGHILMNOPRSTUabcdefghilmnoprstu0123456789:./- ")
    return "".join(str(rng.choice(letters)) for _ in range(int(rng.integers(2, 18))))


def _write(grey: U8, drawn: U8, text: str, place: tuple[int, int], rng: np.random.Generator) -> None:
    size, thick = float(rng.uniform(0.28, 0.75)), int(rng.random() < 0.2) + 1
    font, value = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN])), int(rng.integers(90, 256))
    if font == cv2.FONT_HERSHEY_PLAIN:
        size *= 1.8
    if rng.random() < 0.25:  # a box behind the text
        (w, h), _ = cv2.getTextSize(text, font, size, thick)
        corners = (place[0] - 4, place[1] - h - 4), (place[0] + w + 4, place[1] + 5)
        cv2.rectangle(grey, *corners, int(rng.integers(1, 60)), -1)
        cv2.rectangle(drawn, *corners, 1, -1)
    cv2.putText(grey, text, place, font, size, value, thick)
    cv2.putText(drawn, text, place, font, size, 1, thick)


def _draw_menu(grey: U8, drawn: U8, place: tuple[int, int], rng: np.random.Generator) -> None:
    x, y = place
    step = int(rng.integers(12, 26))
    if rng.random() < 0.4:
        box = (x + int(rng.integers(40, 160)), y + int(rng.integers(20, 200)))
        value, thick = int(rng.integers(20, 200)), int(rng.choice([1, 1, 2, -1]))
        cv2.rectangle(grey, place, box, value, thick)
        cv2.rectangle(drawn, place, box, 1, thick)
    for k in range(int(rng.integers(2, 9))):
        _write(grey, drawn, _words(rng), (x + 4, y + (k + 1) * step), rng)


def _draw_bar(grey: U8, drawn: U8, d: Display, rng: np.random.Generator) -> None:
    """A grey wedge, a full bar or a line beside the image."""
    height, width = grey.shape
    left, top, right, bottom = d.margins_px
    upright = rng.random() < 0.7
    thick = int(rng.choice([1, 2, 3, 8, 14]))
    if upright:
        x, y = _beside(left, width - right, width, rng), int(rng.uniform(0, 0.6) * height)
        w, h = thick, int(rng.uniform(0.15, 0.9) * (height - y))
    else:
        x, y = int(rng.uniform(0, 0.6) * width), _beside(top, height - bottom, height, rng)
        w, h = int(rng.uniform(0.15, 1.0) * (width - x)), thick
    part = np.s_[y : y + max(h, 1), x : x + max(w, 1)]
    shape = grey[part].shape
    value: F64 = np.full(shape, float(rng.integers(60, 256)))
    if rng.random() < 0.6 and min(shape) > 0:
        ramp = np.linspace(255, 0, max(shape))
        value = np.broadcast_to(ramp[: shape[0], None] if upright else ramp[None, : shape[1]], shape).copy()
    grey[part] = value.astype(np.uint8)
    drawn[part] = 1


def _draw_ruler(grey: U8, drawn: U8, d: Display, rng: np.random.Generator) -> None:
    """Ticks or dots, evenly spaced, at one side of the image. Some are larger."""
    height, width = grey.shape
    left, top, right, bottom = d.margins_px
    value, dots, every = int(rng.integers(110, 256)), rng.random() < 0.6, int(rng.choice([2, 5, 10]))
    across = rng.random() < 0.2
    x = width - right + int(rng.integers(-14, 10)) if rng.random() < 0.6 else left + int(rng.integers(-8, 12))
    x = min(max(x, 2), width - 4)
    low, high = (left, width - right) if across else (top, height - bottom)
    size = int(rng.integers(1, 3))
    for k, at in enumerate(np.linspace(low, high, d.ticks + 1).astype(int).tolist()):
        large = size * (2 if k % every == 0 else 1)
        place = (at, height - bottom - 4) if across else (x, at)
        for picture, v in ((grey, value), (drawn, 1)):
            if dots:
                cv2.circle(picture, place, large, v, -1)
            elif across:
                cv2.line(picture, place, (place[0], place[1] - 3 * large), v, 1)
            else:
                cv2.line(picture, place, (place[0] - 3 * large, place[1]), v, 1)


# -- what a person could see ---------------------------------------------------------------------------------


def shaft_contrast(pixels: U8, shaft_px: F64, width_px: float, px_per_mm: float) -> F64:
    """(n,) how far each stretch of a shaft stands out from what lies beside it, grey levels.

    shaft_px: (n, 2) points along the shaft. width_px: its width. The brighter side of the surroundings counts half
    and the mean of both sides counts half, so that a shaft along the edge of something bright is not called seen.
    """
    grey = cv2.GaussianBlur(pixels, (0, 0), max(0.12 * px_per_mm, 0.6)).astype(np.float32)
    along = np.gradient(shaft_px, axis=0) if len(shaft_px) > 1 else np.array([[1.0, 0.0]])
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    half = max(width_px / 2, 0.5)
    on = np.linspace(-half, half, 5)
    low, high = (d * px_per_mm + half for d in BESIDE_MM)
    off = np.linspace(low, high, 6)
    offsets = np.concatenate([on, -off, off])
    x = (shaft_px[:, :1] + normal[:, :1] * offsets).astype(np.float32)
    y = (shaft_px[:, 1:] + normal[:, 1:] * offsets).astype(np.float32)
    read = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    shaft = np.sort(read[:, :5], axis=1)[:, 1:].mean(1)
    above, below = read[:, 5:11].mean(1), read[:, 11:].mean(1)
    out: F64 = shaft - 0.5 * (np.maximum(above, below) + 0.5 * (above + below))
    return out


def tip_contrast(pixels: U8, shaft_px: F64, width_px: float, px_per_mm: float) -> float:
    """How far the end of a shaft stands out from its surroundings, grey levels.

    shaft_px: (n, 2) points from the tip back, close together. The first 1.2 mm or the first 3.5 mm must stand out.
    """
    back = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(shaft_px, axis=0), axis=1))]) / px_per_mm
    contrast = shaft_contrast(pixels, shaft_px, width_px, px_per_mm)
    return max(float(contrast[back <= mm].mean()) for mm in TIP_BACK_MM)
