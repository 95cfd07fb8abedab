"""`sonosteer dataset make|info|export|import`: data sets to train on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Executor, Seed, SpacingText
from sonosteer.core.errors import InputError, InterruptedRunError

app = typer.Typer(help="Data sets to train on.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
DataFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")]
DEMONSTRATIONS = "d-insert"
MAX_TOLD = 5  # chosen: more incomplete videos than this are counted, not listed


@app.command("make", cls=PageCommand, epilog="Example: sonosteer dataset make d-track --out data/d-track")
def make_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="d-track (as in Zhang et al. 2026: 239 videos, split 7:1:2), d-encoder (360 videos for the vision "
            "encoder) or d-insert (18 demonstrations of insertions).",
            autocompletion=lambda incomplete: [
                n for n in (*complete("simulated-sets")(incomplete), DEMONSTRATIONS) if n.startswith(incomplete)
            ],
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the data set. About 40 MB a video.")],
    videos: Annotated[int | None, typer.Option("--videos", metavar="N", help="How many, instead of all.")] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            "--operator",
            metavar="NAME",
            help="d-insert: who demonstrates, of {operators}. All in turn if none is named. Can be repeated.",
            autocompletion=complete("operators"),
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", metavar="train|validation", help="d-insert: which scenes and tissues.")
    ] = "train",
    seed: Seed = 0,
    executor: Executor = "process",
    as_json: AsJson = False,
) -> None:
    """Simulate videos of insertions with exact labels, a data card and contact sheets.

    Can be interrupted. The same command goes on where it stopped.
    """
    from sonosteer.recording.output_folder import claimed_folder

    if name == DEMONSTRATIONS:
        from sonosteer.datasets import make_demonstrations as demonstrations
        from sonosteer.policies.expert import OPERATOR_MODELS

        scenes = parsing.parse_demonstrated_split(split)
        kept = f"the same command goes on; what is there is in {out}"
        with (
            terminal.interruptible(kept),
            claimed_folder(out),
            terminal.shown_progress(f"dataset make {name}", quiet=as_json) as progress,
        ):
            made = demonstrations.make_demonstration_set(
                out=out,
                episodes=demonstrations.PAPER_EPISODES if videos is None else videos,
                seed=seed,
                split=scenes,
                operators=list(operator or OPERATOR_MODELS),
                executor=executor,
                progress=progress,
            )
        _tell_episodes(made, as_json=as_json)
        return
    from sonosteer.datasets.make_videos import make_video_set

    try:
        with claimed_folder(out), terminal.shown_progress(f"dataset make {name}", quiet=as_json) as progress:
            result = make_video_set(name, out=out, videos=videos, seed=seed, executor=executor, progress=progress)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; {_there(out)} in {out}: the same command goes on") from None
    _tell_videos(result, as_json=as_json)


@app.command("info", cls=PageCommand, epilog="Example: sonosteer dataset info data/d-track --json")
def info_command(folder: DataFolder, as_json: AsJson = False) -> None:
    """Say what a data set holds, and what is missing or damaged."""
    from sonosteer.datasets.card import describe
    from sonosteer.datasets.insertion_card import describe_insertions

    if _holds_demonstrations(folder):
        _tell_episodes(describe_insertions(folder, write=False), as_json=as_json)
        return
    _tell_videos(describe(folder, write=False), as_json=as_json)


@app.command(
    "export",
    cls=PageCommand,
    epilog="Example: sonosteer dataset export data/d-track --format coco --split test --out coco",
)
def export_command(
    folder: DataFolder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for what is exported.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="One of {formats}: pictures with labels.csv, clips with truth.csv, COCO detection.",
            autocompletion=complete("formats"),
        ),
    ] = "png",
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Only this split, of {splits}. Can be repeated.",
            autocompletion=complete("splits"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set of labelled videos in formats that others read.

    Demonstrations (d-insert) cannot be exported.
    """
    from sonosteer.datasets.exporting import FORMATS, export_set

    if _holds_demonstrations(folder):
        raise InputError(
            f"{folder} holds demonstrations of insertions, and these cannot be exported as {form}: "
            f"{', '.join(FORMATS)} are for sets of labelled videos (d-track, d-encoder, dataset import). "
            f"Train on demonstrations as they are: sonosteer train policy --data {folder}"
        )
    kept = f"what was written so far is in {out}"
    with terminal.interruptible(kept), terminal.shown_progress(f"dataset export {form}", quiet=as_json) as progress:
        result = export_set(folder, out=out, form=form, splits=split or (), progress=progress)
    if as_json:
        terminal.print_json(result)
        return
    print(f"{result['videos']} videos, {result['frames']} frames as {form} in {out}")
    terminal.print_notice()


@app.command(
    "import",
    cls=PageCommand,
    epilog="Example: sonosteer dataset import pictures --labels tips.csv --spacing-mm 0.1 --out data/mine",
)
def import_command(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of pictures (sub-folders are videos), or one clip.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the data set.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="CSV. Pictures: image,tip_x_px,tip_y_px[,visible,video,split,time_s]. Clip: "
            "frame,tip_x_px,tip_y_px[,visible]. An empty tip: there is none. Or marks of COCO, CVAT, Label Studio, "
            "DeepLabCut or 3D Slicer. Default: labels.csv in SOURCE.",
        ),
    ] = None,
    point: Annotated[
        str | None,
        typer.Option("--point", metavar="NAME", help="Name of the point that is the tip, where FILE has several."),
    ] = None,
    keep_identity: Annotated[
        bool,
        typer.Option("--keep-identity", help="Leaves what DICOM says to be burned into the pictures, and paths."),
    ] = False,
    spacing_mm: SpacingText = None,
    rate_hz: Annotated[
        float, typer.Option("--rate-hz", metavar="HZ", help="Frames a second of pictures without times.")
    ] = 20.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make a data set of your own labelled frames.

    Split 7:1:2 by video, unless the table has a column split. One video is cut in time order.
    """
    from sonosteer.datasets.importing import import_frames

    words = ["sonosteer", "dataset", "import", str(source), "--out", str(out), "--rate-hz", f"{rate_hz:g}"]
    words += ["--labels", str(labels)] if labels else []
    words += ["--spacing-mm", spacing_mm] if spacing_mm else []
    words += ["--point", point] if point else []
    words += ["--keep-identity"] if keep_identity else []
    spacing = parsing.parse_spacing(spacing_mm)
    with (
        terminal.interruptible("nothing was imported"),
        terminal.shown_progress("dataset import", quiet=as_json) as progress,
    ):
        result = import_frames(
            source,
            labels,
            out=out,
            spacing=spacing,
            rate_hz=rate_hz,
            seed=seed,
            command=shlex.join([*words, "--seed", str(seed)]),
            progress=progress,
            point=point,
            keep_identity=keep_identity,
        )
    _tell_videos(result, as_json=as_json)


def _holds_demonstrations(folder: Path) -> bool:
    from sonosteer.datasets.insertions import FOLDER

    return (folder / FOLDER).is_dir()


def _there(out: Path) -> str:
    from sonosteer.datasets.videos import DataSet

    try:
        data = DataSet(out)
    except InputError:
        return "no video is there yet"
    return f"{len(data.entries)} of {data.about.get('videos_asked')} videos are there"


def _tell_episodes(result: dict[str, Any], *, as_json: bool) -> None:
    """Say what a set of demonstrations holds."""
    if as_json:
        terminal.print_json(result)
        return
    print(f"{result['name']} in {result['folder']}: {result['episodes']} episodes, {result['moments']} moments")
    for by in ("by_split", "by_technique", "by_tissue", "by_operator"):
        print("  " + ", ".join(f"{name}: {n['episodes']}" for name, n in result[by].items()))
    terminal.print_notice()


def _tell_videos(result: dict[str, Any], *, as_json: bool) -> None:
    """Say what a set of videos holds."""
    if as_json:
        terminal.print_json(result)
        return
    from rich.console import Console
    from rich.table import Table

    from sonosteer.datasets.card import said_bytes, said_scales

    table = Table("", "videos", "frames", "tip seen", title=f"{result['name']} in {result['folder']}")
    table.title_justify = "left"
    for column in table.columns[1:]:
        column.justify = "right"
    for group in ("by_split", "by_mode", "by_material"):
        for name, n in result[group].items():
            if len(result[group]) > 1 or group == "by_split":
                table.add_row(name, *_cells(n))
        table.add_section()
    table.add_row("all", *_cells(result))
    Console().print(table)
    scale = said_scales(result["scales_mm_per_px"])
    print(f"{said_bytes(result['size_bytes'])}, {scale or '-'} mm per pixel, box {result['box_mm']:g} mm")
    if result.get("left_out"):
        n = result["left_out"]
        print(f"{n} {'frame has' if n == 1 else 'frames have'} no row in the table: left out")
    for note in result.get("notes", ()):
        print(f"note: {note}")
    _tell_incomplete(result["incomplete"])
    for path in result["sheets"].values():
        print(f"  {path}")
    if result["sheets"]:
        print(f"  {Path(result['folder']) / 'README.md'}")
    terminal.print_notice()


def _tell_incomplete(lines: Sequence[str]) -> None:
    for line in lines[:MAX_TOLD]:
        print(f"not complete: {line}")
    if len(lines) > MAX_TOLD:
        print(f"not complete: and {len(lines) - MAX_TOLD} more")


def _cells(n: dict[str, Any]) -> tuple[str, str, str]:
    share = "-" if n["visible_share"] is None else f"{100 * n['visible_share']:.1f} %"
    return str(n["videos"]), str(n["frames"]), share
