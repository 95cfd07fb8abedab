"""A model's folder, and its graphs in ONNX Runtime.

The folder holds config.json, model.safetensors, graphs without weights, and graphs.json. graphs.json names the weights
of each graph. They are read from the one safetensors file (16 or 32 bit) and computed with in 32 bit. So PyTorch and
ONNX Runtime use the same numbers.
"""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.config import parse_json
from sonosteer.core.errors import InputError

#: names of the models that come with the package
SHIPPED_MODELS = ("edge", "detector")


def shipped_folder(name: str) -> Path | None:
    """Folder of a shipped model. None for any other name."""
    return Path(str(resources.files("sonosteer"))) / "models" / name if name in SHIPPED_MODELS else None


def model_folder(name: str) -> Path:
    """Find the folder of a model. Raises InputError if it is neither a shipped model nor a folder."""
    folder = shipped_folder(name) or Path(name)
    if not folder.is_dir():
        shipped = ", ".join(SHIPPED_MODELS)
        raise InputError(f"there is no model {name!r}: name a folder that sonosteer train made, or one of: {shipped}")
    return folder


def read_shape(folder: Path) -> dict[str, Any]:
    """Read the shape of a model from its config.json. Raises InputError if the file is missing or of another model."""
    path = folder / "config.json"
    try:
        said = parse_json(path.read_text(), path)
        return {**said["model"], "architecture": said["architecture"]}
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} is missing or of another model ({e!r}); train or copy it") from None


class OnnxGraphs:
    """The weights of a folder in memory, ready for its graphs.

    Raises InputError if the weights are missing or damaged.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # nothing leaves the machine, and no line about it comes
        import onnxruntime
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        self.folder, self._runtime, self._threads = folder, onnxruntime, threads
        path = folder / "model.safetensors"
        try:
            weights: dict[str, NDArray[np.float32]] = {k: np.asarray(v, np.float32) for k, v in load_file(path).items()}
        except FileNotFoundError:
            raise InputError(f"{path} does not exist: the model's weights are missing; copy them there") from None
        except (SafetensorError, OSError) as e:
            raise InputError(f"{path} is damaged or no safetensors file ({e}); copy or train it again") from None
        self._values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in weights.items()}

    def session(self, name: str) -> Any:
        """Load a graph of the folder. Raises InputError if it does not fit the weights."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self._threads
        options.log_severity_level = 3
        graph = self.folder / name
        try:
            names = json.loads((self.folder / "graphs.json").read_text())[name]
            options.add_external_initializers([f"net.{n}" for n in names], [self._values[n] for n in names])
            return self._runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # noqa: BLE001  the exceptions of onnxruntime are not public
            why = "it does not exist" if not graph.exists() else str(e).splitlines()[0]
            raise InputError(
                f"{graph} does not fit the weights beside it ({why}); export or copy the model again"
            ) from None
