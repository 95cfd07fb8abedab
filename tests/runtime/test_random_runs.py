"""Ten thousand control periods of policies that talk nonsense, while everything breaks now and then: at the robot no
limit is exceeded, and no forbidden region is entered more often than the clearance says. Seeded."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_rig import ANGLE_RAD, ENTRY_MM, Fake, FakeTracker, Needle, act
from scipy.stats import binom

from sonosteer.runtime.insertion import Pace
from sonosteer.safety.limits import Limits
from sonosteer.safety.regions import Circle

pytestmark = pytest.mark.slow

PERIODS, RUNS = 1000, 10
PACE = Pace(longest_s=PERIODS * 0.01 - 0.005, patience_s=1e6)
LIMITS = Limits(depth_mm=(15.0, 45.0), probe_mm=(10.0, 5.0, 2.0), angle_rad=(0.4, 0.9), lost_back_mm_s=3.0)
VESSEL = Circle("vessel", (ENTRY_MM[0] + 35.0, ENTRY_MM[1] + 19.0), 3.0)
EPS = 1e-6
FAULTS = ("silent", "stuck", "frozen", "shift", "lost", "jump", "refuses", "disconnects", "nan", "axis", "disk", "hang")


class RandomPolicy:
    """Bursts of steady orders, most of them sensible, between single ones that are anything."""

    def __init__(self, seed):
        self.rng = np.random.default_rng([seed, 1])
        self.left, self.steady, self.said = 0, None, []

    def __call__(self, k, seen):
        rng = self.rng
        if self.left == 0:
            self.left = int(rng.integers(1, 10))
            wild = rng.random() < 0.2
            width = 1.6 if wild else 1.0
            self.steady = {
                "speed_mm_s": float(rng.uniform(-25, 25) * width if wild else rng.uniform(-5, 25)),
                "angle_rad": float(
                    np.clip(seen.robot_state.insertion_angle_rad + rng.normal(0, 0.1 * width), 0.1, 1.2)
                ),
                "probe": tuple(map(float, rng.uniform(-25, 25, 3) * (width, width, 0.2 * width))),
                "roll_rad": float(rng.uniform(-3, 3)),
                "lives_s": float(rng.uniform(0.3, 0.52)),
            }
        self.left -= 1
        action = act(seen, **self.steady)
        if rng.random() < 0.05:
            name = rng.choice(["insertion_speed_mm_s", "insertion_angle_rad", "expires_at_s", "roll_rad"])
            bad = {str(name): float(rng.choice([math.nan, math.inf, -1e30, 1e3]))}
            action = replace(action, command=replace(action.command, **bad))
        if self.said and rng.random() < 0.05:  # an old one again
            return self.said[-int(rng.integers(1, 10)) :][0]
        self.said.append(action)
        return action


class RandomFaults:
    """Up to two of FAULTS at a time; most of the time none."""

    def __init__(self, fake, seed):
        self.fake, self.rng, self.on = fake, np.random.default_rng([seed, 2]), {}
        self.seen = set()

    def __call__(self, now, capture, seen):
        rng, fake = self.rng, self.fake
        self.on = {name: until for name, until in self.on.items() if now < until}
        if len(self.on) < 2 and rng.random() < 0.012:
            self.on[str(rng.choice(FAULTS))] = now + float(rng.choice([0.02, 0.1, 0.4]))
        self.seen |= set(self.on)
        rig, robot, control_branch = fake.rig, fake.robot, fake.control_branch
        rig.silent, rig.stuck, rig.frozen = (name in self.on for name in ("silent", "stuck", "frozen"))
        rig.shift_s = (0.0, 0.3)["shift" in self.on]
        robot.fault = next((name for name in ("disconnects", "refuses") if name in self.on), None)
        robot.spoil = self.spoil
        fake.notes.failed = "the disk is full" if "disk" in self.on else None
        if control_branch.state.stop is not None and not self.on:  # the operator is quick, and brave
            control_branch.state = control_branch.gate.release(
                control_branch.state, "operator", max(now, control_branch.state.time_s)
            )

    def spoil(self, robot_state):
        if "nan" in self.on:
            return replace(robot_state, depth_mm=math.nan)
        return replace(robot_state, fault="axis 1 does not move") if "axis" in self.on else robot_state

    def of_the_tracker(self, index):
        return next((name for name in ("lost", "jump") if name in self.on), None)

    def decide_s(self, k):
        return 0.6 if "hang" in self.on else float(self.rng.uniform(0.01, 0.3) ** 2 + 0.01)


def random_run(seed, regions=()):
    tracker = FakeTracker(seed=seed, shared=True)
    fake = Fake(RandomPolicy(seed), limits=LIMITS, regions=regions, tracker=tracker, needle=Needle(depth_mm=25.0))
    faults = RandomFaults(fake, seed)
    tracker.fails = faults.of_the_tracker
    path = []

    def watch(now, capture, seen):
        faults(now, capture, seen)
        needle = fake.needle
        path.append((needle.depth_mm, needle.angle_rad, *needle.probe_mm, *needle.tip_mm))

    fake.run(PACE, watch=watch, decide_s=faults.decide_s)
    return fake, faults, np.array(path)


@pytest.fixture(scope="module")
def runs():
    return [random_run(seed, (VESSEL,) if seed % 2 else ()) for seed in range(RUNS)]


def steps(fake):
    """(what was being carried out before, or None for hold; what was told) for every order that the robot got."""
    for before, now in zip([None, *fake.robot.told], fake.robot.told, strict=False):
        if now.order is not None:
            yield before, now


def test_these_runs_are_worth_looking_at(runs):
    """Ten thousand periods, all faults, most of the gate's rules; and the robot is told to move and does."""
    assert sum(fake.control_branch.ticks for fake, _, _ in runs) >= 10_000
    assert set.union(*(faults.seen for _, faults, _ in runs)) == set(FAULTS)
    assert sum(len(fake.robot.sent) for fake, _, _ in runs) > 1500
    rules = set.union(*(set(fake.control_branch.held_because) for fake, _, _ in runs))
    wanted = {"fault", "robot", "number", "robot fault", "stopped", "action age", "insertion speed", "angle step"}
    wanted |= {"retraction speed", "tip jump", "probe speed x", "probe travel x", "depth", "forbidden region"}
    assert wanted <= rules, wanted - rules
    assert all(path[:, 0].max() - path[:, 0].min() > 4.0 for _, _, path in runs)


def test_no_order_exceeds_a_speed_an_angle_or_a_step(runs):
    for fake, _, _ in runs:
        for _, told in steps(fake):
            o = told.order
            assert -LIMITS.backward_mm_s <= o.command.insertion_speed_mm_s <= LIMITS.forward_mm_s
            assert all(abs(v) <= most for v, most in zip(o.command.probe_velocity_mm_s, LIMITS.probe_mm_s, strict=True))
            low, high = LIMITS.angle_rad
            assert low - EPS <= o.command.insertion_angle_rad <= high + EPS
            assert abs(o.command.insertion_angle_rad - told.at.insertion_angle_rad) <= LIMITS.angle_step_rad + EPS


def test_no_order_is_stale_or_lasts_longer_than_it_may(runs):
    for fake, _, _ in runs:
        actions = {}
        for _, what in fake.notes.on("/decision"):
            actions.setdefault(what["action"].frame_index, what["action"])
        for _, told in steps(fake):
            o, action = told.order, actions[told.order.frame_index]
            assert (
                told.time_s
                < o.command.expires_at_s
                <= min(told.time_s + LIMITS.order_s, action.command.expires_at_s) + EPS
            )
            stamped = fake.rig.stamped_s.get(o.frame_index, action.capture_time_s)
            assert told.time_s - stamped <= LIMITS.action_age_s + EPS
            captured = fake.rig.captured_s.get(o.frame_index, stamped)
            assert told.time_s - captured <= LIMITS.action_age_s + LIMITS.time_step_s + EPS


def test_no_order_grows_faster_than_it_may(runs):
    def growth(before, now):
        return abs(now) - (abs(before) if before * now > 0 else 0.0)

    for fake, _, _ in runs:
        for before, told in steps(fake):
            was = None if before is None else before.order
            dt = told.time_s - (0.0 if before is None else before.time_s)
            speed = 0.0 if was is None else was.command.insertion_speed_mm_s
            assert growth(speed, told.order.command.insertion_speed_mm_s) <= LIMITS.acceleration_mm_s2 * dt + EPS
            probe = (0.0, 0.0, 0.0) if was is None else was.command.probe_velocity_mm_s
            for a, b in zip(probe, told.order.command.probe_velocity_mm_s, strict=True):
                assert growth(a, b) <= LIMITS.probe_mm_s2 * dt + EPS
            roll = told.at.roll_rad if was is None else was.command.roll_rad
            assert abs(told.order.command.roll_rad - roll) <= LIMITS.roll_rad_s * dt + EPS


def test_no_travel_of_needle_and_probe_is_exceeded_by_what_really_moves(runs):
    for _, _, path in runs:
        low, high = LIMITS.depth_mm
        assert path[:, 0].min() >= low - EPS
        assert path[:, 0].max() <= high + EPS
        low, high = LIMITS.angle_rad
        assert path[:, 1].min() >= low - EPS
        assert path[:, 1].max() <= high + EPS
        assert np.all(np.abs(path[:, 2:5]).max(0) <= np.add(LIMITS.probe_mm, EPS))
    assert max(path[:, 0].max() for _, _, path in runs) > LIMITS.depth_mm[1] - 3.0
    assert max(np.abs(path[:, 2]).max() for _, _, path in runs) > LIMITS.probe_mm[0] - 2.0


def test_nothing_moves_faster_than_it_may(runs):
    for fake, _, path in runs:
        speeds = np.diff(path[:, 0]) / 0.01
        assert speeds.max() <= LIMITS.forward_mm_s + EPS
        assert speeds.min() >= -LIMITS.backward_mm_s - EPS
        assert np.all(np.abs(np.diff(path[:, 2:5], axis=0) / 0.01).max(0) <= np.add(LIMITS.probe_mm_s, EPS))
        assert fake.control_branch.ticks == len(path)


def depth_in(path, region):
    """How far the tip was inside at most; negative: how far away it stayed."""
    return region.radius_mm - np.hypot(path[:, -2] - region.center_mm[0], path[:, -1] - region.center_mm[1]).min()


def test_no_random_run_enters_the_vessel(runs):
    """Each of the five such runs may with a probability of 1 %: that none does is seeded, and no accident."""
    assert max(depth_in(path, VESSEL) for _, _, path in runs[1::2]) <= 0.0


def test_the_same_seed_gives_the_same_nonsense(runs):
    fake, _, path = random_run(3, (VESSEL,))
    assert np.array_equal(path, runs[3][2])
    assert [t.order for t in fake.robot.told] == [t.order for t in runs[3][0].robot.told]


# -- straight at a vessel --------------------------------------------------------------------------------------


def towards(distance_mm):
    """A vessel straight ahead of a needle at 20 mm, its wall that far from the true tip."""
    radius, ahead = 4.0, 20.0 + distance_mm + 4.0
    x, y = ENTRY_MM
    return Circle("vessel", (x + ahead * math.cos(ANGLE_RAD), y + ahead * math.sin(ANGLE_RAD)), radius)


@pytest.mark.parametrize(
    ("clearance", "shared", "runs", "takes_s"), [(0.9, True, 100, 0.7), (0.99, True, 50, 0.7), (0.99, False, 10, 3.0)]
)
def test_a_needle_pushed_straight_at_a_vessel_enters_it_no_more_often_than_the_clearance_says(
    clearance, shared, runs, takes_s
):
    """The tracker is off as its covariance says: by one error all along, or by a new one in every frame."""
    vessel, entered, near = towards(4.0), 0, 0
    limits = Limits(clearance=clearance)
    for seed in range(runs):
        tracker = FakeTracker((0.6, 0.2), seed=seed, shared=shared)
        fake = Fake(lambda k, seen: act(seen, 12.0), limits=limits, regions=(vessel,), tracker=tracker)
        fake.run(Pace(longest_s=takes_s, decide_s=0.02, period_s=0.02))
        away = math.dist(fake.needle.tip_mm, vessel.center_mm) - vessel.radius_mm
        entered += away <= 0.0
        near += away < 3.0
    assert near > 0.8 * runs
    assert entered <= binom.ppf(0.9999, runs, 1.0 - clearance)
