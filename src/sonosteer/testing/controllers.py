"""Laws that every steering controller keeps, behind the limits of rotation that hold for all."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from sonosteer.core.plugins import plug_in
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.steering.budget import Limited, RollLimits
from sonosteer.steering.table import make_steerer
from sonosteer.testing.laws import maker, require, stored

LIMITS = RollLimits(budget_rad=4.0, rate_rad_s=5.0)
START_RAD = 0.3
STEPS, STORED_AT = 16, 6
ODD_TIP_MM = ((math.nan, 0.0), (1e6, -1e6))


def check_controller(controller: Any) -> None:
    """Check that a steering controller keeps the laws. Raises AssertionError for the first that it breaks.

    controller: a name as `make_steerer` takes it, a class, a function that makes one, or an object.
    """
    adapt = maker(
        controller,
        lambda name: make_steerer(name, limits=LIMITS),
        "controller",
        lambda c, name: Limited(plug_in(c, name, (RollCommand,)), LIMITS),
    )

    def make() -> Limited:
        made = adapt()
        return made if isinstance(made, Limited) else Limited(made, LIMITS)

    seen = _measurements(odd=False)
    states, turns = _steer(make(), seen)
    again = _steer(make(), seen)[1]
    require(again == turns, "the same measurements must give the same turns")
    steerer, state, loaded = make(), states[STORED_AT], stored(states[STORED_AT])
    for measurement, turn in zip(seen[STORED_AT:], turns[STORED_AT:], strict=True):
        state, a = steerer.step(state, measurement)
        loaded, b = steerer.step(loaded, measurement)
        require(a == turn, "a state that was used before gives another turn: step must leave it alone")
        require(b == turn, "a state that was stored and loaded gives another turn")
    odd = _steer(make(), _measurements(odd=True))[1]
    for each in (turns, odd):
        rolls = [START_RAD, *(t.roll_rad for t in each)]
        require(all(map(math.isfinite, rolls)), "an ordered roll is NaN or infinite")
        used = sum(abs(b - a) for a, b in itertools.pairwise(rolls))
        budget = steerer.limits.budget_rad
        require(used <= budget + 1e-9, f"{used:.2f} rad are ordered; {budget:g} are allowed")


def _steer(steerer: Limited, seen: list[TipMeasurement]) -> tuple[list[Any], list[RollCommand]]:
    steerer.prepare()
    states, turns = [steerer.start(START_RAD)], []
    for measurement in seen:
        state, turn = steerer.step(states[-1], measurement)
        states.append(state)
        turns.append(turn)
    return states, turns


def _measurements(*, odd: bool) -> list[TipMeasurement]:
    """A needle that drifts off its axis. odd: with depths, tips and times that a broken sensor may say."""
    rng = np.random.default_rng(5)
    out = []
    for k in range(STEPS):
        depth = 7.5 * (k + 1)
        tip: tuple[float, float] | None = (2e-4 * depth**2, -1e-4 * depth**2)
        time_s = 1.0 * k
        if odd and rng.random() < 0.5:
            depth = math.nan if rng.random() < 0.3 else depth
            time_s = math.nan if rng.random() < 0.3 else time_s
            tip = None if rng.random() < 0.5 else ODD_TIP_MM[int(rng.integers(2))]
        out.append(TipMeasurement(time_s, depth, START_RAD, tip))
    return out
