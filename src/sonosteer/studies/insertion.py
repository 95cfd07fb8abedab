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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json
from sonosteer.core.errors import InputError
from sonosteer.recording.summary import versions
from sonosteer.rehearsal import Setup, build, perform
from sonosteer.runtime.insertion import Pace
from sonosteer.studies.journal import Journal, run_missing

Progress = Callable[[str, int, int], None]
MODES = ("ips", "ipm")
PAPER_EACH = 20
#: targets of each mode with an acoustic window: of ours, and of those it is compared with, which get the first ones
OURS_EACH, OTHERS_EACH = 100, 60
#: names of the conditions, and what they change in a scene
AS_THEY_COME, WINDOW = "scenes as they come", "scenes with an acoustic window"
CONDITIONS: dict[str, dict[str, Any]] = {
    AS_THEY_COME: {},
    WINDOW: {"artefacts.occluders": 0, "artefacts.contact_loss": 0.0},
}
WINDOW_SEEDS = 1_000  # further on than those as they come
OURS = "vla"
QUICK = (OURS, "constant speed", "visibility rule")


@dataclass(frozen=True, slots=True)
class Method:
    """policy, tracker and their settings; asynchronous: or in turn; paper: row of Table II it stands for.

    large: also in scenes with an acoustic window, for comparisons.
    """

    name: str
    policy: str
    tracker: str = "vla"
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    asynchronous: bool = True
    paper: str = ""
    large: bool = False


METHODS = (
    Method(OURS, "vla", paper="ours", large=True),
    Method("simulated operator", "operator", paper="manual", large=True),
    Method(
        "weaker tracker", "vla", policy_settings={"model": "weak"}, tracker_settings={"model": "weak"}, paper="weaker"
    ),
    Method(
        "no register", "vla", policy_settings={"model": "bare"}, tracker_settings={"model": "bare"}, paper="no register"
    ),
    Method("synchronous", "vla", asynchronous=False, paper="no async", large=True),
    Method("constant speed", "constant", paper="constant", large=True),
    Method("visibility rule", "visibility"),
    Method("visibility rule, tracker auto", "visibility", tracker="auto"),
    Method("bevel steering", "steer"),
    Method("seek", "seek"),
    Method("expert", "expert"),
)
#: Table II: success in percent and mean time in s: IPS, IPM, mean (ablations: mean only)
PAPER: dict[str, tuple[tuple[float, float] | None, tuple[float, float] | None, tuple[float, float]]] = {
    "ours": ((70.0, 12.1), (90.0, 23.9), (80.0, 17.3)),
    "manual": ((65.0, 17.1), (55.0, 31.0), (60.0, 23.2)),
    "weaker": (None, None, (75.0, 16.1)),
    "no register": (None, None, (72.5, 24.5)),
    "no async": (None, None, (67.5, 15.0)),
    "constant": (None, None, (70.0, 8.7)),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One method on one target. models: folder of the ablations' networks."""

    method: Method
    mode: str
    seed: int
    models: Path
    condition: str = AS_THEY_COME

    @property
    def name(self) -> str:
        """Method, mode and seed, and the condition that is not as they come."""
        name = f"{self.method.name} | {self.mode} | {self.seed}"
        return name if self.condition == AS_THEY_COME else f"{name} | {self.condition}"

    def setup(self) -> Setup:
        """What is carried out."""
        m = self.method
        return Setup(
            m.policy,
            "ips" if self.mode == "ips" else "ipm",
            self.seed,
            "in-plane-convex/test",
            m.tracker,
            _found(m.policy_settings, self.models, "policy"),
            _found(m.tracker_settings, self.models, "tracking"),
            CONDITIONS[self.condition],
            pace=Pace(asynchronous=m.asynchronous),
        )


def _found(settings: Mapping[str, Any], models: Path, kind: str) -> dict[str, Any]:
    """Settings with the name of an ablation's network as its folder."""
    named = settings.get("model")
    return {**settings, "model": str(models / str(named) / kind)} if named else dict(settings)


def run_trial(trial: Trial) -> dict[str, Any]:
    """Carry it out; what came of it, and speed and visibility every tenth of a second."""
    done = perform(build(trial.setup()))
    error = done.outcome.final_error_mm
    rows = [[round(v, 3) if v == v else None for v in row[:7]] for row in done.run.rows[::10]]
    return {
        **done.summary(),
        "final_error_mm": error if error < 1e6 else None,
        "ended": done.run.ended,
        "judged": done.outcome.reason,
        "held": dict(done.held_because),
        "unseen": round(sum(not t.visible for t in done.truths) / max(len(done.truths), 1), 3),
        "rows": rows,
        "error_mm": [[round(t, 3), round(e, 2)] for t, e in done.errors_mm[::3].tolist()],
    }


def methods(models: Path, *, quick: bool) -> tuple[list[Method], list[str]]:
    """(those that can be carried out, why others cannot)."""
    from sonosteer.models.graphs import model_folder
    from sonosteer.policies.policy_network import policy_folder
    from sonosteer.policies.vla import Vla

    wanted = [m for m in METHODS if not quick or m.name in QUICK]
    able, missing = [], []
    for m in wanted:
        try:
            if m.policy == "vla":
                policy_folder(_found(m.policy_settings, models, "policy").get("model", Vla().model))
            if "model" in m.tracker_settings:
                model_folder(_found(m.tracker_settings, models, "tracking")["model"])
        except InputError as e:
            missing.append(f"{m.name}: {e}".replace(str(models), models.name))
        else:
            able.append(m)
    return able, missing


def run(*, out: Path, quick: bool, seed: int, executor: str, progress: Progress) -> dict[str, Any]:
    """`sonosteer study insertion`: every method on the same targets, tables, figures; goes on where it stopped."""
    from sonosteer.studies import insertion_failures
    from sonosteer.studies.insertion_report import write

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
    failed = insertion_failures.choose(setups)
    if failed:
        progress("failures shown", 0, len(failed))
        insertion_failures.write(out / "failures.png", f"Failed insertions, {looked_at}: the last seconds", failed)
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
