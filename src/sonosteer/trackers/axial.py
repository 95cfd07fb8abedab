"""axial: follows the cross-section of a needle in images that stand across it, with a probe that follows the tip.

J. Carriere, M. Khadem, C. Rossa, N. Usmani, R. Sloboda, M. Tavakoli, "Event-Triggered 3D Needle Control Using a
Reduced-Order Computationally Efficient Bicycle Model in a Constrained Optimization Framework", Journal of Medical
Robotics Research 4(1), 2019, Section 6, Eqs. (16), (17): a variance image of a region of interest (129 x 129 px) and
the sum of absolute differences with a patch (65 x 65 px), started by a click.

| symbol | name here | unit |
| --- | --- | --- |
| I | `image` | grey levels |
| V, mu, sigma | `match.variance_image` | no unit, grey levels |
| P_(k-1) | `template` | no unit |
| p_y, p_z | `tip_px` | px |

Departs from the paper (`published=True` keeps all of its choices):
* The template is a mean over the needle's patches instead of the patch of the frame before. It begins as a bright wall
  with a tail (`spot`). Where the probe moves on, tissue changes in every frame and the needle does not. Matching frame
  to frame follows the tissue, and keeps the error of every match.
* V is freed of what lies to its left and right. The difference is measured against nothing there (`template_match`). A
  place far from the last has to be better.
* Places are sub-pixel, by the parabola through the best place and its neighbours. The needle's middle is reported, a
  radius below its bright upper wall. It is found in the mean template itself, so that neither click nor drift matters.
* Without a click the spot is found by itself: what looks like one, at one place, while the tissue goes by.
* There are a covariance calibrated on training scenes, coasting, and `lost`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

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

#: where the flanks begin and end beside a pixel, mm. chosen: beside a needle of up to 1.6 mm
FLANKS_MM = (0.9, 2.2)
#: how far the needle's middle is looked for in the mean template, px. chosen: about 1 mm
ANCHOR_PX = 10


@dataclass(frozen=True, slots=True)
class AxialState:
    """Everything axial remembers between frames. Arrays are never written to."""

    click_px: Point | None
    """Where the user clicked, px. None without a click."""
    tip_px: Point | None = None
    """Last place of the needle's middle, px. None while it is searched."""
    first_px: Point | None = None
    """First place of the needle's middle, px. None before it was seen."""
    template: F32 | None = None
    """P: what the needle looks like in V, no unit. None before a start."""
    offset_px: Point = (0.0, 0.0)
    """Place of the needle's middle in the template, from its centre, px."""
    learnt: int = 0
    """Number of patches in the template."""
    missed: int = 0
    """Number of frames in a row in which the needle was not seen."""
    found: F32 | None = None
    """Summed likeness of every place to a spot, no unit. None except while searching."""
    frames: int = 0
    """Number of frames searched."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class Axial:
    """Parameters. "Match" is the gain as a fraction of that of a perfect match.

    chosen: all but `roi_px` and `template_px`, on training scenes.
    """

    needs_scale: ClassVar[bool] = True
    """It works in millimetres."""
    roi_px: int = 129
    """Side of the region of interest, px, odd, as published."""
    template_px: int = 65
    """Side of the template, px, odd, as published."""
    gauge_mm: float = 1.27
    """Diameter of the needle, mm. 18G is 1.27."""
    published: bool = False
    """True for all of the paper's own choices."""
    tail_mm: float = 1.4
    """Length of the bright tail under the wall, mm."""
    brightness: float = 3.0
    """Brightness of the first template's wall, in deviations of the image, no unit."""
    reach_mm: float = 0.6
    """How far a tip may go in a frame before it costs `prior` of a perfect match, mm."""
    widens: float = 0.02
    """How much that reach grows with every frame not seen, as a fraction, no unit."""
    prior: float = 0.25
    """What a way of `reach_mm` costs, as a fraction of a perfect match, 0 to 1."""
    min_learning_rate: float = 0.02
    """Smallest weight of a new patch in the mean template, 0 to 1."""
    seen: float = 0.15
    """Match from which the needle counts as seen, 0 to 1."""
    surely: float = 0.5
    """Match from which the template learns, 0 to 1."""
    again: float = 0.2
    """Match from which a lost needle is found again, 0 to 1."""
    faint: float = 0.1
    """Match from which a bright spot in a dark place counts as seen, 0 to 1."""
    faint_again: float = 0.2
    """Match from which such a spot is a lost needle found again, 0 to 1."""
    level: float = 1.15
    """Largest brightness of the mean template, as a multiple of the first one, no unit."""
    coast_frames: int = 40
    """Number of frames without the needle until it is lost."""
    forget_frames: int = 400
    """Number of frames without the needle until the whole image is searched again."""
    search_frames: int = 8
    """Number of frames that are searched before a start without a click."""
    stands_out: float = 7.0
    """By how many deviations the spot must stand out of the summed image, no unit."""
    sd_mm: float = 0.05
    """Claimed deviation each way while tracking, mm."""
    faint_mm: float = 0.016
    """Claimed deviation each way of a faint needle, times its match, mm."""
    coasting_mm: float = 0.008
    """What every frame not seen adds to the claimed deviation, mm."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_finite(self, "axial")
        for name in ("gauge_mm", "tail_mm", "reach_mm"):
            check_range(self, "axial", 0.2, 5.0, name)
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

    def start(self, hint: Hint) -> AxialState:
        """State before the first frame. Raises InputError if `published` is set and there is no click on the tip."""
        if self.published and hint.start_px is None:
            raise InputError("axial as published starts by a click on the tip: give it with `start`, x and y in pixels")
        return AxialState(hint.start_px)

    def step(self, state: AxialState, frame: Frame) -> tuple[AxialState, Estimate]:
        """Track the cross-section through one frame. Raises InputError if the frame has no scale."""
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
        """First template at this scale."""
        return spot(self.template_px, self.gauge_mm, self.tail_mm, self.brightness, spacing.x_mm, spacing.y_mm)

    def _begin(self, state: AxialState, image: U8, spacing: Spacing) -> AxialState:
        """Start at a click. The spot near it may not be there yet."""
        assert state.click_px is not None
        return replace(state, tip_px=state.click_px, template=self._spot(spacing), missed=self.coast_frames // 2)

    def _search(self, state: AxialState, image: U8, spacing: Spacing) -> AxialState:
        """Add up how much every place looks like a spot, over frames in which the tissue changes."""
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
        """Mean of the image around each pixel."""
        out: F32 = cv2.boxFilter(image, cv2.CV_32F, (self.roi_px, self.roi_px))
        return out

    def _box_spread(self, image: U8) -> F32:
        """Deviation of the image around each pixel."""
        squares = cv2.sqrBoxFilter(image, cv2.CV_32F, (self.roi_px, self.roi_px))
        out: F32 = np.sqrt(np.maximum(squares - self._box(image) ** 2, 0.0))
        return out

    # -- following -----------------------------------------------------------------------------------------------

    def _follow(self, state: AxialState, frame: Frame, image: U8, spacing: Spacing) -> tuple[AxialState, Estimate]:
        """Match the template near the last place, and let it learn."""
        assert state.tip_px is not None
        assert state.template is not None
        P, mm = state.template, math.sqrt(spacing.x_mm * spacing.y_mm)
        roi_x = round(state.tip_px[0] - state.offset_px[0])
        roi_y = round(state.tip_px[1] - state.offset_px[1])
        reach = self.reach_mm / mm * (1.0 + self.widens * state.missed)
        lost = state.missed > self.coast_frames
        W, i, j, gain, match_fraction = self._matched(image, (roi_x, roi_y), False, P, spacing, reach)
        sd = self.sd_mm
        if match_fraction < (self.again if lost else self.seen):  # a bright spot in a dark place?
            W, i, j, gain, match_fraction = self._matched(image, (roi_x, roi_y), True, P, spacing, reach)
            sd = self.faint_mm / max(match_fraction, 0.01)
            if match_fraction < (self.faint_again if lost else self.faint):
                return self._unseen(state, frame, mm)
        dx, dy = self._sub_pixel(W, P, i, j, gain)
        template, offset, learnt = P, state.offset_px, state.learnt
        if match_fraction > self.surely and sd == self.sd_mm:
            template, learnt = P.copy(), learnt + 1
            x, y = dx + offset[0], dy + offset[1]  # brings the needle's middle back to the template's
            match.learn(W, i, j, x, y, max(self.min_learning_rate, 1.0 / (20 + learnt)), template)
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
        return after, self._estimate(after, frame, spacing, sd, min(match_fraction / 0.6, 1.0), Track.TRACKING)

    def _matched(
        self, image: U8, roi: tuple[int, int], signed: bool, P: F32, spacing: Spacing, reach_px: float
    ) -> tuple[F32, int, int, float, float]:
        """Match the template in the ROI. Returns (image matched, row, column, gain, gain over a perfect one)."""
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
        """Sub-pixel part of a match, px, by parabolas through its neighbours."""
        last = self.roi_px - self.template_px
        dx = dy = 0.0
        if 0 < j < last:
            dx = match.vertex(match.gain_at(W, P, i, j - 1), gain, match.gain_at(W, P, i, j + 1))
        if 0 < i < last:
            dy = match.vertex(match.gain_at(W, P, i - 1, j), gain, match.gain_at(W, P, i + 1, j))
        return dx, dy

    def _unseen(self, state: AxialState, frame: Frame, mm: float) -> tuple[AxialState, Estimate]:
        """Coast over a frame in which the needle is not seen, or give it up."""
        missed = state.missed + 1
        if missed > self.forget_frames:
            return AxialState(None), Lost(
                frame.index, frame.time_s, "the needle has not been seen for long; looking anew"
            )
        state = replace(state, missed=missed)
        if missed > self.coast_frames:
            return state, Lost(frame.index, frame.time_s, "the needle's spot has not been seen for a while")
        if state.first_px is None:
            return state, Lost(frame.index, frame.time_s, "no needle seen yet where it was clicked")
        sd = self.sd_mm + self.coasting_mm * missed
        return state, self._estimate(state, frame, Spacing(mm, mm), sd, 0.2, Track.COASTING)

    def _estimate(
        self, state: AxialState, frame: Frame, spacing: Spacing, sd_mm: float, confidence: float, track: Track
    ) -> TipEstimate:
        assert state.tip_px is not None
        assert state.first_px is not None
        dx = (state.tip_px[0] - state.first_px[0]) * spacing.x_mm
        dy = (state.tip_px[1] - state.first_px[1]) * spacing.y_mm
        angle = math.atan2(dy, dx) if math.hypot(dx, dy) > 1e-9 else 0.0
        return TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=state.tip_px,
            angle_rad=angle,
            covariance_mm2=np.diag([sd_mm**2, sd_mm**2]),
            confidence=confidence,
            state=track,
            entry_px=state.first_px,
        )

    # -- as published --------------------------------------------------------------------------------------------

    def _published(self, state: AxialState, frame: Frame, image: U8, spacing: Spacing) -> tuple[AxialState, Estimate]:
        """Track as published: the best place for the patch of the frame before is the tip, whatever it looks like."""
        x, y = state.tip_px or state.click_px or (0.0, 0.0)
        V = self._scratch.exactly("V", (self.roi_px, self.roi_px))
        if match.variance_image(image, round(x), round(y), False, V) == 0.0:  # Eqs. (16), (17)
            return state, Lost(frame.index, frame.time_s, "the region of interest is all one grey")
        half = (self.roi_px - self.template_px) // 2
        i = j = half
        if state.template is not None:
            i, j, _ = match.min_difference(V, state.template, _order(self.roi_px, self.template_px))
        rows, columns = image.shape
        tip = (
            float(min(max(round(x) + j - half, 0), columns - 1)),
            float(min(max(round(y) + i - half, 0), rows - 1)),
        )
        patch = V[i : i + self.template_px, j : j + self.template_px].copy()
        after = replace(state, tip_px=tip, first_px=state.first_px or tip, template=patch)
        return after, self._estimate(after, frame, spacing, 1.0, 0.5, Track.TRACKING)  # chosen: it claims nothing


@lru_cache(maxsize=8)
def _order(roi: int, template: int) -> NDArray[np.int32]:
    """Places of a template in a ROI, the middle first."""
    return match.from_the_middle(roi, template)


@lru_cache(maxsize=8)
def spot(size: int, gauge_mm: float, tail_mm: float, brightness: float, x_mm: float, y_mm: float) -> F32:
    """What a needle across the image looks like in V, (size, size), with the needle's middle at its centre.

    It is a bright wall, narrower than the needle, and a tail below it that fades over tail_mm, less the flanks.
    """
    # chosen: falls off over 0.12 mm above the wall, and over 0.27 needle diameters to its sides
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
    """Where the flanks begin and end, px."""
    return round(FLANKS_MM[0] / spacing.x_mm), round(FLANKS_MM[1] / spacing.x_mm)


def _keep_level(P: F32, spot_: F32, most: float) -> None:
    """Limit the template's brightness: one as bright as the best frames misses the faint ones."""
    level = float(np.abs(P).sum())
    if level > 0:
        P *= np.float32(min(1.0, most * float(np.abs(spot_).sum()) / level))


def _offset(P: F32, spot_: F32) -> Point:
    """Place of the spot in a mean template, px: best correlation within ANCHOR_PX, sub-pixel."""
    inner = spot_[ANCHOR_PX:-ANCHOR_PX, ANCHOR_PX:-ANCHOR_PX]
    score = cv2.matchTemplate(P, inner - inner.mean(), cv2.TM_CCORR)
    i, j = (int(v) for v in np.unravel_index(int(score.argmax()), score.shape))
    i, j = min(max(i, 1), score.shape[0] - 2), min(max(j, 1), score.shape[1] - 2)
    dx = match.vertex(float(score[i, j - 1]), float(score[i, j]), float(score[i, j + 1]))
    dy = match.vertex(float(score[i - 1, j]), float(score[i, j]), float(score[i + 1, j]))
    return j - ANCHOR_PX + dx, i - ANCHOR_PX + dy
