"""Follows the tip by what a rig's encoders say, corrected by pictures: an extended Kalman filter in the image plane.

None of this is published as a whole. Encoders alone are wrong by what lies between them and the tip. Those errors are
states here, estimated online from the sightings.

| symbol | name here | unit |
| --- | --- | --- |
| p | states IMAGE_X, IMAGE_Y: tip in the image without breathing | mm |
| s | state SLIP: fraction of the pushed length that does not reach the tip | no unit |
| b | state HEADING: the tip's direction less the encoder's | rad |
| k | state BEND: change of that by a millimetre of way | rad/mm |
| r | state TURN: the image's axes less the rig's, which turns the probe's way | rad |
| u, v | states BREATH, BREATH_SPEED: the tissue's way down by breathing | mm, mm/s |

Between two readings the needle goes d and the probe q. Then p changes by (1 - s) d along the heading, less q turned by
r. A needle that is swung takes the tip along. Breathing is an oscillator that is pushed at random. A sighting is
(IMAGE_X, IMAGE_Y + u). Axes: x along the image, y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import RobotState

IMAGE_X, IMAGE_Y, SLIP, HEADING, BEND, TURN, BREATH, BREATH_SPEED = range(8)
#: what a sighting sees of the state
SEES = np.zeros((2, 8))
SEES[0, IMAGE_X] = SEES[1, IMAGE_Y] = SEES[1, BREATH] = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class AidedBelief:
    """Where the tip is and what lies between it and the encoders, as a normal distribution."""

    mean: F64
    """(8,) states in the order of the module's table."""
    covariance: F64
    """(8, 8) their covariance, in mm, mm/s, rad and rad/mm."""
    reading: RobotState
    """The reading that the mean belongs to."""
    swung_rad: float
    """Insertion angle that the tip was last swung to, rad below the horizontal."""
    side: float
    """1 for a needle that enters from the image's left, -1 from its right."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    @property
    def place_mm(self) -> Point:
        """Where the tip is seen in the image, mm."""
        return float(self.mean[IMAGE_X]), float(self.mean[IMAGE_Y] + self.mean[BREATH])

    @property
    def place_covariance_mm2(self) -> F64:
        """(2, 2) covariance of that place, mm^2."""
        out: F64 = SEES @ self.covariance @ SEES.T
        return 0.5 * (out + out.T)

    @property
    def heading_rad(self) -> float:
        """Direction in which the tip is pushed on, rad from image +x towards +y (down)."""
        return _heading(self.reading, self.side) + float(self.mean[HEADING])


@dataclass(frozen=True)
class EncoderAided:
    """How far encoders and tip may disagree. chosen: all of them on validation scenes, hard ones among them."""

    slip: tuple[float, float] = (0.03, 0.06)
    """Mean and deviation of the slip before anything was seen, no unit."""
    slip_walk: float = 0.004
    """How much the slip changes on a millimetre of way, no unit, as a random walk."""
    turn_sd_rad: float = math.radians(3.5)
    """Deviation of the registration's angle, rad. It turns needle and probe alike."""
    heading_sd_rad: float = math.radians(2.5)
    """Deviation of the needle's own direction beside that, rad."""
    heading_walk_rad: float = 0.005
    """How much the direction changes on a millimetre of way, rad, as a random walk."""
    bend_sd: float = 0.0012
    """Deviation of the bending, rad/mm."""
    bend_walk: float = 0.00012
    """How much the bending changes on a millimetre of way, rad/mm, as a random walk."""
    breath_sd_mm: float = 0.7
    """Deviation of the breathing's way, mm."""
    breath_hz: float = 0.27
    """Usual rate of breathing, Hz."""
    breath_damping: float = 0.25
    """How soon a breath is forgotten, as a fraction of critical damping, no unit."""
    walk_mm: float = 0.12
    """What else the tip does on a millimetre of way, mm, as a random walk each way."""
    rest_mm: float = 0.12
    """What else it does in a second, mm, as a random walk each way."""
    swing: float = 0.5
    """How far a swing of the needle may fail to take the tip along, as a fraction of it, no unit."""
    swings_from_rad: float = 0.005
    """Change of the angle's encoder from which the needle has been swung, rad. Less is its noise."""
    encoder_sd_mm: float = 0.03
    """Deviation of the encoders of depth and probe, mm."""
    time_sd_s: float = 0.004
    """Deviation of the time between a picture and its reading, s."""
    max_mm_s: float = 80.0
    """Fastest that needle and probe go, mm/s. A reading that jumps further is not used."""

    def begin(self, at_mm: Point, covariance_mm2: F64, reading: RobotState, side: float) -> AidedBelief:
        """Begin at a tip that was seen.

        covariance_mm2: (2, 2) of that place. side: 1 for a needle from the image's left, -1 from its right.
        """
        mean = np.zeros(8)
        mean[[IMAGE_X, IMAGE_Y, SLIP]] = *at_mm, self.slip[0]
        P = np.zeros((8, 8))
        P[:2, :2] = covariance_mm2
        turn = self.turn_sd_rad**2
        P[SLIP, SLIP], P[BEND, BEND] = self.slip[1] ** 2, self.bend_sd**2
        P[HEADING, HEADING], P[TURN, TURN] = turn + self.heading_sd_rad**2, turn
        P[HEADING, TURN] = P[TURN, HEADING] = turn
        P[BREATH, BREATH], P[BREATH_SPEED, BREATH_SPEED] = np.diag(self._breath_at_rest())
        # the place that was seen has the breath of its moment in it, whatever that was
        P[IMAGE_Y, IMAGE_Y] += P[BREATH, BREATH]
        P[IMAGE_Y, BREATH] = P[BREATH, IMAGE_Y] = -P[BREATH, BREATH]
        return AidedBelief(mean, P, reading, reading.insertion_angle_rad, side)

    def predict(self, belief: AidedBelief, reading: RobotState | None, dt_s: float) -> AidedBelief:
        """Predict over dt_s up to a new reading. None, or one that cannot be true: nobody knows what the rig did."""
        belief = self._breathe(belief, dt_s)
        if reading is None or not self._plausible(belief.reading, reading, dt_s):
            unknown = np.zeros(8)
            unknown[[IMAGE_X, IMAGE_Y]] = (
                0.25 * self.max_mm_s * dt_s
            ) ** 2  # chosen: a quarter of the fastest is one deviation
            belief = replace(belief, covariance=belief.covariance + np.diag(unknown))
            return belief if reading is None or not _finite(reading) else replace(belief, reading=reading)
        return self._swing(self._push(belief, reading, dt_s), reading)

    def update(self, belief: AidedBelief, seen_mm: Point, covariance_mm2: F64) -> AidedBelief:
        """Update with a tip that was seen. covariance_mm2: (2, 2) of the sighting. The Joseph form."""
        P, R = belief.covariance, covariance_mm2 + self._reading_mm2(belief.reading)
        gain = P @ SEES.T @ np.linalg.inv(SEES @ P @ SEES.T + R)
        kept = np.eye(8) - gain @ SEES
        after = kept @ P @ kept.T + gain @ R @ gain.T
        mean = belief.mean + gain @ (np.array(seen_mm) - SEES @ belief.mean)
        return replace(belief, mean=mean, covariance=0.5 * (after + after.T))

    def surprise(self, belief: AidedBelief, seen_mm: Point, covariance_mm2: F64) -> float:
        """How far a sighting lies from what is expected, in deviations (Mahalanobis), no unit."""
        x, y = belief.place_mm
        gap = np.array([seen_mm[0] - x, seen_mm[1] - y])
        S = belief.place_covariance_mm2 + covariance_mm2 + self._reading_mm2(belief.reading)
        return math.sqrt(max(float(gap @ np.linalg.solve(S, gap)), 0.0))

    # -- steps of a prediction -------------------------------------------------------------------------------------

    def _push(self, belief: AidedBelief, reading: RobotState, dt_s: float) -> AidedBelief:
        """The rig has pushed the needle and moved the probe."""
        m, last = belief.mean, belief.reading
        pushed = reading.depth_mm - last.depth_mm
        qx, qz = reading.probe_mm[0] - last.probe_mm[0], reading.probe_mm[2] - last.probe_mm[2]
        way, turn = (1.0 - m[SLIP]) * pushed, m[TURN]
        heading = _heading(reading, belief.side) + m[HEADING] + 0.5 * m[BEND] * way
        c, s = math.cos(heading), math.sin(heading)
        mean = m.copy()
        mean[IMAGE_X] += way * c - qx + turn * qz
        mean[IMAGE_Y] += way * s - qz - turn * qx
        mean[HEADING] += m[BEND] * way
        F = np.eye(8)
        F[IMAGE_X, SLIP], F[IMAGE_Y, SLIP] = -pushed * c, -pushed * s
        F[IMAGE_X, HEADING], F[IMAGE_Y, HEADING] = -way * s, way * c
        F[IMAGE_X, BEND], F[IMAGE_Y, BEND] = -0.5 * way * way * s, 0.5 * way * way * c
        F[IMAGE_X, TURN], F[IMAGE_Y, TURN] = qz, -qx
        F[HEADING, BEND] = way
        Q = np.zeros(8)
        Q[[IMAGE_X, IMAGE_Y]] = self.walk_mm**2 * (abs(pushed) + 0.2 * math.hypot(qx, qz)) + self.rest_mm**2 * dt_s
        walks = np.square([self.slip_walk, self.heading_walk_rad, self.bend_walk])
        Q[[SLIP, HEADING, BEND]] = walks * abs(pushed)
        return replace(belief, mean=mean, covariance=F @ belief.covariance @ F.T + np.diag(Q), reading=reading)

    def _swing(self, belief: AidedBelief, reading: RobotState) -> AidedBelief:
        """The rig has swung the needle about its entry."""
        turned = belief.side * (reading.insertion_angle_rad - belief.swung_rad)
        if not abs(turned) > self.swings_from_rad:
            return belief
        heading, reach = belief.heading_rad, max(reading.depth_mm, 0.0) * turned
        across = np.array([-math.sin(heading), math.cos(heading)])
        mean, P = belief.mean.copy(), belief.covariance.copy()
        mean[:2] += reach * across
        P[:2, :2] += (self.swing * reach) ** 2 * np.outer(across, across)
        P[HEADING, HEADING] += (self.swing * turned) ** 2
        return replace(belief, mean=mean, covariance=P, swung_rad=reading.insertion_angle_rad)

    def _breathe(self, belief: AidedBelief, dt_s: float) -> AidedBelief:
        """The tissue has breathed on: a damped oscillator, exactly."""
        w = 2 * math.pi * self.breath_hz
        fade = self.breath_damping * w
        wd = math.sqrt(max(w * w - fade * fade, 1e-9))
        c, s, e = math.cos(wd * dt_s), math.sin(wd * dt_s), math.exp(-fade * dt_s)
        A = e * np.array([[c + fade / wd * s, s / wd], [-w * w / wd * s, c - fade / wd * s]])
        F = np.eye(8)
        F[BREATH:, BREATH:] = A
        rest = self._breath_at_rest()
        P = F @ belief.covariance @ F.T
        P[BREATH:, BREATH:] += rest - A @ rest @ A.T
        return replace(belief, mean=F @ belief.mean, covariance=0.5 * (P + P.T))

    def _breath_at_rest(self) -> F64:
        """(2, 2) covariance of the breathing's way and speed while nothing is known of it, mm and s."""
        return np.diag([self.breath_sd_mm**2, (2 * math.pi * self.breath_hz * self.breath_sd_mm) ** 2])

    def _reading_mm2(self, reading: RobotState) -> F64:
        """(2, 2) covariance of a sighting against a reading of other time and some noise, mm^2."""
        speed = reading.insertion_speed_mm_s if math.isfinite(reading.insertion_speed_mm_s) else 0.0
        return np.eye(2) * (self.encoder_sd_mm**2 + (self.time_sd_s * speed) ** 2)

    def _plausible(self, last: RobotState, reading: RobotState, dt_s: float) -> bool:
        """False for a reading that is no number, or that no rig can have got to."""
        if not _finite(reading):
            return False
        away = max(abs(reading.depth_mm - last.depth_mm), math.dist(reading.probe_mm, last.probe_mm))
        return away <= self.max_mm_s * max(dt_s, abs(reading.time_s - last.time_s)) + 1.0  # chosen: noise, 1 mm


def usable(reading: RobotState | None) -> bool:
    """True for a reading whose numbers are all finite."""
    return reading is not None and _finite(reading)


def _finite(reading: RobotState) -> bool:
    return all(map(math.isfinite, (reading.depth_mm, reading.insertion_angle_rad, reading.time_s, *reading.probe_mm)))


def _heading(reading: RobotState, side: float) -> float:
    """The encoder's direction of the needle, rad from image +x towards +y (down)."""
    return math.atan2(math.sin(reading.insertion_angle_rad), side * math.cos(reading.insertion_angle_rad))
