"""What the compared networks are built of: a small ResNet, depth-wise correlation, a ViT block, labels per cell.

All sizes are chosen. The papers that `table.py` names give the parts. Places and lengths are in crop units.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.core.errors import InputError
from sonosteer.learning.nets import face
from sonosteer.learning.nets.face import Candidates, Raw, TipTarget

Net = TypeVar("Net")
Widths = tuple[int, int, int, int, int]
#: chosen: with these channels a network costs about as much as the edge preset of the tracking network
WIDTHS: Widths = (24, 48, 96, 128, 192)
#: chosen: side of the tip's box in the template, as a fraction of its side: 10 mm in 64 px of 0.25 mm
BOX_FRACTION = 0.625
#: chosen: distances to the edges begin at half a box of typical size, in crop units
HALF_BOX = 0.1
#: chosen: standard deviation that a network begins with, in crop units
FIRST_SD = 0.1


def build_net(kind: Callable[..., Net], search_px: int, template_px: int, settings: Mapping[str, Any]) -> Net:
    """A network of a class.

    Raises InputError for a size that is no multiple of 32 px, or a setting that it does not have.
    """
    for name, value in (("search_px", search_px), ("template_px", template_px)):
        if value <= 0 or value % 32:
            raise InputError(f"model: {name} is {value}, but must be a multiple of 32")
    known = list(inspect.signature(kind).parameters)[2:]
    for name in settings:
        if name not in known:
            raise InputError(f"model: there is no setting {name!r}; there are: {', '.join(known)}")
    return kind(search_px, template_px, **settings)


def two_frames(template: Tensor) -> Tensor:
    """(B, 1, T, T) -> (B, 2, T, T), normalised_grey: a template stands still."""
    return face.normalised_grey(template).expand(-1, 2, -1, -1)


def centre_mask(side: int, fraction: float, like: Tensor) -> Tensor:
    """(side, side): 1 in the middle square of `fraction` of the side, else 0."""
    at = (torch.arange(side, device=like.device) + 0.5) / side
    near = ((at - 0.5).abs() < fraction / 2).to(like.dtype)
    return near[:, None] * near


# Convolutions


def conv(
    c_in: int, c_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1, pad: int | None = None
) -> nn.Module:
    """Convolution, normalised in groups of channels (small batches), ReLU. The size stays, but for the stride."""
    pad = dilation * (kernel // 2) if pad is None else pad
    layer = nn.Conv2d(c_in, c_out, kernel, stride, pad, dilation, bias=False)
    return nn.Sequential(layer, nn.GroupNorm(8, c_out), nn.ReLU())


def tower(c_in: int, c: int, depth: int) -> nn.Module:
    """`depth` 3 x 3 convolutions."""
    return nn.Sequential(*(conv(c_in if i == 0 else c, c) for i in range(depth)))


class Residual(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        second = nn.Conv2d(c_out, c_out, 3, 1, dilation, dilation, bias=False)
        self.body = nn.Sequential(conv(c_in, c_out, 3, stride, dilation), second, nn.GroupNorm(8, c_out))
        self.shortcut = nn.Identity() if c_in == c_out and stride == 1 else nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, h, w) -> (B, c_out, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class TinyResNet(nn.Module):
    """Three levels of features, all at stride 8: the last two are dilated instead (as in SiamRPN++)."""

    def __init__(self, channels: int = 2, widths: Widths = WIDTHS) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.stem = nn.Sequential(conv(channels, a, 4, 2, pad=1), conv(a, b, 4, 2, pad=1), Residual(b, b))
        first = nn.Sequential(Residual(b, c, stride=2), Residual(c, c))
        self.stages = nn.ModuleList([first, Residual(c, d, dilation=2), Residual(d, e, dilation=4)])

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, channels, H, W) -> three of (B, width, H / 8, W / 8)."""
        x, levels = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class Levels(nn.Module):
    """The ResNet's three levels, each brought to c channels by 1 x 1."""

    def __init__(self, c: int, widths: Widths) -> None:
        super().__init__()
        self.backbone = TinyResNet(2, widths)
        self.adjust = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, c, 1, bias=False), nn.GroupNorm(8, c)) for w in widths[2:]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 2, H, W) -> three of (B, c, H / 8, W / 8)."""
        return [adjust(x) for adjust, x in zip(self.adjust, self.backbone(image), strict=True)]


def template_centre(x: Tensor, most: int = 7) -> Tensor:
    """Middle `most` x `most` cells. An even map has no middle cell: means of 2 x 2 first, one cell fewer a side."""
    x = F.avg_pool2d(x, 2, 1) if x.shape[-1] % 2 == 0 else x
    cut = max(x.shape[-1] - most, 0) // 2
    return x[..., cut : x.shape[-2] - cut, cut : x.shape[-1] - cut]


def _by_channel(x: Tensor, kernel: Tensor, pad: int) -> Tensor:
    b, c = x.shape[:2]
    out = F.conv2d(
        x.reshape(1, b * c, *x.shape[2:]), kernel.reshape(b * c, 1, *kernel.shape[2:]), None, 1, pad, 1, b * c
    )
    return out.view(b, c, *out.shape[2:])


class _Correlation(torch.autograd.Function):
    """Its gradients are two more depth-wise correlations: on a CPU ten times as fast as the library's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return _by_channel(x, kernel, kernel.shape[-1] // 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, kernel = (t.to(grad.dtype) for t in ctx.saved_tensors)
        pad = kernel.shape[-1] // 2
        return _by_channel(grad, kernel.flip(-1, -2), pad), _by_channel(x, grad, pad)


def correlate(x: Tensor, kernel: Tensor) -> Tensor:
    """Depth-wise cross-correlation of (B, c, h, w) with its own (B, c, n, n), n odd, zeros around: (B, c, h, w)."""
    if not torch.is_grad_enabled():
        return _by_channel(x, kernel, kernel.shape[-1] // 2)
    out: Tensor = _Correlation.apply(x, kernel)  # type: ignore[no-untyped-call]
    return out


class LevelHeads(nn.Module):
    """Depth-wise correlation and a small head per level. The three answers are added with learned weights."""

    def __init__(self, c: int, outputs: int, *, sure: bool) -> None:
        super().__init__()
        self.template = nn.ModuleList(conv(c, c) for _ in range(3))
        self.search = nn.ModuleList(conv(c, c) for _ in range(3))
        self.heads = nn.ModuleList(
            nn.Sequential(conv(c, c, 1), begin(nn.Conv2d(c, outputs, 1), sure=sure)) for _ in range(3)
        )
        self.level_weight = nn.Parameter(torch.zeros(3))

    def kernels(self, levels: Sequence[Tensor]) -> Tensor:
        """Template levels -> (B, 3, c, n, n)."""
        return torch.stack([layer(z) for layer, z in zip(self.template, levels, strict=True)], 1)

    def forward(self, levels: Sequence[Tensor], kernels: Tensor) -> Tensor:
        """Search levels and the template's kernels -> (B, outputs, h, w)."""
        weights = self.level_weight.softmax(0)
        each = [
            head(correlate(layer(x), kernels[:, i])) * weights[i]
            for i, (layer, head, x) in enumerate(zip(self.search, self.heads, levels, strict=True))
        ]
        return torch.stack(each).sum(0)


Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def begin(layer: Layer, *, sure: bool, first: float = 0.0) -> Layer:
    """Small weights to begin with. first: bias of the first output. sure: the last two are visible and log sd."""
    nn.init.normal_(layer.weight, 0.0, 0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    nn.init.constant_(layer.bias[:1], first)
    if sure:
        nn.init.constant_(layer.bias[-1:], math.log(FIRST_SD))
    return layer


def per_cell(maps: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h w, c)."""
    return maps.flatten(2).transpose(1, 2)


# Transformer


class VitBlock(nn.Module):
    """RMSNorm, attention, RMSNorm, SwiGLU, as in the tower of ours."""

    def __init__(self, c: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(c, eps=1e-6), nn.RMSNorm(c, eps=1e-6)
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)
        self.gate, self.up, self.down = nn.Linear(c, mlp), nn.Linear(c, mlp), nn.Linear(mlp, c)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, c) -> queries, keys, values (B, heads, N, c / heads)."""
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Tokens and what each read, (B, heads, N, c / heads) -> the block's output."""
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        out: Tensor = x + self.down(F.silu(self.gate(n := self.norm2(x))) * self.up(n))
        return out

    def forward(self, x: Tensor, bias: Tensor | None = None, scale: float | None = None, first: int = 0) -> Tensor:
        """bias: added to the logits. first: tokens before this one are read, but neither ask nor come out."""
        q, k, v = self.project(x)
        return self.finish(x[:, first:], F.scaled_dot_product_attention(q[:, :, first:], k, v, bias, scale=scale))


def mlp_head(c: int, outputs: int, *, sure: bool, first: float = 0.0) -> nn.Module:
    """Three linear layers, ReLU between."""
    last = begin(nn.Linear(c, outputs), sure=sure, first=first)
    return nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, c), nn.ReLU(), last)


# Labels of cells at places (K, 2), and losses


def from_ltrb(at: Tensor, ltrb: Tensor) -> tuple[Tensor, Tensor]:
    """Distances to the left, upper, right and lower edge (B, K, 4) -> centre, size (B, K, 2)."""
    return at + (ltrb[..., 2:] - ltrb[..., :2]) / 2, ltrb[..., 2:] + ltrb[..., :2]


def cells(per_cell: Tensor) -> Tensor:
    """(K, 2) places of the cells of a square map, of which (B, K, ...) is given."""
    side = round(per_cell.shape[1] ** 0.5)
    return face.cell_centres(side, side, per_cell)


def nearest_cell(at: Tensor, target: TipTarget) -> Tensor:
    """(B,) number of the cell nearest the target's centre."""
    return ((at - target.centre[:, None]) ** 2).sum(-1).argmin(1)


def cell_candidates(raw: Raw) -> Candidates:
    """Every cell is one, of raw score, ltrb, visible and log_sd. A box's edge is at most a crop's side away."""
    centre, size = from_ltrb(cells(raw["ltrb"]), (raw["ltrb"] - 2).sigmoid())  # chosen: 0.12 to begin with
    return Candidates(raw["score"].sigmoid(), centre, size, raw["visible"].sigmoid(), raw["log_sd"].exp())


def inside_box(at: Tensor, target: TipTarget) -> Tensor:
    """(B, K): cells within the box, and the one nearest its centre. None without a tip."""
    off = (at - target.centre[:, None]).abs() / (target.size[:, None] / 2)
    return _with_nearest(at, target, (off < 1).all(-1))


def inside_ellipse(at: Tensor, target: TipTarget, fraction: float) -> Tensor:
    """(B, K): cells within the ellipse whose axes are the box's sides times `fraction`. The rest as above."""
    off = (at - target.centre[:, None]) / (target.size[:, None] * fraction / 2)
    return _with_nearest(at, target, (off**2).sum(-1) < 1)


def _with_nearest(at: Tensor, target: TipTarget, inside: Tensor) -> Tensor:
    return (inside | F.one_hot(nearest_cell(at, target), len(at)).bool()) & (target.present[:, None] > 0)


def centerness(at: Tensor, target: TipTarget) -> Tensor:
    """(B, K) of the target's own box: 1 in its middle, 0 at its edges (FCOS)."""
    to_edge = face.as_corners(target.centre, target.size)[:, None] - torch.cat([at, at], -1)
    before, behind = (-to_edge[..., :2]).clamp(min=0), to_edge[..., 2:].clamp(min=0)
    ratio = torch.minimum(before, behind) / torch.maximum(before, behind).clamp(min=1e-6)
    return ratio.prod(-1).clamp(min=0).sqrt()


def mean_of(each: Tensor, chosen: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of (B, K) over the chosen, samples weighted by (B,). 0 where none is chosen."""
    worth = chosen.to(each.dtype) if weight is None else chosen * weight[:, None]
    return (each * worth).sum() / worth.sum().clamp(min=1.0)


def drawn(among: Tensor, most: int) -> Tensor:
    """At most so many of each row of (B, K), by chance (torch's own generator, which a training seeds and keeps)."""
    chance = torch.rand(among.shape, device=among.device) * among
    return among & (chance >= chance.topk(min(most, among.shape[1]), 1).values[:, -1:])


def two_class(logits: Tensor, positive: Tensor, negative: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of (B, K, 2), background first: half from the positive cells, half from the negative."""
    log_p = logits.log_softmax(-1)
    return (mean_of(-log_p[..., 1], positive, weight) + mean_of(-log_p[..., 0], negative)) / 2


def overlaps(centre: Tensor, size: Tensor, target: TipTarget) -> tuple[Tensor, Tensor]:
    """(generalised IoU, IoU) of every cell's box (B, K) with the target's."""
    truth = face.as_corners(target.centre, target.size)[:, None]
    return face.giou(face.as_corners(centre, size), truth)


def beside_the_class(raw: Raw, cands: Candidates, target: TipTarget) -> tuple[Tensor, Tensor, Tensor]:
    """What an anchor-free head learns beside its class: (cells within the box, centerness loss, IoU loss)."""
    at = cells(raw["ltrb"])
    positive = inside_box(at, target)
    central = F.binary_cross_entropy_with_logits(raw["centerness"], centerness(at, target), reduction="none")
    _, iou = overlaps(cands.centre, cands.size, target)
    misfit = -iou.clamp(min=1e-3).log()
    return positive, mean_of(central, positive, target.weight), mean_of(misfit, positive, target.weight)
