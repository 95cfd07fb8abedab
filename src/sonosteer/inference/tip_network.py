"""What a learnt tracker asks of its network, and the ONNX runtime that answers on any CPU.

A model is a folder (`models/graphs.py`) with two graphs: template.onnx for the template, search.onnx for every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sonosteer.core.arrays import F32, U8
from sonosteer.core.errors import InputError
from sonosteer.core.registry import LazyTable
from sonosteer.inference.graphs import Graphs, read_model
from sonosteer.inference.graphs import model_folder as model_folder


@dataclass(frozen=True, slots=True)
class Answer:
    """Candidates for the tip in a search crop: score, visible (K,) in 0..1; sd (K,), centre, size (K, 2) in crop
    units (0 at the left or upper edge, 1 at the other). features: what the vision encoder made of the search crop, its
    last block's image tokens in raster order, then its register (N + L, width); None where a network does not say.
    """

    score: F32
    visible: F32
    sd: F32
    centre: F32
    size: F32
    features: F32 | None = None


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
        "onnx": "sonosteer.inference.tip_network:OnnxNetwork",
        "torch": "sonosteer.learning.checkpoints.torch_tip_network:load",
    },
)


class OnnxNetwork:
    """Runs a model's graphs with ONNX Runtime. MissingExtraError without it, InputError for what is no whole model."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        model = read_model(folder)
        try:
            self.search_px, self.template_px = int(model["search_px"]), int(model["template_px"])
            self.scale_mm = float(model["scale_mm"])
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(f"{folder / 'config.json'} is of another model ({e!r}); train or copy it") from None
        graphs = Graphs(folder, "method vla", threads)
        self._template, self._search = graphs.session("template.onnx"), graphs.session("search.onnx")

    def embed(self, template: U8) -> F32:
        """(T, T) uint8 -> (1, M, c)."""
        kept: F32 = self._template.run(None, {"template": template[None]})[0]
        return kept

    def respond(self, search: U8, kept: F32) -> Answer:
        """(2, S, S) uint8 -> candidates."""
        # a graph exported before features were handed over gives five outputs
        score, visible, sd, centre, size, *features = self._search.run(None, {"search": search, "kept": kept})
        return Answer(score, visible, sd, centre, size, features[0] if features else None)
