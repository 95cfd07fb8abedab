"""Whether a calibration may be used, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.calibration.robust import RobustFit
from sonosteer.core.arrays import F64


def amount(value: float, unit: str) -> str:
    """A number with its unit as people say it: seconds in ms, a fraction in per cent of the motion."""
    if unit == "s":
        return f"{1e3 * value:.3g} ms"
    return f"{100 * value:.3g} % of the motion" if unit == "fraction" else f"{value:.3g} {unit}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a calibration may not exceed."""

    max_rms: float
    """Largest root mean square of the residuals, in the unit of `unit` (mm for a calibration of places)."""
    max_sd: float
    """Largest claimed standard deviation of the result, in the unit of `sd_unit`: mm or s."""
    unit: str = "mm"
    """Unit of the residuals."""
    sd_unit: str = "mm"
    """Unit of the claimed standard deviation."""
    # chosen: poses that turn about one axis only have 500 and more, by the noise of the tracker alone
    max_condition: float = 100.0
    """Largest condition number, no unit."""
    min_used: float = 0.6  # chosen: fewer are no outliers, but another motion
    """Smallest fraction of the observations that must agree, 0 to 1."""
    max_jackknife: float = 2.0  # chosen: twice is beyond chance
    """Largest ratio of the error by leaving out to the claimed one, no unit."""


@dataclass(frozen=True, slots=True)
class Check:
    """How well a calibration explains its observations."""

    observations: int
    """Number of observations."""
    used: int
    """Number of observations that were used. The others are taken to be wrong."""
    rms: float
    """Root mean square length of the residuals, in the unit of `unit`: mm, or no unit for a fraction."""
    held_out_rms: float
    """The same, each predicted without its own observation, in mm, or no unit for a fraction."""
    max_held_out: float
    """Largest such residual of those that were used, in mm, or no unit for a fraction."""
    unit: str
    """Unit of these residuals."""
    sd: float
    """Claimed standard deviation of the result, in the unit of `sd_unit`: mm or s."""
    jackknife_sd: float
    """The same by leaving out one observation after the other, in mm or s."""
    sd_unit: str
    """Unit of the two."""
    condition: float
    """Condition number of the observations, no unit. Large: they do not determine the result."""


def check_fit(fit: RobustFit, jacobian: F64, bounds: Bounds, columns: slice = slice(None)) -> Check:
    """Sum up a fit. jacobian: (m, p) of the result by the parameters. columns: residuals with the bounds' unit."""
    used = fit.used

    def lengths(r: F64) -> F64:
        return np.asarray(np.linalg.norm(r[used][:, columns], axis=1))

    inside, outside = lengths(fit.residuals), lengths(fit.held_out)
    return Check(
        observations=len(used),
        used=int(used.sum()),
        rms=float(np.sqrt(np.mean(inside**2))),
        held_out_rms=float(np.sqrt(np.mean(outside**2))),
        max_held_out=float(outside.max()),
        unit=bounds.unit,
        sd=fit.sd_of(jacobian),
        jackknife_sd=fit.sd_of(jacobian, jackknife=True),
        sd_unit=bounds.sd_unit,
        condition=fit.condition,
    )


def refusals(check: Check, bounds: Bounds, *, move: str) -> tuple[str, ...]:
    """Why a calibration may not be used, a line each, the gravest first. Empty if it may.

    move: what to do if the motion does not determine the answer.
    """
    out = []
    if not check.condition <= bounds.max_condition:
        out.append(
            f"the motion does not determine the answer: condition number {check.condition:.3g}, "
            f"{bounds.max_condition:g} is allowed (`max_condition`). {move}"
        )
    if not check.used >= bounds.min_used * check.observations:
        out.append(
            f"only {check.used} of {check.observations} observations agree with each other, "
            f"{bounds.min_used:.0%} must. Something moved or bent, or the tables do not belong together"
        )
    if not check.rms <= bounds.max_rms:
        out.append(
            f"the residual is {amount(check.rms, check.unit)} rms, {amount(bounds.max_rms, check.unit)} is allowed "
            f"(`max_rms_{check.unit}`). Something bent or moved, or the inputs do not belong together"
        )
    if not check.sd <= bounds.max_sd:
        out.append(
            f"the claimed error is {amount(check.sd, check.sd_unit)}, {amount(bounds.max_sd, check.sd_unit)} is "
            f"allowed (`max_sd_{check.sd_unit}`). Take more observations that differ more"
        )
    if not check.jackknife_sd <= bounds.max_jackknife * max(check.sd, 1e-9):
        out.append(
            f"the claimed error of {amount(check.sd, check.sd_unit)} does not hold: leaving out one observation after "
            f"the other says {amount(check.jackknife_sd, check.sd_unit)}. A few observations decide alone. "
            "Take more that differ more"
        )
    return tuple(out)
