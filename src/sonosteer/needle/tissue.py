"""How tissue answers a needle: stiffness, cutting force, friction, membranes, breathing. Presets of six materials.

Fields along the insertion are log-normal around the layers' values and vary over 15 mm. Ranges of the presets:
foundation stiffness from 0.01 (gelatin) to 0.2 N/mm^2 (plastisol), bevel force 0.05 to 2 N, torque 0.02 to 0.2 N mm
per mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.needle.beam import GRID_MM


@dataclass(frozen=True, slots=True)
class Mechanics:
    """How a tissue answers a needle."""

    layers: tuple[tuple[float, float, float], ...] = ((0.0, 0.06, 0.8),)
    """Rows (upper edge in mm of depth, foundation stiffness in N/mm^2, bevel force in N). At least one."""
    membranes: tuple[tuple[float, float], ...] = ()
    """Rows (depth in mm, force in N): the tip is held until the force on it exceeds that force."""
    heterogeneity: float = 0.2
    """Standard deviation of the log of the bevel force, half of it for the stiffness, no unit. 0 to 2."""
    correlation_mm: float = 15.0
    """Length over which the fields vary, mm. 0.5 to 500."""
    lateral_n: float = 0.03
    """Standard deviation of the sideways force of uneven tissue, N. 0 to 500."""
    tip_gain: float = 40.0
    """How many times stiffer uncut tissue is at the tip, no unit. 0 to 500."""
    tip_mm: float = 10.0
    """Length behind the tip over which that stiffening fades, mm. 0.5 to 500."""
    torque: float = 0.02
    """Coulomb friction against rolling, N mm per mm of shaft. 0 to 500."""
    friction: float = 0.01
    """Friction along the shaft, N per mm of shaft. 0 to 500."""
    cutting_n: float = 1.0
    """Axial force of cutting, N. 0 to 500."""
    speed_gain: float = 0.05
    """Growth of the tip's forces with the log of speed over 5 mm/s, no unit. -0.2 to 1."""
    breathing_mm: tuple[float, float] = (0.0, 0.0)
    """(y, z) largest displacement of the tissue by breathing across the needle, mm."""
    breathing_hz: float = 0.25
    """Rate of breathing, Hz. 0 to 600."""
    relaxation_s: float = 0.0
    """Time in which the track gives way to the shaft that presses on it, s. 0: never. Up to 600."""

    def __post_init__(self) -> None:
        check_finite(self, "mechanics")
        check_range(self, "mechanics", 0.0, 2.0, "heterogeneity")
        check_range(self, "mechanics", 0.5, 500.0, "correlation_mm", "tip_mm")
        for name in ("tip_gain", "lateral_n", "torque", "friction", "cutting_n"):
            check_range(self, "mechanics", 0.0, 500.0, name)
        check_range(self, "mechanics", -0.2, 1.0, "speed_gain")
        check_range(self, "mechanics", 0.0, 600.0, "relaxation_s", "breathing_hz")
        if not self.layers:
            raise InputError("mechanics: there is no layer; give (from depth mm, stiffness N/mm^2, bevel force N)")
        for depth, stiffness, force in self.layers:
            if not (depth >= 0 and 0 < stiffness < 100 and 0 <= force < 50):
                raise InputError(
                    f"mechanics: layer ({depth:g} mm, {stiffness:g} N/mm^2, {force:g} N): stiffness must be more than "
                    "0, depth and force must not be negative"
                )
        for depth, threshold in self.membranes:
            if not (depth > 0 and threshold >= 0):
                raise InputError(f"mechanics: membrane ({depth:g} mm, {threshold:g} N) must lie at more than 0 mm")

    def breathing(self, time_s: float) -> F64:
        """(2,) displacement of the tissue across the needle, mm."""
        return np.array(self.breathing_mm) * respiratory_signal(self.breathing_hz, time_s)


def respiratory_signal(rate_hz: float, time_s: float) -> float:
    """How far the tissue is along its breathing motion: 0 (breathed out) to 1 (breathed in). sin^4(pi f t), no unit."""
    return math.sin(math.pi * rate_hz * time_s) ** 4


@dataclass(frozen=True)
class TissueColumn:
    """The fields along one insertion, drawn every GRID_MM of depth."""

    stiffness: F64
    """(n,) foundation stiffness, N/mm^2."""
    bevel_n: F64
    """(n,) force across the bevel, N."""
    lateral_n: F64
    """(n, 2) sideways force (y, z) of uneven tissue, N."""


def draw_column(mechanics: Mechanics, length_mm: float, rng: np.random.Generator) -> TissueColumn:
    """Draw the fields along a needle of length_mm."""
    depth = np.arange(round(length_mm / GRID_MM) + 2) * GRID_MM
    layer = np.searchsorted([row[0] for row in mechanics.layers], depth, side="right") - 1
    table = np.array(mechanics.layers)[np.maximum(layer, 0)]
    reach = 4 * mechanics.correlation_mm
    u = np.arange(-reach, reach + GRID_MM / 2, GRID_MM)
    kernel = np.exp(-0.5 * (u / mechanics.correlation_mm) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    a, b, c, d = (np.convolve(rng.standard_normal(len(depth) + len(u) - 1), kernel, "valid") for _ in range(4))
    sd = mechanics.heterogeneity
    return TissueColumn(
        table[:, 1] * np.exp(0.5 * sd * a), table[:, 2] * np.exp(sd * b), mechanics.lateral_n * np.stack([c, d], 1)
    )


#: The steering was designed on the first three: harsh at a bevel gain of 1, mild at 0.4. Gelatin holds the two ex-vivo
#: tissues. chosen: within the ranges above.
MATERIALS: dict[str, Mechanics] = {
    "porcine": Mechanics(layers=((0.0, 0.03, 0.5), (15.0, 0.06, 0.9), (60.0, 0.10, 1.1)), relaxation_s=40.0),
    "bovine": Mechanics(layers=((0.0, 0.05, 0.7), (40.0, 0.08, 1.0))),
    "plastisol": Mechanics(layers=((0.0, 0.2, 2.0),), torque=0.2, friction=0.02),
    "pork": Mechanics(
        layers=((0.0, 0.05, 0.5), (20.0, 0.08, 0.7)), membranes=((2.0, 1.5), (20.0, 2.5)), relaxation_s=30.0
    ),
    "agar": Mechanics(layers=((0.0, 0.02, 0.15),), heterogeneity=0.05, lateral_n=0.005, torque=0.01, friction=0.004),
    "silicone": Mechanics(layers=((0.0, 0.12, 0.5),), membranes=((1.0, 2.0),), heterogeneity=0.1, torque=0.1),
}


def material(name: str) -> Mechanics:
    """A preset by its name. Raises InputError, with all names, if there is none."""
    if name not in MATERIALS:
        raise InputError(f"there is no material called {name!r}; there are: {', '.join(MATERIALS)}")
    return MATERIALS[name]
