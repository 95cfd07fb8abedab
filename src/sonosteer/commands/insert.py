"""`sonosteer insert`: one closed-loop robotic insertion on the simulated rig, recorded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Seed
from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.progress import StageProgress

if TYPE_CHECKING:
    from sonosteer.episodes.insertion import Episode, EpisodeResult
    from sonosteer.recording.run_log import RunLog

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PolicyName = Annotated[
    str,
    typer.Option("--policy", metavar="NAME", help="Who decides: {policies}.", autocompletion=complete("policies")),
]
TrackerName = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        help="Tracker that the policy sees through: {methods}.",
        autocompletion=complete("methods"),
    ),
]
Paused = Annotated[bool, typer.Option("--paused", help="Begins paused: nothing moves until c and Enter. With --live.")]
CalibrationSd = Annotated[
    str | None,
    typer.Option(
        "--calibration-sd-mm",
        metavar="SD[,SD]",
        help="Error of the image's calibration along x and y, mm. The gate adds it to every tip's.",
    ),
]
Forbid = Annotated[
    list[str] | None,
    typer.Option(
        "--forbid", metavar="circle:X,Y,R", help="Keep the needle out, mm of the first frame. Can be repeated."
    ),
]


@app.command(cls=PageCommand, epilog="Example: sonosteer insert --policy vla --mode ipm --seed 3 --out insertion")
def insert_command(
    context: typer.Context,
    policy: PolicyName = "vla",
    mode: Annotated[
        str, typer.Option("--mode", metavar="ips|ipm", help="The probe stands still, or moves along with the needle.")
    ] = "ips",
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for recording, overlay and report.")
    ] = None,
    method: TrackerName = "vla",
    scene: Annotated[
        str,
        typer.Option(
            "--scene", metavar="SETUP/SPLIT", help="Where: {setups}, with a split ({splits}). Or a TOML file."
        ),
    ] = "in-plane-convex/test",
    live: Annotated[bool, typer.Option("--live", help="On a real clock, each branch in its thread.")] = False,
    paused: Paused = False,
    calibration: CalibrationSd = None,
    synchronous: Annotated[
        bool, typer.Option("--synchronous", help="Tracker and policy wait for one another (ablation).")
    ] = False,
    forbid: Forbid = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Sets one setting of the policy. Can be repeated."),
    ] = None,
    tracker_settings: Annotated[
        list[str] | None,
        typer.Option("--set-tracker", metavar="NAME=VALUE", help="Sets one setting of the tracker. Can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Insert a simulated needle by robot: tracker, policy, safety gate, recording.

    Everything that is ordered passes the gate (SAFETY.md). By default time is simulated, so that a seed gives the same
    run on every machine, with the branches as fast as on the machine of Zhang et al. 2026. With --live it takes the
    time it takes, and the operator has keys of the terminal, each with Enter. s stops and r releases, p pauses and c
    continues. While the tip is lost, b draws the needle back and f pushes it on the way that it has gone, 1 mm a press
    and 3 mm in all. Simulation only: nothing here drives a real robot.
    """
    from sonosteer.episodes.insertion import InsertionConfig, build_episode
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.runtime.insertion import Pace

    if seed < 0:
        raise InputError(f"--seed is {seed}: it must be 0 or more")
    config = InsertionConfig(
        policy=policy,
        mode=parsing.parse_mode(mode),
        seed=seed,
        scene=scene,
        tracker=method,
        policy_settings=parsing.parse_settings(settings),
        tracker_settings=parsing.parse_settings(tracker_settings, option="--set-tracker"),
        pace=Pace(asynchronous=not synchronous),
        regions=parsing.parse_forbidden(forbid),
        live=live,
        calibration_mm2=parsing.parse_calibration(calibration),
        paused=_paused(paused, live),
    )
    episode = build_episode(config)
    episode.tracker.prepare()  # before anything is written
    episode.policy.prepare()
    typed = parsing.as_typed(context, "out")
    quiet = as_json or live  # nothing disturbs a live run
    with claimed_folder(out), terminal.shown_progress("inserting", quiet=quiet) as progress:
        done, log = _carry_out(episode, typed, out, progress)
        result = done.summary() | ({} if log is None else {"digest": log.digest})
        if out is not None and log is not None:
            progress("writing the report", 0, 0)
            _write_results(out, done, result, log, typed)
    if as_json:
        terminal.print_json(result)
    else:
        _tell(done, result, episode)
        if out is not None:
            terminal.print_files(out, (parsing.RECORDING, "overlay.mp4", "report.html", "summary.json"))
            print(f"digest of the recording: {result['digest'] or 'none, since it is not whole'}")
        terminal.print_notice()
    terminal.raise_what_ended(done.run, None if log is None else log.error, out)


def _carry_out(
    episode: Episode, typed: Mapping[str, Any], out: Path | None, progress: StageProgress
) -> tuple[EpisodeResult, RunLog | None]:
    """Insert and record. Returns the result and the closed recorder, None where nothing is recorded."""
    from sonosteer.episodes.insertion import run_episode
    from sonosteer.recording.run_log import RunLog

    live = episode.config.live
    frames = 0
    with ExitStack() as opened:
        log = None
        if out is not None:
            log = opened.enter_context(RunLog(out / parsing.RECORDING, _configuration(typed, episode), live=live))

        def count(*_: object) -> None:
            nonlocal frames
            frames += 1
            progress("frames", frames, 0)

        done = run_episode(episode, recorder=log, watch=count, button=terminal.operators_button(live=live))
        if log is not None:
            log.write("/ledger", done.run.time_s, done.run.ledger.counts())
            log.close(done.run.ended)
    return done, log


def _paused(paused: bool, live: bool) -> bool:
    """Whether the run begins paused. Raises InputError where nobody could continue it."""
    if paused and not live:
        raise InputError("--paused needs --live: on the simulated clock nobody could continue the run")
    if paused and not sys.stdin.isatty():
        raise InputError("--paused needs a terminal: c and Enter continue the run")
    return paused


def _configuration(typed: Mapping[str, Any], episode: Episode) -> dict[str, Any]:
    """All that a replay needs to build tracker, policy and gate again."""
    from sonosteer.safety.regions import Circle

    config = episode.config
    circles = [r for r in config.regions if isinstance(r, Circle)]
    regions = [{"name": r.name, "center_mm": r.center_mm, "radius_mm": r.radius_mm} for r in circles]
    return {
        "command": typed,
        "task": episode.task,
        "hint": episode.hint,
        "limits": config.limits,
        "regions": regions,
        "calibration_mm2": config.calibration_mm2,
        "shows_depth": episode.gate.shows_depth,
    }


def _write_results(
    out: Path,
    done: EpisodeResult,
    result: Mapping[str, Any],
    log: RunLog,
    typed: Mapping[str, Any],
) -> None:
    """Write summary.json, overlay.mp4, insertion.svg and report.html. If the recorder failed, its error is raised."""
    from sonosteer.episodes.insertion_files import write_insertion_files
    from sonosteer.recording.summary import versions, write_summary

    summary = {
        **result,
        "ended": done.run.ended,
        "held_because": dict(done.held_because),
        "counts": done.run.ledger.counts(),
        "timing": _latency(done),
        "recorder": {"failed": log.failed, "pictures_dropped": dict(log.dropped)},
        "configuration": typed,
        "versions": versions(),
    }
    title = f"{typed['policy']}, {typed['mode']}, seed {typed['seed']}: {done.outcome.reason}"
    try:
        write_summary(out / "summary.json", summary)
        write_insertion_files(out, done, title=title, summary=summary, recording=out / parsing.RECORDING)
    except (SonosteerError, OSError) as e:
        raise log.error or e from None


def _latency(done: EpisodeResult) -> dict[str, dict[str, float]]:
    from sonosteer.metrics.latency import percentiles_ms

    return {stage: percentiles_ms(times) for stage, times in done.run.ledger.times_ms.items() if times}


def _tell(done: EpisodeResult, result: Mapping[str, Any], episode: Episode) -> None:
    config = episode.config
    word = "reached" if result["success"] else "missed"
    who = f"{config.policy}{' (simulated operator)' if config.policy == 'operator' else ''}"
    error = "" if result["final_error_mm"] is None else f", tip {result['final_error_mm']:.2f} mm from it"
    asked = f"{who}, {config.mode}, seed {config.seed}"
    print(f"target {word}: {result['reason']}{error}, {result['time_s']:.1f} s ({asked})")
    print(f"tracking {result['tracking_hz']:.1f} a second, actions {result['action_hz']:.1f} a second")
    for stage, t in _latency(done).items():
        numbers = f"p50 {t['median_ms']:.1f}, p95 {t['p95_ms']:.1f}, p99 {t['p99_ms']:.1f} ms"
        print(f"capture to {stage:9} {numbers}")
    counts = done.run.ledger.counts()
    print("frames: " + ", ".join(f"{counts[k]} {k}" for k in ("captured", "used", "late", "dropped", "refused")))
    for rule, count in result["refused"].items():
        print(f"refused by the gate: {count} x {rule}")
