"""`sonosteer simulate`: a clip with exact truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, complete
from sonosteer.commands.parsing import AsJson, Frames, Seed
from sonosteer.core.progress import StageProgress

if TYPE_CHECKING:
    from sonosteer.sources.simulated import SimulatedSource

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    cls=PageCommand,
    epilog="Example: sonosteer simulate in-plane-convex --mode ipm --seed 3 --out clip.mp4 --truth truth.csv",
)
def simulate_command(
    setup: Annotated[
        str,
        typer.Argument(
            metavar="SETUP",
            help="What to simulate: {setups}. Add /train, /validation or /test (the default) for the split. "
            "Or a scene file of your own (.toml).",
            autocompletion=complete("setups"),
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="CLIP", help="clip.mp4, clip.mha, or a folder of PNG.")],
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="CSV", help="Where to write truth.csv. All else that is known goes beside it, .jsonl."
        ),
    ] = None,
    readings: Annotated[
        Path | None,
        typer.Option("--readings", metavar="CSV", help="Where to write what the rig's encoders say, for track."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="ips|ipm", help="in-plane-convex: probe stands still or slides.")
    ] = None,
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Sets one field of the scene. Can be repeated."),
    ] = None,
    frames: Frames = None,
    as_json: AsJson = False,
) -> None:
    """Write a simulated clip with exact truth."""
    from sonosteer.core.config import save_json
    from sonosteer.episodes.clip_tracking import check_clip
    from sonosteer.recording.tables import make_folder
    from sonosteer.sources.simulated import SimulatedSource

    fields = parsing.parse_settings(settings) | ({"mode": mode} if mode else {})
    source = SimulatedSource(setup, seed=seed, readings=readings is not None, **fields)
    start, stop = parsing.parse_frames(frames)
    check_clip(source.info, start)
    for written in filter(None, (out, truth, readings)):
        make_folder(written.parent)
    with terminal.shown_progress("simulating", quiet=as_json) as progress:
        done = _write_clip(source, start, stop, out=out, truth=truth, readings=readings, progress=progress)
    beside = out.with_name(out.name + ".json")
    result = {"clip": out, "truth": truth, "frames": done, "seed": seed, "scene": source.scene}
    save_json(result, beside)
    if as_json:
        terminal.print_json(result)
    else:
        also = f" and {truth}" if truth else ""
        print(f"{done} frames of {source.scene.name} in {out}{also}; the scene is in {beside}")


def _write_clip(
    source: SimulatedSource,
    start: int,
    stop: int | None,
    *,
    out: Path,
    truth: Path | None,
    readings: Path | None,
    progress: StageProgress,
) -> int:
    """Write frames and truth as they are drawn. Returns the number of frames."""
    from sonosteer.core.config import to_dict
    from sonosteer.recording.clips import open_clip
    from sonosteer.recording.readings import ReadingsWriter
    from sonosteer.recording.tables import LineWriter
    from sonosteer.recording.truths import TruthWriter

    total = min(stop or source.info.frames or 0, source.info.frames or 0) - start
    clip = open_clip(out, source.info)
    table = TruthWriter(truth) if truth else None
    more = LineWriter(truth.with_suffix(".jsonl")) if truth else None
    said = ReadingsWriter(readings) if readings else None
    done = 0
    try:
        for frame in source.frames(start, stop):
            clip.add(frame.grey(), frame.time_s)
            if table is not None and more is not None:
                table.add(source.truth(frame.index))
                more.line(json.dumps(to_dict(source.truth(frame.index)), allow_nan=False))
            if said is not None and frame.robot_state is not None:
                said.add(frame.time_s, frame.robot_state)
            done += 1
            progress("", done, total)
    finally:
        clip.close()
        for writer in (table, more, said):
            if writer is not None:
                writer.close()
    return done
