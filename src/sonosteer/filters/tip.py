"""What every filter of the tip along the axis offers the trackers of Paper T."""

from __future__ import annotations

from typing import Protocol, TypeVar

from sonosteer.core.arrays import F32


class Belief(Protocol):
    """What is believed of the tip: mean position along the axis in px, and its variance in px^2."""

    @property
    def x(self) -> float:
        """Mean position in px from the anchor."""
        ...

    @property
    def variance(self) -> float:
        """Variance in px^2."""
        ...


B = TypeVar("B", bound=Belief)


class Filter(Protocol[B]):
    """A tip over time. Steps are the paper's 1/20 s; velocities are px per step, None where not measured."""

    def begin(self, x_px: float, velocity_px: float | None) -> B:
        """Belief when the needle has been found with its tip at x_px."""
        ...

    def predict(self, belief: B, steps: float) -> B:
        """Let `steps` pass."""
        ...

    def update(self, belief: B, h: F32, first: int, last: int, velocity_px: float | None) -> tuple[B, bool]:
        """Take in h(x), first <= x < last; False where h had nothing to say."""
        ...
