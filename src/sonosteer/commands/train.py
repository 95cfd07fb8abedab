"""`sonosteer train`: a training stage."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Executor, Seed

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    cls=PageCommand,
    epilog="Example: sonosteer train tracking --data d-track --from train-encoder --recipe cpu --out mine",
)
def train_command(
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="What to train: {stages}.", autocompletion=complete("stages"))
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for what was learnt. Default: train-STAGE.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Data set to learn from (sonosteer dataset make or import, or of the console). Can be repeated. "
            "detector: where its stills are, or shall be drawn. Default: DIR/stills. Data sets are learnt beside them.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset", metavar="NAME", help="Size of the network: {presets}.", autocompletion=complete("presets")
        ),
    ] = "edge",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="paper|cpu",
            help="How long and how to train: paper (350 epochs, for a GPU) or cpu (about an hour on two cores, the "
            "detector some hours).",
        ),
    ] = "paper",
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Trained folder to begin from. Stage tracking freezes its encoder."),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="What to compute on: {devices}.")] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", metavar="NAME", help="Mixed precision: {precisions}.")
    ] = "no",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PART.NAME=VALUE",
            help="Sets schedule.NAME, augmentation.NAME, model.NAME or stills.NAME. Can be repeated.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few steps, to see that it works.")] = False,
    executor: Executor = "process",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train on simulated insertions of the training split, or on your own labelled frames.

    tip-weights: weights of the five tip features of Mathiassen et al. 2017 (Eq. 24). Use them by
    track --config tip-weights.toml.

    encoder: vision encoder of the edge preset.

    tracking: stage 1 of Zhang et al. 2026, register and tracking head on a frozen encoder. Use it by
    track --method vla --set model=FOLDER.

    detector: finds needles in whole pictures, for auto. It draws its own stills first. Your labelled frames, if any,
    are half of what it sees (--set stills.own). Use it by track --set model=FOLDER.

    policy: who decides, from demonstrations (dataset make d-insert). With --from, stage 2 of Zhang et al. 2026. Use it
    by insert --set model=FOLDER.

    Can be interrupted. The same command goes on. On several GPUs: accelerate launch -m sonosteer train ...
    """
    from sonosteer.learning.table import NETWORK_STAGES, TRAINING_STAGES
    from sonosteer.learning.training.options import TrainOptions

    out = out or Path(f"train-{stage}")
    options = TrainOptions(
        data=tuple(data or ()),
        preset=preset,
        recipe=recipe,
        start=start,
        device=device,  # type: ignore[arg-type]  # checked by TrainOptions
        precision=precision,  # type: ignore[arg-type]
        settings=parsing.nested(parsing.parse_settings(settings), {}),
        executor=executor,
    )
    train = TRAINING_STAGES.load(stage)
    network = stage in NETWORK_STAGES
    more: dict[str, Any] = {"options": options} if network else {"executor": executor}
    learnt = f"what was learnt so far is in {out}: run it again to go on" if network else "nothing had been learnt yet"
    with (
        terminal.interruptible(learnt),
        _claimed(out),
        terminal.shown_progress(f"train {stage}", quiet=as_json) as said,
    ):
        report = train(out=out, quick=quick, seed=seed, progress=said, **more)
    if as_json:
        terminal.print_json(report)
        return
    if quick:
        print("A quick run, to see that it works: what was learnt is of no use.")
    terminal.print_files(out, (path.name for path in sorted(out.iterdir())))


def _claimed(out: Path) -> AbstractContextManager[None]:
    """Claim the folder. Of the processes that accelerate launch starts with the same words, the first does."""
    from sonosteer.recording.output_folder import claimed_folder

    return claimed_folder(out if int(os.environ.get("RANK", "0")) == 0 else None)
