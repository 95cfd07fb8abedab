"""MixFormer: features and comparison in the same blocks: search reads template and itself, the template only itself.

Source: Y. Cui, C. Jiang, L. Wang, G. Wu, "MixFormer: End-to-End Tracking with Iterative Mixed Attention", CVPR 2022.

| symbol | name here | shape |
| --- | --- | --- |
| q_t, k_t, v_t; asymmetric: softmax(q_t k_t' / sqrt(d)) v_t | `embed` | |
| softmax(q_s [k_t; k_s]' / sqrt(d)) [v_t; v_s] | `_search` | (B, N, c) |
| keys and values of the template, of every block | `kept` | (B, 2 blocks + 1, M, c) |
| corner maps, soft-argmax | `corners` | (B, 2, (S / 4)^2) |
| score prediction module (SPM) | `ScoreModule` | (B, 1) |

Since the template asks nobody but itself, its keys and values can be kept. The last of `kept` are its tokens.

Departs from the paper: plain blocks as in our tower instead of CvT's with convolutional projections, without
pretraining. No online template, since all networks here see the same. The score module is not trained afterwards but
beside the rest, its gradient stopped before the backbone as there, and learns whether the crop holds a tip. Visibility
and deviation from the token at the box's centre. It answers with one candidate, as published.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.blocks import VitBlock
from sonosteer.learning.nets.cdf_head import position_code
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget
from sonosteer.learning.nets.qwen_vision import ConvStem

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
PATCH = 16


class CornerHead(nn.Module):
    """Convolutions, twice up-sampled, to a map of each corner. A corner is its map's mean place."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.coarse, self.middle = blocks.conv(c, c // 2), blocks.conv(c // 2, c // 4)
        self.maps = nn.Conv2d(c // 4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, side, side) -> corners (B, 4): x0, y0, x1, y1."""
        for layer in (self.coarse, self.middle):
            x = F.interpolate(layer(x), scale_factor=2.0, mode="bilinear")
        heat = self.maps(x)
        weights = heat.flatten(2).float().softmax(-1)
        mean: Tensor = weights @ face.cell_centres(heat.shape[2], heat.shape[3], weights)
        return mean.flatten(1)


class ScoreModule(nn.Module):
    """A learned token reads the search tokens in the box, then the template's."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, c))
        self.ask, self.answer = (nn.ModuleList(nn.Linear(c, k * c) for _ in range(2)) for k in (1, 2))
        self.norms = nn.ModuleList(nn.LayerNorm(c) for _ in range(2))
        self.mlp = blocks.mlp_head(c, 1, sure=False)

    def forward(self, search: Tensor, in_box: Tensor, template: Tensor) -> Tensor:
        """(B, N, c), (B, N) which of them lie in the box, (B, M, c) -> logit (B, 1)."""
        x = self.token.expand(len(search), -1, -1)
        for ask, answer, norm, tokens, mask in zip(
            self.ask, self.answer, self.norms, (search, template), (in_box[:, None], None), strict=True
        ):
            k, v = answer(tokens).chunk(2, -1)
            x = norm(x + F.scaled_dot_product_attention(ask(x), k, v, mask))
        logit: Tensor = self.mlp(x[:, 0])
        return logit


class MixFormer(TipNet):
    """c: of the tokens. depth: blocks of mixed attention."""

    def __init__(self, search_px: int, template_px: int, c: int = 192, heads: int = 3, depth: int = 6) -> None:
        super().__init__()
        self.search_px, self.template_px = search_px, template_px
        self.stem = ConvStem(2, c, PATCH)
        self.blocks = nn.ModuleList(VitBlock(c, heads, 5 * c // 2) for _ in range(depth))
        self.norm = nn.RMSNorm(c, eps=1e-6)
        self.corners, self.scoring = CornerHead(c), ScoreModule(c)
        self.sure = blocks.begin(nn.Linear(c, 2), sure=True)  # visible, log sd

    def _tokens(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        return blocks.per_cell(x) + position_code(x.shape[2], x.shape[3], x.shape[1], x)

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> keys and values of every block, and the tokens at the end (B, 2 depth + 1, M, c)."""
        x = self._tokens(blocks.two_frames(template))
        kept = []
        for block in cast(Iterable[VitBlock], self.blocks):
            q, k, v = block.project(x)
            kept += [_merged(k), _merged(v)]
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v))
        return torch.stack([*kept, self.norm(x)], 1)

    def _search(self, x: Tensor, kept: Tensor) -> Tensor:
        for i, block in enumerate(cast(Iterable[VitBlock], self.blocks)):
            q, k, v = block.project(x)
            k_t, v_t = (_split(kept[:, 2 * i + j].to(k.dtype), block.heads) for j in range(2))
            read = F.scaled_dot_product_attention(q, torch.cat([k_t, k], 2), torch.cat([v_t, v], 2))
            x = block.finish(x, read)
        out: Tensor = self.norm(x)
        return out

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps box (B, 1, 4), the corners, and score, visible, log_sd (B, 1)."""
        x = self._search(self._tokens(face.normalised_grey(search)), kept)
        at = blocks.cells(x)
        side = round(x.shape[1] ** 0.5)
        box = self.corners(x.transpose(1, 2).reshape(len(x), -1, side, side))
        centre = (box[:, :2] + box[:, 2:]).detach() / 2
        half = ((box[:, 2:] - box[:, :2]).detach() / 2).clamp(min=1.0 / side)  # at least two cells wide
        in_box = ((at - centre[:, None]).abs() <= half[:, None]).all(-1)
        middle = face.cell_of(centre, side, side)
        in_box = in_box | F.one_hot(middle, len(at)).bool()
        sure = self.sure(face.pick(x, middle))
        return {
            "box": box[:, None],
            "score": self.scoring(x.detach(), in_box, kept[:, -1].detach()),
            "visible": sure[:, :1],
            "log_sd": sure[:, 1:],
        }

    def candidates(self, raw: Raw) -> Candidates:
        """One."""
        first, last = raw["box"][..., :2], raw["box"][..., 2:]
        size = (last - first).clamp(min=1e-3)
        centre = (first + last) / 2
        return Candidates(raw["score"].sigmoid(), centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """5 L1 of the corners, 2 GIoU, cross-entropy of the score, visibility, deviation."""
        cands = self.candidates(raw)
        here, one = target.present[:, None] > 0, torch.zeros_like(target.present).long()
        wanted = face.as_corners(target.centre, target.size)[:, None]
        off = (raw["box"] - wanted).abs().sum(-1)
        gain, _ = blocks.overlaps(cands.centre, cands.size, target)
        parts = {
            "l1": L1_WEIGHT * blocks.mean_of(off, here, target.weight),
            "giou": GIOU_WEIGHT * blocks.mean_of(1 - gain, here, target.weight),
            "score": F.binary_cross_entropy_with_logits(raw["score"][:, 0], target.present),
        }
        parts |= face.seen_and_sure(raw, cands, target, one)
        return torch.stack(list(parts.values())).sum(), parts


def _merged(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads d)."""
    return x.transpose(1, 2).flatten(2)


def _split(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads d) -> (B, heads, N, d)."""
    b, n, c = x.shape
    return x.view(b, n, heads, c // heads).transpose(1, 2)


def make_mixformer(search_px: int = 160, template_px: int = 64, **settings: Any) -> MixFormer:
    """With random weights. settings: as `MixFormer` takes them."""
    return blocks.build_net(MixFormer, search_px, template_px, settings)
