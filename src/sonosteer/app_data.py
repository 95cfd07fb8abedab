"""The data set commands: options -> `learning.data` -> files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sonosteer.app import NOTICE, _stages
from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError, InterruptedRunError
from sonosteer.options import parse_spacing
from sonosteer.sim.scenes import Split


def make(name: str, out: Path, *, videos: int | None, seed: int, executor: str, as_json: bool) -> None:
    """`sonosteer dataset make`: what is missing of a simulated set in `out`."""
    from sonosteer.datasets.make_videos import make as make_set

    again = "the same command goes on"
    try:
        result = _run(
            make_set, f"dataset make {name}", again, as_json, name, out=out, videos=videos, seed=seed, executor=executor
        )
    except InterruptedRunError:
        raise InterruptedRunError(f"interrupted; {_there(out)} in {out}: {again}") from None
    _tell(result, as_json)


def demonstrate(
    out: Path,
    *,
    episodes: int | None,
    seed: int,
    split: Split,
    operators: Sequence[str],
    executor: str,
    as_json: bool,
) -> None:
    """`sonosteer dataset make d-insert`: demonstrations of simulated experts."""
    from sonosteer.datasets import make_demonstrations as do
    from sonosteer.policies.expert import OPERATOR_MODELS

    again = f"the same command goes on; what is there is in {out}"
    result = _run(
        do.make,
        "dataset make d-insert",
        again,
        as_json,
        out=out,
        episodes=do.PAPER_EPISODES if episodes is None else episodes,
        seed=seed,
        split=split,
        operators=list(operators) or list(OPERATOR_MODELS),
        executor=executor,
    )
    _tell_episodes(result, as_json)


def scenes_of(split: str) -> Split:
    """The split that was typed; demonstrations are never of test scenes. InputError for another."""
    if split == "train":
        return "train"
    if split == "validation":
        return "validation"
    raise InputError(f"--split {split}: train and validation are possible; test scenes are for the study")


def _tell_episodes(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(to_dict(result), allow_nan=False))
        return
    print(f"{result['name']} in {result['folder']}: {result['episodes']} episodes, {result['moments']} moments")
    for by in ("by_split", "by_technique", "by_tissue", "by_operator"):
        print("  " + ", ".join(f"{name}: {n['episodes']}" for name, n in result[by].items()))
    print(NOTICE)


def _there(out: Path) -> str:
    from sonosteer.datasets.videos import DataSet

    try:
        data = DataSet(out)
    except InputError:
        return "no video is there yet"
    return f"{len(data.entries)} of {data.about.get('videos_asked')} videos are there"


def info(folder: Path, *, as_json: bool) -> None:
    """`sonosteer dataset info`: what a set holds."""
    from sonosteer.datasets.card import describe
    from sonosteer.datasets.insertion_card import describe_insertions
    from sonosteer.datasets.insertions import FOLDER

    if (folder / FOLDER).is_dir():
        _tell_episodes(describe_insertions(folder, write=False), as_json)
        return
    _tell(describe(folder, write=False), as_json)


def export(folder: Path, out: Path, *, form: str, splits: Sequence[str], as_json: bool) -> None:
    """`sonosteer dataset export`: PNG, mp4 or COCO."""
    from sonosteer.datasets.exporting import export as export_set

    what, left = f"dataset export {form}", f"what was written so far is in {out}"
    result = _run(export_set, what, left, as_json, folder, out=out, form=form, splits=splits)
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    print(f"{result['videos']} videos, {result['frames']} frames as {form} in {out}")
    print(NOTICE)


def import_(
    source: Path, out: Path, *, labels: Path | None, spacing_mm: str | None, rate_hz: float, seed: int, as_json: bool
) -> None:
    """`sonosteer dataset import`: your own labelled frames."""
    from sonosteer.datasets.importing import import_frames

    words = ["sonosteer", "dataset", "import", str(source), "--out", str(out), "--rate-hz", f"{rate_hz:g}"]
    words += ["--labels", str(labels)] if labels else []
    words += ["--spacing-mm", spacing_mm] if spacing_mm else []
    result = _run(
        import_frames,
        "dataset import",
        "nothing was imported",
        as_json,
        source,
        labels,
        out=out,
        spacing=parse_spacing(spacing_mm),
        rate_hz=rate_hz,
        seed=seed,
        command=shlex.join([*words, "--seed", str(seed)]),
    )
    _tell(result, as_json)


def _run(run: Callable[..., Any], what: str, interrupted: str, as_json: bool, *words: Any, **options: Any) -> Any:
    """Run long work under a progress bar; Ctrl-C ends it with what is left of it."""
    try:
        with _stages(what, as_json) as progress:
            return run(*words, progress=progress, **options)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; {interrupted}") from None


def _tell(result: dict[str, Any], as_json: bool) -> None:
    """What a set holds, as JSON or as a table."""
    if as_json:
        print(json.dumps(to_dict(result), allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    from sonosteer.datasets.card import said_bytes, said_scales

    table = Table("", "videos", "frames", "tip seen", title=f"{result['name']} in {result['folder']}")
    table.title_justify = "left"
    for column in table.columns[1:]:
        column.justify = "right"
    for group in ("by_split", "by_mode", "by_material"):
        for name, n in result[group].items():
            if len(result[group]) > 1 or group == "by_split":
                table.add_row(name, *_cells(n))
        table.add_section()
    table.add_row("all", *_cells(result))
    Console().print(table)
    scale = said_scales(result["scales_mm_per_px"])
    print(f"{said_bytes(result['size_bytes'])}, {scale or '-'} mm per pixel, box {result['box_mm']:g} mm")
    if result.get("left_out"):
        n = result["left_out"]
        print(f"{n} {'frame has' if n == 1 else 'frames have'} no row in the table: left out")
    for line in result["incomplete"][:5]:
        print(f"not complete: {line}")
    if len(result["incomplete"]) > 5:
        print(f"not complete: and {len(result['incomplete']) - 5} more")
    for path in result["sheets"].values():
        print(f"  {path}")
    if result["sheets"]:
        print(f"  {Path(result['folder']) / 'README.md'}")
    print(NOTICE)


def _cells(n: dict[str, Any]) -> tuple[str, str, str]:
    share = "-" if n["visible_share"] is None else f"{100 * n['visible_share']:.1f} %"
    return str(n["videos"]), str(n["frames"]), share
