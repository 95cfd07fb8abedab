"""What the gate is told at one tick, and how it refuses. Finds what is not a usable number."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, Estimate, RobotState, TipEstimate, Track
from sonosteer.safety.regions import Covariance

LARGEST = 1e12  # chosen: no time, length or angle here comes near it, and arithmetic with it stays finite
SYMMETRY = 1e-6  # chosen: rounding leaves less, as a fraction of the variances
_LENGTH = {"probe_velocity_mm_s": 3, "probe_mm": 3, "tip_px": 2, "found_px": 2, "entry_px": 2, "box_px": 4}
_MAY_BE_NONE = ("visibility", "box_px", "found_px", "expires_at_s", "answer_frame")
_NO_NUMBER = (
    "command",
    "stop",
    "wiggle",
    "fault",
    "state",
    "reason",
    "note",
    "covariance_mm2",
    "covariance_px2",
    "features",
)


@dataclass(frozen=True, slots=True)
class GateInput:
    """All that the gate is told at one tick of the control loop. Every time is on one clock."""

    now_s: float
    """Time of the tick, s."""
    robot_state: RobotState
    """The newest state of the robot."""
    estimate: Estimate | None
    """The newest estimate of the tip, None before the first."""
    spacing: Spacing | None
    """Millimetres per pixel of the estimate's frame, None where unknown."""
    faults: tuple[str, ...] = ()
    """What the runtime knows to be wrong, such as a silent camera or a full disk. Any of them holds everything."""
    stop: str | None = None
    """Why the operator wants everything to stop, None otherwise. It is latched."""
    hold: str | None = None
    """Why the operator wants everything to wait, None otherwise. It is not latched."""
    by_hand: bool = False
    """True where the operator drives the needle, not the policy."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer that no robot moves on: hold instead."""

    rule: str
    """Name of the rule that refused."""
    value: float | None
    """Number that broke the rule, in the unit of `unit` (no unit of its own). None where the rule has no number."""
    bound: float | None
    """Limit that it broke, in the unit of `unit` (no unit of its own). None where the rule has no number."""
    unit: str
    """Unit of value and bound, empty where they have none."""
    reason: str
    """Why, in one line."""


def no(rule: str, reason: str) -> Refused:
    """Make a refusal without numbers."""
    return Refused(rule, None, None, "", reason)


def above(rule: str, value: float, bound: float, unit: str) -> Refused | None:
    """Refuse unless value <= bound. What is no number is above every bound."""
    if not value <= bound:
        return Refused(
            rule, float(value), float(bound), unit, f"{rule} {_say(value, unit)} is above {_say(bound, unit)}"
        )
    return None


def below(rule: str, value: float, bound: float, unit: str) -> Refused | None:
    """Refuse unless value >= bound. What is no number is below every bound."""
    if not value >= bound:
        return Refused(
            rule, float(value), float(bound), unit, f"{rule} {_say(value, unit)} is below {_say(bound, unit)}"
        )
    return None


def usable(value: Any) -> bool:
    """Return True for a real number of a size that means something here."""
    number = value.item() if isinstance(value, np.generic) else value
    return isinstance(number, Real) and bool(-LARGEST <= number <= LARGEST)  # type: ignore[operator]


def unusable(owner: Action | Command | RobotState | Estimate, what: str) -> Refused | None:
    """Refuse the first field of an action, a robot state or an estimate whose numbers cannot be used."""
    for field in dataclasses.fields(owner):
        value = getattr(owner, field.name)
        if field.name in _NO_NUMBER or (value is None and field.name in _MAY_BE_NONE):
            continue
        if not all(map(usable, _numbers(field.name, value))):
            return no("number", f"{what}: {field.name} is {value}, which is not a usable number")
    return None


def tip_of(estimate: Estimate | None) -> TipEstimate | None:
    """Return the tip, None if nothing is known of it."""
    if isinstance(estimate, TipEstimate) and estimate.state in (Track.TRACKING, Track.COASTING):
        return estimate
    return None


def usable_spacing(spacing: Any) -> Spacing | None:
    """Return millimetres per pixel, None where they are unknown."""
    return spacing if isinstance(spacing, Spacing) else None


def is_covariance(P: Any) -> bool:
    """Return True for a 2 x 2 matrix of usable numbers that can be a covariance: symmetric, and not negative."""
    if not isinstance(P, np.ndarray) or P.shape != (2, 2) or not all(usable(value) for row in P for value in row):
        return False
    along, both, across = covariance(P)
    symmetric = abs(P[0, 1] - P[1, 0]) <= SYMMETRY * (along + across)
    return bool(both * both <= along * across and symmetric)  # a negative variance fails one of the two


def covariance(P: Any) -> Covariance:
    """Return (along, both, across) in mm^2 of a 2 x 2 matrix."""
    (along, one), (other, across) = P
    return float(along), 0.5 * float(one + other), float(across)


def largest_sd_mm(P: Covariance) -> float:
    """Return the standard deviation along the axis on which it is largest."""
    xx, xy, yy = P
    return math.sqrt(0.5 * (xx + yy) + math.hypot(0.5 * (xx - yy), xy))


def turned(P: Covariance, angle_rad: float) -> Covariance:
    """Turn a covariance from axes along and across a direction to x and y."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    a, b, d = P
    return (
        c * c * a - 2 * c * s * b + s * s * d,
        c * s * (a - d) + (c * c - s * s) * b,
        s * s * a + 2 * c * s * b + c * c * d,
    )


def with_calibration(tip: TipEstimate, calibration_mm2: Covariance) -> Covariance:
    """Return the covariance of a tip along and across the needle, that of the calibration (x and y) included."""
    (a, b, d), (x, xy, y) = covariance(tip.covariance_mm2), turned(calibration_mm2, -tip.angle_rad)
    return a + x, b + xy, d + y


def _numbers(name: str, value: Any) -> tuple[Any, ...]:
    if name == "shaft_px" and isinstance(value, tuple):
        return tuple(number for point in value for number in _numbers("tip_px", point))
    if name not in _LENGTH:
        return (value,)
    return value if isinstance(value, tuple) and len(value) == _LENGTH[name] else (None,)


def _say(value: float, unit: str) -> str:
    return f"{value:.6g} {unit}".rstrip()
