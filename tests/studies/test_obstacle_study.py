"""The obstacle study: its scenes are what they say, its tables count what happened."""

import dataclasses
import json
import math

import numpy as np
import pytest
from quick_runs import assert_quick

from sonosteer.core.errors import InputError
from sonosteer.steering.obstacles import Cuboid, Sphere
from sonosteer.studies.obstacles import run as study
from sonosteer.studies.obstacles.report import by_controller, outcome_rows, paired_rows
from sonosteer.studies.obstacles.run import ObstacleStudyConfig, obstacle_trials
from sonosteer.studies.obstacles.scenes import (
    MIN_BLOCK_MM,
    MIN_MARGIN_MM,
    SHAFT_MM,
    clearance_mm,
    draw_obstacle_scene,
    obstacle_scene,
    straight_ways,
)
from sonosteer.studies.obstacles.trials import IGNORES, OURS, PEER, came_of_it, steer_scene

REACHED = "target depth reached"


def sampled_distance(part, way):
    """Distance of a way from an obstacle, by the definition of each shape."""
    if isinstance(part, Sphere):
        return min(math.dist(p, part.centre_mm) for p in way) - part.radius_mm
    near = np.clip(way, part.low_mm, part.high_mm)
    return float(np.linalg.norm(way - near, axis=1).min())


def test_of_200_scenes_more_than_150_are_blocked():
    kinds = ["blocked" if n // 6 % 10 < 8 else "other" for n in range(200)]
    assert kinds.count("blocked") == 164


def test_a_blocked_scene_blocks_both_straight_ways_and_leaves_the_known_one_free():
    scene = obstacle_scene(2, "validation")
    assert scene.kind == "blocked"
    for way in straight_ways(scene.target_mm):
        assert min(sampled_distance(p, way) for p in scene.parts) < SHAFT_MM - MIN_BLOCK_MM + 1e-9
    assert min(sampled_distance(p, scene.way) for p in scene.parts) > SHAFT_MM + MIN_MARGIN_MM - 1e-9
    assert scene.way[-1, 1:] == pytest.approx(scene.target_mm)
    assert scene.way[-1, 0] == pytest.approx(120.0, abs=0.2)


@pytest.mark.slow
def test_the_same_number_gives_the_same_scene_and_the_splits_differ():
    one, again = (draw_obstacle_scene("porcine", 1.5, 9, "validation", "free") for _ in range(2))
    other = draw_obstacle_scene("porcine", 1.5, 9, "test", "free")
    assert one.parts == again.parts
    assert one.target_mm == again.target_mm
    assert one.target_mm != other.target_mm
    assert one.block_mm < -MIN_MARGIN_MM + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_closed_scene_lets_no_way_through(seed):
    """Straight ways to every place about the axis touch something, or the target itself is inside an obstacle."""
    scene = draw_obstacle_scene("porcine", 1.0, seed, "validation", "closed")
    ends = np.linspace(-12.0, 12.0, 25)
    if isinstance(scene.parts[0], Cuboid):
        ways = [straight_ways((y, z))[0] for y in ends for z in ends]
        assert max(clearance_mm(scene.parts, w) for w in ways) < 0.0
    else:
        assert scene.parts[0].distance(np.array([120.0, *scene.target_mm])) < -1.0


@pytest.mark.parametrize(
    ("ended", "clearance", "final", "word"),
    [
        (REACHED, 0.3, 0.4, "solved"),
        (REACHED, 0.3, 1.4, "missed"),
        (REACHED, -0.1, 0.4, "contact"),
        ("stop: no safe path", 2.0, 9.0, "stopped"),
        ("stop: no safe path", -0.2, 9.0, "contact"),
        ("stop: the tip is lost", 2.0, 9.0, "lost"),
        (REACHED, math.nan, math.nan, "missed"),
    ],
)
def test_one_word_for_how_it_ended(ended, clearance, final, word):
    assert came_of_it(ended, clearance, final) == word


def made(trial):
    """What a trial might have given: ours solves all but each fifth, the other touches all but each third."""
    n, kind = trial.number, ("blocked", "free", "closed")[max(trial.number // 6 % 10 - 7, 0)]
    words = {
        OURS: "contact" if n % 5 == 0 else "solved",
        IGNORES: "solved" if n % 3 == 0 else "contact",
        PEER: "stopped",
    }
    path = [[0.0, 0.0, 0.0], [60.0, 0.2, 0.0], [120.0, 1.0, 0.5]]
    return {
        "number": n,
        "kind": kind,
        "tissue": "porcine",
        "bevel_gain": 1.0,
        "target_mm": [1.0, 0.5],
        "margin_mm": 0.8,
        "block_mm": 0.4,
        "parts": [
            dataclasses.asdict(Sphere((60.0, 4.0, 0.0), 2.0)),
            dataclasses.asdict(Cuboid((70, 3, 3), (75, 6, 6))),
        ],
        "outcomes": {
            name: {
                "came_of_it": words[name],
                "final_mm": 0.2,
                "depth_mm": 120.0,
                "clearance_mm": 0.1,
                "shaft_clearance_mm": 0.1,
                "rotation_deg": 100.0,
                "warnings": ["at 90 mm: the target will be missed by 1.2 mm"] if n % 2 else [],
                "time_s": 30.0,
                "steer_ms": {"mean_ms": 2.0},
                "path": path,
            }
            for name in trial.controllers
        },
    }


def test_the_tables_count_what_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "run_obstacle_trial", made)
    options = {"out": tmp_path, "quick": False, "seed": 0, "executor": "serial", "progress": lambda *_: None}
    summary = study.run_obstacle_study(**options, settings={"split": "validation", "scenes": 48})
    rows = {(r["controller"], r["scenes"][:8]): r for r in summary["tables"]["Outcomes"]}
    ours = rows[OURS, "straight"]
    assert (ours["n"], ours["solved"], ours["contact"]) == (48, 38, 10)
    assert ours["of these warned of"] == 5
    assert rows[IGNORES, "straight"]["contact"] == 32
    pairs = next(r for r in summary["tables"]["Paired tests"] if r["what"] == "contact")
    assert (pairs["only ours"], pairs["only the other"]) == (4, 26)
    assert pairs["p, exact McNemar"] == f"{2 * sum(math.comb(30, k) for k in range(5)) / 2**30:.2g}"
    assert {"report.html", "README.md", "summary.json", "scenes.svg", "outcomes.csv"} <= {
        p.name for p in tmp_path.iterdir()
    }
    before = (tmp_path / "trials.jsonl").read_text().splitlines()
    study.run_obstacle_study(**options, settings={"split": "validation", "scenes": 60, "peer_every": 4})
    after = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == len(before) + 12 + 15


def test_a_quick_run_says_everywhere_that_it_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "run_obstacle_trial", made)
    study.run_obstacle_study(out=tmp_path, quick=True, seed=0, executor="serial", progress=lambda *_: None)
    assert_quick(tmp_path, 2)
    assert json.loads((tmp_path / "summary.json").read_text())["split"] == "validation"


@pytest.mark.parametrize("settings", [{"scenes": 0}, {"split": "mine"}, {"peer_every": -1}, {"peers": 3}])
def test_settings_that_make_no_sense_are_refused(tmp_path, settings):
    with pytest.raises(InputError):
        study.run_obstacle_study(
            out=tmp_path, quick=False, seed=0, executor="serial", progress=lambda *_: None, settings=settings
        )


def test_the_peer_steers_some_scenes_only_when_asked():
    assert len(obstacle_trials(ObstacleStudyConfig(scenes=8))) == 8
    peers = [t for t in obstacle_trials(ObstacleStudyConfig(scenes=8, peer_every=4)) if t.controllers == (PEER,)]
    assert [t.number for t in peers] == [0, 4]


def test_outcomes_and_pairs_of_nothing_are_nothing():
    assert outcome_rows([]) == []
    assert paired_rows([]) == []
    assert by_controller([]) == {}


@pytest.mark.slow
def test_ours_goes_round_what_the_controller_that_is_not_told_runs_into():
    scene = obstacle_scene(7, "validation")
    ours, other = steer_scene(scene, OURS), steer_scene(scene, IGNORES)
    assert ours["came_of_it"] == "solved"
    assert ours["final_mm"] < 0.8
    assert other["came_of_it"] == "contact"
    assert other["clearance_mm"] < -0.8


@pytest.mark.slow
def test_where_there_is_no_way_the_needle_stops_before_the_wall():
    scene = obstacle_scene(54, "validation")
    out = steer_scene(scene, OURS)
    assert out["came_of_it"] == "stopped"
    assert out["clearance_mm"] > 0.0


@pytest.mark.slow
def test_the_peer_finds_a_way_and_the_same_one_again():
    pytest.importorskip("ompl", reason="the peer needs OMPL (extra peers)")
    from sonosteer.steering.obstacles import combine_obstacles
    from sonosteer.studies.obstacles.peer import RandomTreePlanner

    scene = obstacle_scene(4, "validation")
    planner = RandomTreePlanner(target_mm=scene.target_mm, obstacles=combine_obstacles(scene.parts), checked=60_000)
    one, again = planner.plan_ahead(), planner.plan_ahead()
    assert one.lack_mm < 0.35
    assert one.miss_mm < 1.0
    assert one.depths.tolist() == again.depths.tolist()
    assert one.turns.tolist() == again.turns.tolist()
