"""The live half of `sonosteer insert`: a source that sends pictures, and a robot that a rig file describes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing
from sonosteer.commands.console_page import ConsoleWords
from sonosteer.commands.console_run import shown_insertion, wait_for_start
from sonosteer.commands.insertion_ending import Insertion, carried_out, configuration_of
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.commands.insertion_ending import DoneRun
    from sonosteer.console.live_feed import LiveFeed
    from sonosteer.core.geometry import Point
    from sonosteer.core.types import Vector
    from sonosteer.episodes.live_insertion import LiveEpisode, LiveInsertionConfig

LiveSourceText = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]",
        help="A live source, with --live: igtl://HOST:PORT[/DEVICE] or video:DEVICE. Without one all is simulated.",
    ),
]
RigFileName = Annotated[
    Path | None, typer.Option("--rig", metavar="TOML", help="Rig file of the robot. With a live SOURCE.")
]
DryRunning = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Sends nothing to the robot, and records what would have been ordered. With a live SOURCE.",
    ),
]
TargetMm = Annotated[
    str | None,
    typer.Option(
        "--target-mm", metavar="X,Y", help="Target in the first picture, mm from its upper left corner. With SOURCE."
    ),
]
TargetWorldMm = Annotated[
    str | None,
    typer.Option(
        "--target-world-mm",
        metavar="X,Y,Z",
        help="Target in the world, mm, where the pictures have a place in it, or with --calibration and --probe.",
    ),
]
ImageCalibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="TOML",
        help="calibration.toml of calibrate image: gives the scale, and adds its error to the gate's. With SOURCE.",
    ),
]
ProbeTransform = Annotated[
    str | None,
    typer.Option("--probe", metavar="NAME", help="Transform of the probe that the sender gives: ProbeToTracker."),
]
EntersText = Annotated[
    str | None,
    typer.Option("--enters", metavar="left|right", help="Side of the picture the needle comes from. With SOURCE."),
]
PlannedAngle = Annotated[
    float | None,
    typer.Option(
        "--angle-deg", metavar="A", help="Planned angle below the horizontal. Default: the robot's. With SOURCE."
    ),
]
TipStart = Annotated[
    str | None, typer.Option("--start", metavar="X,Y", help="Tip in the first picture, pixels (a click). With SOURCE.")
]
LiveOrientation = Annotated[
    str | None,
    typer.Option(
        "--orientation", metavar="MF|UF|...", help="Where x and y of pictures over igtl:// point. As for track."
    ),
]
RunSeconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", help="Longest duration of the run. Default: 90. With SOURCE."),
]
PublishAddress = Annotated[
    str | None,
    typer.Option(
        "--publish",
        metavar="igtl://:PORT",
        help="Publishes tip, shaft, target, state and picture over OpenIGTLink, e.g. for 3D Slicer. With SOURCE.",
    ),
]
#: words that only a live source takes, by the name of their parameter
LIVE_ONLY = (
    *("rig", "dry_run", "target_mm", "target_world_mm", "calibration_file", "probe", "enters", "angle_deg", "start"),
    *("spacing_mm", "orientation", "seconds", "publish"),
)
OPTION_OF = {"calibration_file": "--calibration"}


def check_no_live_words(typed: Mapping[str, Any]) -> None:
    """Raise InputError for a word of a live source where all is simulated."""
    for name in LIVE_ONLY:
        if typed[name] not in (None, False):
            option = OPTION_OF.get(name, "--" + name.replace("_", "-"))
            raise InputError(f"{option} is for a live source: give one, such as igtl://HOST:PORT, with --live")


def insert_on_source(
    typed: Mapping[str, Any], out: Path | None, page: ConsoleWords, *, paused: bool, as_json: bool
) -> None:
    """Do a live insertion. typed: words of the command by the names of its parameters. page: of a console."""
    from sonosteer.episodes.live_insertion import build_live_episode

    config = _config(typed, paused=paused and not page.shown)  # a page waits for its start before the run
    episode = build_live_episode(config)
    try:
        _say_begin(episode, as_json=as_json)
        with shown_insertion(
            page,
            episode,
            name=f"{episode.source.info.name} · {config.mode} · {config.policy} policy · {config.tracker} tracker",
            size_px=episode.source.info.size_px,
            longest_s=config.pace.longest_s,
            out=out,
            paused=paused,
            dry_run=config.dry_run,
            as_json=as_json,
        ) as feed:
            if feed is not None and paused:
                aim = wait_for_start(feed, episode.source.next_frame, episode.source.clock)
                episode.aim(aim.target_px or episode.task.target_px, aim.regions)
            carried_out(_insertion(episode, typed, feed), out, as_json=as_json, tell=_tell)
    finally:
        episode.close()


def _insertion(episode: LiveEpisode, typed: Mapping[str, Any], feed: LiveFeed | None) -> Insertion:
    from sonosteer.episodes.live_insertion import run_live_episode

    return Insertion(
        insert=lambda log, watch, button, viewer: run_live_episode(
            episode, recorder=log, watch=watch, button=button, viewer=viewer
        ),
        title=lambda done: f"{episode.config.policy} on {episode.source.info.name}: {done.run.ended}",
        configuration=configuration_of(
            typed, episode.gate, episode.task, episode.hint, live=_live_configuration(episode)
        ),
        typed=typed,
        live=True,
        feed=feed,
    )


def _config(typed: Mapping[str, Any], *, paused: bool) -> LiveInsertionConfig:
    from sonosteer.calibration.record import read_calibration
    from sonosteer.episodes.live_insertion import LiveInsertionConfig
    from sonosteer.runtime.insertion import Pace
    from sonosteer.sources.opening import is_live_address

    source = typed["source"]
    if not typed["live"]:
        raise InputError(f"{source}: an insertion on it moves a real robot in real time: give --live, too")
    if not is_live_address(source) and ":" not in source:
        raise InputError(f"{source} is no live source: give igtl://HOST:PORT[/DEVICE] or video:DEVICE")
    if typed["enters"] not in ("left", "right"):
        raise InputError("a live insertion needs --enters left or --enters right: the side the needle comes from")
    seconds = parsing.parse_seconds(typed["seconds"])
    pace = Pace(asynchronous=not typed["synchronous"])
    calibration = typed["calibration_file"]
    return LiveInsertionConfig(
        source=source,
        enters=typed["enters"],
        target_mm=_parse_mm(typed["target_mm"], "--target-mm", 2),  # type: ignore[arg-type]
        target_world_mm=_parse_mm(typed["target_world_mm"], "--target-world-mm", 3),  # type: ignore[arg-type]
        rig=None if typed["rig"] is None else Path(typed["rig"]),
        dry_run=typed["dry_run"],
        angle_rad=_parse_angle(typed["angle_deg"]),
        policy=typed["policy"],
        mode=parsing.parse_mode(typed["mode"]),
        tracker=typed["method"],
        policy_settings=parsing.parse_settings(typed["settings"]),
        tracker_settings=parsing.parse_settings(typed["tracker_settings"], option="--set-tracker"),
        start_px=parsing.parse_place(typed["start"], "--start"),
        spacing=parsing.parse_spacing(typed["spacing_mm"]),
        orientation=typed["orientation"],
        calibration=None if calibration is None else read_calibration(Path(calibration)),
        probe=typed["probe"],
        pace=pace if seconds is None else Pace(asynchronous=pace.asynchronous, longest_s=seconds),
        regions=parsing.parse_forbidden(typed["forbid"]),
        calibration_mm2=parsing.parse_calibration(typed["calibration"]),
        paused=paused,
        publish=typed["publish"],
    )


def _parse_mm(text: str | None, option: str, count: int) -> Point | Vector | None:
    """Read a place in mm: 2 numbers in the picture, 3 in the world."""
    if text is None:
        return None
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        form = "X,Y in mm of the first picture" if count == 2 else "X,Y,Z in mm of the world"
        raise InputError(f"{option} {text}: give {form}, e.g. {'20,35' if count == 2 else '20,35,110'}")
    return tuple(values)  # type: ignore[return-value]


def _parse_angle(text: float | None) -> float | None:
    if text is None:
        return None
    if not 0.0 < text < 90.0:
        raise InputError(f"--angle-deg {text:g}: give degrees below the horizontal, between 0 and 90")
    return math.radians(text)


def _live_configuration(episode: LiveEpisode) -> dict[str, Any]:
    """What the recording says of source, clocks and robot when the run begins."""
    from sonosteer.runtime.live_camera import stream_account

    config = episode.config
    return {
        "source": episode.source.info,
        "stream": stream_account(episode.source),
        "rig": None if config.rig is None else str(config.rig),
        "rig_toml": None if config.rig is None else config.rig.read_text(encoding="utf-8"),
        "dry_run": config.dry_run,
    }


def _say_begin(episode: LiveEpisode, *, as_json: bool) -> None:
    from sonosteer.commands import terminal

    terminal.tell_notes(episode.source.info)
    if episode.config.dry_run and not as_json:
        print("dry run: nothing is sent to the robot")


def _tell(done: DoneRun, result: Mapping[str, Any]) -> None:
    far = result["seen_from_target_mm"]
    seen = "" if far is None else f", the tracker saw the tip {far:.2f} mm from the target"
    print(f"{result['reason']} after {result['time_s']:.1f} s{seen}")
    if result["dry_run"]:
        print("this was a dry run: nothing was sent to the robot")
    counts = result["source"]["counts"]
    bad = sum(counts["bad"].values())
    print(
        f"pictures: {counts['received']} received = {counts['seen']} seen + {counts['overwritten']} overwritten "
        f"+ {bad} bad; {counts['lost_before']} lost before they came"
    )
    for fault, count in counts["faults"].items():
        print(f"fault of the source: {count} x {fault}")
