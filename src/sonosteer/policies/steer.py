"""`steer`: `visibility`, and half turns of the base where the bevel would take the tip past the target.

Source: Paper S, Sections 3 and 4: the bicycle (`needle/bicycle.py`, Eqs. (10), (11)), its parameters fitted to what
was seen, and turns at event points planned anew as the needle goes. In an image plane only two rolls of the bevel
matter, towards the probe and away from it; so the plan is one event point ahead, and the turn is half a one.
Departs from the paper: curvature changes sign at a turn and the slope goes on (the paper's model turns the slope with
the bevel); the fit is linear least squares over all that was seen, older sights fading; no genetic search. The paper's
planner of many event points in space is `steering/event_triggered`, another room: whoever wants it composes it in the
app. A bevel does little here: about 0.5/m of curvature, 1 mm aside over 60 mm.

| symbol | name here | unit |
| --- | --- | --- |
| l | inserted depth since the first sight | mm |
| y(l) = y_0 + s_0 l + kappa q(l) | place across the planned line, to the steeper side | mm |
| q'' | -cos(roll): a bevel at roll 0 is pushed towards the probe, to the shallower side | |
| kappa | `curvature_per_mm`; prior `kappa_per_mm` | 1/mm |
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
from sonosteer.policies.visibility import State as Seen
from sonosteer.policies.visibility import Visibility

FAR = 1e4  # mm, rad: ours; what is said to lie beyond is a fault, and is not learnt from


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Least squares so far: information (3, 3), vector (3,) of (y_0, s_0, kappa). way_mm: l. q, q_slope: of the bevel.

    origin_mm: (x, z) of the tip when it was first seen, in the tissue; depth_mm: inserted then.
    """

    origin_mm: Point
    depth_mm: float
    information: F64
    vector: F64
    way_mm: float = 0.0
    q: float = 0.0
    q_slope: float = 0.0

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    def solved(self) -> tuple[float, float, float]:
        """(y now, slope now, kappa)."""
        y0, s0, k = np.linalg.solve(self.information, self.vector).tolist()
        return y0 + s0 * self.way_mm + k * self.q, s0 + k * self.q_slope, k


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """seen: of `visibility`. roll_rad: as last ordered. turns: so far, the last at turned_mm."""

    seen: Seen
    fit: Fit | None = None
    roll_rad: float | None = None
    turns: int = 0
    turned_mm: float = -math.inf


@dataclass(frozen=True, slots=True)
class Steer:
    """most_turns: of half a turn. apart_mm: between turns, and to go at the last. gain_mm: a turn must promise so much.

    kappa_per_mm, kappa_sd: what is believed of the curvature beforehand; slope_sd, sd_mm: of slope and sights.
    fade_mm: way after which an old sight counts e times less.
    """

    push: Visibility = field(default_factory=Visibility)
    most_turns: int = 4
    apart_mm: float = 8.0
    gain_mm: float = 0.2
    kappa_per_mm: float = 0.5e-3
    kappa_sd: float = 0.3e-3
    slope_sd: float = 0.03
    sd_mm: float = 2.0
    fade_mm: float = 60.0

    def __post_init__(self) -> None:
        check_finite(self, "steer")
        check_range(self, "steer", 0, 100, "most_turns")
        check_range(self, "steer", 0.1, 100.0, "apart_mm", "sd_mm", "fade_mm")
        check_range(self, "steer", 0.0, 100.0, "gain_mm")
        check_range(self, "steer", 1e-6, 1.0, "kappa_per_mm", "kappa_sd", "slope_sd")

    def prepare(self) -> None:
        """Compile the bicycle."""
        section(1e-3, 0.0, 0.0, 0.0, 1.0)

    def start(self, task: Task) -> State:
        """Before the first observation. InputError for a task with a number that is none."""
        return State(self.push.start(task))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """As `visibility`, and the base rolled by half a turn where that is due."""
        task = state.seen.task
        known, action = self.push.step(state.seen, observation)
        roll = action.command.roll_rad if state.roll_rad is None else state.roll_rad
        state = replace(state, seen=known, roll_rad=roll)
        seen = target_offset(observation, task)
        if seen is not None and seen.sure and not action.command.stop and _near(seen, observation.robot_state):
            state = self._learn(state, task, seen, observation.robot_state)
            state = self._turn(state, seen, observation.robot_state)
        assert state.roll_rad is not None
        return state, replace(action, command=replace(action.command, roll_rad=state.roll_rad))

    def _learn(self, state: State, task: Task, seen: TargetOffset, robot_state: RobotState) -> State:
        """One more sight for the fit; only way that is gained counts."""
        fit = state.fit
        if fit is None:
            sd = np.array([self.sd_mm, self.slope_sd, self.kappa_sd])
            prior = np.diag(sd**-2)
            return replace(
                state, fit=Fit(seen.tip_mm, robot_state.depth_mm, prior, prior @ [0.0, 0.0, self.kappa_per_mm])
            )
        gained = robot_state.depth_mm - fit.depth_mm - fit.way_mm
        if gained < 0.2:
            return state
        pull = -math.cos(robot_state.roll_rad)
        q = fit.q + fit.q_slope * gained + 0.5 * pull * gained**2
        way, slope = fit.way_mm + gained, fit.q_slope + pull * gained
        c, s = math.cos(task.angle_rad), math.sin(task.angle_rad)
        x, z = seen.tip_mm[0] - fit.origin_mm[0], seen.tip_mm[1] - fit.origin_mm[1]
        y = z * c - side(task) * x * s
        row = np.array([1.0, way, q])
        keep = math.exp(-gained / self.fade_mm)
        weight = gained / self.sd_mm**2  # a slow needle is seen more often, but not better
        prior = np.zeros((3, 3))
        prior[2, 2] = (1.0 - keep) / self.kappa_sd**2  # what is believed of the bevel does not fade
        information = keep * fit.information + weight * np.outer(row, row) + prior
        vector = keep * fit.vector + weight * y * row + prior @ [0.0, 0.0, self.kappa_per_mm]
        return replace(state, fit=Fit(fit.origin_mm, fit.depth_mm, information, vector, way, q, slope))

    def _turn(self, state: State, seen: TargetOffset, robot_state: RobotState) -> State:
        """Half a turn, if the best event point is now."""
        fit, left = state.fit, seen.along_mm
        assert state.roll_rad is not None
        rolling = abs(robot_state.roll_rad - state.roll_rad) > 0.3
        too_soon = robot_state.depth_mm - state.turned_mm < self.apart_mm
        if fit is None or fit.way_mm < 5.0 or rolling or too_soon or left < self.apart_mm:
            return state
        if state.turns >= self.most_turns:
            return state
        _, slope, kappa = fit.solved()
        turn = robot_state.angle_rad - state.seen.task.angle_rad
        pull = -math.copysign(max(kappa, 0.0), math.cos(robot_state.roll_rad))
        miss = event_points(pull, slope - turn, left, seen.across_mm)
        if miss[0] > min(miss) + 1e-9 or miss[-1] - miss[0] < self.gain_mm:
            return state
        back = -math.pi if state.turns % 2 else math.pi  # there and back: the base does not wind up
        roll = state.roll_rad + back
        return replace(state, roll_rad=roll, turns=state.turns + 1, turned_mm=robot_state.depth_mm)


def event_points(pull_per_mm: float, slope_rad: float, left_mm: float, across_mm: float, n: int = 8) -> list[float]:
    """How far from the target a needle ends that is turned over after 0, 1/n, ... of the way left, and never (last).

    pull_per_mm: curvature to the steeper side as the bevel lies now. slope_rad: of the tip against the needle's own
    line now. across_mm: of the target, from that line.
    """
    out = []
    for i in range(n + 1):
        before = left_mm * i / n
        _, y, _ = section(pull_per_mm, 0.0, slope_rad, 0.0, before)
        _, more, _ = section(-pull_per_mm, 0.0, slope_rad + pull_per_mm * before, 0.0, left_mm - before)
        out.append(abs(across_mm - y - more))
    return out


def _near(seen: TargetOffset, robot_state: RobotState) -> bool:
    """True if every number is one that a needle can have."""
    said = (
        *seen.tip_mm,
        seen.along_mm,
        seen.across_mm,
        robot_state.depth_mm,
        robot_state.roll_rad,
        robot_state.angle_rad,
    )
    return all(abs(v) < FAR for v in said)
