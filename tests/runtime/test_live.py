"""The loop on a real clock. Nothing here measures time: frames that the tracker used are counted against those that the
camera took, in up to three attempts, since the machine may be busy with other things. A tracker that waited for the
policy, the disk or a watcher would use two frames of fifty, each time.
"""

import threading
import time
from dataclasses import replace

import pytest
from fake_rig import QUICK, Fake, FakeTracker, act, push

from sonosteer.core.clock import RealClock
from sonosteer.recording import appended
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.limits import Limits

#: nothing here is about a machine that is too slow for its control loop
CALM = Limits(heartbeat_s=30.0, silent_s=30.0, time_step_s=30.0, robot_state_age_s=30.0)
BRANCHES = {"camera", "tracking", "deciding"}


def live(say=push, **more):
    return Fake(say, limits=more.pop("limits", CALM), clock=RealClock(), **more)


def branches():
    return BRANCHES & {thread.name for thread in threading.enumerate()}


def share_used(run):
    return run.ledger.outcomes["used"] / run.ledger.frames


def attempts(one, tries=3):
    """True once an attempt succeeds; a busy machine fails some, a defect fails them all."""
    return any(one() for _ in range(tries))


def sleepy(k, seen):
    time.sleep(1.0)
    return act(seen)


def test_a_policy_of_one_second_takes_nothing_from_the_tracker_and_moves_nothing():
    def one():
        alone, slow = live(), live(sleepy)
        used = [share_used(fake.run(Pace(longest_s=1.3))) for fake in (alone, slow)]
        assert not slow.robot.sent
        assert slow.needle.depth_mm == 20.0
        assert not branches()
        return used[1] >= 0.95 * used[0] > 0.5

    assert attempts(one)


def test_every_frame_has_one_outcome_and_what_was_done_is_recorded():
    fake = live()
    run = fake.run(Pace(longest_s=1.0))
    counts = run.ledger.counts()
    assert run.ended == "not there after 1 s"
    assert counts["captured"] == counts["used"] + counts["late"] + counts["dropped"] == len(fake.notes.frames)
    assert len(fake.notes.on("/estimate")) == counts["used"] == len(run.ledger.times_ms["estimate"])
    assert len(fake.notes.on("/decision")) == run.decisions > 0
    assert len(fake.notes.on("/tick")) == fake.control_branch.ticks > 10
    assert fake.robot.sent
    assert fake.robot.told[-1].reason == "the run is over"
    assert not branches()


def test_what_a_tick_refers_to_was_recorded_before_it():
    fake = live()
    fake.run(Pace(longest_s=1.0))
    estimates, actions = set(), set()
    for topic, _, what in fake.notes.said:
        if topic == "/estimate":
            estimates.add(what["estimate"].frame_index)
        elif topic == "/decision":
            actions.add(what["action"].frame_index)
        elif topic == "/tick":
            assert what["estimate"] is None or what["estimate"] in estimates
            assert what["action"] is None or what["action"] in actions


def test_no_order_is_older_than_it_may_be():
    def uneven(k, seen):
        time.sleep(0.05 * (k % 10))
        return act(seen)

    fake = live(uneven)
    fake.run(Pace(longest_s=2.0))
    decided = {w["action"].frame_index: w["action"] for _, w in fake.notes.on("/decision")}
    for _, what in fake.notes.on("/tick"):
        verdict = what["verdict"]
        if hasattr(verdict, "command"):
            action = decided[verdict.frame_index]
            assert verdict.cleared_at_s - action.capture_time_s <= CALM.action_age_s
            assert verdict.cleared_at_s < verdict.command.expires_at_s <= action.command.expires_at_s


def test_synchronous_branches_wait_for_one_another():
    def slow(k, seen):
        time.sleep(0.2)
        return act(seen)

    fake = live(slow)
    run = fake.run(Pace(longest_s=1.0, asynchronous=False))
    assert abs(run.ledger.outcomes["used"] - run.decisions) <= 1
    assert run.ledger.outcomes["used"] <= 6
    assert run.ledger.outcomes["late"] > 0


def test_no_frame_waits_for_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    """The needle is held, since nothing is recorded any more; the tracker goes on, and so does the control loop."""
    free, write = threading.Event(), appended.os.write
    monkeypatch.setattr(appended.os, "write", lambda fd, data: free.wait(60.0) and write(fd, data))

    def one():
        free.set()
        log = RunLog(tmp_path / "run.mcap", {})
        free.clear()
        try:
            fake = live(recorder=log)
            run = fake.run(Pace(longest_s=1.6))
            reason = fake.robot.told[-2].reason
        finally:
            free.set()
            log.close()
        assert fake.robot.told[-2].order is None
        assert "nothing has reached the disk for" in reason
        assert RunReader(log.path).complete
        return share_used(run) > 0.8 and run.ledger.outcomes["used"] > 20

    assert attempts(one)


def test_no_frame_waits_for_a_watcher_and_the_robot_stands_while_one_sleeps():
    """A watcher is asked between two orders: one that sleeps makes the last order expire, and trips the heartbeat."""

    def one():
        def sleep(now, capture, seen):
            if now > 0.5 and not slept:
                slept.append(fake.needle.depth_mm)
                time.sleep(0.8)
                slept.append(fake.needle.speed_mm_s)

        slept = []
        fake = live(limits=replace(CALM, heartbeat_s=0.4))
        run = fake.run(Pace(longest_s=1.5), watch=sleep)
        assert slept[1] == 0.0
        assert fake.control_branch.state.stop.kind == "heartbeat"
        return share_used(run) > 0.8

    assert attempts(one)


@pytest.mark.parametrize("how", ["raises", "nonsense"])
def test_a_tracker_that_breaks_holds_the_needle(how):
    fake = live(tracker=FakeTracker(fails=lambda index: how if index >= 10 else None))
    run = fake.run(Pace(longest_s=20.0, patience_s=0.5))
    assert run.ended.startswith("held: the tracker broke")


def test_a_policy_that_breaks_holds_the_needle():
    def breaks(k, seen):
        if k > 3:
            raise ValueError("of its own")
        return act(seen)

    run = live(breaks).run(Pace(longest_s=20.0, patience_s=0.5))
    assert run.ended == "held: the policy broke: ValueError: of its own"


def test_a_camera_that_breaks_holds_the_needle():
    fake = live()
    capture = fake.rig.capture

    def breaks(now_s):
        if now_s > 0.4:
            raise OSError("unplugged")
        return capture(now_s)

    fake.rig.capture = breaks
    run = fake.run(Pace(longest_s=20.0, patience_s=0.5))
    assert run.ended == "held: camera broke: OSError: unplugged"
    assert not branches()


def test_a_policy_that_never_answers_does_not_keep_the_run_from_ending():
    asleep = threading.Event()
    fake = live(lambda k, seen: asleep.wait(60.0))
    run = fake.run(Pace(longest_s=0.5))
    assert run.ended == "not there after 0.5 s"
    assert branches() == {"deciding"}
    asleep.set()
    next(t for t in threading.enumerate() if t.name == "deciding").join(10.0)
    assert not branches()


def test_ctrl_c_ends_the_threads_and_holds_the_needle():
    def press(now, capture, seen):
        if now > 0.4:
            raise KeyboardInterrupt

    fake = live()
    run = fake.run(QUICK, watch=press)
    assert run.ended == "interrupted"
    assert fake.robot.told[-1].reason == "the run is over"
    assert not branches()


def test_a_policy_that_stops_ends_the_run():
    run = live(lambda k, seen: act(seen, stop=k >= 5)).run(Pace(longest_s=30.0))
    assert run.ended == "stopped by the policy"
