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
    """Shape of a Qwen2.5-VL vision tower. full_blocks: with attention over the whole image. out: width behind the
    merger. stem: "conv" (ours, one grey channel a frame) or "linear" (the published patch embedding, three channels).
    """

    width: int
    depth: int
    heads: int
    mlp: int
    patch: int = 14
    merge: int = 2
    window_px: int = 112
    full_blocks: tuple[int, ...] = ()
    out: int = 256
    stem: Literal["conv", "linear"] = "conv"

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
    """Everything that decides the tracking network's shape.

    register: tokens, 0 for none. shallow_block: whose output is F_s. space: tokens for the head before ("patch") or
    behind the merger ("merged"). c, heads: of the head. search_px, template_px: of the crops, scale_mm: a pixel of
    theirs. pair: previous and present frame go in together; else the present one only.
    """

    preset: str
    tower: Tower
    register: int
    register_mode: RegisterMode = "own_window"
    shallow_block: int = 2
    space: Literal["patch", "merged"] = "patch"
    c: int = 128
    heads: int = 4
    fusion: Fusion = "channel"
    taps: Taps = "both"
    search_px: int = 160
    template_px: int = 64
    scale_mm: float = 0.25
    pair: bool = True
    checkpoint: str = ""

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


TINY = TrackingConfig(
    "tiny",
    Tower(32, 3, 2, 64, patch=16, full_blocks=_all(3), out=32),
    register=4,
    shallow_block=1,
    c=32,
    heads=2,
    search_px=96,
    template_px=32,
    scale_mm=0.4,
)
EDGE = TrackingConfig("edge", Tower(192, 6, 3, 512, patch=16, full_blocks=_all(6)), register=8)
BASE = TrackingConfig(
    "base",
    Tower(384, 12, 6, 1024, patch=16, full_blocks=(2, 5, 8, 11), out=512),
    register=64,
    c=192,
    search_px=224,
    template_px=96,
)
QWEN_3B = TrackingConfig(
    "qwen3b",
    Tower(1280, 32, 16, 3420, full_blocks=(7, 15, 23, 31), out=2048, stem="linear"),
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
QWEN_7B = replace(QWEN_3B, preset="qwen7b", tower=replace(QWEN_3B.tower, out=3584), checkpoint=QWEN["qwen7b"])

PRESETS = {c.preset: c for c in (TINY, EDGE, BASE, QWEN_3B, QWEN_7B)}


def preset(name: str) -> TrackingConfig:
    """A preset by name. InputError if there is none."""
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
