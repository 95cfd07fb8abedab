"""The card beside a model's weights: what it is, how it came about, what it was measured at, what it is not for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sonosteer.learning.checkpoints.tracking import MODEL_CARD
from sonosteer.learning.nets.presets import TrackingConfig

MODEL_NOTICE = "Research software, not a medical device: not for clinical decisions."


def command_of(about: Mapping[str, Any], preset: str) -> str:
    """The command that trains it again."""
    words = ["sonosteer", "train", about["stage"], "--preset", preset, "--recipe", about["recipe"]]
    words += [f"--data {one['name']}" for one in about["data"]["sets"]]
    words += ["--seed", str(about["seed"])]
    words += [] if "from" not in about else ["--from", "ENCODER"]
    words += [f"--set {s}" for s in about.get("settings", ())]
    return " ".join(words)


def _sets(data: Mapping[str, Any]) -> str:
    sets = data.get("sets", [data])  # a model trained before several sets could be named says its one
    asked = (f", {one['videos_asked']} videos" if "videos_asked" in one else "" for one in sets)
    return ", ".join(f"{one['name']} (seed {one.get('seed')}{n})" for one, n in zip(sets, asked, strict=True))


def _encoders(about: Mapping[str, Any]) -> Iterator[str]:
    """What an encoder learnt from, the last training first."""
    while "stage0" in about:
        about = about["stage0"]
        stage = 1 if about.get("stage") == "tracking" else 0
        yield f"stage {stage}: {about['samples']} samples of {_sets(about['data'])}, {about['seconds'] / 60:.0f} min"


def write_card(folder: Path, config: TrackingConfig, about: Mapping[str, Any], parameters: int) -> None:
    """Write README.md into a model's folder."""
    data, held = about["data"], about["validation"]
    tower = config.tower
    rows = {
        "shape": f"Qwen2.5-VL blocks {tower.width} x {tower.depth}, register {config.register}, head {config.c}; "
        f"{parameters / 1e6:.2f} M parameters",
        "crops": f"search {config.search_px} px, template {config.template_px} px, {config.scale_mm:g} mm a pixel",
        "trained": f"{about['trained_parameters'] / 1e6:.2f} M parameters, {about['samples']} samples "
        f"({about['steps']} steps), seed {about['seed']}",
        "data": f"{_sets(data)}: {data['videos']} videos, {data['frames']} frames of the training split",
        "time": f"{about['seconds'] / 60:.0f} min on {about['machine']}, {about['device']}, "
        f"{about['threads']} threads, {about['processes']} process",
        "validation crops": f"tip error mean {held['mean_mm']:.2f} mm, median {held['median_mm']:.2f}, 90 % below "
        f"{held['p90_mm']:.2f}; where the tip is seen {held['seen_mean_mm']:.2f}",
        "made by": f"`{command_of(about, config.preset)}`",
    }
    if "stage0" in about:
        frozen = "frozen; " if about["stage"] == "tracking" else "to begin with; "
        rows["encoder"] = frozen + "; before that ".join(_encoders(about))
    table = "\n".join(f"| {k} | {v} |" for k, v in rows.items())
    quick = "\n**Trained for a few steps only, to see that it works: of no use.**\n" if about["quick"] else ""
    (folder / MODEL_CARD).write_text(
        f"# Needle tip network, preset {config.preset}, stage {about['stage']}\n\n{MODEL_NOTICE}\n{quick}\n"
        f"| what | |\n| --- | --- |\n{table}\n\n"
        "Learning curves: `curves.svg`. Trained on simulated ultrasound only; on your scanner its errors may be other "
        "than these. Validation crops were used to look at the training; no test video was.\n"
    )
