"""`sonosteer evaluate`: errors of a track against truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, SpacingText

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer evaluate results/tips.csv truth.csv --json")
def evaluate_command(
    tips: Annotated[Path, typer.Argument(metavar="TIPS", help="tips.csv of a tracker.")],
    truth: Annotated[
        Path,
        typer.Argument(metavar="TRUTH", help="truth.csv of a simulation, or your own marks in the same columns."),
    ],
    spacing_mm: SpacingText = None,
    as_json: AsJson = False,
) -> None:
    """Measure the errors of a track against truth.

    Matched by frame. A frame without an estimate counts against the tracker.
    """
    from sonosteer.metrics.tip_error import summarise, tip_errors
    from sonosteer.recording.tips import read_tips
    from sonosteer.recording.truths import read_truth

    numbers = summarise(tip_errors(read_tips(tips), read_truth(truth), parsing.parse_spacing(spacing_mm)))
    if as_json:
        terminal.print_json(numbers)
        return
    rows = [(key, _written(value)) for key, value in numbers.items() if value is not None]
    terminal.print_table(f"{tips} against {truth}", ("measure", "value"), rows)


def _written(value: Any) -> str:
    return " to ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else f"{value:.4g}"
