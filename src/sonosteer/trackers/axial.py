"""axial: the cross-section of a needle in images that stand across it, with a probe that follows the tip.

Source: the event-triggered steering paper ("Paper S"), Section 6, Eqs. (16), (17): a variance image of a region of
interest (129 x 129 px), the sum of absolute differences with a patch (65 x 65 px), started by a click.

| symbol | name here | unit |
| --- | --- | --- |
| I, V, mu, sigma | `variance_image` | grey, - |
| P_(k-1) | `template` | - |
| p_y, p_z | `tip_px` | px |

Departs from the paper (`published=True` keeps all of its choices):
* The template is not the patch of the frame before but a mean over the needle's patches, which begins as a bright wall
  with a tail (`spot`). Where the probe moves on, tissue changes in every frame and the needle does not: matching
  frame to frame follows the tissue, and every match's error is kept for ever.
* V is freed of what lies to its left and right, the difference is measured against nothing there (`template_match`),
  and a place far from the last has to be better.
* Sub-pixel, by the parabola through the best place and its neighbours. What is reported is the needle's middle, a
  radius below its bright upper wall: found in the mean template itself, so that neither the click nor drift matters.
* Without a click it finds the spot itself: what looks like one, at one place, while the tissue goes by.
* A covariance calibrated on training scenes, coasting, and `lost`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging import template_match as match
from sonosteer.imaging.scratch import Scratch
from sonosteer.trackers.working_image import scale_of

FLANKS_MM = (0.9, 2.2)
ANCHOR_PX = 10  # how far the needle's middle is looked for in the mean template


@dataclass(frozen=True, slots=True)
class State:
    """tip_px: None while searching. offset_px: of the needle's middle in the template. Arrays are never written to."""

    click_px: Point | None
    tip_px: Point | None = None
    first_px: Point | None = None
    template: F32 | None = None
    offset_px: Point = (0.0, 0.0)
    learnt: int = 0
    missed: int = 0
    found: F32 | None = None
    frames: int = 0

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class Axial:
    """Parameters. roi_px, template_px: as published, odd. gauge_mm: diameter of the needle (18G).

    The rest is ours. tail_mm: length of the bright tail under the wall. reach_mm: how far a tip may have gone from one
    frame to the next before it costs as much as `prior` of a perfect match. slowest: least share of a new patch in
    the mean template. seen, surely, again: share of a perfect match from which the needle counts as seen, from which
    the template learns, and from which it is found when it had been lost. level: the mean template is at most that
    much brighter than the spot it began as. coast_frames: how long it may be unseen before it is lost, forget_frames:
    before it is looked for anew in the whole image. search_frames: looked at before a start without a click;
    stands_out: by how many deviations the spot must stand out of its image. sd_mm: error each way on training scenes,
    hardly depending on how bright the spot is; coasting_mm: what every unseen frame adds.
    """

    roi_px: int = 129
    template_px: int = 65
    gauge_mm: float = 1.27
    published: bool = False
    tail_mm: float = 1.4
    brightness: float = 3.0
    reach_mm: float = 0.6
    widens: float = 0.02
    prior: float = 0.25
    slowest: float = 0.02
    seen: float = 0.15
    surely: float = 0.5
    again: float = 0.2
    faint: float = 0.1
    faint_again: float = 0.2
    level: float = 1.15
    coast_frames: int = 40
    forget_frames: int = 400
    search_frames: int = 8
    stands_out: float = 7.0
    sd_mm: float = 0.05
    faint_mm: float = 0.016
    coasting_mm: float = 0.008
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_finite(self, "axial")
        check_range(self, "axial", 0.2, 5.0, "gauge_mm", "tail_mm", "reach_mm")
        for name in ("roi_px", "template_px"):
            if getattr(self, name) % 2 == 0:
                raise InputError(f"axial: {name} is {getattr(self, name)}, but must be odd, to have a middle")
        if not 4 * ANCHOR_PX < self.template_px <= self.roi_px - 8 <= 1000:
            raise InputError(f"axial: a template of {self.template_px} px does not fit a ROI of {self.roi_px} px")

    def prepare(self) -> None:
        """Compile the kernels."""
        noise = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)
        frame = Frame(noise, 0, 0.0, Spacing(0.1, 0.1))
        state, _ = self.step(self.start(Hint(start_px=(100.0, 100.0))), frame)
        self.step(state, frame)

    def start(self, hint: Hint) -> State:
        """State before the first frame. With `published`, InputError without a click (--start X,Y)."""
        if self.published and hint.start_px is None:
            raise InputError("axial as published starts by a click on the tip: give it with --start X,Y")
        return State(hint.start_px)

    def step(self, state: State, frame: Frame) -> tuple[State, Estimate]:
        """One frame. InputError if the frame has no scale."""
        spacing, image = scale_of(frame), frame.grey()
        if self.published:
            return self._published(state, frame, image, spacing)
        if state.tip_px is None:
            state = self._begin(state, image, spacing) if state.click_px else self._search(state, image, spacing)
            if state.tip_px is None:
                return state, Lost(frame.index, frame.time_s, "no needle found yet")
        return self._follow(state, frame, image, spacing)

    # -- beginning -----------------------------------------------------------------------------------------------

    def _spot(self, spacing: Spacing) -> F32:
        return spot(self.template_px, self.gauge_mm, self.tail_mm, self.brightness, spacing.x_mm, spacing.y_mm)

    def _begin(self, state: State, image: U8, spacing: Spacing) -> State:
        """At a click: the spot near it, if there is one yet."""
        assert state.click_px is not None
        return replace(state, tip_px=state.click_px, template=self._spot(spacing), missed=self.coast_frames // 2)

    def _search(self, state: State, image: U8, spacing: Spacing) -> State:
        """Add up how much every place looks like a spot, over some frames in which the tissue changes."""
        x, level, spread = image.astype(np.float32), self._box(image), self._box_spread(image)
        normal = np.abs(x - level) / np.maximum(spread, 1.0) * (spread > 0)
        W, sums = np.empty_like(normal), np.zeros(normal.shape[1] + 1)
        match.less_flanks(normal, *_flanks(spacing), sums, W)
        score = cv2.filter2D(np.minimum(W, 6.0), cv2.CV_32F, self._spot(spacing), borderType=cv2.BORDER_REPLICATE)
        keep = 1.0 - 1.0 / self.search_frames
        found = score if state.found is None or state.found.shape != score.shape else keep * state.found + score
        state = replace(state, found=found, frames=state.frames + 1)
        if state.frames < self.search_frames:
            return state
        edge = self.template_px // 2
        inner = found[edge : -edge or None, edge : -edge or None]
        if not inner.size or not (deviation := float(inner.std())) > 0:
            return state
        row, column = np.unravel_index(int(inner.argmax()), inner.shape)
        if (float(inner[row, column]) - float(inner.mean())) / deviation < self.stands_out:
            return state
        tip = (float(column + edge), float(row + edge))
        return replace(state, tip_px=tip, template=self._spot(spacing), found=None, frames=0)

    def _box(self, image: U8) -> F32:
        out: F32 = cv2.boxFilter(image, cv2.CV_32F, (self.roi_px, self.roi_px))
        return out

    def _box_spread(self, image: U8) -> F32:
        squares = cv2.sqrBoxFilter(image, cv2.CV_32F, (self.roi_px, self.roi_px))
        out: F32 = np.sqrt(np.maximum(squares - self._box(image) ** 2, 0.0))
        return out

    # -- following -----------------------------------------------------------------------------------------------

    def _follow(self, state: State, frame: Frame, image: U8, spacing: Spacing) -> tuple[State, Estimate]:
        assert state.tip_px is not None
        assert state.template is not None
        P, mm = state.template, math.sqrt(spacing.x_mm * spacing.y_mm)
        roi_x = round(state.tip_px[0] - state.offset_px[0])
        roi_y = round(state.tip_px[1] - state.offset_px[1])
        reach = self.reach_mm / mm * (1.0 + self.widens * state.missed)
        lost = state.missed > self.coast_frames
        W, i, j, gain, share = self._matched(image, (roi_x, roi_y), False, P, spacing, reach)
        sd = self.sd_mm
        if share < (self.again if lost else self.seen):  # a bright spot in a dark place?
            W, i, j, gain, share = self._matched(image, (roi_x, roi_y), True, P, spacing, reach)
            sd = self.faint_mm / max(share, 0.01)
            if share < (self.faint_again if lost else self.faint):
                return self._unseen(state, frame, mm)
        dx, dy = self._sub_pixel(W, P, i, j, gain)
        template, offset, learnt = P, state.offset_px, state.learnt
        if share > self.surely and sd == self.sd_mm:
            template, learnt = P.copy(), learnt + 1
            x, y = dx + offset[0], dy + offset[1]  # the needle's middle back to the template's
            match.learn(W, i, j, x, y, max(self.slowest, 1.0 / (20 + learnt)), template)
            _keep_level(template, self._spot(spacing), self.level)
            if learnt % 10 == 0:
                offset = _offset(template, self._spot(spacing))
        half = (self.roi_px - self.template_px) // 2
        tip = (roi_x + j - half + dx + offset[0], roi_y + i - half + dy + offset[1])
        rows_px, columns_px = image.shape
        if not (0 <= tip[0] < columns_px and 0 <= tip[1] < rows_px):
            return self._unseen(state, frame, mm)
        first = state.first_px or tip
        after = replace(state, tip_px=tip, first_px=first, template=template, offset_px=offset, learnt=learnt, missed=0)
        return after, self._estimate(after, frame, spacing, sd, min(share / 0.6, 1.0), Track.TRACKING)

    def _matched(
        self, image: U8, roi: tuple[int, int], signed: bool, P: F32, spacing: Spacing, reach_px: float
    ) -> tuple[F32, int, int, float, float]:
        """(image that was matched, row, column, gain, share of a perfect match) of the template in the ROI."""
        V = self._scratch.exactly("V", (self.roi_px, self.roi_px))
        W = self._scratch.exactly("W", V.shape)
        sums = self._scratch.exactly("sums", (self.roi_px + 1,), np.float64)
        match.variance_image(image, *roi, signed, V)
        match.less_flanks(V, *_flanks(spacing), sums, W)
        rows, bound = match.row_order(P)
        perfect = float(bound[0])
        order = _order(self.roi_px, self.template_px)
        i, j, gain = match.best_gain(W, P, order, rows, bound, reach_px, self.prior * perfect)
        return W, i, j, gain, gain / perfect if perfect > 0 else 0.0

    def _sub_pixel(self, W: F32, P: F32, i: int, j: int, gain: float) -> Point:
        last = self.roi_px - self.template_px
        dx = dy = 0.0
        if 0 < j < last:
            dx = match.vertex(match.gain_at(W, P, i, j - 1), gain, match.gain_at(W, P, i, j + 1))
        if 0 < i < last:
            dy = match.vertex(match.gain_at(W, P, i - 1, j), gain, match.gain_at(W, P, i + 1, j))
        return dx, dy

    def _unseen(self, state: State, frame: Frame, mm: float) -> tuple[State, Estimate]:
        missed = state.missed + 1
        if missed > self.forget_frames:
            return State(None), Lost(frame.index, frame.time_s, "the needle has not been seen for long; looking anew")
        state = replace(state, missed=missed)
        if missed > self.coast_frames:
            return state, Lost(frame.index, frame.time_s, "the needle's spot has not been seen for a while")
        if state.first_px is None:
            return state, Lost(frame.index, frame.time_s, "no needle seen yet where it was clicked")
        sd = self.sd_mm + self.coasting_mm * missed
        return state, self._estimate(state, frame, Spacing(mm, mm), sd, 0.2, Track.COASTING)

    def _estimate(
        self, state: State, frame: Frame, spacing: Spacing, sd_mm: float, confidence: float, track: Track
    ) -> TipEstimate:
        assert state.tip_px is not None
        assert state.first_px is not None
        dx = (state.tip_px[0] - state.first_px[0]) * spacing.x_mm
        dy = (state.tip_px[1] - state.first_px[1]) * spacing.y_mm
        angle = math.atan2(dy, dx) if math.hypot(dx, dy) > 1e-9 else 0.0
        return TipEstimate(
            frame.index,
            frame.time_s,
            state.tip_px,
            angle,
            np.diag([sd_mm**2, sd_mm**2]),
            confidence,
            track,
            state.first_px,
        )

    # -- as published --------------------------------------------------------------------------------------------

    def _published(self, state: State, frame: Frame, image: U8, spacing: Spacing) -> tuple[State, Estimate]:
        """Eqs. (16), (17) and the patch of the frame before; the best place is the tip, whatever it looks like."""
        x, y = state.tip_px or state.click_px or (0.0, 0.0)
        V = self._scratch.exactly("V", (self.roi_px, self.roi_px))
        if match.variance_image(image, round(x), round(y), False, V) == 0.0:
            return state, Lost(frame.index, frame.time_s, "the region of interest is all one grey")
        half = (self.roi_px - self.template_px) // 2
        i = j = half
        if state.template is not None:
            i, j, _ = match.least_difference(V, state.template, _order(self.roi_px, self.template_px))
        rows, columns = image.shape
        tip = (
            float(min(max(round(x) + j - half, 0), columns - 1)),
            float(min(max(round(y) + i - half, 0), rows - 1)),
        )
        patch = V[i : i + self.template_px, j : j + self.template_px].copy()
        after = replace(state, tip_px=tip, first_px=state.first_px or tip, template=patch)
        return after, self._estimate(after, frame, spacing, 1.0, 0.5, Track.TRACKING)  # ours: it claims nothing


@lru_cache(maxsize=8)
def _order(roi: int, template: int) -> NDArray[np.int32]:
    return match.from_the_middle(roi, template)


@lru_cache(maxsize=8)
def spot(size: int, gauge_mm: float, tail_mm: float, brightness: float, x_mm: float, y_mm: float) -> F32:
    """(size, size) what a needle across the image looks like in V: a bright wall, narrower than the needle, and a tail
    below it that fades over tail_mm, less its flanks. Middle: the needle's.
    """
    x, y = (np.arange(size) - size // 2) * x_mm, (np.arange(size) - size // 2) * y_mm
    below = y + 0.5 * gauge_mm
    down = np.where(below > 0, np.exp(-np.maximum(below, 0) / tail_mm), np.exp(-0.5 * (below / 0.12) ** 2))
    across = np.exp(-0.5 * (x / (0.27 * gauge_mm)) ** 2)
    bright = (brightness * down[:, None] * across).astype(np.float32)
    out: F32 = np.zeros_like(bright)
    match.less_flanks(bright, *_flanks(Spacing(x_mm, y_mm)), np.zeros(size + 1), out)
    out.flags.writeable = False
    return out


def _flanks(spacing: Spacing) -> tuple[int, int]:
    """Where the flanks begin and end, px: ours, beside a needle of up to 1.6 mm."""
    return round(FLANKS_MM[0] / spacing.x_mm), round(FLANKS_MM[1] / spacing.x_mm)


def _keep_level(P: F32, spot_: F32, most: float) -> None:
    """Learn the shape more than the brightness: a template as bright as the best frames misses the faint ones."""
    level = float(np.abs(P).sum())
    if level > 0:
        P *= np.float32(min(1.0, most * float(np.abs(spot_).sum()) / level))


def _offset(P: F32, spot_: F32) -> Point:
    """Where the spot lies in a mean template, sub-pixel: best correlation within ANCHOR_PX."""
    inner = spot_[ANCHOR_PX:-ANCHOR_PX, ANCHOR_PX:-ANCHOR_PX]
    score = cv2.matchTemplate(P, inner - inner.mean(), cv2.TM_CCORR)
    i, j = (int(v) for v in np.unravel_index(int(score.argmax()), score.shape))
    i, j = min(max(i, 1), score.shape[0] - 2), min(max(j, 1), score.shape[1] - 2)
    dx = match.vertex(float(score[i, j - 1]), float(score[i, j]), float(score[i, j + 1]))
    dy = match.vertex(float(score[i - 1, j]), float(score[i, j]), float(score[i + 1, j]))
    return j - ANCHOR_PX + dx, i - ANCHOR_PX + dy
