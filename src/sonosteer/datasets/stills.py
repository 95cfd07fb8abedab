"""Stored stills of the set-up `in-the-wild`, for a detector to learn from. `make_stills` draws them.

Each still is a frame and an earlier one of the same scene, reduced so that the longer side has `STORED_PX`. They lie in
shards: a file holds some scenes in a row.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.core.errors import InputError

STORED_PX = 400  # chosen: longer side of a stored still. A network of 320 px can look at its middle closely
MAX_IN_MEMORY = 1 << 30  # chosen: pictures of more bytes than this are left on the disk until they are looked at
STORED_POINTS = 16  # points of a stored shaft: what the set-up's truth has


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
    """Polyline from the tip back, (N, STORED_POINTS, 2), px. NaN where no needle is drawn."""
    seen: NDArray[np.bool_]
    """Could a person see the shaft at each point? (N, STORED_POINTS)."""
    width: F32
    """Width of the drawn shaft, (N,), px. NaN where no needle is drawn."""

    def __len__(self) -> int:
        return len(self.tip)


#: type and shape of each field of one still
STILL_FIELDS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "pixels": (np.uint8, (2, STORED_PX, STORED_PX)),
    "size": (np.int16, (2,)),
    "tip": (np.float32, (2,)),
    "visible": (np.bool_, ()),
    "shaft": (np.float32, (STORED_POINTS, 2)),
    "seen": (np.bool_, (STORED_POINTS,)),
    "width": (np.float32, ()),
}


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where a shard is stored."""
    return folder / f"{split}-{number:04d}.npz"


def load_stills(folder: Path, split: str, shards: range) -> Stills:
    """Read shards into memory. Raises InputError if one is missing, damaged or of another form."""
    paths = [shard_path(folder, split, number) for number in shards]
    ends = np.cumsum([len(_read(path, ["width"])["width"]) for path in paths])
    # filled one by one: the pictures of all shards are gigabytes, which must not be in memory twice
    whole = {name: _room(folder, (int(ends[-1]), *shape), kind) for name, (kind, shape) in STILL_FIELDS.items()}
    for path, end in zip(paths, ends.tolist(), strict=True):
        for name, values in _read(path, list(STILL_FIELDS)).items():
            whole[name][end - len(values) : end] = values
    return Stills(**whole)


def _room(folder: Path, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """An array to fill. A large one lies in a file without a name in the folder, so that memory may be smaller."""
    if math.prod(shape) < MAX_IN_MEMORY:
        return np.empty(shape, kind)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, kind, "w+", shape=shape)


def _read(path: Path, names: list[str]) -> dict[str, NDArray[np.generic]]:
    """Some fields of a shard."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            read = {name: file[name] for name in names}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: these stills were not drawn yet") from None
    except Exception as e:  # noqa: BLE001  a damaged file makes NumPy and zipfile raise nearly anything
        raise InputError(f"{path} cannot be read ({e}); remove it, and it is drawn again") from None
    count = read[names[0]].shape[:1]
    for name, values in read.items():
        kind, shape = STILL_FIELDS[name]
        if not count or values.dtype != kind or values.shape != (*count, *shape):
            raise InputError(f"{path} holds stills of another form ({name}); remove it, and it is drawn again")
    return read
