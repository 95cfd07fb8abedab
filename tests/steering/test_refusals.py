"""RefusedSighting sightings: those that agree open the filter again, those that do not never do."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.types import TipMeasurement
from sonosteer.steering.refusals import ENOUGH, MAX_WAY_MM, MIN_WAY_MM, RefusedSighting, agreed_line, with_refused
from sonosteer.steering.table import make_steerer

SD_MM = 0.1


def line(place, slope, depths, rng=None):
    noise = np.zeros((len(depths), 2)) if rng is None else rng.normal(0, SD_MM, (len(depths), 2))
    return tuple(
        RefusedSighting(
            depth_mm=d, y_mm=place[0] + slope[0] * d + e[0], z_mm=place[1] + slope[1] * d + e[1], sd_mm=SD_MM
        )
        for d, e in zip(depths, noise, strict=True)
    )


numbers = st.floats(-5, 5)


@given(
    place=st.tuples(numbers, numbers),
    slope=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    seed=st.integers(0, 99),
)
def test_sightings_on_a_line_agree_and_say_where_it_is(place, slope, seed):
    depths = np.linspace(40.0, 48.0, 12).tolist()
    agreed = agreed_line(line(place, slope, depths, np.random.default_rng(seed)))
    assert agreed is not None
    for i in range(2):
        assert abs(agreed.place_mm[i] - place[i] - slope[i] * 48.0) < 6 * agreed.place_sd_mm
        assert abs(agreed.slope_rad[i] - slope[i]) < 6 * agreed.slope_sd_rad


@given(seed=st.integers(0, 999))
def test_sightings_here_and_there_do_not_agree(seed):
    rng = np.random.default_rng(seed)
    depths = np.linspace(40.0, 48.0, 12)
    refused = tuple(
        RefusedSighting(depth_mm=d, y_mm=y, z_mm=z, sd_mm=SD_MM)
        for d, (y, z) in zip(depths, rng.normal(0, 2, (12, 2)), strict=True)
    )
    assert agreed_line(refused) is None


def test_too_few_or_over_too_short_a_way_do_not_agree():
    assert agreed_line(line((1, 1), (0, 0), np.linspace(0, 9, ENOUGH - 1).tolist())) is None
    assert agreed_line(line((1, 1), (0, 0), np.linspace(0, MIN_WAY_MM - 0.1, 30).tolist())) is None


def test_only_what_is_new_is_kept():
    kept = ()
    for d in np.arange(0.0, 30.0, 0.1):
        kept = with_refused(kept, RefusedSighting(depth_mm=float(d), y_mm=0.0, z_mm=0.0, sd_mm=SD_MM))
    assert kept[-1].depth_mm - kept[0].depth_mm <= MAX_WAY_MM
    assert np.diff([r.depth_mm for r in kept]).min() > 0.49


def insertion(seen_beside, *, poisoned, end_mm=90.0, seed=0):
    """Push a straight needle whose model is made wrong at 40 mm; (why of each step, states of the planner)."""
    rng = np.random.default_rng(seed)
    steerer = make_steerer("moves", depth_mm=120.0, tries=20)
    state, whys, inner, roll = steerer.start(0.0), [], [], 0.0
    for i in range(round(end_mm / 0.25)):
        depth = 0.25 * (i + 1)
        y, z = rng.normal(0, SD_MM, 2) + (seen_beside(depth, rng) if depth > 40.0 else 0.0)
        if poisoned and depth == 40.25:
            x = state.inner.x.copy()
            x[:4] += (3.0, 0.05, -2.0, 0.02)
            state = dataclasses.replace(state, inner=dataclasses.replace(state.inner, x=x))
        state, turn = steerer.step(state, TipMeasurement(0.05 * i, depth, roll, (float(y), float(z)), SD_MM))
        roll = turn.roll_rad
        whys.append((depth, turn.why))
        inner.append(state.inner)
    return whys, inner


def test_a_model_that_has_gone_wrong_starts_anew_where_the_sightings_agree():
    whys, inner = insertion(lambda depth, rng: 0.0, poisoned=True)
    assert inner[-1].restarts == 1
    assert inner[-1].restarted_mm == pytest.approx(48.0, abs=1.0)
    assert math.hypot(inner[-1].x[0], inner[-1].x[2]) < 1.0
    assert inner[-1].seen_mm == pytest.approx(90.0)
    said = [why for depth, why in whys if 42.0 < depth < 47.0]
    assert all(why.startswith("warning: for ") for why in said)
    assert any("started anew" in why for _, why in whys)


def test_no_turn_begins_while_the_model_is_in_doubt():
    _, inner = insertion(lambda depth, rng: 0.0, poisoned=True)
    doubted = [s for s in inner if s.refused and s.refused[-1].depth_mm - s.refused[0].depth_mm > 2.0]
    assert doubted
    assert len({s.done for s in doubted}) == 1


def test_misread_sightings_that_disagree_never_move_the_model():
    _, inner = insertion(lambda depth, rng: rng.normal(0, 4, 2), poisoned=False)
    assert inner[-1].restarts == 0


def pushed_by_paper_s(controller, beside, end_mm=100.0):
    """Push a straight needle that is misread between 12 and 40 mm. Returns (states, whys by depth)."""
    steerer = make_steerer(controller, depth_mm=120.0)
    rng = np.random.default_rng(3)
    state, out, whys, roll = steerer.start(0.0), [], [], 0.0
    for i in range(round(end_mm / 0.5)):
        depth = 0.5 * (i + 1)
        y, z = rng.normal(0, SD_MM, 2) + (np.array(beside) if 12.0 < depth < 40.0 else 0.0)
        state, turn = steerer.step(state, TipMeasurement(0.1 * i, depth, roll, (float(y), float(z)), SD_MM))
        roll = turn.roll_rad
        out.append(state.inner)
        whys.append((depth, turn.why))
    return out, whys


def test_a_least_squares_fit_that_misreads_have_led_astray_begins_anew():
    states, whys = pushed_by_paper_s("paper-s-fit", (6.0, -5.0))
    assert any("started anew" in why for _, why in whys)
    assert any(why.startswith("warning: for ") for _, why in whys)
    assert states[-1].restarted_mm is not None
    assert states[-1].contradicting == ()
    assert not whys[-1][1].startswith("warning")


def test_the_published_fit_is_not_changed_but_says_that_it_is_contradicted():
    states, whys = pushed_by_paper_s("paper-s", (6.0, -5.0))
    assert any(why.startswith("warning: for ") for _, why in whys)
    assert all(s.restarted_mm is None for s in states)


@pytest.mark.parametrize("controller", ["paper-s", "paper-s-fit"])
def test_right_measurements_are_never_said_to_contradict(controller):
    _, whys = pushed_by_paper_s(controller, (0.0, 0.0))
    assert not any(why.startswith("warning") for _, why in whys)
