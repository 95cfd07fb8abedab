"""Where a tip is and how it moves: a Kalman filter of place and velocity, in px of the frame.

Lengths are fractions of the picture's longer side where they say so, since the scale may be unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point

START_SPEED = 0.15  # chosen: deviation of a fresh tip's speed along the needle, longer sides per s
ACROSS = 0.25  # chosen: a needle moves across itself by this fraction of what it may along itself, no unit


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What is believed of a tip."""

    mean: F64
    """(x, y, v_x, v_y), frame px and px per s."""
    covariance: F64
    """Covariance of the mean, (4, 4), px and s."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    @property
    def tip_px(self) -> Point:
        """Mean position, frame px."""
        return float(self.mean[0]), float(self.mean[1])

    def spread(self, angle_rad: float) -> F64:
        """Covariance of the position along and across a direction, (2, 2), px^2."""
        turn = _rotation(angle_rad)
        out: F64 = turn.T @ self.covariance[:2, :2] @ turn
        return 0.5 * (out + out.T)

    def moved(self, dx: float, dy: float) -> Course:
        """Move along with the picture, px."""
        return replace(self, mean=self.mean + np.array([dx, dy, 0.0, 0.0]))

    def predicted(self, dt_s: float, angle_rad: float, agility: float, settle_s: float) -> Course:
        """The course dt_s later.

        agility: spectral density of the acceleration along the needle, px^2/s^3. settle_s: time in which the velocity
        settles to rest, s.
        """
        damp = math.exp(-dt_s / settle_s)
        T = np.eye(4)
        T[0, 2] = T[1, 3] = settle_s * (1.0 - damp)
        T[2, 2] = T[3, 3] = damp
        turn = _rotation(angle_rad)
        shape = turn @ np.diag([1.0, ACROSS**2]) @ turn.T
        q = agility * np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
        return Course(T @ self.mean, T @ self.covariance @ T.T + np.kron(q, shape))

    def met(self, tip_px: Point, angle_rad: float, sd_px: tuple[float, float]) -> Course:
        """The course after a measured tip with deviations along and across a direction."""
        turn = _rotation(angle_rad)
        R = turn @ np.diag([sd_px[0] ** 2, sd_px[1] ** 2]) @ turn.T
        return Course(*place_update(self.mean, self.covariance, tip_px, R))


def new_course(tip_px: Point, angle_rad: float, sd_px: float, longer_px: float) -> Course:
    """A course that begins at a tip of unknown speed along a direction."""
    turn = _rotation(angle_rad)
    speed = START_SPEED * longer_px
    v = turn @ np.diag([speed**2, (ACROSS * speed) ** 2]) @ turn.T
    covariance = np.zeros((4, 4))
    covariance[:2, :2] = sd_px**2 * np.eye(2)
    covariance[2:, 2:] = v
    return Course(np.array([*tip_px, 0.0, 0.0]), covariance)


def place_update(mean: F64, covariance: F64, place: Point, R: F64) -> tuple[F64, F64]:
    """(mean, covariance) of (x, y, v_x, v_y), (4,) and (4, 4), after a measured place of covariance R, (2, 2).

    The Joseph form of the Kalman filter, in any unit of length.
    """
    gain = covariance[:, :2] @ np.linalg.inv(covariance[:2, :2] + R)
    kept = np.eye(4)
    kept[:, :2] -= gain
    after = kept @ covariance @ kept.T + gain @ R @ gain.T
    return mean + gain @ (np.array(place) - mean[:2]), 0.5 * (after + after.T)


def _rotation(angle_rad: float) -> F64:
    """(2, 2) matrix from (along, across) a direction to (x, y)."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s], [s, c]])
