"""SiamBAN: no anchors. Every cell says at once whether it lies in the target and how far the box's edges are.

Source: Z. Chen, B. Zhong, G. Li, S. Zhang, R. Ji, "Siamese Box Adaptive Network for Visual Tracking", CVPR 2020.

| symbol | name here | shape |
| --- | --- | --- |
| P_l^cls, P_l^reg, l = 3, 4, 5 | `classes`, `edges`: heads behind depth-wise correlation | (B, 2, h, w), (B, 4, h, w) |
| alpha_l, beta_l | their `level_weight`, behind a softmax | 3 |
| E_1: axes g_w, g_h | `OUTER`: cells outside are negative | |
| E_2: axes g_w / 2, g_h / 2 | `INNER`: cells inside are positive; those between are neither | |

Departs from the paper: a small ResNet without pretraining. Correlation with zeros around, so that a tip anywhere in the
crop has a cell. An even template map is brought to an odd one first. The cell nearest the centre is always positive,
since a small box's inner ellipse may hold none. Visibility and deviation beside the classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.blocks import LevelHeads, Levels
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget

OUTER, INNER = 1.0, 0.5
MAX_POSITIVE_CELLS, MAX_NEGATIVE_CELLS = 16, 48


class SiamBan(TipNet):
    """c: channels of the heads."""

    def __init__(self, search_px: int, template_px: int, c: int = 96, widths: blocks.Widths = blocks.WIDTHS) -> None:
        super().__init__()
        self.search_px, self.template_px = search_px, template_px
        self.levels = Levels(c, widths)
        self.classes, self.edges = LevelHeads(c, 4, sure=True), LevelHeads(c, 4, sure=False)

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> kernels of classes and edges (B, 6, c, n, n), n at most 7."""
        z = [blocks.template_centre(x) for x in self.levels(blocks.two_frames(template))]
        return torch.cat([self.classes.kernels(z), self.edges.kernels(z)], 1)

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps class (B, K, 2), ltrb (B, K, 4) as logarithms, visible and log_sd (B, K)."""
        x = self.levels(face.normalised_grey(search))
        said = blocks.per_cell(self.classes(x, kept[:, :3]))
        return {
            "class": said[..., :2],
            "visible": said[..., 2],
            "log_sd": said[..., 3],
            "ltrb": blocks.per_cell(self.edges(x, kept[:, 3:])),
        }

    def candidates(self, raw: Raw) -> Candidates:
        """Every cell is one."""
        centre, size = blocks.from_ltrb(blocks.cells(raw["ltrb"]), blocks.HALF_BOX * raw["ltrb"].clamp(-3, 2).exp())
        score = raw["class"].softmax(-1)[..., 1]
        return Candidates(score, centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of sampled cells, IoU loss of the positive ones, visibility, deviation."""
        at, cands = blocks.cells(raw["ltrb"]), self.candidates(raw)
        positive, negative = cell_labels(at, target)
        positive, negative = blocks.drawn(positive, MAX_POSITIVE_CELLS), blocks.drawn(negative, MAX_NEGATIVE_CELLS)
        _, iou = blocks.overlaps(cands.centre, cands.size, target)
        parts = {
            "score": blocks.two_class(raw["class"], positive, negative, target.weight),
            "iou": blocks.mean_of(1 - iou, positive, target.weight),
        }
        parts |= face.seen_and_sure(raw, cands, target, blocks.nearest_cell(at, target))
        return torch.stack(list(parts.values())).sum(), parts


def cell_labels(at: Tensor, target: TipTarget) -> tuple[Tensor, Tensor]:
    """(positive, negative) cells (B, K) by the two ellipses. Without a tip, all are negative."""
    return blocks.inside_ellipse(at, target, INNER), ~blocks.inside_ellipse(at, target, OUTER)


def make_siamban(search_px: int = 160, template_px: int = 64, **settings: Any) -> SiamBan:
    """With random weights. settings: as `SiamBan` takes them."""
    return blocks.build_net(SiamBan, search_px, template_px, settings)
