"""The peer: a random tree of the Open Motion Planning Library (OMPL) in place of our search for a plan.

Rapidly-exploring random trees among obstacles are the usual planners for steerable needles (Xu et al. 2008, "Motion
planning for steerable needles in 3D environments with obstacles using rapidly-exploring random trees and backchaining";
Patil and Alterovitz 2010). Here OMPL's kinodynamic `control::RRT` plans through its public interface. Filter, model,
obstacles and their growth, limits, and how a turn is carried out and when the needle is stopped, are those of `moves`.
So only the planner differs.

A state of the tree is the tip's place, slope, bevel, the rotation used and the number of turns. A control is the roll
that the bevel is brought to, and how long it is kept. A state is a goal if the needle ends within `GOAL_MM` of the
target when it is pushed straight on from there, and touches nothing.

Departs from what these papers do: their needles turn all the time, ours has three turns. They plan once or again and
again with a new tree, here the tree grows anew only if the plan at hand no longer leads to the target.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonosteer.core.errors import MissingExtraError
from sonosteer.core.types import TipMeasurement
from sonosteer.steering import moves
from sonosteer.steering.planner import NARROW_MM, MovePlanner, PlannerState

GOAL_MM = 0.5  # chosen: a plan that ends so near is taken. An insertion within 1 mm counts as solved
TREE_STEP_MM = 1.5  # as `moves` among obstacles
SIDE_MM = 20.0  # chosen: no needle of these scenes comes so far from its axis
#: chosen: number of propagations of one tree, 2 to 4 s. Most ways were found within 150,000 on the validation scenes.
#: A tree that finds none gives the way that came nearest
CHECKED = 60_000
TREE_EVERY_MM = 5.0  # chosen: insertion between two plans. With 1 mm, as ours, an insertion takes five times as long
SMALL_WEIGHT = (
    1e-3  # weight of slope, bevel and rotation in the distance between two states of the tree. The place has 1
)
DEPTH, TIP_Y, TIP_Z = range(3)
SLOPE_Y, SLOPE_Z, BEVEL, OFFSET, USED, TURNS_MADE = range(6)


@dataclass(frozen=True)
class RandomTreePlanner(MovePlanner):
    """The controller `moves` with OMPL's random tree as its search. Needs the extra `peers`."""

    every_mm: float = TREE_EVERY_MM
    """Insertion between two plans, mm."""
    checked: int = CHECKED
    """Number of propagations after which a tree is given up."""

    def _planned(self, s: PlannerState, seen: TipMeasurement, used_rad: float) -> PlannerState:
        """Keep a plan that leads to the target, otherwise grow a tree."""
        now = self._foreseen(dataclasses.replace(s, planned_mm=s.depth_mm, plans=s.plans + 1))
        if now.lack_mm == 0.0 and now.miss_mm is not None and now.miss_mm <= GOAL_MM:
            return now
        found = _Tree(self, s, seen.roll_rad - s.tip_rad, used_rad).grown()
        if found is None:
            return now
        n = min(len(s.depths), self.points - s.done)
        depths, turns = np.full(n, self.depth_mm), np.zeros(n)
        depths[: len(found)] = [depth for depth, _ in found]
        turns[: len(found)] = [turn for _, turn in found]
        after = self._foreseen(dataclasses.replace(now, depths=depths, turns=turns, blocked=s.blocked))
        return after if _badness(after) < _badness(now) else now


def _badness(s: PlannerState) -> tuple[float, float]:
    """What a plan lacks in clearance beyond what stops no needle, then its miss, mm.

    The tree checks a way in steps, and the prediction in finer ones, so that a way of the tree may lack a little.
    """
    return max(s.lack_mm - NARROW_MM, 0.0), math.inf if s.miss_mm is None else s.miss_mm


class _Tree:
    """One search by OMPL from a state of the planner."""

    def __init__(self, planner: MovePlanner, s: PlannerState, offset_rad: float, used_rad: float) -> None:
        self.planner, self.s, self.offset_rad, self.used_rad = planner, s, offset_rad, used_rad
        self.task = planner.task_at(s.x, s.P)
        self.left = min(len(s.depths), planner.points - s.done)
        self.propagated = 0

    def grown(self) -> list[tuple[float, float]] | None:
        """Return the turns (depth mm, turn rad) of the first way that the tree finds. None if it finds none at all."""
        try:
            from ompl import base, control, util
        except ImportError:
            raise MissingExtraError("the peer among obstacles", "ompl", "peers") from None
        util.setLogLevel(util.LOG_NONE)
        util.RNG.setSeed(1 + self.planner.seed * 1000 + self.s.plans)  # OMPL has one seed a process
        space, controls = self._spaces(base, control)
        setup = control.SimpleSetup(controls)
        setup.setStatePropagator(self._propagate)
        setup.setStateValidityChecker(self._is_free)
        info = setup.getSpaceInformation()
        info.setPropagationStepSize(TREE_STEP_MM)
        info.setMinMaxControlDuration(1, int(self.planner.depth_mm / TREE_STEP_MM))
        setup.setGoal(_goal(base, info, self._ends_off_mm))
        start = space.allocState()
        self._write(start, (self.s.depth_mm, *self.s.x[[0, 2, 1, 3]], self.s.tip_rad, self.offset_rad, 0.0, 0.0))
        setup.setStartState(start)
        tree = control.RRT(info)
        tree.setIntermediateStates(True)
        setup.setPlanner(tree)
        setup.setup()
        setup.solve(base.PlannerTerminationCondition(lambda: self.propagated >= self.planner.checked))  # type: ignore[attr-defined]
        return _turns(setup.getSolutionPath()) if setup.haveSolutionPath() else None

    def _spaces(self, base: Any, control: Any) -> tuple[Any, Any]:
        """Return the space of states and that of controls."""
        place, rest = base.RealVectorStateSpace(3), base.RealVectorStateSpace(6)
        wide, turn = SIDE_MM, 4 * math.pi
        ranges = ((0.0, self.planner.depth_mm), (-wide, wide), (-wide, wide))
        others = ((-1.0, 1.0), (-1.0, 1.0), (-turn, turn), (-turn, turn), (0.0, turn), (0.0, self.left + 1.0))
        for part, limits in ((place, ranges), (rest, others)):
            part.setBounds(_bounds(base, limits))
        space = base.CompoundStateSpace()
        space.addSubspace(place, 1.0)
        space.addSubspace(rest, SMALL_WEIGHT)
        controls = control.RealVectorControlSpace(space, 1)
        controls.setBounds(_bounds(base, ((-math.pi, math.pi),)))
        return space, controls

    @staticmethod
    def _write(state: Any, values: tuple[float, ...]) -> None:
        for i, v in enumerate(values[:3]):
            state[0][i] = float(v)
        for i, v in enumerate(values[3:]):
            state[1][i] = float(v)

    def _propagate(self, state: Any, control: Any, step_mm: float, result: Any) -> None:
        """Turn the bevel to the control, and push on. Model as in `moves.follow_plan`."""
        self.propagated += 1
        place, rest = state[0], state[1]
        at, bevel, offset, used, turns = place[DEPTH], rest[BEVEL], rest[OFFSET], rest[USED], rest[TURNS_MADE]
        turn = math.remainder(control[0] - bevel, math.tau)
        if abs(turn) > self.task.min_turn_rad:
            play = moves.play_at(at, self.task.friction)
            used += abs(moves.base_turn(turn, offset, play))
            bevel, offset, turns = bevel + turn, math.copysign(play, turn), turns + 1.0
        ky, kz, gy, gz = self._bends(bevel, at + 0.5 * step_mm - self.s.depth_mm)
        y = place[TIP_Y] + (rest[SLOPE_Y] + gy) * step_mm + 0.5 * ky * step_mm**2
        z = place[TIP_Z] + (rest[SLOPE_Z] + gz) * step_mm + 0.5 * kz * step_mm**2
        slopes = (rest[SLOPE_Y] + ky * step_mm, rest[SLOPE_Z] + kz * step_mm)
        self._write(result, (at + step_mm, y, z, *slopes, bevel, offset, used, turns))

    def _bends(self, bevel_rad: float, ahead_mm: float) -> tuple[float, float, float, float]:
        """Return curvature (1/mm) and added slope (rad) along y and z with the bevel at an angle."""
        x, model = self.s.x, self.task.model
        k1, k2 = x[4] + x[7] * math.exp(-ahead_mm / model.wander_mm), x[5]
        C, S = math.cos(bevel_rad), math.sin(bevel_rad)
        ky, kz = k1 * C - k2 * S, k1 * S + k2 * C
        return ky, kz, model.slope_mm * ky + x[6] * C, model.slope_mm * kz + x[6] * S

    def _is_free(self, state: Any) -> bool:
        """Whether limits are kept and nothing is touched."""
        place, rest = state[0], state[1]
        at = place[DEPTH]
        if at > self.planner.depth_mm + 1e-6 or rest[TURNS_MADE] > self.left + 0.5:
            return False
        if self.used_rad + rest[USED] > self.task.budget_rad:
            return False
        ky, kz, _, _ = self._bends(rest[BEVEL], at - self.s.depth_mm)
        h, need, t = self.task.model.jump_mm2, self.task.need, self.task
        ahead = at - self.s.depth_mm
        grown = 0.5 * ahead * ahead
        sd = math.sqrt(need.place_mm2 + need.slope * ahead**2 + need.curvature_per_mm2 * grown**2)
        room = moves.clearance_at(t.field, t.origin_mm, t.step_mm, at, place[TIP_Y] + h * ky, place[TIP_Z] + h * kz)
        return bool(room >= need.radius_mm + min(sd, need.cap_mm))

    def _ends_off_mm(self, state: Any) -> float:
        """Return how far from the target the needle ends without another turn, mm. Large if it touches something."""
        place, rest = state[0], state[1]
        at, target = place[DEPTH], self.task.target_mm
        left = max(self.planner.depth_mm - at, 0.0)
        ky, kz, gy, gz = self._bends(rest[BEVEL], at - self.s.depth_mm + 0.5 * left)
        h = self.task.model.jump_mm2
        y = place[TIP_Y] + (rest[SLOPE_Y] + gy) * left + (0.5 * left**2 + h) * ky - target[0]
        z = place[TIP_Z] + (rest[SLOPE_Z] + gz) * left + (0.5 * left**2 + h) * kz - target[1]
        off = math.hypot(y, z)
        return off if off > GOAL_MM else off + self._touches_mm(place, rest)

    def _touches_mm(self, place: Any, rest: Any) -> float:
        """Return the largest lack of clearance without another turn, mm."""
        at, ahead, need = place[DEPTH], place[DEPTH] - self.s.depth_mm, self.task.need
        x = self.s.x.copy()
        x[:4] = place[TIP_Y], rest[SLOPE_Y], place[TIP_Z], rest[SLOPE_Z]
        grown = 0.5 * ahead * ahead
        now = need.place_mm2 + need.slope * ahead**2 + need.curvature_per_mm2 * grown**2
        out = np.zeros(moves.OUT)
        task = self.task._replace(need=need._replace(place_mm2=now))
        moves.follow_plan(x, rest[BEVEL], at, np.empty(0), np.empty(0), task, out)
        return float(out[5])


def _bounds(base: Any, ranges: tuple[tuple[float, float], ...]) -> Any:
    bounds = base.RealVectorBounds(len(ranges))
    for i, (low, high) in enumerate(ranges):
        bounds.setLow(i, low)
        bounds.setHigh(i, high)
    return bounds


def _goal(base: Any, info: Any, ends_off_mm: Any) -> Any:
    """Return OMPL's goal: states from which the needle ends within GOAL_MM of the target."""

    class Straight(base.GoalRegion):  # type: ignore[misc]
        def distanceGoal(self, state: Any) -> float:  # noqa: N802 (OMPL's name)
            return float(ends_off_mm(state))

    goal = Straight(info)
    goal.setThreshold(GOAL_MM)
    return goal


def _turns(path: Any) -> list[tuple[float, float]]:
    """Return the turns (depth mm, turn rad) of a way through the tree."""
    out = []
    for before, after in itertools.pairwise(path.getStates()):
        turn = after[1][BEVEL] - before[1][BEVEL]
        if turn != 0.0:
            out.append((float(before[0][DEPTH]), float(turn)))
    return out
