"""Laws of the nonholonomic needle: its kinematics against closed forms, its chance, its torsion."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sonosteer.core.errors import InputError
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.needle.flexible import NeedleGeometry
from sonosteer.needle.nonholonomic import (
    PARAMETER_RANGES,
    Nonholonomic,
    NonholonomicNeedle,
    draw_nonholonomic,
    turned,
)
from sonosteer.needle.tissue import material

CERTAIN = Nonholonomic(
    curvature_per_mm=1e-3,
    tip_ahead_mm=0.0,
    unevenness=0.0,
    correlation_mm=20.0,
    turn_noise=0.0,
    roll_noise=0.0,
    torque=0.0,
    viscous_torque=0.0,
)


def needle(given=CERTAIN, *, tissue="porcine", seed=0, gain=1.0):
    return NonholonomicNeedle(
        NeedleGeometry(), material(tissue), np.random.default_rng(seed), tissue=tissue, bevel_gain=gain, given=given
    )


def push(one, to_mm=120.0, step_mm=0.25, roll=lambda depth: 0.0, slope=(0.0, 0.0), from_mm=0.0):
    """(n, 3) path of the tip at 5 mm/s."""
    n = round(abs(to_mm - from_mm) / step_mm)
    start = one._time_s
    depths = np.linspace(from_mm, to_mm, n + 1)[1:]
    return np.array(
        [one.step(float(d), roll(d), start + step_mm / 5 * (i + 1), slope).tip_mm for i, d in enumerate(depths)]
    )


def test_without_chance_and_turns_the_path_is_a_circle():
    path = push(needle())
    angle = np.linspace(0.25, 120.0, 480) * 1e-3
    np.testing.assert_allclose(path[:, 0], np.sin(angle) / 1e-3, atol=1e-4)
    np.testing.assert_allclose(path[:, 1], (1 - np.cos(angle)) / 1e-3, atol=1e-4)
    np.testing.assert_allclose(path[:, 2], 0.0, atol=1e-9)


@pytest.mark.parametrize("lead_mm", [0.0, 20.0])
def test_a_rolling_needle_is_the_solution_of_its_differential_equation(lead_mm):
    given = dataclasses.replace(CERTAIN, curvature_per_mm=2e-3, tip_ahead_mm=lead_mm)

    def change(depth, q):
        R, phi = q[3:].reshape(3, 3), 0.05 * depth
        w = np.array([0.0, -2e-3 * math.sin(phi), 2e-3 * math.cos(phi)])
        return np.concatenate([R[:, 0], np.cross(R, w[None]).ravel()])

    start = np.concatenate([[-lead_mm, 0.0, 0.0], np.eye(3).ravel()])
    end = solve_ivp(change, (0.0, 120.0), start, rtol=1e-10, atol=1e-10).y[:, -1]
    tip = end[:3] + lead_mm * end[3:].reshape(3, 3)[:, 0]
    np.testing.assert_allclose(push(needle(given), roll=lambda d: 0.05 * d)[-1], tip, atol=4e-3)


def test_the_reduced_model_turns_the_slope_with_the_bevel_and_this_needle_does_not():
    """After a half turn at 60 mm the needle of Carriere et al. 2019, Eq. (1), heads back to the axis at once."""
    at = np.array([59.0, 60.0, 61.0, 62.0])
    reduced = Bicycle(1e-3, 0.0).path(Plan((0.0, 60.0, 60.0 + 1e-6), (0.0, math.pi * 1e6, 0.0)), at)[:, 1]
    one = push(needle(), 62.0, step_mm=0.05, roll=lambda d: math.pi * (d > 60.0))
    webster = one[[round(d / 0.05) - 1 for d in at], 1]
    slope = math.sin(0.06)
    assert np.diff(reduced) == pytest.approx([slope, -slope, -slope], rel=0.03)
    assert np.diff(webster) == pytest.approx([slope, slope, slope], rel=0.03)


def test_the_tip_does_not_depend_on_the_step():
    given = Nonholonomic(torque=0.0, viscous_torque=0.0)
    ends = [push(needle(given), step_mm=s, roll=lambda d: 0.03 * d)[-1] for s in (1.0, 0.25, 0.1)]
    assert np.ptp(ends, axis=0).max() < 0.01


@pytest.mark.parametrize("lead_mm", [0.0, 12.0, 24.0])
def test_a_turn_changes_the_tips_direction_at_once_by_the_lead(lead_mm):
    one = needle(dataclasses.replace(CERTAIN, tip_ahead_mm=lead_mm))
    push(one, 60.0)
    before = np.array(one.state.direction)
    push(one, 60.01, step_mm=0.01, from_mm=60.0, roll=lambda _: math.pi)
    assert np.array(one.state.direction)[1] - before[1] == pytest.approx(-2 * lead_mm * 1e-3, rel=5e-3, abs=1e-4)


def test_a_lead_turns_two_half_turns_into_a_sideways_step():
    """Between them the tip's direction is off by 2 l_2 kappa: the step is that times the way."""
    lead = dataclasses.replace(CERTAIN, tip_ahead_mm=20.0)

    def roll(depth):
        return math.pi if 50.0 < depth <= 60.0 else 0.0

    with_lead, without = (push(needle(g), 100.0, step_mm=0.05, roll=roll)[-1, 1] for g in (lead, CERTAIN))
    straight = push(needle(lead), 100.0, step_mm=0.05)[-1, 1] - push(needle(CERTAIN), 100.0, step_mm=0.05)[-1, 1]
    assert with_lead - without - straight == pytest.approx(-2 * 20.0 * 1e-3 * 10.0, abs=0.02)


def test_the_entry_slope_counts_at_the_entry_alone():
    one = needle(dataclasses.replace(CERTAIN, curvature_per_mm=0.0))
    path = push(one, 60.0, slope=(0.01, -0.02))
    assert path[-1, 1] / path[-1, 0] == pytest.approx(0.01, abs=1e-6)
    assert path[-1, 2] / path[-1, 0] == pytest.approx(-0.02, abs=1e-6)
    before = one.state.direction
    assert push(one, 70.0, from_mm=60.0, slope=(0.3, 0.3))[-1, 1] == pytest.approx(path[-1, 1] * 70 / 60, rel=1e-4)
    assert one.state.direction == pytest.approx(before)


def test_the_noise_of_the_frame_spreads_the_tip_as_the_cube_of_its_way():
    """A straight needle with white noise in its slope: variance w^2 l^3 / 3 each way."""
    given = dataclasses.replace(CERTAIN, curvature_per_mm=0.0, turn_noise=1e-3)
    ends = np.array([push(needle(given, seed=s), 60.0, step_mm=2.0)[-1, 1:] for s in range(400)])
    assert ends.std() == pytest.approx(1e-3 * math.sqrt(60.0**3 / 3), rel=0.1)


def test_the_curvature_varies_by_its_unevenness_and_forgets_over_its_length():
    given = dataclasses.replace(CERTAIN, unevenness=0.2, correlation_mm=20.0)
    fields = np.array([needle(given, seed=s)._curvature for s in range(300)]) / 1e-3 - 1.0
    assert fields.std() == pytest.approx(0.2, rel=0.1)
    cells = round(20.0 / 0.25)
    assert np.mean(fields[:, 0] * fields[:, cells]) / 0.04 == pytest.approx(math.exp(-1.0), abs=0.15)


def test_coulomb_friction_winds_the_shaft_up_as_its_integral_says():
    one = needle(dataclasses.replace(CERTAIN, torque=0.2), tissue="plastisol")
    push(one, roll=lambda d: 0.05 * d)
    lag = 0.05 * 120.0 - one.state.roll_rad
    assert lag == pytest.approx(0.2 * (120.0**2 / 2 + 120.0 * 80.0) / 1.6e4, rel=0.02)
    at_rest = one.state.roll_rad
    one.step(120.0, 6.0, one._time_s + 60.0)
    assert one.state.roll_rad == pytest.approx(at_rest, abs=1e-3)  # stuck


def test_viscous_friction_lets_go_while_the_base_stands():
    one = needle(dataclasses.replace(CERTAIN, viscous_torque=0.2), tissue="plastisol")
    push(one, roll=lambda d: 0.3 * d)
    lag = 0.3 * 120.0 - one.state.roll_rad
    assert lag > 0.1
    for i in range(100):
        one.step(120.0, 36.0, one._time_s + 0.05 * (i > 0))
    assert one.state.roll_rad == pytest.approx(36.0, abs=0.02 * lag)


def test_drawn_back_it_follows_its_track_and_cuts_on_where_it_ended():
    one = needle(Nonholonomic())
    out = push(one, 80.0)
    back = push(one, 60.0, from_mm=80.0, roll=lambda _: 1.0)
    np.testing.assert_allclose(back[-1], out[round(60.0 / 0.25) - 1], atol=1e-6)
    again = push(one, 80.0, from_mm=60.0)
    np.testing.assert_allclose(again, out[round(60.0 / 0.25) :], atol=1e-6)
    assert push(one, 90.0, from_mm=80.0)[-1, 0] > out[-1, 0]


def test_the_shaft_lies_where_the_tip_has_been():
    one = needle(Nonholonomic())
    path = push(one, 100.0)
    shape = one.shape_mm(1.0, 3.0)
    np.testing.assert_allclose(shape[0], path[-1], atol=1e-9)
    inside = shape[shape[:, 0] > 1.0]
    np.testing.assert_allclose(inside[:, 1], np.interp(inside[:, 0], path[:, 0], path[:, 1]), atol=1e-3)
    assert shape[-1, 0] < 0.0
    np.testing.assert_allclose(shape[-1, 1:], 0.0, atol=1e-9)


def test_a_seed_gives_the_same_needle_and_another_one_another():
    np.testing.assert_array_equal(push(needle(Nonholonomic(), seed=3)), push(needle(Nonholonomic(), seed=3)))
    assert needle(Nonholonomic(), seed=3).parameters != needle(Nonholonomic(), seed=4).parameters


@pytest.mark.parametrize("tissue", PARAMETER_RANGES)
def test_what_is_drawn_lies_in_its_range_and_what_is_given_changes_nothing_else(tissue):
    for seed in range(50):
        drawn = draw_nonholonomic(Nonholonomic(), tissue, np.random.default_rng(seed))
        for name, (low, high) in PARAMETER_RANGES[tissue].items():
            assert low <= getattr(drawn, name) <= high
        given = draw_nonholonomic(Nonholonomic(tip_ahead_mm=5.0), tissue, np.random.default_rng(seed))
        assert given == dataclasses.replace(drawn, tip_ahead_mm=5.0)


def test_a_turned_frame_stays_a_frame():
    R = np.eye(3)
    for i in range(200):
        R = turned(R, np.array([0.3, -0.2, 0.05 * i]))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [{"tip_ahead_mm": -1.0}, {"torque": math.nan}, {"unevenness": 2.0}])
def test_a_parameter_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Nonholonomic(**wrong)


def test_a_tissue_without_ranges_and_a_command_without_numbers_are_refused():
    with pytest.raises(InputError, match="agar"):
        needle(tissue="agar")
    with pytest.raises(InputError, match="not a number"):
        needle().step(math.nan, 0.0, 0.0)
