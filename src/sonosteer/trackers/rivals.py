"""Needles that the detector proposes: which the user's hint allows, and which come back in answer after answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonosteer.core.geometry import Point
from sonosteer.core.types import Hint
from sonosteer.inference.needle_detector import Detection, DetectorAnswer

#: how far outside a stated range of directions a needle may lie, rad. chosen: people read angles to some degrees
HINT_SLACK_RAD = math.radians(5)
#: a needle that slides along itself between two answers is the same within this many times `same`, no unit
SLIDES = 3.0


@dataclass(frozen=True, slots=True)
class Sameness:
    """When two needles, some tenths of a second apart, are the same."""

    near: float = 0.04
    """Distance across the needle, as a fraction of the picture's longer side. Along it `SLIDES` times that, no unit."""
    turn_rad: float = math.radians(20)
    """Angle between their directions, rad."""

    def same(self, tip_px: Point, angle_rad: float, d: Detection, longer_px: float) -> bool:
        """Is the detection the needle of this tip and direction? longer_px: longer side of the picture."""
        dx, dy, c, s = d.tip_px[0] - tip_px[0], d.tip_px[1] - tip_px[1], math.cos(angle_rad), math.sin(angle_rad)
        turned = abs(math.remainder(angle_rad - d.angle_rad, math.tau))
        near = self.near * longer_px
        return turned < self.turn_rad and abs(-dx * s + dy * c) < near and abs(dx * c + dy * s) < SLIDES * near


@dataclass(frozen=True, slots=True)
class Rival:
    """A needle that the detector sees beside the one that is followed, or before there is one."""

    tip_px: Point
    """Its tip when it was last seen, px."""
    angle_rad: float
    """Its direction then, rad."""
    score: float
    """Probability that it was right, the mean of the answers that showed it, 0 to 1."""
    seen: int
    """Number of answers in a row that showed it."""


def seen_again(known: Rival | None, d: Detection, sameness: Sameness, longer_px: float) -> Rival:
    """A needle seen now, joined with the one that the last answer showed if they are the same."""
    if known is not None and sameness.same(known.tip_px, known.angle_rad, d, longer_px):
        n = known.seen + 1
        return Rival(d.tip_px, d.angle_rad, known.score + (d.score - known.score) / n, n)
    return Rival(d.tip_px, d.angle_rad, d.score, 1)


def allowed_needles(hint: Hint, answer: DetectorAnswer) -> tuple[Detection, ...]:
    """Needles of an answer that the hint allows, most probable first."""
    return tuple(d for d in answer.needles if fits_hint(hint, d.angle_rad))


def fits_hint(hint: Hint, angle_rad: float) -> bool:
    """Does the hint allow a needle of this direction?"""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    if hint.angle_rad is not None:
        low, high = hint.angle_rad
        middle, reach = 0.5 * (low + high), 0.5 * (high - low) + HINT_SLACK_RAD
        if abs(math.remainder(angle_rad - middle, math.tau)) > reach:
            return False
    sides = {None: True, "left": c > -0.1, "right": c < 0.1, "top": s > 0.3}  # chosen: some degrees of slack
    return sides[hint.enters]
