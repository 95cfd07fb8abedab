"""The three parts of an insertion: eye (tracker), mind (policy) and hand (gate and robot).

Source: Paper V, III-E: a real-time branch tracks every frame, a deep branch takes the newest result whenever it is free
and is never waited for. The hand is ours: a control period after control period it asks the gate about the newest
action, and holds the needle where the gate does not clear it.

None of them knows a thread or a clock: `runtime/insertion.py` moves them on a simulated clock, alone or with one
another, and `runtime/live.py` in threads on a real one. What they hand over is frozen.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.protocols import Policy, Tracker
from sonosteer.core.types import Action, Capture, Estimate, Frame, Hint, Lost, Observation, RobotState, Task
from sonosteer.runtime.button import Button
from sonosteer.runtime.replies import check_action, check_estimate
from sonosteer.safety.gate import Cleared, Gate, GateInput, GateState, Refused
from sonosteer.safety.robot import Robot
from sonosteer.safety.watchdog import StreamState, StreamWatch, WatchedFrame, fingerprint

ROBOT = "robot"  # the rule of a refusal that is not the gate's but the robot's
GATE_STARTS = "gate_started_s"  # what the event of its beginning says
RELEASED_BY, RELEASED = "released_by", "released_s"  # what the event of a stop taken back says


class Recorder(Protocol):
    """Takes down a run, and never makes it wait. failed: why it cannot any more, which holds the needle."""

    @property
    def failed(self) -> str | None:
        """None while all is well."""
        ...

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Take down something that was said or decided."""
        ...

    def frame(self, frame: Frame, now_s: float) -> None:
        """Take down a picture."""
        ...


class NoRecorder:
    """Records nothing."""

    failed: str | None = None

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Forget it."""

    def frame(self, frame: Frame, now_s: float) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """An action, the observation it came from, and when the policy began and ended."""

    observation: Observation
    action: Action
    started_s: float
    done_s: float


@dataclass
class TrackingBranch:
    """Frames -> observations. A tracker that raises, or talks nonsense, is a fault, and its estimate is lost."""

    tracker: Tracker[Any]
    task: Task
    state: Any
    fault: str | None = None

    @classmethod
    def open(cls, tracker: Tracker[Any], task: Task, hint: Hint) -> TrackingBranch:
        """At the beginning of a task."""
        return cls(tracker, task, tracker.start(hint))

    def see(self, capture: Capture) -> Observation:
        """Track one frame, and say with what else the policy is to see it."""
        frame, estimate = capture.frame, self.track(capture.frame)
        target = self.task.target_at(capture.robot_state.probe_mm)
        return Observation(frame.index, frame.time_s, estimate, capture.robot_state, target, estimate.features)

    def track(self, frame: Frame) -> Estimate:
        """Track one frame; where the tracker breaks, its state stays as it was."""
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
    """Observations -> actions. A policy that raises, or talks nonsense, is a fault."""

    policy: Policy[Any]
    state: Any
    fault: str | None = None

    @classmethod
    def open(cls, policy: Policy[Any], task: Task) -> PolicyBranch:
        """At the beginning of a task."""
        return cls(policy, policy.start(task))

    def decide(self, observation: Observation) -> Action | None:
        """What the policy wants now; None where it broke, and its state stays as it was."""
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
    """Asks the gate every control period and tells the robot. stop: whose stop button was pressed, and why.

    commanded: frame -> seconds from its acquisition to the first order that came of it. robot_state: None while the
    robot says nothing. gone: why it did not answer a period ago; one that is back is held for a period, to start from
    rest.
    """

    gate: Gate
    robot: Robot
    task: Task
    state: GateState
    watch: StreamWatch
    stream: StreamState
    recorder: Recorder = field(default_factory=NoRecorder)
    stop: str | None = None
    refused: Counter[str] = field(default_factory=Counter)
    held_because: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    last: Cleared | Refused | None = None
    commanded: dict[int, float] = field(default_factory=dict)
    newest: Action | None = None
    robot_state: RobotState | None = None
    gone: str | None = None

    @classmethod
    def open(cls, gate: Gate, robot: Robot, task: Task, now_s: float, **more: Any) -> ControlBranch:
        """At the beginning of a task."""
        watch = StreamWatch(gate.limits)
        control_branch = cls(gate, robot, task, gate.start(now_s), watch, watch.start(now_s), **more)
        control_branch.recorder.write("/event", now_s, {"text": "the gate starts", GATE_STARTS: now_s})
        return control_branch

    def frame_came(self, frame: Frame, now_s: float) -> None:
        """Told of every frame as it arrives, whether or not anybody has time for it."""
        self.recorder.frame(frame, now_s)
        self.stream = self.watch.saw(
            self.stream,
            WatchedFrame(frame.index, frame.time_s, now_s=now_s, fingerprint=fingerprint(frame.pixels)),
        )

    def propose(self, action: Action, now_s: float) -> None:
        """Take what the policy wants; a reply to an older frame than the last one's came too late."""
        if self.newest is not None and not action.frame_index > self.newest.frame_index:
            self.refused["late reply"] += 1
            self.recorder.write("/event", now_s, {"text": f"a late reply to frame {action.frame_index} was refused"})
            return
        self.newest = action

    def tick(self, now_s: float, observation: Observation | None, faults: tuple[str, ...] = ()) -> Cleared | Refused:
        """One control period: the newest action goes through the gate, and out or not."""
        action = self.newest
        try:
            robot_state = self.robot_state = self.robot.read()
        except RobotError as e:
            self.robot_state = None
            return self._lost_robot(now_s, str(e))
        gate_input = GateInput(
            now_s,
            robot_state,
            None if observation is None else observation.estimate,
            self.task.spacing,
            (*faults, *self.watch.reasons(self.stream, now_s), *filter(None, (self.recorder.failed, self.gone))),
            self.stop,
        )
        self.gone = None
        self.state, verdict = self.gate.clear(self.state, action, gate_input)
        try:
            if isinstance(verdict, Cleared):
                self.robot.send(verdict)
            else:
                self.robot.hold(verdict.reason)
        except RobotError as e:
            return self._lost_robot(now_s, str(e), gate_input)
        self._note(now_s, gate_input, action, verdict)
        return verdict

    def press(self, why: str = "the operator pressed stop") -> None:
        """Stop from the next control period on, and as long as nobody releases it."""
        self.stop = why

    def release(self, by: str, now_s: float) -> None:
        """Let go of the button and take a latched stop back. InputError, and nothing changes, for who may not."""
        self.state = self.gate.release(self.state, by, now_s)
        self.stop = None
        self.recorder.write("/event", now_s, {"text": f"released by the {by}", RELEASED_BY: by, RELEASED: now_s})

    def obey(self, button: Button, now_s: float) -> None:
        """Do what the operator did with the button."""
        for word in button.taken():
            if word == "stop":
                self.press()
                continue
            try:
                self.release("operator", now_s)
            except InputError as e:
                self.recorder.write("/event", now_s, {"text": f"not released: {e}"})

    def let_go(self, reason: str = "the run is over") -> None:
        """Hold, whatever happens to the run."""
        with contextlib.suppress(RobotError):
            self.robot.hold(reason)

    def _lost_robot(self, now_s: float, why: str, gate_input: GateInput | None = None) -> Refused:
        """A robot that refuses or is gone: its own orders expire. gate_input: what the gate was told."""
        verdict = Refused(ROBOT, None, None, "", f"the robot does not answer: {why}")
        self.gone = f"the robot did not answer a period ago: {why}"
        with contextlib.suppress(RobotError):
            self.robot.hold(verdict.reason)
        self._note(now_s, gate_input, self.newest, verdict)
        return verdict

    def _note(
        self, now_s: float, gate_input: GateInput | None, action: Action | None, verdict: Cleared | Refused
    ) -> None:
        self.ticks += 1
        self.last = verdict
        if isinstance(verdict, Refused):
            self.held_because[verdict.rule] += 1
            if action is not None:
                self.refused[verdict.rule] += 1
        elif action is not None:
            self.commanded.setdefault(action.frame_index, now_s - action.capture_time_s)
        estimate = None if gate_input is None else gate_input.estimate
        what = {
            "robot_state": None if gate_input is None else gate_input.robot_state,
            "estimate": None if estimate is None else estimate.frame_index,
            "action": None if action is None else action.frame_index,
            "faults": () if gate_input is None else gate_input.faults,
            "stop": self.stop,
            "verdict": verdict,
        }
        self.recorder.write("/tick", now_s, what)
