"""`seek`: wraps another policy, and moves the probe along its three axes to find a badly seen tip.

Reference: Zhang et al. 2026 name control of the probe for visibility as future work. How it is done here is not theirs.

The probe climbs the hill of visibility, one axis at a time: across the image plane first (y), then along the image (x),
then into the skin (z). While the tip is badly seen the needle slows, and the probe goes a step. It waits and looks how
well the tip is seen there. A worse position turns the direction round. An axis that was searched in vain is left at its
best place, and the next one is searched. Travel and number of tries are bounded, and the probe moves only while the
needle holds or is slow. A lost tip counts as not seen at all. The wrapped policy then lets the needle rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Observation, Task, Vector
from sonosteer.policies.geometry import check_task, known, target_offset
from sonosteer.policies.table import make_policy

SMOOTHING = 0.3  # chosen: weight of the newest visibility
WORSE = 0.02  # chosen: visibility that must be lost before the probe turns round
ARRIVED_MM = 0.25  # chosen: the probe has arrived within this distance
CLOSE_GAP_S = 0.2  # chosen: time in which the probe closes its gap
SEARCH_AXES = (1, 0, 2)  # chosen: across the plane the view changes most


@dataclass(frozen=True, slots=True)
class ProbeSearch:
    """A search of the probe along one axis."""

    place_mm: float
    """Where the probe shall be along the axis, mm."""
    direction: float = 1.0
    """+1 or -1, way along the axis of the next step, no unit."""
    axis: int = 1
    """Axis that is searched, no unit: 0 along the image, 1 across it, 2 down."""
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
    first_mm: Vector | None = None
    """Place of the probe at the first observation, mm. None before that."""
    search: ProbeSearch | None = None
    """The search that is under way, if any."""
    rests_until_s: float | None = None
    """No search begins before this time, s. None if no search was in vain."""
    direction: float = 1.0
    """+1 or -1, way of the next search, no unit."""


@dataclass(frozen=True, slots=True)
class Seek:
    """The policy `seek`. All numbers are chosen, not published."""

    policy: Policy[Any] | str = "visibility"
    """The wrapped policy, or its name."""
    min_visibility: float = 0.4
    """A search begins below this smoothed visibility. 0 to 1."""
    good_visibility: float = 0.7
    """A search ends at this mean visibility. 0 to 1."""
    step_mm: Vector = (2.5, 0.8, 0.4)
    """Step of the probe from position to position along x, y and z, mm."""
    max_travel_mm: Vector = (12.0, 5.0, 1.2)
    """Largest travel of the probe from where it began, either way along x, y and z, mm. 0: the axis is not searched."""
    probe_mm_s: Vector = (15.0, 5.0, 2.0)
    """Largest speed of the probe in a search along x, y and z, mm/s."""
    look_s: float = 0.2
    """Time at one position, s."""
    max_speed_mm_s: float = 2.0
    """Largest speed of the needle during a search, mm/s."""
    max_tries: int = 14
    """Number of positions along one axis, more while it gets better. After them the probe goes to the best one."""
    rest_s: float = 3.0
    """Time after a search in vain in which none begins, s."""

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            object.__setattr__(self, "policy", make_policy(self.policy))
        check_finite(self, "seek")
        check_range(self, "seek", 0.0, 1.0, "min_visibility", "good_visibility")
        for name, least, most in (("step_mm", 0.05, 20.0), ("max_travel_mm", 0.0, 40.0), ("probe_mm_s", 0.05, 20.0)):
            values = getattr(self, name)
            if len(values) != len(SEARCH_AXES) or not all(least <= v <= most for v in values):
                raise InputError(f"seek: {name} is {values}: give x, y and z, each {least:g} to {most:g}")
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
        along, across, down = wanted.probe_velocity_mm_s
        # chosen: above this the needle has not slowed yet
        fast = abs(observation.robot_state.insertion_speed_mm_s) > 2.0 * self.max_speed_mm_s + 1.0
        probe = [along * slowdown, across, down]
        axis = state.search.axis
        probe[axis] = 0.0 if fast else self._towards_mm_s(state.search, observation)
        slower = replace(wanted, insertion_speed_mm_s=speed, probe_velocity_mm_s=(probe[0], probe[1], probe[2]))
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
        at = o.robot_state.probe_mm
        state = replace(state, visibility=smooth, first_mm=at if state.first_mm is None else state.first_mm)
        if state.search is None:
            rests = state.rests_until_s is not None and now < state.rests_until_s
            if smooth >= self.min_visibility or rests:
                return state
            return replace(state, search=self._first_search(at, state.direction))
        search = self._look(state.search, o, visibility)
        if search.since_s is None or now - search.since_s < self.look_s or search.looks == 0:
            return replace(state, search=search)
        return self._next(state, search, o)

    def _first_search(self, at_mm: Vector, direction: float, after: int = -1) -> ProbeSearch | None:
        """Begin at the next axis that may be searched, None if there is none. The first look is where the probe is."""
        for axis in SEARCH_AXES[after + 1 :]:
            if self.max_travel_mm[axis] > 0:
                return ProbeSearch(at_mm[axis], direction, axis)
        return None

    def _look(self, search: ProbeSearch, o: Observation, visibility: float) -> ProbeSearch:
        """Count the observations once the probe is where it shall be."""
        if search.since_s is None:
            there = abs(o.robot_state.probe_mm[search.axis] - search.place_mm) < self._arrived_mm(search.axis)
            return replace(search, since_s=o.capture_time_s, looks=0, total=0.0) if there else search
        return replace(search, looks=search.looks + 1, total=search.total + visibility)

    def _arrived_mm(self, axis: int) -> float:
        """Distance within which the probe has arrived, mm: less where the steps are small."""
        return min(ARRIVED_MM, 0.5 * self.step_mm[axis])

    def _next(self, state: SeekState, search: ProbeSearch, o: Observation) -> SeekState:
        """Decide what comes after a position: the end, a step on, a step back, or another axis."""
        here = search.total / search.looks
        if here >= self.good_visibility:
            return replace(state, search=None, visibility=here, direction=search.direction)
        place = (here, search.place_mm)
        best = place if search.best is None else max(search.best, place)
        climbs = search.last is not None and here > search.last + WORSE  # nobody leaves a slope halfway
        if search.tries >= self.max_tries and not climbs:
            if abs(search.place_mm - best[1]) > self._arrived_mm(search.axis):
                return replace(state, search=replace(search, place_mm=best[1], since_s=None, best=best))
            other = self._first_search(o.robot_state.probe_mm, search.direction, SEARCH_AXES.index(search.axis))
            rests_until_s = None if other is not None else o.capture_time_s + self.rest_s
            return replace(state, search=other, rests_until_s=rests_until_s)
        worse = search.last is not None and here < search.last - WORSE
        direction = -search.direction if worse else search.direction
        place_mm, direction = self._step_within_travel(state, search, direction)
        return replace(
            state,
            search=ProbeSearch(
                place_mm=place_mm,
                direction=direction,
                axis=search.axis,
                last=here,
                best=best,
                tries=search.tries + 1,
            ),
        )

    def _step_within_travel(self, state: SeekState, search: ProbeSearch, direction: float) -> tuple[float, float]:
        """Return the next position in mm and the direction, which turns round at the end of the travel."""
        assert state.first_mm is not None
        first, step, most = state.first_mm[search.axis], self.step_mm[search.axis], self.max_travel_mm[search.axis]
        offset = search.place_mm + direction * step - first
        if abs(offset) > most:
            direction, offset = -direction, search.place_mm - direction * step - first
        return first + min(max(offset, -most), most), direction

    def _towards_mm_s(self, search: ProbeSearch, o: Observation) -> float:
        """Return the speed of the probe along the axis that is searched, mm/s."""
        gap, most = search.place_mm - o.robot_state.probe_mm[search.axis], self.probe_mm_s[search.axis]
        return min(max(gap / CLOSE_GAP_S, -most), most)
