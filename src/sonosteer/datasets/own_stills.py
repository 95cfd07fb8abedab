"""Labelled frames of a person as stills for the detector, and how often they are drawn beside simulated ones.

A label is a tip only. The shaft is unknown, so nothing is asked of it (`detector_samples`). The earlier picture is the
frame itself, since a data set of labels holds no other. A frame whose tip cannot be seen may still show a needle, so it
is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64, U8
from sonosteer.core.errors import InputError
from sonosteer.datasets.stills import STILL_FIELDS, STORED_POINTS, STORED_PX, Stills
from sonosteer.datasets.videos import DataSet
from sonosteer.imaging.detector_planes import reduce_picture


def labelled_stills(folders: Sequence[Path]) -> Stills:
    """The frames with a visible tip in the splits train and validation of data sets. The split test is left alone.

    Raises InputError for a folder that is no data set, and if there is no such frame.
    """
    found = [
        _store(np.asarray(video.frames[k]), video.tips_px[k])
        for folder in folders
        for video in DataSet(folder).videos("train", "validation")
        for k in np.flatnonzero(video.visible)
    ]
    if not found:
        raise InputError(f"{folders[0]} has no frame with a visible tip to learn from: label some first")
    return Stills(**{name: np.stack([one[name] for one in found]) for name in STILL_FIELDS})


def joined_stills(one: Stills, other: Stills) -> Stills:
    """Both, one after the other."""
    return Stills(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in STILL_FIELDS})


def drawn_places(simulated: int, own: int, fraction: float) -> NDArray[np.int64]:
    """Numbers of the stills of a round in which own ones, which come last, are about this fraction of all.

    Raises InputError unless the fraction is above 0 and below 1.
    """
    if not 0 < fraction < 1:
        raise InputError(f"stills.own is {fraction:g}, but must be above 0 and below 1")
    times = max(1, round(simulated * fraction / (1 - fraction) / own))
    return np.concatenate([np.arange(simulated), np.tile(np.arange(simulated, simulated + own), times)])


def _store(grey: U8, tip: F64) -> dict[str, NDArray[np.generic]]:
    small = reduce_picture(grey, STORED_PX)
    pixels = np.zeros((2, STORED_PX, STORED_PX), np.uint8)
    pixels[:, : small.shape[0], : small.shape[1]] = small
    scale = np.array(small.shape[::-1]) / np.array(grey.shape[::-1])
    return {
        "pixels": pixels,
        "size": np.array(small.shape[::-1], np.int16),
        "tip": ((tip + 0.5) * scale - 0.5).astype(np.float32),
        "visible": np.array(True),
        "shaft": np.full((STORED_POINTS, 2), np.nan, np.float32),
        "seen": np.zeros(STORED_POINTS, bool),
        "width": np.array(np.nan, np.float32),
    }
