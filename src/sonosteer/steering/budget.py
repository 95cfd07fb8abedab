"""The limits that hold for every controller: all rotation, its rate, and hold wherever something is unknown.

A controller says what roll it wants; what is ordered is a set-point that follows it. The set-point's whole way is
never more than the budget, its rate never more than allowed, and it stands still while time, depth, roll or tip are
unknown, not numbers, or not newer than the last.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.types import RollCommand, TipMeasurement


@dataclass(frozen=True, slots=True)
class RollLimits:
    """budget_rad: of all rotation of the base (Paper S: half a turn for each of three event points). rate_rad_s: ours.

    longest_s: after a gap the set-point moves as if no more than this had passed.
    """

    budget_rad: float = 3 * math.pi
    rate_rad_s: float = 6.0
    longest_s: float = 0.1

    def __post_init__(self) -> None:
        check_finite(self, "steering limits")
        check_range(self, "steering limits", 0.0, 1e3, "budget_rad")
        check_range(self, "steering limits", 1e-3, 100.0, "rate_rad_s", "longest_s")


class Wanting(Protocol):
    """A controller behind the limits: told also what is ordered now and how much rotation is used up."""

    def prepare(self) -> None:
        """Compile."""
        ...

    def start(self, roll_rad: float) -> Any:
        """Return the state at the entry."""
        ...

    def step(
        self, state: Any, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[Any, RollCommand]:
        """Return the next state and the roll that is wanted."""
        ...


@dataclass(frozen=True, slots=True)
class State:
    """Of the controller, and what has been ordered: last time, roll now, all rotation so far."""

    inner: Any
    time_s: float
    ordered_rad: float
    used_rad: float


@dataclass(frozen=True)
class Limited:
    """A controller within limits: the `Steerer` that everybody outside this package sees."""

    controller: Wanting
    limits: RollLimits = RollLimits()

    def prepare(self) -> None:
        """Compile."""
        self.controller.prepare()

    def start(self, roll_rad: float) -> State:
        """At the entry nothing is used up."""
        return State(self.controller.start(roll_rad), -math.inf, roll_rad, 0.0)

    def step(self, state: State, measurement: TipMeasurement) -> tuple[State, RollCommand]:
        """Follow what the controller wants as far as the limits allow."""
        bad = _unusable(measurement, state.time_s)
        if bad is not None:
            return state, RollCommand(state.ordered_rad, f"hold: {bad}")
        elapsed = min(measurement.time_s - state.time_s, self.limits.longest_s)
        inner, wanted = self.controller.step(state.inner, measurement, state.ordered_rad, state.used_rad)
        turn = wanted.roll_rad - state.ordered_rad
        most = min(self.limits.rate_rad_s * elapsed, self.limits.budget_rad - state.used_rad)
        why = wanted.why
        if measurement.tip_mm is None:
            turn, why = 0.0, "hold: the tip is not seen"
        elif wanted.stop or not math.isfinite(turn):
            turn = 0.0
        turn = min(max(turn, -most), most)
        ordered = state.ordered_rad + turn
        after = State(inner, measurement.time_s, ordered, state.used_rad + abs(turn))
        return after, dataclasses.replace(wanted, roll_rad=ordered, why=why)


def _unusable(s: TipMeasurement, before_s: float) -> str | None:
    if not math.isfinite(s.time_s):
        return "the time is unknown"
    if not s.time_s > before_s:
        return "nothing new since the last sighting"
    if not (math.isfinite(s.depth_mm) and math.isfinite(s.roll_rad)):
        return "depth or roll is unknown"
    if not (math.isfinite(s.breath) and s.sd_mm > 0 and math.isfinite(s.sd_mm)):
        return "the sighting's spread or the breathing is unknown"
    if s.tip_mm is not None and not all(map(math.isfinite, s.tip_mm)):
        return "the tip's position is not a number"
    return None
