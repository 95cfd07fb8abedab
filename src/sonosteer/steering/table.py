"""The steering controllers by name, within the limits that hold for all of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.steering.budget import Limited, RollLimits
from sonosteer.steering.event_triggered import EventTriggered, Straight
from sonosteer.steering.obstacles import NO_OBSTACLES, Obstacles
from sonosteer.steering.planner import MovePlanner, Weights
from sonosteer.steering.transient import Transient, preset

#: what each is, for --help and the studies
CONTROLLERS = {
    "moves": "recommended: few turns planned anew as the needle goes, on a model with the beam's transient",
    "paper-s": "Paper S: its genetic fit and genetic plan of event points, one generation a frame",
    "paper-s-fit": "Paper S with our least-squares fit",
    "paper-s-plan": "Paper S with our gradient search",
    "bicycle": "Paper S with both of ours",
    "open-loop": "one plan before the insertion, never looked at again",
    "none": "no control",
}
AMONG_OBSTACLES = Weights(mean=1.0)  # ours: the way round leaves the axis


def make_steerer(
    name: str,
    *,
    tissue: str | Transient = "porcine",
    depth_mm: float = 120.0,
    target_mm: Point = (0.0, 0.0),
    obstacles: Obstacles = NO_OBSTACLES,
    limits: RollLimits = RollLimits(),
    backlash_rad: float = 0.0,
    seed: int = 0,
    **settings: Any,
) -> Limited:
    """Build a controller. tissue: a preset's name, or its parameters; settings: fields of the controller itself.

    InputError for an unknown name, and where a controller cannot do what is asked (only `moves` knows targets off the
    axis and obstacles).
    """
    if name not in CONTROLLERS:
        raise InputError(f"there is no steering controller {name!r}; there are: {', '.join(CONTROLLERS)}")
    model = preset(tissue) if isinstance(tissue, str) else tissue
    if name == "moves":
        model = dataclasses.replace(model, backlash_rad=backlash_rad)
        if obstacles.present:
            settings = {"weights": AMONG_OBSTACLES, **settings}
        planner = MovePlanner(
            model,
            depth_mm,
            target_mm,
            obstacles,
            limits.budget_rad,
            rate_rad_s=limits.rate_rad_s,
            seed=seed,
            **settings,
        )
        return Limited(planner, limits)
    if obstacles.present or target_mm != (0.0, 0.0):
        raise InputError(f"{name} keeps to the axis: targets off it and obstacles need the controller moves")
    if name == "none":
        return Limited(Straight(), limits)
    fit = "least squares" if name in ("paper-s-fit", "bicycle") else "genetic"
    search = "genetic" if name in ("paper-s", "paper-s-fit") else "gradient"
    event = EventTriggered(
        depth_mm,
        curvature_per_mm=model.curvature_per_mm,
        fit=fit,  # type: ignore[arg-type]
        search=search,  # type: ignore[arg-type]
        online=name != "open-loop",
        seed=seed,
        **settings,
    )
    return Limited(event, limits)
