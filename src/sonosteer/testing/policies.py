"""Laws that every policy keeps, on a needle on paper."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError
from sonosteer.core.plugins import plug_in
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Lost, Observation, RobotState, Technique, TipEstimate, Track
from sonosteer.policies.table import make_policy
from sonosteer.testing.kinematic_needle import (
    NUMBERS,
    START_MM,
    KinematicNeedle,
    insert_on_paper,
    kinematic_task,
    spoiled,
)
from sonosteer.testing.laws import maker, require, stored

SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
TECHNIQUES: tuple[Technique, ...] = get_args(Technique)
SCENES = tuple(itertools.product(TECHNIQUES, SIDES))
LOST_FROM_S = 1.5
#: what a broken sensor may say
ODD = (math.nan, math.inf, -math.inf, 0.0, -1e300, 1e300, 5e-324, -3.0, 40.0)


@dataclass(frozen=True, kw_only=True)
class PolicyTraits:
    """What a policy is meant to do, which decides the laws it is held to."""

    blind_s: float = 0.0
    """How long it may push on after the tip was lost, s."""
    stops: bool = True
    """Whether it says stop at the target."""
    final_error_mm: float = 5.0
    """How far from the target it may stop, mm."""
    moves_probe: bool = False
    """Whether it lets the probe follow the needle where the technique says so."""
    holds_angle: bool = True
    """Whether the needle's angle stays as planned while the tip is lost."""
    features: F32 | None = None
    """Features of every frame, for a policy that needs them. Read-only."""


@dataclass(frozen=True)
class _Run:
    """States (one more than observations), observations and actions of a run that goes on after a stop."""

    states: list[Any]
    observations: list[Observation]
    actions: list[Action]

    def __iter__(self) -> Iterator[tuple[Observation, Action]]:
        return zip(self.observations, self.actions, strict=True)


def check_policy(policy: Any, traits: PolicyTraits | None = None, **more: Any) -> None:
    """Check that a policy keeps the laws. Raises AssertionError for the first that it breaks.

    policy: a name as `make_policy` takes it, a class, a function that makes one, or an object. more: fields of
    `PolicyTraits`, as in check_policy(Mine, blind_s=0.5, stops=False).
    """
    known = dataclasses.replace(traits or PolicyTraits(), **more)
    make = maker(policy, make_policy, "policy", lambda p, name: plug_in(p, name, (Action,)))
    _check_repeats(make, known)
    _check_states(make(), known)
    for technique, enters in SCENES:
        _check_actions(make(), known, technique, enters)
    _check_lost(make, known)
    _check_what_is_no_number(make, known)
    _check_fault(make(), known)
    _check_axes(make(), known)
    _check_task(make())
    if known.stops:
        _check_stops(make, known)
    if known.moves_probe:
        _check_probe(make, known)


def _drive(
    policy: Policy[Any],
    needle: KinematicNeedle,
    steps: int,
    traits: PolicyTraits,
    change: Callable[[KinematicNeedle, int], None] | None = None,
) -> _Run:
    run = _Run([policy.start(needle.task)], [], [])
    for k in range(steps):
        if change is not None:
            change(needle, k)
        observation = dataclasses.replace(needle.observe(), features=traits.features)
        state, action = policy.step(run.states[-1], observation)
        run.states.append(state)
        run.observations.append(observation)
        run.actions.append(action)
        needle.move(action)
    return run


def _hidden_now_and_then(needle: KinematicNeedle, k: int) -> None:
    needle.visible = 0.5 + 0.45 * math.sin(0.3 * k)
    needle.state = [Track.TRACKING, Track.TRACKING, Track.COASTING, Track.LOST][k // 5 % 4]


def action_numbers(action: Action) -> tuple[float, ...]:
    """Every number of an action."""
    c = action.command
    expires = math.nan if c.expires_at_s is None else c.expires_at_s
    return (
        action.capture_time_s,
        expires,
        c.insertion_speed_mm_s,
        c.insertion_angle_rad,
        c.roll_rad,
        *c.probe_velocity_mm_s,
    )


def at_rest(action: Action) -> bool:
    """True for an action that moves neither needle nor probe."""
    return action.command.insertion_speed_mm_s == 0.0 and action.command.probe_velocity_mm_s == (0.0, 0.0, 0.0)


def _finite(action: Action) -> bool:
    return all(map(math.isfinite, action_numbers(action)))


def _check_repeats(make: Callable[[], Policy[Any]], traits: PolicyTraits) -> None:
    first, again = (
        _drive(make(), KinematicNeedle(noise_mm=0.3), 60, traits, _hidden_now_and_then).actions for _ in range(2)
    )
    require(first == again, "the same observations must give the same actions")


def _check_states(policy: Policy[Any], traits: PolicyTraits) -> None:
    run = _drive(policy, KinematicNeedle(), 40, traits, _hidden_now_and_then)
    state = stored(run.states[20])
    for observation, action in itertools.islice(run, 20, None):
        state, again = policy.step(state, observation)
        require(again == action, "a state that was stored and loaded gives another action")
    for state, observation in zip(run.states[:12], run.observations[:12], strict=True):
        kept = copy.deepcopy((state, observation))
        policy.step(state, observation)
        require(repr((state, observation)) == repr(kept), "step changed the state or the observation it was given")


def _check_actions(
    policy: Policy[Any], traits: PolicyTraits, technique: Technique, enters: Literal["left", "right"]
) -> None:
    where = f"({technique}, from the {enters})"
    task = kinematic_task(technique, enters)
    for observation, action in _drive(policy, KinematicNeedle(task), 80, traits, _hidden_now_and_then):
        require(_finite(action), f"an action holds a number that is none {where}: {action}")
        of_its_frame = (action.frame_index, action.capture_time_s) == (
            observation.frame_index,
            observation.capture_time_s,
        )
        require(of_its_frame, f"an action must carry the index and the time of its frame {where}")
        lasts_s = (action.command.expires_at_s or 0.0) - action.capture_time_s
        require(
            0.0 < lasts_s <= 0.5, f"an action must expire within 0.5 s, the gate's limit, not {lasts_s:g} s {where}"
        )
    far = KinematicNeedle(kinematic_task(technique, enters, across_mm=4.0))
    for observation, action in _drive(policy, far, 120, traits, _hidden_now_and_then):
        command = action.command
        slow = abs(command.insertion_speed_mm_s) <= 25.0
        require(slow, f"the gate lets 25 mm/s through, not {command.insertion_speed_mm_s:g} {where}")
        steady = all(abs(v) <= most for v, most in zip(command.probe_velocity_mm_s, (25.0, 25.0, 5.0), strict=True))
        require(steady, f"the gate lets the probe move at 25, 25 and 5 mm/s, not {command.probe_velocity_mm_s} {where}")
        turn = abs(command.insertion_angle_rad - observation.robot_state.insertion_angle_rad)
        require(turn <= 0.15, f"the gate lets a turn of 0.15 rad through, not {turn:.3g} {where}")


def _check_lost(make: Callable[[], Policy[Any]], traits: PolicyTraits) -> None:
    def lose(needle: KinematicNeedle, k: int) -> None:
        needle.state = Track.LOST if k >= 15 else Track.TRACKING

    for observation, action in _drive(make(), KinematicNeedle(), 60, traits, lose):
        blind = observation.capture_time_s > LOST_FROM_S + traits.blind_s + 1e-9
        if blind or (traits.blind_s == 0.0 and isinstance(observation.estimate, Lost)):
            require(action.command.insertion_speed_mm_s <= 0.0, "a lost tip must not be pushed")
            require(not action.command.stop, "a lost tip is no reason to stop: it may be seen again")
    for action in _drive(make(), KinematicNeedle(state=Track.LOST), 30, traits).actions:
        still = action.command.insertion_speed_mm_s == 0.0 and not action.command.stop
        require(still, "a tip that was never seen must not be moved")


def _check_what_is_no_number(make: Callable[[], Policy[Any]], traits: PolicyTraits) -> None:
    for after in (0, 12):
        policy = make()
        run = _drive(policy, KinematicNeedle(), after + 1, traits)
        for where in NUMBERS:
            _, action = policy.step(run.states[after], spoiled(run.observations[after], where))
            require(at_rest(action), f"nothing may move while {where} is NaN")
            require(_finite(action), f"an action holds a number that is none while {where} is NaN")
            if where == "capture_time_s" and after:
                require(action.command.expired(0.0), "an action on a frame without a time must have expired")
        _, action = policy.step(run.states[after], _in_pixels_only(run.observations[after]))
        require(at_rest(action), "nothing may move while the tip is known in pixels only, without a scale")
    rng = np.random.default_rng(0)
    policy = make()
    for _ in range(20):
        needle = KinematicNeedle()
        state = policy.start(needle.task)
        for _ in range(3):
            state, action = policy.step(state, _odd_observation(needle, rng, traits))
            require(_finite(action), "an action holds a number that is none, after an observation that held some")
            needle.time_s += 0.1


def _in_pixels_only(observation: Observation) -> Observation:
    seen = observation.estimate
    assert isinstance(seen, TipEstimate)
    unscaled = dataclasses.replace(seen, covariance_mm2=None, covariance_px2=np.eye(2))
    return dataclasses.replace(observation, estimate=unscaled)


def _odd_observation(needle: KinematicNeedle, rng: np.random.Generator, traits: PolicyTraits) -> Observation:
    a = [float(v) for v in rng.choice(ODD, 12)]
    seen = needle.observe()
    assert isinstance(seen.estimate, TipEstimate)
    return dataclasses.replace(
        seen,
        robot_state=RobotState(
            time_s=a[0],
            depth_mm=a[1],
            insertion_speed_mm_s=a[2],
            insertion_angle_rad=a[3],
            roll_rad=a[4],
            probe_mm=(a[5], a[6], a[7]),
        ),
        estimate=dataclasses.replace(seen.estimate, tip_px=(a[8], a[9]), visibility=a[10]),
        target_px=(a[11], 3.0),
        features=traits.features,
    )


def _check_fault(policy: Policy[Any], traits: PolicyTraits) -> None:
    run = _drive(policy, KinematicNeedle(), 10, traits)
    seen = run.observations[9]
    broken = dataclasses.replace(seen, robot_state=dataclasses.replace(seen.robot_state, fault="stalled"))
    require(at_rest(policy.step(run.states[9], broken)[1]), "a rig with a fault must be left alone")


def _check_axes(policy: Policy[Any], traits: PolicyTraits) -> None:
    needle = KinematicNeedle(state=Track.LOST, roll_rad=1.1)
    insert_on_paper(policy, needle, steps=5, features=traits.features)
    require(math.isclose(needle.roll_rad, 1.1, rel_tol=1e-6), "the roll must stay where it is while the tip is lost")
    if traits.holds_angle:
        planned = kinematic_task().angle_rad
        stays = math.isclose(needle.angle_rad, planned, rel_tol=1e-6)
        require(stays, "the needle's angle must stay as planned while the tip is lost")


def _check_task(policy: Policy[Any]) -> None:
    bad = dataclasses.replace(kinematic_task(), target_px=(math.nan, 1.0))
    try:
        policy.start(bad)
    except InputError as e:
        require("task" in str(e), f"the InputError for a task with a NaN must name the task, but says: {e}")
    else:
        require(False, "a task with a NaN must be refused by an InputError (sonosteer.policies.geometry.check_task)")


def _check_stops(make: Callable[[], Policy[Any]], traits: PolicyTraits) -> None:
    def insert(needle: KinematicNeedle, **more: Any) -> list[Action]:
        return insert_on_paper(make(), needle, features=traits.features, **more)[0]

    for technique, enters in SCENES:
        needle = KinematicNeedle(kinematic_task(technique, enters, across_mm=2.0), noise_mm=0.2)
        actions = insert(needle)
        require(actions[-1].command.stop, f"it never says stop ({technique}, from the {enters})")
        near = needle.miss_mm < traits.final_error_mm
        require(near, f"it stops {needle.miss_mm:.1f} mm from the target ({technique}, from the {enters})")
    actions = insert(KinematicNeedle(kinematic_task(along_mm=1.0)), steps=40, until_stop=False)
    first = next((k for k, a in enumerate(actions) if a.command.stop), None)
    require(first is not None, "it never says stop at a target 1 mm away")
    final = all(a.command.stop and at_rest(a) for a in actions[first:])
    require(final, "a stop must be final")
    needle = KinematicNeedle(kinematic_task(along_mm=-3.0))
    actions = insert(needle, steps=40)
    require(actions[-1].command.stop, "it must stop when the target has been passed already")
    require(needle.depth_mm < START_MM + 6.0, f"it pushes {needle.depth_mm - START_MM:.1f} mm past a passed target")


def _check_probe(make: Callable[[], Policy[Any]], traits: PolicyTraits) -> None:
    for technique, enters in SCENES:
        needle = KinematicNeedle(kinematic_task(technique, enters))
        insert_on_paper(make(), needle, features=traits.features)
        if technique == "in-plane-static":
            require(needle.probe_mm[0] == 0.0, f"the probe must stand still from the {enters}: the technique says so")
        else:
            require(needle.side * needle.probe_mm[0] > 5.0, f"the probe must follow the needle from the {enters}")
