"""The vision tower of Qwen2.5-VL with a tracking-conditioning (TraCon) register, dense and batched.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`), the TraCon register: learnable tokens
appended to the image's before the frozen vision encoder. The tower is S. Bai et al., "Qwen2.5-VL Technical Report",
2025, as in the library transformers, whose own modules hold the weights here.

| symbol | name here | shape |
| --- | --- | --- |
| R_tra | `register` | (L, D) |
| F_s, F_d | `shallow`, `deep`: patch tokens behind block `shallow_block`, behind the last | (B, N, D) |
| encoded register | `register` of the result | (B, L, D) |

The library walks over windows one by one. Here all windows of a block are one attention call, which gives the same
(tested to 1e-5) and can be captured in a graph. The register sees only itself in windowed blocks (`own_window`) or
lends its keys and values to every window (`shared`). In blocks of full attention it meets the patches either way. Its
tokens are not rotated, so that it does not depend on the image's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RegisterMode = Literal["own_window", "shared"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the tower says of an image. Tokens are in raster order."""

    shallow: Tensor
    """Patch tokens behind the shallow block, (B, N, D)."""
    deep: Tensor
    """Patch tokens behind the last block, (B, N, D)."""
    register: Tensor
    """Encoded register, (B, L, D)."""
    grid: tuple[int, int]
    """Number of rows and columns that the patch tokens stand in."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What depends on the size of an image only."""

    order: Tensor
    """For each place in window order, its index in raster order, (N,)."""
    back: Tensor
    """For each place in raster order, its index in window order, (N,)."""
    cos: Tensor
    """Cosines of the rotary embedding, in window order, (N + L, head / 2)."""
    sin: Tensor
    """Sines of the rotary embedding, in window order, (N + L, head / 2)."""
    windows: tuple[int, ...]
    """Number of patches in each window."""


class ConvStem(nn.Module):
    """Patches by four-, two- and many-fold convolutions: learns in minutes what a linear patch takes days for.

    Ours, for the edge preset only. stride: 16 pixels, or any multiple of 4.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        last = stride // 4
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 24, 4, 2, 1),
            nn.GroupNorm(6, 24),
            nn.ReLU(),
            nn.Conv2d(24, 64, 3, 2, 1),
            nn.GroupNorm(8, 64),
            nn.ReLU(),
            nn.Conv2d(64, width, last, last),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, width, H / stride, W / stride)."""
        out: Tensor = self.layers(image)
        return out


class RegisterVisionEncoder(nn.Module):
    """Patches -> tower -> shallow and deep tokens, and the register as it comes out.

    visual: the library's tower. length: tokens of the register, a multiple of the merger's 4, or 0. stem: replaces
    the tower's own patch embedding.
    """

    def __init__(
        self,
        visual: Any,
        length: int,
        shallow_block: int,
        mode: RegisterMode = "own_window",
        stem: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.visual, self.stem, self.mode, self.shallow_block = visual, stem, mode, shallow_block
        config = visual.config
        self.patch, self.merge, self.heads = config.patch_size, config.spatial_merge_size, config.num_heads
        self.full_blocks = frozenset(config.fullatt_block_indexes)
        self.length = length
        if length % self.merge**2:
            raise ValueError(f"a register of {length} tokens does not fill whole groups of {self.merge**2}")
        self.register = nn.Parameter(torch.randn(length, config.hidden_size) * 0.02) if length else None
        self._geometry: dict[tuple[int, int, str], Geometry] = {}

    def geometry(self, rows: int, columns: int, device: torch.device) -> Geometry:
        """What depends on a size of rows x columns patches only. It is computed once."""
        key = (rows, columns, str(device))
        if key not in self._geometry:
            with torch.no_grad():
                self._geometry[key] = self._measure(rows, columns, device)
        return self._geometry[key]

    def _measure(self, rows: int, columns: int, device: torch.device) -> Geometry:
        from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

        m = self.merge
        grid = torch.tensor([[1, rows, columns]])
        window, ends = get_vision_window_index(grid, m, self.visual.config.window_size, self.patch)
        raster = torch.arange(rows * columns).view(rows // m, m, columns // m, m).permute(0, 2, 1, 3)
        order = raster.reshape(-1, m * m)[window].reshape(-1)
        place = get_vision_position_ids(grid, m).view(-1, m * m, 2)[window].reshape(-1, 2)
        place = torch.cat([place, place.new_zeros(self.length, 2)])
        cos, sin = self.visual.rotary_pos_emb(torch.zeros(1), place.cpu())
        sizes = tuple((ends[1:] - ends[:-1]).tolist())
        return Geometry(order.to(device), torch.argsort(order).to(device), cos.to(device), sin.to(device), sizes)

    def embed(self, image: Tensor) -> Tensor:
        """(B, C, H, W), or (B, 2 C, H, W) with the previous frame first -> (B, D, rows, columns)."""
        if self.stem is not None:
            out: Tensor = self.stem(image)
            return out
        weight = self.visual.patch_embed.proj.weight  # (D, C, 2, P, P): two frames
        if image.shape[1] == weight.shape[1]:
            return F.conv2d(image, weight.sum(2), stride=self.patch)
        both = torch.cat([weight[:, :, 0], weight[:, :, 1]], 1)
        return F.conv2d(image, both, stride=self.patch)

    def forward(self, image: Tensor) -> Encoded:
        """Encode an image. Its sides are multiples of merge x patch pixels."""
        x = self.embed(image)
        rows, columns = int(x.shape[2]), int(x.shape[3])
        g = self.geometry(rows, columns, x.device)
        n = rows * columns
        x = x.flatten(2).transpose(1, 2)[:, g.order]
        if self.register is not None:
            x = torch.cat([x, self.register.to(x.dtype)[None].expand(len(x), -1, -1)], 1)
        shallow = x
        for i, block in enumerate(self.visual.blocks):
            x = x + self._attend(block.attn, block.norm1(x), g, n, full=i in self.full_blocks)
            x = x + block.mlp(block.norm2(x))
            if i == self.shallow_block:
                shallow = x
        return Encoded(shallow[:, :n][:, g.back], x[:, :n][:, g.back], x[:, n:], (rows, columns))

    def merged(self, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
        """Shallow, deep and register tokens through the tower's own merger: (B, N / 4, out) each, raster order."""
        m = self.merge

        def through(x: Tensor) -> Tensor:
            b, n, d = x.shape
            out: Tensor = self.visual.merger(x.reshape(b * n, d))
            return out.view(b, n // m**2, -1)

        register = encoded.register
        empty = register.new_zeros(len(register), 0, self.visual.config.out_hidden_size)
        return (
            through(in_groups(encoded.shallow, encoded.grid, m)),
            through(in_groups(encoded.deep, encoded.grid, m)),
            through(register) if self.length else empty,
        )

    def _attend(self, attention: Any, x: Tensor, g: Geometry, n: int, *, full: bool) -> Tensor:
        b, tokens, width = x.shape
        q, k, v = attention.qkv(x).view(b, tokens, 3, self.heads, width // self.heads).unbind(2)
        cos, sin = g.cos[None, :, None].to(x.dtype), g.sin[None, :, None].to(x.dtype)
        q, k = q * cos + _turned(q) * sin, k * cos + _turned(k) * sin
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v) if full else self._in_windows(q, k, v, g.windows, n)
        done: Tensor = attention.proj(out.transpose(1, 2).reshape(b, tokens, width))
        return done

    def _in_windows(self, q: Tensor, k: Tensor, v: Tensor, windows: tuple[int, ...], n: int) -> Tensor:
        """Attention inside windows of patches (a batch where they are alike), and of the register."""
        lent = (k[:, :, n:], v[:, :, n:]) if self.mode == "shared" and self.length else None
        if len(set(windows)) == 1:
            out = self._alike(q[:, :, :n], k[:, :, :n], v[:, :, :n], len(windows), lent)
        else:
            q_, k_, v_ = (torch.split(t[:, :, :n], list(windows), 2) for t in (q, k, v))
            parts = [self._alike(*each, 1, lent) for each in zip(q_, k_, v_, strict=True)]
            out = torch.cat(parts, 2)
        if not self.length:
            return out
        return torch.cat([out, F.scaled_dot_product_attention(q[:, :, n:], k[:, :, n:], v[:, :, n:])], 2)

    def _alike(self, q: Tensor, k: Tensor, v: Tensor, count: int, lent: tuple[Tensor, Tensor] | None) -> Tensor:
        b, h, n, d = q.shape

        def cut(t: Tensor) -> Tensor:
            return t.reshape(b, h, count, n // count, d).permute(0, 2, 1, 3, 4).reshape(b * count, h, n // count, d)

        q, k, v = cut(q), cut(k), cut(v)
        if lent is not None:
            more = [t[:, None].expand(-1, count, -1, -1, -1).reshape(b * count, h, -1, d) for t in lent]
            k, v = torch.cat([k, more[0]], 2), torch.cat([v, more[1]], 2)
        out = F.scaled_dot_product_attention(q, k, v)
        return out.view(b, count, h, n // count, d).permute(0, 2, 1, 3, 4).reshape(b, h, n, d)


def in_groups(x: Tensor, grid: tuple[int, int], merge: int) -> Tensor:
    """(B, N, D) in raster order -> the same tokens, one merge x merge group after the other, as a merger takes them."""
    b, n, d = x.shape
    rows, columns = grid
    x = x.view(b, rows // merge, merge, columns // merge, merge, d).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, n, d)


def _turned(x: Tensor) -> Tensor:
    """Rotate half of each head, as the library's rotary embedding does."""
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)
