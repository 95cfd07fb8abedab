"""`sonosteer track`: the needle's tip in every frame of a clip, or in each of several stills."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Frames, Seed, SpacingText
from sonosteer.core.errors import InputError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sonosteer.core.geometry import Point
    from sonosteer.core.protocols import Source, Tracker
    from sonosteer.core.types import Truth
    from sonosteer.igtlink.publisher import Publisher

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Video, picture, folder of PNG/JPEG, .mha/.nrrd sequence, DICOM cine, or sim:SETUP. "
        "Live: igtl://HOST:PORT[/DEVICE], igtl://:PORT to wait for a sender, video:/dev/video0, video:udp://HOST:PORT. "
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
CropText = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        help="Tracks in this part of each picture only, in pixels: left, top, width, height. "
        "Results are in pixels of the whole picture.",
    ),
]
Stills = Annotated[
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
    str | None, typer.Option("--start", metavar="X,Y", help="Tip in the first frame, in pixels (a click).")
]
TruthTable = Annotated[
    Path | None,
    typer.Option("--truth", metavar="CSV", help="truth.csv or your own marks to compare with (sim: brings its own)."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="TOML", help="File with settings of the method, named as in --set."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Sets one setting of the tracking method. Can be repeated."),
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
    frames: Frames = None,
    crop: CropText = None,
    stills: Stills = False,
    seconds: Seconds = None,
    orientation: Orientation = None,
    publish: Publish = None,
    target: TargetPx = None,
    truth: TruthTable = None,
    seed: Seed = 0,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Track the needle's tip through a clip or a live stream.

    Writes tips.csv (a row for every frame), overlay.mp4, report.html and summary.json. Without mm per pixel positions
    are in pixels. A picture that cannot be read is lost and said on stderr, and the rest goes on.

    With --stills, as in sonosteer track pictures --stills --out results, each picture is tracked on its own. tips.csv
    then has a last column with its name, and the overlay is a folder of pictures.

    A live source, as in sonosteer track igtl://scanner:18944 --orientation UF --out results, is tracked until Ctrl-C,
    --seconds or --frames end it. The newest picture is tracked, and summary.json accounts for all others.
    """
    from sonosteer.episodes.clip_tracking import ClipJob, are_stills, check_clip, check_method, track_into_folder
    from sonosteer.episodes.cropping import in_crop
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.sources.opening import is_live_address, open_source, open_stills
    from sonosteer.sources.velocity import WithVelocity

    velocity = parsing.parse_velocity(velocity_mm_s)
    spacing = parsing.parse_spacing(spacing_mm)
    first, stop = parsing.parse_frames(frames)
    hint = parsing.parse_hint(angle_deg, enters, start)
    part = parsing.parse_crop(crop)
    if len(source) > 1 and not stills:
        raise InputError(f"{len(source)} sources: give one clip, or --stills to track each picture on its own")
    live = is_live_address(source[0])
    parsing.parse_seconds(seconds)
    place = parsing.parse_place(target, "--target")
    _check_words(live, source[0], stills=stills, seconds=seconds, velocity=velocity, target=place, publish=publish)
    tracker = _tracker(method, settings, config)
    in_crop(tracker, part).start(hint)  # a hint that is not enough is refused before anything is written
    if live:
        tracker.prepare()  # before pictures come
    clip = (
        open_stills(source, spacing=spacing)
        if stills
        else open_source(source[0], spacing=spacing, seed=seed, orientation=orientation)
    )
    try:
        terminal.tell_notes(clip.info)
        stills = are_stills(clip.info, stills)
        check_clip(clip.info, first, crop=part, stills=stills)
        check_method(clip.info, tracker, method)
        with _publishing(publish, clip, place) as publisher:
            job = ClipJob(
                source=clip,
                feed=clip if velocity is None or live else WithVelocity(clip, velocity),
                tracker=tracker,
                hint=hint,
                out=out,
                truth_of=_truth_of(clip, truth),
                name=Path(source[0]).name if len(source) == 1 and not live else clip.info.name,
                method=method,
                seed=seed,
                options={**parsing.as_typed(context), "source": source[0] if len(source) == 1 else source},
                start=first,
                stop=stop,
                crop=part,
                stills=stills,
                seconds=seconds,
                velocity_mm_s=velocity if isinstance(velocity, float) and live else None,
                publisher=publisher,
            )
            with claimed_folder(out), terminal.shown_progress("tracking", quiet=as_json) as progress:
                summary = track_into_folder(job, progress)
    finally:
        clip.close()
    terminal.tell_bad(summary)
    terminal.tell_tracked(out, summary, as_json=as_json, stills=stills)
    if summary["counts"]["interrupted"]:
        raise InterruptedRunError(f"interrupted; the {summary['counts']['frames']} frames tracked are in {out}")


def _check_words(
    live: bool,
    source: str,
    *,
    stills: bool,
    seconds: float | None,
    velocity: float | Path | None,
    target: Point | None,
    publish: str | None,
) -> None:
    """Raise InputError for words that belong to live sources only, or to recorded ones only."""
    if live and stills:
        raise InputError(f"{source}: --stills is for pictures, not for a live source")
    if live and isinstance(velocity, Path):
        raise InputError("--velocity-mm-s: a live source takes one speed in mm/s, tables are for recorded clips")
    if seconds is not None and not live:
        raise InputError("--seconds is for live sources; --frames A:B takes a part of a clip")
    if target is not None and publish is None:
        raise InputError("--target is published: give --publish igtl://:PORT, too")


@contextmanager
def _publishing(address: str | None, clip: Source, target: Point | None) -> Iterator[Publisher | None]:
    """What publishes the frames of a clip or a stream, None if nobody asked for it."""
    if address is None:
        yield None
        return
    from sonosteer.core.clock import RealClock
    from sonosteer.igtlink.address import parse_address
    from sonosteer.igtlink.publisher import Publisher, check_publishable

    where = parse_address(address)
    check_publishable(where)
    clock = getattr(clip, "clock", None) or RealClock()
    publisher = Publisher(where, clock, to_wall_s=getattr(clip, "to_wall_s", None), target=target)
    try:
        yield publisher
    finally:
        publisher.close()


def _tracker(method: str, settings: list[str] | None, config: Path | None) -> Tracker[Any]:
    """The method with its settings: defaults, then --config, then --set."""
    from sonosteer.core.config import load_toml
    from sonosteer.trackers.table import make_tracker

    return make_tracker(method, **parsing.nested(parsing.parse_settings(settings), load_toml(config) if config else {}))


def _truth_of(clip: Source, truth: Path | None) -> Callable[[int], Truth | None]:
    """The truth of a frame: of the simulation, or of the table that was named."""
    from sonosteer.recording.truths import read_truth

    known = {t.frame_index: t for t in read_truth(truth)} if truth else {}
    if clip.info.kind == "simulated":
        from sonosteer.sources.simulated import SimulatedSource  # brings the simulator, which other clips do without

        if isinstance(clip, SimulatedSource):
            return clip.truth
    return known.get
