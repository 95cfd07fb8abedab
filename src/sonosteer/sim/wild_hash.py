"""The name of the world `in-the-wild`: a hash of what its seeds draw. What was trained or measured names it."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, get_args

from sonosteer.sim.setups import Split
from sonosteer.sim.wild import draw_wild_scene

HASHED_SEEDS = 60  # chosen: seeds of each split, enough that every kind of scanner, body and needle comes up
DIGITS = 9  # chosen: significant digits of a number, so that the last bits of a machine's sine do not count


def wild_world_hash() -> str:
    """SHA-256 of the fields of the first scenes of each split, 64 hexadecimal digits. Takes a third of a second.

    It covers what is drawn from the seed. How a scene is rendered is held by the tests of `sim`.
    """
    digest = hashlib.sha256()
    for split in get_args(Split):
        for seed in range(HASHED_SEEDS):
            digest.update(repr((split, seed, rounded(draw_wild_scene(seed, split)))).encode())
    return digest.hexdigest()


def rounded(value: Any) -> Any:
    """The same with every float as text of DIGITS significant digits, and dataclasses as (name, fields)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: rounded(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return type(value).__name__, fields
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return tuple(rounded(inner) for inner in value)
    if isinstance(value, float):
        return f"{value + 0.0:.{DIGITS}g}"
    return value
