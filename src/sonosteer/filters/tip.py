"""What every filter of the tip along the axis offers the trackers of Mathiassen et al. 2017."""

from __future__ import annotations

from typing import Protocol, TypeVar

from sonosteer.core.arrays import F32

#: nominal time between two frames, s: the paper's 20 frames a second
STEP_S = 0.05


class Belief(Protocol):
    """Estimate of the tip's position along the axis."""

    @property
    def x(self) -> float:
        """Mean position from the anchor, px."""
        ...

    @property
    def variance(self) -> float:
        """Variance of the position, px^2."""
        ...


B = TypeVar("B", bound=Belief)


class Filter(Protocol[B]):
    """Filters the tip over time. A step is `STEP_S`. Velocities are px per step, None if not measured."""

    def begin(self, x_px: float, velocity_px: float | None) -> B:
        """Start with a needle whose tip was found at x_px."""
        ...

    def predict(self, belief: B, steps: float) -> B:
        """Predict over `steps` nominal steps."""
        ...

    def update(self, belief: B, h: F32, *, first: int, last: int, velocity_px: float | None) -> tuple[B, bool]:
        """Update with h(x), first <= x < last. The flag is False if h gave no measurement."""
        ...
