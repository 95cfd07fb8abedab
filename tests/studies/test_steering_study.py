"""The steering study on hand-made trials: what its report says, and where it goes on."""

import json
import zlib

import numpy as np
import pytest
from quick_runs import assert_quick

from sonosteer.sim.steering_scenes import TISSUES
from sonosteer.steering.simulated_fits import DEPTHS
from sonosteer.studies.steering import report
from sonosteer.studies.steering import run as steering
from sonosteer.studies.steering.trials import run_steering_trial, steering_trials

pytestmark = pytest.mark.slow

REACHED = "target depth reached"


def outcome(trial):
    """What a trial might have given: figures drawn by its name."""
    rng = np.random.default_rng(zlib.crc32(trial.name.encode()))
    if trial.kind == "fit":
        return {"insertions": 4, "sums": np.tile([[2.0], [1.5], [1.0], [0.5]], DEPTHS).tolist()}
    if trial.kind == "coverage":
        return {"insertions": trial.insertions, "kappa": 0.9, "theta0": 0.88, "failed": 1}
    final = round(float(rng.uniform(0.1, 1.5)), 3)
    told = {"final_mm": final, "rotation_deg": 170.0, "depth_mm": 120.0, "ended": REACHED, "warned": False}
    if trial.kind == "obstacles":
        return told | {"clearance_mm": 0.4, "straight_clearance_mm": -0.2, "off_axis_mm": 3.0}
    told |= {"mean_mm": 0.5 * final, "max_mm": 2 * final}
    if trial.kind == "insert":
        told["unseen"] = 0.0
    if trial.group == "paper":
        told |= {"path": [[0.0, 0.0, 0.0], [60.0, 0.1, 0.0], [120.0, final, 0.1]], "roll": [[0.0, 0.0], [120.0, 1.0]]}
    if trial.images:
        ms = {"mean_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0}
        told |= {"sight_mm": [0.2, 0.5], "times_ms": {"track": ms, "steer": ms, "fit": ms, "plan": ms}}
    return told


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, summary, what was told on the way, number of trials) of a study whose trials are made by hand."""
    out, said = tmp_path_factory.mktemp("steering"), []
    options = {"out": out, "quick": True, "seed": 0, "executor": "serial"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering, "run_steering_trial", outcome)
        summary = steering.run_steering_study(**options, progress=lambda *each: said.append(each))
        patch.setattr(steering, "run_steering_trial", None)  # would break if it were called
        patch.setattr(report, "_cost", list)  # times that the first run has written
        again = steering.run_steering_study(**options, progress=lambda *_: None)
    assert again["tables"]["Controllers on the same scenes"] == summary["tables"]["Controllers on the same scenes"]
    return out, summary, said, len(steering_trials(quick=True))


def test_every_table_and_figure_is_written(written):
    out, summary, said, n = written
    names = {p.name for p in out.iterdir()}
    assert {"fig-2.svg", "fig-7.svg", "fig-9.svg", "budget.svg", "report.html", "README.md", "summary.json"} <= names
    assert {"both-plants.csv", "paired-tests.csv", "ladder.csv", "two-maxima.csv"} <= names
    assert {"fig-9-paper-s.svg", "fig-2-genetic.svg", "figure-2-as-numbers.csv", "figure-7-as-numbers.csv"} <= names
    assert {"table-1.csv", "table-2.csv", "table-3.csv", "ablation.csv", "robustness.csv", "event-points.csv"} <= names
    assert ("trials", n, n) in said
    assert said[-2:] == [("writing the report", 0, 1), ("writing the report", 1, 1)]
    assert json.loads((out / "summary.json").read_text())["tables"].keys() == summary["tables"].keys()


def test_a_quick_run_says_everywhere_that_it_is_one(written):
    assert_quick(written[0], written[3])


def test_the_tables_are_the_means_of_the_trials(written):
    tables = written[1]["tables"]
    trials = [t for t in steering_trials(quick=True) if t.group == "paper" and t.controller == "none"]
    final = [outcome(t)["final_mm"] for t in trials]
    rows = tables["Controllers on the same scenes"]
    assert {r["controller"] for r in rows} == {"moves", "paper-s", "open-loop", "none", "the paper, its phantoms"}
    row = next(r for r in rows if r["controller"] == "none")
    assert (row["trials"], row["reached"]) == (len(TISSUES), len(TISSUES))
    assert row["final mm"] == f"{np.mean(final):.2f} ± {np.std(final):.2f}"
    assert row["max"] == f"{max(final):.2f}"
    (solved,) = tables["Off-axis targets among obstacles"]
    among = [outcome(t)["final_mm"] <= 1.0 for t in steering_trials(quick=True) if t.kind == "obstacles"]
    assert solved["solved (no contact and within 1 mm)"] == sum(among)
    assert solved["straight way blocked"] == solved["scenes"] == len(among)
    (held,) = tables["Posterior of the fit: share of 90 % intervals that hold the truth"]
    assert (held["insertions"], held["kappa"], held["no fit"]) == (100, "90.0 %", 1)


def test_the_page_stands_alone_and_names_the_papers_numbers(written):
    page = (written[0] / "report.html").read_text()
    assert "0.40 ± 0.24" in page  # porcine in Table 1
    assert "not a medical device" in page
    assert 'src="http' not in page
    assert page.count("<svg") == 6


def test_trials_of_every_kind_give_what_the_report_reads():
    """Real ones, one of each kind. The trials above are made by hand."""
    every = steering_trials(quick=True)
    runs = [t for t in reversed(every) if t.kind in ("insert", "obstacles", "climb")]
    kinds = {(t.kind, t.group == "paper", t.images): t for t in runs}
    assert len(kinds) == 6
    special = [next(t for t in every if word in t.name) for word in ("tracker as published", "breathing")]
    for trial in (*kinds.values(), *special):
        got, made = run_steering_trial(trial), outcome(trial)
        assert set(made) <= set(got), trial.name
        assert got["rotation_deg"] <= trial.budget_deg + 1e-6
        assert got["final_mm"] >= 0


def test_the_studys_seeds_and_split_are_its_own():
    full = steering_trials(quick=False)
    assert len({t.name for t in full}) == len(full)
    assert sum(t.group == "paper" and t.controller == "moves" and t.images for t in full) == 90
    assert sum(t.group == "fit" for t in full) * 250 == 10_000
    assert sum(t.group == "second plant" and t.controller == "paper-s" and t.images for t in full) == 90
    assert sum(t.kind == "obstacles" for t in full) == 200
