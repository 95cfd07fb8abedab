"""One needle hypothesis of `auto`: a curved axis and a grid of beliefs about its tip, carried from frame to frame.

None of this is published: it joins what Paper T leaves as future work (curved needles) with an exact filter.

1. The image is sampled along the axis; z(u) says how much each point looks like a shaft, g(u) how much it changes
   more than the tissue beside it (`imaging/curved_band.py`).
2. Both become log likelihood ratios; their running sum is the log likelihood of "the tip is at u".
3. A grid filter over position, velocity and visibility takes it in (`filters/tip_grid.py`).
4. The axis is fitted again to the ridge between anchor and tip: offset, angle, curvature.

What moved is remembered while the needle rests, so that the bright trail of a withdrawn needle stays tissue.
Lengths here are px of the working image unless they say mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.filters import tip_grid
from sonosteer.imaging import curved_band

NOMINAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Arc:
    """An axis: anchor, direction there in rad, curvature in 1/px (positive: to the right of the direction)."""

    anchor_px: Point
    angle_rad: float
    curvature: float = 0.0

    def at(self, u: float) -> tuple[Point, float]:
        """Point and direction at arc length u."""
        c, n = math.cos(self.angle_rad), math.sin(self.angle_rad)
        bend = 0.5 * self.curvature * u * u
        point = (self.anchor_px[0] + c * u - n * bend, self.anchor_px[1] + n * u + c * bend)
        return point, self.angle_rad + math.atan(self.curvature * u)

    def bent(self, c0: float, c1: float, c2: float) -> Arc:
        """The axis moved across by c0 + c1 u + c2 u^2."""
        c, n = math.cos(self.angle_rad), math.sin(self.angle_rad)
        anchor = (self.anchor_px[0] - n * c0, self.anchor_px[1] + c * c0)
        return Arc(anchor, self.angle_rad + math.atan(c1), self.curvature + 2.0 * c2)

    def moved(self, dx: float, dy: float) -> Arc:
        """The axis moved along with the image."""
        return replace(self, anchor_px=(self.anchor_px[0] + dx, self.anchor_px[1] + dy))


@dataclass(frozen=True, slots=True, eq=False)
class Needle:
    """What is believed of one needle. belief: (2, velocities, positions). still: what the last movement showed.

    tip, sd, sd_across: px; velocity: mm/s; faded: probability that the tip cannot be seen; shaft, whole: mean score of
    the last 8 mm and of the whole axis up to the tip, about 1.6 on a clear shaft; moving: how much it moves;
    hidden_s: how long the tip has not been seen.
    """

    arc: Arc
    belief: F32
    still: F32
    tip: float
    sd: float
    velocity: float
    faded: float
    whole: float
    shaft: float
    moving: float
    sd_across: float
    age_s: float = 0.0
    bad_s: float = 0.0
    inside: int = 0
    hidden_s: float = 0.0

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """An image of the recent past: how long ago, and by how much the picture as a whole has moved since."""

    image: U8
    age_s: float
    moved_px: Point = (0.0, 0.0)


@dataclass(frozen=True)
class Follow:
    """Parameters of one hypothesis. Lengths in mm, times in s; all ours, chosen on training and validation scenes."""

    half_px: int = 26  # of the band across the axis
    length_px: int = 720
    average_mm: float = 0.4
    lag1_mm: float = 0.3
    lag2_mm: float = 0.7
    near_mm: float = 0.3
    least_px: tuple[int, int, int] = (2, 6, 2)  # of the two lags and of `near`: coarse images are blurred
    correlation_mm: float = 0.66
    evidence_max: float = 1.3
    change_s: float = 0.1
    change_max: float = 1.3
    change_min: float = 0.37
    moving_mm: float = 10.0
    rest_below: float = 0.5
    slides_least: float = 0.2
    moves_surely: float = 0.7
    speeds_mm_s: tuple[float, float, int] = (-24.0, 36.0, 41)
    texture_least: float = 0.25
    texture_gain: float = 20.0
    change_share: float = 0.55
    change_sd: tuple[float, float, float] = (0.45, 0.3, 0.05)
    walk: float = 0.15
    forget_v: float = 0.05
    forget_u: float = 5e-5
    fade: float = 0.005
    clear: float = 0.1
    fade_cost: float = 1.0
    beta: float = 0.5
    bias_mm: float = 0.42
    seen_rate: float = 4.0  # how fast the time in hiding is forgotten
    gain: float = 0.35
    reach_mm: float = 1.6
    upper_share: float = 0.7
    bend_gain: float = 0.25
    bend_from_mm: float = 16.0
    table: tuple[float, float] = (0.15, 0.06)
    _store: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def begin(self, arc: Arc, tip: float, sd: float) -> Needle:
        """A hypothesis whose tip is at `tip` +- sd along an axis; velocities equally likely."""
        m, n = self.speeds_mm_s[2], self.length_px
        u = np.arange(n)
        at = np.exp(-0.5 * ((u - tip) / sd) ** 2) + 1e-6
        belief = np.zeros((2, m, n), np.float32)
        belief[0] = at / at.sum() / m
        return Needle(arc, belief, np.zeros(n, np.float32), tip, sd, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0)

    def step(self, needle: Needle, image: U8, earlier: tuple[Earlier, ...], dt_s: float, mm: float) -> Needle:
        """One frame. earlier: the image `change_s` ago and by how much the picture has moved since, in px."""
        W = self.work()
        steps = dt_s / NOMINAL_S
        arc = needle.arc
        n = self.look(arc, image, mm)
        z, gain, ll, faded = W["z"], W["l"], W["ll"], W["faded"]
        v_px = self._speeds() * dt_s / mm
        belief = np.empty_like(needle.belief)
        tip_grid.predict(
            needle.belief,
            v_px,
            min(self.walk * steps, 0.3),
            min(self.forget_v * steps, 0.5),
            min(self.forget_u * steps, 0.1),
            min(self.fade * steps, 0.3),
            min(self.clear * steps, 0.6),
            W["mixed"],
            belief,
        )
        if n < 30:
            return replace(needle, belief=belief, age_s=needle.age_s + dt_s, bad_s=needle.bad_s + dt_s, inside=n)
        correlation = max(self.correlation_mm / mm, 2.0)
        tip_grid.shaft_evidence(z, n, W["table"], self.evidence_max, gain)
        still, moving = needle.still, 0.0
        like_v = np.ones(len(v_px), np.float32)
        if earlier:
            still, moving = self._change(needle, earlier, n, mm)
        if len(earlier) > 1:
            like_v, alike = self._like_speeds(needle, earlier, n, mm)
            if alike < self.slides_least and moving < self.moves_surely:  # noise: nothing slides along the axis
                still, moving = needle.still, min(moving, self.rest_below - 0.3)
        if earlier:
            rest = min(max((self.rest_below - moving) / 0.3, 0.0), 1.0)
            like_v = like_v * np.exp(-0.5 * rest * (self._speeds() / 2.0) ** 2).astype(np.float32)
        gain[:n] += still[:n]
        tip_grid.tip_likelihood(gain, n, correlation, ll, faded)
        tip_grid.weigh(belief, ll, faded, self.beta * min(steps, 1.0), self.fade_cost, like_v, W["L"])
        moments = W["moments"]
        tip_grid.moments(belief, v_px, W["p"], moments)
        mean, variance, velocity, hidden = moments.tolist()
        belief.flags.writeable = False
        tip = min(max(mean, 20.0), float(n - 1))
        arc, sd_across = self.fit(arc, needle.sd_across, tip, mm)
        low = max(int(min(tip - 8.0 / mm, tip - 10)), 0)
        score = np.clip(z[: max(int(tip), low + 5)], -0.5, 2.5)
        shaft, whole = float(score[low:].mean()), float(score.mean())
        return Needle(
            arc,
            belief,
            still,
            mean,
            math.sqrt(variance),
            velocity / max(dt_s, 1e-6) * mm,
            hidden,
            whole,
            shaft,
            moving,
            sd_across,
            needle.age_s + dt_s,
            needle.bad_s,
            n,
            needle.hidden_s + dt_s if hidden > 0.5 else max(0.0, needle.hidden_s - self.seen_rate * dt_s),
        )

    def look(self, arc: Arc, image: U8, mm: float, near: int = 0) -> int:
        """z and offset along the axis, in the workspace; returns how far the axis is inside. near: px more across."""
        W = self.work()
        n = self._sample(arc, image, mm, "band")
        w1, w2, r = self._lags(mm)
        W["noise"] = curved_band.shaft_profile(W["band"], n, w1, w2, r + near, W["z"], W["offset"])
        return n

    def _lags(self, mm: float) -> tuple[int, int, int]:
        """The two lags of the ridge score and how far across it is looked for, in px."""
        least = self.least_px
        lags = (self.lag1_mm, self.lag2_mm, self.near_mm)
        w1, w2, r = (max(px, round(length / mm)) for px, length in zip(least, lags, strict=True))
        return w1, w2, r

    def sample_earlier(self, axis: Arc, earlier: tuple[Earlier, ...], mm: float) -> None:
        """One or two earlier images along the present axis: `then` and `before` of the workspace."""
        for one, name in zip(earlier, ("then", "before"), strict=False):
            self._sample(axis.moved(-one.moved_px[0], -one.moved_px[1]), one.image, mm, name)

    def _sample(self, arc: Arc, image: U8, mm: float, into: str) -> int:
        """An image along an axis, into the workspace; returns how far the axis is inside."""
        W = self.work()
        c, d = math.cos(arc.angle_rad), math.sin(arc.angle_rad)
        s = max(1, round(self.average_mm / mm))
        n: int = curved_band.sample_arc(image, *arc.anchor_px, c, d, arc.curvature, s, W["raw"], W[into])
        return n

    def end(self, n: int, mm: float) -> tuple[float, float]:
        """(where the line that was looked at ends by brightness alone, how sure that is)."""
        W = self.work()
        tip_grid.shaft_evidence(W["z"], n, W["table"], self.evidence_max, W["l"])
        peak, at = tip_grid.tip_likelihood(W["l"], n, max(self.correlation_mm / mm, 2.0), W["ll"], W["faded"])
        return float(at), peak

    def texture(self, tip: float, n: int, earlier: tuple[Earlier, ...], mm: float) -> tuple[F64, F32] | None:
        """(speeds in mm/s, correlation of the shaft's texture with itself moved along the axis at each).

        From three images, sampled along the axis before (`look`, `sample_earlier`); None unless their intervals are
        equal.
        """
        W = self.work()
        if len(earlier) < 2:
            return None
        first, last = earlier
        a_s, b_s = first.age_s, last.age_s - first.age_s
        if not abs(a_s - b_s) + 1e-9 <= 0.2 * a_s:
            return None
        lag_s = 0.5 * (a_s + b_s)
        low_v, high_v, _ = self.speeds_mm_s
        low, high = math.floor(low_v * lag_s / mm) - 1, math.ceil(high_v * lag_s / mm) + 1
        c = np.zeros(high - low + 1, np.float32)
        end = int(min(max(tip, 60.0), n - 1))
        near = max(2, round(0.6 / mm))
        curved_band.texture_shift(W["band"], W["then"], W["before"], 5, end, near, low, high, W["a"], W["b"], c)
        return (np.arange(low, high + 1) * (mm / lag_s)).astype(np.float64), c

    def _like_speeds(self, needle: Needle, earlier: tuple[Earlier, ...], n: int, mm: float) -> tuple[F32, float]:
        """(how well each velocity explains how the shaft's texture moved, how alike it is at the best one)."""
        speeds = self._speeds()
        found = self.texture(needle.tip + 2 * needle.sd, n, earlier, mm)
        if found is None:
            return np.ones(len(speeds), np.float32), 1.0
        at = np.interp(speeds, *found)
        best = float(at.max())
        sure = min(max((best - self.texture_least) / 0.3, 0.0), 1.0)
        out: F32 = np.exp(self.texture_gain * sure * (at - best)).astype(np.float32)
        return out, best

    def _change(self, needle: Needle, earlier: tuple[Earlier, ...], n: int, mm: float) -> tuple[F32, float]:
        """(what movement says or last said at each u, how much the shaft moves)."""
        W = self.work()
        near, far, smooth = max(2, round(0.6 / mm)), max(6, round(1.6 / mm)), max(5, round(2.0 / mm))
        far = min(far, self.half_px - 4)
        g = W["g"]
        self.sample_earlier(needle.arc, earlier, mm)
        for k, name in enumerate(("then", "before")[: len(earlier)]):
            curved_band.change_profile(W["band"], W[name], n, near, far, smooth, W["off"], W["g2"] if k else g)
        if len(earlier) > 1:
            g[:n] = 0.5 * (g[:n] + W["g2"][:n])
        end = int(min(max(needle.tip, 8.0 / mm), n - 1))
        moving = curved_band.largest_window_mean(g, end, max(8, round(self.moving_mm / mm)))
        if moving < self.change_min:
            return needle.still, moving
        still = np.zeros_like(needle.still)
        sd_on, sd_off, rest = self.change_sd
        expected = min(self.change_share * moving, 1.2)
        tip_grid.change_evidence(g, n, expected, sd_on, rest, sd_off, self.change_max, still)
        return still, moving

    def fit(self, arc: Arc, sd_across: float, tip: float, mm: float) -> tuple[Arc, float]:
        """The axis moved towards the ridge between anchor and tip, and how sure that is across, in px."""
        W = self.work()
        last = int(tip) - 3
        if last < 35:
            return arc, sd_across
        arc = self._upwards(arc, last, mm)
        fit = W["fit"]
        weight = curved_band.refit(W["z"], W["offset"], 5, last, 400.0, 2e7, fit)
        if weight < 8.0:
            return arc, min(sd_across * 1.05 + 0.05, 1.0 / mm)
        um, ym, b, k, m2, rms, spread = fit.tolist()
        independent = max(weight / 12.0, 1.0)
        lever = (tip - um) / max(spread, 5.0)
        sd = math.sqrt(rms**2 / independent * (1.0 + lever**2) + 0.25)
        bend = self.bend_gain * k if last * mm > self.bend_from_mm else 0.0
        c1 = self.gain * b - 2.0 * bend * um
        c0 = self.gain * (ym - b * um) + bend * (um * um - m2)
        bent = arc.bent(c0, c1, bend)
        limit = mm / 60.0  # ours: no needle bends to a radius under 60 mm
        return replace(bent, curvature=min(max(bent.curvature, -limit), limit)), sd

    def _upwards(self, arc: Arc, last: int, mm: float) -> Arc:
        """The axis moved to the upper surface, if it has come to lie on an echo below it."""
        W = self.work()
        w1, w2, r = self._lags(mm)
        reach = min(round(self.reach_mm / mm), self.half_px - w2 - 1)
        up = -1 if math.cos(arc.angle_rad) >= 0 else 1
        middle = max(5 + last // 2, 20)
        places, found = [], []
        for first, end in ((5, middle), (middle, last)):
            if end - first < 12:
                return arc
            y, score = curved_band.upper_ridge(
                W["band"], first, end, w1, w2, reach, up, W["noise"], self.upper_share, W["rows"]
            )
            places.append(0.5 * (first + end))
            found.append(float(y) if score > 0.0 else 0.0)
        if max(abs(found[0]), abs(found[1])) <= r:
            return arc
        slope = (found[1] - found[0]) / (places[1] - places[0])
        return arc.bent(self.gain * (found[0] - slope * places[0]), self.gain * slope, 0.0)

    def _speeds(self) -> F64:
        low, high, m = self.speeds_mm_s
        return np.linspace(low, high, m)

    def work(self) -> dict[str, Any]:
        """The workspace, by name; what a call leaves in it is good until the next."""
        W = self._store
        if not W:
            n, m, w = self.length_px, self.speeds_mm_s[2], 2 * self.half_px + 1
            for name in ("z", "offset", "l", "ll", "faded", "g", "g2", "off", "L", "p"):
                W[name] = np.zeros(n, np.float32)
            for name in ("raw", "band", "then", "before"):
                W[name] = np.zeros((n, w), np.float32)
            W.update(a=np.zeros((w, n), np.float32), b=np.zeros((w, n), np.float32), mixed=np.zeros((m, n), np.float32))
            W.update(
                table=tip_grid.shaft_table(*self.table),
                fit=np.zeros(7),
                moments=np.zeros(4),
                rows=np.zeros(w, np.float32),
            )
        return W
