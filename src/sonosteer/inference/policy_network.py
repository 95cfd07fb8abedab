"""The network of the learned policy: what it is asked, what it replies, and the ONNX runtime that answers on any CPU.

A policy is a folder (`onnx_graphs.py`) with two graphs and a vocabulary. prefix.onnx reads the instruction once an
episode. action.onnx reads the tracker's features and the inputs once an action. It starts from the keys and values
that prefix.onnx left.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError
from sonosteer.core.registry import LazyTable
from sonosteer.inference.onnx_graphs import OnnxGraphs, read_shape, shipped_folder
from sonosteer.inference.prompt import TOKENIZER, read_vocabulary

#: version of the policy's inputs and outputs: 1 gave the angle itself, 2 gives a turn
ARCHITECTURE = "sonosteer-vla-policy-2"
#: folder of a policy inside the folder of the tracker whose features it reads
POLICY_FOLDER = "policy"


@dataclass(frozen=True, slots=True)
class PolicyReply:
    """An action as the network gives it."""

    places: tuple[float, float, float]
    """Where each number lies in its range of `ACTION_RANGES`, 0 to 1."""
    stop: float
    """How surely the insertion is to stop, 0 to 1."""


class PolicyNetwork(Protocol):
    """A trained policy network, whatever runs it."""

    features_shape: tuple[int, int]
    """Shape (N + L, width) of the tracker's features that it reads: number of tokens, number of channels."""

    def begin(self, text: str) -> F32:
        """Read an instruction. Returns what `act` needs of it."""
        ...

    def act(self, prefix: F32, features: F32, numbers: F32) -> PolicyReply:
        """Choose an action from what `begin` returned, the tracker's features and the encoded inputs (0 to 1)."""
        ...


#: what can run a policy network, by name
POLICY_RUNTIMES = LazyTable(
    "runtime",
    {
        "onnx": "sonosteer.inference.policy_network:OnnxPolicyNetwork",
        "torch": "sonosteer.learning.checkpoints.torch_policy_network:load_torch_policy",
    },
)


def load_policy_network(model: str = "edge", *, runtime: str = "onnx", threads: int = 1) -> PolicyNetwork:
    """Load a policy network.

    model: name of a shipped model, or a folder. runtime: onnx or torch. Raises InputError if there is no such policy
    or runtime.
    """
    network: PolicyNetwork = POLICY_RUNTIMES.load(runtime)(policy_folder(model), threads)
    return network


def policy_folder(name: str) -> Path:
    """Find the folder of a policy.

    name: a shipped model, a policy's own folder, or the folder of a tracker with a policy inside. Raises InputError if
    there is none.
    """
    shipped = shipped_folder(name)
    folder = Path(name) if shipped is None else shipped / POLICY_FOLDER
    if shipped is None and (folder / POLICY_FOLDER).is_dir():
        folder = folder / POLICY_FOLDER
    if not folder.is_dir():
        raise InputError(f"there is no policy {name!r}: name a folder that sonosteer train policy made")
    return folder


class OnnxPolicyNetwork:
    """Runs a policy with ONNX Runtime.

    Raises InputError if a file of the policy is missing or damaged.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        model = read_shape(folder)
        try:
            if model["architecture"] != ARCHITECTURE:
                raise ValueError(model["architecture"])
            self._tokens, decode = int(model["text_tokens"]), str(model["decode"])
            seen = model["features"]
            rows, columns = seen["grid"]
            self.features_shape = (int(rows) * int(columns) + int(seen["register"]), int(seen["width"]))
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(
                f"{folder / 'config.json'} is of another model ({e!r}); name a folder that sonosteer train policy made"
            ) from None
        if decode != "parallel":
            raise InputError(f"{folder} decodes as {decode!r}, which has no graph: run it with runtime torch")
        self._vocabulary = read_vocabulary(folder / TOKENIZER)
        graphs = OnnxGraphs(folder, threads)
        self._prefix, self._action = graphs.session("prefix.onnx"), graphs.session("action.onnx")

    def begin(self, text: str) -> F32:
        """Read an instruction. Returns keys and values, (layers, 2, 1, heads, tokens, width of a head)."""
        ids = np.array([self._vocabulary.encode(text)], np.int64)
        if ids.shape[1] != self._tokens:
            raise InputError(f"the instruction has {ids.shape[1]} tokens, but this policy reads {self._tokens}: {text}")
        kept: F32 = self._prefix.run(None, {"ids": ids})[0]
        return kept

    def act(self, prefix: F32, features: F32, numbers: F32) -> PolicyReply:
        """Choose an action."""
        given = {"prefix": prefix, "features": features, "numbers": numbers}
        places, stop = self._action.run(None, given)
        angle, insertion, probe = places.tolist()
        return PolicyReply((angle, insertion, probe), float(stop))
