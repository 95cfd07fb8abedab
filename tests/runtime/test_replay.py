"""What was recorded decides the same again, whatever happened; what decides otherwise is found."""

from dataclasses import replace

import pytest
from fake_rig import HINT, SPACING, TASK, Fake, FakeTracker, Scripted, act, push
from test_random_runs import LIMITS, RandomFaults, RandomPolicy

from sonosteer.core.clock import RealClock
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.insertion import Pace
from sonosteer.runtime.replay import Replay
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits

PACE = Pace(longest_s=3.0)


def record(path, say=push, *, pace=PACE, clock=None, run=None, **more):
    with RunLog(path, {}, live=clock is not None) as log:
        fake = Fake(say, recorder=log, clock=clock, **more)
        done = (run or (lambda f: f.run(pace)))(fake)
        log.close(done.ended)
    assert log.failed is None
    return fake


def again(path, say=push, *, tracker=None, limits=None, regions=()):
    gate = Gate(limits or Limits(), regions, SPACING)
    return Replay(tracker or FakeTracker(), Scripted(say), gate, TASK, HINT).run(RunReader(path))


def all_equal(done, fake=None):
    assert done.first is None
    assert not done.different
    assert done.decisions > 0
    if fake is not None:
        assert done.equal["verdict"] + sum(done.skipped.values()) == fake.control_branch.ticks
    return done


def test_a_run_on_a_simulated_clock_is_equal(tmp_path):
    fake = record(tmp_path / "run.mcap")
    done = all_equal(again(tmp_path / "run.mcap"), fake)
    assert not done.skipped
    assert done.equal["estimate"] > 70
    assert done.equal["action"] > 25


def test_a_live_run_is_equal(tmp_path):
    fake = record(tmp_path / "run.mcap", clock=RealClock(), pace=Pace(longest_s=1.5))
    done = all_equal(again(tmp_path / "run.mcap"), fake)
    assert not done.skipped
    assert min(done.equal[kind] for kind in ("estimate", "action", "verdict")) > 3


def test_a_live_run_whose_gate_began_late_on_its_clock_is_equal(tmp_path):
    clock = RealClock()
    clock._origin_ns -= 10**9  # a second ago
    fake = record(tmp_path / "run.mcap", clock=clock, pace=Pace(longest_s=0.5))
    all_equal(again(tmp_path / "run.mcap"), fake)


def test_a_synchronous_run_is_equal(tmp_path):
    fake = record(tmp_path / "run.mcap", pace=replace(PACE, asynchronous=False))
    all_equal(again(tmp_path / "run.mcap"), fake)


@pytest.mark.parametrize("how", ["lost", "jump", "raises", "nonsense"])
def test_a_run_whose_tracker_fails_now_and_then_is_equal(tmp_path, how):
    def tracker():
        return FakeTracker(fails=lambda index: how if index % 9 == 8 else None)

    fake = record(tmp_path / "run.mcap", tracker=tracker())
    all_equal(again(tmp_path / "run.mcap", tracker=tracker()), fake)


def test_a_run_whose_policy_breaks_now_and_then_is_equal(tmp_path):
    def breaks(k, seen):
        if seen.frame_index % 3 == 2:
            raise ValueError
        return "nonsense" if seen.frame_index % 3 == 1 else act(seen, 5.0 + k)

    fake = record(tmp_path / "run.mcap", breaks)
    all_equal(again(tmp_path / "run.mcap", breaks), fake)


def test_a_run_whose_policy_answers_more_than_once_to_a_frame_is_equal(tmp_path):
    def twice(k, seen):
        return replace(act(seen, 5.0 + k), frame_index=seen.frame_index // 6 * 6)

    fake = record(tmp_path / "run.mcap", twice)
    assert fake.control_branch.refused["late reply"] > 5
    assert fake.robot.sent
    all_equal(again(tmp_path / "run.mcap", twice), fake)


def test_random_runs_with_random_faults_are_equal(tmp_path):
    """Frames that repeat, clocks that jump, NaN, old actions again, a robot that comes and goes: all of it."""
    fails = {}

    def run(fake):
        faults = RandomFaults(fake, 5)

        def fails_now(index):
            return fails.setdefault(index, faults.of_the_tracker(index))

        fake.tracker.fails = fails_now
        fake.control_branch.recorder = Forgiving(fake.notes)
        fake.notes = fake.control_branch.recorder

        def watch(now, capture, seen):
            if fake.control_branch.state.stop is not None:
                return "stopped"
            faults(now, capture, seen)
            return None

        return fake.run(Pace(longest_s=10.0, patience_s=1e6), watch=watch, decide_s=faults.decide_s)

    tracker = FakeTracker(seed=5, shared=True)
    fake = record(tmp_path / "run.mcap", RandomPolicy(5), run=run, limits=LIMITS, tracker=tracker)
    assert fake.control_branch.ticks > 300
    tracker = FakeTracker(seed=5, shared=True, fails=lambda index: fails.get(index))
    all_equal(again(tmp_path / "run.mcap", RandomPolicy(5), limits=LIMITS, tracker=tracker))


class Forgiving:
    """A recorder that may be told that it failed, and records all the same."""

    def __init__(self, log):
        self.log, self.failed = log, None
        self.write, self.frame = log.write, log.frame


def test_another_policy_is_found_and_so_is_what_came_first(tmp_path):
    record(tmp_path / "run.mcap")
    done = again(tmp_path / "run.mcap", lambda k, seen: act(seen, 8.0 if k < 5 else 9.0))
    assert done.equal["action"] == 5
    assert done.different["action"] > 10
    assert not done.different["estimate"]
    assert not done.different["verdict"]  # the gate is told what was decided then
    assert done.first.startswith("action on frame ")
    assert "'insertion_speed_mm_s': 8.0" in done.first


def test_a_policy_that_breaks_where_it_did_not_is_found(tmp_path):
    record(tmp_path / "run.mcap")
    done = again(tmp_path / "run.mcap", lambda k, seen: None)
    assert done.different["action"] > 10
    assert "is the policy broke: " in done.first


def test_another_tracker_is_found(tmp_path):
    record(tmp_path / "run.mcap")
    done = again(tmp_path / "run.mcap", tracker=FakeTracker(seed=1))
    assert not done.equal["estimate"]
    assert done.first.startswith("estimate of frame 0: was ")


@pytest.mark.parametrize("changed", [{"forward_mm_s": 7.0}, {"acceleration_mm_s2": 150.0}, {"order_s": 0.2}])
def test_other_limits_are_found(tmp_path, changed):
    record(tmp_path / "run.mcap")
    done = again(tmp_path / "run.mcap", limits=Limits(**changed))
    assert done.different["verdict"] > 0
    assert not done.different["action"]
    assert done.first.startswith("verdict at ")


def test_a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes(tmp_path):
    record(tmp_path / "run.mcap")
    whole = (tmp_path / "run.mcap").read_bytes()
    before = 0
    for share in (0.3, 0.6, 0.9, 0.999):
        cut = tmp_path / "cut.mcap"
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert not RunReader(cut).complete
        done = again(cut)
        assert done.first is None
        assert done.decisions >= before
        before = done.decisions
    assert 0 < before <= again(tmp_path / "run.mcap").decisions


def test_pictures_that_were_not_recorded_are_said_to_be_missing(tmp_path):
    log = RunLog(tmp_path / "run.mcap", {}, live=False)
    fake = Fake(recorder=log)
    frame = log.frame
    log.frame = lambda f, now: frame(f, now) if f.index < 20 else None
    log.close(fake.run(PACE).ended)
    done = all_equal(again(tmp_path / "run.mcap"), None)
    assert done.equal["estimate"] == 20
    assert done.equal["verdict"] == fake.control_branch.ticks
    assert any("the picture of frame 20 was not recorded" in why for why in done.skipped)


def test_a_recording_of_something_else_makes_no_sense(tmp_path):
    with RunLog(tmp_path / "run.mcap", {}) as log:
        robot_state = Fake().needle.robot_state()
        log.write(
            "/tick", 0.0, {"robot_state": robot_state, "estimate": None, "action": None, "faults": [], "stop": None}
        )
    assert "does not say when its gate started" in again(tmp_path / "run.mcap").lacks
