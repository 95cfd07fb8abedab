"""Laws of the beam in its cut track."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.needle import beam, torsion
from sonosteer.needle.flexible import FlexibleNeedle, NeedleGeometry
from sonosteer.needle.tissue import MATERIALS, Mechanics, draw_column, material

EVEN = Mechanics(layers=((0.0, 0.05, 0.4),), heterogeneity=0.0, lateral_n=0.0, tip_gain=50.0, torque=0.0)


def push(mechanics, to_mm=120.0, step_mm=0.25, roll=lambda depth: 0.0, seed=0, needle=None, from_mm=0.0, time_s=0.0):
    """(n, 3) path of the tip at 5 mm/s, and the needle."""
    needle = needle or FlexibleNeedle(NeedleGeometry(), mechanics, np.random.default_rng(seed))
    n = round(abs(to_mm - from_mm) / step_mm)
    path = []
    for depth in np.linspace(from_mm, to_mm, n + 1)[1:]:
        time_s += step_mm / 5
        path.append(needle.step(float(depth), roll(depth), time_s).tip_mm)
    return np.array(path), needle


def curvature_per_mm(path):
    """Of the parabola through the first, undisturbed path."""
    x, y, _ = path[path[:, 0] > 10].T
    return np.linalg.lstsq(np.stack([x**2 / 2, x, np.ones_like(x)], 1), y, rcond=None)[0][0]


def test_the_tip_does_not_depend_on_the_step():
    tips = [push(EVEN, step_mm=s)[0][-1, 1] for s in (0.5, 0.25, 0.1)]
    assert np.ptp(tips) < 0.05


def test_curvature_is_linear_in_the_bevels_force():
    even = [dataclasses.replace(EVEN, layers=((0.0, 0.05, f),)) for f in (0.1, 0.4, 1.6)]
    k = [curvature_per_mm(push(m)[0]) for m in even]
    assert k[1] / k[0] == pytest.approx(4.0, rel=1e-3)
    assert k[2] / k[1] == pytest.approx(4.0, rel=1e-3)


def test_plausible_parameters_span_the_papers_curvatures():
    """Carriere et al. 2019 search 1/10000 to 1/500 per mm. Stiffness .05 to .2 N/mm^2, force .1 to 2.2 N, c_t 50 do."""
    weak = curvature_per_mm(push(dataclasses.replace(EVEN, layers=((0.0, 0.05, 0.1),)))[0])
    strong = curvature_per_mm(push(dataclasses.replace(EVEN, layers=((0.0, 0.05, 2.2),)))[0])
    assert weak <= 1 / 10000
    assert strong >= 1 / 500


def test_a_half_turn_mirrors_the_path_and_a_quarter_turns_it():
    path, _ = push(EVEN, 60)
    half, _ = push(EVEN, 60, roll=lambda _: math.pi)
    quarter, _ = push(EVEN, 60, roll=lambda _: math.pi / 2)
    np.testing.assert_allclose(half[:, 1:], -path[:, 1:], atol=1e-9)
    np.testing.assert_allclose(quarter[:, 2], path[:, 1], atol=1e-9)
    np.testing.assert_allclose(quarter[:, 1], 0, atol=1e-9)


def test_without_a_bevel_the_needle_goes_straight():
    path, _ = push(dataclasses.replace(EVEN, layers=((0.0, 0.05, 0.0),)))
    np.testing.assert_allclose(path[:, 1:], 0, atol=1e-12)


def test_a_turn_acts_on_what_is_cut_later_not_on_what_is_cut():
    path, needle = push(EVEN, 60)
    turned, _ = push(EVEN, 90, roll=lambda depth: math.pi, needle=needle, from_mm=60.0, time_s=12.0)
    on, _ = push(EVEN, 90)
    assert turned[-1, 1] < on[-1, 1] - 0.5
    shape = needle.shape_mm(1.0)
    cut = np.interp(30.0, path[:, 0], path[:, 1])
    assert np.interp(30.0, shape[::-1, 0], shape[::-1, 1]) == pytest.approx(cut, abs=0.25)


def test_drawn_back_and_pushed_again_it_follows_its_track():
    path, needle = push(EVEN, 80)
    end = path[-1]
    push(EVEN, 50, needle=needle, from_mm=80.0, time_s=20.0)
    again, _ = push(EVEN, 80, needle=needle, from_mm=50.0, time_s=30.0)
    assert again[-1, 1] == pytest.approx(end[1], abs=0.15)
    back = np.interp(65.0, again[:, 0], again[:, 1])
    assert back == pytest.approx(np.interp(65.0, path[:, 0], path[:, 1]), abs=0.15)


def test_standing_still_changes_nothing():
    _, needle = push(EVEN, 50)
    before = needle.state
    for k in range(5):
        after = needle.step(50.0, 0.0, 10.0 + k)
    assert after.tip_mm[1] == pytest.approx(before.tip_mm[1], abs=0.02)


def test_breathing_moves_needle_and_tissue_together():
    breathing = dataclasses.replace(EVEN, breathing_mm=(0.0, 2.0), breathing_hz=0.25)
    _, needle = push(breathing, 60)
    at_rest, full = needle.step(60.0, 0.0, 16.0), needle.step(60.0, 0.0, 18.0)
    moved = full.tip_mm[2] - at_rest.tip_mm[2]
    assert moved == pytest.approx(2.0, rel=0.15)


def test_a_membrane_holds_the_tip_and_then_lets_it_run():
    skin = dataclasses.replace(EVEN, membranes=((20.0, 2.0),))
    path, needle = push(skin, 40, step_mm=0.25)
    steps = np.diff(path[:, 0])
    assert (steps == 0).sum() >= 6  # held
    assert steps.max() == pytest.approx(2.0, abs=0.3)  # runs ahead by what it was held back
    forces = []
    needle = FlexibleNeedle(NeedleGeometry(), skin, np.random.default_rng(0))
    for k, depth in enumerate(np.arange(15, 30, 0.25)):
        forces.append(needle.step(float(depth), 0.0, k * 0.05).axial_n)
    assert max(forces) > forces[0] + 1.5
    assert forces[-1] < max(forces) - 1.0


def test_friction_opposes_the_motion():
    _, needle = push(EVEN, 50)
    pushed = needle.step(50.5, 0.0, 11.0).axial_n
    pulled = needle.step(50.0, 0.0, 11.1).axial_n
    assert pulled < 0 < pushed


def test_relaxing_tissue_gives_way_to_the_shaft():
    slow = dataclasses.replace(EVEN, relaxation_s=5.0, layers=((0.0, 0.05, 1.5),))
    _, needle = push(slow, 60)
    before = needle.state.tip_mm[1]
    for k in range(40):
        needle.step(60.0, 0.0, 12.0 + k)
    assert needle.state.tip_mm[1] > before


def test_same_seed_same_path_another_seed_another():
    a, b, c = (push(MATERIALS["porcine"], 60, seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.02


@pytest.mark.parametrize("name", MATERIALS)
def test_every_material_can_be_inserted_into(name):
    path, needle = push(MATERIALS[name], 100, step_mm=0.5)
    assert np.isfinite(path).all()
    assert 0.05 < np.abs(path[-1, 1:]).max() < 25
    state = needle.state
    assert math.hypot(*state.direction) == pytest.approx(1.0)
    assert state.axial_n > 0
    assert state.guide_n >= 0


def test_the_bicycle_fitted_early_mispredicts_the_end():
    """A constant curvature fitted to the first 40 mm is wrong at 120 mm: the controller has something to correct."""
    errors = []
    for seed in range(12):
        path, _ = push(MATERIALS["bovine"], step_mm=0.5, seed=seed)
        x, y, _ = path.T
        early = x <= 40
        A = np.stack([x**2 / 2, x], 1)
        errors.append((A[-1] @ np.linalg.lstsq(A[early], y[early], rcond=None)[0]) - y[-1])
    assert 0.3 < np.std(errors) < 3.0


def test_the_banded_solver_equals_a_dense_one():
    rng = np.random.default_rng(0)
    n = 30
    K = np.zeros((n, n))
    for i in range(n):
        for j in range(i, min(i + 4, n)):
            K[i, j] = K[j, i] = rng.normal()
    K += np.eye(n) * 10
    A = np.array([[K[i, i + k] if i + k < n else 0.0 for k in range(4)] for i in range(n)])
    b = rng.normal(size=(n, 2))
    want = np.linalg.solve(K, b)
    beam.solve_banded(A, b)
    np.testing.assert_allclose(b, want, atol=1e-10)


def test_a_cantilever_bends_as_the_textbook_says():
    """No tissue: a tip force F on a free length L deflects it by F L^3 / 3 EI."""
    nodes, h, force, EI = 51, 2.0, np.array([0.3, -0.1]), 1.5e4
    A, b = np.zeros((2 * nodes, 4)), np.zeros((2 * nodes, 2))
    nothing, two = np.zeros((5, 2)), np.zeros(2)
    beam.assemble(EI, h, -5.0, 0.0, np.zeros(5), nothing, two, 0.0, 10.0, two, two, 0.0, force, A, b)
    beam.solve_banded(A, b)
    np.testing.assert_allclose(b[-2], force * 100.0**3 / 3 / EI, rtol=1e-4)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0, 2))
def test_the_tip_never_lags_by_more_than_the_play(rolls, half):
    tip = 0.0
    for base in rolls:
        tip = torsion.roll_with_play(tip, base, half)
        assert abs(base - tip) <= half + 1e-9


def test_small_movements_within_the_play_do_not_turn_the_tip():
    tip = torsion.roll_with_play(0.0, 1.0, 0.3)
    assert tip == pytest.approx(0.7)
    assert torsion.roll_with_play(tip, 0.5, 0.3) == tip


def test_friction_winds_the_needle_up():
    wound = dataclasses.replace(EVEN, torque=0.2)
    _, needle = push(wound, 100)
    state = needle.step(100.0, 1.0, 30.0)
    play = torsion.play_rad(0.2, 1.6e4, 100.0, 200.0)
    assert state.roll_rad == pytest.approx(1.0 - play)
    assert 0.05 < play < 1.0


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_drawn_tissue_is_positive(seed):
    column = draw_column(MATERIALS["bovine"], 200.0, np.random.default_rng(seed))
    assert (column.stiffness > 0).all()
    assert (column.bevel_n > 0).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mechanics(layers=((0.0, -0.05, 0.4),)), "-0.05 N/mm"),
        (lambda: Mechanics(layers=()), "no layer"),
        (lambda: Mechanics(heterogeneity=math.nan), "heterogeneity is nan"),
        (lambda: Mechanics(torque=-1.0), "torque is -1"),
        (lambda: Mechanics(membranes=((-3.0, 1.0),)), "membrane"),
        (lambda: NeedleGeometry(length_mm=0.0), "length_mm is 0"),
        (lambda: NeedleGeometry(bending_stiffness=-5.0), "bending_stiffness is -5"),
        (lambda: material("jelly"), "no material called 'jelly'"),
        (lambda: push(EVEN, 10)[1].step(math.nan, 0.0, 1.0), "nan mm"),
    ],
)
def test_nonsense_is_refused_with_one_line(make, said):
    with pytest.raises(InputError, match=said) as e:
        make()
    assert "\n" not in str(e.value)
