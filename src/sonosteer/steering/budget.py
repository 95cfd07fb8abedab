"""The limits that hold for every controller: total rotation, its rate, and a hold where something is unknown.

A controller says what roll it wants. The set-point that is ordered follows it. The total rotation of the set-point
never exceeds the budget, and its rate never exceeds the limit. It stands still while time, depth, roll or tip are
unknown, are not numbers, are not newer than the last, or have leapt.

One misread time or depth would make all right ones after it look old, or like a needle drawn back. So a leap is
refused. Refused measurements that agree with one another go on from where they are, and a warning says so: a clock was
set, or pictures were missing for long. Those that repeat one time never do.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.types import RollCommand, TipMeasurement

LONGEST_GAP_S = 5.0  # chosen: a hand that waits for the tip still sees a picture far more often
#: chosen: a little faster than the gate allows, for as long as a moving needle is likely unmeasured. And the encoder
FASTEST_MM_S, UNMEASURED_S, DEPTH_SLACK_MM = 30.0, 0.5, 2.0
AGREEING_COUNT = 5  # chosen: so many refused measurements in a row that agree are right, 0.25 s at 20 Hz
LEAPT = "warning: time or depth of the measurements leapt, and goes on from there"


@dataclass(frozen=True, slots=True)
class RollLimits:
    """How far and how fast a controller may roll the base."""

    budget_rad: float = 3 * math.pi
    """Total rotation of the base in one insertion, rad. Carriere et al. 2019: half a turn per event point, of three."""
    rate_rad_s: float = 6.0  # chosen: about one turn a second
    """Largest roll rate of the set-point, rad/s."""
    max_elapsed_s: float = 0.1  # chosen: two frames at 20 Hz
    """Longest time that one step makes up for, s. After a longer gap the set-point moves as if this had passed."""

    def __post_init__(self) -> None:
        check_finite(self, "steering limits")
        check_range(self, "steering limits", 0.0, 1e3, "budget_rad")
        check_range(self, "steering limits", 1e-3, 100.0, "rate_rad_s", "max_elapsed_s")


class RollController(Protocol):
    """A controller behind the limits. It is also told the ordered roll and the rotation used up, both in rad."""

    def prepare(self) -> None:
        """Compile the kernels."""
        ...

    def start(self, roll_rad: float) -> Any:
        """Return the state at the entry."""
        ...

    def step(
        self, state: Any, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[Any, RollCommand]:
        """Return the next state and the wanted roll."""
        ...


@dataclass(frozen=True, slots=True)
class LimitedState:
    """State of the wrapped controller, and what has been ordered so far."""

    inner: Any
    """State of the wrapped controller."""
    time_s: float | None
    """Time of the last measurement that was used, s. None before the first."""
    ordered_rad: float
    """Roll of the base that is ordered now, rad."""
    used_rad: float
    """Rotation ordered so far, rad, whichever way it went."""
    depth_mm: float | None = None
    """Inserted length at the last measurement that was used, mm. None before the first."""
    refused: tuple[TipMeasurement, ...] = ()
    """Measurements in a row that were refused for their time or depth, and agree with one another."""


@dataclass(frozen=True)
class Limited:
    """A controller within limits. This is the `Steerer` that everybody outside this package sees."""

    controller: RollController
    """The controller that says what roll it wants."""
    limits: RollLimits = RollLimits()
    """Total rotation and rate that are allowed."""

    def prepare(self) -> None:
        """Compile the controller's kernels."""
        self.controller.prepare()

    def start(self, roll_rad: float) -> LimitedState:
        """Return the state at the entry, where no rotation is used up."""
        inner = self.controller.start(roll_rad)
        return LimitedState(inner=inner, time_s=None, ordered_rad=roll_rad, used_rad=0.0)

    def step(self, state: LimitedState, measurement: TipMeasurement) -> tuple[LimitedState, RollCommand]:
        """Follow the wanted roll as far as the limits allow."""
        bad, refused = _unusable(measurement), state.refused
        leapt = _leapt(measurement, state.time_s, state.depth_mm) if bad is None else None
        if leapt is not None:
            agrees = refused and _leapt(measurement, refused[-1].time_s, refused[-1].depth_mm) is None
            refused = (*refused, measurement) if agrees else (measurement,)
        began_anew = leapt is not None and len(refused) >= AGREEING_COUNT
        if bad is not None or (leapt is not None and not began_anew):
            held = dataclasses.replace(state, refused=refused)
            return held, RollCommand(state.ordered_rad, f"hold: {bad or leapt}")
        longest_s = self.limits.max_elapsed_s
        fresh = state.time_s is None or began_anew
        elapsed_s = longest_s if fresh else min(measurement.time_s - (state.time_s or 0.0), longest_s)
        inner, wanted = self.controller.step(state.inner, measurement, state.ordered_rad, state.used_rad)
        turn = wanted.roll_rad - state.ordered_rad
        most = min(self.limits.rate_rad_s * elapsed_s, self.limits.budget_rad - state.used_rad)
        why = LEAPT if began_anew else wanted.why
        if measurement.tip_mm is None:
            turn, why = 0.0, "hold: the tip is not seen"
        elif wanted.stop or not math.isfinite(turn):
            turn = 0.0
        turn = min(max(turn, -most), most)
        ordered = state.ordered_rad + turn
        used = state.used_rad + abs(turn)
        after = LimitedState(
            inner=inner,
            time_s=measurement.time_s,
            ordered_rad=ordered,
            used_rad=used,
            depth_mm=measurement.depth_mm,
        )
        return after, dataclasses.replace(wanted, roll_rad=ordered, why=why)


def _unusable(s: TipMeasurement) -> str | None:
    """Return why a measurement cannot be used, None if it can."""
    if not math.isfinite(s.time_s):
        return "the time is unknown"
    if not (math.isfinite(s.depth_mm) and math.isfinite(s.roll_rad)):
        return "depth or roll is unknown"
    if not (math.isfinite(s.breath) and s.sd_mm > 0 and math.isfinite(s.sd_mm)):
        return "the deviation of the tip or the breathing is unknown"
    if s.tip_mm is not None and not all(map(math.isfinite, s.tip_mm)):
        return "the tip's position is not a number"
    return None


def _leapt(s: TipMeasurement, before_s: float | None, before_mm: float | None) -> str | None:
    """Return why a measurement cannot follow another one, None if it can. before_s, before_mm: its time and depth."""
    if before_s is None or before_mm is None:
        return None
    elapsed_s = s.time_s - before_s
    if not elapsed_s > 0:
        return "nothing new since the last measurement"
    if not elapsed_s <= LONGEST_GAP_S:
        return f"the time leapt by {elapsed_s:.1f} s"
    leap_mm = abs(s.depth_mm - before_mm)
    if not leap_mm <= FASTEST_MM_S * min(elapsed_s, UNMEASURED_S) + DEPTH_SLACK_MM:
        return f"the depth leapt by {leap_mm:.1f} mm"
    return None
