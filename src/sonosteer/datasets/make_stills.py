"""Draws stills of the set-up `in-the-wild`, for a detector to learn from, and stores them.

A shard holds `SHARD` scenes in a row. A shard that exists is not drawn again, so that drawing can be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Point
from sonosteer.core.types import Frame
from sonosteer.datasets.stills import STORED_POINTS, STORED_PX, shard_path
from sonosteer.imaging.detector_planes import reduce_picture
from sonosteer.recording.tables import make_folder
from sonosteer.runtime.executor import run_trials
from sonosteer.sim.setups import Split
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.wild import wild_still

SHARD = 120  # scenes in a shard. chosen: a minute's work or less, and a multiple of scenes that share their tissue


def draw_shard(number: int, split: Split, folder: Path) -> None:
    """Draw the stills of a shard and store them, unless they are stored."""
    path = shard_path(folder, split, number)
    if path.exists():
        return
    drawn = [_store(*wild_still(seed, split)) for seed in range(number * SHARD, (number + 1) * SHARD)]
    stacked = {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        np.savez(file, **stacked)  # type: ignore[arg-type]  # none is called as the one option
    fresh.replace(path)


def draw_stills(
    folder: Path,
    split: Split,
    shards: range,
    *,
    executor: str = "process",
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> None:
    """Draw all shards of a range into a folder. Those that are there are kept.

    Raises InputError if nothing can be written there.
    """
    make_folder(folder)
    missing = [n for n in shards if not shard_path(folder, split, n).exists()]
    done = len(shards) - len(missing)
    progress(f"{split} stills", done * SHARD, len(shards) * SHARD)
    with closing(run_trials(partial(draw_shard, split=split, folder=folder), missing, executor)) as drawn:
        for _ in drawn:
            done += 1
            progress(f"{split} stills", done * SHARD, len(shards) * SHARD)


def _store(frame: Frame, earlier: Frame, truth: NeedleTruth) -> dict[str, NDArray[np.generic]]:
    """One still as it is stored. Frame and earlier frame are of one size."""
    pixels = np.zeros((2, STORED_PX, STORED_PX), np.uint8)
    for k, one in enumerate((frame, earlier)):
        small = reduce_picture(one.grey(), STORED_PX)
        pixels[k, : small.shape[0], : small.shape[1]] = small
    kx, ky = (a / b for a, b in zip(small.shape[::-1], frame.size_px, strict=True))
    shaft = np.full((STORED_POINTS, 2), np.nan, np.float32)
    seen = np.zeros(STORED_POINTS, bool)
    width = np.nan
    if truth.shaft_px and truth.width_px is not None:
        shaft[:] = [_moved(p, kx, ky) for p in truth.shaft_px]
        seen[:] = truth.shaft_seen
        width = truth.width_px * 0.5 * (kx + ky)
    tip = (np.nan, np.nan) if truth.tip_px is None else _moved(truth.tip_px, kx, ky)
    return {
        "pixels": pixels,
        "size": np.array([small.shape[1], small.shape[0]], np.int16),
        "tip": np.array(tip, np.float32),
        "visible": np.array(truth.visible),
        "shaft": shaft,
        "seen": seen,
        "width": np.array(width, np.float32),
    }


def _moved(point: Point, kx: float, ky: float) -> Point:
    """A place of the original in the stored picture, px."""
    return (point[0] + 0.5) * kx - 0.5, (point[1] + 0.5) * ky - 0.5
