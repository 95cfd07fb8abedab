"""Everything that can break does, once each: the needle is told to hold within one control period of the moment at
which it can be known, and the reason is in the recording.

Each test says what that moment is. A control period is 10 ms; the fault begins at AT in the middle of a steady push.
"""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_rig import SPACING, TASK, Fake, FakeTracker, Needle, act, picture, push

from sonosteer.core.types import Action, Capture, Command, Frame, Observation
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import RunReader
from sonosteer.robots.simulated import SimulatedRobot
from sonosteer.runtime.branches import ControlBranch
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.gate import Gate, Refused
from sonosteer.safety.limits import Limits
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

AT = 1.0
PERIOD = Pace().period_s
PACE = Pace(longest_s=2.0)
EPS = 1e-6


def from_at_on(do):
    """A watcher that does something in every period from AT on, after the hand has been asked."""

    def watch(now, capture, seen):
        if now >= AT - EPS:
            do(now)

    return watch


def held_since(fake):
    """When the robot was told to hold for the first time from AT on."""
    return next(t.time_s for t in fake.robot.told if t.order is None and t.time_s >= AT - EPS)


def reasons(fake, since_s=AT):
    """What the recording says from then on."""
    verdicts = [w["verdict"] for t, w in fake.notes.on("/tick") if t > since_s + EPS]
    return [v.reason for v in verdicts if isinstance(v, Refused)]


def check(fake, known_s, reason, until_s=math.inf):
    """It pushed before, was told to hold within a period of known_s for this reason, and to nothing else until then."""
    assert sum(t.time_s < AT for t in fake.robot.sent) > 50
    assert held_since(fake) <= known_s + PERIOD + EPS
    assert reason in reasons(fake)[0], reasons(fake)[0]
    held = [t for t in fake.robot.told if held_since(fake) <= t.time_s < until_s - EPS]
    assert held
    assert all(t.order is None for t in held)
    assert all(t.at.insertion_speed_mm_s == 0.0 for t in held if t.time_s > held_since(fake) + fake.limits.standstill_s)


def first_frame_after(fake, time_s=AT):
    return next(i for i, t in sorted(fake.rig.captured_s.items()) if t > time_s + EPS)


def seen_at(fake, index):
    """When the estimate of a frame was handed over."""
    return next(t for t, what in fake.notes.on("/estimate") if what["estimate"].frame_index == index)


# -- the camera ------------------------------------------------------------------------------------------------


def test_the_camera_stops():
    """Known `silent_s` after the last frame came."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.rig, "silent", True)))
    last_s = max(fake.rig.captured_s.values())
    assert last_s == pytest.approx(AT, abs=0.05)
    check(fake, last_s + fake.limits.silent_s, "no frame for")


def test_the_same_frame_comes_again_and_again():
    """Known when it comes for the second time."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.rig, "stuck", True)))
    last = max(fake.rig.captured_s)
    second_s = fake.rig.captured_s[last] + 1 / fake.rig.rate_hz
    check(fake, second_s, f"frame {last} came after frame {last}")


def test_the_picture_is_frozen_though_frames_are_numbered_and_dated_on():
    """Known when it has come as often as `repeats` says."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.rig, "frozen", True)))
    frozen_s = fake.rig.captured_s[first_frame_after(fake) - 1]
    known_s = frozen_s + (fake.limits.repeats - 1) / fake.rig.rate_hz
    check(fake, known_s, "the same picture 5 times in a row")


@pytest.mark.parametrize(
    ("shift_s", "reason"),
    [(0.5, "time stamps jump"), (-0.03, None), (-0.5, "time stamps go back"), (math.nan, "time stamps go back")],
)
def test_time_stamps_jump_and_go_back(shift_s, reason):
    """Known when the first such frame comes. 30 ms are within what any clock may be off, and let pass."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.rig, "shift_s", shift_s)))
    if reason is None:
        assert not reasons(fake)
    else:
        check(fake, fake.rig.captured_s[first_frame_after(fake)], reason)


def test_frame_numbers_go_back():
    """Known when the first such frame comes. Held until there are numbers that were not there before."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.rig, "renumber", -20)))
    known_s = min(t for t in fake.rig.captured_s.values() if t > AT + EPS)
    check(fake, known_s, "came after frame 25", until_s=fake.rig.captured_s[26])


# -- the tracker -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("lost", "insertion speed while the tip is lost 8 mm/s is above 0 mm/s"),
        ("jump", "tip jump"),
        ("nonsense", "it says 'over there', which is no estimate"),
        ("raises", "the tracker broke: ValueError: a tracker's own mistake"),
    ],
)
def test_the_tracker_fails(how, reason):
    """Known when the estimate is there: lost, confidently wrong by 30 mm, no estimate at all, or an exception."""
    fake = Fake(tracker=FakeTracker(fails=lambda index: how if index >= 26 else None))
    fake.run(PACE)
    until_s = seen_at(fake, 26) + fake.limits.jump_hold_s if how == "jump" else math.inf
    check(fake, seen_at(fake, 26), reason, until_s)


def test_a_tip_that_jumps_back_after_one_frame_holds_for_as_long_as_the_limit_says():
    fake = Fake(tracker=FakeTracker(fails=lambda index: "jump" if index == 26 else None))
    fake.run(Pace(longest_s=3.0))
    jumped_s = seen_at(fake, 26)
    again_s = next(t.time_s for t in fake.robot.sent if t.time_s > jumped_s)
    assert again_s == pytest.approx(seen_at(fake, 27) + fake.limits.jump_hold_s, abs=2 * PERIOD)


def test_a_tracker_that_stays_wrong_after_its_jump_is_believed_after_a_while():
    """What the jump rule is and is not: it stops, it does not judge which of two places was right."""
    fake = Fake(tracker=FakeTracker(fails=lambda index: "jump" if index >= 26 else None))
    fake.run(Pace(longest_s=3.0))
    assert any(t.time_s > seen_at(fake, 26) for t in fake.robot.sent)


# -- the policy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lives_s", "reason"), [(0.3, "time since the action expired"), (0.5, "action age")])
def test_the_policy_hangs(lives_s, reason):
    """Known when its last action has expired, or is older than `action_age_s` from its frame's capture."""
    fake = Fake(lambda k, seen: act(seen, lives_s=lives_s))
    fake.run(PACE, decide_s=lambda k: math.inf if k >= 10 else 0.1)
    last = fake.notes.on("/decision")[-1][1]["action"]
    known_s = last.capture_time_s + min(lives_s, fake.limits.action_age_s)
    assert sum(t.time_s < known_s for t in fake.robot.sent) > 50
    assert known_s - PERIOD <= held_since(fake) <= known_s + PERIOD + EPS
    assert reason in reasons(fake, held_since(fake))[0]


class SaysOnce:
    """Pushes, but says something else once, on the first frame after AT. Remembers on which frame."""

    def __init__(self, what, count=1):
        self.what, self.left, self.frame = what, count, None

    def __call__(self, k, seen):
        if seen.capture_time_s < AT - EPS or not self.left:
            return push(k, seen)
        self.left -= 1
        self.frame = self.frame or seen.frame_index
        return self.what(seen)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda seen: act(seen, math.nan), "action: insertion_speed_mm_s is nan"),
        (lambda seen: act(seen, angle_rad=math.inf), "action: insertion_angle_rad is inf"),
        (lambda seen: act(seen, probe=(0.0, math.nan, 0.0)), "action: probe_velocity_mm_s"),
        (lambda seen: act(seen, lives_s=math.nan), "action: expires_at_s is nan"),
        (lambda seen: replace(act(seen), capture_time_s=math.nan), "action: capture_time_s is nan"),
        (lambda seen: act(seen, 1e300), "action: insertion_speed_mm_s is 1e+300"),
        (lambda seen: act(seen, 1e9), "insertion speed 1e+09 mm/s is above 25 mm/s"),
        (lambda seen: act(seen, -1e9), "retraction speed 1e+09 mm/s is above 25 mm/s"),
        (lambda seen: act(seen, lives_s=1e9), "action lifetime 1e+09 s is above 0.5 s"),
    ],
)
def test_the_policy_says_numbers_that_cannot_be(what, reason):
    """Known when the action is handed over. The next good one is carried out again."""
    says = SaysOnce(what)
    fake = Fake(says)
    fake.run(PACE)
    known_s = next(t for t, w in fake.notes.on("/decision") if w["action"].frame_index == says.frame)
    holds = [t.time_s for t in fake.robot.told if t.order is None and t.time_s > AT]
    assert known_s - EPS <= holds[0] <= known_s + PERIOD + EPS
    assert reason in reasons(fake)[0]
    assert any(t.time_s > holds[0] for t in fake.robot.sent)


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda seen: None, "it says None, which is no action"),
        (lambda seen: "push", "it says 'push', which is no action"),
        (lambda seen: act(seen, "fast"), "'fast' is not of type float"),
        (lambda seen: act(seen, None), "None is not of type float"),
        (lambda seen: act(seen, probe=5.0), "5.0 is not a list"),
        (lambda seen: act(seen, stop="yes"), "'yes' is not of type bool"),
        (lambda seen: act(seen, object()), "has no form in JSON"),
        (lambda seen: replace(act(seen), frame_index=math.nan), "'NaN' is not of type int"),
        (lambda seen: replace(act(seen), frame_index=10**9), "dates its action 1000000000"),
        (lambda seen: replace(act(seen), capture_time_s=seen.capture_time_s + 0.1), "dates its action"),
        (lambda seen: raise_(ValueError("a policy's own mistake")), "ValueError: a policy's own mistake"),
        (lambda seen: raise_(MemoryError()), "MemoryError"),
    ],
)
def test_the_policy_raises_or_says_what_is_no_action(what, reason):
    """Known when it answers. A policy that did so once is broken: the needle is held from there on."""
    says = SaysOnce(what)
    fake = Fake(says)
    fake.run(PACE)
    check(fake, seen_at(fake, says.frame), "the policy broke: ")
    assert reason in reasons(fake)[0]


def test_a_policy_that_answers_with_nothing_for_a_pair_is_broken_too():
    fake = Fake()
    fake.policy_branch.policy.step = lambda state, seen: None
    fake.run(PACE)
    assert not fake.robot.sent
    assert "the policy broke: TypeError" in fake.notes.on("/tick")[-1][1]["verdict"].reason


def test_a_late_reply_after_a_newer_one_is_refused_and_recorded():
    """Known when it is handed over. The newer action goes on."""
    fake = Fake()
    fake.run(PACE)
    control_branch, newer = fake.control_branch, fake.control_branch.newest
    for late in (replace(newer, frame_index=newer.frame_index - 1), newer):
        control_branch.propose(late, 2.0)
        assert control_branch.newest is newer
    assert control_branch.refused["late reply"] == 2
    said = [what["text"] for _, what in fake.notes.on("/event")]
    assert f"a late reply to frame {newer.frame_index - 1} was refused" in said


def test_the_gate_refuses_a_late_reply_even_if_it_is_the_only_one():
    fake = Fake()
    fake.run(PACE)
    newer = fake.control_branch.newest
    fake.control_branch.newest = None
    fake.control_branch.propose(replace(newer, frame_index=newer.frame_index - 1), 2.02)
    fake.needle.time_s = 2.02
    verdict = fake.control_branch.tick(
        2.02, fake.tracking_branch.see(Capture(fake.rig.last, fake.needle.robot_state(), 2.02))
    )
    assert verdict.rule == "late reply: frame"
    assert fake.robot.told[-1].order is None


# -- the robot -------------------------------------------------------------------------------------------------


def test_the_robot_refuses():
    """Known when it is told: it is told to hold in the same period."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.robot, "fault", "refuses")))
    check(fake, AT, "the robot does not answer: it was told to refuse")
    assert fake.control_branch.held_because["robot"] > 0


def test_the_robot_disconnects():
    """Known in the next period; nobody can tell it to hold, so its last order expires by itself, in `order_s`."""
    fake = Fake()
    stood = []

    def cut(now):
        fake.robot.fault = "disconnects"
        if fake.needle.speed_mm_s == 0.0:
            stood.append(now)

    fake.run(PACE, watch=from_at_on(cut))
    assert set(reasons(fake)) == {"the robot does not answer: connection lost"}
    assert fake.notes.on("/tick")[-1][1]["robot_state"] is None
    last = fake.robot.sent[-1]
    assert last.order.command.expires_at_s - last.time_s <= fake.limits.order_s + EPS
    assert stood[0] <= last.order.command.expires_at_s + fake.limits.standstill_s + PERIOD + EPS


@pytest.mark.parametrize("fault", ["refuses", "disconnects"])
@pytest.mark.parametrize("for_s", [0.05, 0.1, 0.2])
def test_a_robot_that_is_back_starts_from_rest(fault, for_s):
    fake = Fake(lambda k, seen: act(seen, 25.0))
    fake.run(
        PACE, watch=from_at_on(lambda now: setattr(fake.robot, "fault", fault if now < AT + for_s - EPS else None))
    )
    after = [t for t in fake.robot.told if t.time_s > AT + EPS]
    assert after[0].order is None
    first = next(t for t in after if t.order is not None)
    assert first.time_s > AT + for_s
    assert first.order.command.insertion_speed_mm_s <= fake.limits.acceleration_mm_s2 * PERIOD + EPS
    assert after[-2].order.command.insertion_speed_mm_s == 25.0


def test_a_robot_that_was_gone_for_longer_than_the_heartbeat_stays_stopped():
    """It may have lost its place: the operator has to release it."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.robot, "fault", "disconnects" if now < 1.4 else None)))
    assert max(t.time_s for t in fake.robot.sent) <= AT + EPS
    assert "stopped (heartbeat)" in fake.robot.told[-2].reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda r: replace(r, depth_mm=math.nan), "robot state: depth_mm is nan"),
        (lambda r: replace(r, fault="axis 2 does not move"), "the robot reports: axis 2 does not move"),
        (lambda r: replace(r, time_s=r.time_s - 1.0), "robot state age"),
    ],
)
def test_the_encoders_cannot_be_trusted(spoil, reason):
    """Known in the next period."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.robot, "spoil", spoil)))
    check(fake, AT + PERIOD, reason)


# -- the recorder, the process, the operator -------------------------------------------------------------------


def test_the_recorder_says_that_it_failed():
    """Known in the next period. What cannot be recorded is not done."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.notes, "failed", "the disk is full: x.mcap")))
    check(fake, AT + PERIOD, "the disk is full: x.mcap")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_the_disk_is_full(tmp_path):
    """Known when a flush of the recorder's own thread fails; the hand is asked in the next period."""
    fake = Fake(recorder=RunLog(tmp_path / "run.mcap", {}, live=False))
    log, known = fake.notes, []

    def fill(now):
        if not known and now < AT + PERIOD:
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, log._file._file)
            os.close(full)
        log.frame(fake.rig.last, now)  # something to flush
        if log.failed and not known:
            known.append(now)

    run = fake.run(Pace(longest_s=60.0, patience_s=1.0), watch=from_at_on(fill))
    log.close(run.ended)
    assert "the disk is full" in log.failed
    assert held_since(fake) <= known[0] + PERIOD + EPS
    assert "the disk is full" in fake.robot.told[-2].reason
    assert run.ended.startswith("held: ")
    assert "the disk is full" in run.ended
    kept = RunReader(tmp_path / "run.mcap")
    assert not kept.complete
    assert kept.ended is None


def test_the_process_is_killed_and_the_last_order_expires_by_itself():
    """Nobody is left to know. The rig of the simulated world lets nothing move after the expiry."""
    world = World(make_scene("in-plane-convex/test", 1), RigLimits(latency_s=0.05, encoder_mm=0.0))
    world.advance(0.2)  # the rig's first orders
    robot = SimulatedRobot(world)
    control_branch = ControlBranch.open(Gate(), robot, TASK, world.time_s)
    angle = robot.read().insertion_angle_rad
    for k in range(50):
        now = world.time_s
        frame = Frame(picture(Needle(), k), k, now, SPACING)
        control_branch.frame_came(frame, now)
        command = Command(expires_at_s=now + 0.4, insertion_speed_mm_s=10.0, insertion_angle_rad=angle)
        control_branch.propose(Action(k, now, command), now)
        control_branch.tick(now, Observation(k, now, FakeTracker().step(0, frame)[1], robot.read(), TASK.target_px))
        world.advance(PERIOD)
    last, depth = control_branch.last, robot.read().depth_mm
    assert robot.read().insertion_speed_mm_s == pytest.approx(10.0, abs=1.0)
    while world.time_s < last.command.expires_at_s + 0.05 + Limits().standstill_s + PERIOD:
        world.advance(PERIOD)
    stood = robot.read()
    assert stood.insertion_speed_mm_s == pytest.approx(0.0, abs=0.01)
    assert stood.depth_mm - depth < 10.0 * (Limits().order_s + 0.05 + Limits().standstill_s)
    world.advance(1.0)
    assert robot.read().depth_mm == pytest.approx(stood.depth_mm, abs=0.01)


def test_the_operator_presses_stop():
    """Known in the next period, and for good."""
    fake = Fake()
    fake.run(PACE, watch=from_at_on(lambda now: setattr(fake.control_branch, "stop", "button" if now < 1.5 else None)))
    check(fake, AT + PERIOD, "stopped (operator): button")
    assert len(reasons(fake)) == fake.control_branch.ticks - 101
