"""The card beside a policy's weights: what it is, how it came about, what it was measured at, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonosteer.learning.checkpoints.tracking import MODEL_CARD
from sonosteer.learning.checkpoints.tracking_card import MODEL_NOTICE
from sonosteer.learning.nets.policy_presets import PolicyConfig


def write_policy_card(folder: Path, config: PolicyConfig, about: Mapping[str, Any], parameters: int) -> None:
    """Write README.md into a policy's folder."""
    held, data, llm = about["validation"], about["data"], config.llm
    sets = ", ".join(map(_set, data["sets"]))
    how = "low-rank adapters on language model and aligner" if about["method"] == "lora" else "whole"
    rows = {
        "shape": f"Qwen2.5-VL's language model {llm.width} x {llm.layers} and aligner; {parameters / 1e6:.2f} M "
        "parameters",
        "answer": f"{config.decode}; instruction of {config.text_tokens} tokens, kept for an episode",
        "reads": f"features {config.features.shape} of tracker {about['tracker']['name']} "
        f"(weights {about['tracker']['fingerprint']})",
        "trained": f"{how}: {about['trained_parameters'] / 1e6:.2f} M parameters, {about['samples']} samples "
        f"({about['steps']} steps), seed {about['seed']}",
        "data": f"{sets}: {data['episodes']} episodes, {data['moments']} moments of the training split",
        "time": f"{about['seconds'] / 60:.1f} min on {about['machine']}, {about['device']}, {about['threads']} threads",
        "validation moments": f"mean error: insertion {held['insertion_mm_s']:.2f} mm/s, probe "
        f"{held['probe_mm_s']:.2f} mm/s, turn {held['turn_deg']:.2f} deg; {100 * held['stops_found']:.0f} % of the "
        f"expert's stops said, {100 * held['stops_early']:.2f} % said elsewhere",
    }
    if "from" in about:
        before = about["from"]
        rows["began from"] = (
            f"{before['name']}, {before['samples']} samples, {before['seconds'] / 60:.1f} min; on these validation "
            f"moments its error was {before['validation_here']['insertion_mm_s']:.2f} mm/s in insertion"
        )
    table = "\n".join(f"| {k} | {v} |" for k, v in rows.items())
    quick = "\n**Trained for a few steps only, to see that it works: of no use.**\n" if about["quick"] else ""
    (folder / MODEL_CARD).write_text(
        f"# Insertion policy, preset {config.preset}\n\n{MODEL_NOTICE} "
        "A policy proposes; the gate decides what moves.\n"
        f"{quick}\n| what | |\n| --- | --- |\n{table}\n\n"
        "Learning curves: `curves.svg`. It learnt from simulated demonstrations by models of operators. Errors on "
        "moments of demonstrations say little of what happens once its own actions lead elsewhere: see the insertion "
        "study.\n"
    )


def _set(about: Mapping[str, Any]) -> str:
    """Which demonstrations, by whom, in which scenes."""
    who = f", operators {' and '.join(about['operators'])}" if about.get("operators") else ""
    where = f", {about['scenes']} scenes" if about.get("scenes") else ""
    return f"{about.get('name')} (seed {about.get('seed')}{who}{where})"
