"""Scenes: what to simulate, drawn from a recipe by a seed.

A scene's name is `SETUP/SPLIT`. Training, validation and test scenes draw from different seeds, tissues and
appearances, so that nothing tuned on one has seen the other. The recipes are TOML files beside this module.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np

from sonosteer.core.config import from_dict
from sonosteer.core.errors import InputError
from sonosteer.sim.echo import Appearance
from sonosteer.sim.field import Tissue
from sonosteer.sim.probe import LinearArray

Split = Literal["train", "validation", "test"]

SETUPS = {"in-plane-linear": "in-plane-linear.toml"}


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that decides a simulated clip; same scene, same frames.

    angle_deg: below the horizontal. entry_z_mm: depth at which the needle crosses the side of the image.
    tip_y_mm: how far the tip drifts out of the image plane at most. needle_db: level offset of all needle
    echoes (it is moved into `look`). pull_mm: drag of the tissue. noise_db: receive noise at the surface, in
    dB over the tissue.
    """

    setup: str
    split: Split
    seed: int
    angle_deg: float
    speed_mm_s: float
    enters: Literal["left", "right"]
    entry_z_mm: float
    start_mm: float
    end_mm: float
    needle: bool = True
    rest_frames: int = 0
    end_rest_frames: int = 8
    rate_hz: float = 20.0
    width_px: int = 512
    height_px: int = 512
    spacing_mm: float = 0.10
    needle_db: float = 0.0
    tip_y_mm: float = 0.4
    breathing_mm: float = 0.0
    pull_mm: float = 0.5
    looks: int = 3
    look_deg: float = 7.0
    dynamic_range_db: float = 60.0
    grey: float = 85.0
    noise_db: float = -38.0
    noise_db_per_mm: float = 0.4
    array: LinearArray = field(default_factory=LinearArray)
    tissue: Tissue = field(default_factory=Tissue)
    look: Appearance = field(default_factory=Appearance)

    @property
    def name(self) -> str:
        """SETUP/SPLIT#SEED."""
        return f"{self.setup}/{self.split}#{self.seed}"

    @property
    def angle_rad(self) -> float:
        """Angle below the horizontal."""
        return math.radians(self.angle_deg)

    def __post_init__(self) -> None:
        _check(self)
        if self.needle_db:
            look = self.look
            shifted = {n: getattr(look, n) + self.needle_db for n in ("specular_db", "rough_db", "tip_db")}
            object.__setattr__(self, "look", dataclasses.replace(look, **shifted))
            object.__setattr__(self, "needle_db", 0.0)


def make_scene(setup: str, seed: int, **overrides: Any) -> Scene:
    """Draw the scene of a seed. `setup` may name the split: "in-plane-linear/train" (default: test).

    overrides: any field of `Scene` by name. InputError for an unknown set-up, split or field, or nonsense.
    """
    name, _, split = setup.partition("/")
    split = split or "test"
    if name not in SETUPS:
        raise InputError(f"there is no set-up called {name!r}; there are: {', '.join(SETUPS)}")
    if split not in get_args(Split):
        raise InputError(f"there is no split called {split!r}; there are: {', '.join(get_args(Split))}")
    if seed < 0:
        raise InputError(f"the seed is {seed}: it must be 0 or more")
    recipe = _recipe(SETUPS[name])
    rng = np.random.default_rng([seed, get_args(Split).index(split)])
    drawn = _draw({**recipe["scene"], **recipe[split].get("scene", {})}, rng)
    drawn["tissue"] = _draw(recipe[split]["tissue"], rng)
    drawn["look"] = _draw(recipe[split]["look"], rng)
    drawn.update(setup=name, split=split, seed=seed)
    angle = math.radians(drawn["angle_deg"])
    drawn["end_mm"] = min(drawn["end_mm"], 36.0 / math.cos(angle), (47.0 - drawn["entry_z_mm"]) / math.sin(angle))
    return from_dict(Scene, {**drawn, **overrides}, f"scene {setup}")


def _recipe(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("sonosteer.sim") / name).read_text())


def _draw(ranges: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Draw {"uniform": [a, b]}, {"integers": [a, b]} and {"choice": [...], "sd": s}; keep the rest as it is."""
    out: dict[str, Any] = {}
    for key, value in ranges.items():
        if isinstance(value, dict) and "uniform" in value:
            out[key] = float(rng.uniform(*value["uniform"]))
        elif isinstance(value, dict) and "integers" in value:
            out[key] = int(rng.integers(*value["integers"]))
        elif isinstance(value, dict) and "choice" in value:
            picked = value["choice"][int(rng.integers(len(value["choice"])))]
            out[key] = picked + rng.normal(0, value["sd"]) if "sd" in value else picked
        else:
            out[key] = value
    return out


def _check(s: Scene) -> None:
    for owner in (s, s.tissue, s.look, s.array):
        for f in dataclasses.fields(owner):
            value = getattr(owner, f.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"scene: {f.name} is {value}, but must be a number")
    positive = ("speed_mm_s", "rate_hz", "width_px", "height_px", "spacing_mm", "looks", "dynamic_range_db")
    for name in positive:
        if not getattr(s, name) > 0:
            raise InputError(f"scene: {name} is {getattr(s, name)}, but must be more than 0")
    for name in ("rest_frames", "end_rest_frames", "tip_y_mm", "breathing_mm", "pull_mm"):
        if not getattr(s, name) >= 0:
            raise InputError(f"scene: {name} is {getattr(s, name)}, but must not be negative")
    if not (16 <= s.width_px <= 4096 and 16 <= s.height_px <= 4096):
        raise InputError(f"scene: an image of {s.width_px}x{s.height_px} px; 16 to 4096 px each way are drawn")
    if s.enters not in ("left", "right"):
        raise InputError(f"scene: enters is {s.enters!r}; left and right are possible")
    if not 5.0 <= s.angle_deg <= 80.0:
        raise InputError(f"scene: angle_deg is {s.angle_deg}; 5 to 80 degrees below the horizontal are possible")
    if not 0.0 <= s.start_mm <= s.end_mm:
        raise InputError(f"scene: the needle goes from {s.start_mm} to {s.end_mm} mm; it can only be pushed in")
    angle = math.radians(s.angle_deg)
    reach = (s.array.width_mm / math.cos(angle), (s.array.depth_mm - s.entry_z_mm) / math.sin(angle))
    if s.needle and not (0.0 <= s.entry_z_mm < s.array.depth_mm and s.end_mm <= min(reach)):
        raise InputError(
            f"scene: a needle {s.end_mm:g} mm long from a depth of {s.entry_z_mm:g} mm leaves the image, which "
            f"has room for {min(reach):.1f} mm"
        )
