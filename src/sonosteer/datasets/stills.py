"""Stills of the set-up `in-the-wild`, stored small, for a detector to learn from.

A shard holds `SHARD` scenes in a row. Each still is a frame and an earlier one of the same scene, reduced so that the
longer side has `STORED_PX`. A shard that exists is not drawn again, so that drawing can be interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Frame
from sonosteer.runtime.executor import run_trials
from sonosteer.sim.setups import Split
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.wild import wild_still

STORED_PX = 400  # chosen: longer side of a stored still. A network of 320 px can look at its middle closely
SHARD = 120  # scenes in a shard. chosen: a minute's work or less, and a multiple of scenes that share their tissue


@dataclass(frozen=True, slots=True)
class Stills:
    """Stored stills, N of them. Places and widths are px of the stored picture."""

    pixels: U8
    """The frame and the earlier one, (N, 2, STORED_PX, STORED_PX), grey levels, black beyond `size`."""
    size: NDArray[np.int16]
    """Width and height of each stored picture, (N, 2), px."""
    tip: F32
    """Tip, (N, 2), px. NaN without a needle."""
    visible: NDArray[np.bool_]
    """Could a person see the tip? (N,)."""
    shaft: F32
    """Polyline from the tip back, (N, P, 2), px. NaN where no needle is drawn."""
    seen: NDArray[np.bool_]
    """Could a person see the shaft at each point? (N, P)."""
    width: F32
    """Width of the drawn shaft, (N,), px. NaN where no needle is drawn."""

    def __len__(self) -> int:
        return len(self.tip)


def reduced(pixels: U8, longer_px: int) -> tuple[U8, float, float]:
    """(picture whose longer side has longer_px, px of it per px of the original along x, along y)."""
    height, width = pixels.shape
    k = longer_px / max(width, height)
    size = max(round(width * k), 1), max(round(height * k), 1)
    how = cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=how).astype(np.uint8), size[0] / width, size[1] / height


def draw_shard(number: int, split: Split, folder: Path) -> None:
    """Draw the stills of a shard and store them, unless they are stored."""
    path = shard_path(folder, split, number)
    if path.exists():
        return
    drawn = [_store(*wild_still(seed, split)) for seed in range(number * SHARD, (number + 1) * SHARD)]
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        np.savez(file, **{name: np.stack([one[name] for one in drawn]) for name in drawn[0]})
    os.replace(fresh, path)


def draw_stills(
    folder: Path,
    split: Split,
    shards: range,
    *,
    executor: str = "process",
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> None:
    """Draw all shards of a range into a folder. Those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in shards if not shard_path(folder, split, n).exists()]
    done = len(shards) - len(missing)
    progress(f"{split} stills", done * SHARD, len(shards) * SHARD)
    for _ in run_trials(partial(draw_shard, split=split, folder=folder), missing, executor):
        done += 1
        progress(f"{split} stills", done * SHARD, len(shards) * SHARD)


def shard_path(folder: Path, split: Split, number: int) -> Path:
    """Where a shard is stored."""
    return folder / f"{split}-{number:04d}.npz"


def load_stills(folder: Path, split: Split, shards: range) -> Stills:
    """Read shards into memory. Raises InputError if one is missing or damaged."""
    parts = []
    for number in shards:
        path = shard_path(folder, split, number)
        try:
            with np.load(path) as file:
                parts.append({name: file[name] for name in Stills.__slots__})
        except (OSError, ValueError, KeyError) as e:
            raise InputError(f"{path} cannot be read ({e}); remove it, and it is drawn again") from None
    return Stills(**{name: np.concatenate([p[name] for p in parts]) for name in Stills.__slots__})


def _store(frame: Frame, earlier: Frame, truth: NeedleTruth) -> dict[str, NDArray[np.generic]]:
    """One still as it is stored."""
    pixels = np.zeros((2, STORED_PX, STORED_PX), np.uint8)
    for k, one in enumerate((frame, earlier)):
        small, kx, ky = reduced(one.pixels, STORED_PX)
        pixels[k, : small.shape[0], : small.shape[1]] = small
    drawn = len(truth.shaft_px) > 0 and truth.width_px is not None
    shaft = np.full((16, 2), np.nan, np.float32)
    seen = np.zeros(16, bool)
    if drawn:
        shaft[:] = [_moved(p, kx, ky) for p in truth.shaft_px]
        seen[:] = truth.shaft_seen
    tip = (np.nan, np.nan) if truth.tip_px is None else _moved(truth.tip_px, kx, ky)
    return {
        "pixels": pixels,
        "size": np.array([small.shape[1], small.shape[0]], np.int16),
        "tip": np.array(tip, np.float32),
        "visible": np.array(truth.visible),
        "shaft": shaft,
        "seen": seen,
        "width": np.array(truth.width_px * 0.5 * (kx + ky) if drawn and truth.width_px else np.nan, np.float32),
    }


def _moved(point: Point, kx: float, ky: float) -> Point:
    """A place of the original in the stored picture, px."""
    return (point[0] + 0.5) * kx - 0.5, (point[1] + 0.5) * ky - 0.5
