"""What a set of demonstrations holds: counted, and told to people in its README.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from sonosteer.core.types import Lost
from sonosteer.datasets.card import DATA_CARD, SIMULATED_LIMITS
from sonosteer.datasets.insertions import InsertionSet, RecordedEpisode
from sonosteer.datasets.samples import SAMPLE_COLUMNS
from sonosteer.recording.tables import writing_failed
from sonosteer.sim.scenes import Split

COUNTED = ("moments", "lost", "stops", "seconds", "mean_mm_s", "pauses")


def describe_insertions(folder: Path, *, write: bool = True) -> dict[str, Any]:
    """Count what is in a set, and write its card. Raises InputError if there is none, or an episode is damaged."""
    data = InsertionSet(folder)
    rows = [(e, _counts(e)) for e in data.episodes()]
    result: dict[str, Any] = {
        "name": data.about.get("name", folder.name),
        "folder": str(folder),
        "seed": data.about.get("seed"),
        "episodes": len(rows),
        **_summed([c for _, c in rows]),
        **{f"by_{by}": _grouped(rows, by) for by in ("split", "technique", "tissue", "operator")},
    }
    if write:
        try:
            (folder / DATA_CARD).write_text(_card(result), encoding="utf-8")
        except OSError as e:
            raise writing_failed(folder / DATA_CARD, e, "the episodes are kept") from None
    return result


def _counts(episode: RecordedEpisode) -> dict[str, float]:
    samples = episode.samples
    times = [m.observation.capture_time_s for m in samples]
    speeds = np.array([m.action.command.insertion_speed_mm_s for m in samples])
    pauses = int(((speeds[1:] <= 0) & (speeds[:-1] > 0)).sum())
    return {
        "moments": len(samples),
        "lost": sum(isinstance(m.observation.estimate, Lost) for m in samples),
        "stops": sum(m.action.command.stop for m in samples),
        "seconds": times[-1] - times[0] if times else 0.0,
        "mean_mm_s": float(speeds.sum()),
        "pauses": pauses,
    }


def _summed(counts: Sequence[dict[str, float]]) -> dict[str, float]:
    total = {k: sum(c[k] for c in counts) for k in COUNTED}
    n = max(total["moments"], 1)
    return {**total, "seconds": round(total["seconds"], 1), "mean_mm_s": round(total["mean_mm_s"] / n, 2)}


def _grouped(rows: Sequence[tuple[RecordedEpisode, dict[str, float]]], by: str) -> dict[str, dict[str, float]]:
    names = {getattr(e.info, by) for e, _ in rows}
    order = [s for s in get_args(Split) if s in names] if by == "split" else sorted(names)
    groups = {name: [c for e, c in rows if getattr(e.info, by) == name] for name in order}
    return {name or "-": {"episodes": len(of), **_summed(of)} for name, of in groups.items()}


def _card(result: dict[str, Any]) -> str:
    lines = [
        "| by | value | episodes | moments | tip lost | stops | seconds | mean speed mm/s | pauses |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for by in ("split", "technique", "tissue", "operator"):
        for value, n in result[f"by_{by}"].items():
            lines.append(f"| {by} | {value} | " + " | ".join(f"{n[k]:g}" for k in ("episodes", *COUNTED)) + " |")
    table = "\n".join(lines)
    columns = ", ".join(f"`{c}`" for c in SAMPLE_COLUMNS)
    return f"""# {result["name"]}

Demonstrations of needle insertions under simulated ultrasound, after the data set D_insert of Zhang et al. 2026 (18
videos, 9 with the probe standing still, 9 with it moving): at every moment what the tracker said, what the encoders
read, where the target is, and what an expert did. The experts are models, not people; they see the tracker's
estimate, never the simulator's truth. {result["episodes"]} episodes, {result["moments"]:g} moments, seed
{result["seed"]}.

{table}

## Files

`dataset.json`: the index. `episodes/NAME/task.json`: target, technique, angle, side, mm per pixel, as in the first
frame. `episodes/NAME/frames.npy`: (moments, rows, columns) uint8. `episodes/NAME/features.npy`: what the tracker's
encoder saw, float16. `episodes/NAME/moments.csv`: {columns}. An empty field is something that was not said; a row whose
`state` is `lost` says why in `lost`. Times in s, angles in rad; x = column, y = row, 0 at the first pixel's centre.

## Splits

By episode: scenes, tissues and looks of one split are not in another.

## Limits

{SIMULATED_LIMITS}
"""
