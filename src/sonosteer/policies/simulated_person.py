"""A person at the needle: sees late and not quite, trembles, drifts, hesitates, looks away: `operator` and `expert`.

Such a person follows the same principle as `visibility` (fast while the tip is seen, slow or still in doubt), on what
was seen `delay_s` ago. All numbers are ours: reaction times of 0.2 to 0.3 s to what is seen and tremor of 8 to 12 Hz
are physiology's, sizes are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation, RobotState, Task, Vector
from sonosteer.policies.geometry import TargetOffset, check_task, known, target_offset
from sonosteer.policies.noise import DRIFT_S, TREMOR_S, lapse, wave
from sonosteer.policies.orders import STILL, Axes, order, stay
from sonosteer.policies.principle import Principle

# channels of chance
ALONG, ACROSS, PACE, TREMOR, HAND, PROBE, LAPSE, PAUSE = range(8)


@dataclass(frozen=True, slots=True)
class OperatorModel:
    """How a person works. delay_s: from an image to the hand. sight_mm: sd of where tip and target seem to be.

    uneven: sd of the speed, in parts of it; tremor_mm_s: of its trembling. hand_rad: sd of the needle's angle;
    probe_y_mm: of the probe's place across the image, 0 for a probe that somebody else holds. A lapse, in which the
    hand goes on and nothing is looked at, once in lapse_every_s for lapse_s (least, most); a hesitation, in which it
    rests, likewise; 0: never. again: looks in a row that must say "there".
    """

    principle: Principle = field(default_factory=Principle)
    delay_s: float = 0.2
    sight_mm: float = 0.3
    uneven: float = 0.1
    tremor_mm_s: float = 0.0
    hand_rad: float = 0.0
    probe_y_mm: float = 0.0
    lapse_every_s: float = 0.0
    lapse_s: tuple[float, float] = (0.0, 0.0)
    pause_every_s: float = 0.0
    pause_s: tuple[float, float] = (0.3, 0.8)
    again: int = 3

    def __post_init__(self) -> None:
        check_finite(self, "manner")
        check_range(self, "manner", 0.0, 2.0, "delay_s", "uneven", "hand_rad")
        check_range(self, "manner", 0.0, 10.0, "sight_mm", "tremor_mm_s", "probe_y_mm")
        check_range(self, "manner", 0.0, 600.0, "lapse_every_s", "pause_every_s")
        check_range(self, "manner", 1, 100, "again")
        for name in ("lapse_s", "pause_s"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high:
                raise InputError(f"operator_model: {name} is ({low:g}, {high:g}); it must rise from 0 or more")

    @property
    def blind_s(self) -> float:
        """How long the hand may push on at most after the tip is lost."""
        return self.delay_s + (self.lapse_s[1] if self.lapse_every_s > 0 else 0.0)


@dataclass(frozen=True, slots=True)
class State:
    """axes: where the hand means to be. past: (time, what was seen) that is still to be taken in. now: what was last.

    speed_mm_s: of the hand. seen_mm: inserted depth when the tip was last in view. near: looks that said "there".
    """

    task: Task
    axes: Axes | None = None
    past: tuple[tuple[float, TargetOffset | None], ...] = ()
    now: TargetOffset | None = None
    speed_mm_s: float = 0.0
    seen_mm: float | None = None
    last_s: float | None = None
    near: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """A person of some manner; seed: who it is today."""

    operator_model: OperatorModel = field(default_factory=OperatorModel)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"the seed is {self.seed}: it must be 0 or more")

    def start(self, task: Task) -> State:
        """Before the first look. InputError for a task with a number that is none."""
        return State(check_task(task))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Look, take in what was seen a reaction time ago, and move the hand."""
        axes = stay(state.axes, observation.robot_state, state.task)
        state = replace(state, axes=axes)
        if state.stopped or not known(observation):
            return replace(state, speed_mm_s=0.0), order(observation, axes, stop=state.stopped)
        state = self._take_in(state, observation)
        state = self._move(state, observation.robot_state, observation.capture_time_s)
        return state, self._said(state, observation)

    def _take_in(self, state: State, o: Observation) -> State:
        """The newest look that is a reaction time old; in a lapse none is taken in."""
        operator_model, now = self.operator_model, o.capture_time_s
        past = (*state.past, (now, target_offset(o, state.task)))
        old = [look for look in past if look[0] <= now - operator_model.delay_s]
        past = tuple(look for look in past if look[0] > now - operator_model.delay_s)[-100:]
        if not old or self._lapse(LAPSE, now):
            return replace(state, past=past)
        seen = old[-1][1]
        if seen is not None:
            seen = replace(
                seen,
                along_mm=seen.along_mm + operator_model.sight_mm * self._wave(ALONG, now),
                across_mm=seen.across_mm + operator_model.sight_mm * self._wave(ACROSS, now),
            )
        near = state.near + 1 if seen is not None and seen.reached(operator_model.principle.within_mm) else 0
        return replace(state, past=past, now=seen, near=near, stopped=near >= operator_model.again)

    def _move(self, state: State, robot_state: RobotState, now: float) -> State:
        """Speed and angle that the hand means."""
        operator_model, seen = self.operator_model, state.now
        dt_s = 0.0 if state.last_s is None else min(max(now - state.last_s, 0.0), 0.2)
        state = replace(state, last_s=now)
        if seen is None:
            return replace(state, speed_mm_s=0.0)
        if self._lapse(LAPSE, now):
            return state
        assert state.axes is not None
        rule, depth = operator_model.principle, robot_state.depth_mm
        seen_mm = rule.last_view_mm(seen, depth, state.seen_mm)
        speed = rule.speed_mm_s(seen, depth - seen_mm) * max(1.0 + operator_model.uneven * self._wave(PACE, now), 0.2)
        if self._lapse(PAUSE, now):
            speed = 0.0
        angle = rule.angle_rad(seen, state.task, state.axes.angle_rad, dt_s)
        return replace(state, axes=replace(state.axes, angle_rad=angle), speed_mm_s=speed, seen_mm=seen_mm)

    def _said(self, state: State, o: Observation) -> Action:
        operator_model, now, speed = self.operator_model, o.capture_time_s, state.speed_mm_s
        assert state.axes is not None
        hand = replace(state.axes, angle_rad=state.axes.angle_rad + operator_model.hand_rad * self._wave(HAND, now))
        if state.now is None:
            return order(o, hand, 0.0, STILL)
        if speed > 0:
            speed = min(max(speed + operator_model.tremor_mm_s * self._wave(TREMOR, now, TREMOR_S), 0.0), 25.0)
        return order(o, hand, speed, self._probe(state.task, o, speed), stop=state.stopped)

    def _probe(self, task: Task, o: Observation, speed_mm_s: float) -> Vector:
        """Along with the needle; across as the hand that holds it wanders."""
        along = self.operator_model.principle.probe_mm_s(speed_mm_s, o.robot_state, task)
        if self.operator_model.probe_y_mm == 0.0:
            return along, 0.0, 0.0
        place = self.operator_model.probe_y_mm * self._wave(PROBE, o.capture_time_s)
        return along, min(max((place - o.robot_state.probe_mm[1]) / 0.3, -5.0), 5.0), 0.0

    def _wave(self, channel: int, time_s: float, periods_s: tuple[float, ...] = DRIFT_S) -> float:
        return wave(self.seed, channel, time_s, periods_s)

    def _lapse(self, channel: int, time_s: float) -> bool:
        operator_model = self.operator_model
        if channel == LAPSE:
            return lapse(self.seed, channel, time_s, operator_model.lapse_every_s, operator_model.lapse_s)
        return lapse(self.seed, channel, time_s, operator_model.pause_every_s, operator_model.pause_s)
