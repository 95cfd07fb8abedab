"""`seek`: wraps another policy, and moves the probe across the plane to find a badly seen tip.

Reference: Zhang et al. 2026 name control of the probe for visibility as future work. How it is done here is not theirs.

The probe climbs the hill of visibility. While the tip is badly seen the needle slows, and the probe goes a step across
the image plane. It waits and looks how well the tip is seen there. A worse position turns the direction round. Travel
and number of tries are bounded, and the probe moves only while the needle holds or is slow. A lost tip counts as not
seen at all. The wrapped policy then lets the needle rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.geometry import check_task, known, target_offset
from sonosteer.policies.table import make_policy

SMOOTHING = 0.3  # chosen: weight of the newest visibility
WORSE = 0.02  # chosen: visibility that must be lost before the probe turns round
ARRIVED_MM = 0.25  # chosen: the probe has arrived within this distance
CLOSE_GAP_S = 0.2  # chosen: time in which the probe closes its gap


@dataclass(frozen=True, slots=True)
class ProbeSearch:
    """A search of the probe across the image plane."""

    y_mm: float
    """Where the probe shall be across the plane, mm."""
    direction: float = 1.0
    """+1 or -1, way along y of the next step, no unit."""
    since_s: float | None = None
    """When the probe came there, s. None while it is on the way."""
    looks: int = 0
    """Number of observations there."""
    total: float = 0.0
    """Sum of the visibility over those observations, no unit."""
    last: float | None = None
    """Mean visibility at the position before, 0 to 1. None at the first position."""
    best: tuple[float, float] | None = None
    """Best mean visibility (0 to 1) and its position (mm). None before the first position is done."""
    tries: int = 0
    """Number of positions left behind."""


@dataclass(frozen=True, slots=True)
class SeekState:
    """What `seek` remembers."""

    task: Task
    """What is to be done."""
    inner: Any
    """State of the wrapped policy."""
    visibility: float | None = None
    """Smoothed visibility of the tip, 0 to 1. None before the first observation."""
    first_y_mm: float | None = None
    """Position of the probe across the plane at the first observation, mm. None before that."""
    search: ProbeSearch | None = None
    """The search that is under way, if any."""
    rests_until_s: float | None = None
    """No search begins before this time, s. None if no search was in vain."""
    direction: float = 1.0
    """+1 or -1, way along y of the next search, no unit."""


@dataclass(frozen=True, slots=True)
class Seek:
    """The policy `seek`. All numbers are chosen, not published."""

    policy: Policy[Any] | str = "visibility"
    """The wrapped policy, or its name."""
    min_visibility: float = 0.4
    """A search begins below this smoothed visibility. 0 to 1."""
    good_visibility: float = 0.7
    """A search ends at this mean visibility. 0 to 1."""
    step_mm: float = 0.8
    """Step of the probe from position to position, mm."""
    max_travel_mm: float = 5.0
    """Largest travel of the probe from where it began, either way, mm."""
    probe_mm_s: float = 5.0
    """Largest speed of the probe across the plane, mm/s."""
    look_s: float = 0.2
    """Time at one position, s."""
    max_speed_mm_s: float = 2.0
    """Largest speed of the needle during a search, mm/s."""
    max_tries: int = 14
    """Number of positions in one search. After them the probe goes to the best one."""
    rest_s: float = 3.0
    """Time after a search in vain in which none begins, s."""

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            object.__setattr__(self, "policy", make_policy(self.policy))
        check_finite(self, "seek")
        check_range(self, "seek", 0.0, 1.0, "min_visibility", "good_visibility")
        for name in ("step_mm", "max_travel_mm", "probe_mm_s"):
            check_range(self, "seek", 0.05, 20.0, name)
        for name in ("look_s", "max_speed_mm_s", "rest_s"):
            check_range(self, "seek", 0.0, 10.0, name)
        check_range(self, "seek", 1, 1000, "max_tries")

    def prepare(self) -> None:
        """Prepare the wrapped policy."""
        self._wrapped().prepare()

    def start(self, task: Task) -> SeekState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return SeekState(check_task(task), self._wrapped().start(task))

    def step(self, state: SeekState, observation: Observation) -> tuple[SeekState, Action]:
        """Do what the wrapped policy wants. During a search do it slower, and move the probe across."""
        inner, action = self._wrapped().step(state.inner, observation)
        state = replace(state, inner=inner)
        if action.command.stop or not known(observation):
            return replace(state, search=None), action
        state = self._follow(state, observation)
        if state.search is None:
            return state, action
        wanted = action.command
        speed = min(wanted.insertion_speed_mm_s, self.max_speed_mm_s)
        slowdown = speed / wanted.insertion_speed_mm_s if wanted.insertion_speed_mm_s > 0 else 1.0
        along, _, down = wanted.probe_velocity_mm_s
        # chosen: above this the needle has not slowed yet
        fast = abs(observation.robot_state.insertion_speed_mm_s) > 2.0 * self.max_speed_mm_s + 1.0
        across = 0.0 if fast else self._across_mm_s(state.search, observation)
        probe = (along * slowdown, across, down)
        slower = replace(wanted, insertion_speed_mm_s=speed, probe_velocity_mm_s=probe)
        return state, replace(action, command=slower)

    def _wrapped(self) -> Policy[Any]:
        assert not isinstance(self.policy, str)
        return self.policy

    def _follow(self, state: SeekState, o: Observation) -> SeekState:
        """Begin a search, go on with it, or end it."""
        seen = target_offset(o, state.task)
        now, visibility = o.capture_time_s, 0.0 if seen is None else seen.visibility
        before = state.visibility
        smooth = visibility if before is None else before + SMOOTHING * (visibility - before)
        y = o.robot_state.probe_mm[1]
        state = replace(state, visibility=smooth, first_y_mm=y if state.first_y_mm is None else state.first_y_mm)
        if state.search is None:
            rests = state.rests_until_s is not None and now < state.rests_until_s
            if smooth >= self.min_visibility or rests:
                return state
            return replace(state, search=ProbeSearch(y, state.direction))  # the first look is where the probe is
        search = self._look(state.search, o, visibility)
        if search.since_s is None or now - search.since_s < self.look_s or search.looks == 0:
            return replace(state, search=search)
        return self._next(state, search, now)

    def _look(self, search: ProbeSearch, o: Observation, visibility: float) -> ProbeSearch:
        """Count the observations once the probe is where it shall be."""
        if search.since_s is None:
            there = abs(o.robot_state.probe_mm[1] - search.y_mm) < ARRIVED_MM
            return replace(search, since_s=o.capture_time_s, looks=0, total=0.0) if there else search
        return replace(search, looks=search.looks + 1, total=search.total + visibility)

    def _next(self, state: SeekState, search: ProbeSearch, now: float) -> SeekState:
        """Decide what comes after a position: the end, a step on, or a step back."""
        here = search.total / search.looks
        if here >= self.good_visibility:
            return replace(state, search=None, visibility=here, direction=search.direction)
        place = (here, search.y_mm)
        best = place if search.best is None else max(search.best, place)
        if search.tries >= self.max_tries:
            if abs(search.y_mm - best[1]) > ARRIVED_MM:
                return replace(state, search=replace(search, y_mm=best[1], since_s=None, best=best))
            return replace(state, search=None, rests_until_s=now + self.rest_s)
        worse = search.last is not None and here < search.last - WORSE
        direction = -search.direction if worse else search.direction
        y_mm, direction = self._step_within_travel(state, search.y_mm, direction)
        return replace(
            state,
            search=ProbeSearch(y_mm=y_mm, direction=direction, last=here, best=best, tries=search.tries + 1),
        )

    def _step_within_travel(self, state: SeekState, y_mm: float, direction: float) -> tuple[float, float]:
        """Return the next position in mm and the direction, which turns round at the end of the travel."""
        assert state.first_y_mm is not None
        offset = y_mm + direction * self.step_mm - state.first_y_mm
        if abs(offset) > self.max_travel_mm:
            direction, offset = -direction, y_mm - direction * self.step_mm - state.first_y_mm
        return state.first_y_mm + min(max(offset, -self.max_travel_mm), self.max_travel_mm), direction

    def _across_mm_s(self, search: ProbeSearch, o: Observation) -> float:
        """Return the speed of the probe across the plane, mm/s."""
        gap = search.y_mm - o.robot_state.probe_mm[1]
        return min(max(gap / CLOSE_GAP_S, -self.probe_mm_s), self.probe_mm_s)
