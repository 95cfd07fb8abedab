"""OM: the tip is where h(x) is largest, without any filter.

Source: Mathiassen et al. 2017 (full reference in `kalman.py`), Section IV-A: method 2, from its reference [22].

| symbol | name here | unit |
| --- | --- | --- |
| h(x) | `h`, Eq. (6) | no unit |

Departs from the paper: a deviation is claimed, though the method gives none.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.arrays import F32
from sonosteer.filters.tip import Filter


@dataclass(frozen=True, slots=True)
class MaximumBelief:
    """A position along the axis, and the variance that is claimed for it."""

    x: float
    """Position from the anchor, px."""
    variance: float
    """Claimed variance, px^2."""


@dataclass(frozen=True, slots=True)
class Maximum(Filter[MaximumBelief]):
    """The largest h(x), anew in every frame."""

    sd_px: float = 40.0  # chosen: calibrated on validation scenes
    """Claimed deviation along the axis, px."""

    def begin(self, x_px: float, velocity_px: float | None) -> MaximumBelief:
        """Start where the needle was found."""
        return MaximumBelief(x_px, self.sd_px**2)

    def predict(self, belief: MaximumBelief, steps: float) -> MaximumBelief:
        """Return the belief unchanged."""
        return belief

    def update(
        self, belief: MaximumBelief, h: F32, *, first: int, last: int, velocity_px: float | None
    ) -> tuple[MaximumBelief, bool]:
        """Find the largest h in first <= x < last."""
        return MaximumBelief(float(first + h[first:last].argmax()), self.sd_px**2), True
