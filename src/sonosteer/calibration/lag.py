"""How much later the picture shows a motion than the robot reports it, from the motion itself.

a_k(t) = b_k + c_k s(t - tau): each coordinate of what the picture shows is the robot's position s, scaled and shifted,
a lag tau later. The lag is looked for by cross-correlation over a range, then refined between the samples together with
the scales, as in [1].

| symbol | name | unit |
| --- | --- | --- |
| a_k | coordinate k of the tip in the picture | mm or px |
| s | the robot's position along its main direction of motion | mm |
| tau | the lag. Positive: the picture is late | s |

The errors of neighbouring samples are alike. So the claimed error comes from leaving out whole stretches of time.

[1] A. Lasso et al., "PLUS: open-source toolkit for ultrasound-guided intervention systems", IEEE Trans. Biomed. Eng.
61, 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from sonosteer.calibration.robust import Indices, Problem, RobustFit, State, robust_fit
from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError

STRETCHES = 20  # chosen: enough for a jackknife, each longer than the errors of a tracker hang together
MIN_SAMPLES = 60  # chosen: three in each stretch
FINE = 4  # chosen: steps of the search per sample, so that no peak is missed


@dataclass(frozen=True, slots=True, eq=False)
class LagFit:
    """The lag between two signals."""

    lag_s: float
    """How much later the picture is than the robot, s."""
    searched_s: F64
    """(m,) lags of the search, s."""
    correlation: F64
    """(m,) correlation of the two signals at each, 0 to 1."""
    times_s: F64
    """(n,) times of the samples that were compared, s."""
    seen: F64
    """(n, k) what the picture shows, mm or px."""
    explained: F64
    """(n, k) the robot's motion, scaled, shifted and late, mm or px."""
    rival_s: float | None
    """Another lag that explains the motion almost as well, s. None if there is none."""
    fit: RobustFit
    """The fit behind it. Residuals are in the picture's unit, mm or px."""


def fit_lag(
    times_s: F64, seen: F64, robot_times_s: F64, robot: F64, *, max_lag_s: float = 0.5, seed: int = 0
) -> LagFit:
    """Find the lag.

    seen: (n, k) coordinates in the picture at times (n,), mm or px. robot: (m, j) positions at times (m,), mm.
    Raises InputError if too little of both is there at the same time, or if one of them does not move.
    """
    motion = robot - robot.mean(axis=0)
    s = motion @ np.linalg.svd(motion, full_matrices=False)[2][0]
    if float(np.ptp(s)) <= 0.0 or float(np.ptp(seen, axis=0).max()) <= 0.0:
        raise InputError(
            f"{'the robot' if np.ptp(s) <= 0.0 else 'the tip in the picture'} does not move: move it to and fro"
        )
    spline = CubicSpline(robot_times_s, s)
    both = (times_s >= robot_times_s[0] + max_lag_s) & (times_s <= robot_times_s[-1] - max_lag_s)
    if both.sum() < MIN_SAMPLES:
        raise InputError(
            f"only {int(both.sum())} pictures lie within the robot's record, {max_lag_s:g} s from its ends: "
            f"{MIN_SAMPLES} are needed. Record longer, or give a smaller `max_lag_s`"
        )
    t, a = times_s[both], seen[both]
    step = float(np.median(np.diff(t))) / FINE
    lags = np.arange(-max_lag_s, max_lag_s + step / 2, step)
    smooth = _median_of_five(a)
    correlation = np.array([_correlation(smooth, spline(t - lag)) for lag in lags])
    coarse = float(lags[int(np.argmax(correlation))])
    fit = robust_fit(_problem(t, a, spline, coarse), seed=seed)
    lag, offsets, scales = fit.state
    return LagFit(
        lag_s=float(lag),
        searched_s=lags,
        correlation=correlation,
        times_s=t,
        seen=a,
        explained=offsets + np.outer(spline(t - lag), scales),
        rival_s=_rival(lags, correlation),
        fit=fit,
    )


def _problem(t: F64, a: F64, spline: Callable[[F64], F64], coarse: float) -> Problem:
    k = a.shape[1]
    size = max(float(np.std(a)), 1e-12)

    def residuals(state: State, at: Indices) -> F64:
        lag, offsets, scales = state
        return np.asarray(offsets + np.outer(spline(t[at] - lag), scales) - a[at])

    def start(at: Indices) -> State | None:
        A = np.column_stack([np.ones(len(at)), spline(t[at] - coarse)])
        x = np.linalg.lstsq(A, a[at], rcond=None)[0]
        return coarse, x[0], x[1]

    return Problem(
        count=len(t),
        parameters=("lag_s", *(f"offset_{i}_of_size" for i in range(k)), *(f"scale_{i}_ratio" for i in range(k))),
        kinds=(0,) * k,
        residuals=residuals,
        moved=lambda s, change: (s[0] + change[0], s[1] + size * change[1 : k + 1], s[2] * 1.0 + change[k + 1 :]),
        start=start,
        sample=6,
        groups=(np.arange(len(t)) * STRETCHES) // len(t),
    )


def _median_of_five(a: F64) -> F64:
    """Each sample replaced by the median of five, so that single jumps of a tracker do not correlate with anything."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, ((2, 2), (0, 0)), "edge"), 5, axis=0)
    return np.asarray(np.median(windows, axis=-1))


def _correlation(a: F64, s: F64) -> float:
    """Root of the fraction of the picture's motion that a signal explains, 0 to 1."""
    s = s - s.mean()
    a = a - a.mean(axis=0)
    power = float((s**2).sum())
    explained = float(((s @ a) ** 2).sum()) / power if power > 0.0 else 0.0
    return float(np.sqrt(explained / max(float((a**2).sum()), 1e-300)))


def _rival(lags: F64, correlation: F64) -> float | None:
    """The best other peak, if what it leaves unexplained is less than four times that of the best."""
    best = int(np.argmax(correlation))
    peaks = [
        i
        for i in range(1, len(lags) - 1)
        if correlation[i] >= correlation[i - 1] and correlation[i] > correlation[i + 1] and i != best
    ]
    left = 1.0 - correlation**2
    rivals = [
        i for i in peaks if left[i] < 4.0 * left[best] and np.ptp(correlation[min(i, best) : max(i, best) + 1]) > 0.05
    ]
    return float(lags[max(rivals, key=lambda i: correlation[i])]) if rivals else None
