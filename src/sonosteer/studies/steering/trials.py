"""One trial of the steering study: a steered insertion, a way round obstacles, or a part of the simulated fits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.clock import RealClock
from sonosteer.core.types import RollCommand, TipMeasurement
from sonosteer.episodes.steering import (
    SteeringConfig,
    SteeringEpisode,
    build_steerer,
    build_steering_episode,
    build_steering_tracker,
    path_errors,
    run_steering_episode,
)
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.sim.steering_scenes import RECIPES, TISSUES
from sonosteer.steering.budget import RollLimits
from sonosteer.steering.obstacles import NO_OBSTACLES, Cuboid, Obstacles, Sphere, combine_obstacles
from sonosteer.steering.simulated_fits import CHUNK, NOISE_MM, VARIANCE_NOISE_MM, coverage, fit_chunk
from sonosteer.steering.transient import transient_preset
from sonosteer.studies.steering.ladder import LADDER, Rung, climb
from sonosteer.studies.steering.stage_times import with_stage_times

DEPTH_MM = 120.0
BUDGETS_DEG = (180.0, 270.0, 360.0, 450.0, 540.0, 720.0)
POINTS_NOISE_MM = 0.1
NEEDLE_MM = 0.64
#: name -> (controller, its settings, tracker's settings): what is ours against the paper's own choices
ABLATION: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Paper S, its fit, its search": ("paper-s", {}, {}),
    "Paper S, our fit": ("paper-s-fit", {}, {}),
    "Paper S, our search": ("paper-s-plan", {}, {}),
    "Paper S, both ours": ("bicycle", {}, {}),
    "Paper S, right maximum in Eq. (14)": ("paper-s", {"published_maximum": False}, {}),
    "moves without the transient": ("moves", {"no_transient": True}, {}),
    "moves, no limit on points": ("moves", {"points": 20}, {}),
    "moves, tracker as published": ("moves", {}, {"published": True}),
    "Paper S, tracker as published": ("paper-s", {}, {"published": True}),
}
#: who climbs the ladder: name -> (controller, its settings)
CLIMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "paper-s": ("paper-s", {}),
    "bicycle": ("bicycle", {}),
    "moves": ("moves", {}),
    "moves without the transient": ("moves", {"no_transient": True}),
}
#: rungs on which the knobs of Paper S are turned: its own model with noise and device, and both plants
KNOB_RUNGS = {"own model": LADDER["4"], "beam": LADDER["10"], "nonholonomic": LADDER["9"]}
KNOB_POINTS = (1, 2, 3, 4, 6)
KNOB_WEIGHTS = ((1.0, 0.0), (10.0, 1.0), (1.0, 1.0), (1.0, 10.0), (0.0, 1.0))
WEAK_GAINS = (0.05, 0.1, 0.2, 0.4, 0.7)
#: name -> (what the controller believes, the world's fields, noise in mm)
ROBUSTNESS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "as it is": ({}, {}, 0.1),
    "preset of another tissue": ({"wrong_preset": True}, {}, 0.1),
    "needle a third softer": ({}, {"geometry.bending_stiffness": 1.0e4}, 0.1),
    "needle two thirds stiffer": ({}, {"geometry.bending_stiffness": 2.5e4}, 0.1),
    "torsion unknown (none assumed)": ({"torque": 0.0}, {}, 0.1),
    "torsion taken for three times": ({"torque_factor": 3.0}, {}, 0.1),
    "noise 0.05 mm": ({}, {}, 0.05),
    "noise 0.3 mm": ({}, {}, 0.3),
    "noise 0.5 mm": ({}, {}, 0.5),
    "breathing 1 mm, signal measured": ({"breathing": True}, {"breathing_mm": 1.0}, 0.1),
}


@dataclass(frozen=True, slots=True)
class SteeringTrial:
    """One steered insertion, or one part of the simulated fits."""

    name: str
    """Unlike that of any other trial."""
    kind: str
    """insert, obstacles, climb, fit or coverage: what is done."""
    group: str
    """Table that the trial belongs to."""
    tissue: str = ""
    """Tissue that is pierced. Empty: none."""
    recipe: str = "middle"
    """mild, middle or harsh: how strong the bevel's force is."""
    gain: float | None = None
    """Factor on the bevel's force in place of the recipe's, no unit. Only for climbs."""
    plant: str = "beam"
    """How the needle moves: beam, nonholonomic, or for climbs a rung of the ladder."""
    seed: int = 0
    """Seed of the scene."""
    controller: str = "moves"
    """Steering controller, by its name in the table."""
    images: bool = False
    """Whether the controller sees images. Otherwise it gets points."""
    budget_deg: float = 540.0
    """Largest sum of all turns, degrees."""
    noise_mm: float = POINTS_NOISE_MM
    """Standard deviation of the points, mm."""
    insertions: int = 0
    """Number of insertions, for coverage."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the controller, by name."""
    tracker: dict[str, Any] = field(default_factory=dict)
    """Settings of the tracker, by name."""
    scene: dict[str, Any] = field(default_factory=dict)
    """Fields of the scene that are changed, by name."""


def steering_trials(*, quick: bool, seed: int = 0) -> list[SteeringTrial]:
    """All of the study, from the test split."""
    out: list[SteeringTrial] = []
    seeds = range(1000 * seed, 1000 * seed + (1 if quick else 10))
    every = ("middle",) if quick else tuple(RECIPES)

    def add(group: str, controller: str, recipes: tuple[str, ...], images: bool, tag: str = "", **more: Any) -> None:
        for recipe in recipes:
            for tissue in TISSUES[:1] if quick and group != "paper" else TISSUES:
                for s in seeds:
                    name = f"{group}/{tag or controller}/{recipe}/{tissue}/{s}"
                    out.append(
                        SteeringTrial(
                            name,
                            "insert",
                            group,
                            tissue=tissue,
                            recipe=recipe,
                            seed=s,
                            controller=controller,
                            images=images,
                            **more,
                        )
                    )

    add("paper", "moves", every, images=True)
    add("paper", "paper-s", every, images=True)
    add("paper", "open-loop", every, images=False)
    add("paper", "none", every, images=False)
    for controller in ("moves", "paper-s", "open-loop", "none"):
        images = controller in ("moves", "paper-s")
        add("second plant", controller, every, images=images, plant="nonholonomic")
    out += _climbs(seeds, TISSUES[:1] if quick else TISSUES)
    for name, (controller, settings, tracker) in ABLATION.items():
        add("ablation", controller, ("middle",), images=True, tag=name, settings=settings, tracker=tracker)
    for deg in BUDGETS_DEG[::2] if quick else BUDGETS_DEG:
        add("budget", "moves", every, images=False, tag=f"{deg:g}", budget_deg=deg, settings={"points": 20})
    for n in (1, 2, 3, 4, 6):
        add(
            "points", "moves", ("middle", "harsh"), images=False, tag=f"{n}", settings={"points": n, "ahead": min(n, 3)}
        )
    for name, (settings, scene, noise) in ROBUSTNESS.items():
        add("robust", "moves", ("middle",), False, name, settings=settings, scene=scene, noise_mm=noise)
    for i in range(6 if quick else 200):
        tissue = TISSUES[i % 3]
        out.append(
            SteeringTrial(f"obstacles/{tissue}/{i}", "obstacles", "obstacles", tissue=tissue, seed=1000 * seed + i)
        )
    for i in range(1 if quick else 10_000 // CHUNK):
        out.append(SteeringTrial(f"fit/{i}", "fit", "fit", seed=10_000 * seed + i))
    for i in range(1 if quick else 10_000 // CHUNK):
        out.append(SteeringTrial(f"fit of variance/{i}", "fit", "fit of variance", seed=10_000 * seed + i))
    out.append(SteeringTrial("coverage", "coverage", "coverage", seed=seed, insertions=100 if quick else 1000))
    return out


def _climbs(seeds: range, tissues: tuple[str, ...]) -> list[SteeringTrial]:
    """The ladder, the knobs of Paper S's controller with its own searches, and needles that hardly bend."""
    out: list[SteeringTrial] = []

    def add(group: str, what: str, plant: str, controller: str, settings: dict[str, Any], gain: float | None) -> None:
        for tissue in tissues:
            for s in seeds:
                name = f"{group}/{what}/{tissue}/{s}"
                more: dict[str, Any] = {"tissue": tissue, "seed": s, "settings": settings, "gain": gain}
                out.append(SteeringTrial(name, "climb", group, plant=plant, controller=controller, **more))

    for rung in LADDER:
        for who, (controller, settings) in CLIMBERS.items():
            add("ladder", f"{rung}/{who}", rung, controller, settings, None)
    for plant in KNOB_RUNGS:
        for n in KNOB_POINTS:
            add("knob points", f"{plant}/{n}", plant, "paper-s", {"points": n}, None)
        for alpha, beta in KNOB_WEIGHTS:
            weights = {"alpha": alpha, "beta": beta}
            add("knob weights", f"{plant}/alpha {alpha:g}, beta {beta:g}", plant, "paper-s", weights, None)
    for plant in ("beam", "nonholonomic"):
        for gain in WEAK_GAINS:
            for controller in ("none", "paper-s"):
                add("weak bevel", f"{plant}/{gain:g}/{controller}", plant, controller, {}, gain)
    return out


def _climb(trial: SteeringTrial) -> dict[str, Any]:
    rung: Rung = LADDER.get(trial.plant) or KNOB_RUNGS[trial.plant]
    return climb(
        rung,
        trial.controller,
        tissue=trial.tissue,
        pull=RECIPES[trial.recipe] if trial.gain is None else trial.gain,
        seed=trial.seed,
        settings=trial.settings,
        budget_deg=trial.budget_deg,
    )


def run_steering_trial(trial: SteeringTrial) -> dict[str, Any]:
    """One trial, by its kind."""
    if trial.kind == "fit":
        return fit_chunk(trial.seed, VARIANCE_NOISE_MM if trial.group == "fit of variance" else NOISE_MM)
    if trial.kind == "climb":
        return _climb(trial)
    if trial.kind == "coverage":
        return coverage(trial.insertions, trial.seed)
    return _around(trial) if trial.kind == "obstacles" else _insertion(trial)


def _config(
    trial: SteeringTrial, target_mm: tuple[float, float] = (0.0, 0.0), obstacles: Obstacles = NO_OBSTACLES
) -> SteeringConfig:
    """Return what a trial steers, and what its controller believes."""
    settings = dict(trial.settings)
    other = "plastisol" if trial.tissue != "plastisol" else "porcine"
    model = transient_preset(other if settings.pop("wrong_preset", False) else trial.tissue)
    if settings.pop("no_transient", False):
        model = replace(model, slope_mm=0.0, jump_mm2=0.0, g_mm=0.0)
    model = replace(model, torque=settings.pop("torque", model.torque) * settings.pop("torque_factor", 1.0))
    return SteeringConfig(
        controller=trial.controller,
        tissue=trial.tissue,
        recipe=trial.recipe,
        plant=trial.plant,
        seed=trial.seed,
        target_mm=target_mm,
        obstacles=obstacles,
        limits=RollLimits(math.radians(trial.budget_deg)),
        model=model,
        controller_settings=settings,
        tracker="axial" if trial.images else None,
        tracker_settings=trial.tracker,
        noise_mm=trial.noise_mm,
        breath_known=bool(trial.settings.get("breathing")),
        scene_fields=trial.scene,
    )


def _insertion(trial: SteeringTrial) -> dict[str, Any]:
    episode = build_steering_episode(_config(trial))
    timed, stages_s = with_stage_times(episode.steerer)
    episode = replace(episode, steerer=timed)
    if trial.images:
        episode.world.look()  # the first image takes longer than the others
    done = run_steering_episode(episode, RealClock())
    path = done.path()
    e = path_errors(path, DEPTH_MM)
    result: dict[str, Any] = {
        "final_mm": e.final_mm,
        "mean_mm": e.mean_mm,
        "max_mm": e.max_mm,
        "rotation_deg": math.degrees(done.rotation_rad),
        "depth_mm": float(path[-1, 0]),
        "ended": done.ended,
        "warned": done.warned,
        "warnings": list(done.warnings),
        "unseen": float(np.isnan(done.column("seen_y_mm")).mean()),
    }
    if trial.group == "paper":
        every = path[:: max(len(path) // 120, 1)]
        result["path"] = np.round(every, 3).tolist()
        roll = np.stack([done.column("depth_mm"), done.column("ordered_rad")], 1)[::4]
        result["roll"] = np.round(roll, 3).tolist()
    if trial.images:
        off = np.hypot(done.column("seen_y_mm") - done.column("y_mm"), done.column("seen_z_mm") - done.column("z_mm"))
        seen = off[np.isfinite(off)]
        result["sight_mm"] = [float(np.mean(seen)), float(np.quantile(seen, 0.95))] if len(seen) else None
        result["times_ms"] = {stage: percentiles_ms(times) for stage, times in done.ledger.times_ms.items()}
        apart = {stage: [1e3 * t for t in times_s] for stage, times_s in stages_s.items() if times_s}
        result["times_ms"] |= {stage: percentiles_ms(times) for stage, times in apart.items()}
    return result


class _Turns:
    """Given turns at given depths."""

    def __init__(self, depths: F64, turns: F64) -> None:
        self.depths, self.turns = depths, turns

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, roll_rad: float) -> float:
        """The roll at the entry."""
        return roll_rad

    def step(self, state: float, sighting: TipMeasurement) -> tuple[float, RollCommand]:
        """What has been turned by now."""
        return state, RollCommand(state + float(self.turns[self.depths <= sighting.depth_mm].sum()))


def _solvable(trial: SteeringTrial) -> tuple[SteeringEpisode, tuple[float, float], list[Sphere | Cuboid]]:
    """A scene that has a solution: the needle itself goes by up to three random turns and its end is the target.

    Three obstacles stand 0.7 to 2.5 mm off its shaft at some depth, the first on the side of the straight way.
    """
    rng = np.random.default_rng([trial.seed, 77])
    episode = build_steering_episode(replace(_config(trial), noise_mm=0.0))
    n = int(rng.integers(1, 4))
    way = _Turns(np.sort(rng.uniform(15, 105, n)), rng.uniform(-math.pi, math.pi, n))
    path = run_steering_episode(replace(episode, steerer=way), RealClock()).path()
    target = (float(path[-1, 1]), float(path[-1, 2]))
    parts: list[Sphere | Cuboid] = []
    while len(parts) < 3:
        i = int(np.searchsorted(path[:, 0], rng.uniform(40, 105)))
        x, y, z = path[i].tolist()
        radius, gap, angle = (float(rng.uniform(*r)) for r in ((1, 4), (0.7, 2.5), (-math.pi, math.pi)))
        if not parts:
            fraction = (x / DEPTH_MM) ** 2
            angle = math.atan2(target[1] * fraction - z, target[0] * fraction - y)
        off = radius + NEEDLE_MM + gap
        centre = (x, y + off * math.cos(angle), z + off * math.sin(angle))
        half = 0.8 * radius
        low = (centre[0] - half, centre[1] - half, centre[2] - half)
        high = (centre[0] + half, centre[1] + half, centre[2] + half)
        part = Sphere(centre, radius) if rng.random() < 0.6 else Cuboid(low, high)
        if part.distance(path).min() > NEEDLE_MM + 0.7:
            parts.append(part)
    return episode, target, parts


def _around(trial: SteeringTrial) -> dict[str, Any]:
    solvable, target, parts = _solvable(trial)
    config = _config(trial, target, combine_obstacles(parts))
    episode = replace(solvable, config=config, steerer=build_steerer(config), tracker=build_steering_tracker(config))
    done = run_steering_episode(episode, RealClock())
    path = done.path()
    room = min(float(p.distance(path).min()) for p in parts) - NEEDLE_MM
    fraction = np.linspace(0, 1, 240)
    straight = np.stack([DEPTH_MM * fraction, target[0] * fraction**2, target[1] * fraction**2], 1)
    return {
        "final_mm": path_errors(path, DEPTH_MM, target).final_mm,
        "depth_mm": float(path[-1, 0]),
        "ended": done.ended,
        "warned": done.warned,
        "clearance_mm": room,
        "straight_clearance_mm": min(float(p.distance(straight).min()) for p in parts) - NEEDLE_MM,
        "off_axis_mm": math.hypot(*target),
        "rotation_deg": math.degrees(done.rotation_rad),
    }
