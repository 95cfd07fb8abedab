"""`constant`: pushes at one speed, however well the tip is seen, and stops at the target by the tracked tip.

Source: Paper V's ablation "constant speed instead of the uncertainty-aware policy". The paper's speed is lost: ours
goes 70 mm in Table II's 8.7 s.
Departs from the paper: it holds while the tracker says `lost`, since the gate would refuse the order anyhow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import check_task, side, target_offset
from sonosteer.policies.orders import Axes, order, stay


@dataclass(frozen=True, slots=True)
class State:
    """axes: kept still. near: how often running the target was reached. stopped: it is over."""

    task: Task
    axes: Axes | None = None
    near: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Constant:
    """speed_mm_s: of the needle. late_s: between a frame and the needle's stopping, so long before the target it stops.

    again: how often running the target must be reached. share: of the needle's way that a moving probe goes.
    """

    speed_mm_s: float = 8.0
    late_s: float = 0.3
    again: int = 2
    share: float = 0.5

    def __post_init__(self) -> None:
        check_finite(self, "constant")
        check_range(self, "constant", 0.1, 25.0, "speed_mm_s")
        check_range(self, "constant", 0.0, 2.0, "late_s", "share")
        check_range(self, "constant", 1, 100, "again")

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> State:
        """Before the first observation. InputError for a task with a number that is none."""
        return State(check_task(task))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Push, or stop, or hold where nothing is known."""
        axes = stay(state.axes, observation.robot_state, state.task)
        seen = target_offset(observation, state.task)
        if state.stopped or seen is None:
            return replace(state, axes=axes), order(observation, axes, stop=state.stopped)
        near = state.near + 1 if seen.reached(self.speed_mm_s * self.late_s) else 0
        state = replace(state, axes=axes, near=near, stopped=near >= self.again)
        along = 0.0
        if state.task.technique == "in-plane-moving":
            along = side(state.task) * self.share * self.speed_mm_s * math.cos(observation.robot_state.angle_rad)
        return state, order(observation, axes, self.speed_mm_s, (along, 0.0, 0.0), stop=state.stopped)
