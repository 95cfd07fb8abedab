"""The steering study: thirty steered insertions in three tissues, ours beside the paper's figures.

Source: Carriere et al. 2019 (full reference in `steering/event_triggered.py`), Section 6.2: Tables 1 to 3, Figs. 2, 7
and 9. The paper does not have: its own controller, an open loop and no control on the same seeds, milder and harsher
tissue, rotation budgets, ablations, robustness, targets off the axis, obstacles.

Scenes of the test split, on which no choice was made. The needle is a beam in tissue. The controller's model is not.
From `images` means that the controller knows of the tip only what the tracker `axial` saw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json, to_dict
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.pages import writing
from sonosteer.studies.steering.report import write_steering_study
from sonosteer.studies.steering.trials import run_steering_trial, steering_trials


def run_steering_study(*, out: Path, quick: bool, seed: int, executor: str, progress: StageProgress) -> dict[str, Any]:
    """`sonosteer study steering`: runs the trials that are missing, then writes tables, figures and the report."""
    todo = steering_trials(quick=quick, seed=seed)
    journal = Journal(
        out / "trials.jsonl", {"study": "steering", "quick": quick, "seed": seed, "trials": [t.name for t in todo]}
    )
    try:
        for done in run_missing(run_steering_trial, todo, journal, executor):
            progress("trials", done, len(todo))
    finally:
        journal.close()
    with writing(progress):
        summary = write_steering_study(todo, [journal.done[t.name] for t in todo], out, quick=quick, seed=seed)
        save_json(to_dict(summary) | {"versions": versions(), "executor": executor}, out / "summary.json")
    return summary
