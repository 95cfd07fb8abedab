"""What a recorded steering run decided, picture by picture, and what it planned: for a page that shows it.

A recording has observations and actions, and no plans. So the controller decides again upon the recorded observations.
A plan is told only as long as the orders are the recorded ones.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation
from sonosteer.policies.steered import Steered, SteeredState
from sonosteer.recording.run_reader import RunReader
from sonosteer.steering.obstacles import Obstacles

PATH_POINTS = 24  # chosen: points of a planned path, 5 mm apart on a usual insertion
DRAWN_EVERY = 10  # chosen: a path that is not planned anew is drawn anew twice a second, as the filter moves it
EQUAL_RAD = 1e-9  # chosen: the same arithmetic on another machine differs by less
TRUE_COLUMNS = ("depth_mm", "y_mm", "z_mm", "tip_rad", "base_rad")


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan, from one decision on until the next one."""

    decision: int
    """Number of the decision from which it holds, from 0."""
    moves: tuple[tuple[float, float], ...]
    """Inserted length at which each turn begins, mm, and the turn of the tip, rad, in their order."""
    path_mm: tuple[tuple[float, float, float], ...]
    """The planned path from where the tip is to the target's depth: depth, y, z, mm."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """An obstacle as it is seen from the side and from above."""

    depth_mm: tuple[float, ...]
    """Inserted lengths at which it lies, mm."""
    y_mm: tuple[tuple[float, float], ...]
    """Lowest and highest y at each of them, mm."""
    z_mm: tuple[tuple[float, float], ...]
    """Lowest and highest z at each of them, mm."""


@dataclass
class SteeringStory:
    """A run as a page shows it. All columns have one value for each decision, None where there is none."""

    depth_mm: float
    """Inserted length at the target, mm."""
    target_mm: tuple[float, float]
    """Target off the insertion axis, y and z, mm."""
    budget_rad: float
    """All rotation of the base that was allowed, rad."""
    words: dict[str, Any] = field(default_factory=dict)
    """Tissue, controller, seed and how the run ended, for the heading."""
    columns: dict[str, list[Any]] = field(default_factory=dict)
    """Time, depth, tip, orders, miss and reason by name, with units in the names."""
    plans: list[StoredPlan] = field(default_factory=list)
    """Plans in their order. Empty for a controller that plans nothing."""
    obstacles: list[Silhouette] = field(default_factory=list)
    """What the needle must go round."""
    truth: dict[str, list[float]] = field(default_factory=dict)
    """True path, mm, and rolls, rad, of a simulated run, with times, s. Empty without its insertion.csv."""
    notes: list[str] = field(default_factory=list)
    """What cannot be told, and why."""


def tell_story(
    recorded: RunReader, policy: Steered, budget_rad: float, obstacles: Sequence[Obstacles]
) -> SteeringStory:
    """Go through a recorded steering run, and let its controller decide again.

    policy: built as the recorded configuration says. Raises InputError if it holds no decision.
    """
    said = recorded.configuration
    story = SteeringStory(policy.hand.depth_mm, policy.target_mm, budget_rad)
    story.obstacles = [s for o in obstacles for s in silhouettes(o)]
    policy.prepare()
    state: SteeredState | None = policy.start(said["task"])
    columns: dict[str, list[Any]] = {}
    number = 0
    for message in recorded.messages("/decision"):
        observation, action = message.what["observation"], message.what["action"]
        if state is not None:
            state, again = policy.step(state, observation)
            if not _same(again, action):
                at = f"from {message.time_s:.2f} s on"
                story.notes.append(f"{at} the plan cannot be told: the orders are not decided equally here")
                state = None
        for name, value in _row(observation, action, state).items():
            columns.setdefault(name, []).append(value)
        _keep_plan(story, policy, state, number)
        number += 1
    if not number:
        raise InputError(f"{recorded.path} holds no decision: there is nothing to show")
    story.columns = columns
    if not story.plans and state is not None:
        story.notes.append("this controller makes no plan of turns ahead")
    story.truth = _truth(recorded.path.with_name("insertion.csv"))
    return story


def silhouettes(field_of: Obstacles) -> list[Silhouette]:
    """Each stretch of depth in which obstacles lie, as it is seen from the side and from above."""
    if not field_of.present:
        return []
    inside = field_of.field < 0
    there = np.flatnonzero(inside.any(axis=(1, 2)))
    out = []
    for piece in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        if len(piece):
            y, z = (_span(inside[piece].any(axis=away), field_of, along) for away, along in ((2, 1), (1, 2)))
            depths = field_of.origin_mm[0] + field_of.step_mm * piece
            out.append(Silhouette(tuple(depths.tolist()), y, z))
    return out


def _span(shadow: Any, field_of: Obstacles, axis: int) -> tuple[tuple[float, float], ...]:
    """Lowest and highest place in each row of a shadow, mm."""
    first, step = float(field_of.origin_mm[axis]), field_of.step_mm
    ends = [np.flatnonzero(row)[[0, -1]] for row in shadow]
    return tuple((first + step * float(low), first + step * float(high)) for low, high in ends)


def _same(again: Action, action: Action) -> bool:
    return math.isclose(again.command.roll_rad, action.command.roll_rad, rel_tol=0.0, abs_tol=EQUAL_RAD)


def _row(observation: Observation, action: Action, state: SteeredState | None) -> dict[str, Any]:
    """What is told of one decision."""
    robot, measured = observation.robot_state, None if state is None else state.measurement
    turn = None if state is None else state.turn
    tip = None if measured is None else measured.tip_mm
    return {
        "frame": observation.frame_index,
        "time_s": observation.capture_time_s,
        "depth_mm": robot.depth_mm,
        "base_rad": robot.roll_rad,
        "ordered_rad": action.command.roll_rad,
        "speed_mm_s": action.command.insertion_speed_mm_s,
        "used_rad": None if state is None else getattr(state.steerer, "used_rad", None),
        "seen_y_mm": None if tip is None else tip[0],
        "seen_z_mm": None if tip is None else tip[1],
        "sd_mm": None if measured is None else measured.sd_mm,
        "miss_mm": None if turn is None else turn.miss_mm,
        "miss_sd_mm": None if turn is None else turn.miss_sd_mm,
        "why": "" if turn is None else turn.why,
        "tip_px": getattr(observation.estimate, "tip_px", None),
        "state": observation.estimate.state.value,
    }


def _keep_plan(story: SteeringStory, policy: Steered, state: SteeredState | None, number: int) -> None:
    """Store the plan of a decision, if it is another one than before."""
    inner = None if state is None else getattr(state.steerer, "inner", None)
    planner: Any = getattr(policy.steerer, "controller", None)
    if inner is None or not hasattr(planner, "planned_path") or not hasattr(inner, "turns"):
        return
    moves = tuple(sorted((float(e), float(a)) for e, a in zip(inner.depths, inner.turns, strict=True) if a != 0.0))
    before = story.plans[-1] if story.plans else None
    if before is not None and before.moves == moves and number - before.decision < DRAWN_EVERY:
        return
    path: F64 = planner.planned_path(inner, PATH_POINTS)
    story.plans.append(StoredPlan(number, moves, tuple(map(tuple, path.round(3).tolist()))))


def _truth(path: Path) -> dict[str, list[float]]:
    """True path and rolls, from the table that `steer run` writes beside the recording."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name]) for row in rows] for name in ("time_s", *TRUE_COLUMNS)}
    except (OSError, ValueError, KeyError, csv.Error) as e:
        away = "move it away, and the run is shown without the true path"
        raise InputError(f"{path} cannot be read ({e}): {away}") from None
