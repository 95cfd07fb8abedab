"""A held needle is moved to and fro where it has been, through the gate, recorded, and a replay repeats it."""

from dataclasses import replace

import numpy as np
import pytest
from fake_rig import Fake, act
from test_by_hand import LostFrom
from test_replay import again, all_equal, record

from sonosteer.core.types import Lost
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.insertion import Pace
from sonosteer.runtime.wiggle import AMPLITUDE_MM, BEHIND_MM, SWING_HZ, WiggleMotion
from sonosteer.safety.gate import Refused
from sonosteer.safety.limits import Limits

LIMITS = Limits()
LOST_S = 0.8  # the tracker loses the tip then


def wiggles(k, seen, lasts_s=1.5):
    """Push until the tip is lost, then ask for a wiggle for a while."""
    asked = isinstance(seen.estimate, Lost) and seen.capture_time_s < LOST_S + lasts_s
    return replace(act(seen, 0.0 if asked else 10.0), wiggle=asked)


def run(say=wiggles, *, noise_mm=0.05, longest_s=4.0, late_s=0.0, **more):
    """A run of a robot whose encoder is as noisy as the simulated one's. Returns it and (time, depth) of every tick."""
    fake, rows, rng = Fake(say, tracker=LostFrom(), **more), [], np.random.default_rng(3)
    fake.robot.spoil = lambda r: replace(
        r,
        depth_mm=r.depth_mm + noise_mm * rng.standard_normal(),
        insertion_speed_mm_s=r.insertion_speed_mm_s + 10 * noise_mm * rng.standard_normal(),
    )
    send, waiting = fake.robot.send, []

    def later(cleared):
        waiting.append((fake.needle.time_s + late_s, cleared))

    def watch(now, capture, seen):
        while waiting and waiting[0][0] <= now + 1e-9:
            send(waiting.pop(0)[1])
        rows.append((now, fake.needle.depth_mm))

    if late_s:
        fake.robot.send = later
    fake.run(Pace(longest_s=longest_s, patience_s=9.0), watch=watch)
    return fake, np.array(rows)


def swings(rows):
    """The part in which it swings, and the deepest point before."""
    held = rows[rows[:, 0] < LOST_S + 0.25, 1].max()
    return held, rows[(rows[:, 0] > LOST_S + 0.6) & (rows[:, 0] < LOST_S + 1.5)]


@pytest.mark.parametrize("late_s", [0.0, 0.03])
def test_a_wiggle_stays_within_its_limits_and_no_deeper_than_before(late_s):
    _, rows = run(late_s=late_s)
    held, swung = swings(rows)
    after = rows[rows[:, 0] > LOST_S + 0.25, 1]
    assert after.max() <= held + 1e-9
    assert after.min() >= held - LIMITS.wiggle_mm
    assert np.abs(np.diff(rows[rows[:, 0] > LOST_S + 0.3, 1])).max() <= LIMITS.wiggle_mm_s * 0.01 + 1e-9
    assert 0.7 * 2 * AMPLITUDE_MM < np.ptp(swung[:, 1]) < 1.4 * 2 * AMPLITUDE_MM


def test_it_swings_at_its_rate():
    _, rows = run()
    _, swung = swings(rows)
    turns = np.count_nonzero(np.diff(np.sign(np.diff(np.round(swung[:, 1], 3)))))
    assert turns >= 2
    spectrum = np.abs(np.fft.rfft(swung[:, 1] - swung[:, 1].mean(), 1000))
    assert np.fft.rfftfreq(1000, 0.01)[spectrum.argmax()] == pytest.approx(SWING_HZ, abs=0.4)


def test_a_policy_that_wiggles_on_and_on_is_stopped_by_the_gate():
    fake, rows = run(lambda k, seen: wiggles(k, seen, lasts_s=99.0), longest_s=9.0)
    reasons = [w["verdict"].reason for _, w in fake.notes.on("/tick") if isinstance(w["verdict"], Refused)]
    assert any(reason.startswith("wiggle time") for reason in reasons)
    late = rows[rows[:, 0] > LOST_S + LIMITS.wiggle_s + 0.6, 1]
    assert np.ptp(late) == 0.0


def test_without_being_asked_nothing_moves():
    fake, rows = run(lambda k, seen: act(seen, 10.0))
    assert all(what["wiggle"] is None for _, what in fake.notes.on("/tick"))
    assert np.ptp(rows[rows[:, 0] > LOST_S + 0.5, 1]) == 0.0


def test_a_wish_that_expired_moves_nothing_more():
    once = []

    def say(k, seen):
        if isinstance(seen.estimate, Lost) and not once:
            once.append(k)
            return replace(act(seen, 0.0, lives_s=0.3), wiggle=True)
        return None if once else act(seen, 10.0)

    _, rows = run(say)
    assert np.ptp(rows[rows[:, 0] > LOST_S + 0.7, 1]) == 0.0


@pytest.mark.parametrize("word", ["press", "pause"])
def test_who_stops_or_pauses_wiggles_nothing(word):
    fake = Fake(wiggles, tracker=LostFrom())
    rows = []

    def watch(now, capture, seen):
        if now > LOST_S + 0.7:
            getattr(fake.control_branch, word)()
        rows.append((now, fake.needle.depth_mm))

    fake.run(Pace(longest_s=3.0, patience_s=9.0), watch=watch)
    rows = np.array(rows)
    assert np.ptp(rows[rows[:, 0] > LOST_S + 0.8, 1]) == 0.0


def test_the_operator_s_hand_comes_before_a_wiggle():
    fake = Fake(wiggles, tracker=LostFrom())

    def watch(now, capture, seen):
        if LOST_S + 0.5 < now < LOST_S + 0.52:
            fake.control_branch.drive("back", now)

    fake.run(Pace(longest_s=3.0, patience_s=9.0), watch=watch)
    by_hand = [what for _, what in fake.notes.on("/tick") if what["hand"] is not None]
    assert by_hand
    assert all(what["wiggle"] is None for what in by_hand)


def test_a_wiggle_is_recorded_and_a_replay_repeats_it(tmp_path):
    path = tmp_path / "run.mcap"
    fake = record(path, wiggles, pace=Pace(longest_s=3.0, patience_s=9.0), tracker=LostFrom())
    ticks = [message.what for message in RunReader(path).messages("/tick")]
    assert sum(what["wiggle"] is not None and "rule" not in what["verdict"] for what in ticks) > 80
    all_equal(again(path, wiggles, tracker=LostFrom()), fake)


def test_the_motion_alone():
    robot_state = Fake().needle.robot_state()
    motion = WiggleMotion.begin(20.0, 5.0)
    assert motion.middle_mm == 20.0 - BEHIND_MM
    same, speed = motion.step(5.0, LIMITS, robot_state)
    assert same is motion
    assert speed < 0.0
    there = replace(robot_state, depth_mm=motion.middle_mm)
    swinging, speed = motion.step(5.3, LIMITS, there)
    assert swinging.swings_s == 5.3
    assert -LIMITS.wiggle_mm_s <= speed < 0.0
    slow = Limits(wiggle_mm_s=1.0)
    assert all(abs(swinging.step(5.3 + t, slow, there)[1]) <= 1.0 for t in np.arange(0.0, 1.0, 0.01))
    wanted = swinging.action(-2.0, 6.0, estimate=Lost(3, 5.9, "hidden"), robot_state=there, kept_rad=None)
    assert (wanted.frame_index, wanted.capture_time_s, wanted.wiggle) == (3, 5.9, True)
    assert wanted.command.insertion_angle_rad == there.insertion_angle_rad
