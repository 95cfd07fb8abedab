"""Exports a network as ONNX graphs without weights. The weights stay in model.safetensors and are put in on loading.

template.onnx: template (1, T, T) uint8 -> kept (1, M, c). search.onnx: search (2, S, S) uint8 and kept ->
candidates score, visible, sd (K,), centre, size (K, 2), in crop units, and features (N + L, width) for a policy.
graphs.json: which weights each graph needs.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonosteer.core.errors import MissingExtraError
from sonosteer.learning.nets.face import TipNet

TEMPLATE, SEARCH, GRAPHS = "template.onnx", "search.onnx", "graphs.json"
OUTPUTS = ("score", "visible", "sd", "centre", "size", "features")


@dataclass(frozen=True, slots=True)
class GraphJob:
    """One graph to write."""

    name: str
    """File name of the graph."""
    module: nn.Module
    """Module to export. It holds the network as `net`."""
    example: tuple[Any, ...]
    """Example of what goes in, a value an input."""
    inputs: tuple[str, ...]
    """Names of the inputs."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    sizes: Mapping[str, Mapping[int, Any]] | None = None
    """Of each argument of the module by name: which of its dimensions may differ from the example's. None: none."""


class _Template(nn.Module):
    def __init__(self, net: TipNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, template: Tensor) -> Tensor:
        return self.net.embed(template[None].float() / 255)


class _Search(nn.Module):
    def __init__(self, net: TipNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, search: Tensor, kept: Tensor) -> tuple[Tensor, ...]:
        raw, told = self.net.respond_and_tell(search[None].float() / 255, kept)
        found = self.net.candidates(raw)
        out = (found.score[0], found.visible[0], found.sd[0], found.centre[0], found.size[0])
        return out if told is None else (*out, told[0])


def export_onnx(net: TipNet, folder: Path) -> None:
    """Write template.onnx and search.onnx beside the weights. Raises MissingExtraError without onnx and onnxscript."""
    net.eval()
    template = torch.zeros(1, net.template_px, net.template_px, dtype=torch.uint8)
    search = torch.zeros(2, net.search_px, net.search_px, dtype=torch.uint8)
    with torch.no_grad():  # once by hand: the exporter cannot look into how the library lays out its windows
        kept = net.embed(template[None].float() / 255)
        _, told = net.respond_and_tell(search[None].float() / 255, kept)
    outputs = OUTPUTS if told is not None else OUTPUTS[:-1]
    jobs = [
        GraphJob(TEMPLATE, _Template(net), (template,), ("template",), ("kept",)),
        GraphJob(SEARCH, _Search(net), (search, kept), ("search", "kept"), outputs),
    ]
    write_graphs(net, folder, jobs)


def write_graphs(net: nn.Module, folder: Path, jobs: Sequence[GraphJob]) -> None:
    """Write the graphs of a network, and graphs.json. Raises MissingExtraError without onnx and onnxscript."""
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError:
        raise MissingExtraError("exporting to ONNX", "onnx and onnxscript", "vla") from None
    needs: dict[str, list[str]] = {}
    for job in jobs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                job.module.eval(),
                job.example,
                input_names=list(job.inputs),
                output_names=list(job.outputs),
                dynamo=True,
                dynamic_shapes=None if job.sizes is None else dict(job.sizes),
                optimize=False,
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
        stored = {f"net.{key}" for key in net.state_dict()}
        needs[job.name] = sorted(t.name.removeprefix("net.") for t in model.graph.initializer if t.name in stored)
        for tensor in model.graph.initializer:
            if tensor.name in stored:
                _take_out(onnx, tensor)
        _forget_where_it_came_from(model)
        onnx.save(model, folder / job.name)
    (folder / GRAPHS).write_text(json.dumps(needs) + "\n")


def _take_out(onnx: Any, tensor: Any) -> None:
    """Leave a tensor's name, type and shape. Its values come from elsewhere."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", "model.safetensors"), ("offset", "0"), ("length", "0")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _forget_where_it_came_from(model: Any) -> None:
    """Stack traces and notes of the exporter make nine tenths of a graph's size."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del model.graph.value_info[:]
