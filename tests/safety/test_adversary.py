"""Whatever is ordered, seen, read, delayed or lost: the true needle keeps the laws of adversary/laws.py.

An adversary tries scripts that somebody thought of, what once got through, and what hypothesis makes of their numbers
on the way to each bound. `scripts/attack-gate` does the same for as long as you like.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adversary import plan as plans
from adversary.laws import inside_mm, judge, path_of
from adversary.plan import KINDS, SCRIPTS, Plan, Trick, Wish, draw_insertion, draw_script, read, written
from adversary.search import search
from adversary.stage import LIMITS, Stage, play
from hypothesis import Phase, given, settings, target
from hypothesis import strategies as st
from scipy.stats import binom

FOUND = json.loads((Path(__file__).parent / "adversary" / "found.json").read_text())
QUIET = Plan(seed=2, goal="on", depth_mm=40.0, angle_rad=0.6, wish=Wish(20.0))


def broken(plan, trace=None):
    """The laws that a plan breaks."""
    return [f"{m.name}: {m.value:.4g} {m.unit} of {m.bound:.4g}" for m in judge(plan, trace or play(plan)) if m.broken]


@pytest.mark.parametrize("third", range(3))
def test_no_script_breaks_a_law(third):
    rng = np.random.default_rng(third)
    for k in range(third, len(SCRIPTS), 3):
        plan = replace(draw_script(rng, k), longest_s=1.6)
        assert not broken(plan), plan


@pytest.mark.parametrize("stored", FOUND, ids=[f["name"] for f in FOUND])
def test_what_once_got_through_does_not_any_more(stored):
    plan = read(stored["plan"])
    assert not broken(plan), plan


def test_a_search_finds_nothing():
    assert not search(3000, seed=11, shrink=False).holes


def trick(kind):
    """A trick of this kind, with every number free."""
    low, high, longest = plans.SIZES.get(kind, (-60.0, 60.0, 2.0))
    what = st.sampled_from(plans.WHATS.get(kind, plans.ENCODERS if kind.startswith("encoder ") else ("",)))
    at_s, lasts_s = st.floats(0.0, 1.2), st.floats(0.01, longest)
    return st.builds(Trick, st.just(kind), at_s, lasts_s, st.floats(low, high), what)


@st.composite
def any_plan(draw):
    """A script with other numbers, and up to two more tricks."""
    plan = draw_script(np.random.default_rng(draw(st.integers(0, 1000))), draw(st.integers(0, len(SCRIPTS) - 1)))
    more = draw(st.lists(st.sampled_from(KINDS).flatmap(trick), max_size=2))
    depth, gap = draw(st.floats(*plans.GOALS[plan.goal])), draw(st.floats(4.0, 15.0))
    region = None if plan.region is None else (gap, *plan.region[1:])
    return replace(plan, depth_mm=depth, region=region, tricks=(*plan.tricks, *more), longest_s=1.2)


@settings(max_examples=25, derandomize=True, database=None, phases=[Phase.generate, Phase.target, Phase.shrink])
@given(any_plan())
def test_no_plan_that_is_driven_towards_the_bounds_breaks_a_law(plan):
    trace = play(plan)
    for m in judge(plan, trace):
        target(float(np.clip(m.past, -1e3, 1e3)), label=m.name)
    assert not broken(plan, trace)


def test_regions_are_entered_no_more_often_than_the_clearance_says():
    """Estimates are off by one error in each insertion, drawn from their covariance. The clearance is 0.9."""
    rng, entered, near, runs = np.random.default_rng(4), 0, 0, 20
    for _ in range(runs):
        plan = replace(draw_insertion(rng), goal="ahead", longest_s=1.2)
        trace = play(plan)
        deepest = max(inside_mm(path_of(trace), trace))
        entered, near = entered + (deepest > 0.0), near + (deepest > -6.0)
    assert entered <= binom.ppf(0.9999, runs, 0.1)
    assert near > 0.3 * runs


# -- the adversary itself --------------------------------------------------------------------------------------------


class Careless(Stage):
    """The same run in front of a gate with hardly any limits."""

    def limits(self):
        return replace(
            LIMITS,
            depth_mm=(-500.0, 500.0),
            probe_mm=(500.0, 500.0, 500.0),
            acceleration_mm_s2=1e5,
            probe_mm_s2=1e5,
            estimate_age_s=100.0,
            action_age_s=100.0,
            action_life_s=100.0,
            silent_s=100.0,
            heartbeat_s=100.0,
            clearance=0.5,
        )


@pytest.mark.parametrize(
    ("law", "plan"),
    [
        ("too deep", replace(QUIET, depth_mm=170.0)),
        ("too far out", replace(QUIET, depth_mm=6.0, wish=Wish(-20.0))),
        ("probe travel", replace(QUIET, wish=Wish(probe_mm_s=(0.0, 0.0, 5.0)))),
        ("start of the needle", QUIET),
        ("start of the probe", replace(QUIET, wish=Wish(probe_mm_s=(20.0, 0.0, 0.0)))),
    ],
)
def test_the_laws_notice_a_gate_with_hardly_any_limits(law, plan):
    assert any(text.startswith(f"{law}:") for text in broken(plan, Careless(plan).run())), broken(plan)
    assert not broken(plan)


def moved(**columns):
    """The trace of a quiet run, as if the needle had gone otherwise from 1 s on."""
    trace = play(QUIET)
    names = ("time_s", "depth", "angle", "roll", "x", "y", "z")
    rows = np.array(trace.moves)
    later = rows[:, 0] > 1.0
    for name, way in columns.items():
        rows[:, names.index(name)] = np.where(later, way(rows, rows[:, 0] - 1.0), rows[:, names.index(name)])
    trace.moves = [tuple(row) for row in rows]
    return trace


@pytest.mark.parametrize(
    ("law", "columns"),
    [
        ("speed along", {"depth": lambda rows, t: rows[:, 1] + 20.0 * t}),
        ("speed sideways", {"angle": lambda rows, t: rows[:, 2] + 0.6 * t}),
        ("speed of the probe", {"z": lambda rows, t: 5.5 * t}),
        ("rate of roll", {"roll": lambda rows, t: 7.0 * t}),
        ("angle", {"angle": lambda rows, t: rows[:, 2] - 0.55}),
        ("moves on after its command", {"depth": lambda rows, t: rows[:, 1] + np.maximum(t - 1.2, 0.0)}),
        ("rolls on after its command", {"roll": lambda rows, t: np.maximum(t - 1.2, 0.0)}),
    ],
)
def test_the_laws_notice_a_needle_that_goes_its_own_way(law, columns):
    assert any(text.startswith(f"{law}:") for text in broken(QUIET, moved(**columns)))
    assert not broken(QUIET)


def test_the_laws_notice_a_region_that_is_crossed():
    plan = replace(QUIET, goal="ahead", region=(8.0, 1.0, 0, 3.0))
    trace = play(plan)
    assert not broken(plan, trace)
    rows = np.array(trace.moves)
    rows[-5:, 1] += 4.0
    trace.moves = [tuple(row) for row in rows]
    assert any(text.startswith("tip in a region:") for text in broken(plan, trace))


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("moves on old pictures", {"handed": [(0.1, 0.1, "tracking")]}),
        ("moves on old pictures", {"handed": [(0.1 * k, 0.1 * k, "junk") for k in range(20)]}),
        ("moves though the tip is lost", {"handed": [(0.5, 0.5, "tracking"), (0.9, 0.9, "lost")]}),
        ("moves on old readings", {"reads": [(0.1 * k, 0.1) for k in range(20)]}),
        ("moves on though it must stand", {"must_stand": [("stop", 0.8, 9.0)]}),
        ("stop unheard", {"presses": [0.8]}),
        ("forged", {"forged": ["copied"]}),
        ("raised", {"raised": ["ValueError"]}),
    ],
)
def test_the_laws_notice_a_needle_that_moves_on(law, changes):
    trace = play(QUIET)
    for name, value in changes.items():
        setattr(trace, name, value)
    assert any(text.startswith(f"{law}:") for text in broken(QUIET, trace))


def test_the_needle_moves_when_nothing_is_wrong():
    trace = play(QUIET)
    assert path_of(trace).depth_mm[-1] > 60.0
    assert trace.periods > 190


def test_the_truth_is_the_plant_s():
    for seed in (2, 3):  # from the left and from the right
        stage = Stage(replace(QUIET, seed=seed, wish=Wish(10.0, turn="creep")))
        stage.run()
        stage.world.plant.step(
            stage.world.rig.depth_mm, stage.world.rig.insertion_angle_rad, stage.world.rig.base_rad, stage.world.time_s
        )
        # the plant's needle starts in its scene's own place, and points as the rig says
        axis, _ = stage.world.plant.place()
        x, y = stage.world.to_px((axis[0, 0], axis[0, 1], axis[0, 2]), (0.0, 0.0, 0.0))
        tip = stage.tip_mm(stage.world.rig.depth_mm, stage.world.rig.insertion_angle_rad)
        assert (x * stage.spacing.x_mm, y * stage.spacing.y_mm) == pytest.approx(tip, abs=0.01)


def test_a_plan_is_played_the_same_way_twice_and_can_be_written_down():
    plan = draw_script(np.random.default_rng(1), 40)
    assert read(json.loads(json.dumps(written(plan)))) == plan
    assert play(plan).moves == play(plan).moves
