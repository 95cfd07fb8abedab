"""Scenes for steering: three tissues, each mild, middle or harsh by how strongly the bevel pulls.

Uncontrolled, an 18G needle ends about 3, 5.5 and 8 mm off its axis after 120 mm. The bevel points along +x at the
entry. The rest (speed, pauses, a retraction, entry angle, look) is drawn as for `axial`.
"""

from __future__ import annotations

from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.setups import RECIPES as RECIPES
from sonosteer.sim.setups import TISSUES as TISSUES

STEERING_START_MM = 2.0  # chosen: an insertion starts with this much needle in the tissue


def steering_scene(
    tissue: str, recipe: str = "middle", seed: int = 0, split: str = "test", depth_mm: float = 120.0, **fields: Any
) -> Scene:
    """Draw the scene of a seed. split and fields: as in `make_scene`. depth_mm: inserted length at the end.

    Raises InputError if the tissue or the recipe is unknown.
    """
    if tissue not in TISSUES:
        raise InputError(f"there is no tissue {tissue!r}; there are: {', '.join(TISSUES)}")
    if recipe not in RECIPES:
        raise InputError(f"there is no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
    fixed: dict[str, Any] = {
        "start_mm": STEERING_START_MM,
        "end_mm": depth_mm,
        "turns": 0,
        "roll_deg": 0.0,
        "breathing_mm": 0.0,
    }
    return make_scene(f"axial/{split}", seed, **{"material": tissue, "bevel_gain": RECIPES[recipe], **fixed, **fields})
