"""`sonosteer needlebench`: the benchmark of needle trackers, and its leaderboard."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sonosteer.commands import terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Executor

app = typer.Typer(add_completion=False, rich_markup_mode=None)
SHOWN = ("rank", "method", "given", "cost", "95 %", "than silence", "right %", "wrong %")


@app.command(cls=PageCommand, epilog="Example: sonosteer needlebench --method mine:Mine --out needlebench-mine")
def needlebench_command(
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="Tracker that takes part: {methods}. Can be repeated. Default: all baselines.",
            autocompletion=complete("methods"),
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Five tracks of twelve frames, under a minute. The results say so."),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the leaderboard. Default: needlebench-out.")
    ] = Path("needlebench-out"),
    real: Annotated[
        Path | None,
        typer.Option("--real", metavar="DIR", help="Folder with your real tracks and their manifest.toml."),
    ] = None,
    version: Annotated[
        str, typer.Option("--version", metavar="N", help="Version of tracks and prices. The newest is 2.")
    ] = "2",
    executor: Executor = "process",
    as_json: AsJson = False,
) -> None:
    """Rank trackers on frozen tracks: simulated ones of any scanner, and some without a needle. Silence has its price.

    Each tracker runs twice: with nothing given, and with one click. Three that know nothing always take part. All
    baselines take half an hour on two cores at most. Can be interrupted. The same command goes on where it stopped.
    """
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.studies.needlebench.run import run_needlebench
    from sonosteer.studies.needlebench.tracks import NEWEST

    words = ["sonosteer", "needlebench", *(w for m in method or () for w in ("--method", m))]
    words += (
        (version != NEWEST) * ["--version", version] + ["--quick"] * quick + (["--real", str(real)] if real else [])
    )
    kept = f"the tracks done so far are in {out}: run it again to go on"
    with (
        terminal.interruptible(kept),
        claimed_folder(out),
        terminal.shown_progress("needlebench", quiet=as_json) as progress,
    ):
        summary = run_needlebench(
            out=out,
            methods=method or (),
            quick=quick,
            version=version,
            real=real,
            executor=executor,
            progress=progress,
            command=shlex.join(words),
        )
    if as_json:
        terminal.print_json(summary)
        return
    for protocol, rows in summary["leaderboards"].items():
        terminal.print_table(protocol, SHOWN, [tuple(str(row[c]) for c in SHOWN) for row in rows])
    if quick:
        print(terminal.QUICK_RUN)
    terminal.print_files(out, ("leaderboard.html", "leaderboard.tex", "summary.json"))
    terminal.print_notice()
