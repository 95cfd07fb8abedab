"""The time of day and a run's clock: one mapping, and a step is said once."""

import pytest

from sonosteer.core.clock import ShiftedClock, SimulatedClock
from sonosteer.core.wall_clock import WallClock


class Day:
    """A time of day that can be put forward."""

    def __init__(self, clock, start_s=1000.0, rate=1.0):
        self.clock, self.start_s, self.rate = clock, start_s, rate

    def __call__(self):
        return self.start_s + self.rate * self.clock.now_s()


def test_times_go_to_and_fro():
    clock = SimulatedClock(5.0)
    wall = WallClock(clock, Day(clock))
    clock.advance(3.0)
    assert wall.to_run_s(1008.0) == pytest.approx(8.0)
    assert wall.to_wall_s(8.0) == pytest.approx(1008.0)


@pytest.mark.parametrize("step_s", [1.0, -1.0, 0.05])
def test_a_step_is_said_once_and_followed(step_s):
    clock = SimulatedClock()
    day = Day(clock)
    wall = WallClock(clock, day)
    assert wall.check() is None
    day.start_s += step_s
    assert f"{step_s:+.3f}" in wall.check()
    assert wall.check() is None
    assert wall.to_run_s(day()) == pytest.approx(clock.now_s())


def test_slow_changes_are_followed_in_silence():
    clock = SimulatedClock()
    day = Day(clock, rate=1.0005)
    wall = WallClock(clock, day)
    for _ in range(100):
        clock.advance(1.0)
        assert wall.check() is None
    assert wall.to_run_s(day()) == pytest.approx(100.0, abs=0.001)


def test_one_look_that_is_disturbed_is_no_step():
    clock = SimulatedClock()

    class Disturbed(Day):
        looks = 0

        def __call__(self):
            self.looks += 1
            if self.looks == 7:  # the thread is put aside for half a second
                self.clock.advance(0.5)
            return super().__call__()

    wall = WallClock(clock, Disturbed(clock))
    assert wall.check() is None


def test_a_shifted_clock_is_another_zero_of_the_same_time():
    clock = SimulatedClock()
    shifted = ShiftedClock(clock, 2.0)
    assert shifted.now_s() == -2.0
    shifted.sleep_until(1.0)
    assert clock.now_s() == 3.0
