"""The two halves of a controller's step, timed apart: Table 3 of Carriere et al. 2019 has a row for each.

A controller is exchanged for one of the same settings that notes how long its fit (or filter) and its plan take. It
decides the same.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sonosteer.core.types import TipMeasurement
from sonosteer.steering.budget import Limited
from sonosteer.steering.event_triggered import EventTriggered, EventTriggeredState
from sonosteer.steering.planner import MovePlanner, PlannerState


def _times() -> dict[str, list[float]]:
    return {"fit": [], "plan": []}


@dataclass(frozen=True)
class TimedEventTriggered(EventTriggered):
    """The published controller. `times_s` grows with every step."""

    times_s: dict[str, list[float]] = field(default_factory=_times)
    """Time of every fit and of every plan, s."""

    def _fitted(self, s: EventTriggeredState, due: bool, rng: np.random.Generator) -> EventTriggeredState:
        before_s = time.perf_counter()
        after = super()._fitted(s, due, rng)
        self.times_s["fit"].append(time.perf_counter() - before_s)
        return after

    def _planned(self, s: EventTriggeredState, due: bool, rng: np.random.Generator) -> EventTriggeredState:
        before_s = time.perf_counter()
        after = super()._planned(s, due, rng)
        self.times_s["plan"].append(time.perf_counter() - before_s)
        return after


@dataclass(frozen=True)
class TimedMovePlanner(MovePlanner):
    """The controller `moves`. Its filter counts as the fit. It plans once a millimetre, and not with every image."""

    times_s: dict[str, list[float]] = field(default_factory=_times)
    """Time of every step of the filter and of every plan, s."""

    def _filtered(self, s: PlannerState, seen: TipMeasurement) -> PlannerState:
        before_s = time.perf_counter()
        after = super()._filtered(s, seen)
        self.times_s["fit"].append(time.perf_counter() - before_s)
        return after

    def _planned(self, s: PlannerState, seen: TipMeasurement, used_rad: float) -> PlannerState:
        before_s = time.perf_counter()
        after = super()._planned(s, seen, used_rad)
        self.times_s["plan"].append(time.perf_counter() - before_s)
        return after


def with_stage_times(steerer: Any) -> tuple[Any, dict[str, list[float]]]:
    """Exchange the controller within its limits for a timed one: (steerer, seconds by stage).

    A controller of another kind stays as it is, and its times stay empty.
    """
    times = _times()
    if not isinstance(steerer, Limited):
        return steerer, times
    for kind, timed in ((EventTriggered, TimedEventTriggered), (MovePlanner, TimedMovePlanner)):
        inner: Any = steerer.controller
        if type(inner) is kind:
            said = {f.name: getattr(inner, f.name) for f in dataclasses.fields(inner) if f.init}
            return dataclasses.replace(steerer, controller=timed(**said, times_s=times)), times
    return steerer, times
