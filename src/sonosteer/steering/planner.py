"""The controller that we recommend: a filter with the beam's transient, and a few turns that are planned anew as the
needle goes, each carried out only when its depth has come.

Ours, where Paper S fits one (kappa, theta_0) to the whole path and freezes what is past: on a beam in tissue that
misses by a millimetre or more, because a turn does not act as a bicycle says (`transient`). Event-triggered all the
same: few turns, bound late. The new plan replaces the old one only if it is better by `margin_mm`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.needle.torsion import follow
from sonosteer.steering import moves
from sonosteer.steering.obstacles import NO_OBSTACLES, Obstacles
from sonosteer.steering.transient import Transient, correct, predict

OUTLIER = 5.0  # deviations, of a sighting
#: the needle is stopped after PATIENCE plans in a row without a safe path, where contact is predicted within FAR_MM,
#: and at once where it is predicted within NEAR_MM
PATIENCE, FAR_MM, NEAR_MM = 5, 25.0, 6.0
MISS_SAID_MM = 1.0
FEWEST_MM = 0.03  # of insertion between two sightings that count: a needle that stands tells the same error again


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the cost in `moves`; all ours. least_bend: curvature in 1/mm that is reckoned with after the last move,
    however little the needle has bent so far.
    """

    final: float = 1.0
    mean: float = 3.0
    rotation: float = 0.03
    move: float = 0.02
    soft_mm: float = 0.1
    reach: float = 2.0
    eta: float = 0.5
    after: float = 0.7
    obstacle: float = 50.0
    least_bend: float = 0.7e-3

    def __post_init__(self) -> None:
        check_finite(self, "weights")
        check_range(self, "weights", 0.0, 1e4, *(f.name for f in dataclasses.fields(self)))


@dataclass(frozen=True, slots=True)
class State:
    """What the planner knows: filter, plan, and what it is doing. Arrays are never written to once in here."""

    x: F64
    P: F64
    tip_rad: float
    depth_mm: float
    seen_mm: float
    time_s: float
    speed_mm_s: float
    depths: F64
    turns: F64
    goal_rad: float
    done: int
    planned_mm: float
    plans: int
    lack_mm: float
    contact_mm: float
    blocked: int
    miss_mm: float
    miss_sd_mm: float


@dataclass(frozen=True)
class MovePlanner:
    """Parameters. depth_mm, target_mm: where to bring the tip, (y, z) off the axis at that inserted length.

    points: turns allowed in all (Paper S: 3). every_mm: of insertion between two plans, from from_mm on. tries:
    candidates a plan. margin_mm: by how much a plan must be better. reserve_deg: rotation kept in hand at the entry,
    given free until reserve_mm. clearance_sd: standard deviations of the predicted tip that obstacles are grown by,
    at most clearance_cap_mm; needle_mm: radius of the shaft. breathing: estimate the tissue's motion for the
    respiratory signal in the sightings.
    """

    model: Transient = Transient()
    depth_mm: float = 120.0
    target_mm: tuple[float, float] = (0.0, 0.0)
    obstacles: Obstacles = NO_OBSTACLES
    budget_rad: float = 3 * math.pi
    points: int = 3
    ahead: int = 3
    every_mm: float = 1.0
    from_mm: float = 6.0
    tries: int = 1500
    margin_mm: float = 0.02
    least_rad: float = 0.05
    rate_rad_s: float = 6.0
    reserve_mm: float = 100.0
    weights: Weights = Weights()
    clearance_sd: float = 2.0
    clearance_cap_mm: float = 0.7
    needle_mm: float = 0.64
    breathing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_finite(self, "planner")
        check_range(self, "planner", 1.0, 500.0, "depth_mm")
        check_range(self, "planner", 0, 20, "points", "ahead")
        check_range(self, "planner", 1, 1_000_000, "tries")
        check_range(self, "planner", 0.0, 1e3, "every_mm", "from_mm", "margin_mm", "budget_rad", "clearance_sd")
        if not math.hypot(*self.target_mm) <= 0.3 * self.depth_mm:
            raise InputError(
                f"planner: a target {math.hypot(*self.target_mm):g} mm off the axis at {self.depth_mm:g} mm is farther "
                "than any bevel-tip needle bends; aim the insertion first"
            )

    @cached_property
    def _task(self) -> moves.Task:
        w, m = self.weights, self.model
        # ours: 356 degrees at 540, none where there is but one half turn
        reserve = 0.66 * max(self.budget_rad - math.pi, 0.0) if self.budget_rad < 3 * math.pi else math.radians(356)
        weights = np.array(
            [
                *(w.final, w.mean, w.rotation, w.move, w.soft_mm, w.reach, w.eta, w.after, w.obstacle),
                *(reserve, self.reserve_mm, w.least_bend),
            ]
        )
        friction = np.array([m.torque / m.torsional_stiffness, m.length_mm, 0.5 * m.backlash_rad])
        o = self.obstacles
        return moves.Task(
            float(self.depth_mm),
            np.array(self.target_mm, np.float64),
            m.noise(),
            weights,
            friction,
            float(self.budget_rad),
            o.field,
            o.origin_mm,
            float(o.step_mm),
            np.zeros(5),
            float(self.least_rad),
        )

    def prepare(self) -> None:
        """Compile the kernels."""
        state = self.start(0.0)
        small = dataclasses.replace(self, tries=2)
        for i in range(3):
            seen = TipMeasurement(0.05 * i, self.from_mm + 2.0 * i, 0.0, (0.0, 0.0))
            state, _ = small.step(state, seen, 0.0, 0.0)

    def start(self, roll_rad: float) -> State:
        """Nothing seen and nothing planned."""
        x, P = self.model.prior(self.breathing)
        n = min(self.ahead, self.points)
        far = np.full(n, self.depth_mm)
        return State(
            x,
            P,
            roll_rad,
            0.0,
            -1.0,
            math.nan,
            0.0,
            far,
            np.zeros(n),
            roll_rad,
            0,
            -1e9,
            0,
            0.0,
            math.inf,
            0,
            math.nan,
            math.nan,
        )

    def plan_ahead(self, tries: int = 20_000) -> State:
        """The plan before the insertion: the state at the entry with its plan, miss, deviation and clearance."""
        s = self.start(0.0)
        careful = dataclasses.replace(self, tries=tries)
        return careful._planned(s, TipMeasurement(0.0, 0.0, 0.0, None), 0.0)

    def step(
        self, state: State, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[State, RollCommand]:
        """Take a sighting, plan anew where it is time, and begin the turn whose depth has come."""
        s = self._filtered(state, measurement)
        busy = abs(s.goal_rad - ordered_rad) > 1e-6 and used_rad < self.budget_rad - 1e-6
        near = self.from_mm <= s.depth_mm < self.depth_mm - 0.5
        if not busy:
            s = dataclasses.replace(s, goal_rad=ordered_rad)
        if near and not busy and self.budget_rad - used_rad > self.least_rad and s.done < self.points:
            if s.depth_mm - s.planned_mm >= self.every_mm:
                s = self._planned(s, measurement, used_rad)
            s = self._begun(s, measurement)
        elif near and s.depth_mm - s.planned_mm >= self.every_mm:
            s = self._foreseen(dataclasses.replace(s, planned_mm=s.depth_mm))
        ahead = s.contact_mm - s.depth_mm
        blocked = (s.blocked > PATIENCE and ahead < FAR_MM) or (s.blocked > 0 and ahead < NEAR_MM)
        seen = math.isfinite(s.miss_mm)
        why = "steer"
        if blocked:
            why = "stop: no safe path"
        elif seen and s.miss_mm > MISS_SAID_MM and s.depth_mm > 0.7 * self.depth_mm:
            why = f"warning: the target will be missed by {s.miss_mm:.1f} mm"
        return s, RollCommand(s.goal_rad, why, blocked, s.miss_mm if seen else None, s.miss_sd_mm if seen else None)

    # -- parts of a step -----------------------------------------------------------------------------------------

    def _filtered(self, s: State, seen: TipMeasurement) -> State:
        x, P, depth = s.x.copy(), s.P.copy(), max(seen.depth_mm, s.depth_mm)
        elapsed = seen.time_s - s.time_s
        speed = s.speed_mm_s
        if elapsed > 0 and depth > 0:
            rate = max(seen.depth_mm - s.depth_mm, 0.0) / elapsed if s.seen_mm >= 0 or s.depth_mm > 0 else 0.0
            speed += min(elapsed / 0.3, 1.0) * (rate - speed)
        tip = follow(s.tip_rad, seen.roll_rad, moves.play_at(depth, self._task.friction))
        advanced = depth - s.depth_mm
        if advanced > 1e-6:
            predict(x, P, s.tip_rad, tip, advanced, self._task.noise)
        at = s.seen_mm
        drawn_back = depth - seen.depth_mm > 0.3
        if seen.tip_mm is not None and depth - s.seen_mm > FEWEST_MM and not drawn_back:
            sd = max(seen.sd_mm, self.model.least_sd_mm)
            y, z = seen.tip_mm
            if correct(x, P, tip, self.model.jump_mm2, seen.breath, y, z, sd, OUTLIER):
                at = depth
        return dataclasses.replace(
            s,
            x=x,
            P=P,
            tip_rad=tip if advanced > 1e-6 else s.tip_rad,
            depth_mm=depth,
            seen_mm=at,
            time_s=seen.time_s,
            speed_mm_s=speed,
        )

    def _planned(self, s: State, seen: TipMeasurement, used_rad: float) -> State:
        left = self.points - s.done
        n = min(len(s.depths), left)
        order = np.argsort(np.where(s.turns == 0.0, np.inf, s.depths), kind="stable")[:n]
        e0, a0 = np.maximum(s.depths[order], s.depth_mm), s.turns[order].copy()
        task = self.task_at(s.x, s.P)
        rng = np.random.default_rng([self.seed, s.plans])
        offset = seen.roll_rad - s.tip_rad
        tries = self.tries * (4 if s.blocked else 1)
        e, a, J, before = moves.search(s.x, s.tip_rad, s.depth_mm, e0, a0, task, used_rad, left, offset, tries, rng)
        if not (before - self.margin_mm > J or before >= moves.IMPOSSIBLE):
            e, a = e0, a0
        after = dataclasses.replace(s, depths=e, turns=a, planned_mm=s.depth_mm, plans=s.plans + 1)
        return self._foreseen(after)

    def _foreseen(self, s: State) -> State:
        """Where the plan leads: miss, its deviation, lack of clearance."""
        task, out = self.task_at(s.x, s.P), np.zeros(moves.OUT)
        moves.follow_plan(s.x, s.tip_rad, s.depth_mm, s.depths, s.turns, task, out)
        J = moves.sensitivity(s.tip_rad, s.depth_mm, s.depths, s.turns, task)
        spread = J @ s.P @ J.T
        sd = math.sqrt(max(0.5 * float(spread[0, 0] + spread[1, 1]), 0.0))
        blocked = s.blocked + 1 if out[5] > 0.0 else 0
        return dataclasses.replace(
            s,
            miss_mm=math.hypot(out[0], out[1]),
            miss_sd_mm=sd,
            lack_mm=float(out[5]),
            contact_mm=float(out[6]),
            blocked=blocked,
        )

    def task_at(self, x: F64, P: F64) -> moves.Task:
        """The task with the clearance that a state and its covariance ask for."""
        if not self.obstacles.present:
            return self._task
        z2, m = self.clearance_sd**2, self.model
        slope = 0.5 * (P[1, 1] + P[3, 3])
        bend = P[4, 4] + P[5, 5] + (m.wander_share * x[4]) ** 2 * 0.3
        place = 0.5 * (P[0, 0] + P[2, 2])
        need = np.array([self.needle_mm, z2 * place, z2 * slope, z2 * bend, self.clearance_cap_mm])
        return self._task._replace(need=need)

    def _begun(self, s: State, seen: TipMeasurement) -> State:
        """Begin the first turn whose depth has come: early by half of the way that it takes."""
        for i in range(len(s.turns)):
            a = float(s.turns[i])
            if a == 0.0 or s.depth_mm < s.depths[i] - 0.5 * abs(a) / self.rate_rad_s * s.speed_mm_s:
                continue
            play = moves.play_at(s.depth_mm, self._task.friction)
            base = moves.base_turn(a, seen.roll_rad - s.tip_rad, play)
            depths, turns = s.depths.copy(), s.turns.copy()
            depths[i], turns[i] = self.depth_mm, 0.0
            return dataclasses.replace(
                s, depths=depths, turns=turns, goal_rad=s.goal_rad + base, done=s.done + 1, planned_mm=-1e9
            )
        return s
