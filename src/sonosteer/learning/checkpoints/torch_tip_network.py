"""A trained network run by PyTorch, behind the face that the tracker knows: for GPUs, and for nets without a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sonosteer.core.arrays import F32, U8
from sonosteer.inference.tip_network import TipReply
from sonosteer.learning.checkpoints.tracking import from_pretrained
from sonosteer.learning.nets.face import TipNet


class TorchNetwork:
    """Answers with `net` on its own device."""

    def __init__(self, net: TipNet, scale_mm: float) -> None:
        self.net, self.scale_mm = net.eval(), scale_mm
        self.search_px, self.template_px = net.search_px, net.template_px
        self._device = next(net.parameters()).device

    @torch.inference_mode()
    def embed(self, template: U8) -> F32:
        """(T, T) uint8 -> what the network keeps."""
        kept: F32 = self.net.embed(self._grey(template[None])).float().cpu().numpy()
        return kept

    @torch.inference_mode()
    def respond(self, search: U8, kept: F32) -> TipReply:
        """(2, S, S) uint8 -> candidates."""
        raw, told = self.net.respond_and_tell(self._grey(search), torch.from_numpy(np.array(kept)).to(self._device))
        score, centre, size, visible, sd = (v[0].float().cpu().numpy() for v in self.net.candidates(raw))
        return TipReply(score, visible, sd, centre, size, None if told is None else told[0].cpu().numpy())

    def _grey(self, crops: U8) -> torch.Tensor:
        return torch.from_numpy(np.array(crops)).to(self._device)[None].float() / 255


def load_torch_tip_network(folder: Path, threads: int = 1) -> TorchNetwork:
    """The network in a folder, on the GPU where there is one."""
    net = from_pretrained(folder)
    if torch.cuda.is_available():
        net = net.to("cuda")
    else:
        torch.set_num_threads(threads)
    return TorchNetwork(net, net.config.scale_mm)
