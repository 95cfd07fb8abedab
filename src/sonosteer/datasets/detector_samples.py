"""Training samples of the needle detector: stored stills, turned, scaled, cut and changed, and what is to be found.

Sample k of a seed is always the same. The targets lie on a grid of cells, each `CELL_PX` input px wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.datasets.stills import Stills
from sonosteer.imaging.detector_planes import CELL_PX, NEAR_PART, NEAR_PX, PLANES, fill_planes

NEAR_MORE = 4  # chosen: so many small looks cost half of what the whole pictures of a batch do
NEAR_FIRST = 1 << 40  # number of the first of them, so that they are other samples than the whole pictures
UNSEEN = 255  # in a map of the shaft: it lies here but cannot be seen, so that nothing is asked
TIP_SD = 1.2  # chosen: deviation of the tip's bell, cells: an error of a cell is nearly as good as none
UNASKED_CELLS = 6.0  # chosen: round a tip that a person could not see nothing is asked, cells


@dataclass(frozen=True, slots=True)
class DetectorAugmentation:
    """How samples are changed. Fractions are probabilities.

    The defaults are what the weights that ship learnt with. From `floor` on it is wear of displays and files. chosen:
    off, since it made no difference on validation stills (`docs/explanation/auto.md`).
    """

    near: float = 0.34
    """Fraction of batches that are small looks near an expected tip, as while a needle is followed, 0 to 1."""
    near_sd: float = 0.03
    """Deviation of the expected tip from the tip, as a fraction of the picture's longer side, no unit."""
    elsewhere: float = 0.25
    """Fraction of looks near a tip that look somewhere else, 0 to 1."""
    close: float = 0.45
    """Fraction of samples that are a part of the picture, 0 to 1."""
    close_zoom: tuple[float, float] = (0.6, 2.0)
    """Scale of a part, relative to the whole picture in view, no unit."""
    whole_zoom: tuple[float, float] = (0.7, 1.03)
    """Scale of a whole picture, relative to filling the input, no unit."""
    flip: float = 0.5
    """Fraction of samples that are mirrored, 0 to 1."""
    turn_deg: float = 12.0
    """Largest turn, degrees."""
    turned: float = 0.4
    """Fraction of samples that are turned, 0 to 1."""
    aspect: float = 0.1
    """Largest change of the ratio of width to height, no unit."""
    alone: float = 0.35
    """Fraction of samples whose earlier picture is the present one, 0 to 1."""
    changed: float = 0.6
    """Fraction of samples with another grey map, 0 to 1."""
    gamma: tuple[float, float] = (0.65, 1.5)
    """Exponent of the grey map, no unit."""
    gain: tuple[float, float] = (0.65, 1.35)
    """Factor on the grey levels, no unit."""
    blur: float = 0.25
    """Fraction of samples that are blurred, 0 to 1."""
    blur_px: tuple[float, float] = (0.4, 1.5)
    """Standard deviation of the blur, input px."""
    noise: float = 0.25
    """Fraction of samples with noise, 0 to 1."""
    noise_grey: tuple[float, float] = (1.0, 12.0)
    """Standard deviation of the noise, grey levels."""
    floor: float = 0.0
    """Fraction of the samples with another grey map whose dark greys are cut off, 0 to 1."""
    floor_part: tuple[float, float] = (0.02, 0.12)
    """Greys below this part of white become black, no unit."""
    uneven: float = 0.0
    """Fraction of samples whose brightness changes from place to place, 0 to 1."""
    uneven_log: float = 0.45
    """Deviation of the natural logarithm of the brightness at the knots of a grid, no unit."""
    streaked: float = 0.0
    """Fraction of samples whose grain is drawn out sideways, as far from a probe, 0 to 1."""
    streak_px: tuple[float, float] = (0.8, 2.5)
    """Standard deviation of the blur along the rows, input px."""
    despeckled: float = 0.0
    """Fraction of samples that are smoothed by a median, as scanners do, 0 to 1."""
    coarse: float = 0.0
    """Fraction of samples that were smaller once, 0 to 1."""
    coarse_part: tuple[float, float] = (0.4, 0.9)
    """Their size then, as a part of the input's, no unit."""
    packed: float = 0.0
    """Fraction of samples that went through JPEG, 0 to 1."""
    quality: tuple[int, int] = (15, 80)
    """Quality of the JPEG, no unit, 1 to 100."""


#: whole pictures as they are, for looking at a network
PLAIN_LOOK = DetectorAugmentation(
    near=0.0,
    close=0.0,
    whole_zoom=(1.0, 1.0),
    flip=0.0,
    turned=0.0,
    aspect=0.0,
    alone=0.0,
    changed=0.0,
    blur=0.0,
    noise=0.0,
)


@dataclass(frozen=True, slots=True)
class DetectorBatch:
    """B samples as drawn. S is the input's side in px, C the number of cells each way."""

    planes: F32
    """What the network is shown, (B, 3, S, S), no unit."""
    shaft: U8
    """1 where a shaft can be seen, 255 where it lies unseen, else 0, (B, C, C), no unit."""
    heat: F32
    """Bell around a visible tip, (B, C, C), 0 to 1. -1 round a tip that cannot be seen: nothing is asked there."""
    tip: F32
    """Tip, (B, 2), a number of cells, no unit: 0 is the middle of the first. NaN where there is none in view."""
    visible: F32
    """1 where a person could see the tip, else 0, (B,), no unit."""
    direction: F32
    """Unit vector along the needle towards its tip, (B, 2), no unit. NaN without a needle, or if nobody said it."""
    width: F32
    """Width of the shaft, (B,), input px. NaN where no needle is drawn, or if nobody said it."""


class DetectorSampler:
    """Draws batches from stills. side_px: side of the network's square input.

    begin_px: side of the samples before number `begun`, which are cheaper. places: (P,) numbers of the stills of a
    round, in which one may come several times. None: each once.
    """

    def __init__(
        self,
        stills: Stills,
        side_px: int,
        seed: int,
        augmentation: DetectorAugmentation = DetectorAugmentation(),
        *,
        begin_px: int = 0,
        begun: int = 0,
        places: NDArray[np.int64] | None = None,
    ) -> None:
        self.stills, self.side_px, self.seed, self.augmentation = stills, side_px, seed, augmentation
        self.begin_px, self.begun = begin_px, begun
        self.places = np.arange(len(stills)) if places is None else places

    def batch(self, first: int, count: int) -> DetectorBatch:
        """Samples first to first + count. Every place is drawn once before any is drawn again.

        Some batches are looks near a tip: small, and `NEAR_MORE` times as many.
        """
        near = np.random.default_rng([self.seed, first, 2]).random() < self.augmentation.near
        size = NEAR_PX if near else self.begin_px if first < self.begun else self.side_px
        if near:
            first, count = NEAR_FIRST + NEAR_MORE * first, NEAR_MORE * count
        cells = size // CELL_PX
        out = DetectorBatch(
            planes=np.zeros((count, PLANES, size, size), np.float32),
            shaft=np.zeros((count, cells, cells), np.uint8),
            heat=np.zeros((count, cells, cells), np.float32),
            tip=np.full((count, 2), np.nan, np.float32),
            visible=np.zeros(count, np.float32),
            direction=np.full((count, 2), np.nan, np.float32),
            width=np.full(count, np.nan, np.float32),
        )
        for i in range(count):
            self._draw(first + i, i, out, near=near)
        return out

    def _draw(self, number: int, i: int, out: DetectorBatch, *, near: bool) -> None:
        n = len(self.places)
        order = np.random.default_rng([self.seed, number // n, 1]).permutation(n)
        still = int(self.places[order[number % n]])
        rng = np.random.default_rng([self.seed, number])
        matrix, zoom = self._place_near(rng, still) if near else self._place(rng, still, out.planes.shape[-1])
        now, earlier, inside = self._pictures(rng, still, matrix, zoom, side=out.planes.shape[-1])
        fill_planes(now, earlier, out.planes[i], inside)
        self._targets(still, matrix, zoom, i, out)

    def _place_near(self, rng: np.random.Generator, still: int) -> tuple[F64, float]:
        """The same map for a look near a tip: it lies ahead of the middle, as `NeedleDetector.look_near` has it."""
        a, s = self.augmentation, self.stills
        width, height = s.size[still].tolist()
        longer = float(max(width, height))
        zoom = NEAR_PX / (NEAR_PART * longer) * math.exp(rng.uniform(-0.25, 0.25))  # chosen: a quarter each way
        mirror = -1.0 if rng.random() < a.flip else 1.0
        turn = math.radians(rng.uniform(-a.turn_deg, a.turn_deg)) if rng.random() < a.turned else 0.0
        c, n = math.cos(turn), math.sin(turn)
        linear = zoom * np.array([[c, -n], [n, c]]) @ np.diag([mirror, 1.0])
        tip, along = s.tip[still].astype(np.float64), s.shaft[still][0] - s.shaft[still][-1]
        if rng.random() < a.elsewhere or not np.isfinite(tip).all():
            tip = rng.uniform(0.0, 1.0, 2) * (width, height)
            along = rng.standard_normal(2)
        if not np.linalg.norm(along) > 1e-3:
            along = rng.standard_normal(2)
        along = linear @ (along / np.linalg.norm(along))
        expected = linear @ (tip + a.near_sd * longer * rng.standard_normal(2))
        middle = expected - 0.2 * NEAR_PX * along / np.linalg.norm(along)
        return np.concatenate([linear, (0.5 * (NEAR_PX - 1) - middle)[:, None]], axis=1), zoom

    def _place(self, rng: np.random.Generator, still: int, side: int) -> tuple[F64, float]:
        """((2, 3) map from stored px to px of an input of this side, its scale)."""
        a, s = self.augmentation, self.stills
        width, height = s.size[still].tolist()
        longer = max(width, height)
        close = rng.random() < a.close
        low, high = a.close_zoom if close else a.whole_zoom
        zoom = side / longer * math.exp(rng.uniform(math.log(low), math.log(high)))
        stretch = math.exp(0.5 * rng.uniform(-a.aspect, a.aspect))
        turn = math.radians(rng.uniform(-a.turn_deg, a.turn_deg)) if rng.random() < a.turned else 0.0
        mirror = -1.0 if rng.random() < a.flip else 1.0
        c, n = math.cos(turn), math.sin(turn)
        linear = zoom * np.array([[c, -n], [n, c]]) @ np.diag([mirror * stretch, 1.0 / stretch])
        middle = np.array([width - 1, height - 1]) / 2
        shown = np.abs(linear) @ np.array([width, height])  # size of the box round the picture, input px
        if close and rng.random() < 0.6 and np.isfinite(s.tip[still]).all():
            target = rng.uniform(0.12, 0.88, 2) * side  # the tip lies here
            shift = target - linear @ s.tip[still]
        else:
            room = side - shown
            corner = rng.uniform(np.minimum(room, 0.0), np.maximum(room, 0.0)) if a.whole_zoom[0] < 1 else np.zeros(2)
            shift = corner + shown / 2 - 0.5 - linear @ middle
        return np.concatenate([linear, shift[:, None]], axis=1), zoom

    def _pictures(
        self, rng: np.random.Generator, still: int, matrix: F64, zoom: float, *, side: int
    ) -> tuple[U8, U8, U8]:
        """The present and the earlier picture as the network shall see them, and where they show the still (1)."""
        a = self.augmentation
        width, height = self.stills.size[still].tolist()
        pair = self.stills.pixels[still][:, :height, :width]
        alone = rng.random() < a.alone
        lut = self._curve(rng) if rng.random() < a.changed else None
        blur = float(rng.uniform(*a.blur_px)) if rng.random() < a.blur else 0.0
        noise = float(rng.uniform(*a.noise_grey)) if rng.random() < a.noise else 0.0
        worn = self._wear(rng, side)
        if zoom < 0.7:  # warping would skip pixels
            blur_before = 0.4 / zoom
            pair = np.stack([cv2.GaussianBlur(p, (0, 0), blur_before) for p in pair])
        whole = np.ones((height, width), np.uint8)
        inside = cv2.warpAffine(whole, matrix, (side, side), flags=cv2.INTER_NEAREST)
        out = []
        for picture in pair[:1] if alone else pair:
            seen = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
            if lut is not None:
                seen = cv2.LUT(seen, lut)
            if blur > 0:
                seen = cv2.GaussianBlur(seen, (0, 0), blur)
            seen = worn.before_noise(seen)
            if noise > 0:
                grain = rng.standard_normal(seen.shape, dtype=np.float32)
                seen = np.clip(seen + noise * grain, 0, 255)
            out.append(worn.after_noise(seen.astype(np.uint8)))
        return out[0], out[-1], inside

    def _wear(self, rng: np.random.Generator, side: int) -> _Wear:
        """What a display and a file do to the pictures of a sample."""
        a = self.augmentation
        light = None
        if rng.random() < a.uneven:
            knots = np.exp(a.uneven_log * rng.standard_normal((4, 4), dtype=np.float32))
            light = cv2.resize(knots, (side, side), interpolation=cv2.INTER_LINEAR)
        streak = float(rng.uniform(*a.streak_px)) if rng.random() < a.streaked else 0.0
        median = (3 if rng.random() < 0.7 else 5) if rng.random() < a.despeckled else 0
        small = max(round(side * rng.uniform(*a.coarse_part)), 1) if rng.random() < a.coarse else side
        quality = int(rng.integers(*a.quality)) if rng.random() < a.packed else 0
        return _Wear(light, streak, median, small, quality)

    def _curve(self, rng: np.random.Generator) -> U8:
        """(256,) another grey map. Black stays black."""
        a = self.augmentation
        gain = math.exp(rng.uniform(math.log(a.gain[0]), math.log(a.gain[1])))
        floor = rng.uniform(*a.floor_part) if rng.random() < a.floor else 0.0
        above = np.clip(np.arange(256) / 255 - floor, 0, 1) / (1 - floor)
        grey = 255 * np.clip(gain * above ** rng.uniform(*a.gamma), 0, 1)
        return grey.round().astype(np.uint8)

    def _targets(self, still: int, matrix: F64, zoom: float, i: int, out: DetectorBatch) -> None:
        s, side = self.stills, out.planes.shape[-1]
        if np.isfinite(s.width[still]):
            shaft = s.shaft[still] @ matrix[:, :2].T + matrix[:, 2]
            along = shaft[0] - shaft[-1]
            if not np.linalg.norm(along) > 1e-3:
                return
            out.direction[i] = along / np.linalg.norm(along)
            out.width[i] = zoom * s.width[still]
            radius = max(0.5 * float(out.width[i]), 0.75 * CELL_PX)
            draw_shaft(np.ascontiguousarray(shaft, np.float64), s.seen[still], radius, out.shaft[i])
        elif s.visible[still]:  # a person's label: a needle is there, and nobody said where its shaft lies
            out.shaft[i] = UNSEEN
        if not np.isfinite(s.tip[still]).all():
            return
        tip = matrix[:, :2] @ s.tip[still] + matrix[:, 2]
        if not (0 <= tip[0] < side and 0 <= tip[1] < side):
            return
        out.tip[i] = (tip + 0.5) / CELL_PX - 0.5
        out.visible[i] = float(s.visible[still])
        cells = out.heat.shape[-1]
        x, y = np.arange(cells) - out.tip[i, 0], np.arange(cells)[:, None] - out.tip[i, 1]
        square = x * x + y * y
        if s.visible[still]:
            out.heat[i] = np.exp(-0.5 * square / TIP_SD**2)
        else:
            out.heat[i][square < UNASKED_CELLS**2] = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Wear:
    """What a display and a file do to both pictures of a sample. The planes know what lies beyond the picture."""

    light: F32 | None
    """(side, side) factor on the grey levels, no unit. None: 1 everywhere."""
    streak_px: float
    """Standard deviation of the blur along the rows, input px. 0: none."""
    median_px: int
    """Side of the median's box, input px. 0: none."""
    small_px: int
    """Side that the picture had once, px."""
    quality: int
    """Quality of the JPEG that it went through, no unit, 1 to 100. 0: none."""

    def before_noise(self, seen: U8) -> U8:
        """What was done in the scanner."""
        if self.median_px:
            seen = np.asarray(cv2.medianBlur(seen, self.median_px), np.uint8)
        if self.streak_px > 0:
            seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), self.streak_px, sigmaY=0.4 * self.streak_px), np.uint8)
        if self.light is not None:
            seen = np.clip(seen * self.light, 0, 255).astype(np.uint8)
        return seen

    def after_noise(self, seen: U8) -> U8:
        """What was done to the file."""
        side = len(seen)
        if self.small_px < side:
            once = cv2.resize(seen, (self.small_px, self.small_px), interpolation=cv2.INTER_AREA)
            seen = np.asarray(cv2.resize(once, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
        if self.quality:
            done, file = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            assert done
            seen = np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8)
        return seen


@njit(cache=True, nogil=True)
def draw_shaft(shaft: F64, seen: NDArray[np.bool_], radius: float, out: U8) -> None:
    """Mark the cells (rows, columns) within `radius` input px of a polyline (P, 2): 1 where seen (P,), else 255."""
    rows, columns = out.shape
    for k in range(len(shaft) - 1):
        ax, ay, bx, by = shaft[k, 0], shaft[k, 1], shaft[k + 1, 0], shaft[k + 1, 1]
        dx, dy = bx - ax, by - ay
        square = dx * dx + dy * dy + 1e-9
        value = 1 if seen[k] and seen[k + 1] else UNSEEN
        left, right = int((min(ax, bx) - radius) / CELL_PX) - 1, int((max(ax, bx) + radius) / CELL_PX) + 1
        top, bottom = int((min(ay, by) - radius) / CELL_PX) - 1, int((max(ay, by) + radius) / CELL_PX) + 1
        for r in range(max(top, 0), min(bottom + 1, rows)):
            y = (r + 0.5) * CELL_PX - 0.5
            for c in range(max(left, 0), min(right + 1, columns)):
                x = (c + 0.5) * CELL_PX - 0.5
                t = min(max(((x - ax) * dx + (y - ay) * dy) / square, 0.0), 1.0)
                if (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2 <= radius * radius and out[r, c] != 1:
                    out[r, c] = value
