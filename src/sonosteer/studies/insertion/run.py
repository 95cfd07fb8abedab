"""The insertion study: success and time of robotic insertions by our policy, a simulated operator and ablations.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`), Section IV-C, Table II: 20 insertions with
the probe standing still (IPS) and 20 with it moving (IPM). Success is a stop within 5 mm of the target. All methods get
the same targets, from test scenes, whose tissue no network has seen.

The first forty scenes are as they come. In about one of four, bones and lost contact hide the tip for good. Such a
target tells no method from another. Therefore there is a larger run with an acoustic window, as the paper's phantoms
have it: the same test recipes, further seeds, no bones, full contact.

The clock is simulated, at the paper's rates, so that the result does not depend on the machine. `operator` is a
simulated person, not a person. Ablations need networks of their own. `sonosteer train tracking` and `train policy` put
them into the folder `models` of the study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.runtime.insertion import Pace
from sonosteer.studies.insertion.failures import choose_failures, write_failures
from sonosteer.studies.insertion.report import write_insertion_study
from sonosteer.studies.insertion.trials import (
    METHODS,
    MODES,
    OUR_METHOD,
    WITH_WINDOW,
    InsertionMethod,
    InsertionTrial,
    found_settings,
    run_insertion_trial,
)
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.pages import quick_facts, writing

PAPER_EACH = 20
#: targets of each mode with an acoustic window: of ours, and of those it is compared with, which get the first ones
OURS_EACH, OTHERS_EACH = 100, 60
WINDOW_SEEDS = 1_000  # further on than those as they come
QUICK_METHODS = (OUR_METHOD, "constant speed", "visibility rule")


def methods(models: Path, *, quick: bool) -> tuple[list[InsertionMethod], list[str]]:
    """(those that can be carried out, why others cannot)."""
    from sonosteer.inference.onnx_graphs import model_folder
    from sonosteer.inference.policy_network import policy_folder
    from sonosteer.policies.vla import VlaPolicy

    wanted = [m for m in METHODS if not quick or m.name in QUICK_METHODS]
    able, missing = [], []
    for m in wanted:
        try:
            if m.policy == "vla":
                policy_folder(found_settings(m.policy_settings, models, "policy").get("model", VlaPolicy().model))
            if "model" in m.tracker_settings:
                model_folder(found_settings(m.tracker_settings, models, "tracking")["model"])
        except InputError as e:
            missing.append(f"{m.name}: {e}".replace(str(models), models.name))
        else:
            able.append(m)
    return able, missing


def run_insertion_study(*, out: Path, quick: bool, seed: int, executor: str, progress: StageProgress) -> dict[str, Any]:
    """`sonosteer study insertion`: every method on the same targets, tables, figures. Goes on where it stopped."""
    models = out / "models"
    able, missing = methods(models, quick=quick)
    each, ours, others = (1, 0, 0) if quick else (PAPER_EACH, OURS_EACH, OTHERS_EACH)
    todo = insertion_trials(able, models, 10_000 * seed, each=each, ours=ours, others=others)
    question = {"study": "insertion", "seed": seed, "quick": quick}
    journal = Journal(out / "trials.jsonl", question)
    try:
        for done in run_missing(run_insertion_trial, todo, journal, executor):
            progress("insertions", done, len(todo))
    finally:
        journal.close()
    _show_failures(todo, journal.done, able, out / "failures.png", progress)
    about = {**question, "missing": missing, "versions": versions(), "pace": dataclasses.asdict(Pace())}
    with writing(progress):
        results = _by_condition(todo, journal.done)
        papers = {m.name: m.paper for m in able}
        tables = write_insertion_study(out, results, papers, {**about, "trials": len(todo)})
        summary: dict[str, Any] = {**about, "tables": tables, **quick_facts(len(todo), quick=quick)}
        save_json(summary, out / "summary.json")
    return summary


def _by_condition(
    todo: Sequence[InsertionTrial], done: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """condition -> method -> mode -> outcomes, in the order of the targets."""
    results: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for t in todo:
        modes = results.setdefault(t.condition, {}).setdefault(t.method.name, {mode: [] for mode in MODES})
        modes[t.mode].append(done[t.name])
    return results


def _show_failures(
    todo: Sequence[InsertionTrial],
    done: Mapping[str, Any],
    able: Sequence[InsertionMethod],
    path: Path,
    progress: StageProgress,
) -> None:
    """Draw failed insertions of our method, or of the first one that can be carried out."""
    method = OUR_METHOD if OUR_METHOD in {m.name for m in able} else able[0].name
    failed = choose_failures([(t.setup(), done[t.name]) for t in todo if t.method.name == method])
    if failed:
        progress("failures shown", 0, len(failed))
        write_failures(path, f"Failed insertions, {method}: the last seconds", failed)


def insertion_trials(
    able: Sequence[InsertionMethod], models: Path, first: int, *, each: int, ours: int, others: int
) -> list[InsertionTrial]:
    """What is to be carried out: all methods on a target, then the next one.

    first: seed of the first target. each: number of targets of each mode as they come. ours, others: number of targets
    of each mode with an acoustic window, for our method and for those it is compared with.
    """
    out = [InsertionTrial(m, mode, first + k, models) for k in range(each) for m in able for mode in MODES]
    many = [m for m in able if m.large]
    further = first + WINDOW_SEEDS
    return out + [
        InsertionTrial(m, mode, further + k, models, WITH_WINDOW)
        for k in range(max(ours, others))
        for m in many
        if k < (ours if m.name == OUR_METHOD else others)
        for mode in MODES
    ]
