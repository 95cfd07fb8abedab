"""The controller of Carriere et al. 2019: its published settings, what a measured depth means, and its own model."""

import dataclasses
import math

import numpy as np
import pytest

from sonosteer.core.types import TipMeasurement
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.steering import genetic
from sonosteer.steering.event_triggered import EventTriggered
from sonosteer.steering.table import make_steerer

#: Sections 4.2, 6.1 and 6.2 of the paper
PUBLISHED = {
    "depth_mm": 120.0,
    "points": 3,
    "alpha": 10.0,
    "beta": 1.0,
    "max_section_rad": math.pi,
    "from_mm": 10.0,
    "test_points": 11,
    "fit_individuals": 50,
    "plan_individuals": 60,
    "theta0_rad": (0.0, 0.174),
    "curvature_range": (1 / 10000, 1 / 500),
    "fit": "genetic",
    "search": "genetic",
    "online": True,
    "published_maximum": True,
}


def test_paper_s_has_every_published_setting():
    made = make_steerer("paper-s").controller
    assert {name: getattr(made, name) for name in PUBLISHED} == PUBLISHED
    assert genetic.KEPT_FRACTION == 0.3


def run(controller, needle, end_mm=120.0, step_mm=0.25, back_at_mm=None):
    """(state, ordered roll) of a controller that sees a bicycle without noise, at 20 Hz and 5 mm/s."""
    depths = list(np.arange(step_mm, end_mm + 1e-9, step_mm))
    if back_at_mm is not None:
        i = round(back_at_mm / step_mm)
        depths[i:i] = [
            *np.arange(back_at_mm, back_at_mm - 5.0, -step_mm),
            *np.arange(back_at_mm - 5.0, back_at_mm, step_mm),
        ]
    state, roll, deepest = controller.start(0.0), 0.0, 0.0
    for i, depth in enumerate(depths):
        plan = Plan(tuple(state.starts.tolist()), tuple(state.rates.tolist()))
        x, y, z = needle.path(plan, np.array([depth]))[0, :3].tolist()
        told = x if controller.along_axis else float(depth)
        seen = TipMeasurement(0.05 * i, told, roll, (y, z))
        state, command = controller.step(state, seen, roll, 0.0)
        roll = command.roll_rad
        deepest = max(deepest, depth)
    return state


CURVED = Bicycle(1 / 500, 0.1)


@pytest.mark.parametrize("fit", ["genetic", "least squares"])
@pytest.mark.parametrize("along_axis", [False, True])
def test_both_fits_mean_the_same_by_depth(fit, along_axis):
    """A needle that bends so much that x is 7 mm short of the inserted length: the wrong meaning would be seen."""
    controller = EventTriggered(fit=fit, along_axis=along_axis, points=1, beta=0.0, online=True)
    still = dataclasses.replace(controller, max_section_rad=0.0)  # no rotation, so that only the fit counts
    state = run(still, CURVED, 118.0)
    assert state.curvature_per_mm == pytest.approx(1 / 500, rel=0.01)
    assert state.theta0_rad == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize("along_axis", [False, True])
def test_the_score_of_the_truth_is_zero_with_the_right_meaning_of_depth_alone(along_axis):
    starts, rates = np.array([0.0, 50.0]), np.array([0.0, 0.02])
    path = CURVED.path(Plan((0.0, 50.0), (0.0, 0.02)), np.linspace(10.0, 120.0, 11))
    lengths = np.column_stack([np.linspace(10.0, 120.0, 11), path[:, 1:3]])
    right, wrong = (path[:, :3].copy(), lengths) if along_axis else (lengths, path[:, :3].copy())
    score = [
        genetic.fit_loss(0.1, 1 / 500, 0.0, starts, rates, s, along_axis, np.empty((11, 6))) for s in (right, wrong)
    ]
    assert score[0] < 1e-9
    assert score[1] > 0.1


@pytest.mark.parametrize("fit", ["genetic", "least squares"])
def test_a_needle_that_is_drawn_back_on_the_way_does_not_end_the_fit(fit):
    controller = EventTriggered(fit=fit, points=1, max_section_rad=0.0)
    state = run(controller, Bicycle(1 / 800, 0.05), 100.0, back_at_mm=40.0)
    assert state.curvature_per_mm == pytest.approx(1 / 800, rel=0.03)
    depths = [row[0] for row in state.measured_mm if row is not None]
    assert depths == sorted(depths)


@pytest.mark.parametrize("seed", range(3))
def test_on_the_model_that_it_carries_it_ends_within_the_papers_half_millimetre(seed):
    controller = EventTriggered(seed=seed)
    needle = Bicycle(1 / 1200, 0.02)
    state = run(controller, needle)
    plan = Plan(tuple(state.starts.tolist()), tuple(state.rates.tolist()))
    end = needle.path(plan, np.array([120.0]))[0, 1:3]
    assert math.hypot(*end) < 0.47
    assert state.curvature_per_mm == pytest.approx(1 / 1200, rel=0.05)


def test_the_papers_test_of_the_maximum_can_be_exchanged():
    """With regulation alone the maximum is all that counts."""
    needle = Bicycle(1 / 900, 0.02)
    found = [run(EventTriggered(seed=1, alpha=0.0, published_maximum=p), needle, 60.0) for p in (True, False)]
    assert not np.array_equal(found[0].starts, found[1].starts)
