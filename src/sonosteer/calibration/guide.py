"""Needle guide to image: where a needle that the robot pushes through its guide appears in the picture.

p = o + (l + l_0) (cos(g alpha + theta), sin(g alpha + theta)) in image mm.

| symbol | name | unit |
| --- | --- | --- |
| p | the tip in the picture | mm |
| l, alpha | insertion length and angle that the encoders say | mm, rad |
| o | the point that the guide turns about, in the picture | mm |
| theta, g | direction of the guide at alpha = 0, and the sense of the encoder's angle, 1 or -1 | rad, - |
| l_0 | length between that point and the tip where l = 0. Taken as 0 where the angle does not vary | mm |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.calibration.robust import Indices, Problem, RobustFit, State, robust_fit
from sonosteer.core.arrays import F64

#: parameters of the fit, in this order. The last one only where the angle varies
GUIDE_PARAMETERS = ("origin_x_mm", "origin_y_mm", "turn_rad", "length_mm")
MIN_GUIDE_POINTS = 8  # chosen: three are enough without noise, and eight say something of it
VARIES_RAD = 0.05  # chosen: 3 degrees move a tip at 40 mm by 2 mm, ten times the noise of a mark


@dataclass(frozen=True, slots=True, eq=False)
class GuideFit:
    """Where a needle guide is in the picture."""

    origin_mm: F64
    """(2,) the point that it turns about, image mm. At one angle only: the tip where the encoder says 0 mm."""
    angle_rad: float
    """Direction of the guide where the encoder says 0 rad, from image +x towards +y, rad."""
    sense: int
    """1 if the encoder's angle grows from image +x towards +y, -1 if it grows the other way, no unit."""
    length_mm: float
    """Length that adds to the encoder's, mm. 0 at one angle only."""
    fit: RobustFit
    """The fit behind it. Residuals are mm along the image's x and y."""

    def tip_mm(self, depth_mm: F64, angle_rad: F64) -> F64:
        """(n, 2) the tips that the encoders' lengths (n,) and angles (n,) give, image mm."""
        return _tips(self.fit.state, depth_mm, self.sense * angle_rad)

    def tip_covariance(self, depth_mm: float, angle_rad: float) -> F64:
        """(2, 2) claimed covariance of such a tip in the picture, mm^2."""
        a = self.angle_rad + self.sense * angle_rad
        along, length = np.array([np.cos(a), np.sin(a)]), depth_mm + self.length_mm
        J = np.column_stack([np.eye(2), length * np.array([-along[1], along[0]]), along])[:, : len(self.fit.covariance)]
        return np.asarray(J @ self.fit.covariance @ J.T)


def _tips(state: State, depth_mm: F64, turned_rad: F64) -> F64:
    a = state[2] + turned_rad
    return np.asarray(state[:2] + (depth_mm + state[3])[:, None] * np.column_stack([np.cos(a), np.sin(a)]))


def guide_problem(tips_mm: F64, depth_mm: F64, turned_rad: F64) -> Problem:
    """The problem of tips (n, 2), image mm, at encoders' lengths (n,), mm, and angles (n,), rad."""
    varied = bool(np.ptp(turned_rad) > VARIES_RAD)

    def start(at: Indices) -> State | None:
        c, s, length = np.cos(turned_rad[at]), np.sin(turned_rad[at]), depth_mm[at]
        one, none = np.ones(len(at)), np.zeros(len(at))
        columns_x, columns_y = [one, none, length * c, -length * s], [none, one, length * s, length * c]
        if varied:  # linear in l_0 (cos, sin), too
            columns_x, columns_y = [*columns_x, c, -s], [*columns_y, s, c]
        A = np.concatenate([np.column_stack(columns_x), np.column_stack(columns_y)])
        x = np.linalg.lstsq(A, tips_mm[at].T.reshape(-1), rcond=None)[0]
        if np.hypot(x[2], x[3]) < 1e-9:
            return None
        extra = float(x[4:6] @ x[2:4] / (x[2:4] @ x[2:4])) if varied else 0.0
        return np.array([x[0], x[1], np.arctan2(x[3], x[2]), extra])

    def moved(state: State, change: F64) -> State:
        return state + (change if varied else np.append(change, 0.0))

    return Problem(
        count=len(tips_mm),
        parameters=GUIDE_PARAMETERS if varied else GUIDE_PARAMETERS[:3],
        kinds=(0, 0),
        residuals=lambda state, at: _tips(state, depth_mm[at], turned_rad[at]) - tips_mm[at],
        moved=moved,
        start=start,
        sample=4,
    )


def fit_guide(tips_mm: F64, depth_mm: F64, angle_rad: F64, *, seed: int = 0) -> GuideFit:
    """Find the guide from tips in the picture (n, 2), mm, and the encoders' lengths (n,), mm, and angles (n,), rad."""
    fits = {g: robust_fit(guide_problem(tips_mm, depth_mm, g * angle_rad), seed=seed) for g in (1, -1)}
    sense = min(fits, key=lambda g: float(np.median(np.linalg.norm(fits[g].residuals, axis=1))))
    fit = fits[sense]
    return GuideFit(
        origin_mm=fit.state[:2],
        angle_rad=float(fit.state[2]),
        sense=sense,
        length_mm=float(fit.state[3]),
        fit=fit,
    )
