"""`vla`: the learned policy, a language model that reads the tracker's features, an instruction and the robot's state.

Reference: Zhang et al. 2026, Section III-F (uncertainty-aware control policy). The network is in
`learning/nets/policy.py`, its numbers are in `inference/action_encoding.py`, its words in `inference/prompt.py`. The
tracker must give features, as `vla` does.

| symbol | name here | unit |
| --- | --- | --- |
| a = (theta, v_i, v_p) or [STOP] | `PolicyReply` | 0 to 1 within `ACTION_RANGES`: turn in deg, mm/s, mm/s |

Departs from the paper: an answer that is not a number means zero speed, and so does a lost tip. Numbers are clipped to
their ranges. [STOP] needs a probability of `stop_at` and is final. The roll of the needle stays where it was first
read, because the paper's action does not contain it. theta is the turn from where the needle points now.
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
class VlaState:
    """What `vla` remembers of an episode."""

    task: Task
    """What is to be done."""
    prefix: F32
    """The instruction as the network has read it, no unit."""
    axes: Axes | None = None
    """Angle and roll as last ordered. None before the first step."""
    stopped: bool = False
    """True once the procedure is over."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class VlaPolicy:
    """The policy `vla`."""

    model: str = "edge"
    """The model "edge", which ships, or a folder that `sonosteer train policy` made."""
    runtime: str = "onnx"
    """What runs the network: "onnx" or "torch"."""
    threads: int = 1
    """Number of threads of the network."""
    lifetime_s: float = 0.35  # chosen: as the scripted policies. The gate allows 0.5
    """Time from a frame's capture to the expiry of its action, s."""
    stop_at: float = 0.85  # chosen: on validation scenes
    """Probability of [STOP] from which the procedure is over. 0 to 1."""
    network: Any = field(default=None, repr=False, compare=False)
    """A network of your own, used instead of the model's."""
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_finite(self, "vla")
        check_range(self, "vla", 0.0, 1.0, "stop_at")
        check_range(self, "vla", 0.01, 2.0, "lifetime_s")

    def net(self) -> PolicyNetwork:
        """Return the network, and load it when first asked for. Raises InputError if the policy does not exist."""
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

    def start(self, task: Task) -> VlaState:
        """Read the instruction. This is done once and takes as long as a few actions."""
        return VlaState(check_task(task), self.net().begin(instruction(task)))

    def step(self, state: VlaState, observation: Observation) -> tuple[VlaState, Action]:
        """Decide on one action. Raises InputError if the tracker gives no features, or those of another network."""
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
        turn, insertion, probe = (
            r.value(min(max(p, 0.0), 1.0)) for r, p in zip(ACTION_RANGES, reply.places, strict=True)
        )
        now = observation.robot_state.insertion_angle_rad
        axes = replace(axes, angle_rad=now + math.radians(turn))
        wanted = order(observation, axes, insertion, (forward(state.task) * probe, 0.0, 0.0))
        return replace(state, axes=axes), self._dated(wanted)

    def _dated(self, action: Action) -> Action:
        """Give an action its lifetime, unless it has expired already."""
        if action.command.expired(action.capture_time_s):
            return action
        lasting = replace(action.command, expires_at_s=action.capture_time_s + self.lifetime_s)
        return replace(action, command=lasting)

    def _features(self, observation: Observation) -> F32:
        """Return the features of the frame. Raises InputError if they do not fit the network."""
        features, wanted = observation.features, self.net().features_shape
        if features is None:
            raise InputError(
                "policy vla reads the features of the tracker's network, but this tracker gives none. Track with vla, "
                "with a model whose graphs were exported by this version"
            )
        if features.shape != wanted:
            raise InputError(
                f"policy vla reads features of shape {wanted}, but the tracker gives {features.shape}. Use the "
                "tracker that the policy was trained with"
            )
        return features
