"""The rig does what it is told, within its limits, late and with noise."""

import math

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.types import Command
from sonosteer.sim.rig import RigLimits, RigModel


def act(**k):
    return Command(**{"expires_at_s": None, "insertion_angle_rad": math.radians(45), **k})


def rig(**limits):
    return RigModel(RigLimits(**limits), np.random.default_rng(0))


def run(r, seconds, dt=0.01):
    for _ in range(round(seconds / dt)):
        r.advance(dt)


def test_the_rig_does_what_it_is_told_within_its_limits():
    r = rig()
    r.order(act(insertion_speed_mm_s=20.0, probe_velocity_mm_s=(5.0, 0.0, 0.0), roll_rad=1.0))
    run(r, 1.0)
    assert r.depth_mm == pytest.approx(20.0, abs=0.5)
    assert r.probe_mm[0] == pytest.approx(5.0, abs=0.1)
    assert r.roll_rad == pytest.approx(1.0)
    r.order(act(insertion_speed_mm_s=1e6, probe_velocity_mm_s=(1e6, 0.0, 0.0), insertion_angle_rad=3.0))
    run(r, 10.0)
    assert r.depth_mm == r.limits.depth_mm[1]
    assert r.probe_mm[0] == r.limits.probe_mm[0]
    assert r.insertion_angle_rad == pytest.approx(r.limits.angle_rad[1])
    assert r.insertion_speed_mm_s == 0.0


@pytest.mark.parametrize("ended", ["expired", "stopped"])
def test_no_axis_goes_on_after_a_command_has_run_out_or_after_a_stop(ended):
    r = rig(angle_rad_s=0.5, roll_rad_s=1.0)
    r.order(act(insertion_angle_rad=1.2, roll_rad=2.0, expires_at_s=0.1 if ended == "expired" else None))
    run(r, 0.1)
    if ended == "stopped":
        r.order(act(insertion_angle_rad=0.3, roll_rad=-1.0, stop=True))
    run(r, 0.02)
    turned, rolled = r.insertion_angle_rad, r.roll_rad
    assert turned == pytest.approx(math.radians(45) + 0.05, abs=0.011)
    assert rolled == pytest.approx(0.1, abs=0.021)
    run(r, 1.0)
    assert (r.insertion_angle_rad, r.roll_rad) == (turned, rolled)


def test_an_order_arrives_late_and_expires():
    r = rig(latency_s=0.1)
    r.order(act(insertion_speed_mm_s=10.0, expires_at_s=0.3))
    run(r, 0.09)
    assert r.depth_mm == 0.0
    run(r, 1.0)
    assert r.depth_mm == pytest.approx(2.0, abs=0.2)
    r.order(act(insertion_speed_mm_s=10.0, expires_at_s=0.0))
    run(r, 1.0)
    assert r.depth_mm == pytest.approx(2.0, abs=0.2)


def test_stop_stops_and_nan_is_refused():
    r = rig()
    r.order(act(insertion_speed_mm_s=10.0))
    run(r, 0.5)
    r.order(act(insertion_speed_mm_s=10.0, stop=True))
    run(r, 0.1)
    at = r.depth_mm
    run(r, 1.0)
    assert r.depth_mm == at
    for name in ("insertion_speed_mm_s", "insertion_angle_rad", "roll_rad"):
        with pytest.raises(InputError, match="not a number"):
            r.order(act(**{name: math.nan}))


def test_encoders_are_noisy_and_unbiased():
    r = rig(encoder_mm=0.1)
    depths = [r.read().depth_mm for _ in range(400)]
    assert np.std(depths) == pytest.approx(0.1, rel=0.2)
    assert abs(np.mean(depths)) < 0.03


def test_a_rig_that_fails_stops_that_axis_until_it_is_put_right():
    kinds = set()
    for seed in range(30):
        r = RigModel(RigLimits(failure_per_s=5.0), np.random.default_rng(seed))
        r.order(act(insertion_speed_mm_s=5.0, probe_velocity_mm_s=(5.0, 0.0, 0.0)))
        run(r, 2.0)
        kinds.add(r.read().fault)
        depth, probe = r.depth_mm, r.probe_mm
        run(r, 0.5)
        if r.fault == "stalled":
            assert r.depth_mm == depth
        if r.fault == "probe stuck":
            assert r.probe_mm == probe
        r.clear_fault()
        assert r.fault is None
    assert {"stalled", "probe stuck"} <= kinds
    assert all(k is None or k in ("stalled", "probe stuck", "deaf") for k in kinds)


@pytest.mark.parametrize(
    "limits", [{"insertion_mm_s": 0.0}, {"latency_s": -1.0}, {"encoder_mm": math.nan}, {"failure_per_s": -0.1}]
)
def test_a_nonsense_rig_is_refused(limits):
    with pytest.raises(InputError, match="rig: "):
        RigLimits(**limits)
