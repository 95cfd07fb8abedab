"""`seek`: another policy, and a probe that looks across the plane for the tip when it is seen badly.

Source: Paper V names control of the probe for visibility as future work; how is ours. Hill climbing on visibility:
while the tip is badly seen the needle slows, the probe goes a step across the image plane, waits, and looks how well
the tip is seen there; a worse place turns the direction round. Bounded in travel and tries, and only while the needle
holds or is slow. A lost tip counts as not seen at all, and the needle then rests by the wrapped policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import check_task, known, target_offset
from sonosteer.policies.table import make_policy


@dataclass(frozen=True, slots=True)
class Climb:
    """A search across the plane. y_mm: where the probe shall be; since_s: when it came there, None on the way.

    looks, total: of visibility there. best: (visibility, y_mm) so far; last: visibility at the place before.
    """

    y_mm: float
    way: float = 1.0
    since_s: float | None = None
    looks: int = 0
    total: float = 0.0
    last: float = -1.0
    best: tuple[float, float] = (-1.0, 0.0)
    tries: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """inner: of the wrapped policy. visible: smoothed. first_y_mm: of the probe. rests_until_s: after a vain search."""

    task: Task
    inner: Any
    visible: float | None = None
    first_y_mm: float | None = None
    climb: Climb | None = None
    rests_until_s: float = -1.0
    way: float = 1.0


@dataclass(frozen=True, slots=True)
class Seek:
    """policy: what is wrapped, or its name. enough: smoothed visibility below which it searches; good: which ends it.

    step_mm: from place to place; travel_mm: from where the probe began, either way; speed_mm_s: of the probe. look_s:
    at one place. slow_mm_s: of the needle, at most, while the probe searches. tries: places of one search, after which
    it goes to the best of them and rests for rest_s.
    """

    policy: Policy[Any] | str = "visibility"
    enough: float = 0.4
    good: float = 0.7
    step_mm: float = 0.8
    travel_mm: float = 5.0
    speed_mm_s: float = 5.0
    look_s: float = 0.2
    slow_mm_s: float = 2.0
    tries: int = 14
    rest_s: float = 3.0

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            object.__setattr__(self, "policy", make_policy(self.policy))
        check_finite(self, "seek")
        check_range(self, "seek", 0.0, 1.0, "enough", "good")
        check_range(self, "seek", 0.05, 20.0, "step_mm", "travel_mm", "speed_mm_s")
        check_range(self, "seek", 0.0, 10.0, "look_s", "slow_mm_s", "rest_s")
        check_range(self, "seek", 1, 1000, "tries")

    def prepare(self) -> None:
        """What the wrapped policy needs."""
        self._wrapped().prepare()

    def start(self, task: Task) -> State:
        """Before the first observation. InputError for a task with a number that is none."""
        return State(check_task(task), self._wrapped().start(task))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """What the wrapped policy wants, slower and with the probe across while it searches."""
        inner, action = self._wrapped().step(state.inner, observation)
        state = replace(state, inner=inner)
        if action.command.stop or not known(observation):
            return replace(state, climb=None), action
        state = self._follow(state, observation)
        if state.climb is None:
            return state, action
        wanted = action.command
        speed = min(wanted.insertion_speed_mm_s, self.slow_mm_s)
        share = speed / wanted.insertion_speed_mm_s if wanted.insertion_speed_mm_s > 0 else 1.0
        along, _, down = wanted.probe_velocity_mm_s
        fast = abs(observation.robot_state.speed_mm_s) > 2.0 * self.slow_mm_s + 1.0
        across = 0.0 if fast else self._across(state.climb, observation)
        probe = (along * share, across, down)
        slower = replace(wanted, insertion_speed_mm_s=speed, probe_velocity_mm_s=probe)
        return state, replace(action, command=slower)

    def _wrapped(self) -> Policy[Any]:
        assert not isinstance(self.policy, str)
        return self.policy

    def _follow(self, state: State, o: Observation) -> State:
        """Begin, go on with or end a search."""
        seen = target_offset(o, state.task)
        now, visible = o.capture_time_s, 0.0 if seen is None else seen.visible
        smooth = visible if state.visible is None else state.visible + 0.3 * (visible - state.visible)
        y = o.robot_state.probe_mm[1]
        state = replace(state, visible=smooth, first_y_mm=y if state.first_y_mm is None else state.first_y_mm)
        if state.climb is None:
            if smooth >= self.enough or now < state.rests_until_s:
                return state
            return replace(state, climb=Climb(y, state.way))  # the first look is where the probe is
        climb = self._look(state.climb, o, visible)
        if climb.since_s is None or now - climb.since_s < self.look_s or climb.looks == 0:
            return replace(state, climb=climb)
        return self._next(state, climb, now)

    def _look(self, climb: Climb, o: Observation, visible: float) -> Climb:
        """Count what is seen once the probe is where it shall be."""
        if climb.since_s is None:
            there = abs(o.robot_state.probe_mm[1] - climb.y_mm) < 0.25
            return replace(climb, since_s=o.capture_time_s, looks=0, total=0.0) if there else climb
        return replace(climb, looks=climb.looks + 1, total=climb.total + visible)

    def _next(self, state: State, climb: Climb, now: float) -> State:
        """A place has been looked at: content, on, or round."""
        here = climb.total / climb.looks
        if here >= self.good:
            return replace(state, climb=None, visible=here, way=climb.way)
        best = max(climb.best, (here, climb.y_mm))
        if climb.tries >= self.tries:
            if abs(climb.y_mm - best[1]) > 0.25:
                return replace(state, climb=replace(climb, y_mm=best[1], since_s=None, best=best))
            return replace(state, climb=None, rests_until_s=now + self.rest_s)
        way = -climb.way if here < climb.last - 0.02 else climb.way
        assert state.first_y_mm is not None
        offset = climb.y_mm + way * self.step_mm - state.first_y_mm
        if abs(offset) > self.travel_mm:
            way, offset = -way, climb.y_mm - way * self.step_mm - state.first_y_mm
        y = state.first_y_mm + min(max(offset, -self.travel_mm), self.travel_mm)
        return replace(state, climb=Climb(y, way, None, 0, 0.0, here, best, climb.tries + 1))

    def _across(self, climb: Climb, o: Observation) -> float:
        gap = climb.y_mm - o.robot_state.probe_mm[1]
        return min(max(gap / 0.2, -self.speed_mm_s), self.speed_mm_s)
