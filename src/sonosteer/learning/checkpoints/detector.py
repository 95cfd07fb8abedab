"""A needle detector on disk: a folder with config.json, model.safetensors, detector.onnx, its card and its curves."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonosteer.core.config import from_dict, parse_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.imaging.detector_planes import PLANES
from sonosteer.inference.needle_detector import DETECTOR_ARCHITECTURE, DETECTOR_GRAPH
from sonosteer.learning.checkpoints.graphs import GraphJob, write_graphs
from sonosteer.learning.checkpoints.tracking import CONFIG, WEIGHTS, read_weights
from sonosteer.learning.nets.dense_detector import DenseDetector, DetectorConfig


class _Whole(nn.Module):
    def __init__(self, net: DenseDetector) -> None:
        super().__init__()
        self.net = net

    def forward(self, planes: Tensor) -> Tensor:
        out: Tensor = self.net(planes)
        return out


def save_detector(net: DenseDetector, folder: Path, about: dict[str, Any], *, half: bool = False) -> None:
    """Write configuration, weights (half: convolutions in 16 bit), what was done to get them, and the graph.

    Raises MissingExtraError without onnx and onnxscript.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    said = {"architecture": DETECTOR_ARCHITECTURE, "model": to_dict(net.config), "about": about}
    (folder / CONFIG).write_text(json.dumps(said, indent=1) + "\n")
    state = {k: _stored(v, half) for k, v in net.state_dict().items() if v.is_floating_point()}
    fresh = folder / (WEIGHTS + ".new")
    save_file(state, fresh, metadata={"format": "pt", "preset": net.config.preset})
    fresh.chmod(0o644)
    fresh.replace(folder / WEIGHTS)
    side = net.config.side_px
    example = torch.zeros(1, PLANES, side, side)
    # sizes other than the example's: multiples of 32
    size = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    own = copy.deepcopy(net).to("cpu")  # the exporter puts it in another mode, and its example lies there
    job = GraphJob(DETECTOR_GRAPH, _Whole(own), (example,), ("planes",), ("answers",), {"planes": size})
    write_graphs(own, folder, [job])


def _stored(values: Tensor, half: bool) -> Tensor:
    """Only kernels lose little by 16 bit. Norms and biases are few."""
    kind = torch.float16 if half and values.ndim > 1 else torch.float32
    return values.detach().to("cpu", kind).contiguous()


def load_detector(folder: Path) -> tuple[DenseDetector, dict[str, Any]]:
    """(network, what was done). Raises InputError for what is no detector of ours."""
    train = "train one: sonosteer train detector"
    try:
        said = parse_json((folder / CONFIG).read_text(), folder / CONFIG)
        architecture, shape = said["architecture"], said["model"]
    except FileNotFoundError:
        raise InputError(f"{folder} holds no detector: it has no {CONFIG}; {train}") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{folder / CONFIG} is damaged or of another model ({e!r}); {train}") from None
    if architecture != DETECTOR_ARCHITECTURE:
        raise InputError(f"{folder} holds another model ({architecture}); {train}")
    net = DenseDetector(from_dict(DetectorConfig, shape, f"{folder / CONFIG}"))
    take_state(net, folder)
    return net.eval(), said.get("about", {})


def take_weights(net: DenseDetector, folder: Path) -> dict[str, Any]:
    """Take the weights of a saved detector of the same shape. Returns what it had done."""
    _, about = load_detector(folder)
    take_state(net, folder)
    return {"from": folder.name, "before": {k: v for k, v in about.items() if k in ("samples", "seconds", "before")}}


def take_state(net: DenseDetector, folder: Path) -> None:
    """Load the weights of a folder. Raises InputError if they are of another shape."""
    state, own = read_weights(folder / WEIGHTS), net.state_dict()
    wrong = [k for k, v in own.items() if v.is_floating_point() and (k not in state or state[k].shape != v.shape)]
    if wrong:
        raise InputError(f"{folder / WEIGHTS} holds the weights of another network: {wrong[0]} does not fit")
    net.load_state_dict({k: state[k].to(v.dtype) if v.is_floating_point() else v for k, v in own.items()})
