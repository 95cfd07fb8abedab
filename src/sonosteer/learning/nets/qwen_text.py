"""The language model of Qwen2.5-VL, walked through by our own forward pass: dense, with open keys and values.

As in the library transformers, whose modules hold the weights (so published checkpoints and LoRA fit). What comes out
is the same (tested to 1e-5). Keys and values of a prefix are one tensor that goes in and out, instead of a cache object
with a state of its own: it can be shared by threads, kept for an episode and written into a graph.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def image_places(first: int, grid: tuple[int, int]) -> Tensor:
    """(3, rows x columns) time, row and column of an image's merged tokens, the next free place being `first`."""
    rows, columns = grid
    y = torch.arange(rows).view(-1, 1).expand(rows, columns).reshape(-1)
    x = torch.arange(columns).expand(rows, columns).reshape(-1)
    return torch.stack([torch.zeros_like(y), y, x]) + first


def text_places(first: int, count: int) -> Tensor:
    """(3, count): text goes on along all three axes."""
    return (torch.arange(count) + first).expand(3, count)


def rotation(places: Tensor, head: int, sections: tuple[int, ...], theta: float) -> tuple[Tensor, Tensor]:
    """Places (3, S) -> cosines and sines (S, head): each section of the frequencies turns by its own axis."""
    rate = theta ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
    axis = torch.repeat_interleave(torch.arange(len(sections)) % 3, torch.tensor(sections))
    angle = places.double()[axis].T * rate
    angle = torch.cat([angle, angle], -1)
    return angle.cos().float(), angle.sin().float()


def decode_tokens(
    llm: Any, x: Tensor, turn: tuple[Tensor, Tensor], past: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens (B, S, width) after a past (layers, 2, B, heads, P, head) -> (B, S, width), and the past with them in it.

    turn: `rotation` of their places. Each token reads itself and all before it.
    """
    b, s, _ = x.shape
    before = 0 if past is None else past.shape[4]
    mask = torch.ones(s, before + s, dtype=torch.bool, device=x.device).tril(before)
    cos, sin = (t.to(x.dtype) for t in turn)
    kept = []
    for i, layer in enumerate(llm.layers):
        attention = layer.self_attn
        h = layer.input_layernorm(x)
        q, k, v = (
            p(h).view(b, s, -1, attention.head_dim).transpose(1, 2)
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        q, k = q * cos + _turned(q) * sin, k * cos + _turned(k) * sin
        if past is not None:
            k, v = torch.cat([past[i, 0], k], 2), torch.cat([past[i, 1], v], 2)
        kept.append(torch.stack([k, v]))
        repeats = q.shape[1] // k.shape[1]
        out = F.scaled_dot_product_attention(q, k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1), mask)
        x = x + attention.o_proj(out.transpose(1, 2).reshape(b, s, -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    done: Tensor = llm.norm(x)
    return done, torch.stack(kept)


def _turned(x: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)
