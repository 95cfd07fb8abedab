"""OM: the tip is where h(x) is largest. Method 2 of Paper T (its reference [22]), no filter at all.

Source: Mathiassen et al. 2017 (full reference in `kalman.py`), Section IV-A.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.arrays import F32
from sonosteer.filters.tip import Filter


@dataclass(frozen=True, slots=True)
class Place:
    """A position along the axis in px, and the variance that is claimed for it in px^2."""

    x: float
    variance: float


@dataclass(frozen=True, slots=True)
class Maximum(Filter[Place]):
    """argmax h(x), anew in every frame."""

    sd_px: float = 40.0  # ours: of e_n, calibrated on validation scenes; the method itself claims nothing

    def begin(self, x_px: float, velocity_px: float | None) -> Place:
        """Where the needle was found."""
        return Place(x_px, self.sd_px**2)

    def predict(self, belief: Place, steps: float) -> Place:
        """Nothing is predicted."""
        return belief

    def update(self, belief: Place, h: F32, first: int, last: int, velocity_px: float | None) -> tuple[Place, bool]:
        """The largest h in first <= x < last."""
        return Place(float(first + h[first:last].argmax()), self.sd_px**2), True
