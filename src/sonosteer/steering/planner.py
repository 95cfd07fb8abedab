"""The recommended controller: a filter with the beam's transient, and a few turns that are planned anew on the way.

Not from a paper. Carriere et al. 2019 fit one (kappa, theta_0) to the whole path and freeze what is past. On a beam in
tissue that misses by a millimetre or more, because a turn does not act as a bicycle says (see `transient`). This
planner is event-triggered all the same: few turns, decided late. Each turn is carried out only when its depth has
come. A new plan replaces the old one only if it is better by `margin_mm`.

| symbol | name here | unit |
| --- | --- | --- |
| x, P | `x`, `P`, state of the filter and its covariance, see `transient` | mm, rad, 1/mm |
| J | `moves.cost`, cost of a plan | mm |
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
from sonosteer.needle.torsion import roll_with_play
from sonosteer.steering import moves
from sonosteer.steering.obstacles import NO_OBSTACLES, Obstacles
from sonosteer.steering.refusals import Agreement, RefusedSighting, agreed_line, with_refused
from sonosteer.steering.transient import Transient, correct_with_tip, predict_tip, tip_at

MEASUREMENT_GATE_SD = 5.0  # chosen: a measured tip farther off, in standard deviations, is left out
#: chosen: the needle is stopped after PATIENCE plans in a row without a safe path, if contact is predicted within
#: CONTACT_FAR_MM. It is stopped at once if contact is predicted within CONTACT_NEAR_MM
PATIENCE, CONTACT_FAR_MM, CONTACT_NEAR_MM = 5, 25.0, 6.0
#: chosen: contact is with obstacles grown by up to 0.7 mm for what is not known yet. Less of it is known as they come
#: nearer. So a lack up to half of that stops no needle before CONTACT_NEAR_MM. It is said
NARROW_MM = 0.35
WARN_REFUSED = 4  # chosen: so many refused sightings that were kept are said, over 1.5 mm at least
WARN_MISS_MM, WARN_FROM = 1.0, 0.7  # chosen: a larger predicted miss is said from this fraction of the depth on
SETTLES_MM = 5.0  # chosen: a model that started anew needs so much insertion before a turn rests on it
MIN_ADVANCE_MM = 0.03  # chosen: insertion between two measurements that count. A resting needle repeats the same error
MAX_RETRACTION_MM = 0.3  # chosen: a needle drawn back farther than this is not measured
SPEED_FILTER_S = 0.3  # chosen: time constant of the estimated insertion speed
END_MM = 0.5  # chosen: no plan is made so near the target
ALIGNED_RAD = 1e-6  # chosen: below this the ordered roll has arrived
BLOCKED_TRIES = 4  # chosen: so many times as many candidates while there is no safe path
#: chosen: 356 degrees of reserve at a budget of 540, and none where there is only half a turn
RESERVE_RAD, RESERVE_FRACTION = math.radians(356), 0.66


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the cost in `moves`. All of them are chosen, not published."""

    final: float = 1.0
    """w_f, weight of the final miss, no unit."""
    mean: float = 3.0
    """w_m, weight of the mean distance from the reference path, no unit."""
    rotation: float = 0.03
    """w_r, cost of rotation of the base, mm/rad."""
    move: float = 0.02
    """w_n, cost of one move, mm."""
    soft_mm: float = 0.1
    """Distance below which the final miss counts as its square, mm."""
    reach: float = 2.0
    """w_q, weight of the miss that one more turn cannot correct, no unit."""
    eta: float = 0.5
    """Fraction of what one more turn can do that is counted on, no unit."""
    after: float = 0.7
    """w_s, weight of what happens after the last move, no unit."""
    obstacle: float = 50.0
    """w_o, weight of the largest lack of clearance, no unit."""
    min_curvature_per_mm: float = 0.7e-3
    """Smallest curvature that is reckoned with after the last move, 1/mm. It holds if the needle has hardly bent."""

    def __post_init__(self) -> None:
        check_finite(self, "weights")
        for f in dataclasses.fields(self):
            check_range(self, "weights", 0.0, 1e4, f.name)


@dataclass(frozen=True, slots=True)
class PlannerState:
    """What the planner knows: filter, plan, and what it is doing. Nobody writes to an array once it is in here."""

    x: F64
    """(10,) state of the filter in mm, rad and 1/mm, see `transient`."""
    P: F64
    """(10, 10) covariance of `x`, in the squares of mm, rad and 1/mm."""
    tip_rad: float
    """Estimated roll of the tip, rad."""
    depth_mm: float
    """Largest inserted length so far, mm."""
    seen_mm: float | None
    """Inserted length at the last measurement that the filter took, mm. None before the first."""
    time_s: float | None
    """Time of the last step, s. None before the first."""
    speed_mm_s: float
    """Estimated insertion speed, mm/s."""
    depths: F64
    """(moves,) inserted lengths at which the planned turns begin, mm."""
    turns: F64
    """(moves,) planned turns of the tip, rad. 0: none, or done."""
    goal_rad: float
    """Roll of the base that the last turn leads to, rad."""
    done: int
    """Number of turns begun so far."""
    planned_mm: float | None
    """Inserted length at the last plan, mm. None before the first and after a turn has begun."""
    plans: int
    """Number of plans made so far. It seeds the next search."""
    lack_mm: float
    """Largest predicted lack of clearance, mm. 0 if the plan is safe."""
    contact_mm: float | None
    """Inserted length at the first predicted lack of clearance, mm. None if there is none."""
    blocked: int
    """Number of predictions in a row without a safe path."""
    miss_mm: float | None
    """Predicted distance from the target, mm. None before the first prediction."""
    miss_sd_mm: float | None
    """Standard deviation of that prediction, mm. None before the first prediction."""
    refused: tuple[RefusedSighting, ...] = ()
    """Measurements in a row that the filter refused, some way apart, see `refusals`."""
    restarts: int = 0
    """Number of times that the filter started anew because refused measurements agreed."""
    restarted_mm: float | None = None
    """Inserted length at the last of these, mm. None if there was none."""


@dataclass(frozen=True)
class MovePlanner:
    """The controller `moves`. All parameters are chosen, not published, unless a line says so."""

    model: Transient = Transient()
    """How needle and tissue answer a turn."""
    depth_mm: float = 120.0
    """Inserted length at the target, mm."""
    target_mm: tuple[float, float] = (0.0, 0.0)
    """Target (y, z) across the axis, mm."""
    obstacles: Obstacles = NO_OBSTACLES
    """What the needle must not touch."""
    budget_rad: float = 3 * math.pi
    """Total rotation of the base that is allowed, rad."""
    points: int = 3  # Carriere et al. 2019
    """Largest number of turns in one insertion."""
    ahead: int = 3
    """Largest number of turns in one plan."""
    every_mm: float = 1.0
    """Insertion between two plans, mm."""
    from_mm: float = 6.0
    """Inserted length at which planning begins, mm."""
    tries: int = 1500
    """Number of candidates in one search for a plan."""
    margin_mm: float = 0.02
    """By how much a plan must cost less to replace the old one, mm."""
    min_turn_rad: float = 0.05
    """Smallest turn, rad. Smaller ones become none."""
    rate_rad_s: float = 6.0
    """Roll rate at which a turn is carried out, rad/s."""
    reserve_mm: float = 100.0
    """Inserted length at which all reserved rotation is free, mm."""
    weights: Weights = Weights()
    """Weights of a plan's cost."""
    clearance_sd: float = 2.0
    """Number of standard deviations of the predicted tip that obstacles are grown by."""
    clearance_cap_mm: float = 0.7
    """Largest growth of obstacles by that deviation, mm."""
    needle_mm: float = 0.64
    """Radius of the shaft, mm."""
    shaft_shift_mm: float = 0.25
    """How far a shaft moves sideways behind its tip when later turns bend it, mm. Obstacles are grown by it, too."""
    breathing: bool = False
    """Whether the tissue's breathing is estimated from the respiratory signal in the measurements."""
    seed: int = 0
    """Seed of the search."""

    def __post_init__(self) -> None:
        check_finite(self, "planner")
        check_range(self, "planner", 1.0, 500.0, "depth_mm")
        check_range(self, "planner", 0, 20, "points", "ahead")
        check_range(self, "planner", 1, 1_000_000, "tries")
        for name in ("every_mm", "from_mm", "margin_mm", "budget_rad", "clearance_sd", "shaft_shift_mm"):
            check_range(self, "planner", 0.0, 1e3, name)
        if not math.hypot(*self.target_mm) <= 0.3 * self.depth_mm:
            raise InputError(
                f"planner: a target {math.hypot(*self.target_mm):g} mm off the axis at {self.depth_mm:g} mm is farther "
                "than any bevel-tip needle bends. Aim the insertion first"
            )

    @cached_property
    def _task(self) -> moves.PlanTask:
        """The task among no obstacles, as the kernels take it."""
        o = self.obstacles
        return moves.PlanTask(
            depth_mm=float(self.depth_mm),
            target_mm=np.array(self.target_mm, np.float64),
            model=self.model.for_kernels(),
            weights=self._cost_weights(),
            friction=self._friction(),
            budget_rad=float(self.budget_rad),
            field=o.field,
            origin_mm=o.origin_mm,
            step_mm=float(o.step_mm),
            need=moves.NO_NEED,
            min_turn_rad=float(self.min_turn_rad),
        )

    def _cost_weights(self) -> moves.CostWeights:
        whole = 3 * math.pi
        spare = RESERVE_FRACTION * max(self.budget_rad - math.pi, 0.0)
        named = {f.name: float(getattr(self.weights, f.name)) for f in dataclasses.fields(self.weights)}
        return moves.CostWeights(
            reserve_rad=spare if self.budget_rad < whole else RESERVE_RAD, reserve_mm=float(self.reserve_mm), **named
        )

    def _friction(self) -> moves.Friction:
        m = self.model
        return moves.Friction(
            wind_up_per_mm2=m.torque / m.torsional_stiffness,
            length_mm=float(m.length_mm),
            half_backlash_rad=0.5 * m.backlash_rad,
        )

    def prepare(self) -> None:
        """Compile the kernels."""
        state = self.start(0.0)
        small = dataclasses.replace(self, tries=2)
        for i in range(3):
            seen = TipMeasurement(0.05 * i, self.from_mm + 2.0 * i, 0.0, (0.0, 0.0))
            state, _ = small.step(state, seen, 0.0, 0.0)

    def start(self, roll_rad: float) -> PlannerState:
        """Return the state at the entry: nothing measured, nothing planned."""
        x, P = self.model.prior(self.breathing)
        n = min(self.ahead, self.points)
        return PlannerState(
            x=x,
            P=P,
            tip_rad=roll_rad,
            depth_mm=0.0,
            seen_mm=None,
            time_s=None,
            speed_mm_s=0.0,
            depths=np.full(n, self.depth_mm),
            turns=np.zeros(n),
            goal_rad=roll_rad,
            done=0,
            planned_mm=None,
            plans=0,
            lack_mm=0.0,
            contact_mm=None,
            blocked=0,
            miss_mm=None,
            miss_sd_mm=None,
        )

    def plan_ahead(self, tries: int = 20_000) -> PlannerState:
        """Plan before the insertion. Returns the state at the entry with its plan, miss, deviation and clearance."""
        s = self.start(0.0)
        careful = dataclasses.replace(self, tries=tries)
        return careful._planned(s, TipMeasurement(0.0, 0.0, 0.0, None), 0.0)

    def planned_path(self, state: PlannerState, points: int = 120) -> F64:
        """Return the path of a state's plan from its depth to the target's, (1 + points, 3) depth, y, z, mm."""
        out = np.zeros(moves.OUT)
        free = self.task_at(state.x, state.P)._replace(target_mm=np.zeros(2))
        begin = min(state.depth_mm, self.depth_mm)
        rows = [(begin, float(state.x[0]), float(state.x[2]))]
        for d in np.linspace(min(begin + 1.0, self.depth_mm), self.depth_mm, points).tolist():
            to = free._replace(depth_mm=d)
            moves.follow_plan(state.x, state.tip_rad, begin, state.depths, state.turns, to, out)
            rows.append((d, float(out[0]), float(out[1])))
        return np.array(rows)

    def step(
        self, state: PlannerState, measurement: TipMeasurement, ordered_rad: float, used_rad: float
    ) -> tuple[PlannerState, RollCommand]:
        """Take a measurement, plan anew where it is time, and begin the turn whose depth has come."""
        s = self._filtered(state, measurement)
        busy = abs(s.goal_rad - ordered_rad) > ALIGNED_RAD and used_rad < self.budget_rad - ALIGNED_RAD
        if not busy:
            s = dataclasses.replace(s, goal_rad=ordered_rad)
        if self.from_mm <= s.depth_mm < self.depth_mm - END_MM:
            spare = self.budget_rad - used_rad > self.min_turn_rad and s.done < self.points
            may_turn = spare and not self._in_doubt(s)
            due = s.planned_mm is None or s.depth_mm - s.planned_mm >= self.every_mm
            if not busy and may_turn:
                s = self._begun(self._planned(s, measurement, used_rad) if due else s, measurement)
            elif due:
                s = self._foreseen(dataclasses.replace(s, planned_mm=s.depth_mm))
        return s, self._command(s)

    @staticmethod
    def _in_doubt(s: PlannerState) -> bool:
        """Whether measurements contradict the model, or did so a moment ago. No turn is spent on such a model."""
        fresh = s.restarted_mm is not None and s.depth_mm - s.restarted_mm < SETTLES_MM
        return fresh or len(s.refused) >= WARN_REFUSED

    def _command(self, s: PlannerState) -> RollCommand:
        """Say where to roll, and stop or warn where the prediction asks for it."""
        why, stop = "steer", self._must_stop(s)
        if stop:
            why = "stop: no safe path"
        elif len(s.refused) >= WARN_REFUSED:
            over_mm = s.depth_mm - s.refused[0].depth_mm
            why = f"warning: for {over_mm:.0f} mm the tip has not been where the needle's model says"
        elif s.restarted_mm is not None and s.depth_mm - s.restarted_mm < SETTLES_MM:
            why = f"warning: the needle's model started anew at {s.restarted_mm:.1f} mm"
        elif s.miss_mm is not None and s.miss_mm > WARN_MISS_MM and s.depth_mm > WARN_FROM * self.depth_mm:
            why = f"warning: the target will be missed by {s.miss_mm:.1f} mm"
        return RollCommand(s.goal_rad, why, stop, miss_mm=s.miss_mm, miss_sd_mm=s.miss_sd_mm)

    def _must_stop(self, s: PlannerState) -> bool:
        """Whether a contact is predicted that no plan has avoided."""
        if s.contact_mm is None or s.blocked == 0:
            return False
        ahead_mm = s.contact_mm - s.depth_mm
        near = ahead_mm < CONTACT_NEAR_MM and s.lack_mm > self._later_mm(s)
        hopeless = s.blocked > PATIENCE and s.lack_mm > NARROW_MM
        return near or (hopeless and ahead_mm < CONTACT_FAR_MM)

    def _later_mm(self, s: PlannerState) -> float:
        """How much of the growth of obstacles is for the shaft's shift by later turns: no reason to stop at once."""
        now = self.clearance_sd * math.sqrt(max(0.5 * float(s.P[0, 0] + s.P[2, 2]), 0.0))
        return min(math.hypot(now, self.shaft_shift_mm), self.clearance_cap_mm) - min(now, self.clearance_cap_mm)

    # -- parts of a step -----------------------------------------------------------------------------------------

    def _filtered(self, s: PlannerState, seen: TipMeasurement) -> PlannerState:
        """Advance the filter to the new depth, and correct it if the measurement counts."""
        before, x, P, depth = s, s.x.copy(), s.P.copy(), max(seen.depth_mm, s.depth_mm)
        tip = roll_with_play(s.tip_rad, seen.roll_rad, moves.play_at(depth, self._task.friction))
        advanced = depth - s.depth_mm
        moved = advanced > 1e-6
        if moved:
            predict_tip(x, P, s.tip_rad, tip, advanced, self._task.model)
        s = dataclasses.replace(
            s,
            x=x,
            P=P,
            tip_rad=tip if moved else s.tip_rad,
            depth_mm=depth,
            time_s=seen.time_s,
            speed_mm_s=self._speed_mm_s(s, seen, depth),
        )
        return self._corrected(s, tip, seen) if self._counts(before, seen, depth) else s

    @staticmethod
    def _speed_mm_s(s: PlannerState, seen: TipMeasurement, depth_mm: float) -> float:
        """Return the insertion speed, smoothed over SPEED_FILTER_S."""
        if s.time_s is None or not seen.time_s > s.time_s or depth_mm <= 0:
            return s.speed_mm_s
        elapsed = seen.time_s - s.time_s
        began = s.seen_mm is not None or s.depth_mm > 0
        rate = max(seen.depth_mm - s.depth_mm, 0.0) / elapsed if began else 0.0
        return s.speed_mm_s + min(elapsed / SPEED_FILTER_S, 1.0) * (rate - s.speed_mm_s)

    @staticmethod
    def _counts(s: PlannerState, seen: TipMeasurement, depth_mm: float) -> bool:
        """Whether a measurement tells something new: the needle has advanced and is not drawn back."""
        advanced = s.seen_mm is None or depth_mm - s.seen_mm > MIN_ADVANCE_MM
        return seen.tip_mm is not None and advanced and not depth_mm - seen.depth_mm > MAX_RETRACTION_MM

    def _corrected(self, s: PlannerState, tip_rad: float, seen: TipMeasurement) -> PlannerState:
        """Correct the filter with a measurement, or refuse it. Refused ones that agree start the filter anew."""
        assert seen.tip_mm is not None
        sd = max(seen.sd_mm, self.model.min_sd_mm)
        y, z = seen.tip_mm
        x, P, h = s.x.copy(), s.P.copy(), self.model.jump_mm2
        if correct_with_tip(x, P, tip_rad, h, seen.breath, y, z, sd, MEASUREMENT_GATE_SD):
            return dataclasses.replace(s, x=x, P=P, seen_mm=s.depth_mm, refused=())
        at_y, at_z = tip_at(s.x, tip_rad, h, seen.breath)
        this = RefusedSighting(depth_mm=s.depth_mm, y_mm=y - at_y, z_mm=z - at_z, sd_mm=sd)
        refused = with_refused(s.refused, this)
        agreed = agreed_line(refused)
        if agreed is None:
            return dataclasses.replace(s, refused=refused)
        return self._restarted(s, agreed)

    def _restarted(self, s: PlannerState, agreed: Agreement) -> PlannerState:
        """Start the filter anew at the place and slope that refused measurements agree on. Curvature stays, unsure."""
        x, P = s.x.copy(), s.P.copy()
        _, prior = self.model.prior(self.breathing)
        for i, place in enumerate((0, 2)):
            x[place] += agreed.place_mm[i]
            x[place + 1] += agreed.slope_rad[i]
        keep = P[8:, 8:].copy()  # the breathing's amplitude is the tissue's, not the needle's
        P[:, :] = np.diag(np.maximum(np.diag(prior), np.diag(P)))
        P[8:, 8:] = keep
        for place in (0, 2):
            P[place, place] = agreed.place_sd_mm**2
            P[place + 1, place + 1] = agreed.slope_sd_rad**2
        return dataclasses.replace(
            s, x=x, P=P, seen_mm=s.depth_mm, refused=(), restarts=s.restarts + 1, restarted_mm=s.depth_mm
        )

    def _planned(self, s: PlannerState, seen: TipMeasurement, used_rad: float) -> PlannerState:
        """Search for a better plan, and keep the old one unless the new one is better by the margin."""
        left = self.points - s.done
        n = min(len(s.depths), left)
        order = np.argsort(np.where(s.turns == 0.0, np.inf, s.depths), kind="stable")[:n]
        e0, a0 = np.maximum(s.depths[order], s.depth_mm), s.turns[order].copy()
        task = self.task_at(s.x, s.P)
        rng = np.random.default_rng([self.seed, s.plans])
        offset = seen.roll_rad - s.tip_rad
        tries = self.tries * (BLOCKED_TRIES if s.blocked else 1)
        e, a, J, before = moves.search(s.x, s.tip_rad, s.depth_mm, e0, a0, task, used_rad, left, offset, tries, rng)
        if not (before - self.margin_mm > J or before >= moves.IMPOSSIBLE):
            e, a = e0, a0
        after = dataclasses.replace(s, depths=e, turns=a, planned_mm=s.depth_mm, plans=s.plans + 1)
        return self._foreseen(after)

    def _foreseen(self, s: PlannerState) -> PlannerState:
        """Predict where the plan leads: miss, its deviation, lack of clearance."""
        task, out = self.task_at(s.x, s.P), np.zeros(moves.OUT)
        moves.follow_plan(s.x, s.tip_rad, s.depth_mm, s.depths, s.turns, task, out)
        J = moves.sensitivity(s.tip_rad, s.depth_mm, s.depths, s.turns, task)
        spread = J @ s.P @ J.T
        sd = math.sqrt(max(0.5 * float(spread[0, 0] + spread[1, 1]), 0.0))
        miss = math.hypot(out[0], out[1])
        known = math.isfinite(miss)
        blocked = s.blocked + 1 if out[5] > 0.0 else 0
        return dataclasses.replace(
            s,
            miss_mm=miss if known else None,
            miss_sd_mm=sd if known else None,
            lack_mm=float(out[5]),
            contact_mm=float(out[6]) if out[5] > 0.0 else None,
            blocked=blocked,
        )

    def task_at(self, x: F64, P: F64) -> moves.PlanTask:
        """Return the task with the clearance that a state of the filter and its covariance ask for."""
        if not self.obstacles.present:
            return self._task
        z2, m = self.clearance_sd**2, self.model
        slope = 0.5 * (P[1, 1] + P[3, 3])
        bend = P[4, 4] + P[5, 5] + (m.wander_fraction * x[4]) ** 2 * 0.3  # chosen: part of the wander that builds up
        place = 0.5 * (P[0, 0] + P[2, 2])
        need = moves.ClearanceNeed(
            radius_mm=float(self.needle_mm),
            place_mm2=float(z2 * place + self.shaft_shift_mm**2),
            slope=float(z2 * slope),
            curvature_per_mm2=float(z2 * bend),
            cap_mm=float(self.clearance_cap_mm),
        )
        return self._task._replace(need=need)

    def _begun(self, s: PlannerState, seen: TipMeasurement) -> PlannerState:
        """Begin the first turn whose depth has come. A turn begins early by half of the way that it takes."""
        for i in range(len(s.turns)):
            a = float(s.turns[i])
            if a == 0.0 or s.depth_mm < s.depths[i] - 0.5 * abs(a) / self.rate_rad_s * s.speed_mm_s:
                continue
            play = moves.play_at(s.depth_mm, self._task.friction)
            base = moves.base_turn(a, seen.roll_rad - s.tip_rad, play)
            depths, turns = s.depths.copy(), s.turns.copy()
            depths[i], turns[i] = self.depth_mm, 0.0
            return dataclasses.replace(
                s, depths=depths, turns=turns, goal_rad=s.goal_rad + base, done=s.done + 1, planned_mm=None
            )
        return s
