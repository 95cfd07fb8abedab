"""Two Kalman filters: one for the angle (one state), one for the tip along the axis (two states).

K. Mathiassen, D. Dall'Alba, R. Muradore, P. Fiorini, O. J. Elle, "Robust Real-Time Needle Tracking in 2-D Ultrasound
Images Using Statistical Filtering", IEEE Trans. Control Systems Technology 25(3), 2017, Sections II-A3 and II-C.

| symbol | name here | unit |
| --- | --- | --- |
| x_k, v_k | position along the axis, velocity | px, px per step |
| T_s | `steps`, time since the last update in nominal steps of 1/20 s | no unit |
| P | covariance, symmetric: p_xx, p_xv, p_vv | px^2 |
| Q, R_k | variances of process and measurement | px^2 |
| sigma_MAX, sigma_MIN, Delta-sigma | `sigma_max`, `sigma_min`, `sigma_step` of Section II-C2 | px |
| R_MIN, R_v, P_0 | `r_min`, `r_v`, `p0_x`, `p0_v` | px^2 |

Departs from the paper: velocities are px per step of 1/20 s, since the published P_0 would otherwise shut out the
published insertion speeds. Process noise is per step, so that other frame rates behave alike.

States are frozen, and every function returns a new one. Plain floats make a step take a few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError
from sonosteer.filters.candidates import Evidence, measurement_variance, select_candidate
from sonosteer.filters.tip import STEP_S, Filter


@dataclass(frozen=True, slots=True)
class Gaussian:
    """A normal distribution of one number, in any unit."""

    mean: float
    """Mean, in the number's own unit (deg for an angle)."""
    variance: float
    """Variance, in that unit squared (deg^2 for an angle, where the unit is deg)."""

    def predict(self, q: float) -> Gaussian:
        """Predict a random walk with process variance q."""
        return Gaussian(self.mean, self.variance + q)

    def update(self, z: float, r: float) -> Gaussian:
        """Update with a measurement z of variance r."""
        gain = self.variance / (self.variance + r)
        return Gaussian(self.mean + gain * (z - self.mean), (1.0 - gain) * self.variance)


@dataclass(frozen=True, slots=True)
class Motion:
    """Position and velocity with their covariance: the second-order kinematic model."""

    x: float
    """Mean position along the axis, px."""
    v: float
    """Mean velocity, px per step."""
    p_xx: float
    """Variance of the position, px^2."""
    p_xv: float
    """Covariance of position and velocity, px^2 per step."""
    p_vv: float
    """Variance of the velocity, (px per step)^2."""

    def predict(self, steps: float, q_x: float, q_v: float) -> Motion:
        """Predict over `steps` nominal steps. q_x, q_v: process variances per step, px^2 and (px per step)^2."""
        return Motion(
            self.x + steps * self.v,  # Eq. (11)
            self.v,
            self.p_xx + 2.0 * steps * self.p_xv + steps * steps * self.p_vv + steps * q_x,
            self.p_xv + steps * self.p_vv,
            self.p_vv + steps * q_v,
        )

    def update_position(self, z: float, r: float) -> Motion:
        """Update with a measured position z_k of variance R_k, px and px^2."""
        s = self.p_xx + r
        k_x, k_v = self.p_xx / s, self.p_xv / s
        innovation = z - self.x
        return Motion(
            self.x + k_x * innovation,
            self.v + k_v * innovation,
            (1.0 - k_x) * self.p_xx,
            (1.0 - k_x) * self.p_xv,
            self.p_vv - k_v * self.p_xv,
        )

    def update_velocity(self, z: float, r: float) -> Motion:
        """Update with a measured velocity of variance R_v, px per step and its square."""
        s = self.p_vv + r  # Eq. (19), second row
        k_x, k_v = self.p_xv / s, self.p_vv / s
        innovation = z - self.v
        return Motion(
            self.x + k_x * innovation,
            self.v + k_v * innovation,
            self.p_xx - k_x * self.p_xv,
            (1.0 - k_v) * self.p_xv,
            (1.0 - k_v) * self.p_vv,
        )


@dataclass(frozen=True, slots=True)
class KalmanBelief:
    """A motion, and how far from its prediction a candidate may be."""

    motion: Motion
    """Position and velocity with their covariance."""
    sigma_px: float
    """sigma of Eq. (14): deviation of the tip from its prediction, px. It shrinks from frame to frame."""

    @property
    def x(self) -> float:
        """Mean position, px."""
        return self.motion.x

    @property
    def variance(self) -> float:
        """Variance of the position, px^2."""
        return self.motion.p_xx


@dataclass(frozen=True, slots=True)
class KalmanTip(Filter[KalmanBelief]):
    """Algorithm 4, lines 4 to 14. The defaults are those of Table II."""

    sigma_max: float = 300.0
    """sigma_MAX: deviation sigma at the start, px."""
    sigma_min: float = 200.0
    """sigma_MIN: smallest sigma, px."""
    sigma_step: float = 5.0
    """Delta-sigma: how much sigma shrinks with every frame, px."""
    p0_x: float = 20.0**2
    """Variance of the first position, px^2."""
    p0_v: float = 5.0**2
    """Variance of the first velocity, (px per step)^2."""
    q_x: float = STEP_S**2 / 2 * 0.1**2
    """Process variance of the position, px^2 per step."""
    q_v: float = 0.1**2
    """Process variance of the velocity, (px per step)^2 per step."""
    r_min: float = 30.0**2
    """R_MIN: smallest variance of a measured position, px^2."""
    r_v: float = 1.0
    """R_v: variance of a measured velocity, (px per step)^2."""
    M: int = 10
    """Radius within which a peak of h is the largest, px."""
    evidence: Evidence = "published"
    """How Eq. (15) is read: published, capped (P at most 1, so that R_k >= R_MIN) or total (over all candidates)."""

    def __post_init__(self) -> None:
        if self.evidence not in get_args(Evidence):
            raise InputError(f"tip.evidence is one of {', '.join(get_args(Evidence))}, not {self.evidence!r}")

    def begin(self, x_px: float, velocity_px: float | None) -> KalmanBelief:
        """Start at rest, with P_0."""
        return KalmanBelief(Motion(x_px, 0.0, self.p0_x, 0.0, self.p0_v), self.sigma_max)

    def predict(self, belief: KalmanBelief, steps: float) -> KalmanBelief:
        """Predict the motion over `steps`."""
        return replace(belief, motion=belief.motion.predict(steps, self.q_x, self.q_v))

    def update(
        self, belief: KalmanBelief, h: F32, *, first: int, last: int, velocity_px: float | None
    ) -> tuple[KalmanBelief, bool]:
        """Update with the likeliest peak of h, then with the measured velocity."""
        motion, sigma = belief.motion, max(self.sigma_min, belief.sigma_px - self.sigma_step)
        total = self.evidence == "total"
        z, p = select_candidate(h, first, last, self.M, motion.x, belief.sigma_px, total)  # Eqs. (12) to (17)
        if self.evidence == "capped":
            p = min(p, 1.0)
        if z >= 0:
            motion = motion.update_position(z, measurement_variance(self.r_min, p))  # Eq. (18)
        if velocity_px is not None:
            motion = motion.update_velocity(velocity_px, self.r_v)  # Eq. (19)
        return KalmanBelief(motion, sigma), z >= 0
