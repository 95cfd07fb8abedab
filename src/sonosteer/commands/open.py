"""`sonosteer open`: the console, a page on this machine: a clip, recorded runs, or the playground."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.console_page import check_console_extra, told_address
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import Seed, SpacingText
from sonosteer.commands.steering_runs import is_steering_run, open_steering_run, recording_in
from sonosteer.core.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer open clip.mp4")
def open_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Video, folder of PNG/JPEG, .mha/.nrrd sequence, DICOM cine, sim:SETUP, a folder of `track`, "
            "`insert` or `steer run`, or up to two recording.mcap.",
        ),
    ] = None,
    playground: Annotated[
        bool, typer.Option("--playground", help="A simulated scene with sliders for what disturbs it. Without PATH.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for labels and exports. Default: PATH.labels, beside the clip."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="Port on this machine. Default: any that is free.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    spacing_mm: SpacingText = None,
    seed: Seed = 0,
) -> None:
    """Open a clip, or a recorded run, in the console, a page in your browser.

    Of a clip: look, zoom, track by several methods, drag the tip to correct it, and export tips, labels, overlay and
    data set. Labels are on the disk as they are made. A folder of `track --out` brings its track along.

    Of a recording (insert --out): what was seen, decided, cleared and refused at every moment. Two recordings are
    shown beside each other. One of `steer run` is shown with its path, plan, budget and obstacles.

    --playground plays a simulated scene. "Track this" opens it as a clip. Labels go into a folder below the current
    one, or below --out.

    The first line that is printed is the page's address. Its token lets nobody else in. The page is on this machine
    only and needs no network. Ctrl-C ends it.
    """
    check_console_extra()
    given = paths or []
    if playground != (not given):
        raise InputError("give a PATH to open, or --playground alone")
    recordings = [found for found in map(recording_in, given) if found is not None]
    if len(given) > 1 and len(recordings) < len(given):
        raise InputError(f"{len(given)} paths were named: one clip is opened at a time, or two recordings")
    try:
        if playground:
            _open_playground(out, port, no_browser=no_browser)
        elif len(recordings) == 1 and is_steering_run(recordings[0]):
            _open_steering(recordings[0], port, no_browser=no_browser)
        elif recordings:
            _open_runs(recordings, port, no_browser=no_browser)
        else:
            _open_clip(given[0], out, port, no_browser=no_browser, spacing_mm=spacing_mm, seed=seed)
    except KeyboardInterrupt:
        print("sonosteer: the console has ended; what was labelled is kept", file=sys.stderr)


def _open_playground(out: Path | None, port: int | None, *, no_browser: bool) -> None:
    from sonosteer.console.playground_room import serve_playground

    told = "Ctrl-C ends the console. What you labelled is kept."
    serve_playground(folder=out or Path(), port=port, ready=told_address(told, no_browser=no_browser))


def _open_steering(recording: Path, port: int | None, *, no_browser: bool) -> None:
    from sonosteer.console.steer_room import serve_steering

    with terminal.shown_progress("opening the run", quiet=False):
        recorded, story = open_steering_run(recording)
    for note in story.notes:
        print(f"sonosteer: {note}", file=sys.stderr)
    serve_steering(story, recorded, port=port, ready=told_address("Ctrl-C ends the console.", no_browser=no_browser))


def _open_runs(recordings: list[Path], port: int | None, *, no_browser: bool) -> None:
    from sonosteer.console.serving import serve_runs

    serve_runs(recordings, port=port, ready=told_address("Ctrl-C ends the console.", no_browser=no_browser))


def _open_clip(
    path: str, out: Path | None, port: int | None, *, no_browser: bool, spacing_mm: str | None, seed: int
) -> None:
    from sonosteer.console.serving import serve_clip
    from sonosteer.console.tracked_folder import read_tracked
    from sonosteer.sources.opening import open_source

    tracked = read_tracked(Path(path))
    where = path if tracked is None else tracked.source
    given = parsing.parse_spacing(spacing_mm) or (None if tracked is None else tracked.spacing)
    source = open_source(where, spacing=given, seed=seed if tracked is None else tracked.seed)
    terminal.tell_notes(source.info)
    folder = out if out is not None else _beside(where)
    told = f"labels and exports: {folder}\nCtrl-C ends the console. What you labelled is kept."
    try:
        serve_clip(
            source,
            where=where,
            out=folder,
            seed=seed if tracked is None else tracked.seed,
            port=port,
            ready=told_address(told, no_browser=no_browser),
            tracks=() if tracked is None else (tracked.track(source.info),),
        )
    finally:
        source.close()


def _beside(path: str) -> Path:
    """The folder of a clip's labels: beside it, and in the current one for what has no place."""
    if path.startswith("sim:"):
        plain = "".join(c if c.isalnum() or c in ".-" else "-" for c in path.removeprefix("sim:"))
        return Path(f"sim-{plain}.labels")
    whole = Path(path).absolute()
    return whole.with_name(f"{whole.name}.labels")
