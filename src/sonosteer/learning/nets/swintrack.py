"""SwinTrack: attention only: windows on template and search apart, then both as one sequence, then search reads it.

Source: L. Lin, H. Fan, Z. Zhang, Y. Xu, H. Ling, "SwinTrack: A Simple and Strong Baseline for Transformer Tracking",
NeurIPS 2022. Windows: Z. Liu et al., "Swin Transformer", ICCV 2021. Untied positions: G. Ke, D. He, T.-Y. Liu,
"Rethinking Positional Encoding in Language Pre-training", ICLR 2021.

| symbol | name here | shape |
| --- | --- | --- |
| phi(z), phi(x) | `backbone` | (B, M, c), (B, N, c) |
| f_m = [z; x] through the encoder | `encoder` | (B, M + N, c) |
| decoder: x asks [z; x] | `decoder` | (B, N, c) |
| (p_i U_Q)(p_j U_K)' / sqrt(2 d) | `UntiedPosition` | (heads, M + N, M + N) |

Loss as in the authors' configuration (github.com/LitingLin/SwinTrack, config/SwinTrack/Tiny/runs.yaml): varifocal with
alpha 0.75 and gamma 2, and GIoU with the same weight (1.5 each there, 1 each here).

Departs from the paper: no motion token, since all networks here have the same inputs and none sees past boxes. Two
stages of two blocks, with our tower's norm and MLP and a convolutional stem, without pretraining. Of the positions of
the joint sequence only the absolute part, its code fixed. Visibility and deviation beside the score. The GIoU loss is
the mean over the box's cells, which the authors weight by their scores.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.learning.nets import blocks, face
from sonosteer.learning.nets.blocks import VitBlock
from sonosteer.learning.nets.cdf_head import position_code
from sonosteer.learning.nets.face import Candidates, Raw, TipNet, TipTarget
from sonosteer.learning.nets.qwen_vision import ConvStem

MAX_WINDOW = 7  # cells at most, Swin's
VARIFOCAL_ALPHA, VARIFOCAL_GAMMA = (
    0.75,
    2.0,
)  # of the varifocal loss (Zhang et al., CVPR 2021), as in the authors' configuration


class WindowBlock(nn.Module):
    """A block inside windows, with a learned bias by relative place. shifted: windows moved by half of one."""

    def __init__(self, c: int, heads: int, mlp: int, *, shifted: bool) -> None:
        super().__init__()
        self.block, self.shifted = VitBlock(c, heads, mlp), shifted
        self.table = nn.Parameter(torch.zeros(heads, 2 * MAX_WINDOW - 1, 2 * MAX_WINDOW - 1))

    def forward(self, x: Tensor, side: int) -> Tensor:
        """(B, side^2, c) -> (B, side^2, c)."""
        w = window_side(side)
        shift = w // 2 if self.shifted and w < side else 0
        b, c = len(x), x.shape[-1]
        rolled = x.view(b, side, side, c).roll((-shift, -shift), (1, 2))
        done = self.block(in_windows(rolled, w), self._bias(side, w, shift, x).repeat(b, 1, 1, 1))
        return out_of_windows(done, side).roll((shift, shift), (1, 2)).view(b, side * side, c)

    def _bias(self, side: int, w: int, shift: int, like: Tensor) -> Tensor:
        """(windows, heads, w^2, w^2)."""
        at = torch.arange(w, device=like.device)
        y, x = at.repeat_interleave(w), at.repeat(w)
        offset = y[:, None] - y + MAX_WINDOW - 1, x[:, None] - x + MAX_WINDOW - 1
        by_place = self.table[:, offset[0], offset[1]].to(like.dtype)[None]
        row = torch.arange(side, device=like.device)
        part = (row >= side - w).int() + (row >= side - shift).int()  # rolled together, but not neighbours
        region = in_windows((part[:, None] * 3 + part)[None, :, :, None], w)[..., 0]
        apart = region[:, None, :, None] != region[:, None, None, :]
        return by_place.masked_fill(apart, -100.0) if shift else by_place.expand(len(region), -1, -1, -1)


class Backbone(nn.Module):
    """Cells of 8 px, two blocks. Four cells merged to one of 16 px, two blocks."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        half = c // 2
        self.stem = ConvStem(2, half, 8)
        self.fine = nn.ModuleList(WindowBlock(half, heads, 5 * half // 2, shifted=s) for s in (False, True))
        self.merge = nn.Linear(4 * half, c)
        self.coarse = nn.ModuleList(WindowBlock(c, heads, 5 * c // 2, shifted=s) for s in (False, True))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2, S, S) -> (B, (S / 16)^2, c)."""
        x: Tensor = self.stem(image)
        side = x.shape[-1]
        x = blocks.per_cell(x)
        for block in self.fine:
            x = block(x, side)
        four = in_windows(x.view(len(x), side, side, -1), 2)
        x = self.merge(four.reshape(len(x), side * side // 4, -1))
        for block in self.coarse:
            x = block(x, side // 2)
        return x


class UntiedPosition(nn.Module):
    """How much a place of template or search asks another, whatever is there. The same in all blocks."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.c, self.heads = c, heads
        self.kind = nn.Parameter(0.02 * torch.randn(2, c))  # template, search
        self.norm, self.ask, self.answer = nn.LayerNorm(c), nn.Linear(c, c), nn.Linear(c, c)

    def forward(self, template_side: int, side: int, like: Tensor) -> Tensor:
        """(1, heads, M + N, M + N)."""
        codes = [position_code(s, s, self.c, like) + self.kind[i] for i, s in enumerate((template_side, side))]
        p = self.norm(torch.cat(codes, 1))
        q, k = (f(p).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.ask, self.answer))
        out: Tensor = q @ k.transpose(-1, -2) / (2 * self.c / self.heads) ** 0.5
        return out.to(like.dtype)


class SwinTrack(TipNet):
    """c: of the tokens. encoder: blocks of joint attention."""

    def __init__(self, search_px: int, template_px: int, c: int = 192, heads: int = 6, encoder: int = 2) -> None:
        super().__init__()
        self.search_px, self.template_px = search_px, template_px
        self.scale = (2 * c / heads) ** -0.5
        self.backbone, self.position = Backbone(c, heads), UntiedPosition(c, heads)
        self.encoder = nn.ModuleList(VitBlock(c, heads, 5 * c // 2) for _ in range(encoder))
        self.decoder = VitBlock(c, heads, 5 * c // 2)
        self.norm = nn.RMSNorm(c, eps=1e-6)
        self.classes = blocks.mlp_head(c, 3, sure=True, first=-2.0)  # score, visible, log sd
        self.edges = blocks.mlp_head(c, 4, sure=False)

    def embed(self, template: Tensor) -> Tensor:
        """(B, 1, T, T) -> template tokens (B, M, c)."""
        tokens: Tensor = self.backbone(blocks.two_frames(template))
        return tokens

    def respond(self, search: Tensor, kept: Tensor) -> Raw:
        """Maps score, visible and log_sd (B, K), ltrb (B, K, 4)."""
        x = self.backbone(face.normalised_grey(search))
        first = kept.shape[1]
        bias = self.position(round(first**0.5), round(x.shape[1] ** 0.5), x)
        x = torch.cat([kept.to(x.dtype), x], 1)
        for block in self.encoder:
            x = block(x, bias, self.scale)
        x = self.norm(self.decoder(x, bias[:, :, first:], self.scale, first))
        said = self.classes(x)
        return {"score": said[..., 0], "visible": said[..., 1], "log_sd": said[..., 2], "ltrb": self.edges(x)}

    def candidates(self, raw: Raw) -> Candidates:
        """Every cell is one. Its score is the IoU that it expects of its box."""
        return blocks.cell_candidates(raw)

    def loss(self, raw: Raw, target: TipTarget) -> tuple[Tensor, dict[str, Tensor]]:
        """Varifocal loss and GIoU loss within the box, visibility, deviation."""
        at, cands = blocks.cells(raw["ltrb"]), self.candidates(raw)
        inside = blocks.inside_box(at, target)
        gain, iou = blocks.overlaps(cands.centre, cands.size, target)
        parts = {
            "score": varifocal(raw["score"], iou.detach() * inside, inside, target.weight),
            "giou": blocks.mean_of(1 - gain, inside, target.weight),
        }
        parts |= face.seen_and_sure(raw, cands, target, blocks.nearest_cell(at, target))
        return torch.stack(list(parts.values())).sum(), parts


def window_side(side: int) -> int:
    """The widest window that divides a map, at most Swin's 7."""
    return next(w for w in range(min(side, MAX_WINDOW), 0, -1) if side % w == 0)


def in_windows(x: Tensor, w: int) -> Tensor:
    """(B, side, side, c) -> (B windows, w^2, c)."""
    b, side, _, c = x.shape
    return x.reshape(b, side // w, w, side // w, w, c).transpose(2, 3).reshape(-1, w * w, c)


def out_of_windows(x: Tensor, side: int) -> Tensor:
    """(B windows, w^2, c) -> (B, side, side, c)."""
    w, c = round(x.shape[1] ** 0.5), x.shape[-1]
    n = side // w
    return x.reshape(-1, n, n, w, w, c).transpose(2, 3).reshape(-1, side, side, c)


def varifocal(logit: Tensor, quality: Tensor, inside: Tensor, weight: Tensor) -> Tensor:
    """Inside: cross-entropy with the box's IoU, weighted by it. Outside: focal loss. Divided by the cells inside."""
    worth = torch.where(
        inside, quality * weight[:, None], VARIFOCAL_ALPHA * logit.detach().sigmoid() ** VARIFOCAL_GAMMA
    )
    each = F.binary_cross_entropy_with_logits(logit, quality, reduction="none")
    return (worth * each).sum() / inside.sum().clamp(min=1)


def make_swintrack(search_px: int = 160, template_px: int = 64, **settings: Any) -> SwinTrack:
    """With random weights. settings: as `SwinTrack` takes them."""
    return blocks.build_net(SwinTrack, search_px, template_px, settings)
