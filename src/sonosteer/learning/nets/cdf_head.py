"""The cross-depth-fusion (CDF) tracking head.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`).

| symbol | name here | shape |
| --- | --- | --- |
| F_s, F_d of search x and template z, reduced | `shallow`, `deep` | (B, N, c) |
| (1) semantic fusion | `fuse`: queries shallow, keys and values deep | (B, N, c) |
| (2) positional correlation | `correlate`: queries search, keys and values template | (B, N, c) |
| (3) conditional feature gating | f (1 + a gamma(r)) + a beta(r), r the encoded register | (B, N, c) |
| a | `gate`, begins at 0 | 1 |

The equations are blank in the published text. This is our reading of its words and of its figure. (1) attends over
channels by default ("channel sequences"), over positions as an option. The study shows both.

Departs from the paper: a score map with sub-cell offset and size instead of one box by a convolution, so that a second
candidate can be seen. It has a map of visibility and one of the place's standard deviation beside it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.learning.nets.blocks import conv

Fusion = Literal["channel", "position"]
Taps = Literal["both", "shallow", "deep"]


class PositionAttention(nn.Module):
    """softmax(Q K^T / sqrt(c)) V over positions, in heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, N, c), (B, M, c) -> (B, N, c)."""
        b, n, c = queries.shape

        def split(t: Tensor) -> Tensor:
            return t.view(b, -1, self.heads, c // self.heads).transpose(1, 2)

        k, v = self.kv(keys).chunk(2, -1)
        out = F.scaled_dot_product_attention(split(self.q(queries)), split(k), split(v))
        done: Tensor = self.out(out.transpose(1, 2).reshape(b, n, c))
        return done


class ChannelAttention(nn.Module):
    """Attention between channels, each a sequence over positions, L2-normalised, with a learned temperature.

    Normalised, since search and template differ in how many positions they have.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 4.0))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, N, c), (B, N, c) of the same positions -> (B, N, c)."""
        b, n, c = queries.shape

        def split(t: Tensor) -> Tensor:
            return t.transpose(1, 2).reshape(b, self.heads, c // self.heads, n)

        k, v = self.kv(keys).chunk(2, -1)
        q, k = F.normalize(split(self.q(queries)), dim=-1), F.normalize(split(k), dim=-1)
        weights = (q @ k.transpose(-1, -2) * self.temperature).softmax(-1)
        done: Tensor = self.out((weights @ split(v)).reshape(b, c, n).transpose(1, 2))
        return done


class FusionBlock(nn.Module):
    """A transformer block whose residual runs on the queries' stream."""

    def __init__(self, width: int, heads: int, kind: Fusion) -> None:
        super().__init__()
        self.attention = (ChannelAttention if kind == "channel" else PositionAttention)(width, heads)
        self.norm_q, self.norm_kv, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, queries: Tensor, keys: Tensor, at_q: Tensor | None = None, at_k: Tensor | None = None) -> Tensor:
        """at_q, at_k: position encodings to add before the attention."""
        q, k = self.norm_q(queries), self.norm_kv(keys)
        q, k = (q if at_q is None else q + at_q), (k if at_k is None else k + at_k)
        x = queries + self.attention(q, k)
        out: Tensor = x + self.mlp(self.norm(x))
        return out


def reduction(width: int, c: int) -> nn.Module:
    """MLP from the backbone's width to c, then LayerNorm."""
    return nn.Sequential(nn.Linear(width, c), nn.GELU(), nn.Linear(c, c), nn.LayerNorm(c))


def position_code(rows: int, columns: int, c: int, like: Tensor) -> Tensor:
    """(1, rows columns, c) sines and cosines of both coordinates."""
    rates = 100.0 ** -(torch.arange(c // 4, device=like.device, dtype=like.dtype) / (c // 4))
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device, dtype=like.dtype),
        torch.arange(columns, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    y, x = y.reshape(-1, 1) * rates, x.reshape(-1, 1) * rates
    return torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], 1)[None]


class CrossDepthFusionHead(nn.Module):
    """Reduce, fuse, correlate, gate, convolve.

    width: of the backbone's tokens. c: of the head. register: whether there is one to condition on.
    """

    def __init__(self, width: int, c: int, heads: int, fusion: Fusion, taps: Taps, *, register: bool) -> None:
        super().__init__()
        self.c, self.taps = c, taps
        self.reduce_shallow, self.reduce_deep = reduction(width, c), reduction(width, c)
        self.fuse, self.correlate = FusionBlock(c, heads, fusion), FusionBlock(c, heads, "position")
        self.gamma = nn.Linear(c, c) if register else None
        self.beta = nn.Linear(c, c) if register else None
        self.gate = nn.Parameter(torch.zeros(1)) if register else None
        self.tower = nn.Sequential(conv(c, c), conv(c, c // 2))
        self.maps = nn.Conv2d(c // 2, 7, 1)  # score, box (4), visible, log sd
        begin = torch.zeros(7)
        begin[0], begin[6] = -4.0, math.log(0.1)  # a cell in fifty holds the tip; a tenth of the crop off
        self.maps.bias = nn.Parameter(begin)
        nn.init.zeros_(self.maps.weight[1:])

    def fused(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """(1): backbone tokens -> (B, N, c)."""
        if self.taps == "shallow":
            only: Tensor = self.reduce_shallow(shallow)
            return only
        reduced: Tensor = self.reduce_deep(deep)
        if self.taps == "deep":
            return reduced
        out: Tensor = self.fuse(self.reduce_shallow(shallow), reduced)
        return out

    def forward(
        self, fused: Tensor, register: Tensor, template: Tensor, grid: tuple[int, int], template_grid: tuple[int, int]
    ) -> Tensor:
        """Fused search tokens, encoded register (B, L, width), fused template -> (B, 7, rows, columns)."""
        at, at_template = position_code(*grid, self.c, fused), position_code(*template_grid, self.c, fused)
        f = self.correlate(fused, template, at, at_template)  # (2)
        if self.gate is not None and self.gamma is not None and self.beta is not None:
            r = self.reduce_deep(register).mean(1, keepdim=True)
            f = f * (1 + self.gate * self.gamma(r)) + self.gate * self.beta(r)  # (3)
        rows, columns = grid
        out: Tensor = self.maps(self.tower(f.transpose(1, 2).reshape(-1, self.c, rows, columns)))
        return out
