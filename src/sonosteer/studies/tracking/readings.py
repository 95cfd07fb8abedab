"""What the paper leaves open, as settings: each reading of an equation is a variant of a method.

Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`). The variants are run on the same insertions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sonosteer.filters.tip import STEP_S


@dataclass(frozen=True, slots=True)
class Reading:
    """One method with some settings changed."""

    method: str
    """Name of the method in the table of trackers."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What differs from the default, as `--set` takes it."""
    about: str = ""
    """What is read otherwise, in words."""
    cause: bool = False
    """True for the experiments on why PF+F has the smaller spread, False for another reading of the text."""


#: process noise of each filter in the other's units: deviations per step of 1/20 s
_KF_Q = {"tip.q_x_px": STEP_S / 2**0.5 * 0.1, "tip.q_v_px_s": 0.1 / STEP_S}
_PF_Q = {"tip.q_x": STEP_S**2 / 2 * 100.0**2, "tip.q_v": (STEP_S * 100.0) ** 2}
_PF_P0 = {"tip.p0_x": STEP_S**2 / 2 * 50.0**2, "tip.p0_v": (STEP_S * 50.0) ** 2}
_ONE_STEP = {"coarse_deg": 1.5, "fine_deg": 0.0}

#: name of the variant -> what it is. A name is a method, a colon and a word
READINGS: dict[str, Reading] = {
    "om: 1.5 deg": Reading("om", _ONE_STEP, "original search in steps of 1.5 degrees (II-A2), no second pass"),
    "om+f: 1.5 deg": Reading("om+f", _ONE_STEP, "the same"),
    "kf: capped": Reading("kf", {"tip.evidence": "capped"}, "(15) with P at most 1, so that R_k >= R_MIN"),
    "kf+f: capped": Reading("kf+f", {"tip.evidence": "capped"}, "the same"),
    "kfv: capped": Reading("kfv", {"tip.evidence": "capped"}, "the same"),
    "kfv+f: capped": Reading("kfv+f", {"tip.evidence": "capped"}, "the same"),
    "kf: total": Reading("kf", {"tip.evidence": "total"}, "(15) as the sum over the candidates"),
    "kf+f: total": Reading("kf+f", {"tip.evidence": "total"}, "the same"),
    "kfv: total": Reading("kfv", {"tip.evidence": "total"}, "the same"),
    "kfv+f: total": Reading("kfv+f", {"tip.evidence": "total"}, "the same"),
    "pf: peak": Reading("pf", {"tip.centre": "peak"}, "(21) centred on the largest h, as (22) has it"),
    "pf+f: peak": Reading("pf+f", {"tip.centre": "peak"}, "the same"),
    "pfv: peak": Reading("pfv", {"tip.centre": "peak"}, "the same"),
    "pfv+f: peak": Reading("pfv+f", {"tip.centre": "peak"}, "the same"),
    "kf+f: noise of pf": Reading("kf+f", _PF_Q, "process noise of the particle filter in KF+F", cause=True),
    "kf+f: start of pf": Reading("kf+f", _PF_P0, "first covariance of the particle filter in KF+F", cause=True),
    "kf+f: quick start": Reading("kf+f", {"tip.p0_v": 20.0**2}, "P_0 of the velocity 20^2 instead of 5^2", cause=True),
    "kf+f: R / 10": Reading("kf+f", {"tip.r_min": 90.0}, "R_MIN a tenth", cause=True),
    "pf+f: noise of kf": Reading("pf+f", _KF_Q, "process noise of the Kalman filter in PF+F", cause=True),
}
