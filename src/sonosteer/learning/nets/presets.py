"""Sizes: `tiny` for tests, `edge` which ships, `base` for a GPU, and the published Qwen2.5-VL towers by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from sonosteer.core.errors import InputError
from sonosteer.learning.nets.cdf_head import Fusion, Taps
from sonosteer.learning.nets.qwen_vision import RegisterMode

QWEN = {
    "qwen3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}


@dataclass(frozen=True, slots=True)
class Tower:
    """Shape of a Qwen2.5-VL vision tower."""

    width: int
    """Width of a token: number of channels."""
    depth: int
    """Number of blocks."""
    heads: int
    """Number of attention heads."""
    mlp: int
    """Width of the hidden layer in a block's MLP: number of channels."""
    patch: int = 14
    """Side of a patch, px."""
    merge: int = 2
    """Number of neighbours along each axis that the merger joins to one."""
    window_px: int = 112
    """Side of an attention window, px."""
    full_blocks: tuple[int, ...] = ()
    """Each index of a block with attention over the whole image."""
    out: int = 256
    """Width of a token behind the merger: number of channels."""
    stem: Literal["conv", "linear"] = "conv"
    """conv: chosen here, one grey channel a frame. linear: the published patch embedding, three channels."""

    def library_config(self) -> Any:
        """The library's configuration of the same shape."""
        from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig

        return Qwen2_5_VLVisionConfig(
            depth=self.depth,
            hidden_size=self.width,
            intermediate_size=self.mlp,
            num_heads=self.heads,
            in_channels=3,
            patch_size=self.patch,
            spatial_merge_size=self.merge,
            temporal_patch_size=2,
            window_size=self.window_px,
            out_hidden_size=self.out,
            fullatt_block_indexes=list(self.full_blocks),
        )


@dataclass(frozen=True, slots=True)
class TrackingConfig:
    """Everything that decides the tracking network's shape."""

    preset: str
    """Name of the preset that it began as."""
    tower: Tower
    """Shape of the vision tower."""
    register: int
    """Number of register tokens. 0: none."""
    register_mode: RegisterMode = "own_window"
    """own_window: the register sees only itself in windowed blocks. shared: every window reads it."""
    shallow_block: int = 2
    """Number of the block whose output is F_s, an index."""
    space: Literal["patch", "merged"] = "patch"
    """patch: the head reads tokens before the merger. merged: behind it."""
    c: int = 128
    """Width of a token in the head: number of channels."""
    heads: int = 4
    """Number of attention heads in the head."""
    fusion: Fusion = "channel"
    """channel or position: what the semantic fusion attends over."""
    taps: Taps = "both"
    """both, shallow or deep: which tokens the head reads."""
    search_px: int = 160
    """Side of the search crop, px."""
    template_px: int = 64
    """Side of the template crop, px."""
    scale_mm: float = 0.25
    """Size of a pixel of the crops, mm."""
    pair: bool = True
    """Whether previous and present frame go in together. Otherwise only the present one does."""
    checkpoint: str = ""
    """Checkpoint whose weights it began with. Empty: random weights."""

    def __post_init__(self) -> None:
        cell = self.tower.patch * self.tower.merge
        for name in ("search_px", "template_px"):
            if getattr(self, name) % cell:
                raise InputError(f"model: {name} is {getattr(self, name)}, but must be a multiple of {cell}")
        if self.register % self.tower.merge**2:
            raise InputError(f"model: register is {self.register}, but must be a multiple of {self.tower.merge**2}")
        if not 0 <= self.shallow_block < self.tower.depth:
            raise InputError(f"model: shallow_block is {self.shallow_block}; the tower has {self.tower.depth} blocks")
        first = min(self.tower.full_blocks, default=self.tower.depth)
        if self.register and self.register_mode == "own_window" and self.shallow_block < first:
            raise InputError(
                f"model: the register meets the patches in block {first} first; a shallow tap at block "
                f"{self.shallow_block} would never feel it: shallow_block must be at least {first}"
            )


def _all(depth: int) -> tuple[int, ...]:
    return tuple(range(depth))


TRACKING_TINY = TrackingConfig(
    "tiny",
    Tower(width=32, depth=3, heads=2, mlp=64, patch=16, full_blocks=_all(3), out=32),
    register=4,
    shallow_block=1,
    c=32,
    heads=2,
    search_px=96,
    template_px=32,
    scale_mm=0.4,
)
TRACKING_EDGE = TrackingConfig(
    "edge", Tower(width=192, depth=6, heads=3, mlp=512, patch=16, full_blocks=_all(6)), register=8
)
TRACKING_BASE = TrackingConfig(
    "base",
    Tower(width=384, depth=12, heads=6, mlp=1024, patch=16, full_blocks=(2, 5, 8, 11), out=512),
    register=64,
    c=192,
    search_px=224,
    template_px=96,
)
TRACKING_QWEN_3B = TrackingConfig(
    "qwen3b",
    Tower(width=1280, depth=32, heads=16, mlp=3420, full_blocks=(7, 15, 23, 31), out=2048, stem="linear"),
    register=384,
    shallow_block=7,
    space="merged",
    c=256,
    heads=8,
    search_px=448,
    template_px=112,
    scale_mm=0.125,
    pair=False,
    checkpoint=QWEN["qwen3b"],
)
TRACKING_QWEN_7B = replace(
    TRACKING_QWEN_3B, preset="qwen7b", tower=replace(TRACKING_QWEN_3B.tower, out=3584), checkpoint=QWEN["qwen7b"]
)

TRACKING_PRESETS = {
    c.preset: c for c in (TRACKING_TINY, TRACKING_EDGE, TRACKING_BASE, TRACKING_QWEN_3B, TRACKING_QWEN_7B)
}


def tracking_preset(name: str) -> TrackingConfig:
    """A preset by name. Raises InputError if there is none."""
    if name not in TRACKING_PRESETS:
        raise InputError(f"there is no preset {name!r}; there are: {', '.join(TRACKING_PRESETS)}")
    return TRACKING_PRESETS[name]
