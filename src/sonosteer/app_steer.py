"""The steering commands: options -> objects -> runtime."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.app import make_folder, say
from sonosteer.core.config import save_json
from sonosteer.core.errors import InputError, InterruptedRunError
from sonosteer.options import parse_plan, parse_settings

BOTH_AXES = "y and z off the axis in mm, for example 3,-2"


def predict(
    curvature: float, theta0_deg: float, phi0_deg: float, plan: str, depth_mm: float, *, as_json: bool
) -> dict[str, float]:
    """`sonosteer steer predict`: where the bicycle model ends."""
    from sonosteer.needle.bicycle import Bicycle

    if not all(map(math.isfinite, (curvature, theta0_deg, phi0_deg, depth_mm))) or not depth_mm >= 0:
        raise InputError("steer predict: curvature, angles and depth must be numbers, and the depth not below 0")
    needle = Bicycle(curvature, math.radians(theta0_deg), math.radians(phi0_deg))
    end = needle.path(parse_plan(plan), np.array([depth_mm]))[0].tolist()
    result = dict(zip(("x_mm", "y_mm", "z_mm", "theta_rad", "phi_rad"), end, strict=True))
    say(result, as_json)
    return result


def fit(path: Path, plan: str, phi0_deg: float, *, fit_phi0: bool, noise_mm: float, as_json: bool) -> dict[str, Any]:
    """`sonosteer steer fit`: the bicycle model fitted to where a tip was seen."""
    from sonosteer.steering.fit import fit as fit_path
    from sonosteer.steering.fit import read_tip_measurements

    if not math.isfinite(phi0_deg):
        raise InputError(f"--phi0-deg {phi0_deg}: give the roll of the bevel in degrees")
    seen = read_tip_measurements(path)
    found = fit_path(seen, parse_plan(plan), math.radians(phi0_deg), fit_phi0=fit_phi0, noise_mm=noise_mm)
    result = dataclasses.asdict(found)
    say(result, as_json)
    return result


@dataclass(frozen=True, slots=True)
class Aim:
    """What `plan` and `run` share."""

    tissue: str = "porcine"
    depth_mm: float = 120.0
    target: str | None = None
    obstacles: tuple[str, ...] = ()
    budget_deg: float = 540.0
    settings: tuple[str, ...] = ()
    seed: int = 0

    def target_mm(self) -> tuple[float, float]:
        """(y, z) off the axis."""
        if self.target is None:
            return 0.0, 0.0
        try:
            y, z = (float(v) for v in self.target.split(","))
        except ValueError:
            raise InputError(f"--target {self.target}: give {BOTH_AXES}") from None
        if not (math.isfinite(y) and math.isfinite(z)):
            raise InputError(f"--target {self.target}: give {BOTH_AXES}")
        return y, z

    def steerer(self, controller: str, backlash_rad: float = 0.0) -> Any:
        """The controller within its limits."""
        from sonosteer.steering.budget import RollLimits
        from sonosteer.steering.obstacles import obstacles, parse_obstacle
        from sonosteer.steering.table import make_steerer
        from sonosteer.steering.transient import PRESETS

        if not (math.isfinite(self.budget_deg) and self.budget_deg >= 0):
            raise InputError(f"--budget-deg {self.budget_deg}: give all the rotation that is allowed, in degrees")
        if self.tissue not in PRESETS:
            raise InputError(f"there is no tissue {self.tissue!r}; there are: {', '.join(PRESETS)}")
        if not 5.0 <= self.depth_mm <= 190.0:
            raise InputError(f"--depth-mm {self.depth_mm:g}: 5 to 190 mm can be inserted (a needle of 200 mm)")
        try:
            return make_steerer(
                controller,
                tissue=self.tissue,
                depth_mm=self.depth_mm,
                target_mm=self.target_mm(),
                obstacles=obstacles([parse_obstacle(o) for o in self.obstacles], self.depth_mm),
                limits=RollLimits(math.radians(self.budget_deg)),
                backlash_rad=backlash_rad,
                seed=self.seed,
                **parse_settings(self.settings),
            )
        except TypeError as e:
            raise InputError(f"--set: {str(e).rpartition(') ')[2]} (controller {controller})") from None


def plan(aim: Aim, curvature: float | None, out: Path | None, *, as_json: bool) -> dict[str, Any]:
    """`sonosteer steer plan`: the turns planned before the insertion, and whether they are safe."""
    from sonosteer.steering.reach import hull, reachable

    planner = aim.steerer("moves").controller
    if curvature is not None:
        if not 1e-5 <= curvature <= 0.02:
            raise InputError(f"--curvature {curvature}: 0.00001 to 0.02 per mm is possible")
        planner = dataclasses.replace(planner, model=dataclasses.replace(planner.model, curvature_per_mm=curvature))
    state = planner.plan_ahead()
    made = sorted((float(e), float(a)) for e, a in zip(state.depths, state.turns, strict=True) if a != 0.0)
    safe = not state.lack_mm > 0.0
    line = _predicted(planner, state)
    result: dict[str, Any] = {
        "safe": safe,
        "answer": "plan found" if safe else "no safe path",
        "moves": [{"depth_mm": round(e, 3), "turn_deg": round(math.degrees(a), 2)} for e, a in made],
        "total_rotation_deg": round(math.degrees(sum(abs(a) for _, a in made)), 2),
        "miss_mm": state.miss_mm,
        "miss_sd_mm": state.miss_sd_mm,
        "clearance_mm": None,
        "target_mm": list(aim.target_mm()),
        "depth_mm": aim.depth_mm,
        "tissue": aim.tissue,
        "seed": aim.seed,
    }
    if planner.obstacles.present:
        result["clearance_mm"] = float(planner.obstacles.clearance_mm(line).min()) - planner.needle_mm
    if out is not None:
        from sonosteer.viz.plots import standalone
        from sonosteer.viz.steering_plots import reach

        make_folder(out)
        ends, free = reachable(planner, np.random.default_rng(aim.seed))
        outline = None
        if planner.obstacles.present:
            field = planner.obstacles
            depth = field.origin_mm[0] + field.step_mm * np.arange(field.field.shape[0])
            across = field.origin_mm[1] + field.step_mm * np.arange(field.field.shape[1])
            outline = (depth, across, field.field.min(axis=2))
        (out / "plan.svg").write_text(standalone(reach(hull(ends), ends[free], aim.target_mm(), line, outline)))
        save_json(result, out / "plan.json")
    if as_json:
        say(result, as_json)
        return result
    print(result["answer"])
    for e, a in made:
        print(f"  at {e:6.1f} mm turn the tip by {math.degrees(a):7.1f} deg")
    say({k: result[k] for k in ("total_rotation_deg", "miss_mm", "miss_sd_mm", "clearance_mm")}, as_json)
    return result


def _predicted(planner: Any, state: Any) -> Any:
    """(n, 3) depth, y, z of the plan's path."""
    from sonosteer.steering import moves

    depths = np.linspace(1.0, planner.depth_mm, 120)
    out = np.zeros(moves.OUT)
    free = planner.task_at(state.x, state.P)._replace(target=np.zeros(2))
    rows = [(0.0, 0.0, 0.0)]
    for d in depths.tolist():
        moves.follow_plan(state.x, state.tip_rad, 0.0, state.depths, state.turns, free._replace(depth=d), out)
        rows.append((d, float(out[0]), float(out[1])))
    return np.array(rows)


def run(
    aim: Aim,
    controller: str,
    recipe: str,
    out: Path | None,
    *,
    points: bool,
    breathing_mm: float,
    breath_signal: bool,
    as_json: bool,
) -> dict[str, Any]:
    """`sonosteer steer run`: one simulated insertion, steered from axial images."""
    from sonosteer.core.clock import RealClock
    from sonosteer.episodes.steering import DEVICE, errors, insert
    from sonosteer.metrics.latency import percentiles_ms
    from sonosteer.recording.summary import versions
    from sonosteer.runtime.ledger import Ledger
    from sonosteer.sim.steering_scenes import steering_scene
    from sonosteer.sim.world import World
    from sonosteer.trackers.table import make_tracker

    if breathing_mm > 0 and not breath_signal:
        raise InputError(
            "steer run: with breathing the tip moves along with the tissue, and images alone cannot tell it from a "
            "deflection; give the respiratory signal (--breath-signal), or hold the breath (--breathing-mm 0)"
        )
    extra = ("breathing=true",) if breathing_mm > 0 and controller == "moves" else ()
    aim = dataclasses.replace(aim, settings=(*aim.settings, *extra))
    steerer = aim.steerer(controller, DEVICE.roll_backlash_rad)
    scene = steering_scene(aim.tissue, recipe, aim.seed, depth_mm=aim.depth_mm, breathing_mm=breathing_mm)
    tracker = None if points else make_tracker("axial")
    steerer.prepare()
    if tracker is not None:
        tracker.prepare()
    if out is not None:
        make_folder(out)
    ledger = Ledger()
    done = insert(World(scene, DEVICE), steerer, RealClock(), ledger, tracker=tracker, breath_known=breath_signal)
    path, target = done.path(), aim.target_mm()
    e = errors(path, aim.depth_mm, target)
    result = {
        "final_deflection_mm": e.final_mm,
        "mean_deflection_mm": e.mean_mm,
        "max_deflection_mm": e.max_mm,
        "total_rotation_deg": math.degrees(done.rotation_rad),
        "depth_mm": float(path[-1, 0]),
        "ended": done.ended,
        "warned": done.warned,
        "tissue": aim.tissue,
        "recipe": recipe,
        "controller": controller,
        "seed": aim.seed,
        "budget_deg": aim.budget_deg,
        "sight": "points" if points else "images",
        "timing_ms": {stage: percentiles_ms(times) for stage, times in ledger.times_ms.items() if times},
        "frames": len(done.rows),
        "versions": versions(),
    }
    if aim.obstacles:
        room = steerer.controller.obstacles.clearance_mm(path)
        result["clearance_mm"] = float(room.min()) - steerer.controller.needle_mm
    if out is not None:
        _write(out, done, result, target, aim.depth_mm)
    if done.ended == "interrupted":
        kept = f"; what was done is in {out}" if out else ""
        raise InterruptedRunError(f"interrupted at {path[-1, 0]:.1f} mm{kept}")
    if as_json:
        say(result, as_json)
        return result
    print(f"{done.ended}: {aim.tissue}, {recipe}, seed {aim.seed}, controller {controller}")
    shown = ("final_deflection_mm", "mean_deflection_mm", "max_deflection_mm", "total_rotation_deg", "depth_mm")
    say({k: result[k] for k in shown}, as_json)
    return result


def _write(out: Path, done: Any, result: dict[str, Any], target: tuple[float, float], depth_mm: float) -> None:
    from sonosteer.episodes.steering import FIELDS
    from sonosteer.recording.tables import LineWriter
    from sonosteer.viz.plots import standalone
    from sonosteer.viz.steering_plots import insertion

    table = LineWriter(out / "insertion.csv")
    table.line(",".join(FIELDS))
    for row in done.rows:
        table.line(",".join("" if math.isnan(v) else f"{v:.5f}" for v in row))
    table.close()
    save_json(result, out / "summary.json")
    seen = np.stack([done.column(n) for n in ("depth_mm", "seen_y_mm", "seen_z_mm")], 1)
    title = f"{result['tissue']}, {result['recipe']}, seed {result['seed']}: {result['ended']}"
    ordered = (done.column("depth_mm"), done.column("ordered_rad"))
    (out / "insertion.svg").write_text(standalone(insertion(done.path(), seen, ordered, target, depth_mm, title)))
