"""The tracking network of Zhang et al. 2026: a vision tower with a register, and a cross-depth-fusion head.

The template is encoded once a clip and kept reduced and fused. Each frame costs one pass of the search crop.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.core.config import from_dict
from sonosteer.learning.nets import face, presets
from sonosteer.learning.nets.cdf_head import CrossDepthFusionHead
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget
from sonosteer.learning.nets.presets import TrackingConfig
from sonosteer.learning.nets.qwen_vision import ConvStem, Encoded, RegisterVisionEncoder

#: mean and deviation of the library's image processor, of the grey that three equal channels make
QWEN_MEAN, QWEN_SD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class VlaTracker(TipNet):
    """The network of a configuration, with random weights."""

    def __init__(self, config: TrackingConfig, visual: Any = None) -> None:
        super().__init__()
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

        self.config = config
        self.search_px, self.template_px = config.search_px, config.template_px
        tower = config.tower
        if visual is None:
            visual = Qwen2_5_VisionTransformerPretrainedModel(tower.library_config())
        stem: nn.Module | None = None
        if tower.stem == "conv":
            stem = ConvStem(2 if config.pair else 1, tower.width, tower.patch)
            visual.patch_embed = nn.Identity()  # never used beside a stem: nothing to store
        if config.space == "patch":
            visual.merger = nn.Identity()
        self.encoder = RegisterVisionEncoder(visual, config.register, config.shallow_block, config.register_mode, stem)
        width = tower.width if config.space == "patch" else tower.out
        self.head = CrossDepthFusionHead(
            width, config.c, config.heads, config.fusion, config.taps, register=config.register > 0
        )

    def freeze_encoder(self) -> None:
        """Stage 1: only register and head learn."""
        for name, p in self.encoder.named_parameters():
            p.requires_grad_(name == "register")

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> fused template tokens (B, M, c)."""
        shallow, deep, _, _ = self._read(self._encode(template, template))
        return self.head.fused(shallow, deep)

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps score, visible and log_sd (B, K), box (B, K, 4)."""
        return self.respond_and_tell(search, kept)[0]

    def respond_and_tell(self, search: Tensor, kept: Tensor) -> tuple[Raw, Tensor]:
        """The maps, and the last block's tokens of the image in raster order and of the register: (B, N + L, width)."""
        seen = self._encode(search[:, 1:], search[:, :1])
        shallow, deep, register, grid = self._read(seen)
        step = self.config.tower.patch * (1 if self.config.space == "patch" else self.config.tower.merge)
        side = self.template_px // step
        maps = self.head(self.head.fused(shallow, deep), register, kept, grid, (side, side)).float()
        per_cell = maps.flatten(2).transpose(1, 2)
        raw = {
            "score": per_cell[..., 0],
            "box": per_cell[..., 1:5],
            "visible": per_cell[..., 5],
            "log_sd": per_cell[..., 6],
        }
        return raw, _told(seen)

    def features(self, search: Tensor) -> Tensor:
        """What `respond_and_tell` tells beside the maps, without them."""
        return _told(self._encode(search[:, 1:], search[:, :1]))

    def _encode(self, now: Tensor, before: Tensor) -> Encoded:
        config = self.config
        frames = [before, now] if config.pair else [now]
        if config.tower.stem == "conv":
            image = torch.cat([face.normalised_grey(f) for f in frames], 1)
        else:
            mean = now.new_tensor(QWEN_MEAN)[None, :, None, None]
            sd = now.new_tensor(QWEN_SD)[None, :, None, None]
            image = torch.cat([(f - mean) / sd for f in frames], 1)
        image = image.to(next(self.encoder.visual.blocks.parameters()).dtype)
        seen: Encoded = self.encoder(image)
        return seen

    def _read(self, seen: Encoded) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
        """(shallow, deep, register, grid) in the space that the head reads."""
        config = self.config
        if config.space == "patch":
            return seen.shallow, seen.deep, seen.register, seen.grid
        m = config.tower.merge
        shallow, deep, register = self.encoder.merged(seen)
        return shallow, deep, register, (seen.grid[0] // m, seen.grid[1] // m)

    def _centres_and_sizes(self, box: Tensor) -> tuple[Tensor, Tensor]:
        k = box.shape[1]
        side = round(k**0.5)
        offset = (box[..., :2].sigmoid() * 2 - 1) / side
        return face.cell_centres(side, side, box) + offset, box[..., 2:].sigmoid()

    def candidates(self, raw: Raw) -> Candidates:
        """Every cell is one."""
        centre, size = self._centres_and_sizes(raw["box"])
        return Candidates(raw["score"].sigmoid(), centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Focal loss on a Gaussian around the tip's cell, 2 GIoU, 5 L1, visibility, deviation."""
        side = round(raw["score"].shape[1] ** 0.5)
        cell = face.cell_of(target.centre, side, side)
        parts = {"score": focal_on_centre(raw["score"], target, side)}
        cands = self.candidates(raw)
        centre, size = face.pick(cands.centre, cell), face.pick(cands.size, cell)
        worth = target.present * target.weight
        gain, _ = face.giou(face.as_corners(centre, size), face.as_corners(target.centre, target.size))
        parts["giou"] = 2 * ((1 - gain) * worth).mean()
        parts["l1"] = 5 * (((centre - target.centre).abs() + (size - target.size).abs()).sum(1) * worth).mean()
        parts |= face.seen_and_sure(raw, cands, target, cell)
        return torch.stack(list(parts.values())).sum(), parts


def _told(seen: Encoded) -> Tensor:
    return torch.cat([seen.deep, seen.register], 1).float()


def focal_on_centre(logit: Tensor, target: TipTarget, side: int) -> Tensor:
    """Penalty-reduced focal loss (Law and Deng, CornerNet, 2018): the tip's cell is 1, its neighbours are forgiven."""
    cell = face.cell_of(target.centre, side, side)
    at = face.cell_centres(side, side, logit)
    middle = at[cell]
    near = torch.exp(-((at[None] - middle[:, None]) ** 2).sum(-1) * side**2 / 2) * target.present[:, None]
    hit = (near > 0.999).to(logit.dtype)
    log_p, log_not = F.logsigmoid(logit), F.logsigmoid(-logit)
    p = log_p.exp()
    worth = target.weight[:, None]
    each = hit * (1 - p) ** 2 * log_p * worth + (1 - hit) * (1 - near) ** 4 * p**2 * log_not
    return -each.sum(1).mean()


def make_vla_tracker(
    search_px: int = 160, template_px: int = 64, *, preset: str = "edge", **settings: Any
) -> VlaTracker:
    """A preset with random weights. settings: fields of its configuration.

    Raises InputError for a field that it does not have.
    """
    config = presets.tracking_preset(preset)
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    changes = {**settings, "search_px": search_px, "template_px": template_px}
    return VlaTracker(from_dict(TrackingConfig, fields | changes, "model"))
