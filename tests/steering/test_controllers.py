"""Every controller within its limits; the recommended one on its own model and on the beam."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.types import TipMeasurement
from sonosteer.needle.flexible import FlexibleNeedle, NeedleGeometry
from sonosteer.needle.tissue import Mechanics
from sonosteer.steering import moves
from sonosteer.steering.budget import RollLimits
from sonosteer.steering.obstacles import Sphere, combine_obstacles
from sonosteer.steering.reach import hull, sample_reach
from sonosteer.steering.table import CONTROLLERS, make_steerer
from sonosteer.steering.transient import TRANSIENT_PRESETS, Transient, correct_with_tip, predict_tip, transient_preset

LIMITS = RollLimits(budget_rad=4.0, rate_rad_s=5.0)
FAST = {"moves": {"tries": 60}}


@pytest.fixture(scope="module")
def steerers():
    return {name: make_steerer(name, limits=LIMITS, **FAST.get(name, {})) for name in CONTROLLERS}


odd = st.one_of(st.floats(-1, 130), st.just(math.nan), st.just(math.inf))
measurements = st.lists(
    st.tuples(
        st.one_of(st.floats(-0.01, 0.3), st.just(0.0), st.just(math.nan)),  # since the last
        st.one_of(st.floats(-2, 9), st.just(math.nan)),  # pushed since
        st.one_of(st.none(), st.tuples(st.floats(-40, 40), st.floats(-40, 40)), st.just((math.nan, 0.0))),
        st.one_of(st.floats(0.01, 2), st.just(0.0), st.just(math.nan)),
        st.floats(-0.2, 0.2),
    ),
    min_size=3,
    max_size=25,
)


@pytest.mark.parametrize("name", CONTROLLERS)
@settings(deadline=None, max_examples=25)
@given(given_=measurements)
def test_budget_rate_and_hold_whatever_comes(steerers, name, given_):
    steerer = steerers[name]
    state = steerer.start(0.3)
    ordered, used, time_s, depth, last_s = 0.3, 0.0, 0.0, 0.0, -math.inf
    for wait, pushed, tip, sd, error in given_:
        time_s = time_s + wait if math.isfinite(wait) else time_s
        depth = depth + pushed if math.isfinite(pushed) else depth
        said_s = time_s if math.isfinite(wait) else math.nan
        said_mm = depth if math.isfinite(pushed) else math.nan
        measurement = TipMeasurement(said_s, said_mm, ordered + error, tip, sd)
        state, turn = steerer.step(state, measurement)
        change = abs(turn.roll_rad - ordered)
        used += change
        assert math.isfinite(turn.roll_rad)
        assert used <= LIMITS.budget_rad + 1e-9
        usable = said_s > last_s and math.isfinite(said_mm) and sd > 0 and tip is not None and not math.isnan(tip[0])
        if not usable:
            assert change == 0.0
        else:
            assert change <= LIMITS.rate_rad_s * min(said_s - last_s, LIMITS.max_elapsed_s) + 1e-9
        known = said_s > last_s and math.isfinite(said_mm) and sd > 0
        if known and (tip is None or not math.isnan(tip[0])):
            last_s = said_s
        ordered = turn.roll_rad


def drive(steerer, plant, end_mm=120.0, noise=0.1, seed=0, until=None):
    """Push a needle (depth, roll, time) -> (y, z) at 5 mm/s, 20 Hz; (path, rotation, last turn)."""
    rng = np.random.default_rng(seed)
    state, roll, used, path = steerer.start(0.0), 0.0, 0.0, []
    for i in range(round(end_mm / 0.25)):
        depth = 0.25 * (i + 1)
        y, z = plant(depth, roll, 0.05 * i)
        path.append((depth, y, z))
        seen = TipMeasurement(
            0.05 * i, depth, roll, (y + rng.normal(0, noise), z + rng.normal(0, noise)), max(noise, 1e-3)
        )
        state, turn = steerer.step(state, seen)
        used += abs(turn.roll_rad - roll)
        roll = turn.roll_rad
        if turn.stop:
            break
    return np.array(path), used, turn


def beam(seed=0, **mechanics):
    needle = FlexibleNeedle(
        NeedleGeometry(), Mechanics(layers=((0.0, 0.06, 0.6),), **mechanics), np.random.default_rng(seed)
    )
    return lambda depth, roll, time_s: needle.step(depth, roll, time_s).tip_mm[1:]


def test_moves_reaches_the_axis_on_the_beam_where_paper_s_does_not():
    ends = {}
    for name in ("moves", "paper-s", "none"):
        path, used, _ = drive(make_steerer(name), beam(3))
        assert used <= 3 * math.pi + 1e-9
        ends[name] = math.hypot(*path[-1, 1:])
    assert ends["moves"] < 0.5 < ends["none"]
    assert ends["moves"] < ends["paper-s"]


def test_moves_reaches_a_target_off_the_axis():
    path, _, _ = drive(make_steerer("moves", target_mm=(2.0, -1.5)), beam(1))
    assert math.hypot(path[-1, 1] - 2.0, path[-1, 2] + 1.5) < 0.6


def test_moves_goes_round_an_obstacle_that_a_straight_way_would_hit():
    ball = Sphere((70.0, 0.3, 0.0), 0.5)
    free, _, _ = drive(make_steerer("moves"), beam(2))
    round_, _, turn = drive(make_steerer("moves", obstacles=combine_obstacles([ball])), beam(2))
    assert ball.distance(free).min() < 0.64
    assert not turn.stop
    assert ball.distance(round_).min() > 0.64
    assert math.hypot(*round_[-1, 1:]) < 1.0


def test_a_wall_is_answered_by_no_safe_path_before_it_is_touched():
    wall = Sphere((70.0, 0.0, 0.0), 12.0)
    steerer = make_steerer("moves", obstacles=combine_obstacles([wall]))
    assert steerer.controller.plan_ahead(2000).lack_mm > 0
    path, _, turn = drive(steerer, beam(2))
    assert turn.stop
    assert turn.why == "stop: no safe path"
    assert wall.distance(path).min() > 0.64


def test_a_step_leaves_the_state_alone_and_can_be_repeated():
    steerer = make_steerer("moves", tries=50)
    state = steerer.start(0.0)
    for i in range(40):
        state, _ = steerer.step(state, TipMeasurement(0.05 * i, 0.5 * i, 0.0, (0.01 * i, 0.0)))
    kept = (state.inner.x.copy(), state.inner.P.copy(), state.inner.depths.copy(), state.inner.turns.copy())
    seen = TipMeasurement(5.0, 21.0, 0.0, (0.4, 0.1))
    first, second = steerer.step(state, seen)[1], steerer.step(state, seen)[1]
    assert first == second
    for before, after in zip(kept, (state.inner.x, state.inner.P, state.inner.depths, state.inner.turns), strict=True):
        assert np.array_equal(before, after)


def test_the_prediction_is_the_filter_without_noise():
    model = dataclasses.replace(Transient(), k1_walk=0.0, k2_walk=0.0, slope_walk=0.0)
    parameters = model.for_kernels()
    x = np.array([0.3, 0.01, -0.2, -0.02, 7e-4, 5e-5, 1e-3, 2e-4, 0.0, 0.0])
    planner = make_steerer("moves", tissue=model).controller
    task = planner.task_at(x, np.zeros((10, 10)))
    out = np.zeros(moves.OUT)
    e, a = np.array([60.0, 80.0, 120.0]), np.array([2.0, -1.0, 0.0])
    moves.follow_plan(x, 0.3, 30.0, e, a, task, out)
    y, P, phi = x.copy(), np.zeros((10, 10)), 0.3
    for i in range(3600):
        depth = 30.0 + 0.025 * i
        now = 0.3 + sum(t for d, t in zip(e, a, strict=True) if depth >= d - 1e-9)
        predict_tip(y, P, now, now, 0.025, parameters)
        phi = now
    k, h = y[4] + y[7], model.jump_mm2
    tip = (y[0] + h * (k * math.cos(phi) - y[5] * math.sin(phi)), y[2] + h * (k * math.sin(phi) + y[5] * math.cos(phi)))
    assert out[:2] == pytest.approx(tip, abs=2e-3)


def test_the_presets_answer_a_turn_as_the_beam_does():
    """Half a turn at 60 mm or none: the difference of the paths, per curvature, is 2 (h + c d + d^2/2)."""
    for tissue, stiffness, force in (("porcine", 0.06, 0.8), ("plastisol", 0.2, 1.4)):
        even = Mechanics(
            layers=((0.0, stiffness, force),), heterogeneity=0.0, lateral_n=0.0, torque=0.0, speed_gain=0.0
        )

        def push(turn, even=even):
            needle = FlexibleNeedle(NeedleGeometry(), even, np.random.default_rng(0))
            return np.array([needle.step(d, turn * (d > 60), d / 5).tip_mm[1] for d in np.arange(0.25, 105, 0.25)])

        difference = push(0.0) - push(math.pi)
        d = np.arange(0.25, 105, 0.25) - 60
        late = d > 8
        A = np.stack([d**2 / 2, d, np.ones_like(d)], 1)[late]
        kappa2, ck, _ = np.linalg.lstsq(A, difference[late], rcond=None)[0]
        model = transient_preset(tissue)
        assert ck / kappa2 == pytest.approx(model.slope_mm, rel=0.4)
        predicted = kappa2 * (d**2 / 2 + model.slope_mm * d + model.jump_mm2)
        assert np.abs(predicted - difference)[late].max() < 0.25 * difference[-1]


def test_an_outlier_is_not_taken():
    x, P = Transient().prior(breathing=False)
    before = x.copy()
    assert not correct_with_tip(x, P, 0.0, 100.0, 0.0, 30.0, 0.0, 0.1, 5.0)
    assert np.array_equal(x, before)
    assert correct_with_tip(x, P, 0.0, 100.0, 0.0, 0.05, 0.0, 0.1, 5.0)


def test_what_can_be_reached_grows_with_the_budget_and_shrinks_with_obstacles():
    def area(points):
        y, z = points.T
        return 0.5 * abs(np.dot(y, np.roll(z, 1)) - np.dot(z, np.roll(y, 1)))

    rng = np.random.default_rng(0)
    some = make_steerer("moves", limits=RollLimits(math.pi / 2)).controller
    more = make_steerer("moves").controller
    ends, free = sample_reach(more, rng, 4000)
    assert free.all()
    assert area(hull(ends)) > 1.5 * area(hull(sample_reach(some, rng, 4000)[0]))
    walled = make_steerer("moves", obstacles=combine_obstacles([Sphere((80.0, 3.0, 0.0), 2.0)])).controller
    _, free = sample_reach(walled, rng, 4000)
    assert 0 < free.sum() < 4000


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: make_steerer("mpc"), "there is no steering controller called 'mpc'"),
        (lambda: make_steerer("moves", tissue="jelly"), "no steering preset called 'jelly'"),
        (lambda: make_steerer("moves", target_mm=(60.0, 0.0)), "farther than any bevel-tip needle bends"),
        (lambda: make_steerer("paper-s", target_mm=(1.0, 0.0)), "keeps to the axis"),
        (lambda: make_steerer("paper-s", points=0), "points"),
        (lambda: RollLimits(math.nan), "budget_rad"),
    ],
)
def test_nonsense_is_said_in_one_line(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_every_tissue_of_the_scenes_has_a_preset():
    from sonosteer.sim.steering_scenes import TISSUES

    assert set(TRANSIENT_PRESETS) == set(TISSUES)
