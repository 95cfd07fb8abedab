"""`sonosteer insert`: one closed-loop robotic insertion on the simulated rig, recorded."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import insert_live, parsing
from sonosteer.commands.console_page import ConsoleWords, NoBrowser, Port
from sonosteer.commands.console_run import shown_insertion, wait_for_start
from sonosteer.commands.insert_live import (
    DryRunning,
    EntersText,
    ImageCalibration,
    LiveOrientation,
    LiveSourceText,
    PlannedAngle,
    ProbeTransform,
    PublishAddress,
    RigFileName,
    RunSeconds,
    TargetMm,
    TargetWorldMm,
    TipStart,
)
from sonosteer.commands.insertion_ending import Insertion, carried_out, configuration_of
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Seed, SpacingText
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.console.live_feed import LiveFeed
    from sonosteer.core.types import Frame
    from sonosteer.episodes.insertion import Episode, InsertionConfig

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
Paused = Annotated[
    bool,
    typer.Option(
        "--paused",
        help="Begins paused: nothing moves until c and Enter, or, with --console, until Start is held there. With "
        "--live.",
    ),
]
ShowsConsole = Annotated[
    bool,
    typer.Option(
        "--console", help="Shows the run in a page of your browser, with STOP. With --live. Needs the extra console."
    ),
]
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
    source: LiveSourceText = None,
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
    console: ShowsConsole = False,
    port: Port = None,
    no_browser: NoBrowser = False,
    calibration: CalibrationSd = None,
    rig: RigFileName = None,
    dry_run: DryRunning = False,
    target_mm: TargetMm = None,
    target_world_mm: TargetWorldMm = None,
    enters: EntersText = None,
    angle_deg: PlannedAngle = None,
    start: TipStart = None,
    spacing_mm: SpacingText = None,
    orientation: LiveOrientation = None,
    calibration_file: ImageCalibration = None,
    probe: ProbeTransform = None,
    seconds: RunSeconds = None,
    publish: PublishAddress = None,
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
    """Insert a needle by robot: tracker, policy, safety gate, recording. Simulated, or on a live source.

    Everything that is ordered passes the gate (SAFETY.md). By default time is simulated, so that a seed gives the same
    run on every machine, with the branches as fast as on the machine of Zhang et al. 2026. With --live it takes the
    time it takes, and the operator has keys of the terminal, each with Enter. s stops and r releases, p pauses and c
    continues. While the tip is lost, b draws the needle back and f pushes it on the way that it has gone, 1 mm a press
    and 3 mm in all.

    --policy window chooses the probe's place before it lets another policy push, and --policy wiggle finds a faint tip
    by moving the held needle to and fro. Both wrap visibility, or another one by --set policy=vla.

    --live --console opens a page of the console beside it: the newest picture, what the gate says, STOP. The first line
    that is printed is its address. With --paused you draw target and forbidden regions there, and hold Start.

    On a live source, as in sonosteer insert --live igtl://scanner:18944 --rig rig.toml --enters left --target-mm 20,35,
    the robot of the rig file moves. --dry-run sends it nothing. Research software, not a medical device.
    """
    from sonosteer.episodes.insertion import InsertionConfig
    from sonosteer.runtime.insertion import Pace

    typed = {k: str(v) if isinstance(v, Path) else v for k, v in parsing.as_typed(context, "out").items()}
    if console and not live:
        raise InputError("--console needs --live: a run on the simulated clock is over before a person has seen it")
    page = ConsoleWords(console, port, no_browser).checked("--console")
    if source is not None:
        insert_live.insert_on_source(typed, out, page, paused=_paused(paused, live, page), as_json=as_json)
        return
    insert_live.check_no_live_words(typed)
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
        paused=_paused(paused, live, page) and not console,  # a page waits for its start before the run
    )
    _insert_simulated(config, typed, out, page, paused=paused, as_json=as_json)


def _insert_simulated(
    config: InsertionConfig,
    typed: Mapping[str, Any],
    out: Path | None,
    page: ConsoleWords,
    *,
    paused: bool,
    as_json: bool,
) -> None:
    from sonosteer.core.clock import RealClock
    from sonosteer.episodes.insertion import build_episode

    episode = build_episode(config)
    episode.tracker.prepare()  # before anything is written
    episode.policy.prepare()
    with shown_insertion(
        page,
        episode,
        name=f"{config.scene}#{config.seed} · {config.mode} · {config.policy} policy · {config.tracker} tracker",
        size_px=episode.first_picture().size_px,
        longest_s=config.pace.longest_s,
        out=out,
        paused=paused,
        as_json=as_json,
    ) as feed:
        if feed is not None and paused:
            aim = wait_for_start(feed, _still(episode), RealClock())
            episode.aim(aim.target_px or episode.task.target_px, aim.regions)
        insertion = _insertion(episode, typed, feed)
        carried_out(insertion, out, as_json=as_json, tell=lambda done, result: _tell(config, result))


def _still(episode: Episode) -> Callable[[float], Frame | None]:
    """The first picture of a simulated scene, once: its time has not begun."""
    first = [episode.first_picture()]

    def picture(wait_s: float) -> Frame | None:
        if first:
            return first.pop()
        time.sleep(wait_s)
        return None

    return picture


def _insertion(episode: Episode, typed: Mapping[str, Any], feed: LiveFeed | None) -> Insertion:
    from sonosteer.episodes.insertion import run_episode

    config = episode.config
    return Insertion(
        insert=lambda log, watch, button, viewer: run_episode(
            episode, recorder=log, watch=watch, button=button, viewer=viewer
        ),
        title=lambda done: f"{config.policy}, {config.mode}, seed {config.seed}: {done.summary()['reason']}",
        configuration=configuration_of(typed, episode.gate, episode.task, episode.hint),
        typed=typed,
        live=config.live,
        feed=feed,
    )


def _paused(paused: bool, live: bool, page: ConsoleWords) -> bool:
    """Whether the run begins paused. Raises InputError where nobody could continue it."""
    if paused and not live:
        raise InputError("--paused needs --live: on the simulated clock nobody could continue the run")
    if paused and not page.shown and not sys.stdin.isatty():
        raise InputError("--paused needs a terminal, where c and Enter continue the run, or --console")
    return paused


def _tell(config: InsertionConfig, result: Mapping[str, Any]) -> None:
    word = "reached" if result["success"] else "missed"
    who = f"{config.policy}{' (simulated operator)' if config.policy == 'operator' else ''}"
    error = "" if result["final_error_mm"] is None else f", tip {result['final_error_mm']:.2f} mm from it"
    asked = f"{who}, {config.mode}, seed {config.seed}"
    print(f"target {word}: {result['reason']}{error}, {result['time_s']:.1f} s ({asked})")
