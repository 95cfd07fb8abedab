"""`hold`: moves nothing. It is the floor of every comparison, and what to fall back on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import check_task
from sonosteer.policies.orders import Axes, order, stay


@dataclass(frozen=True, slots=True)
class HoldState:
    """What `hold` remembers."""

    task: Task
    """What is to be done."""
    axes: Axes | None = None
    """Angle and roll as last ordered. None before the first step."""


@dataclass(frozen=True, slots=True)
class HoldPolicy:
    """The policy `hold`. Every answer is: stay where you are."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> HoldState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return HoldState(check_task(task))

    def step(self, state: HoldState, observation: Observation) -> tuple[HoldState, Action]:
        """Hold."""
        axes = stay(state.axes, observation.robot_state, state.task)
        return replace(state, axes=axes), order(observation, axes)
