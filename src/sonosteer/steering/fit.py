"""Curvature and entry angle of a needle from where its tip was seen: least squares with a posterior.

Paper S fits (kappa, theta_0) by a genetic search (Eq. (18)); this is the same model and the same data, solved by
Gauss-Newton within bounds, robust against outliers, and with the covariance that the residuals imply.

| symbol | name here | unit |
| --- | --- | --- |
| kappa, theta_0, phi_0 | `curvature_per_mm`, `theta0_rad`, `phi0_rad` | 1/mm, rad, rad |
| y_US, z_US | `y_mm`, `z_mm`, tip across the insertion axis at inserted length l | mm |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.recording.tables import number, optional, read_table

FEWEST = 3


@dataclass(frozen=True, slots=True)
class TipMeasurements:
    """Where the tip was: inserted length and both deflections in mm, arrays of equal length in rising order."""

    depth_mm: F64
    y_mm: F64
    z_mm: F64


@dataclass(frozen=True, slots=True)
class Fit:
    """The estimate, a posterior standard deviation for each (None where phi_0 was given), and what is left.

    residual_mm: root mean square of the distance over the sightings that count. outliers: those that do not.
    """

    curvature_per_mm: float
    theta0_rad: float
    phi0_rad: float
    curvature_sd_per_mm: float
    theta0_sd_rad: float
    phi0_sd_rad: float | None
    residual_mm: float
    points: int
    outliers: int


def read_tip_measurements(path: Path) -> TipMeasurements:
    """Read a CSV `depth_mm,y_mm,z_mm`; rows with an empty position (no tip seen) are left out.

    InputError for a damaged table, depths below 0, or fewer than 3 sightings.
    """
    rows = read_table(
        path, ("depth_mm", "y_mm", "z_mm"), lambda r: (number(r, "depth_mm"), optional(r, "y_mm"), optional(r, "z_mm"))
    )
    seen = sorted((d, y, z) for d, y, z in rows if y is not None and z is not None)
    if len(seen) < FEWEST:
        raise InputError(f"{path} has {len(seen)} positions of the tip; at least {FEWEST} are needed for a fit")
    if seen[0][0] < 0:
        raise InputError(f"{path}: depth_mm is {seen[0][0]:g}, but inserted length begins at 0")
    table = np.array(seen, np.float64).T
    return TipMeasurements(table[0], table[1], table[2])


def fit(
    seen: TipMeasurements,
    plan: Plan,
    phi0_rad: float = 0.0,
    *,
    fit_phi0: bool = False,
    curvature_per_mm: tuple[float, float] = (-0.02, 0.02),
    theta0_rad: tuple[float, float] = (-0.8, 0.8),
    noise_mm: float = 0.15,
) -> Fit:
    """Fit kappa and theta_0 (and phi_0 if asked) to sightings under the plan that was executed.

    noise_mm: expected standard deviation of a sighting; residuals beyond some of it lose weight (soft L1), and those
    beyond five robust deviations are outliers. The posterior takes the larger of what is expected and what is found.
    InputError if the sightings do not determine the parameters.
    """
    from scipy.optimize import least_squares

    if not noise_mm > 0:
        raise InputError(f"fit: noise_mm is {noise_mm:g}, but must be more than 0")

    def left(p: F64) -> F64:
        roll = float(p[2]) if fit_phi0 else phi0_rad
        path = Bicycle(float(p[0]), float(p[1]), roll).path(plan, seen.depth_mm)
        return np.concatenate([path[:, 1] - seen.y_mm, path[:, 2] - seen.z_mm]) / noise_mm

    low = [curvature_per_mm[0], theta0_rad[0]] + ([phi0_rad - np.pi] if fit_phi0 else [])
    high = [curvature_per_mm[1], theta0_rad[1]] + ([phi0_rad + np.pi] if fit_phi0 else [])
    starts = [
        [k, t, *([phi0_rad + r] if fit_phi0 else [])] for k in (5e-4, -5e-4) for t in (0.0, 0.05) for r in (0.0, 1.5)
    ]
    scale = [1e-3, 0.05, 0.5][: len(low)]
    tried = [
        least_squares(left, np.clip(s, low, high), bounds=(low, high), x_scale=scale, loss="soft_l1", f_scale=2.0)
        for s in (starts if fit_phi0 else starts[::2])
    ]
    best = min(tried, key=lambda r: float(r.cost))
    n = len(seen.depth_mm)
    distance = np.hypot(*left(best.x).reshape(2, n)) * noise_mm
    robust = max(float(np.median(distance)) / 1.177, noise_mm)  # median of a Rayleigh distribution
    counts = distance < 5.0 * robust
    if counts.sum() < FEWEST:
        raise InputError("fit: hardly any position of the tip fits a needle of constant curvature under this plan")
    both = np.concatenate([counts, counts])
    final = least_squares(lambda p: left(p)[both], best.x, bounds=(low, high), x_scale=scale)
    free = max(int(both.sum()) - len(low), 1)
    variance = max(2.0 * float(final.cost) / free, 1.0)  # in units of noise_mm^2
    information = final.jac.T @ final.jac
    unit = np.outer(scale, scale)
    if not np.linalg.cond(information * unit) < 1e12:
        raise InputError("fit: the positions do not tell curvature and angle apart; more depth is needed")
    sd = np.sqrt(np.diag(np.linalg.inv(information)) * variance)
    k, theta0 = (float(v) for v in final.x[:2])
    roll = float(final.x[2]) if fit_phi0 else phi0_rad
    rms = float(np.sqrt(np.mean(distance_mm(seen, plan, k, theta0, roll)[counts] ** 2)))
    roll_sd = float(sd[2]) if fit_phi0 else None
    return Fit(k, theta0, roll, float(sd[0]), float(sd[1]), roll_sd, rms, n, int((~counts).sum()))


def distance_mm(seen: TipMeasurements, plan: Plan, k: float, theta0: float, phi0: float) -> F64:
    """Distance of each sighting from a needle's path."""
    path = Bicycle(k, theta0, phi0).path(plan, seen.depth_mm)
    out: F64 = np.hypot(path[:, 1] - seen.y_mm, path[:, 2] - seen.z_mm)
    return out
