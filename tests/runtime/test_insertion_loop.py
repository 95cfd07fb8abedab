"""The loop on a simulated clock: the same every time, and nobody waits for the policy."""

import math
from dataclasses import replace

import pytest
from fake_rig import QUICK, Fake, FakeTracker, act, push

from sonosteer.core.errors import InputError
from sonosteer.recording.wire import same
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.gate import Refused


def wander(k, observation):
    return act(observation, 6.0 + 2.0 * math.sin(k), probe=(2.0, 0.0, 0.0))


def same_rows(a, b):
    return len(a) == len(b) > 0 and all(map(same, a, b))


def test_the_same_seed_gives_the_same_run():
    one, two = Fake(wander), Fake(wander)
    rows = one.run().rows, two.run().rows
    assert len(rows[0]) == 201
    assert same_rows(*rows)
    assert [t.order for t in one.robot.told] == [t.order for t in two.robot.told]
    other = Fake(wander, tracker=FakeTracker(seed=1))
    other.run()
    assert [e["estimate"].tip_px for _, e in one.notes.on("/estimate")] != [
        e["estimate"].tip_px for _, e in other.notes.on("/estimate")
    ]


def test_a_row_says_what_it_is():
    fake = Fake()
    row = fake.run().rows[-1]
    assert row.visibility == 0.75
    assert row.ordered_mm_s == pytest.approx(8.0)
    assert row.insertion_speed_mm_s == pytest.approx(8.0)
    assert row.depth_mm == pytest.approx(20.0 + 8.0 * (2.0 - 0.04 - 0.1), abs=0.3)
    assert row.held is False


@pytest.mark.parametrize("decide_s", [0.01, 1 / 10.4, 1.0, math.inf])
def test_a_slow_policy_takes_nothing_from_the_tracker(decide_s):
    slow = Fake().run(decide_s=lambda k: decide_s)
    alone = Fake().run(decide_s=lambda k: 1e-3)
    assert slow.ledger.outcomes["used"] >= 0.95 * alone.ledger.outcomes["used"] > 40


def test_no_stale_action_reaches_the_robot():
    """Decisions take from 0 to 0.6 s; the gate allows 0.4 s from capture."""
    fake = Fake()
    run = fake.run(Pace(longest_s=12.0), decide_s=lambda k: 0.1 * (k % 7))
    limits, actions = fake.limits, {}
    for _, what in fake.notes.on("/decision"):
        actions[what["action"].frame_index] = what["action"]
    assert len(fake.robot.sent) > 200
    assert run.decisions > 25
    for told in fake.robot.sent:
        action = actions[told.order.frame_index]
        assert action.age_s(told.time_s) <= limits.action_age_s + 1e-9
        assert not action.command.expired(told.time_s)
        assert told.order.command.expires_at_s <= action.command.expires_at_s
    assert fake.control_branch.held_because["action age"] > 0


def test_with_a_policy_of_one_second_nothing_moves_and_the_reason_is_the_actions_age():
    fake = Fake()
    run = fake.run(decide_s=lambda k: 1.0)
    assert run.decisions >= 1
    assert not fake.robot.sent
    assert fake.needle.depth_mm == 20.0
    reasons = {what["verdict"].rule for _, what in fake.notes.on("/tick") if what["action"] is not None}
    assert reasons == {"action age"}


def test_synchronous_branches_share_one_rate():
    pace = replace(QUICK, asynchronous=False)
    run = Fake().run(pace)
    used = run.ledger.outcomes["used"]
    assert abs(used - run.decisions) <= 1
    assert used == pytest.approx(2.0 * 13.1, rel=0.1)
    assert Fake().run().ledger.outcomes["used"] > 1.5 * used


@pytest.mark.parametrize("rate_hz", [5.0, 25.0, 90.0])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_every_frame_has_one_outcome(rate_hz, asynchronous):
    fake = Fake()
    fake.rig.rate_hz = rate_hz
    run = fake.run(replace(QUICK, asynchronous=asynchronous))
    counts = run.ledger.counts()
    assert counts["captured"] == len(fake.notes.frames) == len(fake.rig.captured_s)
    assert counts["captured"] == counts["used"] + counts["late"] + counts["dropped"] + counts["refused"]
    told = [what["outcome"] for _, what in fake.notes.on("/frame")]
    assert told.count("used") == counts["used"]
    assert told.count("late") == counts["late"]
    assert (counts["late"] > 0) == (rate_hz > 25.0 or (rate_hz == 25.0 and not asynchronous))
    assert len(run.ledger.times_ms["decision"]) == run.decisions


def test_the_times_of_the_stages_are_what_the_pace_says():
    run = Fake().run(Pace(track_s=0.03, decide_s=0.1, longest_s=2.0))
    first = run.ledger.times_ms["estimate"][0], run.ledger.times_ms["decision"][0], run.ledger.times_ms["command"][0]
    assert first == pytest.approx((30.0, 130.0, 130.0), abs=1.0)


def test_a_policy_that_stops_ends_the_run_after_the_needle_has_settled():
    fake = Fake(lambda k, seen: act(seen, stop=k >= 3))
    run = fake.run()
    assert run.stopped
    assert run.ended == "stopped by the policy"
    stopped_s = next(t.time_s for t in fake.robot.told if t.order is not None and t.order.command.stop)
    assert run.time_s == pytest.approx(stopped_s + QUICK.settle_s, abs=0.03)
    assert fake.needle.speed_mm_s == 0.0


def test_a_needle_that_is_held_for_too_long_ends_the_run_and_says_what_held_it():
    run = Fake(lambda k, seen: act(seen, 40.0)).run(Pace(patience_s=1.0))
    assert run.ended == "held: insertion speed 40 mm/s is above 25 mm/s"
    assert run.time_s == pytest.approx(1.0, abs=0.05)


def test_a_needle_that_is_held_ends_the_run_though_its_encoders_say_that_it_moves():
    fake = Fake(lambda k, seen: act(seen, 40.0))
    fake.robot.spoil = lambda robot_state: replace(robot_state, insertion_speed_mm_s=5.0)
    assert fake.run(Pace(patience_s=1.0)).ended.startswith("held: insertion speed")


def test_a_policy_that_does_not_push_ends_the_run():
    run = Fake(lambda k, seen: act(seen, 0.0)).run(Pace(patience_s=1.0))
    assert run.ended == "held: the policy does not push"


def test_a_robot_that_is_gone_for_too_long_ends_the_run_though_it_moved_when_it_was_last_heard():
    fake = Fake()

    def cut(now, capture, seen):
        fake.robot.fault = "disconnects" if now > 0.8 else None

    run = fake.run(Pace(patience_s=1.0, longest_s=20.0), watch=cut)
    assert fake.needle.depth_mm > 23.0
    assert run.ended == "held: the robot does not answer: connection lost"
    assert run.time_s < 2.5
    assert run.rows[-1][0] < 0.9


def test_time_is_up():
    assert Fake().run(Pace(longest_s=1.0)).ended == "not there after 1 s"


def test_whoever_watches_may_end_the_run():
    run = Fake().run(watch=lambda now, capture, seen: "enough" if now > 0.505 else None)
    assert run.ended == "enough"
    assert run.time_s == pytest.approx(0.52, abs=0.011)


def test_a_watcher_is_shown_every_picture_once():
    shown, fake = [], Fake()

    def look(now, capture, seen):
        if capture is not None:
            shown.append(capture.frame.index)

    fake.run(watch=look)
    assert shown == fake.notes.frames


def test_ctrl_c_keeps_what_was_done_and_holds_the_needle():
    def press(now, capture, seen):
        if now > 0.995:
            raise KeyboardInterrupt

    fake = Fake()
    run = fake.run(watch=press)
    assert run.ended == "interrupted"
    assert len(run.rows) == 101
    assert fake.robot.told[-1].reason == "the run is over"
    counts = run.ledger.counts()
    assert counts["captured"] == counts["used"] + counts["late"] + counts["dropped"]


def test_what_breaks_the_loop_holds_the_needle_before_it_is_raised():
    def trip(now, capture, seen):
        if now > 1.0:
            raise ZeroDivisionError

    fake = Fake()
    with pytest.raises(ZeroDivisionError):
        fake.run(watch=trip)
    assert fake.robot.told[-1].reason == "the run is over"


def test_every_period_has_a_verdict_and_a_reason_where_it_is_no():
    fake = Fake()
    run = fake.run()
    ticks = fake.notes.on("/tick")
    assert len(ticks) == fake.control_branch.ticks == len(run.rows) == len(fake.robot.told) - 1
    for (_, what), told in zip(ticks, fake.robot.told, strict=False):
        verdict = what["verdict"]
        if isinstance(verdict, Refused):
            assert told.order is None
            assert told.reason == verdict.reason != ""
        else:
            assert told.order is verdict
    assert sum(fake.control_branch.held_because.values()) == sum(isinstance(w["verdict"], Refused) for _, w in ticks)


@pytest.mark.parametrize("name", ["track_s", "decide_s", "period_s", "longest_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_a_pace_that_is_none_is_refused(name, value):
    with pytest.raises(InputError, match=name):
        Pace(**{name: value})


def test_pushing_is_what_the_fake_does():
    """The fake itself: a needle that is pushed for 2 s comes forward, in the truth and in what the tracker says."""
    fake = Fake(push)
    fake.run()
    tips = [what["estimate"].tip_px for _, what in fake.notes.on("/estimate")]
    moved = math.dist(tips[0], tips[-1]) * 0.2
    assert moved == pytest.approx(fake.needle.depth_mm - 20.0, abs=2.0)
