"""An insertion on a live source beside a robot. Every fault is a hold with a name. Nothing here measures time."""

from dataclasses import replace

import pytest
from fake_live import CALM, SOON, FakeLive, older
from fake_rig import HINT, TASK, act, picture

from sonosteer.core.errors import InputError
from sonosteer.core.wall_clock import ClockStep
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.branches import DRY_RUN
from sonosteer.runtime.insertion import Pace
from sonosteer.runtime.replay import Replay, what_is_wrong


def test_a_policy_is_told_what_the_encoders_said_when_the_picture_was_taken():
    fake = FakeLive()
    run = fake.run(Pace(longest_s=1.5))
    decided = [what["observation"] for _, what in fake.notes.on("/decision")]
    assert fake.robot.sent
    assert run.decisions == len(decided) > 3
    for seen in decided:
        assert seen.robot_state.time_s == pytest.approx(seen.capture_time_s, abs=1e-9)
        assert seen.robot_state.depth_mm == pytest.approx(fake.scanner.depths_mm[seen.frame_index], abs=0.2)


def test_the_recording_has_ages_offset_and_faults_of_the_source():
    fake = FakeLive()
    fake.run(Pace(longest_s=1.2))
    accounts = [what for _, what in fake.notes.on("/source")]
    assert len(accounts) >= 2
    assert {"counts", "lag", "complaint", "run_began_wall_s", "clock_step"} <= set(accounts[-1])
    assert accounts[-1]["counts"]["received"] > accounts[0]["counts"]["received"]


def goes_silent(fake):
    fake.scanner.silent, fake.scanner.trouble = True, "connection refused"


def freezes(fake):
    fake.scanner.frozen = picture(fake.needle, 10**6)


def changes(fake):
    fake.scanner.error = InputError("scanner: frame 9 is 32x32 px, those before it 64x64")


def steps(fake):
    fake.scanner.step = ClockStep(fake.clock.now_s() + 60.0, 1.0)


def hangs(fake):
    fake.hangs = fake.needle.robot_state()


def is_past(fake):
    fake.scanner.stamp = lambda time_s: time_s - 30.0


def is_ahead(fake):
    fake.scanner.stamp = lambda time_s: time_s + 30.0


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (goes_silent, "held: no pictures: connection refused"),
        (changes, "held: camera broke: InputError: scanner: frame 9 is 32x32 px"),
        (steps, "held: the time of day on this machine stepped by +1.000 s"),
        (is_past, "older than the robot states that are kept"),
        (is_ahead, "newer than the newest robot state"),
    ],
)
def test_what_is_wrong_with_the_source_is_a_named_hold(breaks, said):
    fake = FakeLive()
    run = fake.until_held(0.5, breaks)
    assert said in run.ended
    assert run.broke is not None
    assert fake.robot.told[-2].order is None


def test_a_source_that_says_nothing_is_a_named_hold_with_what_it_complains_of():
    fake = FakeLive(limits=replace(CALM, silent_s=0.3))
    run = fake.until_held(0.5, lambda f: setattr(f.scanner, "silent", True))
    assert "no frame for" in run.ended


def test_a_picture_that_freezes_is_a_named_hold():
    assert "the same picture" in FakeLive().until_held(0.5, freezes).ended


def test_a_robot_whose_states_are_stale_is_a_named_hold():
    fake = FakeLive(limits=replace(CALM, robot_state_age_s=0.5))
    run = fake.until_held(0.5, hangs)
    assert "robot state" in run.ended
    assert run.broke is not None


def test_a_robot_state_from_the_past_never_replaces_a_newer_one():
    fake = FakeLive(limits=replace(CALM, robot_state_age_s=0.5))
    run = fake.until_held(0.5, lambda f: setattr(f, "hangs", older(f.needle.robot_state(), 5.0)))
    assert "newest robot state" in run.ended or "robot state age" in run.ended


def test_a_frame_without_a_robot_state_is_not_tracked_and_the_next_good_one_goes_on():
    fake = FakeLive()
    fake.scanner.stamp = lambda time_s: time_s - 30.0 if 0.5 < time_s < 0.9 else time_s
    fake.run(Pace(longest_s=2.5))
    held = [what for _, what in fake.notes.on("/tick") if any("older than the robot" in f for f in what["faults"])]
    assert held
    assert all(what["verdict"].rule == "fault" for what in held)
    assert not any(what["observation"].capture_time_s < -1.0 for _, what in fake.notes.on("/decision"))
    assert fake.notes.on("/tick")[-1][1]["faults"] == ()


def test_a_dry_run_sends_nothing_and_records_what_it_would_have_sent(tmp_path):
    log = RunLog(tmp_path / "run.mcap", {})
    fake = FakeLive(recorder=log)
    fake.control_branch.dry_run = True
    run = fake.run(Pace(longest_s=1.5, patience_s=0.3))
    log.close(run.ended)
    assert run.ended == "not there after 1.5 s"
    assert not fake.robot.sent
    assert fake.needle.depth_mm == 20.0
    recorded = RunReader(log.path)
    ticks = [m.what for m in recorded.messages("/tick")]
    assert {t["verdict"]["reason"] for t in ticks} <= {f"held: {DRY_RUN}"}
    assert any("command" in t["would"] for t in ticks)
    replay = Replay(fake.tracker, fake.policy, fake.gate, TASK, HINT)
    done = replay.run(recorded)
    assert what_is_wrong(recorded, done)[0] == []
    assert done.equal["would-be verdict"] == len(ticks)


def test_a_live_run_replays_equal(tmp_path):
    log = RunLog(tmp_path / "run.mcap", {})
    fake = FakeLive(lambda k, seen: act(seen, stop=k >= 12), recorder=log)
    run = fake.run(SOON)
    log.close(run.ended)
    assert run.stopped
    recorded = RunReader(log.path)
    assert recorded.counts["/source"] >= 1
    assert what_is_wrong(recorded, Replay(fake.tracker, fake.policy, fake.gate, TASK, HINT).run(recorded))[0] == []
