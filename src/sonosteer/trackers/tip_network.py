"""What a learnt tracker asks of its network, and the ONNX runtime that answers on any CPU.

A model is a folder: config.json, model.safetensors, template.onnx, search.onnx, graphs.json. The graphs hold no
these are read from the one safetensors file (16 or 32 bit) and computed with in 32 bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.registry import LazyTable

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
#: models that ship, by name
SHIPPED = ("edge",)


@dataclass(frozen=True, slots=True)
class Answer:
    """Candidates for the tip in a search crop: score, visible (K,) in 0..1; sd (K,), centre, size (K, 2) in crop
    units (0 at the left or upper edge, 1 at the other).
    """

    score: F32
    visible: F32
    sd: F32
    centre: F32
    size: F32


class TipNetwork(Protocol):
    """A trained network, whatever runs it. search_px, template_px: of the crops it takes, at scale_mm a pixel."""

    search_px: int
    template_px: int
    scale_mm: float

    def embed(self, template: U8) -> F32:
        """(T, T) -> what is kept of a template."""
        ...

    def respond(self, search: U8, kept: F32) -> Answer:
        """(2, S, S) crops of the previous and the present frame -> candidates."""
        ...


RUNTIMES = LazyTable(
    "runtime",
    {
        "onnx": "sonosteer.trackers.tip_network:OnnxNetwork",
        "torch": "sonosteer.learning.torch_network:load",
    },
)


def model_folder(name: str) -> Path:
    """Folder of a shipped model, or the folder of that name. InputError if there is neither."""
    folder = Path(str(resources.files("sonosteer"))) / "models" / name if name in SHIPPED else Path(name)
    if not folder.is_dir():
        shipped = ", ".join(SHIPPED)
        raise InputError(f"there is no model {name!r}: name a folder that sonosteer train made, or one of: {shipped}")
    return folder


class OnnxNetwork:
    """Runs a model's graphs with ONNX Runtime. MissingExtraError without it, InputError for what is no whole model."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        try:
            import onnxruntime
            from safetensors import SafetensorError
            from safetensors.numpy import load_file
        except ImportError:
            raise MissingExtraError("method vla", "onnxruntime and safetensors", "onnx") from None
        try:
            model = json.loads((folder / "config.json").read_text())["model"]
            self.search_px, self.template_px = int(model["search_px"]), int(model["template_px"])
            self.scale_mm = float(model["scale_mm"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise InputError(
                f"{folder / 'config.json'} is missing or of another model ({e!r}); train or copy it"
            ) from None
        path = folder / "model.safetensors"
        try:
            weights = {k: np.asarray(v, np.float32) for k, v in load_file(path).items()}
        except FileNotFoundError:
            raise InputError(f"{path} does not exist: the model's weights are missing; copy them there") from None
        except (SafetensorError, OSError) as e:
            raise InputError(f"{path} is damaged or no safetensors file ({e}); copy or train it again") from None
        self._values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in weights.items()}
        self._template = self._session(onnxruntime, folder / "template.onnx", threads)
        self._search = self._session(onnxruntime, folder / "search.onnx", threads)

    def _session(self, onnxruntime: Any, graph: Path, threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3
        try:
            names = json.loads((graph.parent / "graphs.json").read_text())[graph.name]
            options.add_external_initializers([f"net.{n}" for n in names], [self._values[n] for n in names])
            return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # noqa: BLE001  onnxruntime raises its own kinds, none of them public
            why = "it does not exist" if not graph.exists() else str(e).splitlines()[0]
            raise InputError(
                f"{graph} does not fit the weights beside it ({why}); export or copy the model again"
            ) from None

    def embed(self, template: U8) -> F32:
        """(T, T) uint8 -> (1, M, c)."""
        kept: F32 = self._template.run(None, {"template": template[None]})[0]
        return kept

    def respond(self, search: U8, kept: F32) -> Answer:
        """(2, S, S) uint8 -> candidates."""
        score, visible, sd, centre, size = self._search.run(None, {"search": search, "kept": kept})
        return Answer(score, visible, sd, centre, size)
