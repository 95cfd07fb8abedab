"""Start with nothing given: a line whose own texture slides along it, or that grows or shrinks at its end.

Brightness cannot tell a needle from a fascia; movement along the own axis can. Candidate lines come from single
images and from the change between two (`imaging/line_search.py`); each is tested against earlier images, sampled
along its present axis. None of this is published.

Two ways to pass:
* texture: between three images the shaft's texture moved along the axis, at one speed, twice in a row;
* growth: between the ends that the line had then and has now, shaft appeared (or vanished) where there was none,
  while the brightness beside it stayed (a shadow or lost contact changes both).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.arrays import F32, U8
from sonosteer.imaging.line_search import Line
from sonosteer.trackers.follow import Arc, Earlier, Follow
from sonosteer.trackers.start import Family


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line under suspicion. grew: smoothed evidence of growth; rows: tests in a row that agreed, and their sign.

    tip: where it ends by brightness; length: how long the search saw it. slid: evidence that its texture slides, from
    `slides` tests that agreed on the speed slid_mm_s.

    known: a needle that was lost; it has only to look like one again.
    """

    arc: Arc
    tip: float
    score: float
    born_s: float
    seen_s: float
    tested_s: float = -1.0
    grew: float = 0.0
    rows: int = 0
    sign: float = 0.0
    speed_mm_s: float | None = None
    length: float = 0.0
    slid: float = 0.0
    slides: int = 0
    slid_mm_s: float = 0.0
    known: bool = False


@dataclass(frozen=True)
class MovingStart:
    """Thresholds. Lengths in mm, angles in rad, times in s; all ours, chosen on training and validation scenes."""

    keep: int = 6
    near_mm: float = 1.5
    near_rad: float = math.radians(5)
    least_score: float = 2.7
    forget_s: float = 1.5
    texture_least: float = 0.42
    least_peak: float = 1.0
    slid_least: float = 0.2
    slid_sum: float = 1.0
    slid_tests: int = 4
    slid_same_mm_s: float = 2.0
    long_score: float = 7.0
    long_stricter: float = 0.1
    texture_margin: float = 0.2
    slowest_mm_s: float = 2.0
    same_speed_mm_s: float = 3.0
    grow_mm: float = 1.4
    grow_sum: float = 10.0
    grow_each: float = 2.2
    grow_rows: int = 8
    grow_most: float = 12.0
    known_s: float = 20.0
    known_peak: float = 7.0
    known_score: float = 0.9
    least_mm: float = 8.0
    peak: float = 6.0
    references_s: tuple[float, ...] = (0.4, 1.6, 6.0)

    def remember(
        self, candidates: tuple[Candidate, ...], lines: list[Line], mm: float, time_s: float
    ) -> tuple[Candidate, ...]:
        """Candidates after another search; lines in px of the working image, best first."""
        out = list(candidates)
        for line in lines[: self.keep]:
            if line.score < self.least_score:
                continue
            same = next((i for i, c in enumerate(out) if self._same(c, line, mm)), None)
            if same is not None:
                c = out[same]
                score = max(line.score, c.score + 0.3 * (line.score - c.score))
                out[same] = replace(c, seen_s=time_s, score=score, length=math.dist(line.entry_px, line.tip_px))
                continue
            length = math.dist(line.entry_px, line.tip_px)
            out.append(Candidate(Arc(line.entry_px, line.angle_rad), length, line.score, time_s, time_s, length=length))
        out = [c for c in out if self._worth(c, time_s)]
        out.sort(key=lambda c: -(c.score + c.grew + 5.0 * (c.speed_mm_s is not None) + 99.0 * c.known))
        return tuple(out[: self.keep])

    def _worth(self, c: Candidate, time_s: float) -> bool:
        if c.known:
            return time_s - c.born_s < self.known_s
        return time_s - c.seen_s < self.forget_s or c.grew > 1.0 or c.speed_mm_s is not None

    def _same(self, c: Candidate, line: Line, mm: float) -> bool:
        if abs(c.arc.angle_rad - line.angle_rad) > self.near_rad:
            return False
        half = 0.5 * math.dist(line.entry_px, line.tip_px)
        x = line.entry_px[0] + half * math.cos(line.angle_rad) - c.arc.anchor_px[0]
        y = line.entry_px[1] + half * math.sin(line.angle_rad) - c.arc.anchor_px[1]
        across = -x * math.sin(c.arc.angle_rad) + y * math.cos(c.arc.angle_rad)
        return abs(across) * mm < self.near_mm

    def next(self, candidates: tuple[Candidate, ...]) -> int | None:
        """Which candidate to test now: one that has something in its favour every other time, else the longest due."""
        if not candidates:
            return None
        due = min(range(len(candidates)), key=lambda i: candidates[i].tested_s)
        hot = max(
            range(len(candidates)), key=lambda i: candidates[i].grew + 5.0 * (candidates[i].speed_mm_s is not None)
        )
        warm = candidates[hot].grew > 1.0 or candidates[hot].speed_mm_s is not None
        return hot if warm and candidates[hot].tested_s <= max(c.tested_s for c in candidates) - 1e-9 else due

    def test(
        self,
        c: Candidate,
        image: U8,
        recent: tuple[Earlier, ...],
        references: tuple[Earlier, ...],
        follow: Follow,
        mm: float,
        time_s: float,
    ) -> tuple[Candidate, bool]:
        """One test of one candidate; True when it is a needle."""
        arc = c.arc
        for _ in range(2):
            n = follow.look(arc, image, mm)
            if n * mm < 6.0:
                return replace(c, tested_s=time_s, score=0.0), False
            tip, peak = follow.end(n, mm)
            arc, _sd = follow.fit(arc, 3.0, tip, mm)
        n = follow.look(arc, image, mm)
        tip, peak = follow.end(n, mm)
        now = replace(c, arc=arc, tip=tip, tested_s=time_s)
        if c.known:
            score = np.clip(follow.work()["z"][5 : max(int(tip), 6)], -0.5, 2.5)
            turned = abs(arc.angle_rad - c.arc.angle_rad) > self.near_rad
            again = peak > self.known_peak and tip * mm > self.least_mm and float(score.mean()) > self.known_score
            return (c if turned else replace(now, arc=c.arc if not again else arc)), again and not turned
        if peak < self.least_peak or not math.sin(arc.angle_rad) > math.sin(math.radians(8)):
            return replace(now, score=0.0), False
        follow.sample_earlier(arc, recent, mm)
        reach, speed = tip, None
        if peak > self.peak and tip * mm > self.least_mm:
            speed = self._slides(follow, reach, n, recent, mm)
        elif peak > self.least_peak and c.score > self.long_score:  # brightness ends early: as far as the search saw it
            reach = min(max(tip, c.length), n - 1.0)
            speed = self._slides(follow, reach, n, recent, mm, stricter=self.long_stricter)
        if speed is not None and c.speed_mm_s is not None and abs(speed - c.speed_mm_s) < self.same_speed_mm_s:
            return replace(now, speed_mm_s=speed, tip=reach), reach * mm > self.least_mm
        now = self._slid(now, follow, max(tip, c.length), n, recent, mm)
        if now.slid > self.slid_sum and now.slides >= self.slid_tests:
            return replace(now, tip=reach), reach * mm > self.least_mm
        growth, sign = self._grows(follow, arc, tip, n, references, mm)
        grew = 0.7 * c.grew + 0.3 * min(growth, self.grow_most)
        rows = c.rows + 1 if growth > self.grow_each and sign * c.sign >= 0 else 0
        now = replace(now, speed_mm_s=speed, grew=grew, rows=rows, sign=sign)
        angle = min(abs(math.degrees(arc.angle_rad)), 180 - abs(math.degrees(arc.angle_rad)))
        shallow = 1.0 + max(0.0, 25.0 - angle) / 25.0
        grown = grew > self.grow_sum * shallow or (rows >= self.grow_rows * shallow and peak > 8.0)
        return now, grown and rows >= 3 and peak > self.peak and tip * mm > self.least_mm

    def _slid(
        self, c: Candidate, follow: Follow, reach: float, n: int, recent: tuple[Earlier, ...], mm: float
    ) -> Candidate:
        """Weaker signs of sliding add up while they agree on a speed."""
        found = follow.texture(min(reach, n - 1.0), n, recent, mm)
        if found is None:
            return c
        speeds, alike = found
        best = int(np.argmax(alike))
        speed, sign = float(speeds[best]), float(alike[best]) - self.slid_least
        at_rest = float(alike[np.abs(speeds) < 0.7 * self.slowest_mm_s].max(initial=-1.0))
        if sign <= 0 or abs(speed) < self.slowest_mm_s or alike[best] - at_rest < self.texture_margin:
            return replace(c, slid=0.7 * c.slid)
        if c.slides and abs(speed - c.slid_mm_s) < self.slid_same_mm_s:
            mean = c.slid_mm_s + (speed - c.slid_mm_s) / (c.slides + 1)
            return replace(c, slid=c.slid + sign, slides=c.slides + 1, slid_mm_s=mean)
        return replace(c, slid=sign, slides=1, slid_mm_s=speed)

    def _slides(
        self,
        follow: Follow,
        tip: float,
        n: int,
        recent: tuple[Earlier, ...],
        mm: float,
        stricter: float = 0.0,
    ) -> float | None:
        """Speed in mm/s at which the line's texture slides along it, None if it does not."""
        found = follow.texture(tip, n, recent, mm)
        if found is None:
            return None
        speeds, c = found
        best = int(np.argmax(c))
        at_rest = float(c[np.abs(speeds) < 0.7 * self.slowest_mm_s].max(initial=-1.0))
        if abs(speeds[best]) < self.slowest_mm_s or c[best] < self.texture_least + stricter:
            return None
        return float(speeds[best]) if c[best] - at_rest > self.texture_margin + stricter else None

    def _grows(
        self, follow: Follow, arc: Arc, tip: float, n: int, references: tuple[Earlier, ...], mm: float
    ) -> tuple[float, float]:
        """(log likelihood ratio that shaft appeared or vanished at the line's end, +1 or -1)."""
        W = follow.work()
        z_now, beside_now = W["z"][:n].copy(), _beside(W["band"], n)
        best, sign = 0.0, 0.0
        for reference in references:
            before = arc.moved(-reference.moved_px[0], -reference.moved_px[1])
            m = follow.look(before, reference.image, mm, near=1)
            end, _peak = follow.end(m, mm)
            if abs(tip - end) * mm < self.grow_mm:
                continue
            a, b = int(min(tip, end)), int(min(max(tip, end), n, m))
            if b - a < 5:
                continue
            z_then, beside_then = W["z"][:m], _beside(W["band"], m)
            first, second = (z_now, z_then) if tip > end else (z_then, z_now)
            shaft, gone = first[a:b], _widened(second[a:b])
            ratio = np.log((beside_now[a:b] + 8.0) / (beside_then[a:b] + 8.0))
            w = np.exp(-0.5 * (ratio / 0.6) ** 2) + 1e-3
            mean, old = float((w * shaft).sum() / w.sum()), float((w * gone).sum() / w.sum())
            step = min(mean, 2.0) - old
            if step > 0 and mean > 0.9 and old < 0.85:
                growth = step * step * float(w.sum()) / (follow.correlation_mm / mm)
                if growth > best:
                    best, sign = growth, math.copysign(1.0, tip - end)
        return best, sign


def _beside(band: F32, n: int) -> F32:
    """Mean brightness of the outer columns on both sides of the axis."""
    out: F32 = 0.5 * (band[:n, :9].mean(1) + band[:n, -9:].mean(1))
    return out


def _widened(z: F32) -> F32:
    """Largest of each value and its neighbours."""
    out = z.copy()
    out[1:] = np.maximum(out[1:], z[:-1])
    out[:-1] = np.maximum(out[:-1], z[1:])
    return out


#: what is looked for with nothing given; lines that begin at the top and run flat are skin and lids
FAMILIES = (
    Family(False, False, (math.radians(8), math.radians(46))),
    Family(True, False, (math.radians(8), math.radians(46))),
    Family(False, True, (math.radians(44), math.radians(82))),
    Family(True, True, (math.radians(44), math.radians(82))),
)
