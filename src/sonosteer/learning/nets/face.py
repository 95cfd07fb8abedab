"""What every tracking network here looks like from outside: template once, then two frames at a time.

All are trained and run on the same crops: a template around the tip in an earlier frame, and a search crop cut at the
same place from the previous and from the present frame (two channels). They answer with candidates: places with a
score, a box, a visibility and a standard deviation.

Places and lengths are in crop units: 0 at the crop's left or upper edge, 1 at the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Raw = dict[str, Tensor]
#: chosen: mean and standard deviation of the grey levels of training crops
GREY_MEAN, GREY_SD = 0.25, 0.2


@dataclass(frozen=True, slots=True)
class TipTarget:
    """What a network should have said of a batch. Lengths are in crop units."""

    centre: Tensor
    """Tip in the search crop, (B, 2), in crop units."""
    size: Tensor
    """Sides of the tip's box, (B, 2), in crop units."""
    visible: Tensor
    """1 where the tip can be seen, else 0, (B,)."""
    present: Tensor
    """1 where the crop holds a tip, else 0, (B,)."""
    weight: Tensor
    """Weight of the place's loss, (B,), 0 to 1."""


class Candidates(NamedTuple):
    """K candidates for the tip in each of B search crops. Lengths are in crop units."""

    score: Tensor
    """How likely each is the tip, (B, K), 0 to 1."""
    centre: Tensor
    """Places, (B, K, 2), in crop units."""
    size: Tensor
    """Sides of the boxes, (B, K, 2), in crop units."""
    visible: Tensor
    """How likely the tip can be seen there, (B, K), 0 to 1."""
    sd: Tensor
    """Standard deviation of the place, (B, K), in crop units."""


class TipNet(nn.Module, ABC):
    """A network that finds the tip in a search crop, given a template."""

    search_px: int
    """Side of the search crops, px."""
    template_px: int
    """Side of the template crops, px."""

    @abstractmethod
    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) grey levels 0..1 -> what is kept of the template. Computed once a clip."""

    @abstractmethod
    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """(B, 2, S, S) previous and present crop, 0..1, and what was kept -> the network's own maps."""

    def respond_and_tell(self, search: Tensor, kept: Tensor) -> tuple[Raw, Tensor | None]:
        """`respond`, and what the encoder made of the search crop (B, N + L, width). None where nobody reads it."""
        return self.respond(search, kept), None

    @abstractmethod
    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, its parts by name) of a batch."""

    @abstractmethod
    def candidates(self, raw: Raw) -> Candidates:
        """The network's own maps -> candidates."""

    def forward(self, search: Tensor, template: Tensor) -> Raw:
        """Both at once, for training."""
        return self.respond(search, self.embed(template))

    def groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for AdamW: no decay on gains, biases and tokens. Gates learn ten times faster."""
        kinds: dict[str, list[nn.Parameter]] = {"weights": [], "others": [], "gates": []}
        for name, p in self.named_parameters():
            if p.requires_grad:
                kind = "gates" if name.endswith("gate") else "weights" if p.ndim > 1 else "others"
                kinds[kind].append(p)
        settings = {"weights": (lr, weight_decay), "others": (lr, 0.0), "gates": (10 * lr, 0.0)}
        return [
            {"params": params, "lr": settings[kind][0], "base_lr": settings[kind][0], "weight_decay": settings[kind][1]}
            for kind, params in kinds.items()
            if params
        ]


def normalised_grey(grey: Tensor) -> Tensor:
    """Grey levels 0..1 -> mean 0, deviation 1 or so."""
    return (grey - GREY_MEAN) / GREY_SD


def cell_centres(h: int, w: int, like: Tensor) -> Tensor:
    """(h w, 2) middles of a grid's cells in crop units, rows first."""
    y, x = torch.meshgrid(
        (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h,
        (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w,
        indexing="ij",
    )
    return torch.stack([x.reshape(-1), y.reshape(-1)], 1)


def cell_of(centre: Tensor, h: int, w: int) -> Tensor:
    """(B,) number of the cell that a place lies in. Places outside go to the nearest."""
    x = (centre[:, 0] * w).long().clamp(0, w - 1)
    y = (centre[:, 1] * h).long().clamp(0, h - 1)
    return y * w + x


def pick(per_cell: Tensor, cell: Tensor) -> Tensor:
    """(B, K, c) or (B, K), and (B,) cells -> (B, c) or (B,)."""
    rows = torch.arange(len(cell), device=cell.device)
    return per_cell[rows, cell]


def as_corners(centre: Tensor, size: Tensor) -> Tensor:
    """(..., 2) centre and size -> (..., 4) x0, y0, x1, y1."""
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(generalised IoU, IoU) of boxes (..., 4) x0, y0, x1, y1 (Rezatofighi et al., CVPR 2019)."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - overlap
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    iou = overlap / union.clamp(min=1e-9)
    return iou - (hull - union) / hull.clamp(min=1e-9), iou


def seen_and_sure(raw: Raw, cands: Candidates, target: TipTarget, cell: Tensor) -> dict[str, Tensor]:
    """The two parts of the loss that all networks share: visibility at `cell`, and the deviation at the best candidate.

    The deviation is learnt where the network would look, by a Laplace likelihood of its error there, so that a wrong
    peak must call itself wide.
    """
    visible = F.binary_cross_entropy_with_logits(pick(raw["visible"], cell), target.visible)
    best = cands.score.argmax(1)
    error = (pick(cands.centre, best) - target.centre).abs().sum(1).detach()
    log_sd = pick(raw["log_sd"], best)
    sure = ((error * torch.exp(-log_sd) + 2 * log_sd) * target.present).mean()
    return {"visible": 0.3 * visible, "sure": 0.05 * sure}
