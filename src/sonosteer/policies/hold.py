"""`hold`: moves nothing. The floor of every comparison, and what to fall back on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import check_task
from sonosteer.policies.orders import Axes, order, stay


@dataclass(frozen=True, slots=True)
class State:
    """The task, and where the axes stay."""

    task: Task
    axes: Axes | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Every answer is: stay where you are."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> State:
        """Before the first observation. InputError for a task with a number that is none."""
        return State(check_task(task))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Hold."""
        axes = stay(state.axes, observation.robot_state, state.task)
        return replace(state, axes=axes), order(observation, axes)
