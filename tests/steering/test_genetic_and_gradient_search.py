"""Paper S's genetic searches, and the gradient search that takes their place."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.benchmarks import carriere2019_numpy as plain
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.steering import genetic
from sonosteer.steering.optimise import STARTS, optimise

LOW, HIGH = np.array([0.0, 1 / 10000]), np.array([0.174, 1 / 500])
DEPTH = 120.0


def even(points=3):
    return np.array([0.0, *(DEPTH * (i + 1) / (points + 1) for i in range(points))]), np.zeros(points + 1)


@given(st.floats(1e-4, 2e-3), st.floats(0, 0.5), st.floats(0.1, 110))
def test_the_inserted_length_inverts_x(k, theta0, length):
    x = Bicycle(k, theta0).path(Plan((0.0,), (0.0,)), np.array([length]))[0, 0]
    assert genetic.inserted_length(k, theta0, x) == pytest.approx(length, abs=1e-6)


def test_the_genetic_fit_finds_the_needle():
    starts, rates = even()
    rates[1:] = 0.02, -0.05, 0.03
    depths = np.linspace(1.0, 80.0, 11)
    true = Bicycle(1 / 900, 0.05).path(Plan(tuple(starts), tuple(rates)), depths)
    rng = np.random.default_rng(0)
    population = genetic.first_population(50, LOW, HIGH, rng)
    scores = [
        genetic.evolve_fit(population, 0.0, starts, rates, true[:, :3].copy(), True, LOW, HIGH, rng) for _ in range(300)
    ]
    assert all(b <= a for a, b in itertools.pairwise(scores))
    assert scores[-1] < 0.05
    assert population[0, 0] == pytest.approx(0.05, abs=0.005)
    assert 1 / population[0, 1] == pytest.approx(900, rel=0.08)


def test_the_score_is_the_plain_one():
    starts, rates = even()
    rates[1:] = 0.02, -0.05, 0.03
    rng = np.random.default_rng(1)
    seen = np.column_stack([np.linspace(2, 70, 11), rng.normal(0, 1, (11, 2))])
    for _ in range(20):
        theta0, k = rng.uniform(LOW, HIGH)
        length = (np.arcsin(k * seen[:, 0] + np.sin(theta0)) - theta0) / k
        left = plain.path_numpy(k, theta0, 0.0, starts, rates, length) - seen[:, 1:]
        score = genetic.fit_loss(theta0, k, 0.0, starts, rates, seen, True, np.empty((11, 6)))
        assert score == pytest.approx(np.hypot(*left.T).mean(), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.floats(0, 118),
    st.sampled_from(["genetic", "gradient"]),
    st.sampled_from([(10.0, 1.0), (1.0, 0.0), (0.0, 1.0)]),
)
def test_plans_keep_order_rate_and_the_past(seed, at, search, weights):
    rng = np.random.default_rng(seed)
    starts, rates = even(int(rng.integers(1, 6)))
    for _ in range(3):  # what a needle on its way has
        genetic.evolve_plan(starts, rates, 0.0, DEPTH, 1e-3, 0.03, 0.0, 10.0, 1.0, math.pi, 30, True, rng)
    old_starts, old_rates = starts.copy(), rates.copy()
    before = genetic.plan_cost(1e-3, 0.01, 0.2, starts, rates, DEPTH, *weights, True)
    if search == "genetic":
        after = genetic.evolve_plan(starts, rates, at, DEPTH, 1e-3, 0.01, 0.2, *weights, math.pi, 60, True, rng)
    else:
        after = optimise(starts, rates, at, DEPTH, 1e-3, 0.01, 0.2, *weights, math.pi, STARTS)
    assert after <= before + 1e-12
    assert after == pytest.approx(genetic.plan_cost(1e-3, 0.01, 0.2, starts, rates, DEPTH, *weights, True))
    past = old_starts <= at
    assert np.array_equal(starts[past], old_starts[past])
    assert np.array_equal(rates[past], old_rates[past])
    assert (np.diff(starts) > 0).all()
    assert starts[-1] < DEPTH
    assert (starts[~past] >= at).all()
    ways = np.diff([*starts, DEPTH])
    assert (np.abs(rates * ways) <= math.pi + 1e-6).all()  # Eq. (15)


def test_gradients_find_what_three_hundred_generations_do_not_better():
    worse = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        k, theta0 = 1 / rng.uniform(700, 4000), rng.uniform(0, 0.1)
        starts, rates = even()
        for _ in range(300):
            cost = genetic.evolve_plan(starts, rates, 0.0, DEPTH, k, theta0, 0.0, 10.0, 1.0, math.pi, 60, True, rng)
        starts, rates = even()
        worse += optimise(starts, rates, 0.0, DEPTH, k, theta0, 0.0, 10.0, 1.0, math.pi, STARTS) > cost * 1.001
    assert worse == 0


def test_regulation_keeps_the_path_closer_than_weak_regulation():
    def largest(alpha, beta):
        starts, rates = even()
        optimise(starts, rates, 0.0, DEPTH, 1 / 1500, 0.035, 0.0, alpha, beta, math.pi, STARTS)
        path = Bicycle(1 / 1500, 0.035).path(Plan(tuple(starts), tuple(rates)), np.linspace(0, DEPTH, 200))
        return np.hypot(path[:, 1], path[:, 2])

    weak, strong = largest(1.0, 0.0), largest(0.0, 1.0)
    assert weak[-1] < 0.01
    assert strong.max() < weak.max()
