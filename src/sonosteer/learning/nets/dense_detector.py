"""A small dense network that finds needles: a picture and an earlier one in, a map of answers out.

None of this is published. It is a U-shaped network (O. Ronneberger et al., MICCAI 2015) whose answers have a quarter of
the input's resolution, with the tip as a heat map and an offset (X. Zhou et al., "Objects as points", 2019).

| channel | answer at each cell |
| --- | --- |
| 0 | logit: a shaft that a person could see |
| 1 | logit: a tip that a person could see |
| 2, 3 | x and y from the cell's middle to the tip, cells |
| 4, 5 | direction of the needle towards its tip, a vector of about unit length |
| 6 | logarithm of the shaft's width, natural, of input px |
| 7 | logit: if the tip is here, a person can see it |
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonosteer.core.errors import InputError
from sonosteer.datasets.detector_samples import UNSEEN, DetectorBatch
from sonosteer.imaging.detector_planes import PLANES, STEP_PX

ANSWERS = 8
NEAR_CELLS = 2.0  # chosen: answers about the tip are asked within this of it, cells
PRIOR = -4.0  # chosen: logit before training: a cell in fifty holds a tip or a shaft


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Shape of the network."""

    preset: str = "edge"
    """Name of the preset."""
    channels: tuple[int, int, int, int, int] = (16, 32, 64, 128, 256)
    """Number of channels at a half, a quarter, an eighth, a sixteenth and a 32nd of the input's resolution."""
    side_px: int = 320
    """Longer side that a picture is reduced to, px. A multiple of 32."""

    def __post_init__(self) -> None:
        if self.side_px < STEP_PX or self.side_px % STEP_PX:
            raise InputError(f"side_px of a detector is {self.side_px}, but must be a multiple of {STEP_PX}")
        if min(self.channels) < 1:
            raise InputError(f"channels of a detector are {self.channels}, but each must be 1 or more")


def _block(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _block(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class DenseDetector(nn.Module):
    """Planes (B, 3, H, W) -> answers (B, 8, H/4, W/4). H and W are multiples of 32."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter, *deep = config.channels
        self.stem = nn.Sequential(_block(PLANES, half, 2), _block(half, quarter, 2), _block(quarter, quarter))
        levels = [quarter, *deep]
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, 2), _Residual(b)) for a, b in pairwise(levels))
        self.middle = _Residual(levels[-1])
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(levels))
        self.mix = nn.ModuleList(_block(a, a) for a in levels[:-1])
        self.head = nn.Conv2d(quarter, ANSWERS, 1)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias[:2] = PRIOR

    def forward(self, planes: Tensor) -> Tensor:
        """Answers of every cell, as the module's table says."""
        x = self.stem(planes)
        kept = []
        for down in self.down:
            kept.append(x)
            x = down(x)
        x = self.middle(x)
        for lift, mix, there in zip(reversed(self.lift), reversed(self.mix), reversed(kept), strict=True):
            x = mix(F.interpolate(lift(x), scale_factor=2.0, mode="nearest") + there)
        out: Tensor = self.head(x)
        return out

    def groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for AdamW. Norms and biases do not decay."""
        decays = [p for p in self.parameters() if p.ndim > 1]
        rest = [p for p in self.parameters() if p.ndim <= 1]
        return [
            {"params": decays, "lr": lr, "base_lr": lr, "weight_decay": weight_decay},
            {"params": rest, "lr": lr, "base_lr": lr, "weight_decay": 0.0},
        ]


def detector_loss(answers: Tensor, batch: DetectorBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss, its parts by name) of the answers to a batch."""
    there = answers.device
    shaft, heat, tip, visible, direction, width = (
        torch.from_numpy(v).to(there)
        for v in (batch.shaft, batch.heat, batch.tip, batch.visible, batch.direction, batch.width)
    )
    cells = answers.shape[-1]
    on, asked = (shaft == 1).float(), (shaft != UNSEEN).float()
    parts = {"shaft": _shaft_loss(answers[:, 0], on, asked), "tip": _tip_loss(answers[:, 1], heat)}
    rows = torch.arange(cells, device=there, dtype=torch.float32)
    dx = torch.nan_to_num(tip[:, 0], nan=-1e4)[:, None, None] - rows[None, None, :]
    dy = torch.nan_to_num(tip[:, 1], nan=-1e4)[:, None, None] - rows[None, :, None]
    near = (dx * dx + dy * dy <= NEAR_CELLS**2).float()
    seen = near * visible[:, None, None]
    off = F.smooth_l1_loss(answers[:, 2], dx.expand_as(near), reduction="none", beta=0.5)
    off = off + F.smooth_l1_loss(answers[:, 3], dy.expand_as(near), reduction="none", beta=0.5)
    parts["offset"] = 0.3 * _mean(off, seen)
    line = torch.maximum(on, seen) * torch.isfinite(width).float()[:, None, None]  # of a label only the tip is known
    towards = torch.nan_to_num(direction)
    turned = (answers[:, 4:6] - towards[:, :, None, None]).square().sum(1)
    parts["direction"] = 0.3 * _mean(turned, line)
    wide = torch.log(torch.nan_to_num(width, nan=1.0).clamp(min=0.5))[:, None, None].expand_as(on)
    parts["width"] = 0.2 * _mean(F.smooth_l1_loss(answers[:, 6], wide, reduction="none", beta=0.3), line)
    can = F.binary_cross_entropy_with_logits(answers[:, 7], visible[:, None, None].expand_as(near), reduction="none")
    parts["visible"] = 0.2 * _mean(can, near)
    return torch.stack(list(parts.values())).sum(), parts


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / (weight.sum() + 1.0)


def _shaft_loss(logit: Tensor, on: Tensor, asked: Tensor) -> Tensor:
    """Cross entropy and overlap, where something is asked."""
    few = torch.tensor(3.0, device=logit.device)  # chosen: a shaft covers a few cells in a hundred
    bce = F.binary_cross_entropy_with_logits(logit, on, weight=asked, pos_weight=few)
    p = torch.sigmoid(logit) * asked
    both, total = (p * on).sum((1, 2)), p.sum((1, 2)) + on.sum((1, 2))
    return bce + 0.5 * (1 - (2 * both + 5) / (total + 5)).mean()


def _tip_loss(logit: Tensor, heat: Tensor) -> Tensor:
    """Focal loss of a heat map, a sum over the cells and a mean over the samples."""
    p = torch.sigmoid(logit).clamp(1e-5, 1 - 1e-5)
    asked = (heat >= 0).float()
    bell = heat.clamp(min=0)
    on = (bell > 0.8).float()  # chosen: within about a cell of the tip
    yes = on * (1 - p).square() * p.log()
    no = asked * (1 - on) * (1 - bell) ** 4 * p.square() * (1 - p).log()
    return -(yes + no).sum() / logit.shape[0] / 4
