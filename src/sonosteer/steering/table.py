"""The steering controllers by name, within the limits that hold for all of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.plugins import accepted, construct, plug_in
from sonosteer.core.types import RollCommand
from sonosteer.steering.budget import Limited, RollLimits
from sonosteer.steering.controllers import ABOUT_CONTROLLERS as ABOUT_CONTROLLERS
from sonosteer.steering.controllers import CONTROLLERS as CONTROLLERS
from sonosteer.steering.event_triggered import EventTriggered, Straight
from sonosteer.steering.obstacles import NO_OBSTACLES, Obstacles
from sonosteer.steering.planner import MovePlanner, Weights
from sonosteer.steering.transient import Transient, transient_preset

AMONG_OBSTACLES = Weights(mean=1.0)  # chosen: the way round leaves the axis


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
    """Build a controller. tissue: name of a preset, or its parameters. settings: fields of the controller itself.

    name: a built-in name, the name of an installed plug-in, or `package.module:Class` for a class of your own. Such a
    class needs `start(roll_rad)` and `step(state, measurement, ordered_rad, used_rad)`. It is given those of the
    arguments here that its constructor names. The limits hold for it, too.
    Raises InputError for an unknown name, and where a controller cannot do what is asked. Of the built-in ones only
    `moves` knows targets off the axis and obstacles.
    """
    make = CONTROLLERS.load(name)
    model = transient_preset(tissue) if isinstance(tissue, str) else tissue
    if name not in CONTROLLERS.built_in:
        offered = accepted(
            make,
            tissue=model,
            depth_mm=depth_mm,
            target_mm=target_mm,
            obstacles=obstacles,
            limits=limits,
            backlash_rad=backlash_rad,
            seed=seed,
        )
        _check_knows_the_way(name, offered, target_mm, obstacles)
        made = construct(make, {**offered, **settings}, f"controller {name}")
        return Limited(plug_in(made, f"controller {name}", (RollCommand,)), limits)
    if name == "moves":
        model = dataclasses.replace(model, backlash_rad=backlash_rad)
        if obstacles.present:
            settings = {"weights": AMONG_OBSTACLES, **settings}
        planner = MovePlanner(
            model=model,
            depth_mm=depth_mm,
            target_mm=target_mm,
            obstacles=obstacles,
            budget_rad=limits.budget_rad,
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


def _check_knows_the_way(name: str, offered: dict[str, Any], target_mm: Point, obstacles: Obstacles) -> None:
    if target_mm != (0.0, 0.0) and "target_mm" not in offered:
        raise InputError(f"controller {name} takes no target_mm: it cannot be asked for a target off the axis")
    if obstacles.present and "obstacles" not in offered:
        raise InputError(f"controller {name} takes no obstacles: it cannot be asked to go round any")
