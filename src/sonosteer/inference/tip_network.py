"""The network of a learned tracker: what it is asked, what it replies, and the ONNX runtime that answers on any CPU.

A model is a folder (`onnx_graphs.py`). It holds two graphs: template.onnx reads the template, search.onnx every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sonosteer.core.arrays import F32, U8
from sonosteer.core.errors import InputError
from sonosteer.core.registry import LazyTable
from sonosteer.inference.onnx_graphs import OnnxGraphs, model_folder, read_shape

#: longer side of the pictures that tracking networks learn on, mm: 512 pixels of 0.25 mm (set-up in-plane-convex)
TRAINED_SIDE_MM = 128.0


@dataclass(frozen=True, slots=True)
class TipReply:
    """Candidates for the tip in a search crop.

    Crop units run from 0 at the left or upper edge to 1 at the other. K is the number of candidates.
    """

    score: F32
    """How surely each candidate is the tip, (K,), 0 to 1."""
    visible: F32
    """How well the tip can be seen there, (K,), 0 to 1."""
    sd: F32
    """Scale of the error that the network expects, (K,), in crop units, no unit."""
    centre: F32
    """Place of each candidate, (K, 2), x and y in crop units, no unit."""
    size: F32
    """Width and height of the box around each candidate, (K, 2), in crop units, no unit."""
    features: F32 | None = None
    """What the encoder made of the crop: image tokens in raster order, then the register, (N + L, width), no unit.
    None from a network that does not hand them over."""


class TipNetwork(Protocol):
    """A trained tracking network, whatever runs it."""

    search_px: int
    """Side of the square search crop, px."""
    template_px: int
    """Side of the square template, px."""
    scale_mm: float
    """Size of a crop's pixel in training, mm. As a fraction of the longer side it is scale_mm / `TRAINED_SIDE_MM`."""

    def embed(self, template: U8) -> F32:
        """Read a template (T, T). Returns what `respond` needs of it."""
        ...

    def respond(self, search: U8, kept: F32) -> TipReply:
        """Find candidates in two crops (2, S, S): the previous and the present frame."""
        ...


#: what can run a tracking network, by name
TIP_RUNTIMES = LazyTable(
    "runtime",
    {
        "onnx": "sonosteer.inference.tip_network:OnnxTipNetwork",
        "torch": "sonosteer.learning.checkpoints.torch_tip_network:load_torch_tip_network",
    },
)


def load_tip_network(model: str = "edge", *, runtime: str = "onnx", threads: int = 1) -> TipNetwork:
    """Load a tracking network.

    model: name of a shipped model, or a folder. runtime: onnx or torch. Raises InputError if there is no such model
    or runtime.
    """
    network: TipNetwork = TIP_RUNTIMES.load(runtime)(model_folder(model), threads)
    return network


class OnnxTipNetwork:
    """Runs a tracking model with ONNX Runtime.

    Raises InputError if a file of the model is missing or damaged.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        model = read_shape(folder)
        try:
            self.search_px, self.template_px = int(model["search_px"]), int(model["template_px"])
            self.scale_mm = float(model["scale_mm"])
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(f"{folder / 'config.json'} is of another model ({e!r}); train or copy it") from None
        graphs = OnnxGraphs(folder, threads)
        self._template, self._search = graphs.session("template.onnx"), graphs.session("search.onnx")

    def embed(self, template: U8) -> F32:
        """Read a template (T, T) uint8. Returns tokens (1, M, c)."""
        kept: F32 = self._template.run(None, {"template": template[None]})[0]
        return kept

    def respond(self, search: U8, kept: F32) -> TipReply:
        """Find candidates in two crops (2, S, S) uint8."""
        # graphs exported before features were handed over give five outputs
        score, visible, sd, centre, size, *features = self._search.run(None, {"search": search, "kept": kept})
        return TipReply(score, visible, sd, centre, size, features[0] if features else None)
