"""Models a person at the needle, who sees late and not exactly, trembles, drifts, hesitates and looks away.

`operator` and `expert` are such persons. They follow the same principle as `visibility`: fast while the tip is seen,
slow or still in doubt. They act on what they saw `delay_s` ago. Reaction times of 0.2 to 0.3 s and a tremor of 8 to 12
Hz are physiological. All amplitudes are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation, RobotState, Task, Vector
from sonosteer.policies.geometry import TargetOffset, check_task, known, target_offset
from sonosteer.policies.noise import DRIFT_S, TREMOR_S, lapse, wave
from sonosteer.policies.orders import Axes, order, stay
from sonosteer.policies.principle import MAX_STEP_S, Principle

# channels of noise
ALONG, ACROSS, SPEED, TREMOR, ANGLE, PROBE_Y, LAPSE, PAUSE = range(8)
MIN_SPEED_FRACTION = 0.2  # chosen: the speed drifts no lower than this fraction
MAX_NEEDLE_MM_S = 25.0  # chosen: no hand pushes faster
CLOSE_GAP_PROBE_S, MAX_PROBE_MM_S = 0.3, 5.0  # chosen: how a hand brings the probe where it drifts to
MAX_LOOKS = 100  # chosen: looks that wait to be taken in


@dataclass(frozen=True, slots=True)
class OperatorModel:
    """How a person works. All amplitudes are chosen."""

    principle: Principle = field(default_factory=Principle)
    """How fast to push and where to aim."""
    delay_s: float = 0.2
    """Reaction time from an image to the hand, s. 0 to 2."""
    offset_sd_mm: float = 0.3
    """Standard deviation of the seen offset from tip to target, mm. 0 to 10."""
    speed_sd_fraction: float = 0.1
    """Standard deviation of the speed as a fraction of it, no unit. 0 to 2."""
    tremor_mm_s: float = 0.0
    """Standard deviation of the speed by tremor, mm/s. 0 to 10."""
    angle_sd_rad: float = 0.0
    """Standard deviation of the needle's angle, rad. 0 to 2."""
    probe_y_sd_mm: float = 0.0
    """Standard deviation of the probe's position across the image, mm. 0 if somebody else holds the probe."""
    lapse_every_s: float = 0.0
    """One lapse of attention in each interval of this length, s. The hand goes on unseeing. 0: never."""
    lapse_s: tuple[float, float] = (0.0, 0.0)
    """Shortest and longest lapse, s."""
    pause_every_s: float = 0.0
    """One hesitation in each interval of this length, s. The hand rests. 0: never."""
    pause_s: tuple[float, float] = (0.3, 0.8)
    """Shortest and longest hesitation, s."""
    confirmations: int = 3
    """Number of looks in a row that must say that the target is reached."""

    def __post_init__(self) -> None:
        check_finite(self, "operator model")
        for name in ("delay_s", "speed_sd_fraction", "angle_sd_rad"):
            check_range(self, "operator model", 0.0, 2.0, name)
        for name in ("offset_sd_mm", "tremor_mm_s", "probe_y_sd_mm"):
            check_range(self, "operator model", 0.0, 10.0, name)
        check_range(self, "operator model", 0.0, 600.0, "lapse_every_s", "pause_every_s")
        check_range(self, "operator model", 1, 100, "confirmations")
        for name in ("lapse_s", "pause_s"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high:
                raise InputError(f"operator model: {name} is ({low:g}, {high:g}), but must rise from 0 or more")

    @property
    def blind_s(self) -> float:
        """Longest time that the hand may push on after the tip is lost, s."""
        return self.delay_s + (self.lapse_s[1] if self.lapse_every_s > 0 else 0.0)


@dataclass(frozen=True, slots=True)
class PersonState:
    """What the person remembers."""

    task: Task
    """What is to be done."""
    axes: Axes | None = None
    """Angle and roll that the hand aims at. None before the first step."""
    pending: tuple[tuple[float, TargetOffset | None], ...] = ()
    """Looks that are still to be taken in: time in s, and what was seen."""
    seen: TargetOffset | None = None
    """The look that was taken in last. None if the tip was not seen in it."""
    speed_mm_s: float = 0.0
    """Speed of the hand, mm/s."""
    seen_mm: float | None = None
    """Inserted length when the tip was last in view, mm. None before that."""
    last_s: float | None = None
    """Time of the last step, s. None before the first."""
    reached: int = 0
    """Number of looks in a row that said that the target is reached."""
    stopped: bool = False
    """True once the procedure is over."""


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """A person who works by an operator model."""

    operator_model: OperatorModel = field(default_factory=OperatorModel)
    """How the person works."""
    seed: int = 0
    """Seed of all noise. 0 or more."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"the seed is {self.seed}: it must be 0 or more")

    def start(self, task: Task) -> PersonState:
        """Return the state before the first look. Raises InputError if a number of the task is not finite."""
        return PersonState(check_task(task))

    def step(self, state: PersonState, observation: Observation) -> tuple[PersonState, Action]:
        """Look, take in what was seen a reaction time ago, and move the hand."""
        axes = stay(state.axes, observation.robot_state, state.task)
        state = replace(state, axes=axes)
        if state.stopped or not known(observation):
            return replace(state, speed_mm_s=0.0), order(observation, axes, stop=state.stopped)
        state = self._take_in(state, observation)
        state = self._move(state, observation.robot_state, observation.capture_time_s)
        return state, self._said(state, observation)

    def _take_in(self, state: PersonState, o: Observation) -> PersonState:
        """Take in the newest look that is a reaction time old. In a lapse take in none."""
        model, now = self.operator_model, o.capture_time_s
        pending = (*state.pending, (now, target_offset(o, state.task)))
        old = [look for look in pending if look[0] <= now - model.delay_s]
        pending = tuple(look for look in pending if look[0] > now - model.delay_s)[-MAX_LOOKS:]
        if not old or self._lapse(LAPSE, now):
            return replace(state, pending=pending)
        seen = old[-1][1]
        if seen is not None:
            seen = replace(
                seen,
                along_mm=seen.along_mm + model.offset_sd_mm * self._wave(ALONG, now),
                across_mm=seen.across_mm + model.offset_sd_mm * self._wave(ACROSS, now),
            )
        reached = state.reached + 1 if seen is not None and seen.reached(model.principle.within_mm) else 0
        stopped = reached >= model.confirmations
        return replace(state, pending=pending, seen=seen, reached=reached, stopped=stopped)

    def _move(self, state: PersonState, robot_state: RobotState, now: float) -> PersonState:
        """Set the speed and the angle that the hand aims at."""
        model, seen = self.operator_model, state.seen
        dt_s = 0.0 if state.last_s is None else min(max(now - state.last_s, 0.0), MAX_STEP_S)
        state = replace(state, last_s=now)
        if seen is None:
            return replace(state, speed_mm_s=0.0)
        if self._lapse(LAPSE, now):
            return state
        assert state.axes is not None
        rule, depth = model.principle, robot_state.depth_mm
        seen_mm = rule.last_view_mm(seen, depth, state.seen_mm)
        drift = max(1.0 + model.speed_sd_fraction * self._wave(SPEED, now), MIN_SPEED_FRACTION)
        speed = rule.speed_mm_s(seen, depth - seen_mm) * drift
        if self._lapse(PAUSE, now):
            speed = 0.0
        angle = rule.angle_rad(seen, state.task, state.axes.angle_rad, dt_s)
        return replace(state, axes=replace(state.axes, angle_rad=angle), speed_mm_s=speed, seen_mm=seen_mm)

    def _said(self, state: PersonState, o: Observation) -> Action:
        """Say what the hand does, tremor and drift included."""
        model, now, speed = self.operator_model, o.capture_time_s, state.speed_mm_s
        assert state.axes is not None
        hand = replace(state.axes, angle_rad=state.axes.angle_rad + model.angle_sd_rad * self._wave(ANGLE, now))
        if state.seen is None:
            return order(o, hand)
        if speed > 0:
            tremor = model.tremor_mm_s * self._wave(TREMOR, now, TREMOR_S)
            speed = min(max(speed + tremor, 0.0), MAX_NEEDLE_MM_S)
        return order(o, hand, speed, self._probe(state.task, o, speed), stop=state.stopped)

    def _probe(self, task: Task, o: Observation, speed_mm_s: float) -> Vector:
        """Return the velocity of the probe, mm/s: along with the needle, and across as the hand drifts."""
        along = self.operator_model.principle.probe_mm_s(speed_mm_s, o.robot_state, task)
        sd_mm = self.operator_model.probe_y_sd_mm
        if sd_mm == 0.0:
            return along, 0.0, 0.0
        gap_mm = sd_mm * self._wave(PROBE_Y, o.capture_time_s) - o.robot_state.probe_mm[1]
        return along, min(max(gap_mm / CLOSE_GAP_PROBE_S, -MAX_PROBE_MM_S), MAX_PROBE_MM_S), 0.0

    def _wave(self, channel: int, time_s: float, periods_s: tuple[float, ...] = DRIFT_S) -> float:
        return wave(self.seed, channel, time_s, periods_s)

    def _lapse(self, channel: int, time_s: float) -> bool:
        model = self.operator_model
        if channel == LAPSE:
            return lapse(self.seed, channel, time_s, every_s=model.lapse_every_s, lasts_s=model.lapse_s)
        return lapse(self.seed, channel, time_s, every_s=model.pause_every_s, lasts_s=model.pause_s)
