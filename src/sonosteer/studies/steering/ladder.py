"""Why the published controller misses: from its own model, step by step, to the second plant and to the beam.

Each rung adds one thing to the rung before it, with the same seeds. The loop is as short as it can be: a needle, a
device that rolls it, a sensor with noise, 20 measurements a second, a hand of constant speed. Rotation is limited as
everywhere.

The first rungs push the model that the controller of Carriere et al. 2019 carries. So nothing but its two searches and
the disturbance of the rung can be the cause of a miss there.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from sonosteer.core.types import Command, TipMeasurement
from sonosteer.episodes.steering import DEVICE, path_errors
from sonosteer.needle.bicycle import section
from sonosteer.needle.flexible import FlexibleNeedle, NeedleGeometry
from sonosteer.needle.nonholonomic import Nonholonomic, NonholonomicNeedle, draw_nonholonomic
from sonosteer.needle.tissue import material
from sonosteer.sim.rig import RigLimits, RigModel
from sonosteer.steering.budget import RollLimits
from sonosteer.steering.table import make_steerer
from sonosteer.steering.transient import transient_preset

_DEPTH_MM = 120.0
_RATE_HZ, _STEP_S = 20.0, 0.01
ENTRY_SD_RAD = 0.006  # as the scenes of steering
IDEAL = RigLimits(roll_rad_s=1e3, encoder_mm=0.0, encoder_rad=0.0)
LATE = dataclasses.replace(DEVICE, encoder_mm=0.0, encoder_rad=0.0)
WITH_LEAD = Nonholonomic(unevenness=0.0, turn_noise=0.0, roll_noise=0.0, torque=0.0, viscous_torque=0.0)
WITHOUT_LEAD = dataclasses.replace(WITH_LEAD, tip_ahead_mm=0.0)
UNEVEN = Nonholonomic(turn_noise=0.0, roll_noise=0.0, torque=0.0, viscous_torque=0.0)


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder."""

    what: str
    """What it adds to the rung before it."""
    plant: Literal["own", "nonholonomic", "beam"]
    """Needle: the controller's own model, or a plant of the simulator."""
    given: Nonholonomic = field(default_factory=Nonholonomic)
    """Parameters of the plant nonholonomic."""
    entry: Literal["bevel", "any"] = "any"
    """Way of the entry angle: along the bevel as the model knows it, or any."""
    noise_mm: float = 0.1
    """Standard deviation of the measured tip, mm each way."""
    device: RigLimits = LATE
    """What rolls the base."""
    known: bool = False
    """Whether the controller is told kappa and theta_0."""


#: name -> the rung
LADDER: dict[str, Rung] = {
    "1": Rung("its own model, kappa and theta_0 told", "own", entry="bevel", noise_mm=0.0, device=IDEAL, known=True),
    "2": Rung("kappa and theta_0 fitted", "own", entry="bevel", noise_mm=0.0, device=IDEAL),
    "3": Rung("noise of 0.1 mm", "own", entry="bevel", device=IDEAL),
    "4": Rung("device: 50 ms late, 1 degree of backlash, 6.5 rad/s", "own", entry="bevel"),
    "5": Rung("Webster's unicycle instead of its own model", "nonholonomic", WITHOUT_LEAD, entry="bevel"),
    "6": Rung("entry angle any way", "nonholonomic", WITHOUT_LEAD),
    "7": Rung("Webster's bicycle: l_2 of 0 to 24 mm", "nonholonomic", WITH_LEAD),
    "8": Rung("uneven curvature", "nonholonomic", UNEVEN),
    "9": Rung("noise of the frame, torsion: the whole second plant", "nonholonomic"),
    "10": Rung("the first plant instead: the beam", "beam"),
}


class Pushed(Protocol):
    """A needle that is pushed and rolled from its base."""

    def step(self, depth_mm: float, roll_rad: float, time_s: float, base_slope: tuple[float, float]) -> Any:
        """Take the base to a depth and roll. Returns the needle's state."""
        ...


@dataclass(frozen=True, slots=True)
class OwnState:
    """Where the reduced model is."""

    inserted_mm: float
    """Inserted length, mm."""
    tip_mm: tuple[float, float, float]
    """(x, y, z) of the tip, mm."""


class OwnModel:
    """The reduced bicycle as a needle: Eq. (1), in closed form between two steps."""

    def __init__(self, curvature_per_mm: float, theta0_rad: float) -> None:
        self.k, self.theta0 = curvature_per_mm, theta0_rad
        self.at = self.roll = 0.0
        self.tip = (0.0, 0.0, 0.0)

    def step(self, depth_mm: float, roll_rad: float, time_s: float, base_slope: tuple[float, float]) -> OwnState:
        """Push on by the base's roll, which the tip follows at once."""
        d = depth_mm - self.at
        if d > 0:
            w = (roll_rad - self.roll) / d
            more = section(self.k, w, self.theta0 + self.k * self.at, self.roll, d)
            x, y, z = (a + b for a, b in zip(self.tip, more, strict=True))
            self.tip, self.at = (x, y, z), depth_mm
            self.roll = roll_rad
        return OwnState(self.at, self.tip)


def ladder_needle(rung: Rung, tissue: str, pull: float, seed: int) -> tuple[Pushed, float, tuple[float, float]]:
    """Build the needle of a rung: (needle, kappa in 1/mm, slope of the base (y, z)).

    pull: factor on the bevel's force. kappa is that of the nonholonomic needle of the seed. The beam itself has none.
    """
    draw = np.random.default_rng([seed, 5])
    k = pull * (draw_nonholonomic(rung.given, tissue, draw).curvature_per_mm or 0.0)
    slopes = (ENTRY_SD_RAD * np.random.default_rng([seed, 6]).standard_normal(2)).tolist()
    slope = (abs(slopes[0]), 0.0) if rung.entry == "bevel" else (slopes[0], slopes[1])
    if rung.plant == "own":
        return OwnModel(k, math.atan(slope[0])), k, slope
    mechanics, chance = material(tissue), np.random.default_rng([seed, 5])
    if rung.plant == "nonholonomic":
        return (
            NonholonomicNeedle(NeedleGeometry(), mechanics, chance, tissue=tissue, bevel_gain=pull, given=rung.given),
            k,
            slope,
        )
    layers = tuple((depth, stiff, force * pull) for depth, stiff, force in mechanics.layers)
    return FlexibleNeedle(NeedleGeometry(), dataclasses.replace(mechanics, layers=layers), chance), k, slope


def climb(
    rung: Rung,
    controller: str,
    *,
    tissue: str,
    pull: float,
    seed: int,
    settings: dict[str, Any] | None = None,
    budget_deg: float = 540.0,
) -> dict[str, Any]:
    """Insert one needle to 120 mm. Returns its errors in mm and its rotation in degrees.

    pull: factor on the bevel's force.
    """
    needle, k, slope = ladder_needle(rung, tissue, pull, seed)
    rng = np.random.default_rng([seed, 7])
    speed = float(rng.uniform(3.0, 7.0))
    more = dict(settings or {})
    model = transient_preset(tissue)
    if more.pop("no_transient", False):
        model = dataclasses.replace(model, slope_mm=0.0, jump_mm2=0.0, g_mm=0.0)
    if rung.known and controller == "paper-s":
        theta0 = math.atan(slope[0])
        more |= {"curvature_range": (k, k), "theta0_rad": (theta0, theta0)}
        model = dataclasses.replace(model, curvature_per_mm=k)
    steerer = make_steerer(
        controller,
        tissue=model,
        depth_mm=_DEPTH_MM,
        limits=RollLimits(math.radians(budget_deg)),
        backlash_rad=rung.device.roll_backlash_rad,
        seed=seed,
        **more,
    )
    steerer.prepare()
    state, rig = steerer.start(0.0), RigModel(limits=rung.device, rng=np.random.default_rng([seed, 8]))
    ordered, used, depth, path = 0.0, 0.0, 0.0, [(0.0, 0.0, 0.0)]
    where = needle.step(0.0, 0.0, 0.0, slope)
    ticks = round(1.0 / _RATE_HZ / _STEP_S)
    while depth < _DEPTH_MM - 1e-6:
        y, z = where.tip_mm[1:]
        n = rng.normal(0.0, rung.noise_mm, 2).tolist() if rung.noise_mm else (0.0, 0.0)
        read = rig.read()
        sd = max(rung.noise_mm, 1e-3)
        seen = TipMeasurement(rig.time_s, depth, read.roll_rad, (y + n[0], z + n[1]), sd)
        state, command = steerer.step(state, seen)
        used += abs(command.roll_rad - ordered)
        ordered = command.roll_rad
        rig.order(Command(expires_at_s=None, insertion_angle_rad=rig.insertion_angle_rad, roll_rad=ordered))
        for _ in range(ticks):
            rig.advance(_STEP_S)
            depth = min(depth + speed * _STEP_S, _DEPTH_MM)  # the hand pushes, the device only rolls
            where = needle.step(depth, rig.base_rad, rig.time_s, slope)
        path.append((depth, *where.tip_mm[1:]))
    errors = path_errors(np.array(path), _DEPTH_MM)
    return {
        "final_mm": errors.final_mm,
        "mean_mm": errors.mean_mm,
        "max_mm": errors.max_mm,
        "rotation_deg": math.degrees(used),
        "depth_mm": rig.depth_mm,
        "ended": "target depth reached",
        "warned": False,
    }
