"""Where a bevel-tip needle goes next, with the beam's transient: a linear filter on a bicycle that looks ahead.

Not from a paper: measured on a beam in tissue, whose tip answers a turn of the bevel with h + c d + d^2/2 (times the
change of curvature) after d mm more. A bicycle has c = h = 0 and is wrong by c kappa d after every turn.

| symbol | name here | unit |
| --- | --- | --- |
| Y, Z | `x[0]`, `x[2]`, place across the axis, less the part that answers at once | mm |
| s_y, s_z | `x[1]`, `x[3]`, slope | rad |
| k_1, k_2 | `x[4]`, `x[5]`, mean curvature along and across the bevel | 1/mm |
| g | `x[6]`, correction of the slope c k_1 that a turn takes with it | rad |
| dk | `x[7]`, local deviation of the curvature, forgotten over `wander_mm` | 1/mm |
| a_y, a_z | `x[8]`, `x[9]`, amplitude of the tissue's breathing for a signal of 1 | mm |
| u | exp(i phi), direction of the bevel at the tip | |

    tip = Y + h k u + a signal;  Y' = s + (c k + g) u;  s' = k u;  k = (k_1 + dk) + i k_2;  dk' = -dk / wander

in complex form, y + i z. Linear in x, because the bevel's direction is known from the base and the play of torsion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError

STATES = 10
LEAST_CURVATURE = 5e-5  # a bevel never pulls the other way


@dataclass(frozen=True, slots=True)
class Transient:
    """Parameters of the model; the default is for soft tissue. All of them are ours.

    slope_mm: c. jump_mm2: h. Both from the beam's own answer to a turn at 60 mm (see `PRESETS`). curvature_per_mm and
    the *_sd: what is believed before the insertion (k2_share and wander_share in parts of the curvature). k1_walk,
    k2_walk, slope_walk: process noise per sqrt(mm). turn_slope_mm, turn_jump_mm2: what a turn adds, times k |du|.
    torque: Coulomb friction against rolling, N mm/mm, with length_mm and torsional_stiffness of the needle: the play
    of the tip behind its base. backlash_rad: play of the device, in all.
    """

    slope_mm: float = 20.0
    jump_mm2: float = 100.0
    torque: float = 0.02
    curvature_per_mm: float = 0.7e-3
    curvature_sd: float = 0.4e-3
    k2_share: float = 0.1
    g_mm: float = 5.0
    slope_sd: float = 0.01
    place_sd_mm: float = 0.05
    breathing_sd_mm: float = 1.0
    k1_walk: float = 0.01
    k2_walk: float = 0.02
    slope_walk: float = 2e-4
    wander_share: float = 0.3
    wander_mm: float = 25.0
    turn_slope_mm: float = 3.0
    turn_jump_mm2: float = 20.0
    length_mm: float = 200.0
    torsional_stiffness: float = 1.6e4
    backlash_rad: float = 0.0
    least_sd_mm: float = 0.1

    def __post_init__(self) -> None:
        check_finite(self, "transient")
        check_range(self, "transient", 0.0, 1e3, "slope_mm", "jump_mm2", "torque", "k2_share", "g_mm", "backlash_rad")
        check_range(self, "transient", 1e-6, 1.0, "curvature_per_mm", "curvature_sd", "slope_sd", "least_sd_mm")
        check_range(self, "transient", 1.0, 1e3, "wander_mm", "length_mm")

    def noise(self) -> F64:
        """The parameters as the kernels take them."""
        return np.array(
            [
                self.slope_mm,
                self.jump_mm2,
                self.k1_walk,
                self.k2_walk,
                self.slope_walk,
                self.turn_slope_mm,
                self.turn_jump_mm2,
                self.wander_share,
                self.wander_mm,
            ]
        )

    def prior(self, breathing: bool) -> tuple[F64, F64]:
        """(10,) state and (10, 10) covariance at the entry."""
        k = self.curvature_per_mm
        x = np.zeros(STATES)
        x[4] = k
        a = self.breathing_sd_mm if breathing else 0.0
        sd = [self.place_sd_mm, self.slope_sd, self.place_sd_mm, self.slope_sd, self.curvature_sd, self.k2_share * k]
        return x, np.diag(np.array([*sd, self.g_mm * k, self.wander_share * k, a, a]) ** 2)


#: by tissue: from the answer of the beam to a turn of the bevel at 60 mm; the friction from the tissue's own preset
PRESETS: dict[str, Transient] = {
    "porcine": Transient(),
    "bovine": Transient(),
    "plastisol": Transient(slope_mm=12.0, jump_mm2=65.0, torque=0.2),
}


def preset(name: str) -> Transient:
    """The parameters for a tissue; InputError lists the names."""
    if name not in PRESETS:
        raise InputError(f"there is no steering preset called {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


@njit(cache=True, nogil=True)
def predict(x: F64, P: F64, phi0: float, phi1: float, d: float, noise: F64) -> None:
    """Let d mm pass in which the tip's bevel goes from phi0 to phi1; x (10,) and P (10, 10) change in place."""
    c, lc = noise[0], noise[8]
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
    k = max(abs(x[4]), 2e-4)
    turned = 2.0 * abs(math.sin(0.5 * (phi1 - phi0)))
    P[4, 4] += (noise[2] * k) ** 2 * d
    P[5, 5] += (noise[3] * k) ** 2 * d
    P[7, 7] += (noise[7] * k) ** 2 * (1.0 - F[7, 7] ** 2)
    for i in (1, 3):
        P[i, i] += noise[4] ** 2 * d + (noise[5] * k * turned) ** 2
        P[i - 1, i - 1] += (noise[6] * k * turned) ** 2


@njit(cache=True, nogil=True)
def correct(x: F64, P: F64, phi: float, h: float, signal: float, y: float, z: float, sd: float, gate: float) -> bool:
    """Take a sighting of the tip, unless it lies more than `gate` deviations off (then False). In place."""
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
    x[4] = max(x[4], LEAST_CURVATURE)
    return True
