"""A needle whose tip moves like the front of a bicycle in space, in tissue that is left to chance: the second plant.

Kinematics: R. J. Webster III, J. S. Kim, N. J. Cowan, G. S. Chirikjian, A. M. Okamura, "Nonholonomic modeling of needle
steering", Int. J. Robotics Research 25(5-6), 2006. Chance: W. Park, Y. Wang, G. S. Chirikjian, "The
path-of-probability algorithm for steering and feedback control of flexible needles", Int. J. Robotics Research 29(7),
2010, and W. Park, K. B. Reed, A. M. Okamura, G. S. Chirikjian, "Estimation of model parameters for steerable needles",
ICRA 2010. Torsion: K. B. Reed, A. M. Okamura, N. J. Cowan, "Modeling and control of needles with torsional friction",
IEEE Trans. Biomedical Engineering 56(12), 2009.

It shares no equation with the beam of `beam.py`. There is no force and no stiffness across the needle: the shaft lies
where the tip has been.

| symbol | name here | unit |
| --- | --- | --- |
| l, L | `inserted_mm`, inserted and whole length | mm |
| p, R = (t, e_1, e_2) | rear wheel and its frame, t along the needle. The frame does not roll | mm, no unit |
| n | tip | mm |
| phi | roll of the bevel against e_1 | rad |
| kappa(l) | curvature | 1/mm |
| l_2 | `tip_ahead_mm`, from the rear wheel to the tip | mm |
| w | white noise of the frame's turning, one for each axis | rad / sqrt(mm) |
| psi(s) | roll of the shaft at s from its base | rad |
| GJ, tau, b | torsional stiffness, Coulomb and viscous friction per length of inserted shaft | N mm^2, N, N s |

    dR/dl = R hat(0, -kappa sin phi + w_1, kappa cos phi + w_2),  dp/dl = t,  n = p + l_2 t    the bicycle
    dphi = dpsi(L) + w_3                                                                       Park et al.
    kappa(l) = kappa_0 (1 + c q(l)),  q an Ornstein-Uhlenbeck process of variance 1
    GJ psi'' = tau sign(dpsi/dt) + b dpsi/dt  within the tissue,  psi(0) = roll of the base    Reed et al.

l_2 = 0 is their unicycle. With l_2 a turn of the bevel changes the direction of the tip at once, by l_2 kappa for each
unit that the bevel's direction changes. The reduced model of Carriere et al. 2019 (`bicycle.py`) is another one: there
a turn of the bevel turns the whole slope with it.

Departs from the papers: noise in the curvature is added (q), since tissue is not even. There is none in the inserted
length, because the base holds the needle. Torsion is quasi-static: the shaft's inertia is left out. Only abstracts of
the papers lay beside this, and the equations are written as they are generally known. The 24 mm that the range of l_2
ends with is the length fitted in the first of them as the authors of this file remember it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite
from sonosteer.core.errors import InputError
from sonosteer.needle.flexible import BASE_OUTSIDE_MM, NeedleGeometry, NeedleState
from sonosteer.needle.tissue import Mechanics

GRID_MM = 0.25  # chosen: depths at which chance is drawn and the track is kept
TWIST_MM = 10.0  # chosen: distance of the points of the shaft whose roll is followed
TWIST_SWEEPS = 400  # chosen: most rounds of the torsion's solution. It takes fewer than 60 at 100 Hz
TWIST_RAD = 1e-7  # chosen: change by which a round counts as the last


@dataclass(frozen=True, slots=True)
class Nonholonomic:
    """Parameters of one needle in one tissue. None: drawn by the scene's seed from `PARAMETER_RANGES`."""

    curvature_per_mm: float | None = None
    """kappa_0 at a bevel gain of 1, 1/mm. 0 to 0.02. None: drawn evenly."""
    tip_ahead_mm: float | None = None
    """l_2, from the rear wheel to the tip, mm. 0 to 100. None: drawn evenly."""
    unevenness: float | None = None
    """c, standard deviation of the curvature as a fraction of its mean, no unit. 0 to 1. None: drawn evenly."""
    correlation_mm: float | None = None
    """Length over which the curvature varies, mm. 1 to 500. None: drawn evenly."""
    turn_noise: float | None = None
    """Noise of w_1 and w_2, rad per root of a mm. 0 to 0.1. None: drawn evenly in its logarithm."""
    roll_noise: float | None = None
    """Noise of w_3, rad per root of a mm. 0 to 0.1. None: drawn evenly in its logarithm."""
    torque: float | None = None
    """tau, Coulomb friction against rolling, N mm per mm of shaft. 0 to 10. None: drawn evenly in its logarithm."""
    viscous_torque: float | None = None
    """b, viscous friction against rolling, N mm s per rad and mm of shaft. 0 to 10. None: as `torque`."""

    def __post_init__(self) -> None:
        check_finite(self, "nonholonomic needle")
        for name, (low, high) in _POSSIBLE.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and low <= value <= high):
                raise InputError(f"nonholonomic needle: {name} is {value!r}; {low:g} to {high:g} is possible")


_POSSIBLE: dict[str, tuple[float, float]] = {
    "curvature_per_mm": (0.0, 0.02),
    "tip_ahead_mm": (0.0, 100.0),
    "unevenness": (0.0, 1.0),
    "correlation_mm": (1.0, 500.0),
    "turn_noise": (0.0, 0.1),
    "roll_noise": (0.0, 0.1),
    "torque": (0.0, 10.0),
    "viscous_torque": (0.0, 10.0),
}
_BY_LOGARITHM = ("turn_noise", "roll_noise", "torque", "viscous_torque")
_ALL_TISSUES = {
    "tip_ahead_mm": (0.0, 24.0),  # from Webster's unicycle to his fitted bicycle
    "unevenness": (0.1, 0.3),  # chosen
    "correlation_mm": (10.0, 40.0),  # chosen
    "turn_noise": (1e-4, 4e-4),  # chosen: the tip of a straight needle strays by 0.05 to 0.25 mm (SD) in 120 mm
    "roll_noise": (1e-3, 1e-2),  # chosen: the bevel strays by 0.6 to 6 degrees (SD) in 120 mm
}
#: Lowest and highest value by tissue. Each insertion draws its own, whatever a controller believes of the tissue.
#: chosen: the curvatures lie within the 1/10000 to 1/500 that Carriere et al. 2019 search. Friction winds a 200 mm
#: needle of 18G up by 0.6 to 2.4 degrees at 120 mm in meat and by 6 to 18 in plastisol. In the soft phantoms of Reed et
#: al. a much thinner wire winds up by more than 45 degrees at 100 mm
PARAMETER_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "porcine": {
        "curvature_per_mm": (0.7e-3, 1.3e-3),
        "torque": (0.01, 0.04),
        "viscous_torque": (0.005, 0.05),
        **_ALL_TISSUES,
    },
    "bovine": {
        "curvature_per_mm": (0.6e-3, 1.2e-3),
        "torque": (0.01, 0.04),
        "viscous_torque": (0.005, 0.05),
        **_ALL_TISSUES,
    },
    "plastisol": {
        "curvature_per_mm": (1.0e-3, 1.8e-3),
        "torque": (0.1, 0.3),
        "viscous_torque": (0.02, 0.2),
        **_ALL_TISSUES,
    },
}


def draw_nonholonomic(given: Nonholonomic, tissue: str, rng: np.random.Generator) -> Nonholonomic:
    """Fill in what is not given. What is given does not change what else is drawn.

    Raises InputError for a tissue that has no ranges.
    """
    if tissue not in PARAMETER_RANGES:
        raise InputError(
            f"the plant nonholonomic has no parameters for {tissue!r}; it has for: {', '.join(PARAMETER_RANGES)}"
        )
    drawn: dict[str, float] = {}
    for name in _POSSIBLE:
        low, high = PARAMETER_RANGES[tissue][name]
        u = float(rng.random())
        chance = low * (high / low) ** u if name in _BY_LOGARITHM else low + (high - low) * u
        said = getattr(given, name)
        drawn[name] = chance if said is None else float(said)
    return Nonholonomic(**drawn)


@njit(cache=True, nogil=True)
def turned(R: F64, w: F64) -> F64:
    """R exp(hat(w)): the frame (3, 3) turned by the vector w (3,) in its own axes, rad. Rodrigues' formula."""
    angle = math.sqrt(w[0] ** 2 + w[1] ** 2 + w[2] ** 2)
    a = 1.0 - angle**2 / 6.0 if angle < 1e-4 else math.sin(angle) / angle
    b = 0.5 - angle**2 / 24.0 if angle < 1e-4 else (1.0 - math.cos(angle)) / angle**2
    W = np.zeros((3, 3))
    W[0, 1], W[0, 2], W[1, 2] = -w[2], w[1], -w[0]
    W[1, 0], W[2, 0], W[2, 1] = w[2], -w[1], w[0]
    out: F64 = R @ (np.eye(3) + a * W + b * (W @ W))
    return out


@njit(cache=True, nogil=True)
def drive(
    p: F64, R: F64, at: float, to: float, phi: float, phi_to: float, k: F64, turn: F64, lead: float, track: F64
) -> F64:
    """Push the bicycle from one inserted length to another and lay its track. Returns the new frame, changes p.

    phi, phi_to: roll of the bevel at the start and at the end, rad. k: (n,) curvature of each cell of GRID_MM, 1/mm.
    turn: (n, 2) noise w_1, w_2 of each cell, rad/mm. lead: l_2. track: (n + 1, 3) where the tip was at every GRID_MM.
    """  # fmt: skip
    w = np.zeros(3)
    here = at
    while here < to - 1e-12:
        cell = min(int(here / GRID_MM + 1e-9), k.shape[0] - 1)
        edge = min((cell + 1) * GRID_MM, to)
        d = edge - here
        roll = phi + (phi_to - phi) * (here + 0.5 * d - at) / (to - at)
        w[1] = (-k[cell] * math.sin(roll) + turn[cell, 0]) * d
        w[2] = (k[cell] * math.cos(roll) + turn[cell, 1]) * d
        middle = turned(R, 0.5 * w)
        for m in range(3):
            p[m] += middle[m, 0] * d
        R = turned(R, w)
        here = edge
        if here >= (cell + 1) * GRID_MM - 1e-9 and cell + 1 < track.shape[0]:
            for m in range(3):
                track[cell + 1, m] = p[m] + lead * R[m, 0]
    return R


@njit(cache=True, nogil=True)
def twist(
    psi: F64, base: float, inserted: float, length: float, stiffness: float, tau: float, viscous: float, dt: float
) -> None:
    """Let the shaft's roll follow its base, in place. psi: (n,) roll at 0, 1, 2 ... TWIST_MM from the tip, rad.

    An implicit step: the roll of least energy plus friction, one point after another until nothing changes. dt: time of
    the step, s. 0: it has no viscous friction, as if it took for ever.
    """  # fmt: skip
    inside = 0
    while inside < psi.shape[0] and inside * TWIST_MM < inserted:
        inside += 1
    before = psi.copy()
    spring = stiffness / TWIST_MM
    for _ in range(TWIST_SWEEPS):
        change = 0.0
        for j in range(inside - 1, -1, -1):
            last = j == inside - 1
            outer = stiffness / max(length - j * TWIST_MM, 1e-6) if last else spring
            inner = spring if j > 0 else 0.0
            cell = min(inserted, (j + 0.5) * TWIST_MM) - max((j - 0.5) * TWIST_MM, 0.0)
            if last:
                cell = inserted - max((j - 0.5) * TWIST_MM, 0.0)
            drag = viscous * cell / dt if dt > 0.0 else 0.0
            total = outer + inner + drag
            wanted = outer * (base if last else psi[j + 1]) + drag * before[j]
            if j > 0:
                wanted += inner * psi[j - 1]
            free = wanted / total - before[j]
            slip = tau * cell / total
            new = before[j] + math.copysign(max(abs(free) - slip, 0.0), free)
            change = max(change, abs(new - psi[j]))
            psi[j] = new
        if change < TWIST_RAD:
            break
    if inside == 0:
        psi[:] = base
    else:  # the shaft outside is straight: its roll goes evenly from the outermost point in tissue to the base
        outermost = (inside - 1) * TWIST_MM
        for j in range(inside, psi.shape[0]):
            psi[j] = psi[inside - 1] + (base - psi[inside - 1]) * (j * TWIST_MM - outermost) / (length - outermost)


class NonholonomicNeedle:
    """One needle in one tissue, with the same face as `FlexibleNeedle`. Parameters and fields are drawn from `rng`.

    bevel_gain: factor on the curvature. The slope of the base counts at the entry alone, because the tissue holds the
    shaft after that. Forces along the needle are the tissue's friction and cutting. There are none across it.
    """

    def __init__(
        self,
        geometry: NeedleGeometry,
        mechanics: Mechanics,
        rng: np.random.Generator,
        *,
        tissue: str,
        bevel_gain: float = 1.0,
        given: Nonholonomic = Nonholonomic(),
    ) -> None:
        self.geometry, self.mechanics = geometry, mechanics
        self.parameters = draw_nonholonomic(given, tissue, rng)
        p = self.parameters
        cells = math.ceil(geometry.length_mm / GRID_MM)
        keep = math.exp(-GRID_MM / _known(p.correlation_mm))
        chance = rng.standard_normal((cells, 4))
        q = np.empty(cells)
        q[0] = chance[0, 0]
        for i in range(1, cells):
            q[i] = keep * q[i - 1] + math.sqrt(1 - keep * keep) * chance[i, 0]
        mean = _known(p.curvature_per_mm) * bevel_gain
        self._curvature = mean * np.maximum(1.0 + _known(p.unevenness) * q, 0.0)  # a bevel never pulls the other way
        self._turn = chance[:, 1:3] * _known(p.turn_noise) / math.sqrt(GRID_MM)
        strays = np.cumsum(chance[:, 3]) * _known(p.roll_noise) * math.sqrt(GRID_MM)
        self._strays = np.concatenate([[0.0], strays])
        self._track = np.zeros((cells + 1, 3))
        self._psi = np.zeros(math.ceil(geometry.length_mm / TWIST_MM) + 1)
        self._frame = np.eye(3)
        self._rear = np.zeros(3)
        self._tip, self._direction = np.zeros(3), np.array([1.0, 0.0, 0.0])
        self._entered = self._rolled = False
        self._inserted = self._cut = self._commanded = self._cut_roll = 0.0
        self._time_s = self._axial_n = 0.0
        self._tissue = np.zeros(2)

    @property
    def deepest_mm(self) -> float:
        """How far the needle can be pushed in, mm."""
        return self.geometry.length_mm - BASE_OUTSIDE_MM

    @property
    def state(self) -> NeedleState:
        """Where it is now."""
        x, y, z = self._tip.tolist()
        dx, dy, dz = self._direction.tolist()
        return NeedleState(
            inserted_mm=self._inserted,
            tip_mm=(x, y + float(self._tissue[0]), z + float(self._tissue[1])),
            direction=(dx, dy, dz),
            roll_rad=self._bevel_rad(self._inserted),
            axial_n=self._axial_n,
            bevel_n=0.0,
            guide_n=0.0,
        )

    def step(
        self, depth_mm: float, roll_rad: float, time_s: float, base_slope: tuple[float, float] = (0.0, 0.0)
    ) -> NeedleState:
        """Take the base to a commanded depth and roll at a time. Returns where the needle is then.

        base_slope: (y, z) slope of the base against the insertion axis, no unit. It counts at the entry.
        Raises InputError if a number is not finite.
        """
        if not all(map(math.isfinite, (depth_mm, roll_rad, time_s, *base_slope))):
            raise InputError(f"needle: a command of {depth_mm} mm, {roll_rad} rad at {time_s} s is not a number")
        inserted = min(max(depth_mm, 0.0), self.deepest_mm)
        if not self._entered and inserted > 0.0:
            self._enter(base_slope)
        dt_s = max(time_s - self._time_s, 0.0)
        self._time_s = max(time_s, self._time_s)
        self._roll_shaft(roll_rad, inserted, dt_s)
        cutting = inserted > self._cut
        if cutting:
            self._cut_to(inserted)
        else:
            self._cut_roll = self._bevel_rad(inserted)
        self._place(inserted)
        direction = float(np.sign(depth_mm - self._commanded))
        self._commanded, self._inserted = depth_mm, inserted
        m = self.mechanics
        self._axial_n = direction * m.friction * inserted + (m.cutting_n if cutting else 0.0)
        self._tissue = m.breathing(self._time_s)
        return self.state

    def shape_mm(self, step_mm: float, outside_mm: float = 0.0) -> F64:
        """(n, 3) points (x, y, z) from the tip back to the skin and outside_mm beyond, step_mm apart along x."""
        whole = min(math.ceil(self._inserted / GRID_MM), len(self._track))
        path = np.concatenate([self._track[:whole], self._tip[None]])
        x = self._tip[0] - np.arange(0.0, self._tip[0] + outside_mm, step_mm)
        tx, ty, tz = self._entry.tolist() if self._entered else (1.0, 0.0, 0.0)
        outside = np.minimum(x, 0.0) / tx
        y, z = (np.interp(x, path[:, 0], path[:, m]) for m in (1, 2))
        return np.stack([x, y + outside * ty + self._tissue[0], z + outside * tz + self._tissue[1]], 1)

    def _enter(self, slope: tuple[float, float]) -> None:
        """Begin at the skin in the direction of the base."""
        t = np.array([1.0, *slope])
        angle = math.atan(math.hypot(*slope))
        if angle > 0:
            across = math.hypot(*slope)
            self._frame = turned(np.eye(3), np.array([0.0, -slope[1], slope[0]]) * angle / across)
        self._entry = t / np.linalg.norm(t)
        self._rear = -_known(self.parameters.tip_ahead_mm) * self._frame[:, 0]
        self._entered = True

    def _roll_shaft(self, roll_rad: float, inserted_mm: float, dt_s: float) -> None:
        """Let the tip's roll follow the base's."""
        p, g = self.parameters, self.geometry
        if not self._rolled:  # before the first order the needle lies as it is held
            self._psi[:] = roll_rad
            self._cut_roll = roll_rad
            self._rolled = True
        twist(
            self._psi,
            roll_rad,
            inserted_mm,
            g.length_mm,
            g.torsional_stiffness,
            _known(p.torque),
            _known(p.viscous_torque),
            dt_s,
        )

    def _bevel_rad(self, inserted_mm: float) -> float:
        """Roll of the bevel at an inserted length, rad."""
        at = max(inserted_mm, self._cut) / GRID_MM
        return float(self._psi[0] + np.interp(at, np.arange(len(self._strays)), self._strays))

    def _cut_to(self, inserted_mm: float) -> None:
        """Lengthen the track."""
        before = self._cut_roll if self._cut > 0.0 else self._bevel_rad(0.0)
        roll = self._bevel_rad(inserted_mm)
        self._frame = drive(
            self._rear,
            self._frame,
            self._cut,
            inserted_mm,
            before,
            roll,
            self._curvature,
            self._turn,
            _known(self.parameters.tip_ahead_mm),
            self._track,
        )
        self._cut, self._cut_roll = inserted_mm, roll

    def _place(self, inserted_mm: float) -> None:
        """Put the tip where it is on its track, or at the end of it."""
        lead = _known(self.parameters.tip_ahead_mm)
        if inserted_mm >= self._cut:
            cell = min(int(self._cut / GRID_MM), len(self._curvature) - 1)
            bevel, k = self._bevel_rad(inserted_mm), self._curvature[cell]
            self._tip = self._rear + lead * self._frame[:, 0] if self._entered else np.zeros(3)
            bend = lead * k * np.array([0.0, math.cos(bevel), math.sin(bevel)])
            along = self._frame[:, 0] + self._frame @ bend
        else:
            i = min(int(inserted_mm / GRID_MM), int(self._cut / GRID_MM))
            end = self._rear + lead * self._frame[:, 0]
            far = i + 1 <= self._cut / GRID_MM
            after = self._track[i + 1] if far else end
            span = GRID_MM if far else max(self._cut - i * GRID_MM, 1e-9)
            along = after - self._track[i]
            self._tip = self._track[i] + along * min((inserted_mm - i * GRID_MM) / span, 1.0)
            if not np.linalg.norm(along) > 0:
                along = self._frame[:, 0]
        self._direction = along / np.linalg.norm(along)


def _known(value: float | None) -> float:
    """A parameter that has been drawn."""
    assert value is not None
    return value
