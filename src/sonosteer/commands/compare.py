"""`sonosteer compare`: the same clips by several methods, yours and OpenCV's, scored alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, Executor, Frames, KeepIdentity, PosesText, Seed, SpacingText
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.core.progress import StageProgress
    from sonosteer.episodes.comparing import ComparisonTask
    from sonosteer.episodes.comparison import ClipComparison

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    cls=PageCommand,
    epilog="Example: sonosteer compare 'clips/*.mp4' --methods auto,csrt,mine:Tracker --truth marks --out compared",
)
def compare_command(
    source: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Clips as `track` takes them, or a quoted pattern as 'clips/*.mp4'."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for index.html, compare.json, compare.csv, the tips.")
    ],
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B", help="Methods, separated by commas: {methods}.")
    ] = "auto,csrt",
    truth: Annotated[
        list[Path] | None,
        typer.Option(
            "--truth",
            metavar="MARKS",
            help="Marks with the columns frame,tip_x_px,tip_y_px: a table for each clip, in their order, "
            "or a folder with NAME.csv. Those of other programs too, such as NAME.mrk.json of 3D Slicer. "
            "Without marks there are claims and agreement only. sim: brings its own.",
        ),
    ] = None,
    spacing_mm: SpacingText = None,
    angle_deg: Annotated[
        str | None, typer.Option("--angle-deg", metavar="LO:HI", help="Expected direction, told to all methods.")
    ] = None,
    enters: Annotated[
        str | None, typer.Option("--enters", metavar="left|right|top", help="Side the needle comes from, told to all.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="X,Y[,W,H]",
            help="Tip in the first frame in pixels, told to all. Without it only csrt, kcf, mil and lk get a click: "
            "the first mark.",
        ),
    ] = None,
    velocity_mm_s: Annotated[
        str | None, typer.Option("--velocity-mm-s", metavar="V|CSV", help="Measured insertion speed in mm/s, or a CSV.")
    ] = None,
    frames: Frames = None,
    crop: Annotated[
        str | None, typer.Option("--crop", metavar="X,Y,W,H", help="Tracks in this part of each picture only.")
    ] = None,
    poses: PosesText = None,
    keep_identity: KeepIdentity = False,
    seed: Seed = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, help="How many clips at once. Default: one a core.")
    ] = None,
    executor: Executor = "process",
    as_json: AsJson = False,
) -> None:
    """Compare methods on the same clips: one scorer, one table, plots, and the worst frames of each.

    Can be interrupted. The same command goes on where it stopped. A clip or a method that fails does not stop the rest.
    """
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.trackers.table import make_tracker

    names = [m.strip() for m in methods.split(",") if m.strip()]
    if not names or len(set(names)) != len(names):
        raise InputError(f"--methods {methods!r}: give methods, each once, separated by commas, as auto,csrt")
    for each in names:
        make_tracker(each)  # one that there is not is said before anything is written
    part = parsing.parse_crop(crop)
    options = {
        "hint": parsing.parse_hint(angle_deg, enters, start),
        "spacing_mm": parsing.parse_spacing(spacing_mm),
        "velocity_mm_s": parsing.parse_velocity(velocity_mm_s),
        "frames": parsing.parse_frames(frames),
        "crop": None if part is None else (part.left_px, part.top_px, part.width_px, part.height_px),
        "seed": seed,
        "poses": poses,
        "keep_identity": keep_identity,
    }
    tasks = _tasks(source, names, truth or [], out, options)
    kept = f"what was tracked so far is in {out}: run it again to go on"
    with (
        terminal.interruptible(kept),
        claimed_folder(out),
        terminal.shown_progress("comparing", quiet=as_json) as progress,
    ):
        compared, code = _carry_out(tasks, names, executor, jobs, seed=seed, progress=progress)
        compared.save(out)
    if as_json:
        terminal.print_json(compared.contract())
    else:
        _tell(out, compared.contract()["methods"])
    if code:
        raise typer.Exit(code)


def _tasks(
    source: Sequence[str], names: Sequence[str], truth: Sequence[Path], out: Path, options: Mapping[str, Any]
) -> list[ComparisonTask]:
    from sonosteer.episodes.clip_identity import NOBODY, identities_of, identity_lines
    from sonosteer.episodes.clip_lists import clip_names, marks_of, named_sources
    from sonosteer.episodes.comparing import ComparisonTask
    from sonosteer.recording.truths import read_truth

    sources = named_sources(source)
    identities = identities_of(sources, keep=options["keep_identity"])
    clips = clip_names(sources, identities)
    for line in identity_lines(sources, clips, identities):
        terminal.tell_line(line)
    tables = marks_of(sources, clips, truth)
    for table in tables:
        if table is not None:  # a damaged one is said before anything is tracked
            read_truth(table, place=lambda frame, position_mm, axes: (0.0, 0.0))
    return [
        ComparisonTask(
            name=name,
            source=clip,
            methods=tuple(names),
            marks=marks,
            folder=out / "tips" / name,
            options=options,
            identity=identities.get(clip, NOBODY).words,
        )
        for clip, name, marks in zip(sources, clips, tables, strict=True)
    ]


def _carry_out(
    tasks: Sequence[ComparisonTask],
    names: Sequence[str],
    executor: str,
    jobs: int | None,
    *,
    seed: int,
    progress: StageProgress,
) -> tuple[ClipComparison, int]:
    """Track what is missing. Returns all that is kept, and the exit code. Raises InputError if no clip can be used."""
    from sonosteer.episodes.comparing import kept_clip, killed_task, run_task
    from sonosteer.episodes.comparison import ClipComparison
    from sonosteer.runtime.executor import run_trials

    left_out: dict[str, str] = {}
    broke = False
    progress("clips", 0, len(tasks))
    workers = 1 if len(tasks) == 1 else jobs
    with closing(run_trials(run_task, tasks, executor, workers, died=killed_task)) as results:
        for done, (i, said) in enumerate(results, 1):
            if said["why"]:
                left_out[tasks[i].name] = said["why"]
                broke = broke or said["broke"]
            progress("clips", done, len(tasks))
    if len(left_out) == len(tasks):
        raise InputError(next(iter(left_out.values())))
    for why in left_out.values():
        terminal.tell_line(f"{why}; the rest goes on")
    clips = tuple(kept_clip(t) for t in tasks if t.name not in left_out)
    for clip in clips:
        for method, why in clip.broke.items():
            terminal.tell_line(f"{method} on {clip.name}: {why}; the rest goes on")
    code = 1 if broke else 2 if left_out or any(clip.broke for clip in clips) else 0
    return ClipComparison(clips, tuple(names), left_out, seed), code


def _tell(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    head = ("method", "frames", "claimed", "lost", "median px", "95 % px", "within 15 px", "wrong while tracking")
    keys = ("method", "frames", "claimed", "lost", "median_px", "p95_px")
    lines = [
        (*(_text(row[k]) for k in keys), _text(row["within"]["15"]), _text(row["wrong_while_tracking"])) for row in rows
    ]
    terminal.print_table("methods", head, lines)
    terminal.print_files(out, ("index.html", "compare.csv", "compare.json"))
    terminal.print_notice()


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
