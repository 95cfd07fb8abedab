"""`sonosteer steer predict|fit|plan|run`: steering a flexible bevel-tip needle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Seed
from sonosteer.commands.steering_aim import Aim, no_such_setting, read_aim, read_config
from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.progress import StageProgress

if TYPE_CHECKING:
    from sonosteer.episodes.steering import SteeringConfig, SteeringEpisode, SteeringResult
    from sonosteer.recording.run_log import RunLog

app = typer.Typer(
    help="Steering a flexible bevel-tip needle.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

PlanText = Annotated[
    str,
    typer.Option("--plan", metavar="D:R,...", help="depth_mm:rate_rad_per_mm. Each rate is held until the next depth."),
]
Phi0Deg = Annotated[float, typer.Option("--phi0-deg", metavar="DEG", help="Roll of the bevel at the entry.")]
Tissue = Annotated[
    str, typer.Option("--tissue", metavar="NAME", help="One of {tissues}.", autocompletion=complete("tissues"))
]
DepthMm = Annotated[float, typer.Option("--depth-mm", metavar="MM", help="Inserted length at the target.")]
TargetYZ = Annotated[str | None, typer.Option("--target", metavar="Y,Z", help="Target off the axis, mm.")]
ObstacleText = Annotated[
    list[str] | None,
    typer.Option(
        "--obstacle",
        metavar="KIND:...",
        help="sphere:DEPTH,Y,Z,RADIUS or box:DEPTH,Y,Z,DEPTH,Y,Z (mm), or mask:FILE (image, not 0: forbidden). "
        "Can be repeated.",
    ),
]
BudgetDeg = Annotated[
    float, typer.Option("--budget-deg", metavar="DEG", help="All rotation of the base that is allowed.")
]
ControllerSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Sets one setting of the steering controller. Can be repeated."),
]


# -- predict, fit --------------------------------------------------------------------------------------------


@app.command(
    "predict",
    cls=PageCommand,
    epilog="Example: sonosteer steer predict --curvature 0.001 --plan 0:0,30:0.05,80:-0.02 --depth-mm 120",
)
def predict_command(
    curvature: Annotated[float, typer.Option("--curvature", metavar="K", help="Curvature of the path in 1/mm.")],
    depth_mm: Annotated[float, typer.Option("--depth-mm", metavar="MM", help="Inserted length in mm.")],
    theta0_deg: Annotated[
        float, typer.Option("--theta0-deg", metavar="DEG", help="Angle to the insertion axis at the entry.")
    ] = 0.0,
    phi0_deg: Phi0Deg = 0.0,
    plan: PlanText = "0:0",
    as_json: AsJson = False,
) -> None:
    """Say where the bicycle model of Carriere et al. 2019 ends under a plan of rotations."""
    import numpy as np

    from sonosteer.needle.bicycle import Bicycle

    if not all(map(math.isfinite, (curvature, theta0_deg, phi0_deg, depth_mm))) or not depth_mm >= 0:
        raise InputError("steer predict: curvature, angles and depth must be numbers, and the depth not below 0")
    needle = Bicycle(curvature, math.radians(theta0_deg), math.radians(phi0_deg))
    end = needle.path(parsing.parse_plan(plan), np.array([depth_mm]))[0].tolist()
    _tell(dict(zip(("x_mm", "y_mm", "z_mm", "theta_rad", "phi_rad"), end, strict=True)), as_json=as_json)


@app.command("fit", cls=PageCommand, epilog="Example: sonosteer steer fit path.csv --plan 0:0,30:0.05 --json")
def fit_command(
    path: Annotated[
        Path, typer.Argument(metavar="CSV", help="Table depth_mm,y_mm,z_mm. Empty positions are left out.")
    ],
    plan: PlanText = "0:0",
    phi0_deg: Phi0Deg = 0.0,
    fit_phi0: Annotated[bool, typer.Option("--fit-phi0", help="Fit the roll of the bevel, too.")] = False,
    noise_mm: Annotated[
        float, typer.Option("--noise-mm", metavar="MM", help="Expected standard deviation of a position.")
    ] = 0.15,
    as_json: AsJson = False,
) -> None:
    """Fit curvature and entry angle to where the tip was seen, with a posterior deviation for each."""
    from sonosteer.steering.fit import fit_needle, read_tip_measurements

    if not math.isfinite(phi0_deg):
        raise InputError(f"--phi0-deg {phi0_deg}: give the roll of the bevel in degrees")
    found = fit_needle(
        read_tip_measurements(path),
        parsing.parse_plan(plan),
        math.radians(phi0_deg),
        fit_phi0=fit_phi0,
        noise_mm=noise_mm,
    )
    _tell(dataclasses.asdict(found), as_json=as_json)


def _tell(numbers: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(numbers)
    else:
        terminal.print_numbers(numbers)


# -- plan ----------------------------------------------------------------------------------------------------


@app.command(
    "plan",
    cls=PageCommand,
    epilog="Example: sonosteer steer plan --tissue porcine --target 3,-1 --obstacle sphere:70,0,0,1 --out plan",
)
def plan_command(
    tissue: Tissue = "porcine",
    depth_mm: DepthMm = 120.0,
    target: TargetYZ = None,
    obstacle: ObstacleText = None,
    curvature: Annotated[
        float | None, typer.Option("--curvature", metavar="K", help="Believed beforehand, 1/mm.")
    ] = None,
    budget_deg: BudgetDeg = 540.0,
    settings: ControllerSettings = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for plan.json and a picture of the reach.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan the turns before an insertion, around obstacles to a target; or answer that there is no safe path."""
    from sonosteer.core.config import save_json
    from sonosteer.recording.output_folder import claimed_folder

    aim = read_aim(
        tissue=tissue,
        depth_mm=depth_mm,
        target=target,
        obstacle=obstacle,
        budget_deg=budget_deg,
        settings=settings,
        seed=seed,
    )
    planner: Any = aim.steerer("moves").controller
    if curvature is not None:
        if not 1e-5 <= curvature <= 0.02:
            raise InputError(f"--curvature {curvature}: 0.00001 to 0.02 per mm is possible")
        planner = dataclasses.replace(planner, model=dataclasses.replace(planner.model, curvature_per_mm=curvature))
    state = planner.plan_ahead()
    made = sorted((float(e), float(a)) for e, a in zip(state.depths, state.turns, strict=True) if a != 0.0)
    safe = not state.lack_mm > 0.0
    line = planner.planned_path(state)
    result: dict[str, Any] = {
        "safe": safe,
        "answer": "plan found" if safe else "no safe path",
        "moves": [{"depth_mm": round(e, 3), "turn_deg": round(math.degrees(a), 2)} for e, a in made],
        "total_rotation_deg": round(math.degrees(sum(abs(a) for _, a in made)), 2),
        "miss_mm": state.miss_mm,
        "miss_sd_mm": state.miss_sd_mm,
        "clearance_mm": None,
        "target_mm": list(aim.target_mm),
        "depth_mm": aim.depth_mm,
        "tissue": aim.tissue,
        "seed": aim.seed,
    }
    if planner.obstacles.present:
        result["clearance_mm"] = float(planner.obstacles.clearance_mm(line).min()) - planner.needle_mm
    if out is not None:
        with claimed_folder(out):
            _draw_reach(out / "plan.svg", planner, line, aim)
            save_json(result, out / "plan.json")
    if as_json:
        terminal.print_json(result)
        return
    print(result["answer"])
    for e, a in made:
        print(f"  at {e:6.1f} mm turn the tip by {math.degrees(a):7.1f} deg")
    terminal.print_numbers({k: result[k] for k in ("total_rotation_deg", "miss_mm", "miss_sd_mm", "clearance_mm")})


def _draw_reach(path: Path, planner: Any, line: Any, aim: Aim) -> None:
    """Draw where the needle can get, the planned path and the obstacles."""
    import numpy as np

    from sonosteer.steering.reach import hull, sample_reach
    from sonosteer.viz.plots import standalone
    from sonosteer.viz.steering_plots import plot_reach

    ends, free = sample_reach(planner, np.random.default_rng(aim.seed))
    outline = None
    if planner.obstacles.present:
        field = planner.obstacles
        depth = field.origin_mm[0] + field.step_mm * np.arange(field.field.shape[0])
        across = field.origin_mm[1] + field.step_mm * np.arange(field.field.shape[1])
        outline = (depth, across, field.field.min(axis=2))
    path.write_text(standalone(plot_reach(hull(ends), ends[free], aim.target_mm, line, outline)))


# -- run -----------------------------------------------------------------------------------------------------


@app.command("run", cls=PageCommand, epilog="Example: sonosteer steer run --tissue porcine --seed 1 --out run --json")
def run_command(
    context: typer.Context,
    tissue: Tissue = "porcine",
    bevel_force: Annotated[
        str | None,
        typer.Option(
            "--bevel-force",
            metavar="NAME",
            help="How strongly the bevel pulls: {bevel-forces}. Default: middle.",
            autocompletion=complete("bevel-forces"),
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="NAME", hidden=True)] = None,
    plant: Annotated[
        str,
        typer.Option(
            "--plant",
            metavar="NAME",
            help="How the simulated needle moves: {plants}.",
            autocompletion=complete("plants"),
        ),
    ] = "beam",
    controller: Annotated[
        str,
        typer.Option(
            "--controller",
            metavar="NAME",
            help="Who steers: {controllers}.",
            autocompletion=complete("controllers"),
        ),
    ] = "moves",
    depth_mm: DepthMm = 120.0,
    target: TargetYZ = None,
    obstacle: ObstacleText = None,
    budget_deg: BudgetDeg = 540.0,
    points: Annotated[bool, typer.Option("--points", help="Tip's place with 0.15 mm of noise, no images.")] = False,
    breathing_mm: Annotated[float, typer.Option("--breathing-mm", metavar="MM", help="Motion of the tissue.")] = 0.0,
    breath_signal: Annotated[bool, typer.Option("--breath-signal", help="A respiratory signal is measured.")] = False,
    live: Annotated[bool, typer.Option("--live", help="On a real clock, each branch in its thread.")] = False,
    settings: ControllerSettings = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the recording, insertion.csv, a figure, summary.json."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Steer one simulated insertion from axial images: a hand pushes, the probe follows the tip, the base is rolled.

    Everything that is ordered passes the gate (SAFETY.md). By default time is simulated, so that a seed gives the same
    run on every machine. With --live it takes the time it takes, and the operator has keys. Simulation only: nothing
    here drives a real robot.
    """
    from sonosteer.recording.output_folder import claimed_folder

    typed = parsing.as_typed(context, "out")
    config = read_config(typed)
    episode = _build(config)
    quiet = as_json or live  # nothing disturbs a live run
    with claimed_folder(out), terminal.shown_progress("steering", quiet=quiet) as progress:
        done, log = _carry_out(episode, typed, out, progress)
        result = _numbers(done, episode, budget_deg) | ({} if log is None else {"digest": log.digest})
        if out is not None:
            progress("writing the report", 0, 0)
            try:
                _write_results(out, done, result, episode)
            except (SonosteerError, OSError) as e:
                raise (None if log is None else log.error) or e from None
    if as_json:
        terminal.print_json(result)
    else:
        print(f"{done.ended}: {config.tissue}, {config.recipe}, seed {seed}, controller {controller}")
        _tell_numbers(result)
        if out is not None:
            terminal.print_files(out, (parsing.RECORDING, "insertion.csv", "insertion.svg", "summary.json"))
            print(f"digest of the recording: {result['digest'] or 'none, since it is not whole'}")
        terminal.print_notice()
    terminal.raise_what_ended(done.run, None if log is None else log.error, out)


def _tell_numbers(result: Mapping[str, Any]) -> None:
    shown = ("final_deflection_mm", "mean_deflection_mm", "max_deflection_mm", "total_rotation_deg", "depth_mm")
    terminal.print_lines({k: result[k] for k in shown})
    for rule, count in result["refused"].items():
        print(f"refused by the gate: {count} x {rule}")


def _build(config: SteeringConfig) -> SteeringEpisode:
    """Build the episode and prepare it before anything is written."""
    from sonosteer.episodes.steering import build_steering_episode

    try:
        episode = build_steering_episode(config)
    except TypeError as e:
        raise no_such_setting(e, config.controller) from None
    episode.steerer.prepare()
    if episode.tracker is not None:
        episode.tracker.prepare()
    return episode


def _carry_out(
    episode: SteeringEpisode, typed: Mapping[str, Any], out: Path | None, progress: StageProgress
) -> tuple[SteeringResult, RunLog | None]:
    """Insert and record. Returns the result and the closed recorder, None where nothing is recorded."""
    from sonosteer.core.clock import RealClock
    from sonosteer.episodes.steering import run_steering_episode
    from sonosteer.recording.run_log import RunLog

    live = episode.config.live
    frames = 0
    with ExitStack() as opened:
        log = None
        if out is not None:
            said = {"command": typed, **episode.configuration()}
            log = opened.enter_context(RunLog(out / parsing.RECORDING, said, live=live))

        def count(*_: object) -> None:
            nonlocal frames
            frames += 1
            progress("frames", frames, 0)

        button = terminal.operators_button(live=live)
        done = run_steering_episode(episode, RealClock(), recorder=log, watch=count, button=button)
        if log is not None:
            log.write("/ledger", done.run.time_s, done.ledger.counts())
            log.close(done.ended)
    return done, log


def _numbers(done: SteeringResult, episode: SteeringEpisode, budget_deg: float) -> dict[str, Any]:
    """Return what `steer run --json` prints."""
    from sonosteer.episodes.steering import path_errors
    from sonosteer.metrics.latency import percentiles_ms
    from sonosteer.recording.summary import versions

    config = episode.config
    path = done.path()
    error = path_errors(path, config.depth_mm, config.target_mm) if len(path) else None
    result = {
        "final_deflection_mm": None if error is None else error.final_mm,
        "mean_deflection_mm": None if error is None else error.mean_mm,
        "max_deflection_mm": None if error is None else error.max_mm,
        "total_rotation_deg": math.degrees(done.rotation_rad),
        "depth_mm": float(path[-1, 0]) if len(path) else None,
        "ended": done.ended,
        "warned": done.warned,
        "warnings": list(done.warnings),
        "refused": dict(done.refused),
        "tissue": config.tissue,
        "recipe": config.recipe,
        "plant": config.plant,
        "controller": config.controller,
        "seed": config.seed,
        "budget_deg": budget_deg,
        "sight": "points" if config.tracker is None else "images",
        "timing_ms": {stage: percentiles_ms(times) for stage, times in done.timing_ms(live=config.live).items()},
        "frames": len(done.rows),
        "versions": versions(),
    }
    if config.obstacles.present and len(path):
        planner: Any = episode.steerer
        result["clearance_mm"] = float(config.obstacles.clearance_mm(path).min()) - planner.controller.needle_mm
    return result


def _write_results(out: Path, done: SteeringResult, result: dict[str, Any], episode: SteeringEpisode) -> None:
    """Write insertion.csv, summary.json, insertion.svg and report.html."""
    import numpy as np

    from sonosteer.core.config import save_json
    from sonosteer.episodes.steering import SteeringRow
    from sonosteer.recording.tables import LineWriter
    from sonosteer.viz.plots import standalone
    from sonosteer.viz.steering_plots import plot_insertion
    from sonosteer.viz.steering_report import write_steering_report

    with LineWriter(out / "insertion.csv") as table:
        table.line(",".join(SteeringRow._fields))
        for row in done.rows:
            table.line(",".join("" if v is None else f"{v:.5f}" for v in row))
    save_json(result, out / "summary.json")
    if not done.rows:
        return
    seen = np.stack([done.column(n) for n in ("depth_mm", "seen_y_mm", "seen_z_mm")], 1)
    title = f"{result['tissue']}, {result['recipe']}, seed {result['seed']}: {result['ended']}"
    ordered = (done.column("depth_mm"), done.column("ordered_rad"))
    config = episode.config
    figure = plot_insertion(done.path(), seen, ordered, config.target_mm, config.depth_mm, title)
    (out / "insertion.svg").write_text(standalone(figure))
    write_steering_report(out / "report.html", title, result, figure)
