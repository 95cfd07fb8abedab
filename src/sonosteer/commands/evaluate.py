"""`sonosteer evaluate`: errors of a track against truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, PosesText, SpacingText
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.core.geometry import Spacing
    from sonosteer.core.protocols import Source

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer evaluate results/tips.csv marks.csv --out evaluated")
def evaluate_command(
    tips: Annotated[Path, typer.Argument(metavar="TIPS", help="tips.csv of a tracker, or the folder it is in.")],
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH",
            help="truth.csv of a simulation, or marks of your own with the columns frame,tip_x_px,tip_y_px. "
            "visible and uncertainty_px are understood. Marks of other programs too, such as .mrk.json of 3D Slicer.",
        ),
    ],
    spacing_mm: SpacingText = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for report.html and evaluation.json. Default: none."),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip", metavar="SOURCE", help="The clip itself, for markups in the world of a clip with poses."
        ),
    ] = None,
    poses: PosesText = None,
    as_json: AsJson = False,
) -> None:
    """Measure the errors of a track against truth, tracking and coasting apart.

    Matched by frame. A frame without an estimate counts against the tracker. An error within uncertainty_px of a mark
    counts as found. Marks of another clip are refused.
    """
    from sonosteer.episodes.evaluation import evaluate_files, write_evaluation
    from sonosteer.recording.output_folder import claimed_folder

    scale = parsing.parse_spacing(spacing_mm)
    evaluation = evaluate_files(tips, truth, spacing=scale, clip=_clip(clip, poses, scale))
    if out is not None:
        with claimed_folder(out):
            write_evaluation(evaluation, out, f"{tips} against {truth.name}")
    numbers = evaluation.numbers
    if as_json:
        terminal.print_json(numbers)
        return
    rows = [(key, _written(value)) for key, value in numbers.items() if value is not None and not _nested(value)]
    terminal.print_table(f"{tips} against {truth}", ("measure", "value"), rows)
    for state in ("tracking", "coasting"):
        figures = numbers["by_state"][state]
        unit = "mm" if figures["mean_mm"] is not None else "px"
        if figures["frames"] and figures[f"mean_{unit}"] is not None:
            off, p95 = figures[f"mean_{unit}"], figures[f"p95_{unit}"]
            print(f"{state}: {figures['frames']} frames, {off:.2f} {unit} mean, {p95:.2f} {unit} at 95 %")
    if out is not None:
        terminal.print_files(out, ("report.html", "evaluation.json"))


def _clip(where: str | None, poses: str | None, spacing: Spacing | None) -> Source | None:
    """The clip that the marks lie in. Raises InputError if it cannot be opened, or `poses` stands without it."""
    if where is None:
        if poses is not None:
            raise InputError("`poses` leads from the pictures of a clip to the world: name the clip by `clip`, too")
        return None
    from sonosteer.sources.opening import open_source

    return open_source(where, spacing=spacing, poses=poses)


def _nested(value: Any) -> bool:
    return isinstance(value, dict)


def _written(value: Any) -> str:
    return " to ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else f"{value:.4g}"
