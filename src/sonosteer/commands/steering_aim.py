"""Where a needle shall be steered, from the words that were typed. `steer plan`, `steer run` and `replay` share it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sonosteer.commands import parsing
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.core.geometry import Point
    from sonosteer.core.protocols import Tracker
    from sonosteer.episodes.steering import SteeringConfig
    from sonosteer.policies.steered import Steered
    from sonosteer.steering.budget import Limited
    from sonosteer.steering.obstacles import Cuboid, Mask, Sphere


#: names of the words that `read_aim` takes
AIM_WORDS = ("tissue", "depth_mm", "target", "obstacle", "budget_deg", "settings", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where the needle shall go, and within what limits: what `plan` and `run` share."""

    tissue: str
    """Name of the tissue, as in the table of presets."""
    depth_mm: float
    """Inserted length at the target, mm. 5 to 190 mm."""
    target_mm: Point
    """Target off the insertion axis, y and z in mm."""
    obstacles: tuple[Sphere | Cuboid | Mask, ...]
    """What the needle must go round."""
    budget_deg: float
    """All rotation of the base that is allowed, deg."""
    settings: dict[str, Any]
    """Settings of the controller by name."""
    seed: int
    """Seed of everything random."""

    def config(
        self,
        controller: str,
        recipe: str,
        *,
        points: bool,
        breathing_mm: float,
        breath_known: bool,
        plant: str = "beam",
        live: bool = False,
    ) -> SteeringConfig:
        """Return what is to be steered, and where."""
        from sonosteer.episodes.steering import SteeringConfig
        from sonosteer.steering.budget import RollLimits
        from sonosteer.steering.obstacles import combine_obstacles

        return SteeringConfig(
            controller=controller,
            tissue=self.tissue,
            recipe=recipe,
            seed=self.seed,
            depth_mm=self.depth_mm,
            target_mm=self.target_mm,
            obstacles=combine_obstacles(self.obstacles, self.depth_mm),
            limits=RollLimits(math.radians(self.budget_deg)),
            controller_settings=self.settings,
            tracker=None if points else "axial",
            breath_known=breath_known,
            plant=plant,
            scene_fields={"breathing_mm": breathing_mm},
            live=live,
        )

    def steerer(self, controller: str) -> Limited:
        """Build the controller within its limits. Raises InputError for a setting that it does not have."""
        from sonosteer.steering.budget import RollLimits
        from sonosteer.steering.obstacles import combine_obstacles
        from sonosteer.steering.table import make_steerer

        try:
            return make_steerer(
                controller,
                tissue=self.tissue,
                depth_mm=self.depth_mm,
                target_mm=self.target_mm,
                obstacles=combine_obstacles(self.obstacles, self.depth_mm),
                limits=RollLimits(math.radians(self.budget_deg)),
                seed=self.seed,
                **self.settings,
            )
        except TypeError as e:
            raise no_such_setting(e, controller) from None


def no_such_setting(error: TypeError, controller: str) -> InputError:
    """Return the error of a controller that lacks a setting."""
    return InputError(f"--set: {str(error).rpartition(') ')[2]} (controller {controller})")


def read_aim(
    *,
    tissue: str,
    depth_mm: float,
    target: str | None,
    obstacle: list[str] | None,
    budget_deg: float,
    settings: list[str] | None,
    seed: int,
) -> Aim:
    """What was typed, read and checked."""
    from sonosteer.steering.obstacles import parse_obstacle
    from sonosteer.steering.transient import TRANSIENT_PRESETS

    if not (math.isfinite(budget_deg) and budget_deg >= 0):
        raise InputError(f"--budget-deg {budget_deg}: give all the rotation that is allowed, in degrees")
    if tissue not in TRANSIENT_PRESETS:
        raise InputError(f"--tissue: there is no tissue {tissue!r}; there are: {', '.join(TRANSIENT_PRESETS)}")
    if not 5.0 <= depth_mm <= 190.0:
        raise InputError(f"--depth-mm {depth_mm:g}: 5 to 190 mm can be inserted (a needle of 200 mm)")
    return Aim(
        tissue=tissue,
        depth_mm=depth_mm,
        target_mm=parsing.parse_target(target),
        obstacles=tuple(parse_obstacle(o) for o in obstacle or ()),
        budget_deg=budget_deg,
        settings=parsing.parse_settings(settings),
        seed=seed,
    )


def read_bevel_force(bevel_force: str | None, recipe: str | None) -> str:
    """How strongly the bevel pulls. --recipe is the old name of the option."""
    from sonosteer.sim.steering_scenes import RECIPES

    if bevel_force is not None and recipe is not None:
        raise InputError("--recipe is the old name of --bevel-force: give one of the two")
    asked = bevel_force or recipe or "middle"
    if asked not in RECIPES:
        option = "--recipe" if bevel_force is None else "--bevel-force"
        raise InputError(f"{option}: there is no recipe {asked!r}; there are: {', '.join(RECIPES)}")
    return asked


def read_plant(plant: str | None) -> str:
    """How the simulated needle moves. None, as in recordings that know no plants: the beam."""
    from sonosteer.sim.setups import PLANTS

    if plant is not None and plant not in PLANTS:
        raise InputError(f"--plant: there is no plant {plant!r}; there are: {', '.join(PLANTS)}")
    return plant or "beam"


def read_config(typed: Mapping[str, Any]) -> SteeringConfig:
    """Return what `steer run` shall steer. typed: its words, by the names of its parameters.

    Raises InputError for a word that makes no sense, and with breathing that nobody measures.
    """
    breathing_mm, breath_known, controller = typed["breathing_mm"], typed["breath_signal"], typed["controller"]
    if breathing_mm > 0 and not breath_known:
        raise InputError(
            "steer run: with breathing the tip moves along with the tissue, and images alone cannot tell it from a "
            "deflection; give the respiratory signal (--breath-signal), or hold the breath (--breathing-mm 0)"
        )
    pull = read_bevel_force(typed["bevel_force"], typed["recipe"])
    aim = read_aim(**{name: typed[name] for name in AIM_WORDS})
    if breathing_mm > 0 and controller == "moves":
        aim = replace(aim, settings={**aim.settings, "breathing": True})
    return aim.config(
        controller,
        pull,
        points=typed["points"],
        breathing_mm=breathing_mm,
        breath_known=breath_known,
        plant=read_plant(typed.get("plant")),
        live=typed["live"],
    )


def steering_deciders(said: Mapping[str, Any]) -> tuple[Tracker[Any], Steered]:
    """Return tracker and policy of a recorded `steer run`: its controller, and the hand that pushed.

    said: the configuration of the recording. Raises KeyError, TypeError or ValueError if it lacks something.
    """
    from sonosteer.core.config import from_dict
    from sonosteer.episodes.steering import build_steerer, build_steering_tracker
    from sonosteer.policies.steered import Hand, Steered

    config, steered = read_config(said["command"]), said["steered"]
    hand = from_dict(Hand, {k: v for k, v in steered["hand"].items() if k != "_type"}, "recorded hand")
    policy = Steered(
        steerer=build_steerer(config),
        hand=hand,
        target_mm=config.target_mm,
        image_follows=steered["image_follows"],
        breathing_hz=steered["breathing_hz"],
    )
    return build_steering_tracker(config), policy
