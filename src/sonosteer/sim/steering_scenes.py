"""Scenes for steering: three tissues, each mild, middle or harsh by how strongly the bevel pulls.

Uncontrolled, an 18G needle ends about 3, 5.5 and 8 mm off its axis after 120 mm. The bevel points along +x at the
entry; what the rest of the recipe draws (speed, pauses, a retraction, entry angle, look) is that of `axial`.
"""

from __future__ import annotations

from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.sim.scenes import Scene, make_scene

TISSUES = ("porcine", "bovine", "plastisol")
RECIPES = {"mild": 0.4, "middle": 0.7, "harsh": 1.0}  # factor on the bevel's force
START_MM = 2.0


def steering_scene(
    tissue: str, recipe: str = "middle", seed: int = 0, split: str = "test", depth_mm: float = 120.0, **fields: Any
) -> Scene:
    """The scene of a seed; fields: of `Scene`. InputError for an unknown tissue or recipe."""
    if tissue not in TISSUES:
        raise InputError(f"there is no tissue {tissue!r}; there are: {', '.join(TISSUES)}")
    if recipe not in RECIPES:
        raise InputError(f"there is no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
    fixed: dict[str, Any] = {"start_mm": START_MM, "end_mm": depth_mm, "turns": 0, "roll_deg": 0.0, "breathing_mm": 0.0}
    return make_scene(f"axial/{split}", seed, **{"material": tissue, "bevel_gain": RECIPES[recipe], **fixed, **fields})
