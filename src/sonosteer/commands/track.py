"""`sonosteer track`: the needle's tip in every frame of a clip, or in each of several stills."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.console_page import ConsoleWords, NoBrowser, Port
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Executor, Frames, KeepIdentity, PosesText, Seed, SpacingText
from sonosteer.core.errors import InputError, InterruptedRunError

if TYPE_CHECKING:
    from sonosteer.episodes.clip_request import ClipRequest

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Video, picture, folder of PNG/JPEG, .mha/.nrrd sequence, DICOM cine, or sim:SETUP. "
        "Live: igtl://HOST:PORT[/DEVICE], igtl://:PORT to wait for a sender, video:/dev/video0, video:udp://HOST:PORT. "
        "Several, or a quoted pattern as 'clips/*.mp4': one folder each. "
        "With --stills: folders of pictures and picture files.",
    ),
]
AngleText = Annotated[
    str | None,
    typer.Option(
        "--angle-deg",
        metavar="LO:HI",
        help="Expected direction from entry to tip, 0 to 180 from image +x downwards: "
        "30:40 from the left, 140:150 from the right.",
    ),
]
VelocityText = Annotated[
    str | None,
    typer.Option(
        "--velocity-mm-s",
        metavar="V|CSV",
        help="Measured insertion speed in mm/s, or a CSV file time_s,velocity_mm_s (for kfv, kfv+f, pfv, pfv+f).",
    ),
]
ReadingsFile = Annotated[
    Path | None,
    typer.Option(
        "--readings",
        metavar="CSV",
        help="What a robot's encoders said: time_s,depth_mm,angle_deg and, where it moved, probe_x_mm,probe_y_mm,"
        "probe_z_mm (for auto and vla).",
    ),
]
CropText = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        help="Tracks in this part of each picture only, in pixels: left, top, width, height. "
        "Results are in pixels of the whole picture.",
    ),
]
EachAlone = Annotated[
    bool,
    typer.Option(
        "--stills",
        help="Tracks each picture on its own. Sizes may differ. A picture file alone is always a still.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", help="How long to track a live source. Without it until Ctrl-C."),
]
Orientation = Annotated[
    str | None,
    typer.Option(
        "--orientation",
        metavar="MF|UF|...",
        help="Where x and y of pictures over igtl:// point: M marked or U unmarked side of the probe, F far from it or "
        "N near. Needed where the sender does not say it.",
    ),
]
Publish = Annotated[
    str | None,
    typer.Option(
        "--publish",
        metavar="igtl://:PORT",
        help="Publishes tip, shaft, state and picture over OpenIGTLink, e.g. for 3D Slicer. "
        "igtl://HOST:PORT connects to a server instead.",
    ),
]
TargetPx = Annotated[
    str | None,
    typer.Option("--target", metavar="X,Y", help="A place in the picture in pixels, to publish beside the tip."),
]
OutFolder = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Folder for tips.csv, overlay, report.html, summary.json."),
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        help="Tracking method: {methods}.",
        autocompletion=complete("methods"),
    ),
]
Enters = Annotated[
    str | None,
    typer.Option("--enters", metavar="left|right|top", help="Side of the image the needle comes from."),
]
StartText = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="X,Y[,W,H]",
        help="Tip in the first frame, in pixels (a click), which csrt, kcf, mil and lk need. "
        "W,H: the box that they follow.",
    ),
]
TruthFile = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        metavar="CSV",
        help="truth.csv or your own marks to compare with (sim: brings its own). "
        "Of several clips: a folder with NAME.csv.",
    ),
]
AlsoParquet = Annotated[bool, typer.Option("--parquet", help="Writes tips.parquet beside tips.csv.")]
AlsoMarkups = Annotated[bool, typer.Option("--markups", help="Writes the tip's way for 3D Slicer, too: tips.mrk.json.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="TOML", help="File with settings of the method, named as in --set."),
]
TrackerSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Sets one setting of the tracking method. Can be repeated."),
]
Shows = Annotated[
    bool,
    typer.Option("--show", help="Shows it in a page of your browser while it is tracked. Needs the extra console."),
]
JobCount = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Of several clips, how many at once. Default: one a core.",
    ),
]
CalibrationToml = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="TOML",
        help="calibration.toml of calibrate image, for a sequence with poses of its probe: gives the scale, and "
        "the place of each picture in the world.",
    ),
]
ProbeName = Annotated[
    str | None,
    typer.Option("--probe", metavar="NAME", help="With --calibration: the transform to use, such as ProbeToTracker."),
]


@app.command(cls=PageCommand, epilog="Example: sonosteer track clip.mp4 --out results")
def track_command(
    context: typer.Context,
    source: Sources,
    out: OutFolder,
    method: Method = "auto",
    spacing_mm: SpacingText = None,
    angle_deg: AngleText = None,
    enters: Enters = None,
    start: StartText = None,
    velocity_mm_s: VelocityText = None,
    readings: ReadingsFile = None,
    frames: Frames = None,
    crop: CropText = None,
    stills: EachAlone = False,
    seconds: Seconds = None,
    orientation: Orientation = None,
    publish: Publish = None,
    target: TargetPx = None,
    truth: TruthFile = None,
    calibration: CalibrationToml = None,
    probe: ProbeName = None,
    poses: PosesText = None,
    parquet: AlsoParquet = False,
    markups: AlsoMarkups = False,
    keep_identity: KeepIdentity = False,
    seed: Seed = 0,
    config: ConfigFile = None,
    settings: TrackerSettings = None,
    show: Shows = False,
    port: Port = None,
    no_browser: NoBrowser = False,
    jobs: JobCount = None,
    executor: Executor = "process",
    as_json: AsJson = False,
) -> None:
    """Track the needle's tip through a clip, through many, or through a live stream.

    Writes tips.csv (a row for every frame), overlay.mp4, report.html and summary.json. Without mm per pixel positions
    are in pixels. A picture that cannot be read is lost and said on stderr, and the rest goes on.

    With --stills, as in sonosteer track pictures --stills --out results, each picture is tracked on its own. tips.csv
    then has a last column with its name, and the overlay is a folder of pictures.

    Several sources, as in sonosteer track 'clips/*.mp4' --out results, get a folder each, and summary.csv and
    index.html are beside them. One that fails does not stop the rest. The same command goes on where it was stopped.

    A live source, as in sonosteer track igtl://scanner:18944 --orientation UF --out results, is tracked until Ctrl-C,
    --seconds or --frames end it. The newest picture is tracked, and summary.json accounts for all others.

    --show opens a page of the console that shows picture and tip while it is tracked. The page moves nothing.
    """
    from sonosteer.core.config import load_toml
    from sonosteer.episodes.clip_lists import is_pattern, named_sources, with_stills_together
    from sonosteer.episodes.clip_request import ClipRequest, check_none_live, make_checked

    page = ConsoleWords(show, port, no_browser).checked("--show")
    first, stop = parsing.parse_frames(frames)
    sources = named_sources(source)
    request = ClipRequest(
        sources=tuple(sources),
        out=out,
        method=method,
        settings=parsing.nested(parsing.parse_settings(settings), load_toml(config) if config else {}),
        hint=parsing.parse_hint(angle_deg, enters, start),
        spacing=parsing.parse_spacing(spacing_mm),
        velocity=parsing.parse_velocity(velocity_mm_s),
        readings=readings,
        start=first,
        stop=stop,
        crop=parsing.parse_crop(crop),
        stills=stills,
        truth=truth,
        poses=poses,
        calibration=calibration,
        probe=probe,
        parquet=parquet,
        markups=markups,
        keep_identity=keep_identity,
        seed=seed,
        seconds=seconds,
        orientation=orientation,
        publish=publish,
        target=parsing.parse_place(target, "--target"),
        options={**parsing.as_typed(context, "jobs", "executor"), "source": source[0] if len(source) == 1 else source},
    )
    make_checked(request)  # a hint that is not enough is refused before anything is written
    groups: list[tuple[str, ...]] = with_stills_together(sources) if stills else [(each,) for each in sources]
    if len(groups) > 1 or any(map(is_pattern, source)):
        if show:
            raise InputError("--show takes one source, and several were given")
        check_none_live(sources, publish)
        if readings is not None:
            raise InputError("`readings` belongs to one clip, and several were given")
        _track_many(request, groups, executor, jobs, as_json=as_json)
    else:
        _track_one(request, page, as_json=as_json)


def _track_one(request: ClipRequest, page: ConsoleWords, *, as_json: bool) -> None:
    from sonosteer.commands.console_track import shown_tracking
    from sonosteer.episodes.clip_request import job_of
    from sonosteer.episodes.clip_tracking import track_into_folder
    from sonosteer.recording.output_folder import claimed_folder

    job = job_of(request)
    try:
        terminal.tell_notes(job.source.info)
        with (
            claimed_folder(job.out),
            shown_tracking(page, job, as_json=as_json) as shown,
            terminal.shown_progress("tracking", quiet=as_json) as progress,
        ):
            summary = track_into_folder(shown, progress)
    finally:
        job.close()
    terminal.tell_bad(summary)
    terminal.tell_tracked(job.out, summary, as_json=as_json, stills=job.stills)
    if summary["counts"]["interrupted"]:
        raise InterruptedRunError(f"interrupted; the {summary['counts']['frames']} frames tracked are in {job.out}")


def _track_many(
    request: ClipRequest, groups: list[tuple[str, ...]], executor: str, jobs: int | None, *, as_json: bool
) -> None:
    """Track clips into a folder each. A clip that fails is one line and one row, and the rest goes on."""
    from sonosteer.episodes.many_clips import exit_code_of, requests_of, track_many
    from sonosteer.recording.output_folder import claimed_folder

    asked = requests_of(request, groups, terminal.tell_line)
    kept = f"the clips done so far are in {request.out}: run it again to go on"
    with (
        terminal.interruptible(kept),
        claimed_folder(request.out),
        terminal.shown_progress("tracking", quiet=as_json) as progress,
    ):
        rows = track_many(asked, request.out, executor=executor, jobs=jobs, progress=progress, failed=_tell_failed)
    if as_json:
        terminal.print_json({"clips": rows})
    else:
        terminal.tell_many(request.out, rows)
    if exit_code_of(rows):
        raise typer.Exit(exit_code_of(rows))


def _tell_failed(row: Mapping[str, Any]) -> None:
    terminal.tell_line(f"{row['why']}; the rest goes on")
