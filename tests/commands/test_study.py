"""`sonosteer study`: what is typed, what is written, what is said."""

import json
from dataclasses import replace

import pytest
from command_line import one_line, run

from sonosteer.studies.steering import run as steering
from sonosteer.studies.steering.trials import SteeringTrial, steering_trials


def test_the_study_writes_tables_and_figures_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    def keep(t):
        first = t.seed == 0 and t.tissue in ("", "porcine") and t.kind != "obstacles"
        some = {"robust": "breathing", "points": "/1/", "budget": "/180/"}.get(t.group, "")
        return first and t.group != "ablation" and some in t.name

    few = [replace(t, images=t.images and t.controller == "moves") for t in steering_trials(quick=True) if keep(t)]
    few += [SteeringTrial(f"paper/moves/middle/{t}/0", "insert", "paper", t) for t in ("bovine", "plastisol")]
    few += [t for t in steering_trials(quick=True) if t.group == "ablation" and "published" in t.name][:1]
    few += [t for t in steering_trials(quick=True) if t.kind == "obstacles"][:1]
    monkeypatch.setattr(steering, "steering_trials", lambda **_: few)
    done = []
    original = steering.run_steering_trial
    monkeypatch.setattr(steering, "run_steering_trial", lambda t: (done.append(t.name), original(t))[1])
    options = {"out": tmp_path, "quick": True, "seed": 0, "executor": "serial", "progress": lambda *a: None}
    summary = steering.run_steering_study(**options)
    assert len(done) == len(few)
    names = {p.name for p in tmp_path.iterdir()}
    assert {"fig-2.svg", "fig-7.svg", "fig-9.svg", "budget.svg", "report.html", "README.md", "summary.json"} <= names
    assert {"table-1.csv", "table-2.csv", "table-3.csv", "ablation.csv", "robustness.csv"} <= names
    rows = summary["tables"]["Controllers on the same scenes"]
    assert {r["controller"] for r in rows} == {"moves", "paper-s", "open-loop", "none", "the paper, its phantoms"}
    result = next(
        json.loads(line)["result"]
        for line in (tmp_path / "trials.jsonl").read_text().splitlines()[1:]
        if json.loads(line)["trial"] == "paper/none/middle/porcine/0"
    )
    mine = next(r for r in rows if r["controller"] == "none")
    assert mine["max"] == f"{result['final_mm']:.2f}"
    steering.run_steering_study(**options)
    assert len(done) == len(few)


def test_the_studys_seeds_and_split_are_its_own():
    full = steering_trials(quick=False)
    assert len({t.name for t in full}) == len(full)
    assert sum(t.group == "paper" and t.controller == "moves" and t.images for t in full) == 90
    assert sum(t.kind == "fit" for t in full) * 250 == 10_000
    assert sum(t.kind == "obstacles" for t in full) == 200


@pytest.mark.parametrize("quick", [False, True])
def test_a_quick_run_says_that_it_was_quick(capsys, tmp_path, monkeypatch, quick):
    def carry_out(*, out, quick, seed, executor, progress):
        progress("trials", 1, 1)
        return {"study": "tracking", "quick": quick, "seed": seed}

    monkeypatch.setattr("sonosteer.core.registry.LazyTable.load", lambda table, name: carry_out)
    words = ["study", "tracking", "--out", tmp_path / "o", *(["--quick"] if quick else [])]
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    assert ("A quick run: too few trials to conclude from." in stdout) is quick
    assert str(tmp_path / "o" / "report.html") in stdout
    code, stdout, stderr = run(capsys, *words, "--json")
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["quick"] is quick


def test_ctrl_c_says_that_the_study_goes_on(capsys, tmp_path, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sonosteer.core.registry.LazyTable.load", lambda table, name: interrupted)
    code, _, stderr = run(capsys, "study", "tracking", "--out", tmp_path / "o")
    assert code == 130
    assert one_line(stderr)
    assert f"the trials done so far are in {tmp_path / 'o'}: run it again to go on" in stderr
