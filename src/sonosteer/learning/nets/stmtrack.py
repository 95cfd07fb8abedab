"""STMTrack: the search crop reads a memory of frames and foreground masks, each place by its likeness.

Source: Z. Fu, Q. Liu, Z. Fu, Y. Wang, "STMTrack: Template-free Visual Tracking with Space-time Memory Networks",
CVPR 2021.

| symbol | name here | shape |
| --- | --- | --- |
| f^m, T memory frames, each with its foreground label map | `embed` | (B, T H' W', c) |
| f^q | `query` of the search crop | (B, H W, c) |
| w_ij = softmax over i of f^m_i . f^q_j / sqrt(c) | `read` | |
| y = [f^q, sum_i w_ij f^m_i] | `read` | (B, 2 c, H, W) |

The paper adds a convolution of the label map to the first one of the frame. Here the map is one more channel of the
first convolution, which is the same sum.

Departs from the paper: one memory frame, the template, since all networks here see the same (more would be appended to
what `embed` keeps: a read takes any number). Its label map is a box in the middle. A small ResNet without pretraining.
Visibility and deviation beside the score. Weights of the losses as in the authors' configuration (github.com/fzh0917,
experiments/stmtrack/train/got10k/stmtrack-googlenet-trn.yaml).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget

#: the authors': of the focal loss, and of the IoU loss beside it and centerness
FOCAL_ALPHA, FOCAL_GAMMA, IOU_WEIGHT = 0.75, 2.0, 3.0


class StmTrack(TipNet):
    """c: channels of memory and query. depth: convolutions of each of the head's towers."""

    def __init__(
        self,
        search_px: int,
        template_px: int,
        c: int = 96,
        widths: blocks.Widths = blocks.WIDTHS,
        depth: int = 2,
        box: float = blocks.BOX_FRACTION,
    ) -> None:
        super().__init__()
        self.search_px, self.template_px, self.box = search_px, template_px, box
        self.memory_net, self.query_net = blocks.TinyResNet(3, widths), blocks.TinyResNet(2, widths)
        self.memory_neck, self.query_neck = (nn.Conv2d(widths[-1], c, 3, padding=1) for _ in range(2))
        self.reduce = blocks.conv(2 * c, c, 1)
        self.class_tower, self.box_tower = blocks.tower(c, c, depth), blocks.tower(c, c, depth)
        self.classes = blocks.begin(nn.Conv2d(c, 3, 3, padding=1), sure=True, first=-4.0)  # score, visible, log sd
        self.edges = blocks.begin(nn.Conv2d(c, 5, 3, padding=1), sure=False)  # centerness, ltrb

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> memory (B, M, c)."""
        mask = blocks.centre_mask(template.shape[-1], self.box, template).expand_as(template)
        frame = torch.cat([blocks.two_frames(template), mask], 1)
        return blocks.per_cell(self.memory_neck(self.memory_net(frame)[-1]))

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps score, centerness, visible, log_sd (B, K), ltrb (B, K, 4) as logarithms."""
        y = self.reduce(read(self.query_neck(self.query_net(face.normalised_grey(search))[-1]), kept))
        said = blocks.per_cell(self.classes(self.class_tower(y)))
        edges = blocks.per_cell(self.edges(self.box_tower(y)))
        return {
            "score": said[..., 0],
            "visible": said[..., 1],
            "log_sd": said[..., 2],
            "centerness": edges[..., 0],
            "ltrb": edges[..., 1:],
        }

    def candidates(self, raw: Raw) -> Candidates:
        """Every cell is one. Its score is the class's times the centerness."""
        centre, size = blocks.from_ltrb(blocks.cells(raw["ltrb"]), blocks.HALF_BOX * raw["ltrb"].clamp(-3, 2).exp())
        score = raw["score"].sigmoid() * raw["centerness"].sigmoid()
        return Candidates(score, centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Focal loss, centerness and IoU loss within the box, visibility, deviation."""
        cells, cands = blocks.cells(raw["ltrb"]), self.candidates(raw)
        positive, central, misfit = blocks.beside_the_class(raw, cands, target)
        parts = {
            "score": focal(raw["score"], positive, target.weight),
            "centerness": central,
            "iou": IOU_WEIGHT * misfit,
        }
        parts |= face.seen_and_sure(raw, cands, target, blocks.nearest_cell(cells, target))
        return torch.stack(list(parts.values())).sum(), parts


def read(query: Tensor, memory: Tensor) -> Tensor:
    """(B, c, h, w) and (B, M, c) -> (B, 2 c, h, w): the query and what it found, which is a mean of the memory."""
    f = blocks.per_cell(query)
    found = F.scaled_dot_product_attention(f, memory, memory)  # softmax(f m' / sqrt(c)) m
    return torch.cat([query, found.transpose(1, 2).reshape(query.shape)], 1)


def focal(logit: Tensor, positive: Tensor, weight: Tensor) -> Tensor:
    """Focal loss (B, K), summed, over the number of positive cells."""
    p = logit.sigmoid()
    hit = -FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * F.logsigmoid(logit) * weight[:, None]
    miss = -(1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * F.logsigmoid(-logit)
    return torch.where(positive, hit, miss).sum() / positive.sum().clamp(min=1)


def make_stmtrack(search_px: int = 160, template_px: int = 64, **settings: Any) -> StmTrack:
    """With random weights. settings: as `StmTrack` takes them."""
    return blocks.build_net(StmTrack, search_px, template_px, settings)
