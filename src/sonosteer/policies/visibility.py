"""`visibility`: Paper V's principle as a plain rule: the better the tip is seen the faster; in doubt creep, then wait.

Source: Paper V, III-F, as `policies/principle.py` reads it. It sees what a tracker says and the encoders, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sonosteer.core.config import check_range
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import TargetOffset, check_task, target_offset
from sonosteer.policies.orders import Axes, order, stay
from sonosteer.policies.principle import Principle


@dataclass(frozen=True, slots=True)
class State:
    """axes: as last ordered. seen_mm: inserted depth when the tip was last in view. last_s: of the last observation.

    near: how often running the target was reached. stopped: it is over.
    """

    task: Task
    axes: Axes | None = None
    seen_mm: float | None = None
    last_s: float | None = None
    near: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Visibility:
    """again: how often running the target must be reached before it stops."""

    principle: Principle = field(default_factory=Principle)
    again: int = 2

    def __post_init__(self) -> None:
        check_range(self, "visibility", 1, 100, "again")

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> State:
        """Before the first observation. InputError for a task with a number that is none."""
        return State(check_task(task))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Push as fast as the tip is seen, turn towards the target, stop there, wait where nothing is known."""
        axes = stay(state.axes, observation.robot_state, state.task)
        seen = target_offset(observation, state.task)
        if state.stopped or seen is None:
            return replace(state, axes=axes), order(observation, axes, stop=state.stopped)
        state = self._look(replace(state, axes=axes), observation, seen)
        robot_state, rule = observation.robot_state, self.principle
        speed = rule.speed_mm_s(seen, robot_state.depth_mm - (state.seen_mm or 0.0))
        assert state.axes is not None
        probe = rule.probe_mm_s(speed, robot_state, state.task)
        return state, order(observation, state.axes, speed, (probe, 0.0, 0.0), stop=state.stopped)

    def _look(self, state: State, observation: Observation, seen: TargetOffset) -> State:
        """Where the tip was last in view, how near it is, and where the needle shall point."""
        robot_state, rule = observation.robot_state, self.principle
        assert state.axes is not None
        now = observation.capture_time_s
        dt_s = 0.0 if state.last_s is None else min(max(now - state.last_s, 0.0), 0.2)
        angle = rule.angle_rad(seen, state.task, state.axes.angle_rad, dt_s)
        near = state.near + 1 if seen.reached(rule.within_mm) else 0
        return replace(
            state,
            axes=replace(state.axes, angle_rad=angle),
            seen_mm=rule.last_view_mm(seen, robot_state.depth_mm, state.seen_mm),
            last_s=now,
            near=near,
            stopped=near >= self.again,
        )
