"""Paper V's insertion study, Table II: success and time of robotic insertions, ours, a simulated operator, ablations.

Source: Paper V, Section IV-C: 20 insertions with the probe standing still (IPS) and 20 with it moving (IPM); success is
a stop within 5 mm of the target. The same targets for every method, from test scenes, whose tissue no network has seen.
Forty as they come: bones and lost contact hide the tip for good in about one of four, and such a target
tells no method from another. Therefore a larger run with an acoustic window, as the paper's phantoms have it: the same
test recipes, further seeds, no bones, full contact. On a simulated clock with the paper's rates, so that the result
does not depend on the machine. `operator` is a simulated person, not a person.

Ablations need networks of their own: `sonosteer train tracking` and `train policy` put them where `MODELS` says.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.runtime.insertion import Pace
from sonosteer.studies.insertion.trials import (
    METHODS,
    MODES,
    OURS,
    WINDOW,
    Method,
    Trial,
    found_settings,
    run_trial,
)
from sonosteer.studies.journal import Journal, run_missing

PAPER_EACH = 20
#: targets of each mode with an acoustic window: of ours, and of those it is compared with, which get the first ones
OURS_EACH, OTHERS_EACH = 100, 60
WINDOW_SEEDS = 1_000  # further on than those as they come
QUICK = (OURS, "constant speed", "visibility rule")


def methods(models: Path, *, quick: bool) -> tuple[list[Method], list[str]]:
    """(those that can be carried out, why others cannot)."""
    from sonosteer.inference.graphs import model_folder
    from sonosteer.inference.policy_network import policy_folder
    from sonosteer.policies.vla import Vla

    wanted = [m for m in METHODS if not quick or m.name in QUICK]
    able, missing = [], []
    for m in wanted:
        try:
            if m.policy == "vla":
                policy_folder(found_settings(m.policy_settings, models, "policy").get("model", Vla().model))
            if "model" in m.tracker_settings:
                model_folder(found_settings(m.tracker_settings, models, "tracking")["model"])
        except InputError as e:
            missing.append(f"{m.name}: {e}".replace(str(models), models.name))
        else:
            able.append(m)
    return able, missing


def run(*, out: Path, quick: bool, seed: int, executor: str, progress: StageProgress) -> dict[str, Any]:
    """`sonosteer study insertion`: every method on the same targets, tables, figures; goes on where it stopped."""
    from sonosteer.studies.insertion import failures
    from sonosteer.studies.insertion.report import write

    models = out / "models"
    able, missing = methods(models, quick=quick)
    todo = trials(able, models, 10_000 * seed, *((1, 0, 0) if quick else (PAPER_EACH, OURS_EACH, OTHERS_EACH)))
    question = {"study": "insertion", "seed": seed, "quick": quick}
    journal = Journal(out / "trials.jsonl", question)
    try:
        for done in run_missing(run_trial, todo, journal, executor):
            progress("insertions", done, len(todo))
    finally:
        journal.close()
    results: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for t in todo:
        modes = results.setdefault(t.condition, {}).setdefault(t.method.name, {mode: [] for mode in MODES})
        modes[t.mode].append(journal.done[t.name])
    looked_at = OURS if OURS in {m.name for m in able} else able[0].name
    setups = [(t.setup(), journal.done[t.name]) for t in todo if t.method.name == looked_at]
    failed = failures.choose(setups)
    if failed:
        progress("failures shown", 0, len(failed))
        failures.write(out / "failures.png", f"Failed insertions, {looked_at}: the last seconds", failed)
    summary: dict[str, Any] = {**question, "missing": missing, "versions": versions()}
    summary["pace"] = dataclasses.asdict(Pace())
    summary["tables"] = write(out, results, {m.name: m.paper for m in able}, summary)
    save_json(summary, out / "summary.json")
    return summary


def trials(able: list[Method], models: Path, first: int, each: int, ours: int, others: int) -> list[Trial]:
    """What is to be carried out: all methods on a target, then the next one."""
    out = [Trial(m, mode, first + k, models) for k in range(each) for m in able for mode in MODES]
    many = [m for m in able if m.large]
    further = first + WINDOW_SEEDS
    return out + [
        Trial(m, mode, further + k, models, WINDOW)
        for k in range(max(ours, others))
        for m in many
        if k < (ours if m.name == OURS else others)
        for mode in MODES
    ]
