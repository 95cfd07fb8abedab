"""`constant`: pushes at one speed, however well the tip is seen, and stops when the tracked tip reaches the target.

Reference: Zhang et al. 2026, the ablation "constant speed instead of the uncertainty-aware policy".

Departs from the paper: its speed is not known. Ours goes 70 mm in the 8.7 s of Table II. The policy holds while the
tracker says `lost`, because the gate would refuse the command anyhow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import check_task, side, target_offset
from sonosteer.policies.orders import Axes, order, stay


@dataclass(frozen=True, slots=True)
class ConstantState:
    """What `constant` remembers."""

    task: Task
    """What is to be done."""
    axes: Axes | None = None
    """Angle and roll as last ordered. None before the first step."""
    reached: int = 0
    """Number of observations in a row at the target."""
    stopped: bool = False
    """True once the procedure is over."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The policy `constant`."""

    speed_mm_s: float = 8.0  # chosen: 70 mm in 8.7 s
    """Speed of the needle, mm/s. 0.1 to 25."""
    delay_s: float = 0.3  # chosen: latency of tracker, policy and robot together
    """Time from a frame to the needle's stop, s. The policy stops so long before the target."""
    confirmations: int = 2  # chosen: one wrong estimate must not stop the needle
    """Number of observations in a row that must say that the target is reached."""
    probe_fraction: float = 0.5  # chosen: as in `principle`
    """Way of a moving probe as a fraction of the needle's way along the image, no unit. 0 to 2."""

    def __post_init__(self) -> None:
        check_finite(self, "constant")
        check_range(self, "constant", 0.1, 25.0, "speed_mm_s")
        check_range(self, "constant", 0.0, 2.0, "delay_s", "probe_fraction")
        check_range(self, "constant", 1, 100, "confirmations")

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> ConstantState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return ConstantState(check_task(task))

    def step(self, state: ConstantState, observation: Observation) -> tuple[ConstantState, Action]:
        """Push, stop, or hold where nothing is known."""
        axes = stay(state.axes, observation.robot_state, state.task)
        seen = target_offset(observation, state.task)
        if state.stopped or seen is None:
            return replace(state, axes=axes), order(observation, axes, stop=state.stopped)
        reached = state.reached + 1 if seen.reached(self.speed_mm_s * self.delay_s) else 0
        state = replace(state, axes=axes, reached=reached, stopped=reached >= self.confirmations)
        along = 0.0
        if state.task.technique == "in-plane-moving":
            along = (
                side(state.task)
                * self.probe_fraction
                * self.speed_mm_s
                * math.cos(observation.robot_state.insertion_angle_rad)
            )
        return state, order(observation, axes, self.speed_mm_s, (along, 0.0, 0.0), stop=state.stopped)
