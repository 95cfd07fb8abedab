"""`steer`: pushes like `visibility`, and turns the base by half a turn where the bevel would miss the target.

Reference: Carriere et al. 2019, Sections 3 and 4. The model is the bicycle (`needle/bicycle.py`, Eqs. (10) and (11)).
Its parameters are fitted to the measured tip, and turns at event points are planned anew on the way. In an image plane
only two rolls of the bevel matter: towards the probe and away from it. So the plan is one event point ahead, and the
turn is half a turn. A bevel does little here: about 0.5/m of curvature, or 1 mm over 60 mm.

| symbol | name here | unit |
| --- | --- | --- |
| l | `way_mm`, insertion since the tip was first seen | mm |
| y(l) = y_0 + s_0 l + kappa q(l) | position across the planned line, to the steeper side | mm |
| q'' = -cos(roll) | a bevel at roll 0 is pushed towards the probe, to the shallower side | no unit |
| kappa | curvature, prior `kappa_per_mm` | 1/mm |

Departs from the paper: the curvature changes sign at a turn and the slope stays, while the paper's model turns the
slope with the bevel. The fit is linear least squares over all measurements, older ones fading. There is no genetic
search. The paper's planner of many event points in space is `steering/event_triggered`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import Action, Observation, RobotState, Task
from sonosteer.needle.bicycle import section
from sonosteer.policies.geometry import TargetOffset, side, target_offset
from sonosteer.policies.visibility import Visibility, VisibilityState

MAX_MEASURED = 1e4  # chosen: mm or rad. A larger number is a fault, and the fit does not use it
MIN_GAINED_MM = 0.2  # chosen: insertion between two measurements of the fit
FIT_FROM_MM = 5.0  # chosen: no turn before the fit has this much insertion
ROLLING_RAD = 0.3  # chosen: farther from the ordered roll the base still turns


@dataclass(frozen=True, slots=True, eq=False)
class BevelFit:
    """Least squares of (y_0, s_0, kappa) so far."""

    origin_mm: Point
    """Tip (x, z) in the tissue when it was first seen, mm."""
    depth_mm: float
    """Inserted length then, mm."""
    information: F64
    """(3, 3) information matrix, in the inverse squares of mm, rad and 1/mm."""
    vector: F64
    """(3,) information vector, in the inverses of mm, rad and 1/mm."""
    way_mm: float = 0.0
    """l, insertion since the tip was first seen, mm."""
    q: float = 0.0
    """q(l), twice integrated pull of the bevel, mm^2."""
    q_slope: float = 0.0
    """q'(l), once integrated pull of the bevel, mm."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    def solved(self) -> tuple[float, float, float]:
        """Return y (mm) and slope (rad) now, and kappa (1/mm)."""
        y0, s0, k = np.linalg.solve(self.information, self.vector).tolist()
        return y0 + s0 * self.way_mm + k * self.q, s0 + k * self.q_slope, k


@dataclass(frozen=True, slots=True, eq=False)
class SteerState:
    """What `steer` remembers."""

    push: VisibilityState
    """State of the policy that pushes."""
    fit: BevelFit | None = None
    """The fit so far. None before the tip was seen."""
    roll_rad: float | None = None
    """Roll as last ordered, rad. None before the first step."""
    turns: int = 0
    """Number of half turns so far."""
    turned_mm: float | None = None
    """Inserted length at the last turn, mm. None before the first."""


@dataclass(frozen=True, slots=True)
class Steer:
    """The policy `steer`. All numbers are chosen, not published."""

    push: Visibility = field(default_factory=Visibility)
    """The policy that pushes."""
    max_turns: int = 4
    """Largest number of half turns."""
    min_gap_mm: float = 8.0
    """Insertion between two turns, and left after the last one, mm."""
    min_gain_mm: float = 0.2
    """By how much a turn must reduce the predicted miss, mm."""
    kappa_per_mm: float = 0.5e-3
    """Curvature that is assumed beforehand, 1/mm."""
    kappa_sd_per_mm: float = 0.3e-3
    """Standard deviation of that curvature, 1/mm."""
    slope_sd_rad: float = 0.03
    """Standard deviation of the slope at first, rad."""
    tip_sd_mm: float = 2.0
    """Standard deviation of a measured tip over 1 mm of insertion, mm."""
    fade_mm: float = 60.0
    """Insertion after which an old measurement counts e times less, mm."""

    def __post_init__(self) -> None:
        check_finite(self, "steer")
        check_range(self, "steer", 0, 100, "max_turns")
        for name in ("min_gap_mm", "tip_sd_mm", "fade_mm"):
            check_range(self, "steer", 0.1, 100.0, name)
        check_range(self, "steer", 0.0, 100.0, "min_gain_mm")
        for name in ("kappa_per_mm", "kappa_sd_per_mm", "slope_sd_rad"):
            check_range(self, "steer", 1e-6, 1.0, name)

    def prepare(self) -> None:
        """Compile the bicycle."""
        section(1e-3, 0.0, 0.0, 0.0, 1.0)

    def start(self, task: Task) -> SteerState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return SteerState(self.push.start(task))

    def step(self, state: SteerState, observation: Observation) -> tuple[SteerState, Action]:
        """Push like `visibility`, and roll the base by half a turn where that is due."""
        task = state.push.task
        push, action = self.push.step(state.push, observation)
        roll = action.command.roll_rad if state.roll_rad is None else state.roll_rad
        state = replace(state, push=push, roll_rad=roll)
        seen = target_offset(observation, task)
        if seen is not None and seen.tracked and not action.command.stop and _plausible(seen, observation.robot_state):
            state = self._learn(state, task, seen, observation.robot_state)
            state = self._turn(state, seen, observation.robot_state)
        assert state.roll_rad is not None
        return state, replace(action, command=replace(action.command, roll_rad=state.roll_rad))

    def _learn(self, state: SteerState, task: Task, seen: TargetOffset, robot_state: RobotState) -> SteerState:
        """Add a measurement to the fit. It counts by the insertion that was gained."""
        fit = state.fit
        if fit is None:
            sd = np.array([self.tip_sd_mm, self.slope_sd_rad, self.kappa_sd_per_mm])
            prior = np.diag(sd**-2)
            vector = prior @ [0.0, 0.0, self.kappa_per_mm]
            first = BevelFit(origin_mm=seen.tip_mm, depth_mm=robot_state.depth_mm, information=prior, vector=vector)
            return replace(state, fit=first)
        gained = robot_state.depth_mm - fit.depth_mm - fit.way_mm
        if gained < MIN_GAINED_MM:
            return state
        pull = -math.cos(robot_state.roll_rad)
        q = fit.q + fit.q_slope * gained + 0.5 * pull * gained**2
        way, slope = fit.way_mm + gained, fit.q_slope + pull * gained
        c, s = math.cos(task.angle_rad), math.sin(task.angle_rad)
        x, z = seen.tip_mm[0] - fit.origin_mm[0], seen.tip_mm[1] - fit.origin_mm[1]
        y = z * c - side(task) * x * s
        row = np.array([1.0, way, q])
        keep = math.exp(-gained / self.fade_mm)
        weight = gained / self.tip_sd_mm**2  # a slow needle is seen more often, but not better
        prior = np.zeros((3, 3))
        prior[2, 2] = (1.0 - keep) / self.kappa_sd_per_mm**2  # the prior of the bevel does not fade
        information = keep * fit.information + weight * np.outer(row, row) + prior
        vector = keep * fit.vector + weight * y * row + prior @ [0.0, 0.0, self.kappa_per_mm]
        return replace(state, fit=replace(fit, information=information, vector=vector, way_mm=way, q=q, q_slope=slope))

    def _turn(self, state: SteerState, seen: TargetOffset, robot_state: RobotState) -> SteerState:
        """Order half a turn if the best event point is now."""
        fit, left = state.fit, seen.along_mm
        assert state.roll_rad is not None
        rolling = abs(robot_state.roll_rad - state.roll_rad) > ROLLING_RAD
        too_soon = state.turned_mm is not None and robot_state.depth_mm - state.turned_mm < self.min_gap_mm
        if fit is None or fit.way_mm < FIT_FROM_MM or rolling or too_soon or left < self.min_gap_mm:
            return state
        if state.turns >= self.max_turns:
            return state
        _, slope, kappa = fit.solved()
        turn = robot_state.insertion_angle_rad - state.push.task.angle_rad
        pull = -math.copysign(max(kappa, 0.0), math.cos(robot_state.roll_rad))
        miss = event_points(pull, slope - turn, left, seen.across_mm)
        if miss[0] > min(miss) + 1e-9 or miss[-1] - miss[0] < self.min_gain_mm:
            return state
        back = -math.pi if state.turns % 2 else math.pi  # there and back: the base does not wind up
        roll = state.roll_rad + back
        return replace(state, roll_rad=roll, turns=state.turns + 1, turned_mm=robot_state.depth_mm)


def event_points(pull_per_mm: float, slope_rad: float, left_mm: float, across_mm: float, n: int = 8) -> list[float]:
    """Return how far from the target a needle ends, mm, if it turns after 0, 1/n, ... of the way left, or never (last).

    pull_per_mm: curvature to the steeper side as the bevel lies now. slope_rad: slope of the tip against the needle's
    own line now. across_mm: distance of the target from that line.
    """
    out = []
    for i in range(n + 1):
        before = left_mm * i / n
        _, y, _ = section(pull_per_mm, 0.0, slope_rad, 0.0, before)
        _, more, _ = section(-pull_per_mm, 0.0, slope_rad + pull_per_mm * before, 0.0, left_mm - before)
        out.append(abs(across_mm - y - more))
    return out


def _plausible(seen: TargetOffset, robot_state: RobotState) -> bool:
    """True if a needle can have these numbers."""
    said = (
        *seen.tip_mm,
        seen.along_mm,
        seen.across_mm,
        robot_state.depth_mm,
        robot_state.roll_rad,
        robot_state.insertion_angle_rad,
    )
    return all(abs(v) < MAX_MEASURED for v in said)
