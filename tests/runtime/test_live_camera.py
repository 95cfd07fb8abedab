"""What makes a live source doubtful is named for as long as it lasts."""

from fake_live import FakeLive

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.sender_clock import STEPPED_BACK, STEPPED_FORWARD
from sonosteer.core.wall_clock import ClockStep, WallClock
from sonosteer.runtime.live_camera import ACCOUNT_S, STEP_HOLD_S, Camera, LiveCamera


def camera():
    scanner = FakeLive().scanner
    return scanner, LiveCamera(scanner)


def test_a_source_that_is_well_has_no_fault():
    _, seen = camera()
    assert isinstance(seen, Camera)
    assert seen.faults(1.0) == ()


def test_a_source_that_is_gone_says_why():
    scanner, seen = camera()
    scanner.trouble = "connection refused"
    assert seen.faults(1.0) == ("no pictures: connection refused",)


def test_a_step_of_the_time_of_day_holds_for_a_while():
    scanner, seen = camera()
    scanner.step = ClockStep(5.0, -1.0)
    for now_s, wrong in ((5.0, True), (5.0 + STEP_HOLD_S, True), (5.01 + STEP_HOLD_S, False)):
        assert bool(seen.faults(now_s)) == wrong
    assert "the time of day on this machine stepped by -1.000 s" in seen.faults(5.1)[0]


def test_a_step_of_the_sender_s_clock_holds_for_a_while_each_time():
    scanner, seen = camera()
    scanner.faults = {"a picture is late, or the sender's clock stepped back": 7}
    assert seen.faults(1.0) == ()
    for k, words in enumerate((STEPPED_FORWARD, STEPPED_BACK)):
        scanner.faults = scanner.faults | {words: 1}
        began_s = 10.0 * (k + 1)
        assert words in seen.faults(began_s)[0]
        assert words in seen.faults(began_s + 1.0)[0]
        assert seen.faults(began_s + STEP_HOLD_S + 0.01) == ()


def test_the_account_has_ages_offset_and_the_one_mapping():
    scanner, seen = camera()
    scanner.step = ClockStep(1.0, 0.5)
    account = seen.account(3.0)
    assert account["lag"] == {"clock_offset_s": 0.25}
    assert account["run_began_wall_s"] == 1e9
    assert account["clock_step"] == {"at_s": 1.0, "by_s": 0.5}
    assert seen.account(3.0 + 0.5 * ACCOUNT_S) is None
    assert seen.account(3.0 + ACCOUNT_S) is not None


def test_the_mapping_keeps_its_last_step():
    clock, wall = SimulatedClock(), [100.0]
    mapping = WallClock(clock, lambda: wall[0] + clock.now_s())
    assert mapping.check() is None
    assert mapping.last_step is None
    wall[0] += 1.0
    clock.advance(2.0)
    assert "stepped by +1.000 s" in mapping.check()
    assert (mapping.last_step.at_s, round(mapping.last_step.by_s, 6)) == (2.0, 1.0)
    assert mapping.check() is None
    assert mapping.last_step is not None
