"""`wiggle`: wraps another policy, and lets a held needle be moved to and fro where its tip is not seen.

The needle rests, and for a while the tracker has not seen the tip: it lies below the speckle. Then this policy asks
for a wiggle. The control branch moves the needle by half a millimetre on the way that it has gone (`runtime.wiggle`),
within the limits of the gate. What moves in the pictures as the encoder says is needle (`imaging.moving_tip`). If the
tip is found, the tracker begins anew there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Frame, Observation, Task, TipEstimate, Track
from sonosteer.imaging.moving_tip import MovingTip, find_moving_tip
from sonosteer.policies.geometry import check_task, known, side
from sonosteer.policies.orders import Axes, order, stay
from sonosteer.policies.table import make_policy

MOVED_MM = 0.5  # chosen: a needle that has gone less since then is held
FROM_S = 0.55  # chosen: from the wish to the first picture of a needle that swings
LEAST_MM = 6.0  # chosen: inserted length from which there is a way to swing on, and a shaft to see
STILL_MM = 0.3  # chosen: a probe that moved less stood
SAME_MM = 2.0  # chosen: a tip that is found so near to the tracker's is the same


@dataclass(frozen=True, slots=True)
class LastTip:
    """A tip that was seen well."""

    tip_mm: Point
    """(x, z) in the tissue, mm of the first frame."""
    depth_mm: float
    """Inserted length then, mm."""


@dataclass(frozen=True, slots=True)
class FoundTip:
    """A tip that a wiggle has shown."""

    tip_px: Point
    """Place in the frame in which it was found, px."""
    sd_mm: float
    """Standard deviation along the needle, mm."""
    frame_index: int
    """Number of that frame."""
    evidence: float
    """As of `MovingTip`, no unit."""


@dataclass(frozen=True, slots=True)
class WiggleState:
    """What `wiggle` remembers."""

    task: Task
    """What is to be done."""
    inner: Any
    """State of the wrapped policy."""
    axes: Axes | None = None
    """Angle and roll as last ordered. None before the first step."""
    last: LastTip | None = None
    """The tip that was seen well last. None before that."""
    held_mm: float | None = None
    """Inserted length since which the needle is held and its tip not seen, mm. None while that is not so."""
    held_s: float = 0.0
    """When that began, s."""
    asked_s: float | None = None
    """When the wiggle that is under way was asked for, s. None while there is none."""
    rests_until_s: float = -math.inf
    """No wiggle is asked for before this time, s."""
    tries: int = 0
    """Number of wiggles since the tip was seen well."""
    found: FoundTip | None = None
    """What the last wiggle showed. None where it showed nothing."""


@dataclass(frozen=True, slots=True)
class WigglePolicy:
    """The policy `wiggle`. All numbers are chosen, not published."""

    policy: Policy[Any] | str = "visibility"
    """The wrapped policy, or its name."""
    wait_s: float = 0.8
    """How long the needle is held with an unseen tip before a wiggle, s."""
    wiggle_s: float = 1.3
    """Duration of a wiggle, s. The gate allows 4 s in all at one place."""
    rest_s: float = 1.0
    """Time after a wiggle in which none is asked for, s."""
    max_tries: int = 2
    """Number of wiggles for a tip that stays unseen."""
    max_sd_mm: float = 1.5
    """Standard deviation up to which a found tip is told to the tracker, mm."""
    within_mm: float = 10.0
    """How far from where the encoder has the tip it is looked for, either way, mm."""

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            object.__setattr__(self, "policy", make_policy(self.policy))
        check_finite(self, "wiggle")
        for name in ("wait_s", "rest_s", "max_sd_mm"):
            check_range(self, "wiggle", 0.0, 10.0, name)
        check_range(self, "wiggle", 1.0, 4.0, "wiggle_s")
        check_range(self, "wiggle", 2.0, 30.0, "within_mm")
        check_range(self, "wiggle", 1, 100, "max_tries")

    @property
    def recent_s(self) -> float:
        """How far back pictures are needed, s."""
        return max(self.wiggle_s, getattr(self._wrapped(), "recent_s", 0.0))

    def prepare(self) -> None:
        """Prepare the wrapped policy."""
        self._wrapped().prepare()

    def start(self, task: Task) -> WiggleState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return WiggleState(check_task(task), self._wrapped().start(task))

    def step(self, state: WiggleState, observation: Observation) -> tuple[WiggleState, Action]:
        """Do what the wrapped policy wants, or ask for a wiggle, or tell where it has shown the tip."""
        state = replace(state, axes=stay(state.axes, observation.robot_state, state.task))
        if not known(observation):
            inner, action = self._wrapped().step(state.inner, observation)
            return replace(state, inner=inner, held_mm=None, asked_s=None), action
        state = self._see(state, observation)
        if state.asked_s is not None:
            return self._go_on(state, state.asked_s, observation)
        inner, action = self._wrapped().step(state.inner, observation)
        state = replace(state, inner=inner, axes=replace_angle(state.axes, action))
        if action.command.stop or not self._wanted(state, observation):
            return state, action
        return replace(state, asked_s=observation.capture_time_s, found=None), self._ask(state, observation)

    def _wrapped(self) -> Policy[Any]:
        assert not isinstance(self.policy, str)
        return self.policy

    def _see(self, state: WiggleState, o: Observation) -> WiggleState:
        """Take in a tip that is seen well, or since when the needle is held without one."""
        estimate, robot_state = o.estimate, o.robot_state
        if isinstance(estimate, TipEstimate) and _seen_well(estimate):
            x, z = state.task.spacing.to_mm(estimate.tip_px)
            tip = x + robot_state.probe_mm[0], z + robot_state.probe_mm[2]
            return replace(state, last=LastTip(tip, robot_state.depth_mm), held_mm=None, tries=0)
        moved = state.held_mm is None or abs(robot_state.depth_mm - state.held_mm) > MOVED_MM
        if moved and state.asked_s is None:
            return replace(state, held_mm=robot_state.depth_mm, held_s=o.capture_time_s)
        return state

    def _wanted(self, state: WiggleState, o: Observation) -> bool:
        """True once a needle with an unseen tip was held for long enough."""
        now = o.capture_time_s
        held = state.held_mm is not None and now - state.held_s >= self.wait_s
        may = state.tries < self.max_tries and now >= state.rests_until_s
        return held and may and state.last is not None and o.robot_state.depth_mm >= LEAST_MM

    def _ask(self, state: WiggleState, o: Observation) -> Action:
        assert state.axes is not None
        return replace(order(o, state.axes), wiggle=True)

    def _go_on(self, state: WiggleState, asked_s: float, o: Observation) -> tuple[WiggleState, Action]:
        """Ask on, or look what the wiggle has shown."""
        if o.capture_time_s - asked_s < self.wiggle_s and state.held_mm is not None:
            return state, self._ask(state, o)
        found = self._look(state, asked_s, o)
        state = replace(
            state,
            asked_s=None,
            held_mm=None,
            tries=state.tries + 1,
            rests_until_s=o.capture_time_s + self.rest_s,
            found=found,
        )
        assert state.axes is not None
        rest = order(o, state.axes)
        if found is None or found.sd_mm > self.max_sd_mm or self._same(state, found, o):
            return state, rest
        return state, replace(rest, found_px=found.tip_px)

    def _look(self, state: WiggleState, asked_s: float, o: Observation) -> FoundTip | None:
        """Find the tip in the pictures of the wiggle. None where they do not show it, or the probe did not stand."""
        shown = [f for f in o.recent if f.robot_state is not None and f.time_s >= asked_s + FROM_S]
        assert state.last is not None
        if not shown or not _stood(shown):
            return None
        depths = [f.robot_state.depth_mm for f in shown if f.robot_state is not None]
        mean_mm = sum(depths) / len(depths)
        angle = o.robot_state.insertion_angle_rad
        across, down = side(state.task) * math.cos(angle), math.sin(angle)
        x, z = (
            at + (mean_mm - state.last.depth_mm) * way - probe
            for at, way, probe in zip(state.last.tip_mm, (across, down), o.robot_state.probe_mm[::2], strict=True)
        )
        tip = find_moving_tip(
            [f.grey() for f in shown],
            [f.time_s for f in shown],
            depths,
            near_mm=(x, z),
            direction_rad=math.atan2(down, across),
            spacing=state.task.spacing,
            within_mm=self.within_mm,
        )
        return None if tip is None else _found(tip, o, state.task, (o.robot_state.depth_mm - mean_mm, across, down))

    def _same(self, state: WiggleState, found: FoundTip, o: Observation) -> bool:
        """True if the tracker has the tip there already."""
        seen = o.estimate
        if not isinstance(seen, TipEstimate) or seen.state is not Track.TRACKING:
            return False
        mm = state.task.spacing
        return math.dist(mm.to_mm(seen.tip_px), mm.to_mm(found.tip_px)) <= SAME_MM


def replace_angle(axes: Axes | None, action: Action) -> Axes:
    """Return the axes as an action has them."""
    assert axes is not None
    return replace(axes, angle_rad=action.command.insertion_angle_rad, roll_rad=action.command.roll_rad)


def _seen_well(estimate: TipEstimate) -> bool:
    """True for a tip that is tracked, seen and known well enough for the gate to push it."""
    visible = estimate.confidence if estimate.visibility is None else estimate.visibility
    sd_mm = max(estimate.sd_along_mm or 0.0, estimate.sd_across_mm or 0.0)
    return estimate.state is Track.TRACKING and (visible or 0.0) >= 0.3 and sd_mm <= 2.5


def _stood(frames: list[Frame]) -> bool:
    """True if the probe stood in all pictures."""
    places = [f.robot_state.probe_mm for f in frames if f.robot_state is not None]
    return all(max(axis) - min(axis) <= STILL_MM for axis in zip(*places, strict=True))


def _found(tip: MovingTip, o: Observation, task: Task, since: tuple[float, float, float]) -> FoundTip:
    """The tip in this frame. since: how far the needle went since (mm), and its direction."""
    went, across, down = since
    place = task.spacing.to_px((tip.tip_mm[0] + went * across, tip.tip_mm[1] + went * down))
    return FoundTip(place, tip.sd_mm, o.frame_index, tip.evidence)
