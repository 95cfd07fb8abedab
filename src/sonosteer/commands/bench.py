"""`sonosteer bench`: speed, as ratios to references measured in the same run."""

from __future__ import annotations

from typing import Annotated

import typer

from sonosteer.commands import terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Seed
from sonosteer.core.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)
BENCH_COLUMNS = ("case", "median ms", "p95", "p99", "max", "times faster than")


@app.command(cls=PageCommand, epilog="Example: sonosteer bench tracking --json")
def bench_command(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="What to measure: {benches}.", autocompletion=complete("benches")),
    ] = "tracking",
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="S",
            help="console: how long each case lasts, 8 by default; 600 presses STOP 200 times. live-peer: how long the "
            "account is, 60. At least 1.",
        ),
    ] = None,
    robot: Annotated[
        str | None,
        typer.Option(
            "--robot", metavar="NAME", help="live-insertion: what pushes the needle, line or ur. Default: line."
        ),
    ] = None,
    insertions: Annotated[
        int | None,
        typer.Option("--insertions", metavar="N", help="live-insertion: how many, 1 to 100. Default: 10."),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure speed against stated references.

    Each figure is a ratio to a reference measured in the same run, on one thread.
    """
    from sonosteer.benchmarks.table import BENCHMARKS

    measure = BENCHMARKS.load(name)
    if seconds is not None and (name not in ("console", "live-peer") or not 1 <= seconds <= 3600):
        raise InputError(f"--seconds {seconds:g}: it is for `bench console` and `bench live-peer`, 1 to 3600")
    if (robot is not None or insertions is not None) and name != "live-insertion":
        raise InputError("--robot and --insertions are for `bench live-insertion`")
    if insertions is not None and not 1 <= insertions <= 100:
        raise InputError(f"--insertions {insertions}: 1 to 100")
    asked = {"seconds": seconds, "robot": robot, "insertions": insertions}
    more = {key: value for key, value in asked.items() if value is not None}
    with terminal.shown_progress(f"bench {name}", quiet=as_json) as progress:
        result = measure(seed=seed, progress=lambda done: progress("", done, 0), **more)
    if as_json:
        terminal.print_json(result)
        return
    rows = []
    for case in result["cases"]:
        numbers = [f"{case[k]:.3f}" for k in ("median_ms", "p95_ms", "p99_ms", "max_ms")]
        rows.append((case["case"], *numbers, ", ".join(f"{k} {v:.1f}x" for k, v in case["ratio"].items())))
    terminal.print_table(f"bench {name}, one thread", BENCH_COLUMNS, rows)
    print(result["notes"])
