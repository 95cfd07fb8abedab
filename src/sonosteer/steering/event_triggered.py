"""The event-triggered controller of Carriere et al. 2019: fits one needle to the whole path and plans its rotations.

Reference: Carriere et al. 2019 (event-triggered steering), Sections 4.1 and 6.1.

| symbol | name here | unit |
| --- | --- | --- |
| l_i | `starts`, event points | mm |
| phi-dot_i | `rates`, rotation rate from each event point to the next | rad/mm |
| alpha, beta | `alpha`, `beta`, weights of the final and of the largest deflection, Eq. (14) | no unit |
| Delta phi | `max_section_rad`, rotation from one event point to the next, Eq. (15) | rad |
| n | `points`, number of event points | no unit |
| l_f | `depth_mm`, inserted length at the target | mm |
| kappa, theta_0 | `curvature_per_mm`, `theta0_rad` | 1/mm, rad |

Every frame brings one generation of the fit (50 individuals, from 10 mm on, at 11 evenly spread depths) and one
generation of the plan (60 individuals). Event points behind the tip are frozen. `fit="least squares"` and
`search="gradient"` replace one search each by our own. `online=False` plans once, before the insertion. The needle is
not rotated before the first event point.

Both fits take a measured depth as the inserted length, which the base's encoder tells. `along_axis=True` takes it as x
in both, and inverts Eq. (4) with the kappa and theta_0 that are tried.

Departs from the paper: one of the 11 depths is left out where the tip was not seen near it. Measured depths are rounded
to half-millimetre bins. What is seen while the needle is drawn back replaces what was seen at the same depth.
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
from sonosteer.core.types import RollCommand, TipMeasurement, Vector
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.steering import genetic
from sonosteer.steering.fit import TipMeasurements, fit_needle
from sonosteer.steering.optimise import STARTS, optimise
from sonosteer.steering.refusals import RefusedSighting, agreed_line, with_refused

BIN_MM = 0.5  # chosen: about two frames at 5 mm/s and 20 Hz
DOUBT_MM = 1.5  # chosen: a bicycle that is fitted to right measurements is seldom so far from the last of them
WARN_COUNT, WARN_WAY_MM = 4, 5.0  # chosen: as `planner`
MIN_SD_MM = 0.15  # chosen: as the noise that `fit` expects


@dataclass(frozen=True, slots=True)
class EventTriggeredState:
    """What the controller knows. Nobody writes to an array once it is in here."""

    start_rad: float
    """Roll of the base at the entry, rad."""
    depth_mm: float
    """Largest inserted length so far, mm."""
    measured_mm: tuple[Vector | None, ...]
    """Tip (depth, y, z) per bin of half a millimetre, mm. None where the tip was not seen."""
    population: F64
    """(n, 3) individuals of the fit: theta_0 in rad, kappa in 1/mm, score in mm. The best comes first."""
    theta0_rad: float
    """Fitted angle to the insertion axis at the entry, rad."""
    curvature_per_mm: float
    """Fitted curvature, 1/mm."""
    starts: F64
    """(1 + points,) inserted lengths where the sections begin, mm. The first is 0."""
    rates: F64
    """(1 + points,) rotation rate of each section, rad/mm."""
    generation: int
    """Number of steps so far."""
    planned_mm: float | None
    """Inserted length at the last gradient search, mm. None before the first."""
    contradicting: tuple[RefusedSighting, ...] = ()
    """Measurements in a row that lie far from the fitted needle, some way apart, see `refusals`."""
    restarted_mm: float | None = None
    """Inserted length where the least-squares fit last began anew, mm. None if it never did."""


@dataclass(frozen=True)
class EventTriggered:
    """The controller. The defaults are the published parameters."""

    depth_mm: float = 120.0
    """Inserted length at the target, mm."""
    points: int = 3
    """Number of event points, fixed before the insertion."""
    alpha: float = 10.0
    """Weight of the final deflection in Eq. (14), no unit."""
    beta: float = 1.0
    """Weight of the largest deflection in Eq. (14), no unit."""
    max_section_rad: float = math.pi  # Eq. (15)
    """Largest rotation from one event point to the next, rad."""
    fit: Literal["genetic", "least squares"] = "genetic"
    """Who fits kappa and theta_0. "genetic" is the paper's search, "least squares" is ours."""
    search: Literal["genetic", "gradient"] = "genetic"
    """Who looks for the plan. "genetic" is the paper's search, "gradient" is ours."""
    online: bool = True
    """Whether fit and plan go on during the insertion."""
    from_mm: float = 10.0
    """Inserted length at which the fit begins, mm."""
    test_points: int = 11
    """Number of depths at which the genetic fit compares model and measurements."""
    fit_individuals: int = 50
    """Number of individuals in a generation of the fit."""
    plan_individuals: int = 60
    """Number of individuals in a generation of the plan."""
    theta0_rad: tuple[float, float] = (0.0, 0.174)
    """Lowest and highest theta_0 of the fit, rad."""
    curvature_range: tuple[float, float] = (1 / 10000, 1 / 500)
    """Lowest and highest kappa of the fit, 1/mm."""
    along_axis: bool = False
    """Whether a measured depth is the distance x along the axis. False: it is the inserted length, as encoders say."""
    published_maximum: bool = True
    """Whether the genetic search takes the maximum in Eq. (14) by the paper's test. False: by the right condition."""
    curvature_per_mm: float = 0.7e-3  # chosen: as `Transient` for soft tissue
    """Curvature that is assumed before the insertion, 1/mm."""
    every_mm: float = 3.0  # chosen: the paper has no least-squares fit and no gradient search
    """Insertion between two least-squares fits or gradient searches, mm. The genetic ones go on with every frame."""
    seed: int = 0
    """Seed of both genetic searches."""

    def __post_init__(self) -> None:
        check_finite(self, "paper-s")
        check_range(self, "paper-s", 1.0, 500.0, "depth_mm")
        check_range(self, "paper-s", 1, 20, "points")
        check_range(self, "paper-s", 0.0, 1e6, "alpha", "beta")
        for name in ("fit_individuals", "plan_individuals", "test_points"):
            check_range(self, "paper-s", 2, 100_000, name)
        if self.fit not in ("genetic", "least squares") or self.search not in ("genetic", "gradient"):
            raise InputError("paper-s: fit is genetic or least squares, search is genetic or gradient")

    def prepare(self) -> None:
        """Compile the kernels."""
        state = self.start(0.0)
        for i in range(4):
            state, _ = self.step(state, TipMeasurement(0.05 * i, self.from_mm + i, 0.0, (0.001 * i, 0.0)), 0.0, 0.0)

    def start(self, roll_rad: float) -> EventTriggeredState:
        """Spread the event points evenly. Nothing is rotated yet."""
        n = self.points
        starts = np.array([0.0, *(self.depth_mm * (i + 1) / (n + 1) for i in range(n))])
        rng = np.random.default_rng([self.seed, 0])
        low, high = self._bounds()
        return EventTriggeredState(
            start_rad=roll_rad,
            depth_mm=0.0,
            measured_mm=(None,) * (round(self.depth_mm / BIN_MM) + 2),
            population=genetic.first_population(self.fit_individuals, low, high, rng),
            theta0_rad=0.0,
            curvature_per_mm=self.curvature_per_mm,
            starts=starts,
            rates=np.zeros(n + 1),
            generation=0,
            planned_mm=None,
        )

    def _bounds(self) -> tuple[F64, F64]:
        t, k = self.theta0_rad, self.curvature_range
        return np.array([t[0], k[0]]), np.array([t[1], k[1]])

    def step(
        self, state: EventTriggeredState, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[EventTriggeredState, RollCommand]:
        """Fit, plan, and return the roll that belongs to this depth."""
        depth = max(state.depth_mm, min(measurement.depth_mm, self.depth_mm))
        s = dataclasses.replace(state, depth_mm=depth, generation=state.generation + 1)
        if measurement.tip_mm is not None:
            here = round(min(max(measurement.depth_mm, 0.0), self.depth_mm) / BIN_MM)
            tip = (measurement.depth_mm, *measurement.tip_mm)
            s = dataclasses.replace(s, measured_mm=(*s.measured_mm[:here], tip, *s.measured_mm[here + 1 :]))
        rng = np.random.default_rng([self.seed, s.generation])
        due = s.planned_mm is None or depth - s.planned_mm >= self.every_mm
        if self.online and depth > self.from_mm and measurement.tip_mm is not None:
            s = self._fitted(s, due, rng)
        if depth < self.depth_mm and (self.online or s.planned_mm is None):
            s = self._planned(s, due, rng)
        s = self._judged(s, measurement)
        turned = Plan(tuple(s.starts.tolist()), tuple(s.rates.tolist())).roll_rad(depth)
        return s, RollCommand(s.start_rad + turned, self._why(s))

    def _judged(self, s: EventTriggeredState, seen: TipMeasurement) -> EventTriggeredState:
        """Compare a measurement with the fitted needle. A least-squares fit that many in a row contradict begins anew.

        It then forgets what was measured before them. The genetic fit keeps to the paper, and only warns.
        """
        if seen.tip_mm is None or not self.online or not seen.depth_mm > self.from_mm:
            return s
        plan = Plan(tuple(s.starts.tolist()), tuple(s.rates.tolist()))
        needle = Bicycle(s.curvature_per_mm, s.theta0_rad, s.start_rad)
        _, y, z = needle.path(plan, np.array([seen.depth_mm]))[0, :3].tolist()
        off = (seen.tip_mm[0] - y, seen.tip_mm[1] - z)
        if math.hypot(*off) <= DOUBT_MM:
            return dataclasses.replace(s, contradicting=())
        this = RefusedSighting(depth_mm=s.depth_mm, y_mm=off[0], z_mm=off[1], sd_mm=max(seen.sd_mm, MIN_SD_MM))
        them = with_refused(s.contradicting, this)
        if self.fit == "genetic" or agreed_line(them) is None:
            return dataclasses.replace(s, contradicting=them)
        first_mm = them[0].depth_mm
        kept = tuple(None if row is None or row[0] < first_mm else row for row in s.measured_mm)
        return dataclasses.replace(s, measured_mm=kept, contradicting=(), planned_mm=None, restarted_mm=s.depth_mm)

    @staticmethod
    def _why(s: EventTriggeredState) -> str:
        """Say where measurements contradict the fitted needle."""
        if len(s.contradicting) >= WARN_COUNT:
            over_mm = s.depth_mm - s.contradicting[0].depth_mm
            return f"warning: for {over_mm:.0f} mm the tip has not been where the fitted needle says"
        if s.restarted_mm is not None and s.depth_mm - s.restarted_mm < WARN_WAY_MM:
            return f"warning: the fit of the needle started anew at {s.restarted_mm:.1f} mm"
        return "steer"

    def _fitted(self, s: EventTriggeredState, due: bool, rng: np.random.Generator) -> EventTriggeredState:
        """Go on with the fit of kappa and theta_0."""
        table = np.array([row for row in s.measured_mm if row is not None])
        if self.fit == "least squares":
            if not due or len(table) < 8:
                return s
            try:
                found = fit_needle(
                    TipMeasurements(table[:, 0], table[:, 1], table[:, 2]),
                    Plan(tuple(s.starts.tolist()), tuple(s.rates.tolist())),
                    s.start_rad,
                    curvature_per_mm=self.curvature_range,
                    theta0_rad=self.theta0_rad,
                    along_axis=self.along_axis,
                )
            except InputError:  # hardly any measurement fits: keep the needle that was assumed
                return s
            return dataclasses.replace(s, theta0_rad=found.theta0_rad, curvature_per_mm=found.curvature_per_mm)
        wanted = np.linspace(0.0, float(table[-1, 0]), self.test_points)
        nearest = np.unique(np.abs(table[:, 0][None] - wanted[:, None]).argmin(axis=1))
        low, high = self._bounds()
        population = s.population.copy()
        seen = np.ascontiguousarray(table[nearest])
        genetic.evolve_fit(population, s.start_rad, s.starts, s.rates, seen, self.along_axis, low, high, rng)
        theta0, k = population[0, :2].tolist()
        return dataclasses.replace(s, population=population, theta0_rad=theta0, curvature_per_mm=k)

    def _planned(self, s: EventTriggeredState, due: bool, rng: np.random.Generator) -> EventTriggeredState:
        """Go on with the plan of event points and rates."""
        starts, rates = s.starts.copy(), s.rates.copy()
        at, k, theta0 = s.depth_mm, s.curvature_per_mm, s.theta0_rad
        of = (self.alpha, self.beta, self.max_section_rad)
        if self.search == "genetic":
            right, many = not self.published_maximum, self.plan_individuals
            genetic.evolve_plan(starts, rates, at, self.depth_mm, k, theta0, s.start_rad, *of, many, right, rng)
            return dataclasses.replace(s, starts=starts, rates=rates)
        if not due:
            return s
        optimise(starts, rates, at, self.depth_mm, k, theta0, s.start_rad, *of, STARTS)
        return dataclasses.replace(s, starts=starts, rates=rates, planned_mm=at)


@dataclass(frozen=True)
class Straight:
    """No control: the base is never rotated."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, roll_rad: float) -> float:
        """Return the roll at the entry."""
        return roll_rad

    def step(
        self, state: float, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[float, RollCommand]:
        """Keep the roll."""
        return state, RollCommand(state, "no control")
