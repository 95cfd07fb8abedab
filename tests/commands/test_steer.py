"""`steer plan`, `steer run`, `bench steering`, `study steering`: what is typed, and what comes back."""

import csv
import json
import math
from dataclasses import replace

import pytest

from sonosteer.commands.main import main
from sonosteer.studies.steering import run as steering
from sonosteer.studies.steering.run import SteeringTrial, steering_trials


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as e:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return e.value.code, out.out, out.err


def test_a_run_gives_the_promised_numbers_and_files(capsys, tmp_path):
    code, stdout, stderr = run(
        capsys, "steer", "run", "--tissue", "plastisol", "--seed", 5, "--depth-mm", 40, "--out", tmp_path, "--json"
    )
    assert code == 0, stderr
    got = json.loads(stdout)
    wanted = {"final_deflection_mm", "mean_deflection_mm", "max_deflection_mm", "total_rotation_deg", "timing_ms"}
    assert wanted <= set(got)
    assert set(got["timing_ms"]) == {"image", "track", "steer"}
    assert got["recipe"] == "middle"
    assert 0 <= got["final_deflection_mm"] <= got["max_deflection_mm"] + 1e-9
    assert got["total_rotation_deg"] <= 540
    assert json.loads((tmp_path / "summary.json").read_text()) == got
    with (tmp_path / "insertion.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == got["frames"]
    assert math.hypot(float(rows[-1]["y_mm"]), float(rows[-1]["z_mm"])) == pytest.approx(
        got["final_deflection_mm"], abs=1e-4
    )
    assert (tmp_path / "insertion.svg").read_text().startswith('<svg xmlns="http')


def test_the_same_seed_gives_the_same_numbers(capsys):
    def numbers():
        _, stdout, _ = run(capsys, "steer", "run", "--seed", 2, "--depth-mm", 30, "--points", "--json")
        return {k: v for k, v in json.loads(stdout).items() if k.endswith(("_mm", "_deg"))}

    assert numbers() == numbers()


def test_the_words_for_a_person_say_what_it_is_not(capsys):
    code, stdout, _ = run(capsys, "steer", "run", "--seed", 2, "--depth-mm", 20, "--points", "--controller", "none")
    assert code == 0
    assert "target depth reached" in stdout
    assert "not a medical device" in stdout


def test_a_plan_round_an_obstacle_and_the_answer_that_there_is_none(capsys, tmp_path):
    code, stdout, _ = run(
        capsys, "steer", "plan", "--target", "2,-1", "--obstacle", "sphere:70,-1.5,1.5,1", "--out", tmp_path, "--json"
    )
    got = json.loads(stdout)
    assert code == 0
    assert got["safe"]
    assert got["clearance_mm"] > 0
    assert got["moves"]
    assert sum(abs(m["turn_deg"]) for m in got["moves"]) <= 540
    assert {p.name for p in tmp_path.iterdir()} == {"plan.json", "plan.svg"}
    code, stdout, _ = run(capsys, "steer", "plan", "--obstacle", "sphere:60,0,0,9")
    assert code == 0
    assert stdout.startswith("no safe path")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--tissue", "jelly"], "there is no tissue 'jelly'"),
        (["run", "--recipe", "hot"], "there is no recipe 'hot'"),
        (["run", "--controller", "mpc"], "there is no steering controller 'mpc'"),
        (["run", "--breathing-mm", "1"], "respiratory signal"),
        (["run", "--target", "1"], "--target 1: give y and z"),
        (["run", "--controller", "none", "--target", "1,1"], "keeps to the axis"),
        (["run", "--set", "wings=2"], "unexpected keyword argument 'wings'"),
        (["run", "--depth-mm", "300"], "--depth-mm 300"),
        (["plan", "--obstacle", "ball:1,2"], "obstacle 'ball:1,2'"),
        (["plan", "--budget-deg", "nan"], "--budget-deg"),
        (["plan", "--curvature", "1"], "--curvature 1"),
        (["plan", "--target", "90,0"], "farther than any bevel-tip needle bends"),
    ],
)
def test_nonsense_is_one_line(capsys, arguments, said):
    code, _, stderr = run(capsys, "steer", *arguments)
    assert code == 2
    assert said in stderr
    assert stderr.count("\n") == 1


def test_the_bench_has_its_references(capsys, monkeypatch):
    from sonosteer.benchmarks import steering as bench

    monkeypatch.setattr(bench, "fit_chunk", lambda seed: None)
    monkeypatch.setattr(bench, "NEEDLES", 50)
    code, stdout, stderr = run(capsys, "bench", "steering", "--json")
    assert code == 0, stderr
    ratios = {name for case in json.loads(stdout)["cases"] for name in case["ratio"]}
    assert ratios == {"discrete step", "solve ivp", "numpy", "genetic 300 generations", "opencv"}


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
