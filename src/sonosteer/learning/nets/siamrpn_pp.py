"""SiamRPN++: the template's centre is correlated, channel by channel, with the search crop, and anchors are judged.

Source: B. Li, W. Wu, Q. Wang, F. Zhang, J. Xing, J. Yan, "SiamRPN++: Evolution of Siamese Visual Tracking with Very
Deep Networks", CVPR 2019.

| symbol | name here | shape |
| --- | --- | --- |
| phi_l(z), phi_l(x) | `levels` of template and search, l = 3, 4, 5 | (B, c, h, w) each |
| S, B | `classes`, `places`: heads of the region proposal network | (B, 2 A + 2, h, w), (B, 4 A, h, w) |
| alpha_l, beta_l | their `level_weight`, behind a softmax | 3 |
| A | `anchors`: squares of so many sides a cell | 3 |

The paper's spatial bias through padding is met as there: the tip is shifted at random in the training crops.

Departs from the paper: a small ResNet without pretraining. Correlation with zeros around, so that a tip anywhere in the
crop has a cell. An even template map is brought to an odd one first. Three square anchors, since a tip's box is square.
The best anchor is positive even where none reaches an IoU of 0.6. Visibility and deviation beside the classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.blocks import LevelHeads, Levels
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget

#: chosen: sides in crop units. The training crops' boxes lie between 0.11 and 0.29
ANCHOR_SIDES = (0.13, 0.19, 0.27)
POSITIVE, NEGATIVE = 0.6, 0.3
MAX_POSITIVE_ANCHORS, MAX_ANCHORS = 16, 64
PLACE_WEIGHT = 1.2


class SiamRpnPp(TipNet):
    """c: channels of the heads. sides: of the anchors, in crop units."""

    def __init__(
        self,
        search_px: int,
        template_px: int,
        c: int = 96,
        widths: blocks.Widths = blocks.WIDTHS,
        sides: tuple[float, ...] = ANCHOR_SIDES,
    ) -> None:
        super().__init__()
        self.search_px, self.template_px, self.sides = search_px, template_px, sides
        self.levels = Levels(c, widths)
        self.classes = LevelHeads(c, 2 * len(sides) + 2, sure=True)
        self.places = LevelHeads(c, 4 * len(sides), sure=False)

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> kernels of classes and places (B, 6, c, n, n), n at most 7."""
        z = [blocks.template_centre(x) for x in self.levels(blocks.two_frames(template))]
        return torch.cat([self.classes.kernels(z), self.places.kernels(z)], 1)

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps class (B, K, 2), delta (B, K, 4), visible and log_sd (B, K). K = cells x anchors, a cell's together."""
        x = self.levels(face.normalised_grey(search))
        said = blocks.per_cell(self.classes(x, kept[:, :3]))
        delta = blocks.per_cell(self.places(x, kept[:, 3:]))
        b, a = len(said), len(self.sides)
        return {
            "class": said[..., : 2 * a].reshape(b, -1, 2),
            "delta": delta.reshape(b, -1, 4),
            "visible": said[..., -2].repeat_interleave(a, 1),
            "log_sd": said[..., -1].repeat_interleave(a, 1),
        }

    def candidates(self, raw: Raw) -> Candidates:
        """Every anchor is one."""
        delta = raw["delta"]
        at, side = anchors(delta.shape[1], self.sides, delta)
        centre = at + delta[..., :2] * side
        size = side * delta[..., 2:].clamp(-3, 2).exp()
        score = raw["class"].softmax(-1)[..., 1]
        return Candidates(score, centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of sampled anchors, smooth L1 of the positive ones' deltas, visibility, deviation."""
        delta = raw["delta"]
        at, side = anchors(delta.shape[1], self.sides, delta)
        overlap = anchor_overlap(at, side, target)
        positive, negative = anchor_labels(overlap, target)
        positive = blocks.drawn(positive, MAX_POSITIVE_ANCHORS)
        negative = blocks.drawn(negative, MAX_ANCHORS - MAX_POSITIVE_ANCHORS)
        wanted = torch.cat([(target.centre[:, None] - at) / side, (target.size[:, None] / side).log()], -1)
        off = F.smooth_l1_loss(delta, wanted, reduction="none").sum(-1)
        parts = {
            "score": blocks.two_class(raw["class"], positive, negative, target.weight),
            "place": PLACE_WEIGHT * blocks.mean_of(off, positive, target.weight),
        }
        parts |= face.seen_and_sure(raw, self.candidates(raw), target, overlap.argmax(1))
        return torch.stack(list(parts.values())).sum(), parts


def anchors(count: int, sides: tuple[float, ...], like: Tensor) -> tuple[Tensor, Tensor]:
    """(centres (K, 2), sides (K, 1)) of the anchors of a square map, `len(sides)` a cell."""
    cells = round((count / len(sides)) ** 0.5)
    at = face.cell_centres(cells, cells, like).repeat_interleave(len(sides), 0)
    return at, like.new_tensor(sides).repeat(cells * cells)[:, None]


def anchor_overlap(at: Tensor, side: Tensor, target: TipTarget) -> Tensor:
    """(B, K) IoU of anchors and the target's box."""
    boxes = face.as_corners(at, side.expand(-1, 2))
    _, iou = face.giou(boxes[None], face.as_corners(target.centre, target.size)[:, None])
    return iou


def anchor_labels(overlap: Tensor, target: TipTarget) -> tuple[Tensor, Tensor]:
    """(positive, negative) anchors (B, K). Those between are neither. Without a tip, none is positive."""
    best = F.one_hot(overlap.argmax(1), overlap.shape[1]).bool()
    here = target.present[:, None] > 0
    positive = ((overlap > POSITIVE) | best) & here
    return positive, (overlap < NEGATIVE) & ~positive


def make_siamrpn_pp(search_px: int = 160, template_px: int = 64, **settings: Any) -> SiamRpnPp:
    """With random weights. settings: as `SiamRpnPp` takes them."""
    return blocks.build_net(SiamRpnPp, search_px, template_px, settings)
