"""A sender's clock an hour off, drifting, stepping: ages are right, or it is said."""

import numpy as np
import pytest

from sonosteer.core.sender_clock import SenderClock

RATE_HZ = 30.0


def run(offset_s, seconds=25.0, *, rate_hz=RATE_HZ, delay_s=0.004, jitter_s=0.002, start=0.0, clock=None):
    """(true times of acquisition, what the clock said, when it arrived) of pictures. offset_s: of a true time."""
    clock = clock or SenderClock()
    rng = np.random.default_rng(0)
    out = []
    for k in range(int(seconds * rate_hz)):
        true_s = start + k / rate_hz
        arrived_s = true_s + delay_s + float(rng.exponential(jitter_s))
        out.append((true_s, clock.acquired(true_s + offset_s(true_s), arrived_s), arrived_s))
    return out, clock


@pytest.mark.parametrize("hour_s", [-3600.0, 0.0, 3600.0, 1.7e9])
@pytest.mark.parametrize("ppm", [-200.0, 0.0, 200.0])
def test_ages_are_right_within_5_ms_whatever_the_offset_and_the_drift(hour_s, ppm):
    told, clock = run(lambda t: hour_s + t * ppm * 1e-6)
    errors_s = [said.time_s - true_s for true_s, said, _ in told[30:]]
    assert max(map(abs, errors_s)) < 0.005 + 0.004  # the least delay cannot be known from one side
    assert max(map(abs, np.array(errors_s) - 0.004)) < 0.005
    assert not any(said.fault for _, said, _ in told)
    assert clock.drift_ppm == pytest.approx(-ppm, abs=60.0)


def test_an_acquisition_is_never_later_than_the_arrival():
    told, _ = run(lambda t: 5.0 + (0.3 if 10 < t < 12 else 0.0))
    assert all(said.time_s <= arrived_s for _, said, arrived_s in told)


@pytest.mark.parametrize("step_s", [1.0, -1.0, 3600.0, -3600.0])
@pytest.mark.parametrize("rate_hz", [10.0, 30.0, 60.0])
def test_a_step_is_a_named_fault_within_0_3_s_and_ages_are_right_again_after_it(step_s, rate_hz):
    told, _ = run(lambda t: 10.0 + (step_s if t >= 12 else 0.0), rate_hz=rate_hz)
    named_s = next(arrived_s for _, said, arrived_s in told if said.fault)
    assert 12.0 <= named_s < 12.3
    for true_s, said, _ in told:
        if said.fault is None:
            assert abs(said.time_s - true_s - 0.004) < 0.012
        elif step_s < 0:
            assert said.time_s <= true_s + 0.012, "while it is not sure, an age is rather too large"
    after = [said for true_s, said, _ in told if true_s > 15.0]
    assert not any(said.fault for said in after)


def test_one_damaged_stamp_is_a_fault_and_changes_nothing():
    clock = SenderClock()
    run(lambda t: 10.0, seconds=3.0, clock=clock)
    assert clock.acquired(1e9, 3.01).fault
    before = clock.offset_s
    told, _ = run(lambda t: 10.0, seconds=1.0, start=3.02, clock=clock)
    assert not any(said.fault for _, said, _ in told)
    assert clock.offset_s == pytest.approx(before, abs=0.003)


def test_pictures_that_are_late_are_old_and_it_is_said():
    clock = SenderClock()
    run(lambda t: 10.0, seconds=3.0, clock=clock)
    told = [clock.acquired(3.0 + 10.0 + k / 30, 4.0 + k / 300) for k in range(10)]  # a backlog of a second arrives
    for k, said in enumerate(told):
        assert said.time_s == pytest.approx(3.0 + k / 30 + 0.004, abs=0.004)
        assert "late" in said.fault


def test_without_a_stamp_nothing_is_known():
    assert SenderClock().offset_s is None
    assert SenderClock().drift_ppm is None
