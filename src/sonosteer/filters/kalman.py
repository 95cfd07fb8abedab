"""The two Kalman filters of Paper T: the angle (one state) and the tip along the axis (two states).

Source: Mathiassen et al., IEEE Trans. Control Systems Technology 25(3), 2017, Sections II-A3 and II-C.

| symbol | name here | unit |
| --- | --- | --- |
| x_k, v_k | position along the axis, velocity | px, px per step |
| T_s | `steps`, time since the last update in nominal steps of 1/20 s | - |
| P | covariance, symmetric: p_xx, p_xv, p_vv | px^2 |
| Q, R_k | variances of process and measurement | px^2 |

States are frozen; every function returns a new one. Plain floats: a step takes a few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass


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
