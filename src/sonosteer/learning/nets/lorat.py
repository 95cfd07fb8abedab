"""LoRAT: a frozen encoder with low-rank additions sees template and search as one sequence. MLPs read it out.

Source: L. Lin, H. Fan, Z. Zhang, Y. Wang, Y. Xu, H. Ling, "Tracking Meets LoRA: Faster Training, Larger Model, Stronger
Performance", ECCV 2024. LoRA: E. J. Hu et al., ICLR 2022.

| symbol | name here | shape |
| --- | --- | --- |
| W_0 x + B A x, A random, B zero to begin with | `LoraLinear`: `down` A, `up` B | (r, in), (out, r) |
| token type embedding: template's target, its ground, search | `kind` | (3, D) |
| position, shared: both count from their own upper left cell | the encoder's rotary tables | |
| classification, box | `classes`, `edges` | (B, K), (B, K, 4) |

Departs from the paper: the encoder is ours of stage 0 (`sonosteer train encoder`) instead of DINOv2, its position code
rotary and thus shared as it is. Rank 16 instead of 64. The template's target is a box in the middle. Visibility and
deviation beside the class. Without an encoder to start from, one with random weights is trained whole.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.core.errors import InputError
from sonosteer.learning.checkpoints.tracking import WEIGHTS, load_into, read_config, read_weights
from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget
from sonosteer.learning.nets.presets import TrackingConfig, tracking_preset
from sonosteer.learning.nets.qwen_vision import Geometry, RegisterVisionEncoder
from sonosteer.learning.nets.vla import VlaTracker

RANK = 16


class LoraLinear(nn.Module):
    """A linear layer and a low-rank addition that begins at zero."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(rank, base.in_features) * base.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        out: Tensor = self.base(x) + F.linear(F.linear(x, self.down), self.up)
        return out


class Lorat(TipNet):
    """The network of the paper.

    encoder: folder of a saved network, whose encoder is frozen. None: one of the preset's shape, trained whole.
    rank: of the additions. box: side of the target in the template, as a fraction of its side.
    """

    def __init__(
        self,
        search_px: int,
        template_px: int,
        encoder: Path | str | None = None,
        preset: str = "edge",
        rank: int = RANK,
        box: float = blocks.BOX_FRACTION,
    ) -> None:
        super().__init__()
        self.search_px, self.template_px, self.box = search_px, template_px, box
        self.encoder = stage0_encoder(search_px, template_px, encoder, preset)
        self.encoder.requires_grad_(encoder is None)
        add_lora(self.encoder.visual.blocks, rank)
        c = self.encoder.visual.config.hidden_size
        self.kind = nn.Parameter(0.02 * torch.randn(3, c))
        self.norm = nn.RMSNorm(c, eps=1e-6)
        self.classes = blocks.mlp_head(c, 3, sure=True, first=-2.0)  # score, visible, log sd
        self.edges = blocks.mlp_head(c, 4, sure=False)

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> template tokens with their type (B, M, D), in raster order. No block has seen them."""
        z = self.encoder.embed(blocks.two_frames(template))
        target = blocks.centre_mask(z.shape[-1], self.box, z).flatten()[:, None]
        return blocks.per_cell(z) + target * self.kind[0] + (1 - target) * self.kind[1]

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps score, visible and log_sd (B, K), ltrb (B, K, 4)."""
        x = self.encoder.embed(face.normalised_grey(search))
        side, side_z = int(x.shape[-1]), round(kept.shape[1] ** 0.5)
        g, g_z = (self.encoder.geometry(s, s, x.device) for s in (side, side_z))
        x = torch.cat([kept.to(x.dtype)[:, g_z.order], (blocks.per_cell(x) + self.kind[2])[:, g.order]], 1)
        x = self._through(x, g_z, g)[:, kept.shape[1] :][:, g.back]
        said = self.classes(x := self.norm(x))
        return {"score": said[..., 0], "visible": said[..., 1], "log_sd": said[..., 2], "ltrb": self.edges(x)}

    def _through(self, x: Tensor, g_z: Geometry, g: Geometry) -> Tensor:
        """Both as one sequence through the encoder's blocks, all of full attention."""
        both = dataclasses.replace(g, cos=torch.cat([g_z.cos, g.cos]), sin=torch.cat([g_z.sin, g.sin]))
        for block in self.encoder.visual.blocks:
            x = x + self.encoder._attend(block.attn, block.norm1(x), both, x.shape[1], full=True)
            x = x + block.mlp(block.norm2(x))
        return x

    def candidates(self, raw: Raw) -> Candidates:
        """Every cell is one."""
        return blocks.cell_candidates(raw)

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy with the box's IoU, GIoU loss within the box, visibility, deviation."""
        at, cands = blocks.cells(raw["ltrb"]), self.candidates(raw)
        inside = blocks.inside_box(at, target)
        gain, iou = blocks.overlaps(cands.centre, cands.size, target)
        each = F.binary_cross_entropy_with_logits(raw["score"], iou.detach() * inside, reduction="none")
        worth = torch.where(inside, target.weight[:, None], torch.ones_like(each))
        parts = {
            "score": (each * worth).sum() / inside.sum().clamp(min=1),
            "giou": blocks.mean_of(1 - gain, inside, target.weight),
        }
        parts |= face.seen_and_sure(raw, cands, target, blocks.nearest_cell(at, target))
        return torch.stack(list(parts.values())).sum(), parts


def stage0_encoder(
    search_px: int, template_px: int, folder: Path | str | None, preset_name: str
) -> RegisterVisionEncoder:
    """The encoder of a saved network, or one of a preset with random weights.

    Raises InputError if it cannot serve here.
    """
    config: TrackingConfig = tracking_preset(preset_name) if folder is None else read_config(Path(folder))[0]
    tower = config.tower
    if tower.stem != "conv" or not config.pair or len(tower.full_blocks) != tower.depth:
        raise InputError(
            f"lorat: preset {config.preset} has no encoder of two frames with a convolutional stem and full attention"
        )
    changed = dataclasses.replace(config, register=0, space="patch", search_px=search_px, template_px=template_px)
    net = VlaTracker(changed)
    if folder is not None:
        path = Path(folder) / WEIGHTS
        load_into(net, read_weights(path), path, only="encoder.")
    return net.encoder


def add_lora(layers: nn.Module, rank: int) -> None:
    """Replace every linear layer below by one with an addition."""
    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, LoraLinear(child, rank))


def make_lorat(search_px: int = 160, template_px: int = 64, **settings: Any) -> Lorat:
    """A network with random weights, or with the encoder of a folder. settings: as `Lorat` takes them."""
    return blocks.build_net(Lorat, search_px, template_px, settings)
