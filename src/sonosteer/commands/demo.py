"""`sonosteer demo`: one simulated insertion, from frames to report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, Seed

app = typer.Typer(add_completion=False, rich_markup_mode=None)
SETUP, METHOD = "sim:in-plane-linear", "auto"


@app.command(cls=PageCommand, epilog="Example: sonosteer demo --out demo-out")
def demo_command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")] = Path("demo-out"),
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Track a simulated insertion, from frames to report.

    Takes well under a minute and prints where the results are.
    """
    from sonosteer.episodes.clip_tracking import ClipJob, track_into_folder
    from sonosteer.recording.output_folder import claimed_folder
    from sonosteer.sim.scenes import planned_angles
    from sonosteer.sources.simulated import SimulatedSource
    from sonosteer.trackers.table import make_tracker

    clip = SimulatedSource(SETUP.removeprefix("sim:"), seed=seed)
    low, high = (round(math.degrees(a)) for a in planned_angles(clip.scene))
    angle_deg = f"{low}:{high}"
    job = ClipJob(
        source=clip,
        feed=clip,
        tracker=make_tracker(METHOD),
        hint=parsing.parse_hint(angle_deg, None, None),
        out=out,
        truth_of=clip.truth,
        name=SETUP,
        method=METHOD,
        seed=seed,
        options={"source": SETUP, "out": out, "method": METHOD, "angle_deg": angle_deg, "seed": seed},
    )
    with claimed_folder(out), terminal.shown_progress("tracking", quiet=as_json) as progress:
        summary = track_into_folder(job, progress)
    terminal.tell_tracked(out, summary, as_json=as_json)
