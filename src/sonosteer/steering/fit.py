"""Fits the curvature and the entry angle of a needle to its measured tip, by least squares with a posterior.

Model and data: Carriere et al. 2019, Eq. (18).

| symbol | name here | unit |
| --- | --- | --- |
| kappa | `curvature_per_mm`, curvature of the path | 1/mm |
| theta_0 | `theta0_rad`, angle to the insertion axis at the entry | rad |
| phi_0 | `phi0_rad`, roll of the bevel at the entry | rad |
| y_US, z_US | `y_mm`, `z_mm`, tip across the insertion axis at inserted length l | mm |

Departs from the paper: the paper fits (kappa, theta_0) by a genetic search. This is Gauss-Newton within bounds. It is
robust against outliers, and its covariance follows from the residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.recording.tables import number, optional, read_table

MIN_POINTS = 3  # chosen: six coordinates for at most three parameters
OUTLIER_SD = 5.0  # chosen: robust standard deviations beyond which a position is an outlier
RAYLEIGH_MEDIAN = 1.177  # median of a Rayleigh distribution of scale 1: sqrt(2 ln 2)
MIN_CURVATURE_PER_MM = 1e-9  # chosen: below it a needle is straight to a nanometre
MAX_CONDITION = 1e12  # chosen: above this the data do not tell the parameters apart in double precision


@dataclass(frozen=True, slots=True)
class TipMeasurements:
    """Where the tip was measured. The arrays have equal length, and the inserted length rises."""

    depth_mm: F64
    """(n,) inserted length, mm."""
    y_mm: F64
    """(n,) deflection of the tip along y, mm."""
    z_mm: F64
    """(n,) deflection of the tip along z, mm."""


@dataclass(frozen=True, slots=True)
class NeedleFit:
    """The fitted needle, its posterior standard deviations and its residual."""

    curvature_per_mm: float
    """kappa, curvature of the path, 1/mm."""
    theta0_rad: float
    """theta_0, angle to the insertion axis at the entry, rad."""
    phi0_rad: float
    """phi_0, roll of the bevel at the entry, rad. As given unless it was fitted."""
    curvature_sd_per_mm: float
    """Posterior standard deviation of kappa, 1/mm."""
    theta0_sd_rad: float
    """Posterior standard deviation of theta_0, rad."""
    phi0_sd_rad: float | None
    """Posterior standard deviation of phi_0, rad. None if phi_0 was given."""
    residual_mm: float
    """Root mean square distance from the inliers to the path, mm."""
    points: int
    """Number of positions, outliers included."""
    outliers: int
    """Number of positions that the fit left out."""


def read_tip_measurements(path: Path) -> TipMeasurements:
    """Read a CSV with the columns `depth_mm,y_mm,z_mm`. Leaves out rows with an empty position (no tip seen).

    Raises InputError if the table is damaged, a depth is below 0, or fewer than 3 positions are left.
    """
    rows = read_table(
        path, ("depth_mm", "y_mm", "z_mm"), lambda r: (number(r, "depth_mm"), optional(r, "y_mm"), optional(r, "z_mm"))
    )
    seen = sorted((d, y, z) for d, y, z in rows if y is not None and z is not None)
    if len(seen) < MIN_POINTS:
        raise InputError(f"{path} has {len(seen)} positions of the tip. A fit needs at least {MIN_POINTS}")
    if seen[0][0] < 0:
        raise InputError(f"{path}: depth_mm is {seen[0][0]:g}, but inserted length begins at 0")
    table = np.array(seen, np.float64).T
    return TipMeasurements(depth_mm=table[0], y_mm=table[1], z_mm=table[2])


def fit_needle(
    seen: TipMeasurements,
    plan: Plan,
    phi0_rad: float = 0.0,
    *,
    fit_phi0: bool = False,
    curvature_per_mm: tuple[float, float] = (-0.02, 0.02),
    theta0_rad: tuple[float, float] = (-0.8, 0.8),
    noise_mm: float = 0.15,
    along_axis: bool = False,
) -> NeedleFit:
    """Fit kappa and theta_0 to positions of the tip under the plan that was executed.

    phi0_rad: roll of the bevel at the entry. fit_phi0: fit it too, within half a turn. curvature_per_mm, theta0_rad:
    lowest and highest value. noise_mm: expected standard deviation of a position. along_axis: a depth is the distance x
    along the axis and not the inserted length. Residuals well beyond it lose weight
    (soft L1). Positions beyond five robust deviations are outliers. The posterior takes the larger of the expected and
    the found deviation. Raises InputError if the positions do not determine the parameters.
    """
    from scipy.optimize import least_squares

    if not noise_mm > 0:
        raise InputError(f"fit: noise_mm is {noise_mm:g}, but must be more than 0")

    def left(p: F64) -> F64:
        roll = float(p[2]) if fit_phi0 else phi0_rad
        needle = Bicycle(float(p[0]), float(p[1]), roll)
        path = needle.path(plan, _inserted_mm(needle, seen.depth_mm) if along_axis else seen.depth_mm)
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
    robust = max(float(np.median(distance)) / RAYLEIGH_MEDIAN, noise_mm)
    counts = distance < OUTLIER_SD * robust
    if counts.sum() < MIN_POINTS:
        raise InputError("fit: hardly any position of the tip fits a needle of constant curvature under this plan")
    both = np.concatenate([counts, counts])
    final = least_squares(lambda p: left(p)[both], best.x, bounds=(low, high), x_scale=scale)
    free = max(int(both.sum()) - len(low), 1)
    variance = max(2.0 * float(final.cost) / free, 1.0)  # in units of noise_mm^2
    information = final.jac.T @ final.jac
    unit = np.outer(scale, scale)
    if not np.linalg.cond(information * unit) < MAX_CONDITION:
        raise InputError("fit: the positions do not tell curvature and angle apart. Insert deeper")
    sd = np.sqrt(np.diag(np.linalg.inv(information)) * variance)
    k, theta0 = (float(v) for v in final.x[:2])
    roll = float(final.x[2]) if fit_phi0 else phi0_rad
    rms = float(np.sqrt(np.mean((np.hypot(*left(final.x).reshape(2, n))[counts] * noise_mm) ** 2)))
    roll_sd = float(sd[2]) if fit_phi0 else None
    return NeedleFit(
        curvature_per_mm=k,
        theta0_rad=theta0,
        phi0_rad=roll,
        curvature_sd_per_mm=float(sd[0]),
        theta0_sd_rad=float(sd[1]),
        phi0_sd_rad=roll_sd,
        residual_mm=rms,
        points=n,
        outliers=int((~counts).sum()),
    )


def _inserted_mm(needle: Bicycle, x_mm: F64) -> F64:
    """Return the inserted length at x along the axis, mm: Eq. (4) inverted. Out of reach, as far as the needle goes."""
    k, theta0 = needle.curvature_per_mm, needle.theta0_rad
    if abs(k) < MIN_CURVATURE_PER_MM:
        return x_mm / math.cos(theta0)
    out: F64 = np.maximum((np.arcsin(np.clip(k * x_mm + math.sin(theta0), -1.0, 1.0)) - theta0) / k, 0.0)
    return out
