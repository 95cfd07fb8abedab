"""SiamCAR: three correlation responses become one map, whose cells say class, centerness and distances to the edges.

Source: D. Guo, J. Wang, Y. Cui, Z. Wang, S. Chen, "SiamCAR: Siamese Fully Convolutional Classification and Regression
for Visual Tracking", CVPR 2020.

| symbol | name here | shape |
| --- | --- | --- |
| R = cat(phi_l(x) * phi_l(z)), reduced: R* | `respond`: `reduce` | (B, c, h, w) |
| A_cls, A_cen, A_reg | raw class, centerness, ltrb | (B, K, 2), (B, K), (B, K, 4) |
| lambda_1, lambda_2 | CENTERNESS_WEIGHT, BOX_WEIGHT | 1, 3 |

Departs from the paper: a small ResNet without pretraining. Correlation with zeros around, so that a tip anywhere in the
crop has a cell. An even template map is brought to an odd one first. Visibility and deviation beside the classes. The
scale penalty and the cosine window belong to whoever follows the tip and are not part of the score.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget

CENTERNESS_WEIGHT, BOX_WEIGHT = 1.0, 3.0


class SiamCar(TipNet):
    """c: channels of correlation and head. depth: convolutions of each of the head's towers."""

    def __init__(
        self, search_px: int, template_px: int, c: int = 96, widths: blocks.Widths = blocks.WIDTHS, depth: int = 3
    ) -> None:
        super().__init__()
        self.search_px, self.template_px = search_px, template_px
        self.levels = blocks.Levels(c, widths)
        self.reduce = blocks.conv(3 * c, c, 1)
        self.class_tower, self.box_tower = blocks.tower(c, c, depth), blocks.tower(c, c, depth)
        self.classes = blocks.begin(nn.Conv2d(c, 5, 3, padding=1), sure=True)  # 2 classes, centerness, visible, log sd
        self.edges = blocks.begin(nn.Conv2d(c, 4, 3, padding=1), sure=False)

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> kernels (B, 3, c, n, n), n at most 7."""
        return torch.stack([blocks.template_centre(x) for x in self.levels(blocks.two_frames(template))], 1)

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps class (B, K, 2), ltrb (B, K, 4) as logarithms, centerness, visible and log_sd (B, K)."""
        x = self.levels(face.normalised_grey(search))
        responses = [blocks.correlate(level, kept[:, i]) for i, level in enumerate(x)]
        r = self.reduce(torch.cat(responses, 1))
        said = blocks.per_cell(self.classes(self.class_tower(r)))
        return {
            "class": said[..., :2],
            "centerness": said[..., 2],
            "visible": said[..., 3],
            "log_sd": said[..., 4],
            "ltrb": blocks.per_cell(self.edges(self.box_tower(r))),
        }

    def candidates(self, raw: Raw) -> Candidates:
        """Every cell is one. Its score is the class's times the centerness."""
        centre, size = blocks.from_ltrb(blocks.cells(raw["ltrb"]), blocks.HALF_BOX * raw["ltrb"].clamp(-3, 2).exp())
        score = raw["class"].softmax(-1)[..., 1] * raw["centerness"].sigmoid()
        return Candidates(score, centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, centerness and IoU loss within the box, visibility, deviation."""
        cells, cands = blocks.cells(raw["ltrb"]), self.candidates(raw)
        positive, central, misfit = blocks.beside_the_class(raw, cands, target)
        parts = {
            "score": blocks.two_class(raw["class"], positive, ~positive, target.weight),
            "centerness": CENTERNESS_WEIGHT * central,
            "iou": BOX_WEIGHT * misfit,
        }
        parts |= face.seen_and_sure(raw, cands, target, blocks.nearest_cell(cells, target))
        return torch.stack(list(parts.values())).sum(), parts


def make_siamcar(search_px: int = 160, template_px: int = 64, **settings: Any) -> SiamCar:
    """With random weights. settings: as `SiamCar` takes them."""
    return blocks.build_net(SiamCar, search_px, template_px, settings)
