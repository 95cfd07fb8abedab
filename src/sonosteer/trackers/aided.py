"""What `auto` and `vla` share where the rig's encoders are known: gate the sightings, hear another place out.

The filter is `filters/encoder_aided.py`. A sighting that the encoders cannot explain is not taken. It may be the tip
all the same, if the filter follows something else. Then it moves as the rig says, at a constant distance from what is
expected, while what is followed is not seen. What stands still, such as the edge of a shadow, falls behind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from sonosteer.core.arrays import F64
from sonosteer.core.geometry import Point
from sonosteer.core.types import Frame, Hint, RobotState
from sonosteer.filters.encoder_aided import AidedBelief, EncoderAided, usable


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Sightings of a tip away from the one that is followed, which may be the needle's."""

    offset_mm: Point
    """Distance of the first from the expected tip, mm: x and y in the image."""
    sightings: int
    """How many agree."""
    since_s: float
    """Time of the first, s."""
    since_mm: float
    """Depth by the encoder at the first, mm."""
    missed: int = 0
    """Number of looks without it since the last."""


@dataclass(frozen=True, slots=True, eq=False)
class AidedTip:
    """The tip as encoders and pictures together have it, and who else may be it."""

    belief: AidedBelief
    """Where it is, and what lies between it and the encoders."""
    near: Elsewhere | None = None
    """Another place in looks near the tip. None if there is none."""
    whole: Elsewhere | None = None
    """Another place in looks at the whole picture. None if there is none."""
    on_trial: int = 0
    """Number of sightings still needed before a place that took over is called tracking."""
    blind_s: float = 0.0
    """Time since a reading could be used, s."""
    fresh: float = 1.0
    """How much of a sighting would be new, since the last one: 1 all of it, 0 nothing, no unit."""


@dataclass(frozen=True)
class Aid:
    """How sightings are weighed against the encoders. chosen: all of them on validation scenes, hard ones too."""

    motion: EncoderAided = field(default_factory=EncoderAided)
    """The filter."""
    gate: float = 3.0
    """Deviations from the expected place up to which a sighting is taken, no unit."""
    gate_mm: float = 0.45
    """Deviation that a sighting may have beside its own, mm each way."""
    renews_mm: float = 2.0
    """Way of needle and probe after which a sighting owes nothing to the last one, mm."""
    renews_s: float = 1.0
    """Time after which it does so at rest, s."""
    alike_mm: float = 1.5
    """Distance within which sightings elsewhere agree, mm."""
    drifts: float = 0.2
    """How much further apart they may be for the way between them, no unit. What stands still goes all of the way."""
    forgets: int = 4
    """Number of looks in a row without another place after which it is forgotten."""
    near_sightings: int = 12
    """Number of agreeing looks near the tip that let another place take over."""
    whole_sightings: int = 4
    """Number of agreeing looks at the whole picture that do."""
    pushed_mm: float = 5.0
    """Way by the encoder over which they must agree, mm. What stands still does not."""
    rests_s: float = 4.0
    """Time over which they must agree instead where the needle rests, s."""
    unseen_s: float = 0.5
    """How long the followed tip must not have been seen by then, s."""
    trial: int = 5
    """Number of sightings after a take-over until the new place is called tracking."""
    stale_s: float = 1.0
    """Time without a reading after which the encoders are given up, s."""

    def begin(
        self, at_mm: Point, covariance_mm2: F64, frame: Frame, side: float | None, *, on_trial: int = 0
    ) -> AidedTip | None:
        """Begin at a tip that was seen. None where the encoders or the needle's side are not known."""
        reading = frame.robot_state
        if side is None or reading is None or not usable(reading):
            return None
        return AidedTip(self.motion.begin(at_mm, covariance_mm2, reading, side), on_trial=on_trial)

    def predict(self, tip: AidedTip, reading: RobotState | None, dt_s: float) -> AidedTip | None:
        """Predict up to a frame. None once the encoders have been silent for too long."""
        blind_s = 0.0 if usable(reading) else tip.blind_s + dt_s
        if blind_s > self.stale_s:
            return None
        belief = self.motion.predict(tip.belief, reading, dt_s)
        now, last = belief.reading, tip.belief.reading
        way = abs(now.depth_mm - last.depth_mm) + math.dist(now.probe_mm, last.probe_mm)
        fresh = min(tip.fresh + way / self.renews_mm + dt_s / self.renews_s, 1.0)
        return replace(tip, belief=belief, blind_s=blind_s, fresh=fresh)

    def fits(self, tip: AidedTip, seen_mm: Point, covariance_mm2: F64) -> bool:
        """True if the encoders explain a sighting."""
        return self.motion.surprise(tip.belief, seen_mm, self.widened(covariance_mm2)) <= self.gate

    def widened(self, covariance_mm2: F64) -> F64:
        """A sighting's covariance, (2, 2), mm^2, with what neighbouring sightings have in common."""
        out = covariance_mm2.copy()
        out[0, 0] += self.gate_mm**2
        out[1, 1] += self.gate_mm**2
        return out

    def met(self, tip: AidedTip, seen_mm: Point, covariance_mm2: F64) -> AidedTip:
        """The tip after a sighting that fits. Another place near it is forgotten.

        Neighbouring sightings err alike, so a sighting counts by what is new in it since the last.
        """
        belief = self.motion.update(tip.belief, seen_mm, self.widened(covariance_mm2) / max(tip.fresh, 1e-3))
        return replace(tip, belief=belief, near=None, on_trial=max(tip.on_trial - 1, 0), fresh=0.0)

    def heard(self, known: Elsewhere | None, tip: AidedTip, seen_mm: Point | None, time_s: float) -> Elsewhere | None:
        """Join a sighting elsewhere with the earlier ones if it agrees. seen_mm: None where a look showed none."""
        if seen_mm is None:
            again = None if known is None else replace(known, missed=known.missed + 1)
            return None if again is None or again.missed > self.forgets else again
        x, y = tip.belief.place_mm
        offset = (seen_mm[0] - x, seen_mm[1] - y)
        if known is not None:
            way = abs(tip.belief.reading.depth_mm - known.since_mm)
            if math.dist(offset, known.offset_mm) < self.alike_mm + self.drifts * way:
                return replace(known, sightings=known.sightings + 1, missed=0)
        return Elsewhere(offset, 1, time_s, tip.belief.reading.depth_mm)

    def takes_over(
        self, other: Elsewhere | None, tip: AidedTip, *, sightings: int, unseen_s: float, time_s: float
    ) -> bool:
        """True once another place has the evidence. unseen_s: how long the followed tip has not been seen, s."""
        if other is None or other.sightings < sightings or unseen_s < self.unseen_s:
            return False
        if abs(tip.belief.reading.depth_mm - other.since_mm) >= self.pushed_mm:
            return True
        rested = min(time_s - other.since_s, unseen_s) >= self.rests_s
        return rested and not self._behind(other, tip)

    def _behind(self, other: Elsewhere, tip: AidedTip) -> bool:
        """True for a place on the shaft behind the tip: at rest it cannot be told from the edge of a shadow."""
        c, s = math.cos(tip.belief.heading_rad), math.sin(tip.belief.heading_rad)
        along, across = other.offset_mm[0] * c + other.offset_mm[1] * s, other.offset_mm[1] * c - other.offset_mm[0] * s
        return along < 0.0 and abs(across) < 0.25 * -along + 2.0 * self.alike_mm  # chosen: a shaft that bends


def side_of(hint: Hint, direction_rad: float | None) -> float | None:
    """1 for a needle from the image's left, -1 from its right. None where neither user nor detector says it.

    direction_rad: towards the tip, as the detector saw it.
    """
    if hint.enters in ("left", "right"):
        return 1.0 if hint.enters == "left" else -1.0
    if hint.angle_rad is not None:
        return 1.0 if math.cos(0.5 * sum(hint.angle_rad)) > 0.0 else -1.0
    return None if direction_rad is None else (1.0 if math.cos(direction_rad) > 0.0 else -1.0)


def told(other: Elsewhere) -> str:
    """What is said of a place that takes over."""
    return f"another place took over after {other.sightings} agreeing sightings"
