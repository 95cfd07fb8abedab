"""The hard splits of `in-plane-convex`: which scenes they are, and the hash that names them.

Two set-ups, each with 100 scenes for validation and 100 for the test. Rule: scene k of a split is seed k, with a probe
that stands (ips) where k is even and one that slides (ipm) where it is odd. They were drawn before any tracker was
tuned on them. The tests hold the hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sonosteer.core.errors import InputError
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.setups import Split
from sonosteer.sim.wild_hash import rounded

#: pictures that are hard to see the needle in, and a rig whose encoders say less of where the tip is
HARD_SETUPS = ("in-plane-hard-view", "in-plane-hard-plant")
#: fields that scenes have had only since the splits were frozen. None of these scenes uses them
LATER = ("plant", "nonholonomic")
HARD_SCENES = 100  # chosen: enough that a clip in fifty that is lost for good is seen


def hard_scenes(setup: str, split: Split, count: int = HARD_SCENES) -> Iterator[Scene]:
    """Yield the first `count` scenes of a hard split. Raises InputError for another set-up or too many."""
    if setup not in HARD_SETUPS:
        raise InputError(f"there is no hard set-up called {setup!r}; there are: {', '.join(HARD_SETUPS)}")
    if not 0 < count <= HARD_SCENES:
        raise InputError(f"a hard split has {HARD_SCENES} scenes, not {count}")
    for k in range(count):
        yield make_scene(f"{setup}/{split}", k, mode=("ips", "ipm")[k % 2])


def hard_world_hash() -> str:
    """SHA-256 of the fields of every scene of the hard validation and test splits, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    splits: tuple[Split, ...] = ("validation", "test")
    for setup in HARD_SETUPS:
        for split in splits:
            for scene in hard_scenes(setup, split):
                name, fields = rounded(scene)
                told = {key: value for key, value in fields.items() if key not in LATER}
                digest.update(repr((name, told)).encode())
    return digest.hexdigest()
