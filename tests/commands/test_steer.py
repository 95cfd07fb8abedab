"""`sonosteer steer plan|run`: what is typed, and what comes back."""

import csv
import json
import math

import pytest
from command_line import run

from altering import put_together, taken_apart


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
    assert "off the target at the end" in (tmp_path / "report.html").read_text()
    assert got["refused"] == {}
    assert 39.9 < got["depth_mm"] < 40.05
    assert_replayed_equal(capsys, tmp_path, got["digest"])


def assert_replayed_equal(capsys, folder, digest):
    """The recording in a folder is whole, and every decision is the same again."""
    code, stdout, stderr = run(capsys, "replay", folder, "--digest", digest, "--json")
    assert code == 0, stderr
    got = json.loads(stdout)
    assert (got["equal"], got["complete"], got["different"], got["skipped"]) == (True, True, 0, {})
    assert got["decisions"] == got["estimates"] + got["actions"] + got["verdicts"] > 100
    assert got["ended"] == "target depth reached"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--controller", "paper-s"), marks=pytest.mark.slow),
        ("--target", "1,-0.5", "--obstacle", "sphere:15,-1.5,1.5,1"),
        ("--breathing-mm", "1", "--breath-signal", "--bevel-force", "harsh", "--set", "points=2"),
        ("--plant", "nonholonomic", "--bevel-force", "mild"),
    ],
)
def test_what_steered_a_recorded_run_is_built_again_from_its_recording(capsys, tmp_path, words):
    if words[1] == "paper-s":  # keeps to the axis
        words = (*words, "--budget-deg", "360")
    code, stdout, stderr = run(
        capsys, "steer", "run", "--seed", 2, "--depth-mm", 25, "--points", *words, "--out", tmp_path, "--json"
    )
    assert code == 0, stderr
    assert_replayed_equal(capsys, tmp_path, json.loads(stdout)["digest"])


def test_a_recording_steered_by_another_controller_is_not_equal(capsys, tmp_path):
    words = ("steer", "run", "--seed", 2, "--depth-mm", 20, "--points", "--out", tmp_path, "--json")
    assert run(capsys, *words)[0] == 0
    messages = taken_apart(tmp_path / "recording.mcap")
    configuration = messages[0].said["configuration"]
    configuration["command"]["controller"] = "none"
    put_together(
        tmp_path / "recording.mcap", [messages[0].saying(configuration=configuration), *messages[1:]], chained=True
    )
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    assert code == 1
    assert "decisions differ from the recorded ones; the first: action on frame " in stderr
    assert json.loads(stdout)["equal"] is False


def test_a_live_run_takes_its_time_and_is_replayed_equal(capsys, tmp_path):
    words = ("--seed", 2, "--depth-mm", 5, "--points", "--controller", "none", "--live", "--out", tmp_path, "--json")
    code, stdout, _ = run(capsys, "steer", "run", *words)
    got = json.loads(stdout)
    assert {"track", "steer", "estimate", "decision", "command"} <= set(got["timing_ms"])
    replayed, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    again = json.loads(stdout)
    assert again["different"] == 0
    assert again["verdicts"] > 20
    if code == 0:  # a machine that is too busy for it is held by the gate, and may drop pictures
        assert got["ended"] == "target depth reached"
    if not again["skipped"]:
        assert (replayed, again["equal"]) == (0, True), stderr


def test_the_same_seed_gives_the_same_numbers(capsys):
    def numbers():
        _, stdout, _ = run(capsys, "steer", "run", "--seed", 2, "--depth-mm", 30, "--points", "--json")
        return {k: v for k, v in json.loads(stdout).items() if k.endswith(("_mm", "_deg"))}

    assert numbers() == numbers()


def test_the_plants_differ_and_the_numbers_say_which_it_was(capsys):
    ends = {}
    for plant in ("beam", "nonholonomic"):
        words = ("--seed", 2, "--depth-mm", 40, "--points", "--controller", "none", "--plant", plant, "--json")
        code, stdout, stderr = run(capsys, "steer", "run", *words)
        assert code == 0, stderr
        got = json.loads(stdout)
        assert got["plant"] == plant
        ends[plant] = got["final_deflection_mm"]
    assert abs(ends["beam"] - ends["nonholonomic"]) > 0.01


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
        (["run", "--bevel-force", "hot"], "--bevel-force: there is no recipe 'hot'"),
        (["run", "--bevel-force", "mild", "--recipe", "mild"], "--recipe is the old name of --bevel-force"),
        (["run", "--plant", "spring"], "--plant: there is no plant 'spring'; there are: beam, nonholonomic"),
        (["run", "--controller", "mpc"], "there is no steering controller called 'mpc'"),
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


def test_recipe_is_the_old_name_of_the_bevels_force(capsys):
    """It meant two things: how the bevel pulls, and how a network is trained."""
    words = ["steer", "run", "--seed", 2, "--depth-mm", 20, "--points", "--controller", "none", "--json"]
    new, old, neither = (
        json.loads(run(capsys, *words, *more)[1]) for more in (("--bevel-force", "harsh"), ("--recipe", "harsh"), ())
    )
    assert new["recipe"] == old["recipe"] == "harsh"
    assert neither["recipe"] == "middle"
    assert new["final_deflection_mm"] == old["final_deflection_mm"] > neither["final_deflection_mm"]
    said = run(capsys, "steer", "run", "--help")[1]
    assert "--bevel-force" in said
    assert "--recipe" not in said


def test_set_sets_the_controller(capsys):
    for command in ("plan", "run"):
        said = " ".join(run(capsys, "steer", command, "--help")[1].split())
        assert "Sets one setting of the steering controller" in said
