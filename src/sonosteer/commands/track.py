"""`sonosteer track`: the needle's tip in every frame of a clip, or in each of several stills."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Frames, Seed, SpacingText
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonosteer.core.protocols import Source, Tracker
    from sonosteer.core.types import Truth

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Video, picture, folder of PNG/JPEG, .mha/.nrrd sequence, DICOM cine, or sim:SETUP. "
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


@app.command(cls=PageCommand, epilog="Example: sonosteer track clip.mp4 --out results")
def track_command(
    context: typer.Context,
    source: Sources,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder for tips.csv, overlay, report.html, summary.json."),
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="Tracking method: {methods}.",
            autocompletion=complete("methods"),
        ),
    ] = "auto",
    spacing_mm: SpacingText = None,
    angle_deg: AngleText = None,
    enters: Annotated[
        str | None,
        typer.Option("--enters", metavar="left|right|top", help="Side of the image the needle comes from."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="X,Y", help="Tip in the first frame, in pixels (a click).")
    ] = None,
    velocity_mm_s: VelocityText = None,
    frames: Frames = None,
    crop: CropText = None,
    stills: Stills = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="CSV", help="truth.csv or your own marks to compare with (sim: brings its own)."
        ),
    ] = None,
    poses: Annotated[
        str | None,
        typer.Option(
            "--poses",
            metavar="CHAIN",
            help="Transforms from the picture to the world, of a tracked sequence: "
            "ImageToProbe=calibration.txt,ProbeToTracker. tips.csv then has the tip in world mm, too.",
        ),
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Writes tips.parquet beside tips.csv.")] = False,
    markups: Annotated[
        bool, typer.Option("--markups", help="Writes the tip's way for 3D Slicer, too: tips.mrk.json.")
    ] = False,
    keep_identity: Annotated[
        bool,
        typer.Option(
            "--keep-identity",
            help="Leaves a patient's name in the results where DICOM says it is: burned into pictures, in paths.",
        ),
    ] = False,
    seed: Seed = 0,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="TOML", help="File with settings of the method, named as in --set."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Sets one setting of the tracking method. Can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Track the needle's tip through a clip.

    Writes tips.csv (a row for every frame), overlay.mp4, report.html and summary.json. Without mm per pixel positions
    are in pixels. A picture that cannot be read is lost and said on stderr, and the rest goes on.

    With --stills, as in sonosteer track pictures --stills --out results, each picture is tracked on its own. tips.csv
    then has a last column with its name, and the overlay is a folder of pictures.
    """
    from sonosteer.episodes.clip_tracking import (
        ClipJob,
        are_stills,
        check_clip,
        check_exports,
        check_method,
        track_into_folder,
    )
    from sonosteer.episodes.cropping import in_crop
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.sources.identity import identity_words
    from sonosteer.sources.opening import open_source, open_stills
    from sonosteer.sources.velocity import WithVelocity

    velocity = parsing.parse_velocity(velocity_mm_s)
    spacing = parsing.parse_spacing(spacing_mm)
    first, stop = parsing.parse_frames(frames)
    hint = parsing.parse_hint(angle_deg, enters, start)
    part = parsing.parse_crop(crop)
    if len(source) > 1 and not stills:
        raise InputError(f"{len(source)} sources: give one clip, or --stills to track each picture on its own")
    tracker = _tracker(method, settings, config)
    in_crop(tracker, part).start(hint)  # a hint that is not enough is refused before anything is written
    if stills:
        clip = open_stills(source, spacing=spacing)
    else:
        clip = open_source(source[0], spacing=spacing, seed=seed, poses=poses, keep_identity=keep_identity)
    terminal.tell_notes(clip.info)
    stills = are_stills(clip.info, stills)
    check_clip(clip.info, first, crop=part, stills=stills)
    check_method(clip.info, tracker, method)
    check_exports(clip.info, parquet=parquet, markups=markups)
    job = ClipJob(
        source=clip,
        feed=clip if velocity is None else WithVelocity(clip, velocity),
        tracker=tracker,
        hint=hint,
        out=out,
        truth_of=_truth_of(clip, truth),
        name=Path(source[0]).name if len(source) == 1 else clip.info.name,
        method=method,
        seed=seed,
        options={**parsing.as_typed(context), "source": source[0] if len(source) == 1 else source},
        start=first,
        stop=stop,
        crop=part,
        stills=stills,
        parquet=parquet,
        markups=markups,
        identity=() if keep_identity else identity_words(clip),
    )
    with claimed_folder(out), terminal.shown_progress("tracking", quiet=as_json) as progress:
        summary = track_into_folder(job, progress)
    terminal.tell_bad(summary)
    terminal.tell_tracked(out, summary, as_json=as_json, stills=stills)


def _tracker(method: str, settings: list[str] | None, config: Path | None) -> Tracker[Any]:
    """The method with its settings: defaults, then --config, then --set."""
    from sonosteer.core.config import load_toml
    from sonosteer.trackers.table import make_tracker

    return make_tracker(method, **parsing.nested(parsing.parse_settings(settings), load_toml(config) if config else {}))


def _truth_of(clip: Source, truth: Path | None) -> Callable[[int], Truth | None]:
    """The truth of a frame: of the simulation, or of the table that was named."""
    from sonosteer.recording.truths import read_truth
    from sonosteer.sources.poses import place_in

    known = {t.frame_index: t for t in read_truth(truth, place=place_in(clip))} if truth else {}
    if clip.info.kind == "simulated":
        from sonosteer.sources.simulated import SimulatedSource  # brings the simulator, which other clips do without

        if isinstance(clip, SimulatedSource):
            return clip.truth
    return known.get
