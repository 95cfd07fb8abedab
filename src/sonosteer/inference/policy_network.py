"""What the learnt policy asks of its network, and the ONNX runtime that answers on any CPU.

A policy is a folder (`models/graphs.py`) with two graphs and its words: prefix.onnx reads the instruction, once an
episode; action.onnx reads what is seen and the numbers, once an action, on the keys and values that prefix.onnx left.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError
from sonosteer.core.registry import LazyTable
from sonosteer.inference.graphs import Graphs, read_model, shipped_folder
from sonosteer.inference.prompt import TOKENIZER, read_words

ARCHITECTURE = "sonosteer-vla-policy-2"  # 1 said the angle itself instead of a turn
#: folder of a policy beside the tracker whose features it reads
BESIDE = "policy"


@dataclass(frozen=True, slots=True)
class Reply:
    """An action as the network says it: places 0..1 in the ranges of `ACTIONS`, and how surely it is to stop, 0..1."""

    places: tuple[float, float, float]
    stop: float


class PolicyNetwork(Protocol):
    """A trained network, whatever runs it. features_shape: (N + L, width) of what it reads from the tracker."""

    features_shape: tuple[int, int]

    def begin(self, text: str) -> F32:
        """What is kept of an instruction."""
        ...

    def act(self, prefix: F32, features: F32, numbers: F32) -> Reply:
        """The kept instruction, what the tracker's encoder saw, numbers 0..1 -> an action."""
        ...


RUNTIMES = LazyTable(
    "runtime",
    {
        "onnx": "sonosteer.inference.policy_network:OnnxPolicyNetwork",
        "torch": "sonosteer.learning.checkpoints.torch_policy_network:load",
    },
)


def policy_folder(name: str) -> Path:
    """Folder of a policy: of a shipped model, a folder itself, or the one beside a tracker. InputError without one."""
    shipped = shipped_folder(name)
    folder = Path(name) if shipped is None else shipped / BESIDE
    if shipped is None and (folder / BESIDE).is_dir():
        folder = folder / BESIDE
    if not folder.is_dir():
        raise InputError(f"there is no policy {name!r}: name a folder that sonosteer train policy made")
    return folder


class OnnxPolicyNetwork:
    """Runs a policy's graphs with ONNX Runtime. MissingExtraError without it, InputError for what is not whole."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        model = read_model(folder)
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
        self._words = read_words(folder / TOKENIZER)
        graphs = Graphs(folder, "policy vla", threads)
        self._prefix, self._action = graphs.session("prefix.onnx"), graphs.session("action.onnx")

    def begin(self, text: str) -> F32:
        """Keys and values of the instruction: (layers, 2, 1, heads, tokens, width of a head)."""
        ids = np.array([self._words.encode(text)], np.int64)
        if ids.shape[1] != self._tokens:
            raise InputError(f"the instruction has {ids.shape[1]} tokens, but this policy reads {self._tokens}: {text}")
        kept: F32 = self._prefix.run(None, {"ids": ids})[0]
        return kept

    def act(self, prefix: F32, features: F32, numbers: F32) -> Reply:
        """One action."""
        given = {"prefix": prefix, "features": features, "numbers": numbers}
        places, stop = self._action.run(None, given)
        angle, insertion, probe = places.tolist()
        return Reply((angle, insertion, probe), float(stop))
