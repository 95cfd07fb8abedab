"""Finds a needle with nothing given: a line whose texture slides along it, or that grows or shrinks at its end.

Brightness cannot tell a needle from a fascia. Movement along its own axis can. Candidate lines come from single images
and from the change between two (`imaging/line_search.py`). Each is tested against earlier images, sampled along its
present axis. None of this is published.

There are two ways to pass:
* texture: between three images the shaft's texture moved along the axis, at one speed, twice in a row;
* growth: between the ends that the line had then and has now, shaft appeared (or vanished) where there was none, while
  the brightness beside it stayed. A shadow or lost contact changes both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.arrays import F32, U8
from sonosteer.imaging.line_search import Line
from sonosteer.trackers.follow import Arc, Earlier, Follow, Look
from sonosteer.trackers.start import Family

#: shortest axis inside the image that is tested, mm. chosen: shorter ones tell nothing
MIN_INSIDE_MM = 6.0
#: flattest axis of a needle, rad. chosen: as the flattest lines of `FAMILIES`
MIN_ANGLE_RAD = math.radians(8)
#: angle below which a line must show more growth, deg. chosen: at 0 degrees it needs twice as much
SHALLOW_DEG = 25.0


@dataclass(frozen=True, slots=True)
class NeedleCandidate:
    """A line under suspicion."""

    arc: Arc
    """Its axis."""
    tip: float
    """Where it ends by brightness, px along the axis."""
    score: float
    """Score of the search. 0 drops it, no unit."""
    born_s: float
    """Time when it was found, s."""
    seen_s: float
    """Time when the search last found it, s."""
    tested_s: float | None = None
    """Time of its last test, s. None before the first."""
    grew: float = 0.0
    """Smoothed evidence of growth, log likelihood ratio, no unit."""
    rows: int = 0
    """Number of tests in a row that agreed on growth."""
    sign: float = 0.0
    """Sign of that growth: +1 where shaft appeared, -1 where it vanished, no unit."""
    speed_mm_s: float | None = None
    """Speed at which its texture slid in the last test, mm/s. None if it did not."""
    length: float = 0.0
    """How long the search saw it, px."""
    slid: float = 0.0
    """Summed weak evidence that its texture slides, correlation, no unit."""
    slides: int = 0
    """Number of tests in a row that agreed on `slid_mm_s`."""
    slid_mm_s: float = 0.0
    """Mean speed of those tests, mm/s."""
    known: bool = False
    """True if it is a needle that was lost. It has only to look like one again."""


@dataclass(frozen=True)
class MovingStart:
    """Thresholds of the start.

    chosen: all of them on training and validation scenes.
    """

    keep: int = 6
    """Largest number of candidates."""
    near_mm: float = 1.5
    """Distance across within which two lines are the same, mm."""
    near_rad: float = math.radians(5)
    """Angle within which two lines are the same, rad."""
    min_score: float = 2.7
    """Lowest score of a new candidate, no unit."""
    forget_s: float = 1.5
    """How long a candidate without evidence is kept unseen, s."""
    texture_min: float = 0.42
    """Correlation of the texture from which it slides for sure, no unit."""
    min_peak: float = 1.0
    """Lowest log likelihood of a line's end, no unit. Below it the candidate is dropped."""
    slid_min: float = 0.2
    """Correlation of the texture from which weak evidence adds up, no unit."""
    slid_sum: float = 1.0
    """Sum of weak evidence that starts a needle, no unit."""
    slid_tests: int = 4
    """Number of agreeing tests that weak evidence needs."""
    slid_same_mm_s: float = 2.0
    """Difference within which weakly measured speeds agree, mm/s."""
    long_score: float = 7.0
    """Score from which a line is trusted as far as the search saw it, no unit."""
    long_stricter: float = 0.1
    """How much more correlation such a line needs, no unit."""
    texture_margin: float = 0.2
    """How much the correlation must exceed that at rest, no unit."""
    min_speed_mm_s: float = 2.0
    """Slowest sliding that counts, mm/s."""
    same_speed_mm_s: float = 3.0
    """Difference within which two tests agree on a speed, mm/s."""
    grow_mm: float = 1.4
    """Shortest growth that counts, mm."""
    grow_sum: float = 10.0
    """Smoothed evidence of growth that starts a needle, no unit."""
    grow_each: float = 2.2
    """Evidence from which one test agrees on growth, no unit."""
    grow_rows: int = 8
    """Number of agreeing tests in a row that start a needle."""
    grow_max: float = 12.0
    """Largest evidence of one test, no unit."""
    grow_shaft: float = 0.9
    """Mean score above which the grown stretch is shaft, no unit."""
    grow_gone: float = 0.85
    """Mean score below which that stretch was not shaft before, no unit."""
    grow_peak: float = 8.0
    """Log likelihood of the end that growth in a row needs, no unit."""
    grow_min_rows: int = 3
    """Smallest number of agreeing tests for any growth."""
    known_s: float = 20.0
    """How long a lost needle is looked for on its old axis, s."""
    known_peak: float = 7.0
    """Log likelihood of the end from which a lost needle is back, no unit."""
    known_score: float = 0.9
    """Mean score from which a lost needle is back, no unit."""
    min_length_mm: float = 8.0
    """Shortest needle, mm."""
    peak: float = 6.0
    """Log likelihood of the end from which a line is trusted that far, no unit."""
    references_s: tuple[float, ...] = (0.4, 1.6, 6.0)
    """Ages of the images that growth is measured against, s."""

    def remember(
        self, candidates: tuple[NeedleCandidate, ...], lines: list[Line], mm: float, time_s: float
    ) -> tuple[NeedleCandidate, ...]:
        """Update the candidates after a search. lines: in px of the working image, best first."""
        out = list(candidates)
        for line in lines[: self.keep]:
            if line.score < self.min_score:
                continue
            same = next((i for i, c in enumerate(out) if self._same(c, line, mm)), None)
            if same is not None:
                c = out[same]
                score = max(line.score, c.score + 0.3 * (line.score - c.score))
                out[same] = replace(c, seen_s=time_s, score=score, length=math.dist(line.entry_px, line.tip_px))
                continue
            length = math.dist(line.entry_px, line.tip_px)
            out.append(
                NeedleCandidate(
                    arc=Arc(line.entry_px, line.angle_rad),
                    tip=length,
                    score=line.score,
                    born_s=time_s,
                    seen_s=time_s,
                    length=length,
                )
            )
        out = [c for c in out if self._worth(c, time_s)]
        out.sort(key=lambda c: -(c.score + c.grew + 5.0 * (c.speed_mm_s is not None) + 99.0 * c.known))
        return tuple(out[: self.keep])

    def _worth(self, c: NeedleCandidate, time_s: float) -> bool:
        """True if a candidate is worth keeping."""
        if c.known:
            return time_s - c.born_s < self.known_s
        return time_s - c.seen_s < self.forget_s or c.grew > 1.0 or c.speed_mm_s is not None

    def _same(self, c: NeedleCandidate, line: Line, mm: float) -> bool:
        """True if a line is the candidate's own."""
        if abs(c.arc.angle_rad - line.angle_rad) > self.near_rad:
            return False
        half = 0.5 * math.dist(line.entry_px, line.tip_px)
        x = line.entry_px[0] + half * math.cos(line.angle_rad) - c.arc.anchor_px[0]
        y = line.entry_px[1] + half * math.sin(line.angle_rad) - c.arc.anchor_px[1]
        across = -x * math.sin(c.arc.angle_rad) + y * math.cos(c.arc.angle_rad)
        return abs(across) * mm < self.near_mm

    def next(self, candidates: tuple[NeedleCandidate, ...]) -> int | None:
        """Index of the candidate to test now: every other time one with evidence, else the one that waited longest."""
        if not candidates:
            return None
        due = min(range(len(candidates)), key=lambda i: _last_test_s(candidates[i]))
        hot = max(
            range(len(candidates)), key=lambda i: candidates[i].grew + 5.0 * (candidates[i].speed_mm_s is not None)
        )
        warm = candidates[hot].grew > 1.0 or candidates[hot].speed_mm_s is not None
        latest_s = max(_last_test_s(c) for c in candidates)
        return hot if warm and _last_test_s(candidates[hot]) <= latest_s - 1e-9 else due

    def test(
        self,
        c: NeedleCandidate,
        image: U8,
        *,
        recent: tuple[Earlier, ...],
        references: tuple[Earlier, ...],
        follow: Follow,
        mm: float,
        time_s: float,
    ) -> tuple[NeedleCandidate, bool]:
        """Test one candidate once. Returns it, and True if it is a needle.

        recent: the images that movement is measured with. references: older ones that growth is measured against.
        """
        arc = c.arc
        for _ in range(2):
            look = follow.look(arc, image, mm)
            if look.n * mm < MIN_INSIDE_MM:
                return replace(c, tested_s=time_s, score=0.0), False
            tip, peak = follow.end(look, mm)
            arc, _sd = follow.fit(look, arc, 3.0, tip, mm)
        look = follow.look(arc, image, mm)
        tip, peak = follow.end(look, mm)
        now = replace(c, arc=arc, tip=tip, tested_s=time_s)
        if c.known:
            return self._is_back(c, now, look, peak, mm)
        if peak < self.min_peak or not math.sin(arc.angle_rad) > math.sin(MIN_ANGLE_RAD):
            return replace(now, score=0.0), False

        bands = follow.sample_earlier(arc, recent, mm)
        reach, speed = tip, None
        if peak > self.peak and tip * mm > self.min_length_mm:
            speed = self._slides(follow, look, bands=bands, recent=recent, tip=reach, mm=mm)
        elif peak > self.min_peak and c.score > self.long_score:  # brightness ends early: as far as the search saw it
            reach = min(max(tip, c.length), look.n - 1.0)
            speed = self._slides(
                follow, look, bands=bands, recent=recent, tip=reach, mm=mm, stricter=self.long_stricter
            )
        if speed is not None and c.speed_mm_s is not None and abs(speed - c.speed_mm_s) < self.same_speed_mm_s:
            return replace(now, speed_mm_s=speed, tip=reach), reach * mm > self.min_length_mm
        now = self._slid(now, follow, look, bands=bands, recent=recent, reach=max(tip, c.length), mm=mm)
        if now.slid > self.slid_sum and now.slides >= self.slid_tests:
            return replace(now, tip=reach), reach * mm > self.min_length_mm

        growth, sign = self._grows(follow, look, arc, tip=tip, references=references, mm=mm)
        grew = 0.7 * c.grew + 0.3 * min(growth, self.grow_max)
        rows = c.rows + 1 if growth > self.grow_each and sign * c.sign >= 0 else 0
        now = replace(now, speed_mm_s=speed, grew=grew, rows=rows, sign=sign)
        return now, self._grown(now, peak) and peak > self.peak and tip * mm > self.min_length_mm

    def _is_back(
        self, c: NeedleCandidate, now: NeedleCandidate, look: Look, peak: float, mm: float
    ) -> tuple[NeedleCandidate, bool]:
        """Test a needle that was lost: does its old axis look like a shaft again?"""
        score = np.clip(look.z[5 : max(int(now.tip), 6)], -0.5, 2.5)
        turned = abs(now.arc.angle_rad - c.arc.angle_rad) > self.near_rad
        long = now.tip * mm > self.min_length_mm
        again = peak > self.known_peak and long and float(score.mean()) > self.known_score
        return (c if turned else replace(now, arc=c.arc if not again else now.arc)), again and not turned

    def _grown(self, c: NeedleCandidate, peak: float) -> bool:
        """True if there is enough evidence of growth. Flat lines need more."""
        angle = min(abs(math.degrees(c.arc.angle_rad)), 180 - abs(math.degrees(c.arc.angle_rad)))
        shallow = 1.0 + max(0.0, SHALLOW_DEG - angle) / SHALLOW_DEG
        in_a_row = c.rows >= self.grow_rows * shallow and peak > self.grow_peak
        return (c.grew > self.grow_sum * shallow or in_a_row) and c.rows >= self.grow_min_rows

    def _slid(
        self,
        c: NeedleCandidate,
        follow: Follow,
        look: Look,
        *,
        bands: tuple[F32, ...],
        recent: tuple[Earlier, ...],
        reach: float,
        mm: float,
    ) -> NeedleCandidate:
        """Add up weak signs of sliding while they agree on a speed."""
        found = follow.texture(look, bands, recent, min(reach, look.n - 1.0), mm)
        if found is None:
            return c
        speeds, alike = found
        best = int(np.argmax(alike))
        speed, sign = float(speeds[best]), float(alike[best]) - self.slid_min
        at_rest = float(alike[np.abs(speeds) < 0.7 * self.min_speed_mm_s].max(initial=-1.0))
        if sign <= 0 or abs(speed) < self.min_speed_mm_s or alike[best] - at_rest < self.texture_margin:
            return replace(c, slid=0.7 * c.slid)
        if c.slides and abs(speed - c.slid_mm_s) < self.slid_same_mm_s:
            mean = c.slid_mm_s + (speed - c.slid_mm_s) / (c.slides + 1)
            return replace(c, slid=c.slid + sign, slides=c.slides + 1, slid_mm_s=mean)
        return replace(c, slid=sign, slides=1, slid_mm_s=speed)

    def _slides(
        self,
        follow: Follow,
        look: Look,
        *,
        bands: tuple[F32, ...],
        recent: tuple[Earlier, ...],
        tip: float,
        mm: float,
        stricter: float = 0.0,
    ) -> float | None:
        """Speed in mm/s at which the line's texture slides along it, None if it does not."""
        found = follow.texture(look, bands, recent, tip, mm)
        if found is None:
            return None
        speeds, c = found
        best = int(np.argmax(c))
        at_rest = float(c[np.abs(speeds) < 0.7 * self.min_speed_mm_s].max(initial=-1.0))
        if abs(speeds[best]) < self.min_speed_mm_s or c[best] < self.texture_min + stricter:
            return None
        return float(speeds[best]) if c[best] - at_rest > self.texture_margin + stricter else None

    def _grows(
        self, follow: Follow, look: Look, arc: Arc, *, tip: float, references: tuple[Earlier, ...], mm: float
    ) -> tuple[float, float]:
        """Measure growth against older images. Returns (log likelihood ratio, +1 appeared or -1 vanished)."""
        n = look.n
        z_now, beside_now = look.z[:n].copy(), _beside(look.band, n)
        best, sign = 0.0, 0.0
        for reference in references:
            before = arc.moved(-reference.moved_px[0], -reference.moved_px[1])
            then = follow.look(before, reference.image, mm, near=1)
            end, _peak = follow.end(then, mm)
            if abs(tip - end) * mm < self.grow_mm:
                continue
            a, b = int(min(tip, end)), int(min(max(tip, end), n, then.n))
            if b - a < 5:
                continue
            z_then, beside_then = then.z[: then.n], _beside(then.band, then.n)
            first, second = (z_now, z_then) if tip > end else (z_then, z_now)
            shaft, gone = first[a:b], _widened(second[a:b])
            # chosen: places whose surroundings changed by more than a factor of 1.8 count less
            ratio = np.log((beside_now[a:b] + 8.0) / (beside_then[a:b] + 8.0))
            w = np.exp(-0.5 * (ratio / 0.6) ** 2) + 1e-3
            mean, old = float((w * shaft).sum() / w.sum()), float((w * gone).sum() / w.sum())
            step = min(mean, 2.0) - old
            if step > 0 and mean > self.grow_shaft and old < self.grow_gone:
                growth = step * step * float(w.sum()) / (follow.correlation_mm / mm)
                if growth > best:
                    best, sign = growth, math.copysign(1.0, tip - end)
        return best, sign


def _last_test_s(c: NeedleCandidate) -> float:
    """Time of the last test, s, as a sort key: untested candidates come first."""
    return -math.inf if c.tested_s is None else c.tested_s


def _beside(band: F32, n: int) -> F32:
    """Mean brightness of the outer columns on both sides of the axis."""
    out: F32 = 0.5 * (band[:n, :9].mean(1) + band[:n, -9:].mean(1))
    return out


def _widened(z: F32) -> F32:
    """Largest of each value and its two neighbours."""
    out = z.copy()
    out[1:] = np.maximum(out[1:], z[:-1])
    out[:-1] = np.maximum(out[:-1], z[1:])
    return out


#: kinds of lines that are looked for with nothing given. chosen: flat lines that begin at the top are skin and lids
FAMILIES = (
    Family(from_right=False, steep=False, angle_rad=(math.radians(8), math.radians(46))),
    Family(from_right=True, steep=False, angle_rad=(math.radians(8), math.radians(46))),
    Family(from_right=False, steep=True, angle_rad=(math.radians(44), math.radians(82))),
    Family(from_right=True, steep=True, angle_rad=(math.radians(44), math.radians(82))),
)
