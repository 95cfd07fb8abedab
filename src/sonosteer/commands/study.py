"""`sonosteer study`: published tables and figures, ours beside theirs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from sonosteer.commands import terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Executor, Seed, parse_settings
from sonosteer.core.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer study tracking --quick --out study-quick")
def study_command(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Which study: {studies}.", autocompletion=complete("studies")),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for tables, figures and report. Default: study-NAME."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A few trials, to see that it works: under a minute. The results say that it was quick."
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Sets one setting of the study, as split=validation. Can be repeated."
        ),
    ] = None,
    executor: Executor = "process",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make the published tables and figures, ours beside theirs.

    Can be interrupted. The same command goes on where it stopped.
    """
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.studies.table import STUDIES

    out = out or Path(f"study-{name}")
    carry_out = STUDIES.load(name)
    more = {"settings": parse_settings(settings)} if settings else {}
    if more and "settings" not in inspect.signature(carry_out).parameters:
        raise InputError(f"study {name} has no settings: leave --set out")
    kept = f"the trials done so far are in {out}: run it again to go on"
    with (
        terminal.interruptible(kept),
        claimed_folder(out),
        terminal.shown_progress(f"study {name}", quiet=as_json) as progress,
    ):
        summary = carry_out(out=out, quick=quick, seed=seed, executor=executor, progress=progress, **more)
    if as_json:
        terminal.print_json(summary)
        return
    if quick:
        print(terminal.QUICK_RUN)
    terminal.print_files(out, ("report.html", "README.md", "summary.json"))
    terminal.print_notice()
