"""Both plants in the steering study: tables by insertion, the ladder, and the halves of a controller's step."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from sonosteer.core.types import TipMeasurement
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.needle.nonholonomic import Nonholonomic
from sonosteer.steering.table import make_steerer
from sonosteer.studies.steering.carriere2019_tables import figure_7_table, maxima_table, planned
from sonosteer.studies.steering.ladder import LADDER, OwnModel, climb
from sonosteer.studies.steering.plants import knob_table, ladder_table, paired_table, plant_table, weak_table
from sonosteer.studies.steering.stage_times import with_stage_times

#: Section 6.2
PAPERS_FINAL_MM = 0.47


def insertion(plant="beam", tissue="bovine", controller="moves", seed=0, final=0.2, **more):
    row = {"plant": plant, "tissue": tissue, "recipe": "middle", "controller": controller, "seed": seed}
    return row | {"final_mm": final, "mean_mm": 0.1, "rotation_deg": 300.0, "warned": False} | more


# -- tables ----------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_a_tissue_and_one_for_all_and_counts_who_was_silent():
    rows = [insertion(seed=i, final=0.1 * i) for i in range(10)]
    rows += [insertion(tissue="plastisol", seed=i, final=2.0 + i, warned=i == 0) for i in range(3)]
    table = plant_table(rows)
    assert [r["tissue"] for r in table] == ["bovine", "plastisol", "all"]
    bovine, plastisol, together = table
    assert bovine["final mm, mean [95 %]"].startswith("0.45 [")
    assert (bovine["median"], bovine["largest"], bovine["insertions"]) == ("0.45", "0.90", 10)
    assert (plastisol["over 1.5 mm"], plastisol["of these, warned"]) == (3, 1)
    assert together["insertions"] == 13


def test_rows_from_a_table_of_words_count_alike():
    rows = [insertion(seed=i, final=1.0 + i) for i in range(4)]
    words = [{k: str(v) for k, v in r.items()} | {"warnings": ""} for r in rows]
    assert plant_table(rows) == plant_table(words)
    assert plant_table([words[3] | {"warnings": "at 90 mm"}])[0]["of these, warned"] == 1


def test_paired_tests_compare_the_same_insertions_alone_and_are_corrected():
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(20):
        hard = float(rng.uniform(0.0, 5.0))
        rows.append(insertion(controller="moves", seed=seed, final=0.1 + hard))
        rows.append(insertion(controller="paper-s", seed=seed, final=0.3 + hard + float(rng.normal(0, 0.05))))
        rows.append(insertion(controller="none", seed=100 + seed, final=9.0))
    (row,) = paired_table(rows)
    assert (row["controllers"], row["insertions"]) == ("moves - paper-s", 20)
    assert row["difference mm [95 %]"].startswith("-0.2")
    assert row["after Holm"] == "< 0.001"
    more = [r | {"controller": "open-loop", "final_mm": r["final_mm"] + float(rng.normal(0, 0.3))} for r in rows[::3]]
    corrected = {r["controllers"]: r for r in paired_table(rows + more)}
    mean = corrected["moves - open-loop"]
    assert float(mean["after Holm"]) >= float(mean["p, Wilcoxon"])


def test_ladder_weak_bevel_and_knobs_have_a_row_for_each():
    out = {"final_mm": 1.0, "mean_mm": 0.5, "rotation_deg": 200.0, "max_mm": 1.2}
    ladder = ladder_table([("1", "own", "none", out), ("1", "own", "moves", out), ("2", "fitted", "moves", out)])
    assert [r["rung"] for r in ladder] == ["1", "2"]
    assert "none mm" in ladder[0]
    assert "none mm" not in ladder[1]
    (weak,) = weak_table([("beam", 0.1, "none", out), ("beam", 0.1, "paper-s", out | {"final_mm": 0.5})])
    assert weak["what is left"] == "50 %"
    assert [r["plant"] for r in knob_table([("beam", "3", out), ("own model", "3", out)])] == ["beam", "own model"]


def test_the_papers_test_of_the_maximum_never_finds_more():
    table = maxima_table(50, 1)
    random = [r for r in table if r["what"].startswith("random")]
    assert len(random) == 5
    assert all(float(r["mean"]) > 0 and float(r["largest"]) >= float(r["95 %"]) for r in random)


def test_plans_before_the_insertion_reach_the_target_on_the_model():
    for search in ("genetic", "genetic, right", "gradient"):
        starts, rates = planned(1e-3, 0.02, (10.0, 1.0), search)
        end = Bicycle(1e-3, 0.02).path(Plan(tuple(starts), tuple(rates)), np.array([120.0]))[0, 1:3]
        assert math.hypot(*end) < 0.3


def test_figure_7_is_told_for_both_readings_of_its_noise():
    part = {"insertions": 4, "sums": np.tile([[2.0], [1.5], [1.0], [0.5]], 100).tolist()}
    rows = figure_7_table({"a standard deviation": [part, part], "a variance": []})
    assert len(rows) == 10
    assert rows[3]["insertions"] == 8
    assert rows[3]["score of Eq. (18), mm"] == "0.500 ± 0.354"
    assert rows[3]["paper"]


# -- the ladder ------------------------------------------------------------------------------------------------


def test_the_own_model_is_the_closed_form():
    plan = Plan((0.0, 40.0, 80.0), (0.0, 0.05, -0.03))
    own = OwnModel(1e-3, 0.05)
    for depth in np.arange(0.5, 120.01, 0.5):
        state = own.step(float(depth), plan.roll_rad(float(depth)), 0.0, (0.0, 0.0))
    np.testing.assert_allclose(state.tip_mm, Bicycle(1e-3, 0.05).path(plan, np.array([120.0]))[0, :3], atol=1e-9)


def test_each_rung_changes_one_thing_of_the_rung_before():
    for below, above in itertools.pairwise(LADDER.values()):
        names = [f.name for f in dataclasses.fields(below) if f.name != "what"]
        changed = [n for n in names if getattr(below, n) != getattr(above, n)]
        assert len(changed) == 1 or set(changed) == {"plant", "given"}


def test_the_published_controller_holds_its_half_millimetre_on_its_own_model_and_not_on_websters():
    """The cause of its miss: the model that it carries turns the slope with the bevel. No other needle here does."""
    ends = {}
    for rung in ("4", "5"):
        done = [climb(LADDER[rung], "paper-s", tissue="porcine", pull=0.7, seed=7100 + s) for s in range(2)]
        ends[rung] = [d["final_mm"] for d in done]
        assert all(d["rotation_deg"] <= 540.0 + 1e-6 for d in done)
    assert np.mean(ends["4"]) < PAPERS_FINAL_MM
    assert np.mean(ends["5"]) > 3 * PAPERS_FINAL_MM


def test_a_controller_with_websters_kinematics_holds_it_on_websters_needle():
    done = [
        climb(LADDER["5"], "moves", tissue="porcine", pull=0.7, seed=7100 + s, settings={"no_transient": True})
        for s in range(2)
    ]
    assert np.mean([d["final_mm"] for d in done]) < PAPERS_FINAL_MM


def test_a_climb_is_its_seed_and_the_rungs_share_their_needle():
    one = climb(LADDER["9"], "none", tissue="bovine", pull=0.7, seed=3)
    assert one == climb(LADDER["9"], "none", tissue="bovine", pull=0.7, seed=3)
    assert one != climb(LADDER["9"], "none", tissue="bovine", pull=0.7, seed=4)
    assert LADDER["9"].given == Nonholonomic()
    straight = climb(LADDER["5"], "none", tissue="bovine", pull=0.7, seed=3)
    own = climb(LADDER["4"], "none", tissue="bovine", pull=0.7, seed=3)
    assert straight["final_mm"] == pytest.approx(own["final_mm"], abs=0.01)  # without a turn both are one circle


# -- Table 3 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["paper-s", "moves"])
def test_a_timed_controller_decides_the_same_and_tells_its_two_halves_apart(name):
    plain = make_steerer(name, seed=2)
    timed, times = with_stage_times(plain)
    states = [plain.start(0.0), timed.start(0.0)]
    for i in range(60):
        seen = TipMeasurement(0.05 * i, 5.0 + i, 0.0, (0.002 * i, 0.001 * i))
        steps = [s.step(state, seen) for s, state in zip((plain, timed), states, strict=True)]
        states = [state for state, _ in steps]
        assert steps[0][1] == steps[1][1]
    assert len(times["fit"]) > 40
    assert len(times["plan"]) > 20
    assert min(*times["fit"], *times["plan"]) > 0.0


def test_a_controller_without_halves_stays_as_it_is():
    steerer = make_steerer("none")
    assert with_stage_times(steerer)[0] is steerer
