"""The card beside a detector's weights: what it is, how it came about, what it was measured at, what it is not for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sonosteer.learning.checkpoints.tracking import MODEL_CARD
from sonosteer.learning.checkpoints.tracking_card import MODEL_NOTICE
from sonosteer.learning.nets.dense_detector import DetectorConfig


def write_detector_card(folder: Path, config: DetectorConfig, about: Mapping[str, Any], parameters: int) -> None:
    """Write README.md into a detector's folder."""
    data, held = about["data"], about["validation"]
    channels = ", ".join(str(c) for c in config.channels)
    rows = {
        "shape": f"U-shaped, {channels} channels, {parameters / 1e6:.2f} M parameters",
        "input": f"a grey picture and an earlier one, longer side reduced to {config.side_px} px, no scale",
        "answers": "shaft, tip, direction, width and visibility on a grid of a quarter of the resolution",
        "trained": f"{about['samples']} samples ({about['steps']} steps), seed {about['seed']}",
        "data": f"{data['stills']} stills of the set-up in-the-wild, training split",
        "time": f"{about['seconds'] / 60:.0f} min on {about['machine']}, {about['device']}, {about['threads']} threads",
        "validation stills": f"of {data['validation_stills']}: strongest answer within 2 % of the longer side at "
        f"{100 * held['right']:.1f} % of the tips that a person could see, within 5 % at {100 * held['near']:.1f} %; "
        f"from a single picture within 2 % at {100 * held['right_alone']:.1f} %; "
        f"a needle's answer is stronger than the strongest without one in {100 * held['told_apart']:.1f} % of pairs",
        "made by": f"`{_command_of(about)}`",
    }
    if "from" in about:
        rows["begun from"] = f"`{about['from']}`, {'; before that '.join(_trainings(about['before']))}"
    table = "\n".join(f"| {k} | {v} |" for k, v in rows.items())
    quick = "\n**Trained for a few steps only, to see that it works: of no use.**\n" if about["quick"] else ""
    (folder / MODEL_CARD).write_text(
        f"# Needle detector, preset {config.preset}\n\n{MODEL_NOTICE}\n{quick}\n| what | |\n| --- | --- |\n{table}\n\n"
        "Learning curves: `curves.svg`. Trained on simulated ultrasound only; on your scanner its errors may be other "
        "than these. Validation stills were used to look at the training; no test still was.\n"
    )


def _trainings(before: Mapping[str, Any]) -> Iterator[str]:
    """What the weights that a training began from had learnt, the last training first."""
    while before:
        yield f"{before['samples']} samples, {before['seconds'] / 60:.0f} min"
        before = before.get("before", {})


def _command_of(about: Mapping[str, Any]) -> str:
    """The command that trains it again."""
    words = ["sonosteer train detector", "--quick" if about["quick"] else f"--recipe {about['recipe']}"]
    words += [f"--seed {about['seed']}", *(["--from DETECTOR"] if "from" in about else [])]
    words += [f"--precision {about['precision']}"] if about["precision"] != "no" else []
    words += [f"--set {s}" for s in about["settings"]]
    return " ".join(words)
