"""Words of the command line -> `app`. No logic here; nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sonosteer import __version__
from sonosteer.core.errors import SonosteerError

app = typer.Typer(
    name="sonosteer",
    help="See the needle, steer the needle. Research software, not a medical device.",
    epilog="First steps: sonosteer demo, then sonosteer track clip.mp4 --spacing-mm 0.1 --out results",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random: same seed, same result.")]
SpacingMm = Annotated[
    str | None,
    typer.Option("--spacing-mm", metavar="X[,Y]", help="Millimetres per pixel; read from the file where it says."),
]
AngleDeg = Annotated[
    str | None,
    typer.Option(
        "--angle-deg",
        metavar="LO:HI",
        help="Expected direction from entry to tip, 0 to 180 from image +x downwards: "
        "30:40 from the left, 140:150 from the right.",
    ),
]
Enters = Annotated[
    str | None,
    typer.Option("--enters", metavar="left|right|top", help="Side of the image the needle comes from."),
]
Start = Annotated[
    str | None, typer.Option("--start", metavar="X,Y", help="Tip in the first frame, in pixels (a click).")
]
VelocityMmS = Annotated[
    str | None,
    typer.Option(
        "--velocity-mm-s",
        metavar="V|CSV",
        help="Measured insertion speed in mm/s, or a CSV file time_s,velocity_mm_s (for kfv, kfv+f, pfv, pfv+f).",
    ),
]
Frames = Annotated[
    str | None,
    typer.Option("--frames", metavar="A:B", help="Only frames A to B (B not included; either may be empty)."),
]
Executor = Annotated[
    str, typer.Option("--executor", metavar="E", help="serial, process, dask, or tcp://HOST:PORT of a dask scheduler.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One setting of the method or the scene; may be repeated."),
]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"sonosteer {__version__}")
        raise typer.Exit


@app.command(epilog="Example: sonosteer demo --out demo-out")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("demo-out"),
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Track a simulated insertion, from frames to report.

    Takes well under a minute and prints where the results are.
    """
    from sonosteer import app as do

    do.demo(out, seed=seed, as_json=json)


@app.command(epilog="Example: sonosteer simulate in-plane-convex --mode ipm --seed 3 --out clip.mp4 --truth truth.csv")
def simulate(
    setup: Annotated[
        str,
        typer.Argument(
            metavar="SETUP",
            help="in-plane-linear, axial or in-plane-convex, with /train, /validation or /test (the default); "
            "or a scene file of your own (.toml).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="clip.mp4, clip.mha, or a folder of PNG.")],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="Where to write truth.csv; all else that is known goes beside it, .jsonl."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="ips|ipm", help="in-plane-convex: probe stands still or slides.")
    ] = None,
    seed: Seed = 0,
    settings: Settings = None,
    frames: Frames = None,
    json: Json = False,
) -> None:
    """Write a simulated clip with exact truth."""
    from sonosteer import app as do

    do.simulate(setup, out, truth, seed=seed, settings=settings or [], frames=frames, mode=mode, as_json=json)


@app.command(epilog="Example: sonosteer track clip.mp4 --spacing-mm 0.0355 --out results")
def track(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Video, folder of PNG/JPEG, .mha/.nrrd sequence, DICOM cine, or sim:SETUP."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for tips.csv, overlay.mp4, report.html, summary.json.")],
    method: Annotated[str, typer.Option("--method", help="Tracking method; `sonosteer doctor` lists them.")] = "auto",
    spacing_mm: SpacingMm = None,
    angle_deg: AngleDeg = None,
    enters: Enters = None,
    start: Start = None,
    velocity_mm_s: VelocityMmS = None,
    frames: Frames = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="truth.csv to compare with in the report (sim: brings its own)."),
    ] = None,
    seed: Seed = 0,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with settings of the method (names as in --set).")
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Track the needle's tip through a clip.

    Writes tips.csv (a row for every frame), overlay.mp4, report.html and summary.json.
    """
    from sonosteer import app as do
    from sonosteer.options import TrackOptions

    do.track(
        TrackOptions(
            source=source,
            out=out,
            method=method,
            spacing_mm=spacing_mm,
            angle_deg=angle_deg,
            enters=enters,
            start=start,
            velocity_mm_s=velocity_mm_s,
            frames=frames,
            truth=truth,
            seed=seed,
            settings=tuple(settings or ()),
            config=config,
        ),
        as_json=json,
    )


@app.command(epilog="Example: sonosteer evaluate results/tips.csv truth.csv --json")
def evaluate(
    tips: Annotated[Path, typer.Argument(help="tips.csv of a tracker.")],
    truth: Annotated[Path, typer.Argument(help="truth.csv of a simulation, or your own marks in the same columns.")],
    spacing_mm: SpacingMm = None,
    json: Json = False,
) -> None:
    """Measure the errors of a track against truth.

    Matched by frame; a frame without an estimate counts against the tracker.
    """
    from sonosteer import app as do

    do.evaluate(tips, truth, spacing_mm=spacing_mm, as_json=json)


@app.command(epilog="Example: sonosteer bench tracking --json")
def bench(
    name: Annotated[
        str, typer.Argument(help="tracking, steering, simulator, environments, insertion, vla or vla-gpu")
    ] = "tracking",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure speed against stated references.

    Each figure is a ratio to a reference measured in the same run, on one thread.
    """
    from sonosteer import app as do

    do.bench(name, seed=seed, as_json=json)


@app.command(epilog="Example: sonosteer study tracking --quick --out study-quick")
def study(
    name: Annotated[str, typer.Argument(help="tracking, steering, vla-tracking or insertion")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for tables, figures and report.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few trials, to see that it works: under a minute.")] = False,
    executor: Executor = "process",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make the published tables and figures, ours beside theirs.

    Can be interrupted; the same command goes on where it stopped.
    """
    from sonosteer import app as do

    do.study(name, out or Path(f"study-{name}"), quick=quick, executor=executor, seed=seed, as_json=json)


@app.command(epilog="Example: sonosteer train tracking --data d-track --from train-encoder --recipe cpu --out mine")
def train(
    stage: Annotated[str, typer.Argument(help="tip-weights, encoder, tracking or policy")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for what was learnt.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Data set to learn from (sonosteer dataset make or import); can be repeated."),
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Size of the network: tiny, edge, base, qwen3b or qwen7b.")
    ] = "edge",
    recipe: Annotated[
        str, typer.Option("--recipe", help="paper (350 epochs, for a GPU) or cpu (about an hour on two cores).")
    ] = "paper",
    start: Annotated[
        Path | None, typer.Option("--from", help="Trained folder whose encoder is taken (tracking: and frozen).")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="What to compute on.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", metavar="no|bf16|fp16", help="Mixed precision.")] = "no",
    settings: Settings = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few steps, to see that it works.")] = False,
    executor: Executor = "process",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train on simulated insertions of the training split, or on your own labelled frames.

    tip-weights: weights of Paper T's five tip features (Eq. 24); use them by track --config tip-weights.toml.
    encoder: vision encoder of the edge preset. tracking: Paper V's stage 1, register and tracking head on a frozen
    encoder; use it by track --method vla --set model=FOLDER. policy: who decides, from demonstrations (dataset make
    d-insert); with --from, Paper V's stage 2; use it by insert --set model=FOLDER. Can be interrupted; the same command
    goes on. --set takes schedule.NAME, augmentation.NAME and model.NAME. On several GPUs: accelerate launch -m
    sonosteer train ...
    """
    from sonosteer import app as do

    options = do.train_options(data or [], preset, recipe, start, device, precision, settings or [])
    do.train(stage, out or Path(f"train-{stage}"), options, quick=quick, executor=executor, seed=seed, as_json=json)


@app.command(epilog="Example: sonosteer insert --policy vla --mode ipm --seed 3 --out insertion")
def insert(
    policy: Annotated[
        str,
        typer.Option("--policy", help="Who decides: vla, visibility, constant, operator, steer, seek, expert, hold."),
    ] = "vla",
    mode: Annotated[
        str, typer.Option("--mode", metavar="ips|ipm", help="The probe stands still, or moves along with the needle.")
    ] = "ips",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for recording, overlay and report.")] = None,
    method: Annotated[str, typer.Option("--method", help="Tracker that the policy sees through.")] = "vla",
    scene: Annotated[str, typer.Option("--scene", help="SETUP/SPLIT, or a TOML file.")] = "in-plane-convex/test",
    live: Annotated[bool, typer.Option("--live", help="On a real clock, each branch in its thread.")] = False,
    synchronous: Annotated[
        bool, typer.Option("--synchronous", help="Tracker and policy wait for one another (ablation).")
    ] = False,
    forbid: Annotated[
        list[str] | None,
        typer.Option(
            "--forbid", metavar="circle:X,Y,R", help="Keep the tip out, mm of the first frame; can be repeated."
        ),
    ] = None,
    settings: Settings = None,
    tracker_settings: Annotated[
        list[str] | None, typer.Option("--set-tracker", metavar="NAME=VALUE", help="A setting of the tracker.")
    ] = None,
    json: Json = False,
) -> None:
    """Insert a simulated needle by robot: tracker, policy, safety gate, recording.

    Everything that is ordered passes the gate (SAFETY.md). By default time is simulated, so that a seed gives the same
    run on every machine, with the branches as fast as on Paper V's machine; --live takes the time it takes.
    --set gives settings of the policy. Simulation only: nothing here drives a real robot.
    """
    from sonosteer import app_insert as do

    asked = do.InsertOptions(
        policy,
        mode,
        seed,
        method,
        scene,
        live,
        synchronous,
        tuple(forbid or ()),
        tuple(settings or ()),
        tuple(tracker_settings or ()),
    )
    do.insert(asked, out, as_json=json)


@app.command(epilog="Example: sonosteer replay insertion/recording.mcap")
def replay(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="recording.mcap, or the folder it is in.")],
    json: Json = False,
) -> None:
    """Run a recorded insertion again: tracker, policy and gate must decide as they did.

    A recording whose process was killed is replayed up to its end. Exit code 1 if a decision differs.
    """
    from sonosteer import app_insert as do

    do.replay(recording, as_json=json)


dataset = typer.Typer(help="Data sets to train on.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(dataset, name="dataset")
DataFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")]


@dataset.command("make", epilog="Example: sonosteer dataset make d-track --out data/d-track")
def dataset_make(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="d-track (Paper V: 239 videos, split 7:1:2), d-encoder (360 videos for the vision encoder) or "
            "d-insert (18 demonstrations of insertions).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the data set; about 40 MB a video.")],
    videos: Annotated[int | None, typer.Option("--videos", help="How many, instead of all.")] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option("--operator", help="d-insert: careful, steady or quick (all in turn); can be repeated."),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="train|validation", help="d-insert: which scenes and tissues.")
    ] = "train",
    seed: Seed = 0,
    executor: Executor = "process",
    json: Json = False,
) -> None:
    """Simulate videos of insertions with exact labels, a data card and contact sheets.

    Can be interrupted; the same command goes on where it stopped.
    """
    from sonosteer import app_data as do

    if name == "d-insert":
        scenes = do.scenes_of(split)
        do.demonstrate(
            out, episodes=videos, seed=seed, split=scenes, operators=operator or [], executor=executor, as_json=json
        )
        return
    do.make(name, out, videos=videos, seed=seed, executor=executor, as_json=json)


@dataset.command("info", epilog="Example: sonosteer dataset info data/d-track --json")
def dataset_info(folder: DataFolder, json: Json = False) -> None:
    """Say what a data set holds, and what is missing or damaged."""
    from sonosteer import app_data as do

    do.info(folder, as_json=json)


@dataset.command(
    "export", epilog="Example: sonosteer dataset export data/d-track --format coco --split test --out coco"
)
def dataset_export(
    folder: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="New folder for what is exported.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="png|mp4|coco",
            help="Pictures with labels.csv, clips with truth.csv, or COCO detection.",
        ),
    ] = "png",
    split: Annotated[
        list[str] | None, typer.Option("--split", help="train, validation or test only; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a data set in formats that others read."""
    from sonosteer import app_data as do

    do.export(folder, out, form=form, splits=split or (), as_json=json)


@dataset.command(
    "import", epilog="Example: sonosteer dataset import pictures --labels tips.csv --spacing-mm 0.1 --out data/mine"
)
def dataset_import(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of pictures (sub-folders are videos), or one clip.")
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder for the data set.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="CSV",
            help="Pictures: image,tip_x_px,tip_y_px[,visible,video,split,time_s]; clip: "
            "frame,tip_x_px,tip_y_px[,visible]. An empty tip: there is none. Default: labels.csv in SOURCE.",
        ),
    ] = None,
    spacing_mm: SpacingMm = None,
    rate_hz: Annotated[float, typer.Option("--rate-hz", help="Of pictures without times.")] = 20.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make a data set of your own labelled frames.

    Split 7:1:2 by video, unless the table has a column split; one video is cut in time order.
    """
    from sonosteer import app_data as do

    do.import_(source, out, labels=labels, spacing_mm=spacing_mm, rate_hz=rate_hz, seed=seed, as_json=json)


steer = typer.Typer(help="Steering a flexible bevel-tip needle.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(steer, name="steer")
PlanText = Annotated[
    str,
    typer.Option("--plan", metavar="D:R,...", help="depth_mm:rate_rad_per_mm; each rate is held until the next depth."),
]
Phi0Deg = Annotated[float, typer.Option("--phi0-deg", help="Roll of the bevel at the entry.")]


@steer.command(epilog="Example: sonosteer steer predict --curvature 0.001 --plan 0:0,30:0.05,80:-0.02 --depth-mm 120")
def predict(
    curvature: Annotated[float, typer.Option("--curvature", help="Curvature of the path in 1/mm.")],
    depth_mm: Annotated[float, typer.Option("--depth-mm", help="Inserted length in mm.")],
    theta0_deg: Annotated[float, typer.Option("--theta0-deg", help="Angle to the insertion axis at the entry.")] = 0.0,
    phi0_deg: Phi0Deg = 0.0,
    plan: PlanText = "0:0",
    json: Json = False,
) -> None:
    """Say where the bicycle model of Paper S ends under a plan of rotations."""
    from sonosteer import app_steer as do

    do.predict(curvature, theta0_deg, phi0_deg, plan, depth_mm, as_json=json)


@steer.command(epilog="Example: sonosteer steer fit path.csv --plan 0:0,30:0.05 --json")
def fit(
    path: Annotated[Path, typer.Argument(help="CSV depth_mm,y_mm,z_mm; empty positions are left out.")],
    plan: PlanText = "0:0",
    phi0_deg: Phi0Deg = 0.0,
    fit_phi0: Annotated[bool, typer.Option("--fit-phi0", help="Fit the roll of the bevel, too.")] = False,
    noise_mm: Annotated[float, typer.Option("--noise-mm", help="Expected standard deviation of a position.")] = 0.15,
    json: Json = False,
) -> None:
    """Fit curvature and entry angle to where the tip was seen, with a posterior deviation for each."""
    from sonosteer import app_steer as do

    do.fit(path, plan, phi0_deg, fit_phi0=fit_phi0, noise_mm=noise_mm, as_json=json)


Tissue = Annotated[str, typer.Option("--tissue", help="porcine, bovine or plastisol.")]
DepthMm = Annotated[float, typer.Option("--depth-mm", help="Inserted length at the target.")]
Target = Annotated[str | None, typer.Option("--target", metavar="Y,Z", help="Target off the axis, mm.")]
Obstacle = Annotated[
    list[str] | None,
    typer.Option(
        "--obstacle",
        metavar="KIND:...",
        help="sphere:DEPTH,Y,Z,RADIUS or box:DEPTH,Y,Z,DEPTH,Y,Z (mm), or mask:FILE (image, not 0: forbidden). Repeat.",
    ),
]
Budget = Annotated[float, typer.Option("--budget-deg", help="All rotation of the base that is allowed.")]


@steer.command(
    epilog="Example: sonosteer steer plan --tissue porcine --target 3,-1 --obstacle sphere:70,0,0,1 --out plan"
)
def plan(
    tissue: Tissue = "porcine",
    depth_mm: DepthMm = 120.0,
    target: Target = None,
    obstacle: Obstacle = None,
    curvature: Annotated[float | None, typer.Option("--curvature", help="Believed beforehand, 1/mm.")] = None,
    budget_deg: Budget = 540.0,
    settings: Settings = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for plan.json and a picture of the reach.")] = None,
    json: Json = False,
) -> None:
    """Plan the turns before an insertion, around obstacles to a target; or answer that there is no safe path."""
    from sonosteer import app_steer as do

    aim = do.Aim(tissue, depth_mm, target, tuple(obstacle or ()), budget_deg, tuple(settings or ()), seed)
    do.plan(aim, curvature, out, as_json=json)


@steer.command(epilog="Example: sonosteer steer run --tissue porcine --seed 1 --out run --json")
def run(
    tissue: Tissue = "porcine",
    recipe: Annotated[str, typer.Option("--recipe", help="How the bevel pulls: mild, middle or harsh.")] = "middle",
    controller: Annotated[
        str, typer.Option("--controller", help="moves, paper-s, paper-s-fit, paper-s-plan, bicycle, open-loop, none.")
    ] = "moves",
    depth_mm: DepthMm = 120.0,
    target: Target = None,
    obstacle: Obstacle = None,
    budget_deg: Budget = 540.0,
    points: Annotated[bool, typer.Option("--points", help="Tip's place with 0.15 mm of noise, no images.")] = False,
    breathing_mm: Annotated[float, typer.Option("--breathing-mm", help="Motion of the tissue.")] = 0.0,
    breath_signal: Annotated[bool, typer.Option("--breath-signal", help="A respiratory signal is measured.")] = False,
    settings: Settings = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for insertion.csv, a figure and summary.json.")
    ] = None,
    json: Json = False,
) -> None:
    """Steer one simulated insertion from axial images: a hand pushes, the probe follows the tip, the base is rolled."""
    from sonosteer import app_steer as do

    aim = do.Aim(tissue, depth_mm, target, tuple(obstacle or ()), budget_deg, tuple(settings or ()), seed)
    do.run(
        aim,
        controller,
        recipe,
        out,
        points=points,
        breathing_mm=breathing_mm,
        breath_signal=breath_signal,
        as_json=json,
    )


@app.command(epilog="Example: sonosteer doctor")
def doctor(json: Json = False) -> None:
    """Say what is installed, what is missing, how to get it."""
    from sonosteer import app as do

    do.doctor(as_json=json)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one clear line on stderr and exit code 2 (wrong input) or 1 (it broke), no traceback."""
    signal.signal(signal.SIGTERM, _stop)
    command: Any = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="sonosteer", standalone_mode=False)
    except SonosteerError as e:
        _fail(str(e), e.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as e:
        if hasattr(e, "format_message"):  # click's own usage errors
            _fail(f"{e.format_message()} (see sonosteer --help)", 2)
        if type(e).__name__ == "Abort":  # what click makes of Ctrl-C
            _fail("interrupted", 130)
        if type(e).__name__ == "Exit":
            sys.exit(getattr(e, "exit_code", 0))
        if os.environ.get("SONOSTEER_TRACEBACK"):
            raise
        _fail(f"broke with {type(e).__name__}: {e} (SONOSTEER_TRACEBACK=1 shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> None:
    print("sonosteer: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
