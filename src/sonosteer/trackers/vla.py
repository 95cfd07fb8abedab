"""`vla`: the tip by Paper V's network (TraCon register, cross-depth fusion), followed from frame to frame.

Source: Paper V, Sections III-B to III-D; the network is in `learning/nets`. The paper crops a search region around the
last box and takes the network's word. Departs from the paper, all ours: the crop lies around a prediction with its
uncertainty (constant velocity, Kalman); a candidate must fit the prediction, or return at one place often enough; when
the network is not sure, the crop widens; when it was unsure for long, the tip is lost and looked for in tiles of the
whole image; without a click the tip is looked for in the same way, with a blank template that the network was trained
with, too. Angle and entry come from the shaft behind the tip, since the network tells a tip only.

| symbol | name here | unit |
| --- | --- | --- |
| z, x | template, cut once; search crop of the previous and the present frame | grey |
| box | `State.box_mm`, as the network draws it | mm |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging.crops import crop, step_of, working_scale
from sonosteer.imaging.shaft_direction import ray_contrast
from sonosteer.inference.tip_network import RUNTIMES, Answer, TipNetwork, model_folder
from sonosteer.trackers.working_image import scale_of

DIRECTIONS = 90


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place in image mm, what the network thinks of it, and the standard deviation it gives, each way."""

    at_mm: Point
    score: float
    visible: float
    sd_mm: float
    box_mm: Point


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """Tip in image mm: mean (x, y, v_x, v_y) and covariance. doubt_s: since the network was last believed."""

    mean: F64
    covariance: F64
    doubt_s: float = 0.0
    score: float = 1.0

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    @property
    def at_mm(self) -> Point:
        """Mean position."""
        return float(self.mean[0]), float(self.mean[1])

    @property
    def sd_mm(self) -> float:
        """Standard deviation of the position, the larger way."""
        return math.sqrt(max(float(self.covariance[0, 0]), float(self.covariance[1, 1])))


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything vla remembers between frames.

    kept: of the template. before: an earlier frame in grey, of before_s. elsewhere: a rejected candidate and how many
    frames running it was there. contrast: of rays behind the tip, averaged. box_mm: the network's box. tile: which is
    looked at next. features: what the network's encoder made of the newest crop, for a policy; None from one that does
    not say.
    """

    hint: Hint
    time_s: float | None = None
    kept: F32 | None = None
    belief: Belief | None = None
    before: U8 | None = None
    before_s: float = 0.0
    elsewhere: tuple[Candidate, int] | None = None
    contrast: F32 | None = None
    box_mm: Point = (0.0, 0.0)
    tile: int = 0
    ever: bool = False
    features: F32 | None = None

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class Vla:
    """model: "edge", which ships, or a folder that `sonosteer train tracking` made. runtime: onnx or torch.

    believed: least score of a candidate that is believed, sure: of one that is called tracking (visible, too).
    found: least score from which a search begins, or a jump is followed. near_mm: how far from the prediction a
    candidate may lie beside three deviations; again: frames that another place must return to be believed, within
    again_mm. agility: spectral density of the acceleration, mm^2/s^3. wide: scale of the crop when in doubt, after
    doubt_s. lost_s, lost_sd_mm: doubt after which the tip is lost. sd_scale, sd_least_mm, along_mm: calibration of the
    reported covariance. click_sd_mm: of a click. pair_s: least time between the two frames of a pair: of a faster
    stream frames in a row are too alike to show a motion, and the network learnt from 20 to 30 a second.
    """

    model: str = "edge"
    runtime: str = "onnx"
    threads: int = 1
    believed: float = 0.2
    sure: float = 0.4
    found: float = 0.65
    near_mm: float = 3.0
    again: int = 5
    again_mm: float = 2.0
    agility: float = 600.0
    settle_s: float = 0.4
    wide: float = 1.8
    doubt_s: float = 0.2
    lost_s: float = 1.2
    lost_sd_mm: float = 8.0
    sd_scale: float = 1.0
    sd_least_mm: float = 0.2
    click_sd_mm: float = 0.7
    margin_mm: float = 4.0
    longest_gap_s: float = 2.0
    pair_s: float = 0.03
    ray_mm: float = 12.0
    network: Any = field(default=None, repr=False, compare=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_finite(self, "vla")
        check_range(self, "vla", 0.0, 1.0, "believed", "sure", "found")
        check_range(self, "vla", 1.0, 4.0, "wide")

    def net(self) -> TipNetwork:
        """The network, loaded when it is first asked for. InputError for a model that is not there."""
        if self.network is not None:
            given: TipNetwork = self.network
            return given
        if "net" not in self._made:
            self._made["net"] = RUNTIMES.load(self.runtime)(model_folder(self.model), self.threads)
        made: TipNetwork = self._made["net"]
        return made

    def prepare(self) -> None:
        """Load the model, compile the kernels."""
        self._blank()
        noise = np.random.default_rng(0).integers(0, 90, (128, 128)).astype(np.uint8)
        state = self.start(Hint(start_px=(64.0, 64.0)))
        for i in range(3):
            state, _ = self.step(state, Frame(noise.copy(), i, i / 30, Spacing(0.4, 0.4)))

    def start(self, hint: Hint) -> State:
        """State before the first frame; a click on the tip (--start X,Y) helps most, nothing is needed."""
        self.net()
        return State(hint)

    def step(self, state: State, frame: Frame) -> tuple[State, Estimate]:
        """One frame. InputError if the frame has no scale."""
        spacing, image = scale_of(frame), frame.grey()
        dt_s = 0.0 if state.time_s is None else frame.time_s - state.time_s
        alike = state.before is not None and state.before.shape == image.shape and 0.0 <= dt_s < self.longest_gap_s
        before = state.before if alike else None
        if state.time_s is None and state.hint.start_px is not None:
            state = self._take(state, image, spacing, spacing.to_mm(state.hint.start_px))
        if state.belief is None:
            after, estimate = self._search(state, frame, image, before, spacing)
        else:
            after, estimate = self._follow(state, frame, image, before, spacing, max(dt_s, 0.0))
        if before is not None and frame.time_s - state.before_s < self.pair_s:
            return replace(after, time_s=frame.time_s), estimate
        return replace(after, time_s=frame.time_s, before=image, before_s=frame.time_s), estimate

    # -- the network's eyes ------------------------------------------------------------------------------------

    def _look(
        self, image: U8, before: U8 | None, spacing: Spacing, centre_mm: Point, factor: float, kept: F32
    ) -> tuple[Answer, float, Point]:
        """(answer, side of the crop in mm, image mm of its upper left corner)."""
        net = self.net()
        scale_mm = factor * working_scale(image.shape, spacing, net.search_px, net.scale_mm)
        step = step_of(spacing, scale_mm)
        centre = spacing.to_px(centre_mm)
        pair = np.stack(
            [crop(each, centre, net.search_px, step) for each in (image if before is None else before, image)]
        )
        side = net.search_px * scale_mm
        return net.respond(pair, kept), side, (centre_mm[0] - side / 2, centre_mm[1] - side / 2)

    def _candidate(self, seen: tuple[Answer, float, Point], k: int) -> Candidate:
        answer, side, (x0, y0) = seen
        x, y = answer.centre[k].tolist()
        w, h = answer.size[k].tolist()
        deviation = math.sqrt(2.0) * float(answer.sd[k]) * side  # of a Laplace density
        at = (x0 + x * side, y0 + y * side)
        return Candidate(at, float(answer.score[k]), float(answer.visible[k]), deviation, (w * side, h * side))

    def _template(self, image: U8, spacing: Spacing, at_mm: Point) -> F32:
        net = self.net()
        step = step_of(spacing, working_scale(image.shape, spacing, net.search_px, net.scale_mm))
        return net.embed(crop(image, spacing.to_px(at_mm), net.template_px, step))

    def _blank(self) -> F32:
        """What the network keeps of no template: any tip will do."""
        if "blank" not in self._made:
            net = self.net()
            self._made["blank"] = net.embed(np.zeros((net.template_px, net.template_px), np.uint8))
        blank: F32 = self._made["blank"]
        return blank

    def _take(self, state: State, image: U8, spacing: Spacing, at_mm: Point) -> State:
        """Begin at a place."""
        belief = Belief(np.array([*at_mm, 0.0, 0.0]), np.diag([self.click_sd_mm**2] * 2 + [100.0, 100.0]))
        kept = self._template(image, spacing, at_mm) if state.kept is None else state.kept
        return replace(state, belief=belief, kept=kept, elsewhere=None, contrast=None, ever=True)

    # -- looking for a tip -------------------------------------------------------------------------------------

    def _search(
        self, state: State, frame: Frame, image: U8, before: U8 | None, spacing: Spacing
    ) -> tuple[State, Estimate]:
        """One tile of the image a frame; what is found there is looked at again, closer, in the next frames."""
        net = self.net()
        kept = self._blank() if state.kept is None else state.kept
        width, height = spacing.to_mm((float(image.shape[1]), float(image.shape[0])))
        side = net.search_px * working_scale(image.shape, spacing, net.search_px, net.scale_mm)
        if state.elsewhere is not None:
            centre, factor = state.elsewhere[0].at_mm, 1.0
        else:
            factor = min(max(max(width, height) / side, 1.0), self.wide)
            tiles = _tiles(width, height, side * factor)
            centre = tiles[state.tile % len(tiles)]
            state = replace(state, tile=state.tile + 1)
        seen = self._look(image, before, spacing, centre, factor, kept)
        best = self._candidate(seen, int(seen[0].score.argmax()))
        inside = 0 <= best.at_mm[0] <= width and 0 <= best.at_mm[1] <= height
        surely = inside and best.score >= self.found and best.visible > 0.5
        last = state.elsewhere
        count = 1 + (last[1] if last is not None and math.dist(last[0].at_mm, best.at_mm) < self.again_mm + 1 else 0)
        state = replace(state, elsewhere=(best, count) if surely else None, features=seen[0].features)
        if surely and count >= self.again:
            state = replace(self._take(state, image, spacing, best.at_mm), box_mm=best.box_mm)
            return self._told(state, frame, image, spacing, best, sure=True)
        reason = "the tip was lost and is looked for" if state.ever else "no tip found yet"
        return state, Lost(frame.index, frame.time_s, reason)

    # -- following one -----------------------------------------------------------------------------------------

    def _follow(
        self, state: State, frame: Frame, image: U8, before: U8 | None, spacing: Spacing, dt_s: float
    ) -> tuple[State, Estimate]:
        assert state.belief is not None
        assert state.kept is not None
        belief = self._predict(state.belief, dt_s)
        factor = self.wide if belief.doubt_s > self.doubt_s and round(belief.doubt_s / max(dt_s, 1e-3)) % 2 else 1.0
        seen = self._look(image, before, spacing, belief.at_mm, factor, state.kept)
        best = self._choose(seen, belief)
        far = math.dist(best.at_mm, belief.at_mm)
        fits = far < self.near_mm + 3.0 * belief.sd_mm
        if fits and best.score >= self.believed:
            belief, elsewhere = self._update(belief, best), None
        else:
            belief = replace(belief, doubt_s=belief.doubt_s + dt_s, score=belief.score * 0.9)
            elsewhere = self._rumour(state.elsewhere, best)
            if elsewhere is not None and elsewhere[1] >= self.again:
                state = self._take(replace(state, belief=None), image, spacing, best.at_mm)
                assert state.belief is not None
                belief, elsewhere, fits = state.belief, None, True
        state = replace(state, belief=belief, elsewhere=elsewhere, features=seen[0].features)
        width, height = spacing.to_mm((float(image.shape[1]), float(image.shape[0])))
        x, y = belief.at_mm
        outside = max(-x, -y, x - width, y - height)
        if belief.doubt_s > self.lost_s or belief.sd_mm > self.lost_sd_mm or outside > self.margin_mm:
            why = "the tip has left the image" if outside > self.margin_mm else "the tip is not seen any more"
            return replace(state, belief=None, elsewhere=None, contrast=None), Lost(frame.index, frame.time_s, why)
        accepted = belief.doubt_s == 0.0
        if accepted:
            state = replace(state, box_mm=best.box_mm)
        sure = accepted and best.score >= self.sure and best.visible >= 0.5
        return self._told(state, frame, image, spacing, best, sure=sure)

    def _choose(self, seen: tuple[Answer, float, Point], belief: Belief) -> Candidate:
        """The candidate whose score, lowered far from the prediction, is largest."""
        answer, side, (x0, y0) = seen
        x, y = belief.at_mm
        away = ((answer.centre[:, 0] * side + x0 - x) ** 2 + (answer.centre[:, 1] * side + y0 - y) ** 2) ** 0.5
        reach = self.near_mm + belief.sd_mm
        return self._candidate(seen, int((answer.score * (0.25 + 0.75 * np.exp(-0.5 * (away / reach) ** 2))).argmax()))

    def _rumour(self, last: tuple[Candidate, int] | None, best: Candidate) -> tuple[Candidate, int] | None:
        """How often running a good candidate was where it is now."""
        if best.score < self.found or best.visible < 0.5:
            return None
        same = last is not None and math.dist(last[0].at_mm, best.at_mm) < self.again_mm
        return best, 1 + (last[1] if last is not None and same else 0)

    def _predict(self, belief: Belief, dt_s: float) -> Belief:
        """Constant velocity that settles while the network is in doubt."""
        damp = math.exp(-dt_s / self.settle_s) if belief.doubt_s > 0 else 1.0
        T = np.eye(4)
        T[0, 2] = T[1, 3] = dt_s
        T[2, 2] = T[3, 3] = damp
        q = self.agility * np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
        Q = np.kron(q, np.eye(2))
        return replace(belief, mean=T @ belief.mean, covariance=T @ belief.covariance @ T.T + Q)

    def _update(self, belief: Belief, found: Candidate) -> Belief:
        R = np.eye(2) * max(found.sd_mm, self.sd_least_mm) ** 2
        P = belief.covariance
        gain = P[:, :2] @ np.linalg.inv(P[:2, :2] + R)
        mean = belief.mean + gain @ (np.array(found.at_mm) - belief.mean[:2])
        kept = np.eye(4)
        kept[:, :2] -= gain
        after = kept @ P @ kept.T + gain @ R @ gain.T
        return Belief(mean, 0.5 * (after + after.T), 0.0, belief.score + 0.3 * (found.score - belief.score))

    # -- what is told ------------------------------------------------------------------------------------------

    def _told(
        self, state: State, frame: Frame, image: U8, spacing: Spacing, best: Candidate, *, sure: bool
    ) -> tuple[State, Estimate]:
        belief = state.belief
        assert belief is not None
        contrast = self._rays(image, spacing, belief.at_mm, state.contrast)
        angle = _direction(contrast, state.hint)
        tip = spacing.to_px(belief.at_mm)
        c, s = math.cos(angle), math.sin(angle)
        turn = np.array([[c, s], [-s, c]])
        P = turn @ belief.covariance[:2, :2] @ turn.T
        believed = belief.doubt_s == 0.0
        half = (0.5 * state.box_mm[0] / spacing.x_mm, 0.5 * state.box_mm[1] / spacing.y_mm)
        own = (self.sd_scale * best.sd_mm) ** 2 if believed else 0.0  # errors of frames in a row are alike
        P = P + np.eye(2) * max(own, self.sd_least_mm**2)
        return replace(state, contrast=contrast), TipEstimate(
            frame.index,
            frame.time_s,
            tip,
            angle,
            0.5 * (P + P.T),
            min(max(belief.score, 0.0), 1.0),
            Track.TRACKING if sure else Track.COASTING,
            _entry(tip, (c / spacing.x_mm, s / spacing.y_mm), image.shape[1]),
            visibility=min(max(best.visible, 0.0), 1.0) if believed else 0.0,
            box_px=(tip[0] - half[0], tip[1] - half[1], tip[0] + half[0], tip[1] + half[1]),
        )

    def _rays(self, image: U8, spacing: Spacing, at_mm: Point, old: F32 | None) -> F32:
        fresh = np.empty(DIRECTIONS, np.float32)
        net = self.net()
        step_mm = working_scale(image.shape, spacing, net.search_px, net.scale_mm)
        x, y = spacing.to_px(at_mm)
        n, beside = round(self.ray_mm / step_mm), 1.5 / step_mm
        ray_contrast(image, x, y, step_mm / spacing.x_mm, step_mm / spacing.y_mm, n, beside, fresh)
        return fresh if old is None else (old + np.float32(0.15) * (fresh - old)).astype(np.float32)


def _tiles(width_mm: float, height_mm: float, side_mm: float) -> list[Point]:
    """Middles of squares that cover the image, a third of them overlapping; the middle ones first."""

    def along(length: float) -> list[float]:
        n = max(1, math.ceil((length - side_mm) / (side_mm * 2 / 3)) + 1)
        if n == 1:
            return [length / 2]
        return [side_mm / 2 + k * (length - side_mm) / (n - 1) for k in range(n)]

    tiles = [(x, y) for y in along(height_mm) for x in along(width_mm)]
    return sorted(tiles, key=lambda t: abs(t[0] - width_mm / 2) + abs(t[1] - height_mm / 2))


def _direction(contrast: F32, hint: Hint) -> float:
    """Direction of the brightest shaft that a hint allows, 0 to pi."""
    n = len(contrast)
    angles = math.pi * np.arange(n) / n
    allowed = np.ones(n, np.bool_)
    if hint.angle_rad is not None:
        allowed = (angles >= hint.angle_rad[0]) & (angles <= hint.angle_rad[1])
    elif hint.enters == "left":
        allowed = angles < math.pi / 2
    elif hint.enters == "right":
        allowed = angles > math.pi / 2
    if not allowed.any():
        allowed[:] = True
    k = int(np.where(allowed, contrast, -np.inf).argmax())
    if not 0 < k < n - 1:
        return float(angles[k])
    a, b, c = contrast[k - 1 : k + 2].tolist()
    bend = a - 2 * b + c
    return float(angles[k] + (0.5 * (a - c) / bend * math.pi / n if bend < -1e-6 else 0.0))


def _entry(tip_px: Point, direction: Point, width_px: int) -> Point:
    """Where the axis enters the image, from the tip back."""
    (x, y), (dx, dy) = tip_px, direction
    reach = [
        t
        for t in (
            (y / dy if dy > 1e-9 else math.inf),
            (x / dx if dx > 0 else (x - width_px + 1) / dx if dx < 0 else math.inf),
        )
        if t > 0
    ]
    back = min(reach, default=0.0)
    return (x - back * dx, y - back * dy) if math.isfinite(back) else tip_px
