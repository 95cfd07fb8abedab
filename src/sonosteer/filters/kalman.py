"""The two Kalman filters of Paper T: the angle (one state) and the tip along the axis (two states).

Source: Mathiassen et al., IEEE Trans. Control Systems Technology 25(3), 2017, Sections II-A3 and II-C.

| symbol | name here | unit |
| --- | --- | --- |
| x_k, v_k | position along the axis, velocity | px, px per step |
| T_s | `steps`, time since the last update in nominal steps of 1/20 s | - |
| P | covariance, symmetric: p_xx, p_xv, p_vv | px^2 |
| Q, R_k | variances of process and measurement | px^2 |
| sigma_MAX, sigma_MIN, Delta-sigma | `sigma_max`, `sigma_min`, `sigma_step` of Section II-C2 | px |
| R_MIN, R_v, P_0 | `r_min`, `r_v`, `p0_x`, `p0_v` | px^2 |

States are frozen; every function returns a new one. Plain floats: a step takes a few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sonosteer.core.arrays import F32
from sonosteer.filters.candidates import measurement_variance, select_candidate
from sonosteer.filters.tip import Filter

STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Scalar:
    """A Gaussian on a line: mean and variance."""

    mean: float
    variance: float

    def predict(self, q: float) -> Scalar:
        """Random walk with process variance q."""
        return Scalar(self.mean, self.variance + q)

    def update(self, z: float, r: float) -> Scalar:
        """Measurement z with variance r."""
        gain = self.variance / (self.variance + r)
        return Scalar(self.mean + gain * (z - self.mean), (1.0 - gain) * self.variance)


@dataclass(frozen=True, slots=True)
class Motion:
    """Second-order kinematic model, Eq. (11): position and velocity with their covariance."""

    x: float
    v: float
    p_xx: float
    p_xv: float
    p_vv: float

    def predict(self, steps: float, q_x: float, q_v: float) -> Motion:
        """Eq. (11) over `steps` nominal steps; q_x, q_v: process variances per nominal step."""
        return Motion(
            self.x + steps * self.v,
            self.v,
            self.p_xx + 2.0 * steps * self.p_xv + steps * steps * self.p_vv + steps * q_x,
            self.p_xv + steps * self.p_vv,
            self.p_vv + steps * q_v,
        )

    def update_position(self, z: float, r: float) -> Motion:
        """Measurement z_k of the position with variance R_k."""
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
        """Measurement of the velocity with variance R_v, the second row of Eq. (19)."""
        s = self.p_vv + r
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
class Tracked:
    """A motion, and how far from its prediction a candidate may be."""

    motion: Motion
    sigma_px: float

    @property
    def x(self) -> float:
        """Mean position in px."""
        return self.motion.x

    @property
    def variance(self) -> float:
        """Variance of the position in px^2."""
        return self.motion.p_xx


@dataclass(frozen=True, slots=True)
class KalmanTip(Filter[Tracked]):
    """Algorithm 4, lines 4 to 14; Table II's numbers are the defaults.

    Departs from the paper: velocities are px per step of 1/20 s, since the published P_0 would otherwise shut out
    the published insertion speeds.
    """

    sigma_max: float = 300.0
    sigma_min: float = 200.0
    sigma_step: float = 5.0
    p0_x: float = 20.0**2
    p0_v: float = 5.0**2
    q_x: float = STEP_S**2 / 2 * 0.1**2
    q_v: float = 0.1**2
    r_min: float = 30.0**2
    r_v: float = 1.0
    M: int = 10

    def begin(self, x_px: float, velocity_px: float | None) -> Tracked:
        """At rest, with P_0."""
        return Tracked(Motion(x_px, 0.0, self.p0_x, 0.0, self.p0_v), self.sigma_max)

    def predict(self, belief: Tracked, steps: float) -> Tracked:
        """Eq. (11)."""
        return replace(belief, motion=belief.motion.predict(steps, self.q_x, self.q_v))

    def update(self, belief: Tracked, h: F32, first: int, last: int, velocity_px: float | None) -> tuple[Tracked, bool]:
        """Choose among the peaks of h, Eqs. (12)-(18); then the measured velocity, Eq. (19)."""
        motion, sigma = belief.motion, max(self.sigma_min, belief.sigma_px - self.sigma_step)
        z, p = select_candidate(h, first, last, self.M, motion.x, belief.sigma_px)
        if z >= 0:
            motion = motion.update_position(z, measurement_variance(self.r_min, p))  # Eq. (18)
        if velocity_px is not None:
            motion = motion.update_velocity(velocity_px, self.r_v)
        return Tracked(motion, sigma), z >= 0
