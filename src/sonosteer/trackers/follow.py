"""One needle hypothesis of `auto`: a curved axis and a grid of beliefs about its tip, followed from frame to frame.

None of this is published. It joins what Mathiassen et al. 2017 leave as future work (curved needles) with an exact
filter.

1. The image is sampled along the axis. z(u) tells how much each point looks like a shaft, g(u) how much it changes more
   than the tissue beside it (`imaging/curved_band.py`).
2. Both become log likelihood ratios. Their running sum is the log likelihood of "the tip is at u".
3. A grid filter over position, velocity and visibility takes it in (`filters/tip_grid.py`).
4. The axis is fitted again to the ridge between anchor and tip: offset, angle, curvature.

What moved is remembered while the needle rests, so that the bright trail of a withdrawn needle stays tissue. Lengths
are px of the working image unless they say mm. `mm` as an argument is the scale, mm per px.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.filters import tip_grid
from sonosteer.imaging import curved_band

#: time between frames for which the probabilities of `Follow` hold, s
NOMINAL_S = 0.05
#: smallest number of px of the axis inside the image that can be followed. chosen: shorter stretches tell nothing
MIN_INSIDE_PX = 30
#: shortest stretch behind the tip that the axis is fitted to, px. chosen: shorter ones turn the axis at random
MIN_FIT_PX = 35
#: smallest sum of the fit's weights, no unit. chosen: below it the axis stays as it is
MIN_FIT_WEIGHT = 8.0
#: smallest radius of a bent needle, mm. chosen: no needle bends to a radius under 60 mm
MIN_RADIUS_MM = 60.0


@dataclass(frozen=True, slots=True)
class Arc:
    """An axis: an arc that begins at an anchor."""

    anchor_px: Point
    """Where it begins, px."""
    angle_rad: float
    """Direction at the anchor, rad."""
    curvature: float = 0.0
    """Curvature, per px (1/px). Positive bends to the right of the direction."""

    def at(self, u: float) -> tuple[Point, float]:
        """Point (px) and direction (rad) at arc length u, px."""
        c, n = math.cos(self.angle_rad), math.sin(self.angle_rad)
        bend = 0.5 * self.curvature * u * u
        point = (self.anchor_px[0] + c * u - n * bend, self.anchor_px[1] + n * u + c * bend)
        return point, self.angle_rad + math.atan(self.curvature * u)

    def bent(self, c0: float, c1: float, c2: float) -> Arc:
        """Move the axis across by c0 + c1 u + c2 u^2, px."""
        c, n = math.cos(self.angle_rad), math.sin(self.angle_rad)
        anchor = (self.anchor_px[0] - n * c0, self.anchor_px[1] + c * c0)
        return Arc(anchor, self.angle_rad + math.atan(c1), self.curvature + 2.0 * c2)

    def moved(self, dx: float, dy: float) -> Arc:
        """Move the axis along with the image, px."""
        return replace(self, anchor_px=(self.anchor_px[0] + dx, self.anchor_px[1] + dy))


@dataclass(frozen=True, slots=True, eq=False)
class Needle:
    """What is believed of one needle."""

    arc: Arc
    """Its axis."""
    belief: F32
    """Probability of visibility, velocity and position, (2, velocities, positions), 0 to 1."""
    still: F32
    """What the last movement showed of each position, log likelihood ratio, no unit."""
    tip: float
    """Mean position of the tip along the axis, px."""
    sd: float
    """Deviation of that position, px."""
    velocity: float
    """Mean velocity along the axis, mm/s."""
    faded: float
    """Probability that the tip cannot be seen, 0 to 1."""
    whole: float
    """Mean score of the axis up to the tip, no unit, about 1.6 on a clear shaft."""
    shaft: float
    """Mean score of the last 8 mm before the tip, no unit, about 1.6 on a clear shaft."""
    moving: float
    """How much the shaft changes more than the tissue beside it, log ratio, no unit."""
    sd_across: float
    """Deviation of the axis across the needle, px."""
    age_s: float = 0.0
    """Time since it was found, s."""
    bad_s: float = 0.0
    """How long there has been no believable shaft, s."""
    inside: int = 0
    """How far the axis lies inside the image, px."""
    hidden_s: float = 0.0
    """How long the tip has not been seen, s."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """An image of the recent past."""

    image: U8
    """Working image, grey levels."""
    age_s: float
    """How long ago it was taken, s."""
    moved_px: Point = (0.0, 0.0)
    """How far the whole picture has moved since, px."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One image along one axis. The arrays are views of the workspace, good until the next look."""

    n: int
    """How far the axis lies inside the image, px. Entries from n on mean nothing."""
    band: F32
    """Image along the axis (u) and across it (y), grey levels."""
    z: F32
    """Score of the shaft at each u, no unit."""
    offset: F32
    """Where across the axis that score is, px."""
    noise: float
    """Noise beside the axis, grey levels."""


class _Workspace:
    """Work arrays for one set of parameters. Each step writes what it reads."""

    def __init__(self, parameters: Follow) -> None:
        n, m, w = parameters.length_px, parameters.speeds_mm_s[2], 2 * parameters.half_px + 1
        self.z, self.offset, self.l, self.ll, self.faded = (np.zeros(n, np.float32) for _ in range(5))
        self.g, self.g2, self.off, self.L, self.p = (np.zeros(n, np.float32) for _ in range(5))
        self.raw, self.band, self.then, self.before = (np.zeros((n, w), np.float32) for _ in range(4))
        self.a, self.b = np.zeros((w, n), np.float32), np.zeros((w, n), np.float32)
        self.mixed = np.zeros((m, n), np.float32)
        self.table = tip_grid.shaft_table(*parameters.table)
        self.fit, self.moments, self.rows = np.zeros(7), np.zeros(4), np.zeros(w, np.float32)


@dataclass(frozen=True)
class Follow:
    """Parameters of one hypothesis.

    chosen: all of them on training and validation scenes.
    """

    half_px: int = 26
    """Half width of the band across the axis, px."""
    length_px: int = 720
    """Longest axis, px."""
    average_mm: float = 0.4
    """Length over which the band is averaged along the axis, each way, mm."""
    lag1_mm: float = 0.3
    """Half width of the narrower ridge looked for, mm."""
    lag2_mm: float = 0.7
    """Half width of the wider ridge looked for, mm."""
    near_mm: float = 0.3
    """How far across the axis a ridge may lie, mm."""
    min_lags_px: tuple[int, int, int] = (2, 6, 2)
    """Smallest values of the two lags and of `near_mm` in px, since coarse images are blurred."""
    correlation_mm: float = 0.66
    """Length over which scores along the axis are alike, mm."""
    evidence_max: float = 1.3
    """Largest log likelihood ratio of one score z, no unit."""
    change_s: float = 0.1
    """Age of the image to compare with, s. Slow needles need a longer one."""
    change_max: float = 1.3
    """Largest log likelihood ratio of one change score g, no unit."""
    change_min: float = 0.37
    """Change of the shaft below which the last movement is remembered instead, no unit."""
    moving_mm: float = 10.0
    """Length of the stretch whose change tells whether the needle moves, mm."""
    rest_below: float = 0.5
    """Change below which the needle is held to be at rest, no unit."""
    slides_min: float = 0.2
    """Correlation of the texture below which nothing slides along the axis, no unit."""
    moves_surely: float = 0.7
    """Change from which the needle moves whatever the texture says, no unit."""
    speeds_mm_s: tuple[float, float, int] = (-24.0, 36.0, 41)
    """Slowest and fastest velocity, mm/s, and the number of velocities."""
    texture_min: float = 0.25
    """Correlation of the texture from which it counts as evidence of a speed, no unit."""
    texture_gain: float = 20.0
    """Weight of the texture's correlation in the likelihood of a speed, no unit."""
    change_fraction: float = 0.55
    """Change expected on a moving shaft, as a fraction of the largest, 0 to 1."""
    change_sd: tuple[float, float, float] = (0.45, 0.3, 0.05)
    """Deviations of the change score on and off a moving shaft, and its mean off it, no unit."""
    walk: float = 0.15
    """Probability that the velocity takes a step each way, 0 to 1 per nominal frame."""
    forget_v: float = 0.05
    """Probability that the velocity is any other, 0 to 1 per nominal frame."""
    forget_u: float = 5e-5
    """Probability that the position is any other, 0 to 1 per nominal frame."""
    fade: float = 0.005
    """Probability that the tip fades from view, 0 to 1 per nominal frame."""
    clear: float = 0.1
    """Probability that a faded tip comes back, 0 to 1 per nominal frame."""
    fade_cost: float = 1.0
    """Log likelihood that a faded tip costs, no unit."""
    beta: float = 0.5
    """Exponent of the likelihood, since neighbouring frames are alike, no unit."""
    bias_mm: float = 0.42
    """How far the end of the bright shaft lies beyond the tip, mm."""
    seen_rate: float = 4.0
    """How fast the time in hiding is forgotten once the tip is seen, s per s."""
    gain: float = 0.35
    """Fraction of the measured offset and slope by which the axis moves, 0 to 1."""
    reach_mm: float = 1.6
    """How far across the axis parallel echoes are looked for, mm."""
    upper_fraction: float = 0.7
    """Score, as a fraction of the strongest, from which an upper ridge is the surface, 0 to 1."""
    bend_gain: float = 0.25
    """Fraction of the measured curvature by which the axis bends, 0 to 1."""
    bend_from_mm: float = 16.0
    """Length from which the curvature is fitted, mm."""
    table: tuple[float, float] = (0.15, 0.06)
    """Fraction of a shaft that is not seen, and fraction of tissue as bright as a shaft, 0 to 1."""
    _work: _Workspace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_work", _Workspace(self))

    def begin(self, arc: Arc, tip: float, sd: float) -> Needle:
        """Start a hypothesis whose tip is at `tip` +- sd along an axis, with all velocities equally likely."""
        m, n = self.speeds_mm_s[2], self.length_px
        u = np.arange(n)
        at = np.exp(-0.5 * ((u - tip) / sd) ** 2) + 1e-6
        belief = np.zeros((2, m, n), np.float32)
        belief[0] = at / at.sum() / m
        return Needle(
            arc=arc,
            belief=belief,
            still=np.zeros(n, np.float32),
            tip=tip,
            sd=sd,
            velocity=0.0,
            faded=0.0,
            whole=0.0,
            shaft=0.0,
            moving=0.0,
            sd_across=3.0,  # chosen: px, of a fresh axis
        )

    def step(self, needle: Needle, image: U8, earlier: tuple[Earlier, ...], dt_s: float, mm: float) -> Needle:
        """Follow the needle through one frame. earlier: the images one and two `change_s` ago."""
        look = self.look(needle.arc, image, mm)
        belief = self._predict(needle, dt_s, mm)
        if look.n < MIN_INSIDE_PX:
            return replace(needle, belief=belief, age_s=needle.age_s + dt_s, bad_s=needle.bad_s + dt_s, inside=look.n)
        still, moving, like_v = self._movement(needle, look, earlier, mm)
        mean, variance, velocity, hidden = self._update(belief, look, still, like_v, dt_s, mm)
        belief.flags.writeable = False
        tip = min(max(mean, 20.0), float(look.n - 1))
        arc, sd_across = self.fit(look, needle.arc, needle.sd_across, tip, mm)
        low = max(int(min(tip - 8.0 / mm, tip - 10)), 0)
        score = np.clip(look.z[: max(int(tip), low + 5)], -0.5, 2.5)
        shaft, whole = float(score[low:].mean()), float(score.mean())
        return Needle(
            arc=arc,
            belief=belief,
            still=still,
            tip=mean,
            sd=math.sqrt(variance),
            velocity=velocity / max(dt_s, 1e-6) * mm,
            faded=hidden,
            whole=whole,
            shaft=shaft,
            moving=moving,
            sd_across=sd_across,
            age_s=needle.age_s + dt_s,
            bad_s=needle.bad_s,
            inside=look.n,
            hidden_s=needle.hidden_s + dt_s if hidden > 0.5 else max(0.0, needle.hidden_s - self.seen_rate * dt_s),
        )

    # -- the steps of one frame ----------------------------------------------------------------------------

    def _predict(self, needle: Needle, dt_s: float, mm: float) -> F32:
        """Let the grid's positions and velocities go on for dt_s."""
        W, steps = self._work, dt_s / NOMINAL_S
        belief = np.empty_like(needle.belief)
        tip_grid.predict_grid(
            needle.belief,
            self._speeds() * dt_s / mm,
            min(self.walk * steps, 0.3),
            min(self.forget_v * steps, 0.5),
            min(self.forget_u * steps, 0.1),
            min(self.fade * steps, 0.3),
            min(self.clear * steps, 0.6),
            W.mixed,
            belief,
        )
        return belief

    def _movement(self, needle: Needle, look: Look, earlier: tuple[Earlier, ...], mm: float) -> tuple[F32, float, F32]:
        """Compare with earlier images. Returns (what movement shows at each u, how much, likelihood of velocities)."""
        still, moving = needle.still, 0.0
        like_v = np.ones(self.speeds_mm_s[2], np.float32)
        if not earlier:
            return still, moving, like_v
        bands = self.sample_earlier(needle.arc, earlier, mm)
        still, moving = self._change(needle, look, bands, mm)
        if len(earlier) > 1:
            like_v, alike = self._like_speeds(needle, look, bands, earlier, mm)
            if alike < self.slides_min and moving < self.moves_surely:  # noise: nothing slides along the axis
                still, moving = needle.still, min(moving, self.rest_below - 0.3)
        rest = min(max((self.rest_below - moving) / 0.3, 0.0), 1.0)
        like_v = like_v * np.exp(-0.5 * rest * (self._speeds() / 2.0) ** 2).astype(np.float32)
        return still, moving, like_v

    def _update(
        self, belief: F32, look: Look, still: F32, like_v: F32, dt_s: float, mm: float
    ) -> tuple[float, float, float, float]:
        """Weigh the grid, in place. Returns (mean, variance, mean velocity in px per frame, probability of faded)."""
        W, n = self._work, look.n
        correlation = max(self.correlation_mm / mm, 2.0)
        tip_grid.shaft_evidence(look.z, n, W.table, self.evidence_max, W.l)
        W.l[:n] += still[:n]
        tip_grid.tip_likelihood(W.l, n, correlation, W.ll, W.faded)
        beta = self.beta * min(dt_s / NOMINAL_S, 1.0)
        tip_grid.weigh_grid(belief, W.ll, W.faded, beta, self.fade_cost, like_v, W.L)
        tip_grid.grid_moments(belief, self._speeds() * dt_s / mm, W.p, W.moments)
        mean, variance, velocity, hidden = W.moments.tolist()
        return mean, variance, velocity, hidden

    # -- looking along an axis -----------------------------------------------------------------------------

    def look(self, arc: Arc, image: U8, mm: float, near: int = 0) -> Look:
        """Sample an image along an axis and score it. near: px more across the axis for a ridge to lie in."""
        W = self._work
        n = self._sample(arc, image, mm, W.band)
        w1, w2, r = self._lags(mm)
        noise = curved_band.shaft_profile(W.band, n, w1, w2, r + near, W.z, W.offset)
        return Look(n, W.band, W.z, W.offset, noise)

    def _lags(self, mm: float) -> tuple[int, int, int]:
        """Both lags of the ridge score and how far across it is looked for, px."""
        lags = (self.lag1_mm, self.lag2_mm, self.near_mm)
        w1, w2, r = (max(px, round(length / mm)) for px, length in zip(self.min_lags_px, lags, strict=True))
        return w1, w2, r

    def sample_earlier(self, axis: Arc, earlier: tuple[Earlier, ...], mm: float) -> tuple[F32, ...]:
        """Bands of one or two earlier images along the present axis, good until the next call."""
        bands = (self._work.then, self._work.before)[: len(earlier)]
        for one, band in zip(earlier, bands, strict=False):
            self._sample(axis.moved(-one.moved_px[0], -one.moved_px[1]), one.image, mm, band)
        return bands

    def _sample(self, arc: Arc, image: U8, mm: float, into: F32) -> int:
        """Sample an image along an axis into a band. Returns how far the axis lies inside the image, px."""
        c, d = math.cos(arc.angle_rad), math.sin(arc.angle_rad)
        s = max(1, round(self.average_mm / mm))
        n: int = curved_band.sample_arc(image, *arc.anchor_px, c, d, arc.curvature, s, self._work.raw, into)
        return n

    def end(self, look: Look, mm: float) -> tuple[float, float]:
        """Find where the line ends by brightness alone. Returns (px along the axis, log likelihood there)."""
        W = self._work
        tip_grid.shaft_evidence(look.z, look.n, W.table, self.evidence_max, W.l)
        peak, at = tip_grid.tip_likelihood(W.l, look.n, max(self.correlation_mm / mm, 2.0), W.ll, W.faded)
        return float(at), peak

    def texture(
        self, look: Look, bands: tuple[F32, ...], earlier: tuple[Earlier, ...], tip: float, mm: float
    ) -> tuple[F64, F32] | None:
        """Correlate the shaft's texture with itself moved along the axis.

        bands: those of `earlier`, from `sample_earlier`. Returns (speeds in mm/s, correlation at each). None unless
        there are two earlier images at equal intervals.
        """
        if len(earlier) < 2:
            return None
        first, last = earlier
        a_s, b_s = first.age_s, last.age_s - first.age_s
        if not abs(a_s - b_s) + 1e-9 <= 0.2 * a_s:  # chosen: a fifth apart is still equal
            return None
        lag_s = 0.5 * (a_s + b_s)
        low_v, high_v, _ = self.speeds_mm_s
        low, high = math.floor(low_v * lag_s / mm) - 1, math.ceil(high_v * lag_s / mm) + 1
        c = np.zeros(high - low + 1, np.float32)
        end = int(min(max(tip, 60.0), look.n - 1))
        near = max(2, round(0.6 / mm))
        then, before = bands
        curved_band.texture_shift(look.band, then, before, 5, end, near, low, high, self._work.a, self._work.b, c)
        return (np.arange(low, high + 1) * (mm / lag_s)).astype(np.float64), c

    def _like_speeds(
        self, needle: Needle, look: Look, bands: tuple[F32, ...], earlier: tuple[Earlier, ...], mm: float
    ) -> tuple[F32, float]:
        """Likelihood of each velocity by how the shaft's texture moved, and the best correlation."""
        speeds = self._speeds()
        found = self.texture(look, bands, earlier, needle.tip + 2 * needle.sd, mm)
        if found is None:
            return np.ones(len(speeds), np.float32), 1.0
        at = np.interp(speeds, *found)
        best = float(at.max())
        sure = min(max((best - self.texture_min) / 0.3, 0.0), 1.0)
        out: F32 = np.exp(self.texture_gain * sure * (at - best)).astype(np.float32)
        return out, best

    def _change(self, needle: Needle, look: Look, bands: tuple[F32, ...], mm: float) -> tuple[F32, float]:
        """What movement shows, or last showed, at each u, and how much the shaft moves."""
        W, n = self._work, look.n
        near, far, smooth = max(2, round(0.6 / mm)), max(6, round(1.6 / mm)), max(5, round(2.0 / mm))
        far = min(far, self.half_px - 4)
        for then, g in zip(bands, (W.g, W.g2), strict=False):
            curved_band.change_profile(look.band, then, n, near, far, smooth, W.off, g)
        if len(bands) > 1:
            W.g[:n] = 0.5 * (W.g[:n] + W.g2[:n])
        end = int(min(max(needle.tip, 8.0 / mm), n - 1))
        moving = curved_band.max_window_mean(W.g, end, max(8, round(self.moving_mm / mm)))
        if moving < self.change_min:
            return needle.still, moving
        still = np.zeros_like(needle.still)
        sd_on, sd_off, rest = self.change_sd
        expected = min(self.change_fraction * moving, 1.2)
        tip_grid.change_evidence(W.g, n, expected, sd_on, rest, sd_off, self.change_max, still)
        return still, moving

    # -- the axis ------------------------------------------------------------------------------------------

    def fit(self, look: Look, arc: Arc, sd_across: float, tip: float, mm: float) -> tuple[Arc, float]:
        """Move the axis towards the ridge between anchor and tip. Returns it and its deviation across, px."""
        last = int(tip) - 3
        if last < MIN_FIT_PX:
            return arc, sd_across
        arc = self._upwards(look, arc, last, mm)
        fit = self._work.fit
        weight = curved_band.refit(look.z, look.offset, 5, last, 400.0, 2e7, fit)
        if weight < MIN_FIT_WEIGHT:
            return arc, min(sd_across * 1.05 + 0.05, 1.0 / mm)
        um, ym, b, k, m2, rms, spread = fit.tolist()
        independent = max(weight / 12.0, 1.0)
        lever = (tip - um) / max(spread, 5.0)
        sd = math.sqrt(rms**2 / independent * (1.0 + lever**2) + 0.25)
        bend = self.bend_gain * k if last * mm > self.bend_from_mm else 0.0
        c1 = self.gain * b - 2.0 * bend * um
        c0 = self.gain * (ym - b * um) + bend * (um * um - m2)
        bent = arc.bent(c0, c1, bend)
        limit = mm / MIN_RADIUS_MM
        return replace(bent, curvature=min(max(bent.curvature, -limit), limit)), sd

    def _upwards(self, look: Look, arc: Arc, last: int, mm: float) -> Arc:
        """Move the axis to the upper surface, if it has come to lie on an echo below it."""
        w1, w2, r = self._lags(mm)
        reach = min(round(self.reach_mm / mm), self.half_px - w2 - 1)
        up = -1 if math.cos(arc.angle_rad) >= 0 else 1
        middle = max(5 + last // 2, 20)
        places, found = [], []
        for first, end in ((5, middle), (middle, last)):
            if end - first < 12:
                return arc
            y, score = curved_band.upper_ridge(
                look.band, first, end, w1, w2, reach, up, look.noise, self.upper_fraction, self._work.rows
            )
            places.append(0.5 * (first + end))
            found.append(float(y) if score > 0.0 else 0.0)
        if max(abs(found[0]), abs(found[1])) <= r:
            return arc
        slope = (found[1] - found[0]) / (places[1] - places[0])
        return arc.bent(self.gain * (found[0] - slope * places[0]), self.gain * slope, 0.0)

    def _speeds(self) -> F64:
        """Velocities of the grid, mm/s."""
        low, high, m = self.speeds_mm_s
        return np.linspace(low, high, m)
