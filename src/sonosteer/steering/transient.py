"""Predicts where a bevel-tip needle goes next: a linear filter on a bicycle model with the transient of a beam.

Not from a paper. The model was measured on a simulated beam in tissue. After a turn of the bevel and d mm more, its tip
has moved by h + c d + d^2/2 times the change of curvature. A bicycle has c = h = 0. It is wrong by c kappa d after
every turn.

| symbol | name here | unit |
| --- | --- | --- |
| Y, Z | `x[0]`, `x[2]`, position across the axis, without the part that follows a turn at once | mm |
| s_y, s_z | `x[1]`, `x[3]`, slope | rad |
| k_1, k_2 | `x[4]`, `x[5]`, mean curvature along and across the bevel | 1/mm |
| c, h | `slope_mm`, `jump_mm2`, the transient of a turn | mm, mm^2 |
| g | `x[6]`, correction of the slope c k_1 that goes with the bevel | rad |
| dk | `x[7]`, local deviation of the curvature, which fades over `wander_mm` | 1/mm |
| a_y, a_z | `x[8]`, `x[9]`, amplitude of the tissue's breathing for a signal of 1 | mm |
| u | exp(i phi), direction of the bevel at the tip | no unit |

    tip = Y + h k u + a signal;  Y' = s + (c k + g) u;  s' = k u;  k = (k_1 + dk) + i k_2;  dk' = -dk / wander

The form is complex, y + i z. It is linear in x, because base and torsional play tell the direction of the bevel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError

STATES = 10
MIN_CURVATURE_PER_MM = 5e-5  # chosen: a bevel never pulls the other way
NOISE_CURVATURE_PER_MM = 2e-4  # chosen: process noise never falls below that of this curvature


class TransientParameters(NamedTuple):
    """The fields of `Transient` that filter and prediction use, as numba's kernels take them."""

    slope_mm: float
    """c, slope per change of curvature after a turn, mm."""
    jump_mm2: float
    """h, displacement per change of curvature at a turn, mm^2."""
    k1_walk: float
    """Process noise of k_1, 1/sqrt(mm)."""
    k2_walk: float
    """Process noise of k_2, 1/sqrt(mm)."""
    slope_walk: float
    """Process noise of the slope, rad/sqrt(mm)."""
    turn_slope_mm: float
    """Process noise of the slope at a turn, mm."""
    turn_jump_mm2: float
    """Process noise of the position at a turn, mm^2."""
    wander_fraction: float
    """Standard deviation of dk as a fraction of the curvature, no unit."""
    wander_mm: float
    """Way over which dk fades by a factor of e, mm."""


@dataclass(frozen=True, slots=True)
class Transient:
    """Parameters of the model. The defaults are for soft tissue, and all of them are chosen, not published."""

    slope_mm: float = 20.0
    """c, slope per change of curvature after a turn, mm. From the beam's answer to a turn at 60 mm."""
    jump_mm2: float = 100.0
    """h, displacement per change of curvature at a turn, mm^2. From the same answer."""
    torque: float = 0.02
    """Coulomb friction against rolling, N mm per mm of inserted length."""
    curvature_per_mm: float = 0.7e-3
    """Curvature that is assumed before the insertion, 1/mm."""
    curvature_sd: float = 0.4e-3
    """Standard deviation of that curvature, 1/mm."""
    k2_fraction: float = 0.1
    """Standard deviation of k_2 as a fraction of the assumed curvature, no unit."""
    g_mm: float = 5.0
    """Standard deviation of g per curvature, mm."""
    slope_sd: float = 0.01
    """Standard deviation of the slope at the entry, rad."""
    place_sd_mm: float = 0.05
    """Standard deviation of the position at the entry, mm."""
    breathing_sd_mm: float = 1.0
    """Standard deviation of the tissue's breathing amplitude, mm. Used only where breathing is estimated."""
    k1_walk: float = 0.01
    """Process noise of k_1 per curvature and root of the way, 1/sqrt(mm)."""
    k2_walk: float = 0.02
    """Process noise of k_2 per curvature and root of the way, 1/sqrt(mm)."""
    slope_walk: float = 2e-4
    """Process noise of the slope per root of the way, rad/sqrt(mm)."""
    wander_fraction: float = 0.3
    """Standard deviation of dk as a fraction of the curvature, no unit."""
    wander_mm: float = 25.0
    """Way over which dk fades by a factor of e, mm."""
    turn_slope_mm: float = 3.0
    """Process noise of the slope at a turn, per curvature and change of direction, mm."""
    turn_jump_mm2: float = 20.0
    """Process noise of the position at a turn, per curvature and change of direction, mm^2."""
    length_mm: float = 200.0
    """Length of the needle, mm. With stiffness and friction it gives the torsional play of the tip."""
    torsional_stiffness: float = 1.6e4
    """Torsional stiffness GJ of the needle, N mm^2 per rad."""
    backlash_rad: float = 0.0
    """Whole backlash of the device that rolls the base, rad."""
    min_sd_mm: float = 0.1
    """Smallest standard deviation that a measured tip is given, mm."""

    def __post_init__(self) -> None:
        check_finite(self, "transient")
        for name in ("slope_mm", "jump_mm2", "torque", "k2_fraction", "g_mm", "backlash_rad"):
            check_range(self, "transient", 0.0, 1e3, name)
        for name in ("curvature_per_mm", "curvature_sd", "slope_sd", "min_sd_mm"):
            check_range(self, "transient", 1e-6, 1.0, name)
        check_range(self, "transient", 1.0, 1e3, "wander_mm", "length_mm")

    def for_kernels(self) -> TransientParameters:
        """Return the parameters as the kernels take them."""
        return TransientParameters(
            slope_mm=float(self.slope_mm),
            jump_mm2=float(self.jump_mm2),
            k1_walk=float(self.k1_walk),
            k2_walk=float(self.k2_walk),
            slope_walk=float(self.slope_walk),
            turn_slope_mm=float(self.turn_slope_mm),
            turn_jump_mm2=float(self.turn_jump_mm2),
            wander_fraction=float(self.wander_fraction),
            wander_mm=float(self.wander_mm),
        )

    def prior(self, breathing: bool) -> tuple[F64, F64]:
        """Return the (10,) state and its (10, 10) covariance at the entry. breathing: estimate its amplitude."""
        k = self.curvature_per_mm
        x = np.zeros(STATES)
        x[4] = k
        a = self.breathing_sd_mm if breathing else 0.0
        sd = [self.place_sd_mm, self.slope_sd, self.place_sd_mm, self.slope_sd, self.curvature_sd, self.k2_fraction * k]
        return x, np.diag(np.array([*sd, self.g_mm * k, self.wander_fraction * k, a, a]) ** 2)


#: chosen: by tissue, from the beam's answer to a turn of the bevel at 60 mm. The friction is the tissue's
TRANSIENT_PRESETS: dict[str, Transient] = {
    "porcine": Transient(),
    "bovine": Transient(),
    "plastisol": Transient(slope_mm=12.0, jump_mm2=65.0, torque=0.2),
}


def transient_preset(name: str) -> Transient:
    """Return the parameters for a tissue. Raises InputError if there is no preset of that name."""
    if name not in TRANSIENT_PRESETS:
        raise InputError(f"there is no steering preset called {name!r}; there are: {', '.join(TRANSIENT_PRESETS)}")
    return TRANSIENT_PRESETS[name]


@njit(cache=True, nogil=True)
def predict_tip(x: F64, P: F64, phi0: float, phi1: float, d: float, model: TransientParameters) -> None:
    """Advance x (10,) and P (10, 10) by d mm in place, while the bevel at the tip goes from phi0 to phi1."""
    c, lc = model.slope_mm, model.wander_mm
    middle = 0.5 * (phi0 + phi1)
    C, S = math.cos(middle), math.sin(middle)
    F = np.eye(x.shape[0])
    e = 0.5 * d * d + c * d
    for place, cos, sin in ((0, C, S), (2, S, -C)):
        F[place, place + 1] = d
        F[place, 4] = F[place, 7] = cos * e
        F[place, 5] = -sin * e
        F[place, 6] = cos * d
        F[place + 1, 4] = F[place + 1, 7] = cos * d
        F[place + 1, 5] = -sin * d
    F[7, 7] = math.exp(-d / lc)
    x[:] = F @ x
    P[:, :] = F @ P @ F.T
    k = max(abs(x[4]), NOISE_CURVATURE_PER_MM)
    turned = 2.0 * abs(math.sin(0.5 * (phi1 - phi0)))
    P[4, 4] += (model.k1_walk * k) ** 2 * d
    P[5, 5] += (model.k2_walk * k) ** 2 * d
    P[7, 7] += (model.wander_fraction * k) ** 2 * (1.0 - F[7, 7] ** 2)
    for i in (1, 3):
        P[i, i] += model.slope_walk**2 * d + (model.turn_slope_mm * k * turned) ** 2
        P[i - 1, i - 1] += (model.turn_jump_mm2 * k * turned) ** 2


@njit(cache=True, nogil=True)
def correct_with_tip(
    x: F64, P: F64, phi: float, h: float, signal: float, y: float, z: float, sd: float, gate: float
) -> bool:
    """Correct x and P in place with a measured tip. Returns False if it lies more than `gate` deviations off."""
    C, S = math.cos(phi), math.sin(phi)
    H = np.zeros((2, x.shape[0]))
    H[0, 0], H[0, 4], H[0, 5], H[0, 7], H[0, 8] = 1.0, h * C, -h * S, h * C, signal
    H[1, 2], H[1, 4], H[1, 5], H[1, 7], H[1, 9] = 1.0, h * S, h * C, h * S, signal
    far = 0.0
    for m in range(2):
        left = (y if m == 0 else z) - H[m] @ x
        far += left * left / (H[m] @ (P @ H[m]) + sd * sd)
    if not far < gate * gate:
        return False
    for m in range(2):
        PH = P @ H[m]
        gain = PH / (H[m] @ PH + sd * sd)
        x += gain * ((y if m == 0 else z) - H[m] @ x)
        P -= np.outer(gain, PH)
    x[4] = max(x[4], MIN_CURVATURE_PER_MM)
    return True


def tip_at(x: F64, phi: float, h: float, signal: float) -> tuple[float, float]:
    """Return the tip (y, z), mm, of a state x (10,) with the bevel at phi and the respiratory signal."""
    C, S = math.cos(phi), math.sin(phi)
    k1, k2 = x[4] + x[7], x[5]
    return float(x[0] + h * (C * k1 - S * k2) + signal * x[8]), float(x[2] + h * (S * k1 + C * k2) + signal * x[9])
