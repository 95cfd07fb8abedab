"""The set-ups by name, and what else names a scene. Imports nothing heavy, so that help can list them."""

from __future__ import annotations

from typing import Literal, get_args

from sonosteer.core.registry import LazyTable

Split = Literal["train", "validation", "test"]

#: a built-in one is a TOML file beside this module, or a function of seed and split that returns a scene's fields.
#: a plug-in is the path of a TOML file, a recipe as such a file holds it, or a function that returns one of them
SETUPS = LazyTable(
    "set-up",
    {
        "in-plane-linear": "in-plane-linear.toml",
        "axial": "axial.toml",
        "in-plane-convex": "in-plane-convex.toml",
        "in-plane-thin": "in-plane-thin.toml",
        "in-plane-hard-view": "in-plane-hard-view.toml",
        "in-plane-hard-plant": "in-plane-hard-plant.toml",
        "in-the-wild": "sonosteer.sim.wild:draw_wild_scene",
    },
    group="sonosteer.setups",
)

# -- for steering --

TISSUES = ("porcine", "bovine", "plastisol")
#: factor on the bevel's force. chosen: an uncontrolled needle ends about 3, 5.5 and 8 mm off its axis
RECIPES = {"mild": 0.4, "middle": 0.7, "harsh": 1.0}
PlantName = Literal["beam", "nonholonomic"]
#: how a flexible needle moves
PLANTS = get_args(PlantName)
