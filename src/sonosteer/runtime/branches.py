"""The three branches of an insertion: tracking (tracker), policy, and control (gate and robot).

Source: Zhang et al. 2026, Section III-E. A real-time branch tracks every frame. A deep branch takes the newest result
whenever it is free, and nobody waits for it.
Departs from the paper: the control branch is added. Every control period it asks the gate about the newest action, and
holds the needle if the gate does not clear it.

No branch knows a thread or a clock. `runtime/insertion.py` moves them on a simulated clock, and `runtime/live.py` in
threads on a real one. What they hand over is frozen.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.protocols import Policy, Tracker
from sonosteer.core.types import Action, Capture, Estimate, Frame, Hint, Lost, Observation, RobotState, Task
from sonosteer.runtime.button import Button
from sonosteer.runtime.by_hand import STEP_S, HandMotion, HandWay
from sonosteer.runtime.replies import check_action, check_estimate
from sonosteer.runtime.wiggle import WiggleMotion
from sonosteer.safety.gate import Cleared, Gate, GateInput, GateState, Refused
from sonosteer.safety.gate_input import no
from sonosteer.safety.robot import Robot
from sonosteer.safety.stop import MAY_RELEASE
from sonosteer.safety.watchdog import StreamState, StreamWatch, WatchedFrame, fingerprint

ROBOT = "robot"  # the rule of a refusal that is not the gate's but the robot's
DRY_RUN = "a dry run sends nothing"
GATE_STARTS = "gate_started_s"  # key in the event of its beginning
RELEASED_BY, RELEASED = "released_by", "released_s"  # keys in the event of a released stop
KEPT_SPACINGS = 1000  # chosen: an estimate is refused for its age long before so many frames have come after its own


class Recorder(Protocol):
    """Records a run without blocking it."""

    @property
    def failed(self) -> str | None:
        """Why it cannot record any more, which holds the needle. None while all is well."""
        ...

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Record something that was said or decided."""
        ...

    def frame(self, frame: Frame, now_s: float) -> None:
        """Record a picture."""
        ...


class NoRecorder:
    """Records nothing."""

    failed: str | None = None
    """Why it cannot record any more: never."""

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Forget it."""

    def frame(self, frame: Frame, now_s: float) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """An action and where it came from."""

    observation: Observation
    """What the policy was told."""
    action: Action
    """What it wants."""
    started_s: float
    """When the policy began, s on the run's clock."""
    done_s: float
    """When it was done, s on the run's clock."""


def with_fields(tracker: Tracker[Any], **fields: Any) -> Tracker[Any]:
    """The tracker with other values of these fields, or as it is if it has no such fields."""
    if not dataclasses.is_dataclass(tracker) or isinstance(tracker, type):
        return tracker
    known = {f.name for f in dataclasses.fields(tracker)}
    out: Tracker[Any] = dataclasses.replace(tracker, **fields) if known.issuperset(fields) else tracker
    return out


@dataclass
class TrackingBranch:
    """Frames -> observations. A tracker that raises, or answers nonsense, is a fault, and its estimate is lost."""

    tracker: Tracker[Any]
    """The tracker that is asked."""
    task: Task
    """What is to be done."""
    state: Any
    """State of the tracker after the last frame."""
    fault: str | None = None
    """How the tracker broke, None if it did not."""
    recent: tuple[Frame, ...] = ()
    """The pictures of the last `recent_s`, each with its robot state. The newest is last."""
    recent_s: float = 0.0
    """How far back the policy needs pictures, s. 0: only the newest."""
    start_px: Point | None = None
    """Where the tracker is to begin anew with the next frame, px. None where it goes on."""

    @classmethod
    def open(cls, tracker: Tracker[Any], task: Task, hint: Hint, policy: Policy[Any] | None = None) -> TrackingBranch:
        """Begin a task. policy: who is told. Its `recent_s`, if it has one, says how far back it needs pictures."""
        return cls(tracker, task, tracker.start(hint), recent_s=float(getattr(policy, "recent_s", 0.0)))

    def see(self, capture: Capture) -> Observation:
        """Track one frame. Returns all that the policy is told of it."""
        frame, estimate = capture.frame, self.track(capture.frame, capture.robot_state)
        target = self.task.target_at(capture.robot_state.probe_mm)
        return Observation(
            frame_index=frame.index,
            capture_time_s=frame.time_s,
            estimate=estimate,
            robot_state=capture.robot_state,
            target_px=target,
            features=estimate.features,
            recent=self.recent,
        )

    def begin_at(self, start_px: Point) -> None:
        """Let the tracker begin anew with the next frame, at a tip that the policy found."""
        self.start_px = start_px

    def begin_anew(self) -> Point | None:
        """Begin anew before a frame, if somebody wants that. Returns where, px, or None."""
        start_px, self.start_px = self.start_px, None
        if start_px is not None:
            self.state = self.tracker.start(Hint(enters=self.task.enters, start_px=start_px))
        return start_px

    def track(self, frame: Frame, robot_state: RobotState | None) -> Estimate:
        """Track one frame. If the tracker breaks, its state stays as it was.

        robot_state: of the frame's time, which the frame brings to the tracker. Not where the image stands across the
        needle: what the encoders say is of a needle in the image plane.
        """
        if self.task.technique != "across":
            frame = dataclasses.replace(frame, robot_state=robot_state)
        oldest_s = frame.time_s - self.recent_s
        self.recent = (*(each for each in self.recent if oldest_s <= each.time_s < frame.time_s), frame)
        try:
            state, said = self.tracker.step(self.state, frame)
            estimate = check_estimate(said, frame)
        except Exception as e:  # noqa: BLE001  the needle is held, and the run says why
            self.fault = f"the tracker broke: {type(e).__name__}: {e}"
            return Lost(frame.index, frame.time_s, self.fault)
        self.state = state
        return estimate


@dataclass
class PolicyBranch:
    """Observations -> actions. A policy that raises, or answers nonsense, is a fault."""

    policy: Policy[Any]
    """The policy that is asked."""
    state: Any
    """State of the policy after the last observation."""
    fault: str | None = None
    """How the policy broke, None if it did not."""

    @classmethod
    def open(cls, policy: Policy[Any], task: Task) -> PolicyBranch:
        """Begin a task."""
        return cls(policy, policy.start(task))

    def decide(self, observation: Observation) -> Action | None:
        """Return what the policy wants now. None if it broke: its state then stays as it was."""
        try:
            state, said = self.policy.step(self.state, observation)
            action = check_action(said, observation)
        except Exception as e:  # noqa: BLE001  the needle is held, and the run says why
            self.fault = f"the policy broke: {type(e).__name__}: {e}"
            return None
        self.state = state
        return action


@dataclass
class ControlBranch:
    """Asks the gate every control period, and tells the robot."""

    gate: Gate
    """The gate that is asked."""
    robot: Robot
    """The robot that is told."""
    task: Task
    """What is to be done."""
    state: GateState
    """State of the gate after the last tick."""
    watch: StreamWatch
    """What watches the stream of frames."""
    stream: StreamState
    """State of that watch."""
    recorder: Recorder = field(default_factory=NoRecorder)
    """What records the run."""
    stop: str | None = None
    """Why the operator pressed stop, None while nobody has."""
    just_pressed: bool = False
    """True while a press has not held a control period yet. It cannot be released before."""
    held: str | None = None
    """Why the operator lets everything wait, None while nobody does. It is not latched."""
    dry_run: bool = False
    """True where nothing is sent: the gate holds, and the recording has what it would have cleared."""
    unheard: str | None = None
    """Why the operator can no longer be heard, which holds the needle. None while all is well."""
    by_hand: bool = False
    """True where the newest action is the operator's own, not the policy's."""
    hand: HandMotion | None = None
    """What the operator wants by hand, instead of the newest action until it is over. None while he wants nothing."""
    wiggle: WiggleMotion | None = None
    """The wiggle that the newest action asks for, while it lasts. None where none is asked for."""
    spacings: dict[int, Spacing | None] = field(default_factory=dict)
    """What each of the last frames says of its millimetres per pixel, by index."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of refused actions, by rule."""
    held_because: Counter[str] = field(default_factory=Counter)
    """Number of ticks at hold, by rule."""
    ticks: int = 0
    """Number of control periods."""
    last: Cleared | Refused | None = None
    """The gate's last answer, None before the first tick."""
    commanded: dict[int, float] = field(default_factory=dict)
    """Index of a frame to the time from its acquisition to the first command that came of it, s."""
    newest: Action | None = None
    """The newest action, None before the first."""
    robot_state: RobotState | None = None
    """What the robot said at the last tick, None while it says nothing."""
    gone: str | None = None
    """Why the robot did not answer a period ago. One that is back is held for a period, so that it starts from rest."""

    @classmethod
    def open(cls, gate: Gate, robot: Robot, task: Task, now_s: float, **more: Any) -> ControlBranch:
        """Begin a task. more: a recorder, and `held` for a run that begins paused."""
        watch = StreamWatch(gate.limits)
        control_branch = cls(gate, robot, task, gate.start(now_s), watch, watch.start(now_s), **more)
        control_branch.recorder.write("/event", now_s, {"text": "the gate starts", GATE_STARTS: now_s})
        return control_branch

    def frame_came(self, frame: Frame, now_s: float) -> None:
        """Take note of a frame that arrives, whether or not the tracker has time for it."""
        self.recorder.frame(frame, now_s)
        self.spacings[frame.index] = frame.spacing
        while len(self.spacings) > KEPT_SPACINGS:
            del self.spacings[next(iter(self.spacings))]
        self.stream = self.watch.saw(
            self.stream,
            WatchedFrame(frame.index, frame.time_s, now_s=now_s, fingerprint=fingerprint(frame.pixels)),
        )

    def propose(self, action: Action, now_s: float, *, by_hand: bool = False) -> None:
        """Take what the policy wants. A reply to an older frame than the last one's is refused: it came too late.

        by_hand: the operator drives the needle, so that what the gate allows by hand only counts.
        """
        if self.newest is not None and not action.frame_index > self.newest.frame_index:
            self.refused["late reply"] += 1
            self.recorder.write("/event", now_s, {"text": f"a late reply to frame {action.frame_index} was refused"})
            return
        self.newest, self.by_hand = action, by_hand

    def tick(self, now_s: float, observation: Observation | None, faults: tuple[str, ...] = ()) -> Cleared | Refused:
        """Do one control period: the newest action goes through the gate, and to the robot if it is cleared."""
        try:
            robot_state = self.robot_state = self.robot.read()
        except RobotError as e:
            self.robot_state = None
            return self._lost_robot(now_s, str(e))
        wrong = filter(None, (self.recorder.failed, self.gone, self.unheard))
        estimate = None if observation is None else observation.estimate
        by_hand = self._wanted_by_hand(now_s, estimate, robot_state)
        wiggled = None if by_hand is not None else self._wiggled(now_s, estimate, robot_state)
        action = next((each for each in (by_hand, wiggled) if each is not None), self.newest)
        gate_input = GateInput(
            now_s=now_s,
            robot_state=robot_state,
            estimate=estimate,
            spacing=None if estimate is None else self.spacings.get(estimate.frame_index),
            faults=(*faults, *self.watch.reasons(self.stream, now_s), *wrong),
            stop=self.stop,
            hold=self.held or (DRY_RUN if self.dry_run else None),
            by_hand=self.by_hand or by_hand is not None,
        )
        self.gone = None
        would = None
        if self.dry_run and self.held is None:
            _, would = self.gate.clear(self.state, action, dataclasses.replace(gate_input, hold=None))
        self.state, verdict = self.gate.clear(self.state, action, gate_input)
        self.just_pressed = False
        try:
            if isinstance(verdict, Cleared):
                self.robot.send(verdict)
            else:
                self.robot.hold(verdict.reason)
        except RobotError as e:
            return self._lost_robot(now_s, str(e), gate_input)
        self._note(now_s, gate_input, action, verdict, by_hand=by_hand, wiggled=wiggled, would=would)
        return verdict

    def pause(self, why: str = "the operator lets it wait") -> None:
        """Hold from the next control period on, until `resume`. Nothing is latched."""
        self.held = why

    def resume(self) -> None:
        """Go on, from rest. A latched stop stays."""
        self.held = None

    def press(self, why: str = "the operator pressed stop") -> None:
        """Stop from the next control period on, until somebody releases it."""
        self.stop, self.just_pressed = why, True

    def release(self, by: str, now_s: float) -> None:
        """Release the button and take a latched stop back.

        Raises InputError, and changes nothing, for who may not, and for a press that has not held a control period yet.
        """
        if by not in MAY_RELEASE:
            raise InputError(f"a stop is released by the {' or '.join(MAY_RELEASE)}, not by {by!r}")
        if self.just_pressed:
            raise InputError("a stop that was just pressed is released only after it has held a control period")
        self.state = self.gate.release(self.state, by, now_s)
        self.stop = None
        self.recorder.write("/event", now_s, {"text": f"released by the {by}", RELEASED_BY: by, RELEASED: now_s})

    def drive(self, way: HandWay, now_s: float) -> None:
        """Want the needle to go back or forth by hand for a moment, as the operator asks."""
        self.hand = HandMotion(way, now_s + STEP_S)
        self.recorder.write("/event", now_s, {"text": f"the operator moves the needle {way} by hand"})

    def obey(self, button: Button, now_s: float) -> None:
        """Do what the operator did with the button."""
        for word in button.taken():
            if word == "stop":
                self.press()
            elif word == "pause":
                self.pause()
            elif word == "resume":
                self.resume()
            elif word == "back" or word == "forth":
                self.drive(word, now_s)
            else:
                try:
                    self.release("operator", now_s)
                except InputError as e:
                    self.recorder.write("/event", now_s, {"text": f"not released: {e}"})
        unheard = button.unheard
        if unheard is not None and self.unheard is None:
            self.recorder.write("/event", now_s, {"text": unheard})
        self.unheard = unheard

    def let_go(self, reason: str = "the run is over") -> None:
        """Hold, whatever happens to the run."""
        with contextlib.suppress(RobotError):
            self.robot.hold(reason)

    def _lost_robot(self, now_s: float, why: str, gate_input: GateInput | None = None) -> Refused:
        """Note a robot that refuses or is gone. Its commands expire by themselves. gate_input: what the gate heard."""
        verdict = no(ROBOT, f"the robot does not answer: {why}")
        self.gone = f"the robot did not answer a period ago: {why}"
        with contextlib.suppress(RobotError):
            self.robot.hold(verdict.reason)
        self._note(now_s, gate_input, self.newest, verdict)
        return verdict

    def _wanted_by_hand(self, now_s: float, estimate: Estimate | None, robot_state: RobotState) -> Action | None:
        """Return what the operator wants by hand now, None if he wants nothing."""
        if self.hand is None:
            return None
        kept_rad = self.state.memory.angle_rad
        wanted = self.hand.action(
            now_s, self.gate.limits, estimate=estimate, robot_state=robot_state, kept_rad=kept_rad
        )
        if wanted is None and not now_s < self.hand.until_s:
            self.hand = None
        return wanted

    def _wiggled(self, now_s: float, estimate: Estimate | None, robot_state: RobotState) -> Action | None:
        """Return this period's order of the wiggle that the newest action asks for, None if it asks for none."""
        newest = self.newest
        if newest is None or estimate is None or newest.wiggle is not True or newest.command.expired(now_s):
            self.wiggle = None
            return None
        memory = self.state.memory
        motion = self.wiggle or WiggleMotion.begin(max(memory.deepest_mm, robot_state.depth_mm), now_s)
        self.wiggle, speed_mm_s = motion.step(now_s, self.gate.limits, robot_state)
        return motion.action(speed_mm_s, now_s, estimate=estimate, robot_state=robot_state, kept_rad=memory.angle_rad)

    def _note(
        self,
        now_s: float,
        gate_input: GateInput | None,
        action: Action | None,
        verdict: Cleared | Refused,
        *,
        by_hand: Action | None = None,
        wiggled: Action | None = None,
        would: Cleared | Refused | None = None,
    ) -> None:
        self.ticks += 1
        self.last = verdict
        passed = verdict if would is None else would
        if isinstance(verdict, Refused):
            self.held_because[verdict.rule] += 1
            if action is not None and isinstance(passed, Refused):
                self.refused[passed.rule] += 1
        if action is not None and isinstance(passed, Cleared):
            self.commanded.setdefault(action.frame_index, now_s - action.capture_time_s)
        estimate = None if gate_input is None else gate_input.estimate
        what = {
            "robot_state": None if gate_input is None else gate_input.robot_state,
            "estimate": None if estimate is None else estimate.frame_index,
            "action": None if action is None else action.frame_index,
            "faults": () if gate_input is None else gate_input.faults,
            "spacing": None if gate_input is None else gate_input.spacing,
            "stop": self.stop,
            "hold": self.held if gate_input is None else gate_input.hold,
            "by_hand": self.by_hand if gate_input is None else gate_input.by_hand,
            "hand": by_hand,
            "wiggle": wiggled,
            "verdict": verdict,
        }
        if would is not None:
            what["would"] = would
        self.recorder.write("/tick", now_s, what)
