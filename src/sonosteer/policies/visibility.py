"""`visibility`: pushes the faster the better the tip is seen. In doubt it creeps, then it waits.

Reference: Zhang et al. 2026, III-F, as a plain rule (see `principle`). The policy sees only the tracker's estimate and
the encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sonosteer.core.config import check_range
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import TargetOffset, check_task, target_offset
from sonosteer.policies.orders import Axes, order, stay
from sonosteer.policies.principle import MAX_STEP_S, Principle


@dataclass(frozen=True, slots=True)
class VisibilityState:
    """What `visibility` remembers."""

    task: Task
    """What is to be done."""
    axes: Axes | None = None
    """Angle and roll as last ordered. None before the first step."""
    seen_mm: float | None = None
    """Inserted length when the tip was last in view, mm. None before that."""
    last_s: float | None = None
    """Time of the last observation with a tip, s. None before the first."""
    reached: int = 0
    """Number of observations in a row at the target."""
    stopped: bool = False
    """True once the procedure is over."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """The policy `visibility`."""

    principle: Principle = field(default_factory=Principle)
    """How fast to push and where to aim."""
    confirmations: int = 2  # chosen: one wrong estimate must not stop the needle
    """Number of observations in a row that must say that the target is reached."""

    def __post_init__(self) -> None:
        check_range(self, "visibility", 1, 100, "confirmations")

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> VisibilityState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return VisibilityState(check_task(task))

    def step(self, state: VisibilityState, observation: Observation) -> tuple[VisibilityState, Action]:
        """Push as fast as the tip is seen, turn towards the target, stop there. Hold where nothing is known."""
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

    def _look(self, state: VisibilityState, observation: Observation, seen: TargetOffset) -> VisibilityState:
        """Take in where the tip was last in view, whether it is at the target, and where the needle shall point."""
        robot_state, rule = observation.robot_state, self.principle
        assert state.axes is not None
        now = observation.capture_time_s
        dt_s = 0.0 if state.last_s is None else min(max(now - state.last_s, 0.0), MAX_STEP_S)
        angle = rule.angle_rad(seen, state.task, state.axes.angle_rad, dt_s)
        reached = state.reached + 1 if seen.reached(rule.within_mm) else 0
        return replace(
            state,
            axes=replace(state.axes, angle_rad=angle),
            seen_mm=rule.last_view_mm(seen, robot_state.depth_mm, state.seen_mm),
            last_s=now,
            reached=reached,
            stopped=reached >= self.confirmations,
        )
