"""Finds a needle to start on, given the side it enters from, its angle or its tip.

Source of the step: Mathiassen et al. 2017, Section II (full reference in `mathiassen2017.py`). They start their
estimators by hand, "when it is inside the phantom by a certain length".

| symbol | name here | unit |
| --- | --- | --- |
| score | `Line.score`, sum of clipped log likelihood ratios (`imaging/line_search.py`) | no unit |
| faint, clear | scores from which a line starts after a while, or at once | no unit |

Departs from the paper: the whole search is added here. Each frame is searched for lines that begin at the border and
end inside. A clear line starts the tracker at once. A fainter one must come back in several frames. With nothing known,
a still bright line cannot be told from a fascia, so a hint is required.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Hint
from sonosteer.imaging.line_search import Line, View, find_lines, view_of
from sonosteer.imaging.scratch import Scratch

#: angles below the horizontal between which a needle is looked for if the user names a side only, rad.
#: chosen: flatter or steeper needles need a range of angles
SHALLOWEST_RAD, STEEPEST_RAD = math.radians(12), math.radians(75)
#: flattest needle from the top, rad. chosen: flatter lines at the top are skin
FLATTEST_FROM_TOP_RAD = math.radians(25)


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of line to look for."""

    from_right: bool
    """True if the needle comes from the right, so that the image is mirrored."""
    steep: bool
    """True if strips are rows (more than 45 degrees), false if they are columns."""
    angle_rad: tuple[float, float]
    """Lowest and highest angle below the horizontal after mirroring, rad, 0 to pi/2."""
    from_top: bool = False
    """True if lines by columns begin at the top of the image instead of its side."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A line that was seen before, and may be a needle."""

    line: Line
    """The line as it was last seen."""
    score: float
    """Smoothed score, no unit."""
    seen: int
    """Number of frames in which it was seen."""
    missed: int
    """Number of searches in a row that missed it."""
    since_s: float
    """Time when it was first seen, s."""
    family: Family | None = None
    """Kind of line that it is. None if that does not matter."""


@dataclass(frozen=True)
class StartSearch:
    """Thresholds of the start.

    chosen: all of them on simulated training scenes and needle-free images (docs/explanation/start.md).
    """

    mm_per_px: float = 0.15
    """Finest scale of the image that is searched, mm per px."""
    max_side_px: int = 400
    """Longest side of the image that is searched, px."""
    clear_wide: float = 8.0
    """Score from which a line starts at once, with a side only, no unit."""
    clear_narrow: float = 4.0
    """Score from which a line starts at once, within 10 degrees, no unit."""
    faint_wide: float = 3.8
    """Score from which a line starts after `patience_s`, with a side only, no unit."""
    faint_narrow: float = 1.5
    """Score from which a line starts after `patience_s`, within 10 degrees, no unit."""
    patience_s: float = 0.3
    """How long a faint line must have been known, s."""
    patience: int = 1
    """Number of frames in which a faint line must have been seen."""
    near_mm: float = 1.5
    """Distance across within which two lines are the same, mm."""
    near_rad: float = math.radians(4)
    """Angle within which two lines are the same, rad."""
    margin: float = 1.0
    """How much better than the line being followed another must be, in score, no unit."""
    probation_s: float = 3.0
    """How long after a start other lines are still looked for, s."""
    every_s: float = 0.2
    """Time between two such searches, s."""
    narrow_deg: float = 20.0
    """Range of directions up to which the first line found is trusted, deg."""
    click_mm: float = 2.0
    """How far from a click a line may pass, mm."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def families(self, hint: Hint) -> tuple[Family, ...]:
        """Kinds of lines to look for.

        Raises InputError if the hint gives neither side nor angle nor tip, or contradicts itself.
        """
        if hint.enters is None and hint.angle_rad is None and hint.start_px is None:
            raise InputError(
                "this method cannot start from nothing: say where the needle comes from with "
                "`enters` (left, right or top), its angle with `angle_deg`, or its tip with `start`"
            )
        low, high = hint.angle_rad or (SHALLOWEST_RAD, math.pi - SHALLOWEST_RAD)
        out = []
        for from_right in (False, True):
            a, b = (math.pi - high, math.pi - low) if from_right else (low, high)
            a, b = max(a, 0.0), min(b, math.pi / 2)
            if hint.angle_rad is None and hint.enters != "top":
                b = min(b, STEEPEST_RAD)
            if a >= b or hint.enters == ("left" if from_right else "right"):
                continue
            if a < math.radians(45):
                from_top = hint.enters == "top"
                flattest = max(a, FLATTEST_FROM_TOP_RAD) if from_top and hint.angle_rad is None else a
                out.append(Family(from_right, False, (flattest, b), from_top))
            if b > math.radians(45) or hint.enters == "top":
                out.append(Family(from_right, True, (max(a, math.radians(30)), b)))
        if not out:
            raise InputError(
                f"`enters` {hint.enters} does not go with an angle of {math.degrees(low):g} to "
                f"{math.degrees(high):g} degrees: from the left angles lie between 0 and 90, from the right "
                "between 90 and 180"
            )
        return tuple(out)

    def turn(self, families: tuple[Family, ...], frames: int) -> tuple[Family, ...]:
        """Kinds of lines to look for in frame number `frames`: all in the first, then one a frame.

        So no later frame takes much longer than another.
        """
        return families if frames == 0 else (families[frames % len(families)],)

    def look(
        self,
        image: NDArray[np.uint8],
        scale_mm: float,
        families: tuple[Family, ...],
        *,
        suspects: tuple[Suspect, ...],
        time_s: float,
        current: Line | None = None,
        start_px: Point | None = None,
        among: tuple[Family, ...] | None = None,
    ) -> tuple[Line | None, tuple[Suspect, ...]]:
        """Search one frame. Returns (the line to start on, or None, and what to remember).

        image: (rows, columns) uint8 with `scale_mm` mm per px. Lines are in px of this image. families: those whose
        turn it is. current: the line that is being followed, if any. Another must then be clearly better. start_px:
        where the user says the tip is now. A line through it is taken at once. among: all families, if `families` are
        not all.
        """
        k = min(1.0, scale_mm / self.mm_per_px, self.max_side_px / max(image.shape))
        small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        view = view_of(small, self._scratch)
        found: list[tuple[Line, Family]] = []
        ratio = (image.shape[1] / small.shape[1], image.shape[0] / small.shape[0])
        for f in families:
            found += [(line, f) for line in lines_of(view, f, ratio)]
        if start_px is not None:
            chosen = self._through([line for line, _ in found], start_px, scale_mm)
            if chosen is not None:
                return chosen, ()
        suspects = self._remember(found, families, suspects, scale_mm, time_s)
        least, clear = self.min_scores(among or families)
        if current is not None:
            own = [s.score for s in suspects if self._same(s.line, current, scale_mm, slack=2.0)]
            least = max([least, *own]) + self.margin
        for s in sorted(suspects, key=lambda s: -s.score):
            waited = time_s - s.since_s >= self.patience_s and s.seen >= self.patience
            at_once = current is None and s.score > clear
            if current is not None and self._same(s.line, current, scale_mm, slack=2.0):
                continue
            if s.missed == 0 and (at_once or (waited and s.score > least)):
                return s.line, suspects
        return None, suspects

    def _through(self, lines: list[Line], point: Point, scale_mm: float) -> Line | None:
        """Find the best line that passes near a point. It is made to end there."""
        for line in sorted(lines, key=lambda line: -line.score):
            c, s = math.cos(line.angle_rad), math.sin(line.angle_rad)
            x, y = point[0] - line.entry_px[0], point[1] - line.entry_px[1]
            along, across = x * c + y * s, -x * s + y * c
            if abs(across) * scale_mm < self.click_mm and along > 0:
                end = (line.entry_px[0] + along * c, line.entry_px[1] + along * s)
                return Line(line.entry_px, end, line.angle_rad, line.score)
        return None

    def min_scores(self, families: tuple[Family, ...]) -> tuple[float, float]:
        """Scores (faint, clear) to pass. They are lower where fewer directions are tried, as fewer fibres can pass."""
        # chosen: from narrow at 10 degrees to wide at 60
        fraction = min(max((_tried_deg(families) - 10.0) / 50.0, 0.0), 1.0)
        return (
            self.faint_narrow + fraction * (self.faint_wide - self.faint_narrow),
            self.clear_narrow + fraction * (self.clear_wide - self.clear_narrow),
        )

    def narrow(self, families: tuple[Family, ...]) -> bool:
        """True if so few directions are tried that the first line found can be trusted."""
        return _tried_deg(families) <= self.narrow_deg

    def _remember(
        self,
        found: list[tuple[Line, Family]],
        families: tuple[Family, ...],
        suspects: tuple[Suspect, ...],
        scale_mm: float,
        time_s: float,
    ) -> tuple[Suspect, ...]:
        """Match the lines found with those known. Returns what is known now."""
        rest = sorted(found, key=lambda one: -one[0].score)[:6]  # chosen: no more lines than one search keeps
        out = []
        for s in suspects:
            match = next((one for one in rest if self._same(one[0], s.line, scale_mm)), None)
            if match is None:
                if s.family not in families:  # not its turn
                    out.append(s)
                elif s.missed < 4:  # chosen: the fifth miss in a row is the last
                    out.append(replace(s, score=0.8 * s.score, missed=s.missed + 1))
                continue
            rest.remove(match)
            line, family = match
            gain = max(0.1, 1.0 / (s.seen + 1))  # chosen: a mean over about ten frames
            out.append(Suspect(line, s.score + gain * (line.score - s.score), s.seen + 1, 0, s.since_s, family))
        out += [Suspect(line, line.score, 1, 0, time_s, family) for line, family in rest]
        return tuple(out)

    def _same(self, a: Line, b: Line, scale_mm: float, slack: float = 1.0) -> bool:
        """True if two lines are the same one. slack: factor on what may lie between them."""
        if abs(a.angle_rad - b.angle_rad) > slack * self.near_rad:
            return False
        mid = [(p + q) / 2 for p, q in zip(a.entry_px, a.tip_px, strict=True)]
        d = (mid[0] - b.entry_px[0]) * -math.sin(b.angle_rad) + (mid[1] - b.entry_px[1]) * math.cos(b.angle_rad)
        return abs(d) * scale_mm < slack * self.near_mm


def _tried_deg(families: tuple[Family, ...]) -> float:
    """Range of the directions tried, deg. By columns and by rows they are the same ones."""
    sides = {f.from_right for f in families}
    ranges = {side: [f.angle_rad for f in families if f.from_right == side] for side in sides}
    return math.degrees(sum(max(b for _, b in r) - min(a for a, _ in r) for r in ranges.values()))


def lines_of(view: View, family: Family, ratio: tuple[float, float]) -> list[Line]:
    """Find the lines of one family, in px of the working image. ratio: its size over the view's, (x, y)."""
    kx, ky = ratio
    out = []
    for line in find_lines(
        view, from_right=family.from_right, steep=family.steep, angle_rad=family.angle_rad, from_top=family.from_top
    ):
        entry = ((line.entry_px[0] + 0.5) * kx - 0.5, (line.entry_px[1] + 0.5) * ky - 0.5)
        tip = ((line.tip_px[0] + 0.5) * kx - 0.5, (line.tip_px[1] + 0.5) * ky - 0.5)
        out.append(Line(entry, tip, line.angle_rad, line.score))
    return out
