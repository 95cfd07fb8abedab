"""Decides a recorded run again. The same tracker, policy and gate are told the same, and must answer the same.

Each branch is replayed on what it was told when it ran, so that threads and their timing do not matter. The tracker
gets the frames it took, the policy the observations it had, the gate every control period. What the recording says
twice must agree: an observation has the estimate of its frame, and the target that the encoders of its time give.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Policy, Tracker
from sonosteer.core.types import Action, Estimate, Frame, Hint, Observation, RobotState, Task
from sonosteer.recording.run_reader import Recorded, RunReader
from sonosteer.recording.wire import encode, revive, same
from sonosteer.runtime.branches import (
    GATE_STARTS,
    RELEASED,
    RELEASED_BY,
    ROBOT,
    PolicyBranch,
    TrackingBranch,
    with_fields,
)
from sonosteer.safety.gate import Cleared, Gate, GateInput, GateState, Refused

_KEPT_PICTURES = 32  # chosen: a decision is about one of the last pictures that were tracked
_KEPT = 400  # chosen: number of frames, features and actions that later messages may refer to
#: what is raised by a recording that makes no sense
_NONSENSE = (InputError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
REPLAYED_TOPICS = ("/event", "/frames", "/frame", "/estimate", "/decision", "/tick")


@dataclass
class Replayed:
    """How a replay compares with its recording."""

    equal: Counter[str] = field(default_factory=Counter)
    """Number of decisions that are the same, by kind: estimate, action, verdict."""
    different: Counter[str] = field(default_factory=Counter)
    """Number of decisions that differ, by kind."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Number of decisions that could not be made again, by reason."""
    first: str | None = None
    """What was different first, None if nothing was."""
    lacks: str | None = None
    """What the recording lacks, or what in it makes no sense. None if there is no such thing."""
    equal_until_s: float = 0.0
    """Up to when everything could be decided again and was the same, s on the run's clock."""

    @property
    def decisions(self) -> int:
        """Number of decisions that were compared."""
        return sum(self.equal.values()) + sum(self.different.values())

    def enter(self, kind: str, where: str, recorded: Any, again: Any) -> None:
        """Compare one decision."""
        if same(recorded, again):
            self.equal[kind] += 1
            return
        self.different[kind] += 1
        self.first = self.first or f"{kind} {where}: was {_short(recorded)}, is {_short(again)}"


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """The digest that a run said of its recording."""

    digest: str
    """64 hexadecimal digits."""
    where: str
    """Where it stands: an option or a file."""


def is_another_run(recorded: RunReader, expected: ExpectedDigest | None) -> bool:
    """True if a whole recording has another digest than its run said."""
    return recorded.complete and expected is not None and recorded.digest != expected.digest


def what_is_wrong(
    recorded: RunReader, done: Replayed, expected: ExpectedDigest | None = None
) -> tuple[list[str], float]:
    """Return (what is wrong with a recording, up to when it is equal to its run in s). Nothing is wrong if it is equal.

    done: its replay. expected: the digest that its run said. Without one, a recording whose chain was made anew looks
    like its run's, unless something in it disagrees.
    """
    wrong = [] if recorded.cut is None else [f"it was {recorded.cut}"]
    equal_until_s = recorded.until_s
    if done.lacks is not None:
        wrong.append(done.lacks)
    if done.first is not None:
        different = sum(done.different.values())
        wrong.append(f"{different} decisions differ from the recorded ones; the first: {done.first}")
    if not done.decisions:
        wrong.append("it holds no decision that could be made again")
    if done.first is not None or done.lacks is not None or not done.decisions:
        equal_until_s = done.equal_until_s
    if expected is not None and is_another_run(recorded, expected):
        wrong.append(
            f"it is not the recording of its run: its digest is {recorded.digest}, {expected.where} says another"
        )
        equal_until_s = 0.0  # whoever made the chain anew can have altered anything
    return wrong, equal_until_s


class Replay:
    """Goes through a recording in the order in which it was written."""

    def __init__(self, tracker: Tracker[Any], policy: Policy[Any], gate: Gate, task: Task, hint: Hint) -> None:
        self.gate, self.task = gate, task
        self.result = Replayed()
        self._answers: dict[int, int] = {}  # which answers of its detector the tracker applied, as recorded
        self._tracking_branch = TrackingBranch.open(with_fields(tracker, applied=self._answers), task, hint, policy)
        self._policy_branch = PolicyBranch.open(policy, task)
        self._gate: GateState | None = None
        self._frames: dict[int, Frame] = {}
        self._taken: deque[tuple[Frame, RobotState | None, Point | None] | None] = deque()
        self._estimates: dict[int, Estimate] = {}
        self._features: dict[int, NDArray[np.float32] | None] = {}
        self._robot_states: dict[int, RobotState | None] = {}
        self._recent: dict[int, tuple[Frame, ...]] = {}
        self._actions: dict[int, Action] = {}
        self._blind: str | None = None

    def run(self, recorded_run: RunReader) -> Replayed:
        """Decide everything again, up to where something makes no sense."""
        messages = recorded_run.messages(*REPLAYED_TOPICS)
        message: Recorded | None = None
        try:
            for message in messages:
                self._take(message)
                if self.result.first is None and self.result.lacks is None:
                    self.result.equal_until_s = max(self.result.equal_until_s, message.time_s)
        except _NONSENSE as e:
            where = "" if message is None else f" behind {message.topic} at {message.time_s:.3f} s"
            self.result.lacks = self.result.lacks or f"what is recorded{where} makes no sense ({e})"
        self._check_none_missing(recorded_run)
        return self.result

    def _check_none_missing(self, recorded_run: RunReader) -> None:
        """Every frame that was taken has its estimate, but for one that the tracker was at. Control had its periods."""
        missing = "the control periods are missing" if not recorded_run.counts["/tick"] else None
        if len(self._taken) > 1:
            missing = f"the estimates of {len(self._taken)} frames are missing"
        self.result.lacks = self.result.lacks or missing

    def _take(self, message: Recorded) -> None:
        what = message.what
        if message.topic == "/event" and GATE_STARTS in what:
            self._gate = self.gate.start(float(what[GATE_STARTS]))
        elif message.topic == "/event" and RELEASED_BY in what and self._gate is not None:
            self._gate = self.gate.release(self._gate, what[RELEASED_BY], float(what[RELEASED]))
        elif message.topic == "/frames":
            _keep(self._frames, what.index, what)
        elif message.topic == "/frame":
            frame = self._frames.pop(what["index"], None)
            if what["outcome"] == "used":
                self._taken.append(None if frame is None else _taken(frame, what))
        elif message.topic == "/estimate":
            self._estimate(what["estimate"])
        elif message.topic == "/decision":
            self._decide(what["observation"], what["action"])
        elif message.topic == "/tick":
            self._tick(message.time_s, what)

    def _estimate(self, recorded: Estimate) -> None:
        index = recorded.frame_index
        _keep(self._estimates, index, recorded)
        taken = self._taken.popleft() if self._taken else None
        if taken is None or self._blind:
            self._blind = self._blind or f"the picture of frame {index} was not recorded: estimates from there on"
            self.result.lacks = self.result.lacks or f"the picture of frame {index} was not recorded"
            self.result.skipped[self._blind] += 1
            return
        if recorded.answer_frame is not None:
            self._answers[index] = recorded.answer_frame
        frame, robot_state, start_px = taken
        if start_px is not None:
            self._tracking_branch.begin_at(start_px)
            self._tracking_branch.begin_anew()
        estimate = self._tracking_branch.track(frame, robot_state)
        _keep(self._robot_states, index, robot_state)
        _keep(self._features, index, estimate.features)
        _keep(self._recent, index, self._tracking_branch.recent, _KEPT_PICTURES)
        self.result.enter("estimate", f"of frame {index}", recorded, estimate)

    def _decide(self, observation: Observation, recorded: Action) -> None:
        index = observation.frame_index
        if recorded.frame_index not in self._actions:  # a second one on the same frame was refused
            _keep(self._actions, recorded.frame_index, recorded)
        if self._blind and index not in self._features:
            self.result.skipped["actions on frames without a picture"] += 1
            return
        said = (self._estimates.get(index), self.task.target_at(observation.robot_state.probe_mm))
        if not same(said, (observation.estimate, observation.target_px)):
            self.result.enter("observation", f"on frame {index}", (observation.estimate, observation.target_px), said)
        used = self._robot_states.get(index)
        if used is not None and not same(used, observation.robot_state):
            self.result.enter("robot state", f"of frame {index}", observation.robot_state, used)
        told = replace(observation, features=self._features.get(index), recent=self._recent.get(index, ()))
        action = self._policy_branch.decide(told)
        again = self._policy_branch.fault if action is None else action
        self.result.enter("action", f"on frame {index}", recorded, again)

    def _tick(self, now_s: float, what: dict[str, Any]) -> None:
        if what["robot_state"] is None:
            if what["verdict"]["rule"] != ROBOT:
                raise ValueError("a verdict of the gate without a robot")
            self.result.skipped["control periods without a robot"] += 1
            return
        if self._gate is None:
            raise ValueError("it does not say when its gate started")
        if "spacing" not in what:
            raise ValueError("it does not say which scale the gate was told")
        estimate = None if what["estimate"] is None else _again(self._estimates, what["estimate"], "estimate")
        # the operator's own, and the orders of a wiggle, are recorded here and nowhere else
        action: Action | None = what.get("hand") or what.get("wiggle")
        if action is None and what["action"] is not None:
            action = _again(self._actions, what["action"], "action")
        gate_input = GateInput(
            now_s,
            what["robot_state"],
            estimate,
            spacing=what["spacing"],
            faults=tuple(what["faults"]),
            stop=what["stop"],
            hold=what["hold"],
            by_hand=what["by_hand"],
        )
        if what.get("would") is not None:  # of a dry run
            _, would = self.gate.clear(self._gate, action, replace(gate_input, hold=None))
            self.result.enter("would-be verdict", f"at {now_s:.3f} s", what["would"], _as_recorded(would))
        self._gate, verdict = self.gate.clear(self._gate, action, gate_input)
        if what["verdict"].get("rule") == ROBOT:
            self.result.skipped["orders that the robot refused"] += 1
            return
        self.result.enter("verdict", f"at {now_s:.3f} s", what["verdict"], _as_recorded(verdict))


def _as_recorded(verdict: Cleared | Refused) -> Any:
    return revive(json.loads(json.dumps(encode(verdict))))


def _taken(frame: Frame, what: dict[str, Any]) -> tuple[Frame, RobotState | None, Point | None]:
    """A frame that the tracker took, what the robot said then, and where the tracker began anew, if it did."""
    start = what.get("start_px")
    return frame, what.get("robot_state"), None if start is None else (float(start[0]), float(start[1]))


def _keep(store: dict[int, Any], index: int, value: Any, kept: int = _KEPT) -> None:
    store[index] = value
    while len(store) > kept:
        del store[next(iter(store))]


def _again(store: dict[int, Any], index: int, kind: str) -> Any:
    """Get a value, and keep it for longer: it may be old but is in use. Raises ValueError if it is not there."""
    if index not in store:
        raise ValueError(f"the {kind} of frame {index} is missing")
    store[index] = store.pop(index)
    return store[index]


def _short(value: Any) -> str:
    said = str(encode(value))
    return said if len(said) <= 300 else said[:297] + "..."
