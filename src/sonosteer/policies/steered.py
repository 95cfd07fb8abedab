"""A steering controller as a policy: the controller decides on the roll of the base, and a hand pushes.

Source of the set-up: Carriere et al. 2019, Section 6. There a hand pushes the needle, a probe follows the tip, and a
motor rolls the base. Here hand and probe are simulated. What all three shall do is one action, so that all of it goes
through the gate.

The hand follows a script of speeds, then pushes evenly, and slows down before the target's depth. Without a tip it
waits. The probe then looks for the tip along the needle.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Steerer
from sonosteer.core.types import (
    Action,
    Observation,
    RollCommand,
    Task,
    TipEstimate,
    TipMeasurement,
    Track,
)
from sonosteer.needle.tissue import respiratory_signal
from sonosteer.policies.geometry import check_task
from sonosteer.policies.orders import Axes, order

AT_DEPTH_MM = 0.05  # chosen: the depth's encoder has 0.02 mm (sd)
APPROACH_PER_S = 4.0  # chosen: the hand closes the last stretch at this rate
LATE_S = 0.15  # chosen: from a picture until an order that came of it moves the needle, on the mean
WAITS_S = 0.7  # chosen: with a predicted tip the hand goes on for so long, with none it waits at once
SWEEP_MM, SWEEP_S = 1.5, 2.0  # chosen: length and period of the probe's sweep along the needle
LOST_STOPS_MM, LOST_STOPS_S = 15.0, 30.0  # chosen: pushed so far, or so long without a tip, it is given up
PROBE_GAIN_PER_S = 4.0  # chosen: the probe closes its gap to the tip at this rate
PROBE_MM_S = 20.0  # chosen: fastest probe. The gate allows 25
UNSEEN_SD_MM = 1.0  # chosen: said of a tip that was not seen. No controller uses it

REACHED = "target depth reached"
LOST = "stop: the tip is lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """How a hand pushes the needle to its depth."""

    speeds_mm_s: tuple[float, ...]
    """Speed in each step of the script, mm/s. Negative ones draw the needle back."""
    step_s: float
    """How long a step lasts, s."""
    even_mm_s: float
    """Speed once the script is over, mm/s."""
    depth_mm: float
    """Inserted length at which the hand stops, mm."""
    frame_s: float
    """Time between two pictures, for which a speed is chosen, s."""

    def speed_mm_s(self, since_s: float) -> float:
        """Return the mean speed until the next picture, mm/s. since_s: how long the script has run, s."""
        first = round(since_s / self.step_s)
        next_ones = self.speeds_mm_s[first : first + max(round(self.frame_s / self.step_s), 1)]
        return sum(next_ones) / len(next_ones) if next_ones else self.even_mm_s


@dataclass(frozen=True, slots=True)
class SteeredState:
    """What a steered insertion remembers."""

    axis_px: Point
    """Where the insertion axis goes through the picture, px: (column, row)."""
    task: Task
    """What is to be done."""
    steerer: Any = None
    """State of the controller. None before the first observation."""
    measurement: TipMeasurement | None = None
    """What the controller was told last. None before the first observation."""
    turn: RollCommand | None = None
    """What the controller answered. None before the first observation."""
    time_s: float | None = None
    """When the last picture was acquired, s. None before the first."""
    script_s: float = 0.0
    """How long the hand's script has run, s."""
    speed_mm_s: float = 0.0
    """Speed that was ordered last, mm/s."""
    unseen_s: float = 0.0
    """How long the tip has not been seen, s."""
    seen_at_mm: float | None = None
    """Inserted length when the tip was last seen, mm. None before the first observation."""
    ended: str | None = None
    """Why the needle is not pushed on. None while it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """A controller, the hand that pushes and the probe that follows, as one policy."""

    steerer: Steerer[Any]
    """Who decides on the roll of the base."""
    hand: Hand
    """How the needle is pushed."""
    target_mm: Point = (0.0, 0.0)
    """Target (y, z) across the insertion axis, mm."""
    image_follows: bool = True
    """True where the tip is seen in an image that the probe carries along: no deeper than the probe."""
    breathing_hz: float | None = None
    """Rate of the respiratory signal that is measured, Hz. None where there is none."""

    def prepare(self) -> None:
        """Compile the controller."""
        self.steerer.prepare()

    def start(self, task: Task) -> SteeredState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        x, y = check_task(task).target_px
        mm = task.spacing
        return SteeredState((x - self.target_mm[0] / mm.x_mm, y - self.target_mm[1] / mm.y_mm), task)

    def step(self, state: SteeredState, observation: Observation) -> tuple[SteeredState, Action]:
        """Ask the controller, and move hand and probe along."""
        measurement = self.measured(state, observation)
        roll_rad = observation.robot_state.roll_rad
        before = self.steerer.start(roll_rad) if state.steerer is None else state.steerer
        steering, turn = self.steerer.step(before, measurement)
        state = self._noted(state, observation, measurement)
        ended = state.ended or self._ended(state, observation, turn)
        state = dataclasses.replace(state, steerer=steering, measurement=measurement, turn=turn, ended=ended)
        axes = Axes(state.task.angle_rad, turn.roll_rad)
        if ended is not None:
            return state, order(observation, axes, stop=True)
        pushes = self._pushes(state, observation)
        speed = self._speed_mm_s(state, observation) if pushes else 0.0
        script_s = state.script_s + (self.hand.frame_s if pushes else 0.0)
        probe = (0.0, self._probe_mm_s(state, observation, speed, pushes=pushes), 0.0)
        return dataclasses.replace(state, script_s=script_s, speed_mm_s=speed), order(observation, axes, speed, probe)

    def measured(self, state: SteeredState, observation: Observation) -> TipMeasurement:
        """Return what the controller is told: the tip across the axis, and the encoders of depth and roll."""
        robot_state, time_s = observation.robot_state, observation.capture_time_s
        tip_mm, sd_mm = _tip(observation, state)
        depth_mm = robot_state.depth_mm
        if self.image_follows:
            depth_mm = min(depth_mm, robot_state.probe_mm[1])
        return TipMeasurement(
            time_s=time_s,
            depth_mm=max(depth_mm, 0.0),
            roll_rad=robot_state.roll_rad,
            tip_mm=tip_mm,
            sd_mm=sd_mm,
            breath=0.0 if self.breathing_hz is None else respiratory_signal(self.breathing_hz, time_s),
        )

    def _noted(self, state: SteeredState, observation: Observation, measurement: TipMeasurement) -> SteeredState:
        """Take in when and where the tip was last seen."""
        depth_mm, time_s = observation.robot_state.depth_mm, observation.capture_time_s
        passed_s = 0.0 if state.time_s is None else time_s - state.time_s
        seen = measurement.tip_mm is not None
        seen_at_mm = depth_mm if seen or state.seen_at_mm is None else state.seen_at_mm
        unseen_s = 0.0 if seen else state.unseen_s + passed_s
        return dataclasses.replace(state, time_s=time_s, unseen_s=unseen_s, seen_at_mm=seen_at_mm)

    def _ended(self, state: SteeredState, observation: Observation, turn: RollCommand) -> str | None:
        """Return why the needle is not pushed on, None if it is."""
        depth_mm = observation.robot_state.depth_mm
        if depth_mm >= self.hand.depth_mm - AT_DEPTH_MM:
            return REACHED
        if turn.stop:
            return turn.why
        blind_mm = depth_mm - (depth_mm if state.seen_at_mm is None else state.seen_at_mm)
        return LOST if state.unseen_s > LOST_STOPS_S or blind_mm > LOST_STOPS_MM else None

    def _pushes(self, state: SteeredState, observation: Observation) -> bool:
        """Return whether the hand pushes. With a predicted tip it goes on for a while, with none it waits."""
        predicted = isinstance(observation.estimate, TipEstimate) and observation.estimate.state is Track.COASTING
        return state.unseen_s == 0.0 or (predicted and state.unseen_s <= WAITS_S)

    def _speed_mm_s(self, state: SteeredState, observation: Observation) -> float:
        """Return the script's speed, and less where the target's depth is near."""
        left_mm = self.hand.depth_mm - observation.robot_state.depth_mm - LATE_S * max(state.speed_mm_s, 0.0)
        return min(self.hand.speed_mm_s(state.script_s), max(APPROACH_PER_S * left_mm, 0.0))

    def _probe_mm_s(self, state: SteeredState, observation: Observation, speed_mm_s: float, *, pushes: bool) -> float:
        """Return how fast the probe moves along the needle: after the tip, or to and fro behind it."""
        robot_state = observation.robot_state
        aim_mm, looking_s = robot_state.depth_mm, state.unseen_s - WAITS_S
        if not pushes and looking_s > 0:
            aim_mm -= SWEEP_MM * (0.5 - 0.5 * math.cos(2 * math.pi * looking_s / SWEEP_S))
        wanted = speed_mm_s + PROBE_GAIN_PER_S * (aim_mm - robot_state.probe_mm[1])
        return min(max(wanted, -PROBE_MM_S), PROBE_MM_S)


def _tip(observation: Observation, state: SteeredState) -> tuple[Point | None, float]:
    """Return the tip (y, z) across the axis and its standard deviation, mm. None unless it was seen, with a scale."""
    estimate = observation.estimate
    if not isinstance(estimate, TipEstimate) or estimate.state is not Track.TRACKING:
        return None, UNSEEN_SD_MM
    along_mm, across_mm = estimate.sd_along_mm, estimate.sd_across_mm
    if along_mm is None or across_mm is None:  # said in pixels only: its place in mm is not known
        return None, UNSEEN_SD_MM
    (x, y), (x0, y0), mm = estimate.tip_px, state.axis_px, state.task.spacing
    return ((x - x0) * mm.x_mm, (y - y0) * mm.y_mm), max(along_mm, across_mm)
