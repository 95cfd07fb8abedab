"""`sonosteer open`: the console, a page on this machine that shows a clip or a recorded run."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import Seed, SpacingText
from sonosteer.core.errors import InputError, MissingExtraError

RECORDED = ".mcap"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer open clip.mp4")
def open_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Video, folder of PNG/JPEG, .mha/.nrrd sequence, DICOM cine, sim:SETUP, or up to two recording.mcap.",
        ),
    ],
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
    data set. Labels are on the disk as they are made.

    Of a recording (insert --out, steer run --out): what was seen, decided, cleared and refused at every moment. Two
    recordings are shown beside each other.

    The first line that is printed is the page's address. Its token lets nobody else in. The page is on this machine
    only and needs no network. Ctrl-C ends it.
    """
    _check_extra()
    if any(path.lower().endswith(RECORDED) for path in paths):
        _open_runs(paths, port, no_browser=no_browser)
        return
    if len(paths) > 1:
        raise InputError(f"{len(paths)} paths were named: one clip is opened at a time, or two recordings (.mcap)")
    path = paths[0]
    from sonosteer.console.serving import serve_clip
    from sonosteer.sources.opening import open_source

    source = open_source(path, spacing=parsing.parse_spacing(spacing_mm), seed=seed)
    terminal.tell_notes(source.info)
    folder = out if out is not None else _beside(path)

    def ready(address: str) -> None:
        print(address, flush=True)
        print(f"labels and exports: {folder}\nCtrl-C ends the console. What you labelled is kept.", flush=True)
        if not no_browser:
            threading.Thread(target=_show, args=(address,), name="browser", daemon=True).start()

    try:
        serve_clip(source, where=path, out=folder, seed=seed, port=port, ready=ready)
    except KeyboardInterrupt:
        print("sonosteer: the console has ended; what was labelled is kept", file=sys.stderr)
    finally:
        source.close()


def _open_runs(paths: list[str], port: int | None, *, no_browser: bool) -> None:
    """Serve the replay room."""
    from sonosteer.console.serving import serve_runs

    def ready(address: str) -> None:
        print(address, flush=True)
        print("Ctrl-C ends the console.", flush=True)
        if not no_browser:
            threading.Thread(target=_show, args=(address,), name="browser", daemon=True).start()

    try:
        serve_runs([Path(path) for path in paths], port=port, ready=ready)
    except KeyboardInterrupt:
        print("sonosteer: the console has ended", file=sys.stderr)


def _check_extra() -> None:
    for package in ("starlette", "uvicorn", "websockets"):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtraError("the console", package, "console") from None


def _beside(path: str) -> Path:
    """The folder of a clip's labels: beside it, and in the current one for what has no place."""
    if path.startswith("sim:"):
        plain = "".join(c if c.isalnum() or c in ".-" else "-" for c in path.removeprefix("sim:"))
        return Path(f"sim-{plain}.labels")
    whole = Path(path).absolute()
    return whole.with_name(f"{whole.name}.labels")


def _show(address: str) -> None:
    """Open the browser. One of the terminal would take the terminal, and none is opened where there is no screen."""
    screen = sys.platform in ("win32", "darwin") or any(os.environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY"))
    try:
        shown = screen and webbrowser.open(address)
    except (webbrowser.Error, OSError):
        shown = False
    if not shown:
        print("sonosteer: no browser could be opened: open the address above yourself", file=sys.stderr, flush=True)
