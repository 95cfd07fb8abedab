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

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonosteer.core.config import from_dict, save_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.studies.journal import Journal, read_results, run_missing
from sonosteer.studies.models_used import models_used
from sonosteer.studies.pages import writing
from sonosteer.studies.tracking.report import write_tracking_study
from sonosteer.studies.tracking.trials import TrackingTrial, run_tracking_trial, tracking_trials


@dataclass(frozen=True, slots=True)
class TrackingConfig:
    """How much of the study is run. The defaults are the whole of it."""

    particle_runs: int = 50
    """Number of runs of each particle filter, 1 or more. The paper has 50."""
    kinds: tuple[str, ...] = ()
    """Kinds of trials, paper among them. Empty for all: paper, readings, grabbed, the harder scenes, needle-free."""
    leave_out: tuple[str, ...] = ()
    """Methods that are not run, as csrt."""
    report_only: bool = False
    """True to write the report anew from the trials that lie in the folder, and to track nothing."""

    def __post_init__(self) -> None:
        if not self.particle_runs >= 1:
            raise InputError(f"particle_runs is {self.particle_runs}, but must be 1 or more")
        if self.kinds and "paper" not in self.kinds:
            raise InputError("kinds must name paper, too: all tables rest on it")

    def chosen(self, trials: list[TrackingTrial]) -> list[TrackingTrial]:
        """The trials to run. Raises InputError for a kind or a method that there is not."""
        kinds = list(dict.fromkeys(t.kind for t in trials))
        methods = {m for t in trials for m in t.methods}
        for what, named, known in (("kind", self.kinds, kinds), ("method", self.leave_out, sorted(methods))):
            for name in named:
                if name not in known:
                    raise InputError(f"study tracking has no {what} {name!r}; there are: {', '.join(known)}")
        return [
            replace(
                t,
                methods=tuple(m for m in t.methods if m not in self.leave_out),
                particle_runs=min(t.particle_runs, self.particle_runs),
            )
            for t in trials
            if not self.kinds or t.kind in self.kinds
        ]

    def told(self) -> str:
        """What differs from the whole study, in words. Empty for the whole."""
        parts = []
        if self.particle_runs != TrackingConfig().particle_runs:
            parts.append(f"{self.particle_runs} runs of each particle filter instead of 50.")
        if self.kinds:
            parts.append(f"Only the trials of kind {', '.join(self.kinds)}.")
        if self.leave_out:
            parts.append(f"Left out: {', '.join(self.leave_out)}.")
        return " ".join(parts)


def run_tracking_study(
    *,
    out: Path,
    quick: bool,
    seed: int,
    executor: str,
    progress: StageProgress,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`sonosteer study tracking`: runs the trials that are missing, then writes tables, figures and the report.

    settings: fields of `TrackingConfig`. Raises InputError for an unknown one.
    """
    config = from_dict(TrackingConfig, _listed(settings or {}), "study tracking")
    stored = out / "trials.jsonl"
    if config.report_only:
        question, done = read_results(stored)
        results, told, quick, seed = list(done.values()), question.get("told", ""), question["quick"], question["seed"]
        if question.get("study") != "tracking" or not any(r["kind"] == "paper" for r in results):
            raise InputError(f"{stored} has no trials of the tracking study's kind paper: run it without report_only")
    else:
        todo = config.chosen(tracking_trials(quick=quick, seed=seed))
        told = config.told()
        journal = Journal(stored, study_question(todo, quick=quick, seed=seed, told=told))
        try:
            for done_so_far in run_missing(run_tracking_trial, todo, journal, executor):
                progress("trials", done_so_far, len(todo))
        finally:
            journal.close()
        results = [journal.done[t.name] for t in todo]
    with writing(progress):
        summary = write_tracking_study(results, out, quick=quick, seed=seed, told=told)
        save_json(summary | {"versions": versions(), "executor": executor}, out / "summary.json")
    return summary


def study_question(todo: list[TrackingTrial], *, quick: bool, seed: int, told: str) -> dict[str, Any]:
    """First line of trials.jsonl: trials of another question are run anew."""
    question = {"study": "tracking", "quick": quick, "seed": seed, "told": told, "models": models_used({})}
    return json.loads(json.dumps({**question, "trials": to_dict(todo)}))  # type: ignore[no-any-return]


def _listed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a single name as a list of one, so that `--set kinds=paper` is enough."""
    return {
        k: [w.strip() for w in v.split(",")] if k in ("kinds", "leave_out") and isinstance(v, str) else v
        for k, v in settings.items()
    }
