"""`vla`: Paper V's policy, a language model that reads what the tracker's encoder sees, an instruction, the robot.

Source: Paper V, Section III-F (uncertainty-aware control policy); the network is in `learning/nets/policy.py`, its
numbers in `vla_numbers.py`, its words in `vla_words.py`. It needs a tracker that hands over features (`vla`).
Departs from the paper, all ours: an answer that is not a number and a tip that is lost mean zero speed; numbers are
held to their ranges; [STOP] needs a probability of `stop_at` and is final; the needle's roll stays where it was first
read, since the paper's action does not say it; theta is said as the turn from where the needle points.

| symbol | name here | unit |
| --- | --- | --- |
| a = (theta, v_i, v_p) or [STOP] | `PolicyReply` | places 0..1 in `ACTION_RANGES`: turn in deg, mm/s, mm/s |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sonosteer.core.arrays import F32
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Lost, Observation, Task
from sonosteer.inference.action_encoding import ACTION_RANGES, INPUT_RANGES, encode_inputs, forward
from sonosteer.inference.policy_network import PolicyNetwork, load_policy_network
from sonosteer.inference.prompt import instruction
from sonosteer.policies.geometry import check_task, known
from sonosteer.policies.orders import Axes, order, stay


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What vla remembers of an episode. prefix: of the instruction. axes: as last ordered. stopped: it is over."""

    task: Task
    prefix: F32
    axes: Axes | None = None
    stopped: bool = False

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class Vla:
    """model: "edge", which ships, or a folder that `sonosteer train policy` made. runtime: onnx or torch.

    lifetime_s: from a frame's capture to the expiry of what was decided on it. stop_at: probability from which on the
    procedure is over; chosen on validation scenes. network: instead of a model's.
    """

    model: str = "edge"
    runtime: str = "onnx"
    threads: int = 1
    lifetime_s: float = 0.35
    stop_at: float = 0.85
    network: Any = field(default=None, repr=False, compare=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_finite(self, "vla")
        check_range(self, "vla", 0.0, 1.0, "stop_at")
        check_range(self, "vla", 0.01, 2.0, "lifetime_s")

    def net(self) -> PolicyNetwork:
        """The network, loaded when it is first asked for. InputError for a policy that is not there."""
        if self.network is not None:
            given: PolicyNetwork = self.network
            return given
        if "net" not in self._made:
            self._made["net"] = load_policy_network(self.model, runtime=self.runtime, threads=self.threads)
        made: PolicyNetwork = self._made["net"]
        return made

    def prepare(self) -> None:
        """Load the policy and let it act once."""
        net = self.net()
        state = self.start(Task((0.0, 0.0), "in-plane-static", 0.5, "left", Spacing(0.2, 0.2)))
        net.act(state.prefix, np.zeros(net.features_shape, np.float32), np.full(len(INPUT_RANGES), 0.5, np.float32))

    def start(self, task: Task) -> State:
        """Read the instruction; this takes as long as some actions, and is done once."""
        return State(check_task(task), self.net().begin(instruction(task)))

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """One action. InputError if the tracker hands over no features, or those of another network."""
        axes = stay(state.axes, observation.robot_state, state.task)
        state = replace(state, axes=axes)
        seen = observation.estimate
        if state.stopped or isinstance(seen, Lost) or not known(observation):
            return state, self._dated(order(observation, axes, stop=state.stopped))
        reply = self.net().act(state.prefix, self._features(observation), encode_inputs(state.task, observation, seen))
        if not all(map(math.isfinite, (*reply.places, reply.stop))):
            return state, self._dated(order(observation, axes))
        if reply.stop >= self.stop_at:
            return replace(state, stopped=True), self._dated(order(observation, axes, stop=True))
        turn, insertion, probe = (r.value(min(max(p, 0.0), 1.0)) for r, p in zip(ACTION_RANGES, reply.places, strict=True))
        now = observation.robot_state.angle_rad
        axes = replace(axes, angle_rad=now + math.radians(turn))
        wanted = order(observation, axes, insertion, (forward(state.task) * probe, 0.0, 0.0))
        return replace(state, axes=axes), self._dated(wanted)

    def _dated(self, action: Action) -> Action:
        if action.command.expired(action.capture_time_s):
            return action
        lasting = replace(action.command, expires_at_s=action.capture_time_s + self.lifetime_s)
        return replace(action, command=lasting)

    def _features(self, observation: Observation) -> F32:
        features, wanted = observation.features, self.net().features_shape
        if features is None:
            raise InputError(
                "policy vla reads what the tracker's network sees, but this tracker hands over nothing: track with "
                "vla, with a model whose graphs were exported by this version"
            )
        if features.shape != wanted:
            raise InputError(
                f"policy vla reads features of shape {wanted}, but the tracker hands over {features.shape}: use the "
                "tracker that the policy was trained with"
            )
        return features
