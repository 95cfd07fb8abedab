"""The closed form against an independent solver, and the laws of the model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from sonosteer.core.errors import InputError
from sonosteer.needle.bicycle import (
    Bicycle,
    Plan,
    ends,
    gradient,
    largest_deflection,
    published_largest_deflection,
    stepwise,
)

curvature = st.floats(-0.004, 0.004)
theta = st.floats(-0.4, 0.8)
phi = st.floats(-4, 4)
rate = st.floats(-0.2, 0.2)
plans = st.lists(st.tuples(st.floats(3.0, 60.0), rate), min_size=1, max_size=5).map(
    lambda sections: Plan(
        tuple(np.concatenate([[0.0], np.cumsum([d for d, _ in sections])])[:-1].tolist()), tuple(w for _, w in sections)
    )
)


def solved(needle, plan, depth):
    """The state at `depth` by a high-order solver, section by section."""
    state = [0.0, 0.0, 0.0, needle.theta0_rad, needle.phi0_rad]
    edges = [*plan.starts_mm, math.inf]
    for a, b, w in zip(edges[:-1], edges[1:], plan.rates_rad_per_mm, strict=True):
        b = min(b, depth)
        if b <= a:
            break
        result = solve_ivp(
            lambda _, s, w=w: [
                math.cos(s[3]),
                math.sin(s[3]) * math.cos(s[4]),
                math.sin(s[3]) * math.sin(s[4]),
                needle.curvature_per_mm,
                w,
            ],
            (a, b),
            state,
            method="DOP853",
            rtol=1e-13,
            atol=1e-13,
        )
        state = result.y[:, -1].tolist()
    return np.array(state)


@settings(deadline=None, max_examples=40)
@given(curvature, theta, phi, plans)
def test_the_closed_form_is_the_solution_of_the_equations(k, t, p, plan):
    needle = Bicycle(k, t, p)
    assert needle.path(plan, np.array([120.0]))[0] == pytest.approx(solved(needle, plan, 120.0), abs=1e-9)


@pytest.mark.parametrize("k", [0.0, 1e-12, 1e-7, 0.001])
@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_it_is_exact_where_the_paper_s_formula_divides_by_nothing(k, sign):
    needle, plan = Bicycle(k, 0.05, 0.3), Plan((0.0, 40.0), (sign * k, 0.02))
    assert needle.path(plan, np.array([90.0]))[0] == pytest.approx(solved(needle, plan, 90.0), abs=1e-9)


@settings(deadline=None)
@given(curvature, theta, phi, rate, st.floats(1, 60), st.floats(1, 60))
def test_two_pushes_equal_one(k, t, p, w, a, b):
    plan = Plan((0.0,), (w,))
    whole = Bicycle(k, t, p).path(plan, np.array([a, a + b]))
    second = Bicycle(k, whole[0, 3], whole[0, 4]).path(plan, np.array([b]))[0]
    assert whole[0, :3] + second[:3] == pytest.approx(whole[1, :3], abs=1e-9)
    assert second[3:] == pytest.approx(whole[1, 3:], abs=1e-9)


@settings(deadline=None)
@given(curvature, theta, phi, plans)
def test_a_mirrored_needle_is_mirrored(k, t, p, plan):
    mirrored = Plan(plan.starts_mm, tuple(-w for w in plan.rates_rad_per_mm))
    a = Bicycle(k, t, p).path(plan, np.array([100.0]))[0]
    b = Bicycle(k, t, -p).path(mirrored, np.array([100.0]))[0]
    assert b[:3] == pytest.approx([a[0], a[1], -a[2]], abs=1e-9)


@settings(deadline=None)
@given(curvature, theta, phi, plans, st.floats(-3, 3))
def test_a_needle_rolled_as_a_whole_is_rolled(k, t, p, plan, roll):
    a = Bicycle(k, t, p).path(plan, np.array([80.0]))[0]
    b = Bicycle(k, t, p + roll).path(plan, np.array([80.0]))[0]
    turned = (a[1] + 1j * a[2]) * np.exp(1j * roll)
    assert (b[1], b[2]) == pytest.approx((turned.real, turned.imag), abs=1e-9)


def test_without_rotation_it_is_an_arc():
    out = Bicycle(0.002, 0.0, 0.0).path(Plan((0.0,), (0.0,)), np.array([0.0, 50.0, 100.0]))
    assert out[:, 1] == pytest.approx((1 - np.cos(0.002 * np.array([0, 50, 100]))) / 0.002, abs=1e-12)
    assert out[:, 2] == pytest.approx(0.0, abs=1e-15)


def test_fast_rotation_drills_straight():
    out = Bicycle(0.002).path(Plan((0.0,), (20.0,)), np.array([120.0]))[0]
    assert math.hypot(out[1], out[2]) < 0.02


def test_small_steps_come_to_the_closed_form():
    plan = Plan((0.0, 30.0, 70.0), (0.0, 0.05, -0.02))
    exact = Bicycle(0.0015, 0.05, 0.3).path(plan, np.array([120.0]))[0]
    errors = []
    for step in (0.5, 0.05):
        out = np.empty(5)
        taken = stepwise(0.0015, 0.05, 0.3, np.array(plan.starts_mm), np.array(plan.rates_rad_per_mm), 120.0, step, out)
        assert taken == pytest.approx(120 / step, abs=2)
        errors.append(np.abs(out[:3] - exact[:3]).max())
    assert errors[1] < 0.15 * errors[0]
    assert errors[0] < 0.5


def test_many_needles_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    n = 20
    k, t, p = rng.uniform(0, 0.002, n), rng.uniform(0, 0.2, n), rng.uniform(0, 6, n)
    starts = np.sort(rng.uniform(1, 110, (n, 4)), axis=1)
    starts[:, 0] = 0.0
    rates = rng.uniform(-0.1, 0.1, (n, 4))
    out = np.empty((n, 5))
    ends(k, t, p, starts, rates, 120.0, out)
    for j in range(n):
        alone = Bicycle(k[j], t[j], p[j]).path(Plan(tuple(starts[j]), tuple(rates[j])), np.array([120.0]))[0]
        assert out[j] == pytest.approx(alone, abs=1e-12)


def test_all_rotation_counts_whichever_way():
    plan = Plan((0.0, 30.0, 80.0), (0.0, 0.05, -0.02))
    assert plan.rotation_rad(120.0) == pytest.approx(50 * 0.05 + 40 * 0.02)
    assert plan.rotation_rad(20.0) == 0.0


@pytest.mark.parametrize(
    ("starts", "rates", "said"),
    [((0.0, 5.0), (1.0,), "as many rates"), ((), (), "at least one"), ((1.0,), (0.0,), "rise from 0"),
     ((0.0, 5.0, 5.0), (0.0, 0.0, 0.0), "rise from 0"), ((0.0,), (math.nan,), "must be numbers")],
)  # fmt: skip
def test_a_senseless_plan_is_refused(starts, rates, said):
    with pytest.raises(InputError, match=said):
        Plan(starts, rates)


@pytest.mark.parametrize("depths", [[-1.0], [5.0, 3.0], [math.nan]])
def test_senseless_depths_are_refused(depths):
    with pytest.raises(InputError, match="do not fall"):
        Bicycle(0.001).path(Plan((0.0,), (0.0,)), np.array(depths))


def kernel(needle, plan):
    """The arguments that the kernels take."""
    arrays = np.array(plan.starts_mm), np.array(plan.rates_rad_per_mm)
    return needle.curvature_per_mm, needle.theta0_rad, needle.phi0_rad, *arrays


def end_yz(k, t, p, starts, rates, depth=120.0):
    out = np.empty((1, 5))
    ends(np.array([k]), np.array([t]), np.array([p]), starts[None], rates[None], depth, out)
    return out[0, 1:3]


@settings(deadline=None, max_examples=60)
@given(curvature, theta, phi, plans)
def test_the_gradient_is_that_of_finite_differences(k, t, p, plan):
    arguments = kernel(Bicycle(k, t, p), plan)
    n = len(plan.starts_mm)
    out = np.empty((2, 3 + 2 * n))
    gradient(*arguments, 120.0, out)
    flat = np.concatenate([arguments[:3], arguments[4], arguments[3]])

    def at(v):
        return end_yz(v[0], v[1], v[2], v[3 + n :].copy(), v[3 : 3 + n].copy())

    for i in range(3 + 2 * n):
        if i == 3 + n or (i > 3 + n and abs(flat[i] - 120.0) < 0.01):
            continue  # the first event point is the entry; one at the very end has no derivative on both sides
        h = 1e-6 if i < 3 + n else 1e-4
        up, down = flat.copy(), flat.copy()
        up[i] += h
        down[i] -= h
        assert out[:, i] == pytest.approx((at(up) - at(down)) / (2 * h), abs=2e-4 * max(1.0, np.abs(out[:, i]).max()))


@settings(deadline=None, max_examples=60)
@given(curvature, theta, phi, plans)
def test_the_largest_deflection_is_that_of_a_fine_search(k, t, p, plan):
    needle = Bicycle(k, t, p)
    depths = np.linspace(0, 120.0, 24001)
    path = needle.path(plan, depths)
    deflection = np.hypot(path[:, 1], path[:, 2])
    largest, where = largest_deflection(*kernel(needle, plan), 120.0)
    assert largest == pytest.approx(deflection.max(), abs=1e-5 * max(1.0, deflection.max()))
    there = needle.path(plan, np.array([where]))[0]
    assert math.hypot(there[1], there[2]) == pytest.approx(largest, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(curvature, theta, phi, plans)
def test_the_paper_s_test_never_finds_more(k, t, p, plan):
    arguments = kernel(Bicycle(k, t, p), plan)
    assert published_largest_deflection(*arguments, 120.0)[0] <= largest_deflection(*arguments, 120.0)[0] + 1e-9


def test_the_paper_s_test_misses_a_maximum_that_does_not_lie_on_an_axis():
    half_turn = Bicycle(0.001, 0.0, 0.7), Plan((0.0, 50.0, 60.0), (0.0, math.pi / 10, 0.0))
    right, _ = largest_deflection(*kernel(*half_turn), 100.0)
    published, _ = published_largest_deflection(*kernel(*half_turn), 100.0)
    assert published < right - 0.01
