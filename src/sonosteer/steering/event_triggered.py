"""Paper S's controller: one (kappa, theta_0) fitted to the whole path, and the plan of least cost (14) for it.

Source: the event-triggered steering paper ("Paper S"), Sections 4.1 and 6.1.

| symbol | name here | unit |
| --- | --- | --- |
| l_i, phi-dot_i | `starts`, `rates`: event points, and the rate from each to the next | mm, rad/mm |
| alpha, beta | `alpha`, `beta` | |
| Delta phi | `most_rad`, rotation from one event point to the next, Eq. (15) | rad |
| n | `points`, event points, fixed before the insertion; those behind the tip are frozen | |
| l_f | `depth_mm` | mm |

With every frame comes one generation of the fit (50 individuals; from 10 mm on, at 11 depths spread evenly) and one of
the plan (60). `fit="least squares"` and `search="gradient"` put our own in their places, one at a time; `online=False`
plans once, with what is believed before the insertion. What comes before the first event point is not turned.

Departs from the paper: where the tip was not seen near one of the 11 depths, that one is left out. Sighting depths are
in half-millimetre bins.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.needle.bicycle import Plan
from sonosteer.steering import genetic
from sonosteer.steering.fit import TipMeasurements, fit
from sonosteer.steering.optimise import STARTS, optimise

BIN_MM = 0.5


@dataclass(frozen=True, slots=True)
class State:
    """seen: (bins, 3) x, y, z, NaN where not seen. population: of the fit. Arrays are never written to once in here."""

    start_rad: float
    depth_mm: float
    seen: F64
    population: F64
    theta0_rad: float
    curvature_per_mm: float
    starts: F64
    rates: F64
    generation: int
    planned_mm: float


@dataclass(frozen=True)
class EventTriggered:
    """Parameters, as published by default. curvature_per_mm: believed before the insertion (ours). every_mm: between
    two least-squares fits or gradient searches; the genetic ones go on with every frame.
    """

    depth_mm: float = 120.0
    points: int = 3
    alpha: float = 10.0
    beta: float = 1.0
    most_rad: float = math.pi
    fit: Literal["genetic", "least squares"] = "genetic"
    search: Literal["genetic", "gradient"] = "genetic"
    online: bool = True
    from_mm: float = 10.0
    test_points: int = 11
    fit_individuals: int = 50
    plan_individuals: int = 60
    theta0_rad: tuple[float, float] = (0.0, 0.174)
    curvature_range: tuple[float, float] = (1 / 10000, 1 / 500)
    curvature_per_mm: float = 0.7e-3
    every_mm: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_finite(self, "paper-s")
        check_range(self, "paper-s", 1.0, 500.0, "depth_mm")
        check_range(self, "paper-s", 1, 20, "points")
        check_range(self, "paper-s", 0.0, 1e6, "alpha", "beta")
        check_range(self, "paper-s", 2, 100_000, "fit_individuals", "plan_individuals", "test_points")
        if self.fit not in ("genetic", "least squares") or self.search not in ("genetic", "gradient"):
            raise InputError("paper-s: fit is genetic or least squares, search is genetic or gradient")

    def prepare(self) -> None:
        """Compile the kernels."""
        state = self.start(0.0)
        for i in range(4):
            state, _ = self.step(state, TipMeasurement(0.05 * i, self.from_mm + i, 0.0, (0.001 * i, 0.0)), 0.0, 0.0)

    def start(self, roll_rad: float) -> State:
        """Event points spread evenly, nothing turned yet."""
        n = self.points
        starts = np.array([0.0, *(self.depth_mm * (i + 1) / (n + 1) for i in range(n))])
        rng = np.random.default_rng([self.seed, 0])
        low, high = self._bounds()
        bins = np.full((round(self.depth_mm / BIN_MM) + 2, 3), math.nan)
        population = genetic.first_population(self.fit_individuals, low, high, rng)
        return State(roll_rad, 0.0, bins, population, 0.0, self.curvature_per_mm, starts, np.zeros(n + 1), 0, -math.inf)

    def _bounds(self) -> tuple[F64, F64]:
        t, k = self.theta0_rad, self.curvature_range
        return np.array([t[0], k[0]]), np.array([t[1], k[1]])

    def step(
        self, state: State, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[State, RollCommand]:
        """Fit, plan, and say what roll belongs to this depth."""
        depth = max(state.depth_mm, min(measurement.depth_mm, self.depth_mm))
        s = dataclasses.replace(state, depth_mm=depth, generation=state.generation + 1)
        if measurement.tip_mm is not None:
            seen = s.seen.copy()
            seen[round(depth / BIN_MM)] = (measurement.depth_mm, *measurement.tip_mm)
            s = dataclasses.replace(s, seen=seen)
        rng = np.random.default_rng([self.seed, s.generation])
        due = depth - s.planned_mm >= self.every_mm
        if self.online and depth > self.from_mm and measurement.tip_mm is not None:
            s = self._fitted(s, due, rng)
        if depth < self.depth_mm and (self.online or (due and s.planned_mm < 0)):
            s = self._planned(s, due, rng)
        turned = Plan(tuple(s.starts.tolist()), tuple(s.rates.tolist())).roll_rad(depth)
        return s, RollCommand(s.start_rad + turned)

    def _fitted(self, s: State, due: bool, rng: np.random.Generator) -> State:
        table = s.seen[np.isfinite(s.seen[:, 0])]
        if self.fit == "least squares":
            if not due or len(table) < 8:
                return s
            try:
                found = fit(
                    TipMeasurements(table[:, 0], table[:, 1], table[:, 2]),
                    Plan(tuple(s.starts.tolist()), tuple(s.rates.tolist())),
                    s.start_rad,
                    curvature_per_mm=self.curvature_range,
                    theta0_rad=self.theta0_rad,
                )
            except InputError:  # hardly any sighting fits: keep what is believed
                return s
            return dataclasses.replace(s, theta0_rad=found.theta0_rad, curvature_per_mm=found.curvature_per_mm)
        wanted = np.linspace(0.0, float(table[-1, 0]), self.test_points)
        nearest = np.unique(np.abs(table[:, 0][None] - wanted[:, None]).argmin(axis=1))
        low, high = self._bounds()
        population = s.population.copy()
        genetic.fit_generation(
            population, s.start_rad, s.starts, s.rates, np.ascontiguousarray(table[nearest]), low, high, rng
        )
        theta0, k = population[0, :2].tolist()
        return dataclasses.replace(s, population=population, theta0_rad=theta0, curvature_per_mm=k)

    def _planned(self, s: State, due: bool, rng: np.random.Generator) -> State:
        starts, rates = s.starts.copy(), s.rates.copy()
        at, k, theta0 = s.depth_mm, s.curvature_per_mm, s.theta0_rad
        of = (self.alpha, self.beta, self.most_rad)
        if self.search == "genetic":
            genetic.plan_generation(
                starts, rates, at, self.depth_mm, k, theta0, s.start_rad, *of, self.plan_individuals, False, rng
            )
            return dataclasses.replace(s, starts=starts, rates=rates)
        if not due:
            return s
        optimise(starts, rates, at, self.depth_mm, k, theta0, s.start_rad, *of, STARTS)
        return dataclasses.replace(s, starts=starts, rates=rates, planned_mm=at)


@dataclass(frozen=True)
class Straight:
    """No control: the base is never turned."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, roll_rad: float) -> float:
        """The roll at the entry is all there is to know."""
        return roll_rad

    def step(
        self, state: float, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[float, RollCommand]:
        """Stay."""
        return state, RollCommand(state, "no control")
