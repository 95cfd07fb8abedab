"""Between encoders and tip lie slip, bending, registration and breathing. The filter learns them from sightings."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sonosteer.core.types import RobotState
from sonosteer.filters.encoder_aided import BREATH, HEADING, SLIP, TURN, EncoderAided, usable

ANGLE = math.radians(40)
SURE = np.eye(2) * 0.3**2
MOTION = EncoderAided()


def reading(depth_mm, time_s=0.0, *, angle=ANGLE, probe=(0.0, 0.0, 0.0)):
    return RobotState(time_s, depth_mm, 20.0, angle, 0.0, probe)


def pushed(belief, way_mm, *, side=1.0, slip=0.0, turn=0.0, slide=0.0, seen=True, at=None, sd=0.1, seed=0):
    """Push on in steps of 0.5 mm. The true tip slips and its image is turned. Returns (belief, true place)."""
    rng, start = np.random.default_rng(seed), belief.reading
    at = np.array(belief.place_mm if at is None else at, float)
    c, s = math.cos(turn), math.sin(turn)
    heading = math.atan2(math.sin(ANGLE), side * math.cos(ANGLE)) + turn
    for k in range(1, round(way_mm / 0.5) + 1):
        q = slide * 0.5
        at += 0.5 * (1 - slip) * np.array([math.cos(heading), math.sin(heading)]) - q * np.array([c, s])
        x, y, z = start.probe_mm
        said = reading(start.depth_mm + 0.5 * k, start.time_s + 0.025 * k, probe=(x + q * k, y, z))
        belief = MOTION.predict(belief, said, 0.025)
        if seen:
            belief = MOTION.update(belief, tuple(at + rng.normal(0, sd, 2)), SURE)
    return belief, at


def begun(side=1.0):
    return MOTION.begin((50.0, 20.0), SURE, reading(10.0), side)


def test_the_place_begins_as_it_was_seen():
    belief = begun()
    assert belief.place_mm == (50.0, 20.0)
    assert belief.place_covariance_mm2 == pytest.approx(SURE)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_hidden_tip_is_carried_on_by_the_encoders(side):
    exact = EncoderAided(slip=(0.0, 0.05))
    belief = exact.begin((50.0, 20.0), SURE, reading(10.0), side)
    after = exact.predict(belief, reading(30.0, 1.0), 1.0)
    assert after.place_mm == pytest.approx((50 + side * 20 * math.cos(ANGLE), 20 + 20 * math.sin(ANGLE)))
    assert np.trace(after.place_covariance_mm2) > np.trace(belief.place_covariance_mm2)


def test_slip_is_learnt_and_carries_a_hidden_tip_better_than_the_encoders():
    belief, at = pushed(begun(), 40.0, slip=0.12)
    assert belief.mean[SLIP] == pytest.approx(0.12, abs=0.03)
    hidden, true = pushed(belief, 20.0, slip=0.12, seen=False, at=at)
    assert math.dist(hidden.place_mm, true) < 1.0 < 0.12 * 20.0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_wrong_registration_is_learnt_from_needle_and_probe(side):
    belief, _ = pushed(begun(side), 40.0, side=side, turn=math.radians(4), slide=0.4)
    assert math.degrees(belief.mean[HEADING]) == pytest.approx(4.0, abs=1.5)
    assert math.degrees(belief.mean[TURN]) > 0.5  # of the probe's way alone, which says little of it


def test_breathing_is_followed_at_rest():
    belief = begun()
    for k in range(1, 120):
        t = k / 30
        belief = MOTION.predict(belief, reading(10.0, t), 1 / 30)
        belief = MOTION.update(belief, (50.0, 20.0 + 1.5 * math.sin(2 * math.pi * 0.27 * t)), SURE)
    assert belief.place_mm[1] - 20.0 == pytest.approx(1.5 * math.sin(2 * math.pi * 0.27 * t), abs=0.5)
    assert abs(belief.mean[BREATH]) > 0.2


def test_a_needle_that_is_swung_takes_its_tip_along_and_noise_does_not():
    belief = begun()
    noise = MOTION.predict(belief, reading(10.0, 0.1, angle=ANGLE + 0.003), 0.1)
    assert noise.place_mm == pytest.approx(belief.place_mm)
    swung = MOTION.predict(belief, reading(10.0, 0.1, angle=ANGLE + 0.05), 0.1)
    assert math.dist(swung.place_mm, belief.place_mm) == pytest.approx(10.0 * 0.05, rel=0.01)
    assert swung.place_mm[1] > belief.place_mm[1]  # steeper is deeper


@pytest.mark.parametrize("bad", [None, reading(math.nan, 0.1), reading(10.0, 0.1, angle=math.inf), reading(400.0, 0.1)])
def test_what_no_rig_can_have_done_moves_nothing_and_makes_less_sure(bad):
    belief = begun()
    after = MOTION.predict(belief, bad, 0.1)
    assert after.place_mm == pytest.approx(belief.place_mm)
    assert np.isfinite(after.covariance).all()
    assert np.trace(after.place_covariance_mm2) > np.trace(belief.place_covariance_mm2) + 1.0
    assert usable(after.reading)


def test_after_an_encoder_was_zeroed_the_new_count_goes_on():
    after = MOTION.predict(begun(), reading(400.0, 0.1), 0.1)
    on = MOTION.predict(after, reading(401.0, 0.2), 0.1)
    assert math.dist(on.place_mm, after.place_mm) == pytest.approx(1.0, abs=0.1)


def test_the_covariance_stays_one_over_a_long_run():
    belief, _ = pushed(begun(), 80.0, slip=0.05, slide=0.3)
    assert np.linalg.eigvalsh(belief.covariance).min() > 0
    assert belief.covariance == pytest.approx(belief.covariance.T)
    assert not belief.mean.flags.writeable


def test_a_far_sighting_surprises_and_a_near_one_does_not():
    belief, at = pushed(begun(), 20.0)
    assert MOTION.surprise(belief, tuple(at), SURE) < 1.0
    assert MOTION.surprise(belief, (at[0] + 6.0, at[1]), SURE) > 5.0


def test_a_later_reading_error_is_part_of_a_sighting():
    fast, slow = (replace(begun(), reading=replace(reading(10.0), insertion_speed_mm_s=v)) for v in (200.0, 0.0))
    assert MOTION.surprise(fast, (53.0, 20.0), SURE) < MOTION.surprise(slow, (53.0, 20.0), SURE)
