"""The tracking study: eleven published methods on simulated insertions, ours beside the paper's figures.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`), Sections III and IV: Tables III to VI
and Figs. 4 to 6. The paper does not have: `auto`, OpenCV's general trackers on the same clips, harder scenes, scenes
without a needle.

Simulated insertions of the test split, on which no choice was made: 2 angles x 3 speeds x 3. As in the paper, the
planned angle +-5 degrees is given, the start is by hand, and the particle filters run 50 times. By hand means here the
tip in the first frame, with 10 to 12 mm of needle in the image.

Departs from the paper: the truth is exact. The paper has a physician's marks on every third frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json, to_dict
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.pages import writing
from sonosteer.studies.tracking.report import write_tracking_study
from sonosteer.studies.tracking.trials import run_tracking_trial, tracking_trials


def run_tracking_study(*, out: Path, quick: bool, seed: int, executor: str, progress: StageProgress) -> dict[str, Any]:
    """`sonosteer study tracking`: runs the trials that are missing, then writes tables, figures and the report."""
    todo = tracking_trials(quick=quick, seed=seed)
    journal = Journal(
        out / "trials.jsonl", {"study": "tracking", "quick": quick, "seed": seed, "trials": to_dict(todo)}
    )
    try:
        for done in run_missing(run_tracking_trial, todo, journal, executor):
            progress("trials", done, len(todo))
    finally:
        journal.close()
    results = [journal.done[t.name] for t in todo]
    with writing(progress):
        summary = write_tracking_study(results, out, quick=quick, seed=seed)
        save_json(summary | {"versions": versions(), "executor": executor}, out / "summary.json")
    return summary
