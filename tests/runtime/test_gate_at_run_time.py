"""What once got past the gate, tried again through the runtime: the rig lies, lags, zooms or fails, the policy creeps.

Every test holds a law of the true needle. Limits as in SAFETY.md, unless a test says its own.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_rig import ANGLE_RAD, ENTRY_MM, SPACING, Fake, FakeTracker, Needle, act

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Lost
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.gate import Cleared, Gate, Refused
from sonosteer.safety.limits import Limits
from sonosteer.safety.regions import Circle

AT = 0.6
EPS = 1e-6
NEAR = Limits(depth_mm=(15.0, 40.0))  # a limit that a short run comes to


def verdicts(fake):
    return [what["verdict"] for _, what in fake.notes.on("/tick")]


def rules(fake):
    return {v.rule for v in verdicts(fake) if isinstance(v, Refused)}


def pushing(fake, since_s=0.0):
    """Orders that push, from then on."""
    return [
        t
        for t in fake.robot.told
        if t.order is not None and t.order.command.insertion_speed_mm_s > 0 and t.time_s > since_s + EPS
    ]


def fast(k, seen):
    return act(seen, 25.0)


class Path:
    """Where the needle truly was after every period, and after the loop has died at the end."""

    def __init__(self, fake, **run):
        self.rows = []
        fake.run(
            Pace(longest_s=run.pop("longest_s", 3.0), patience_s=1e6),
            watch=lambda now, capture, seen: self.note(fake, now, run.get("also")),
        )
        for _ in range(40):
            fake.needle.advance(0.01)
            self.note(fake, fake.needle.time_s, None)

    def note(self, fake, now, also):
        n = fake.needle
        self.rows.append((now, n.depth_mm, n.angle_rad, *n.probe_mm, n.roll_rad))
        if also:
            also(now)

    def __getattr__(self, name):
        column = ("time_s", "depth_mm", "angle_rad", "x_mm", "y_mm", "z_mm", "roll_rad").index(name)
        return np.array(self.rows)[:, column]


def die(fake):
    """The loop dies as it is: nobody tells the robot to hold."""
    fake.control_branch.let_go = lambda *a: None
    return fake


# -- 1: no rule is fed with its own reference ------------------------------------------------------------------


@pytest.mark.parametrize("zoom", [0.98, 0.995, 1.005, 1.02])
def test_a_picture_that_zooms_is_noticed_at_its_first_frame(zoom):
    """Every frame says its true spacing."""
    fake = Fake()
    zoomed = {}
    fake.rig.spacing = lambda index: zoomed.setdefault(
        index, SPACING if index < 15 else Spacing(0.2 * zoom ** (index - 14), 0.2 * zoom ** (index - 14))
    )
    fake.run(Pace(longest_s=2.0))
    seen_s = next(t for t, what in fake.notes.on("/estimate") if what["estimate"].frame_index == 15)
    assert pushing(fake)
    assert not pushing(fake, seen_s)
    assert "scale changed" in rules(fake)


@pytest.mark.parametrize("since", [0, 15])
def test_frames_that_do_not_say_their_scale_move_nothing(since):
    fake = Fake()
    fake.rig.spacing = lambda index: None if index >= since else SPACING
    fake.run(Pace(longest_s=1.5))
    seen_s = next(t for t, what in fake.notes.on("/estimate") if what["estimate"].frame_index == since)
    assert not pushing(fake, seen_s)
    assert "no scale" in rules(fake)


def test_an_estimate_of_a_frame_that_nobody_saw_come_has_no_scale():
    fake = Fake()
    fake.control_branch.frame_came = lambda frame, now_s: None
    fake.run(Pace(longest_s=0.2))
    assert not fake.robot.sent


def test_scales_are_forgotten_in_time():
    fake = Fake()
    fake.run(Pace(longest_s=0.5))
    control_branch, frame = fake.control_branch, fake.rig.last
    for k in range(2000):
        control_branch.frame_came(replace(frame, index=100 + k), 0.5)
    assert len(control_branch.spacings) == 1000
    assert max(control_branch.spacings) == 2099


# -- 5: limits hold against where the needle will be -----------------------------------------------------------


def frozen_since(fake, at_s, for_s):
    """Encoders that say the same, dated as it was, for a while."""
    kept = []

    def spoil(r):
        if at_s <= r.time_s < at_s + for_s:
            kept.append(kept[0] if kept else r)
            return kept[0]
        return r

    fake.robot.spoil = spoil
    return fake


@pytest.mark.parametrize("at_s", [0.3, 0.5, 0.6, 0.7, 0.8])
@pytest.mark.parametrize("dies_s", [0.75, 0.9, 1.1, 3.0])
def test_no_depth_is_passed_while_encoders_are_old_and_the_loop_dies(at_s, dies_s):
    fake = die(frozen_since(Fake(fast, limits=NEAR), at_s, 0.2))
    path = Path(fake, longest_s=dies_s)
    assert path.depth_mm.max() <= 40.0 + EPS
    assert dies_s < 3.0 or path.depth_mm.max() > 33.0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dies_s", [0.5, 0.8, 1.4, 2.0])
def test_no_travel_of_the_probe_is_passed_while_encoders_are_old_and_the_loop_dies(axis, dies_s):
    limits = Limits(probe_mm=(12.0, 8.0, 3.0))
    speed = tuple(limits.probe_mm_s[k] if k == axis else 0.0 for k in range(3))
    fake = die(frozen_since(Fake(lambda k, seen: act(seen, 0.0, probe=speed), limits=limits), dies_s - 0.2, 0.2))
    path = Path(fake, longest_s=dies_s)
    assert max(np.abs(path.x_mm).max(), 0) <= 12.0 + EPS
    assert np.abs(path.y_mm).max() <= 8.0 + EPS
    assert np.abs(path.z_mm).max() <= 3.0 + EPS


@pytest.mark.parametrize("at_s", [0.3, 0.45, 0.6])
def test_no_region_is_entered_while_encoders_are_old_and_the_loop_dies(at_s):
    vessel = Circle("vessel", (ENTRY_MM[0] + 40 * math.cos(ANGLE_RAD), ENTRY_MM[1] + 40 * math.sin(ANGLE_RAD)), 5.0)
    fake = Fake(fast, regions=(vessel,), tracker=FakeTracker((1e-3, 1e-3)))
    path = Path(die(frozen_since(fake, at_s, 0.2)), longest_s=at_s + 0.2)
    assert path.depth_mm.max() < 35.0
    assert path.depth_mm.max() > 22.0


# -- 6: encoders that lie --------------------------------------------------------------------------------------


def lying(fake, lie, at_s=AT):
    """Encoders whose depth is lie(true depth, depth at at_s) from then on."""
    began = []

    def spoil(r):
        if r.time_s < at_s:
            return r
        began.append(r.depth_mm)
        return replace(r, depth_mm=lie(r.depth_mm, began[0]))

    fake.robot.spoil = spoil
    return fake


LIES = {
    "stuck": lambda depth, began: began,
    "jumps back": lambda depth, began: depth - 10.0,
    "jumps on": lambda depth, began: depth + 10.0,
    "runs away": lambda depth, began: began + 2.0 * (depth - began),
    "goes the other way": lambda depth, began: 2.0 * began - depth,
    "counts half": lambda depth, began: began + 0.5 * (depth - began),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("speed", [2.0, 8.0, 25.0])
def test_an_encoder_that_contradicts_the_orders_stops_everything(lie, speed):
    fake = lying(Fake(lambda k, seen: act(seen, speed)), LIES[lie], at_s=0.4)
    path = Path(fake, longest_s=4.0)
    said = [v.reason for v in verdicts(fake) if isinstance(v, Refused)]
    assert any("stopped (encoders): the encoder of depth went" in reason for reason in said), said[-1]
    went_mm = path.depth_mm.max() - path.depth_mm[39]
    assert went_mm <= 2 * (2.0 + 0.2) / 0.8 + 25 * 0.15
    assert not fake.control_branch.robot_state.fault


@pytest.mark.parametrize("speed", [3.0, 10.0, 25.0])
@pytest.mark.parametrize("counts", [0.0, 0.9, 0.95])
def test_the_true_needle_goes_3_mm_past_a_limit_at_most_while_pictures_are_good(speed, counts):
    fake = lying(
        Fake(lambda k, seen: act(seen, speed), limits=NEAR, tracker=FakeTracker((0.2, 0.1))),
        lambda depth, began: began + counts * (depth - began),
        at_s=0.1,
    )
    path = Path(die(fake), longest_s=8.0 if speed == 3.0 else 3.0)
    assert path.depth_mm.max() <= 43.0


def test_pictures_alone_hold_the_limit_when_the_encoder_counts_a_tenth_too_little():
    fake = lying(Fake(fast, limits=NEAR, tracker=FakeTracker((0.1, 0.1))), lambda d, began: began + 0.93 * (d - began))
    path = Path(fake, longest_s=3.0)
    assert path.depth_mm.max() <= 40.5
    assert "depth" in rules(fake)
    assert fake.control_branch.robot_state.depth_mm < 39.5


def test_a_probe_whose_encoder_is_stuck_stops_everything():
    fake = Fake(lambda k, seen: act(seen, 0.0, probe=(10.0, 0.0, 0.0)))
    fake.robot.spoil = lambda r: replace(r, probe_mm=(0.0, 0.0, 0.0))
    path = Path(fake, longest_s=1.5)
    assert any("the encoder of probe x" in v.reason for v in verdicts(fake) if isinstance(v, Refused))
    assert path.x_mm.max() <= 2.0 / 0.9 + 10 * 0.15


ANGLE_LIES = {
    "stuck": lambda angle, began: began,
    "jumps back": lambda angle, began: angle - 0.3,
    "jumps on": lambda angle, began: angle + 0.3,
    "jumps a little": lambda angle, began: angle + 0.009,
    "counts half": lambda angle, began: began + 0.5 * (angle - began),
    "counts half as much again": lambda angle, began: began + 1.5 * (angle - began),
    "goes the other way": lambda angle, began: 2.0 * began - angle,
}


@pytest.mark.parametrize("lie", ANGLE_LIES)
@pytest.mark.parametrize("depth", [40.0, 120.0])
def test_an_encoder_of_the_angle_that_lies_does_not_take_the_needle_along(lie, depth):
    """The axis is as fast as it likes. What cannot be a reading stops everything."""

    def say(k, seen):
        return act(seen, 2.0, min(max(seen.robot_state.insertion_angle_rad + 0.08, 0.2), 1.3))

    began = []

    def spoil(r):
        if r.time_s < 0.4:
            return r
        began.append(r.insertion_angle_rad)
        return replace(r, insertion_angle_rad=ANGLE_LIES[lie](r.insertion_angle_rad, began[0]))

    fake = Fake(say, needle=Needle(depth_mm=depth, turn_rad_s=1e3))
    fake.robot.spoil = spoil
    path = Path(fake, longest_s=2.0)
    swept_mm = path.depth_mm[10:] * np.abs(path.angle_rad[10:] - path.angle_rad[:-10])
    assert swept_mm.max() <= 25.0 * 0.1 + 0.25 + EPS
    reasons = [v.reason for v in verdicts(fake) if isinstance(v, Refused)]
    stopped = any("stopped (encoders): the encoder of insertion angle went" in reason for reason in reasons)
    assert stopped == (lie != "jumps a little"), reasons[-1:]


@pytest.mark.parametrize("lie", [lambda rad: rad + 2.0, lambda rad: rad - 2.0, lambda rad: 0.0, lambda rad: 2.0 * rad])
def test_an_encoder_of_the_roll_that_lies_stops_everything_and_rolls_nothing_too_fast(lie):
    fake = Fake(lambda k, seen: act(seen, 0.0, roll_rad=50.0))
    fake.robot.spoil = lambda r: r if r.time_s < 0.4 else replace(r, roll_rad=lie(r.roll_rad))
    path = Path(fake, longest_s=2.0)
    assert any("the encoder of base rotation" in v.reason for v in verdicts(fake) if isinstance(v, Refused))
    assert np.abs(path.roll_rad[10:] - path.roll_rad[:-10]).max() <= 6.0 * 0.11 + EPS


def test_a_speed_does_not_grow_on_orders_that_nobody_hears():
    fake = Fake(fast)
    deaf = lambda now: 0.4 < now < 0.52  # noqa: E731
    send = fake.robot.send

    def heard(cleared):
        send(cleared)
        if deaf(fake.needle.time_s):
            fake.needle.order = None

    fake.robot.send = heard
    path = Path(fake, longest_s=1.0)
    speeds = [t.order.command.insertion_speed_mm_s for t in fake.robot.sent if deaf(t.time_s)]
    assert len(speeds) > 8
    assert speeds[-1] <= 200.0 * (0.05 + 0.01) + EPS
    assert path.depth_mm.max() > 30.0


def test_a_needle_that_truly_sticks_is_held_too_and_goes_on_once_the_operator_releases():
    fake = Fake()
    fake.needle.stuck = True
    freed = []

    def help_it(now):
        if now > 1.5 and not freed:
            fake.needle.stuck = False
            fake.control_branch.release("operator", now)
            freed.append(now)

    Path(fake, longest_s=2.5, also=help_it)
    assert any("stopped (encoders)" in v.reason for v in verdicts(fake) if isinstance(v, Refused))
    assert len(pushing(fake, freed[0] + 0.2)) > 50


def test_honest_encoders_stop_nothing_in_stop_and_go():
    def say(k, seen):
        return act(seen, (25.0, 0.0, -25.0, 3.0, 12.0)[(k // 3) % 5], probe=((k // 4 % 2) * 10.0 - 5.0, 0.0, 0.0))

    fake = Fake(say, limits=Limits(depth_mm=(5.0, 180.0)))
    Path(fake, longest_s=6.0)
    assert "stopped" not in rules(fake)
    assert len(fake.robot.sent) > 200


def test_a_tip_that_slides_onto_something_else_is_held():
    """0.5 mm a frame: no jump. The needle stands."""
    fake = Fake(lambda k, seen: act(seen, 0.0), tracker=FakeTracker((0.1, 0.1)))
    step = fake.tracker.step

    def slides(state, frame):
        state, tip = step(state, frame)
        return state, replace(tip, tip_px=(tip.tip_px[0] + 2.5 * frame.index, tip.tip_px[1]))

    fake.tracker.step = slides
    fake.run(Pace(longest_s=2.0, patience_s=9.0))
    assert rules(fake) - {"no action", "no estimate"} == {"tip against encoder"}


# -- 3, 4, 2: the whole needle, sideways -----------------------------------------------------------------------


def beside(along_mm, off_mm, radius_mm=3.0):
    """A vessel beside the needle: its wall so far from it, on the steeper side."""
    c, s = math.cos(ANGLE_RAD), math.sin(ANGLE_RAD)
    off = off_mm + radius_mm
    return Circle("vessel", (ENTRY_MM[0] + along_mm * c - off * s, ENTRY_MM[1] + along_mm * s + off * c), radius_mm)


def shaft_to_mm(path, vessel):
    """Least distance of the shaft from a vessel over the run."""
    out = []
    for depth, angle in zip(path.depth_mm, path.angle_rad, strict=True):
        end = ENTRY_MM[0] + depth * math.cos(angle), ENTRY_MM[1] + depth * math.sin(angle)
        distance, _ = vessel.nearest((ENTRY_MM, end))
        out.append(distance)
    return min(out)


@pytest.mark.parametrize("speed", [0.0, 4.0])
@pytest.mark.parametrize("step", [0.0049, 0.02, 0.14])
def test_the_shaft_does_not_sweep_into_a_vessel_beside_it(speed, step):
    """Steps from where it points: creeping ones, small ones and large ones."""
    vessel = beside(40.0, 4.0)
    fake = Fake(
        lambda k, seen: act(seen, speed, seen.robot_state.insertion_angle_rad + step),
        regions=(vessel,),
        needle=Needle(depth_mm=80.0),
        tracker=FakeTracker((0.05, 0.05)),
    )
    path = Path(fake, longest_s=4.0)
    assert shaft_to_mm(path, vessel) > 0.0
    assert step < 0.01 or "forbidden region" in rules(fake)


def test_a_turn_below_what_counts_as_none_turns_nothing_at_all():
    fake = Fake(lambda k, seen: act(seen, 0.0, seen.robot_state.insertion_angle_rad + 0.0049))
    path = Path(fake, longest_s=3.0)
    assert np.ptp(path.angle_rad) == 0.0


@pytest.mark.parametrize("depth", [20.0, 80.0, 150.0])
@pytest.mark.parametrize("axis_rad_s", [0.5, 5.0, 1e3])
@pytest.mark.parametrize("speed", [0.0, 8.0])
def test_no_point_of_the_needle_moves_sideways_faster_than_it_may(depth, axis_rad_s, speed):
    """Over the tenth of a second that a command lasts. The axis may be as fast as it likes."""
    needle = Needle(depth_mm=depth, turn_rad_s=axis_rad_s)
    way = [0.14]

    def say(k, seen):
        at = seen.robot_state.insertion_angle_rad
        way[0] = -0.14 if at > 0.9 else 0.14 if at < 0.4 else way[0]
        return act(seen, speed, at + way[0])

    path = Path(Fake(say, needle=needle), longest_s=2.0)
    swept_mm = path.depth_mm[10:] * np.abs(path.angle_rad[10:] - path.angle_rad[:-10])
    assert swept_mm.max() <= 25.0 * 0.1 + 0.25 + EPS
    assert np.ptp(path.angle_rad) > 0.02


# -- 8, 10: growth, roll, junk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("period_s", [0.01, 0.05, 0.125, 0.2])
def test_after_any_gap_a_speed_grows_from_rest(period_s):
    fake = Fake(fast)
    fake.run(Pace(longest_s=1.0, period_s=period_s))
    before = 0.0
    assert fake.robot.sent
    for told in fake.robot.told:
        speed = 0.0 if told.order is None else told.order.command.insertion_speed_mm_s
        assert speed - before <= 200.0 * 0.02 + EPS
        before = speed


def test_the_set_point_of_the_roll_does_not_run_away_from_a_stuck_axis():
    fake = Fake(lambda k, seen: act(seen, 0.0, roll_rad=50.0), needle=Needle(rolls=False))
    fake.run(Pace(longest_s=2.0, patience_s=9.0))
    assert max(t.order.command.roll_rad for t in fake.robot.sent) == pytest.approx(0.6)
    assert any("the encoder of base rotation" in v.reason for v in verdicts(fake) if isinstance(v, Refused))


def test_nothing_but_what_the_gate_made_comes_to_the_robot():
    fake = Fake()
    fake.run(Pace(longest_s=0.5))
    assert fake.robot.sent
    assert all(type(t.order) is Cleared for t in fake.robot.sent)


# -- 9: old pictures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_a_camera_that_goes_round_its_last_pictures_is_noticed(count):
    fake = Fake()
    shown = []

    def again(index, pixels):
        if index < 25:
            shown.append(pixels)
            return pixels
        return shown[-count:][(index - 25) % count].copy()

    fake.rig.shows = again
    fake.run(Pace(longest_s=2.0))
    noticed_s = fake.rig.captured_s[25 + 4]
    assert pushing(fake)
    assert not pushing(fake, noticed_s)
    said = [v.reason for v in verdicts(fake) if isinstance(v, Refused)]
    assert any("old pictures in a row" in r or "the same picture" in r for r in said)


def test_pictures_that_come_later_and_later_are_noticed():
    """Each a hundredth of a second more than the one before. Their own stamps say so."""
    fake = Fake(limits=Limits(action_age_s=9.0, estimate_age_s=9.0, action_life_s=9.0))
    fake.policy.say = lambda k, seen: act(seen, 2.0, lives_s=8.0)
    fake.run(
        Pace(longest_s=3.0),
        watch=lambda now, capture, seen: setattr(fake.rig, "shift_s", -0.01 * max(fake.rig._count - 20, 0)),
    )
    assert any("later than at first" in v.reason for v in verdicts(fake) if isinstance(v, Refused))
    assert not pushing(fake, 2.5)


def test_pictures_that_are_old_but_dated_now_are_held_where_they_contradict_the_encoders():
    """Each is shown half a second late, stamped as new."""
    fake = Fake(fast, tracker=FakeTracker((0.05, 0.05)))
    kept = []

    def late(index, pixels):
        kept.append(pixels)
        return pixels if index < 5 else kept[max(index - 12, 4)].copy() if index >= 12 else kept[4].copy()

    fake.rig.shows = late
    fake.run(Pace(longest_s=2.0, patience_s=9.0))
    assert {"fault", "tip against encoder"} & rules(fake)


# -- seams -----------------------------------------------------------------------------------------------------


def test_a_run_may_begin_paused_and_goes_on_without_a_release():
    fake = Fake()
    control_branch = fake.control_branch
    control_branch.pause("the run begins paused")
    fake.run(Pace(longest_s=3.0, patience_s=0.5), watch=lambda now, *_: control_branch.resume() if now >= 1.5 else None)
    assert not [t for t in fake.robot.sent if t.time_s <= 1.5]
    assert pushing(fake, 1.5)
    assert "held: the run begins paused" in [v.reason for v in verdicts(fake) if isinstance(v, Refused)]
    assert control_branch.state.stop is None


def test_a_stop_during_a_pause_stays_after_it():
    fake = Fake()
    control_branch = fake.control_branch

    def watch(now, *_):
        if now >= 0.5:
            control_branch.pause()
        if 0.7 <= now < 0.71:
            control_branch.press()
        if now >= 1.0:
            control_branch.resume()

    fake.run(Pace(longest_s=2.0), watch=watch)
    assert not pushing(fake, 0.52)


def test_by_hand_a_needle_whose_tip_is_lost_goes_back_and_forth_a_little_on_its_own_way():
    tracker = FakeTracker(fails=lambda index: "lost" if index >= 10 else None)
    fake = Fake(tracker=tracker)
    propose = fake.control_branch.propose
    fake.policy.say = lambda k, seen: (
        act(seen) if not isinstance(seen.estimate, Lost) else act(seen, -2.0 if seen.capture_time_s < 1.2 else 2.0)
    )
    fake.control_branch.propose = lambda action, now: propose(action, now, by_hand=now > 0.6)
    path = Path(fake, longest_s=4.0)
    lost = path.time_s > 0.6
    assert path.depth_mm[lost].min() < path.depth_mm[lost][0] - 0.3
    assert np.abs(np.diff(path.depth_mm[lost])).sum() <= 3.0 + 0.5
    assert path.depth_mm.max() <= path.depth_mm[~lost].max() + 25 * 0.01
    assert {"way by hand while the tip is lost"} <= rules(fake)


def test_the_policy_may_not_ask_for_that():
    tracker = FakeTracker(fails=lambda index: "lost" if index >= 10 else None)
    fake = Fake(lambda k, seen: act(seen, -1.0), tracker=tracker)
    fake.run(Pace(longest_s=1.5))
    lost_s = next(t for t, what in fake.notes.on("/estimate") if what["estimate"].frame_index == 10)
    assert not [t for t in fake.robot.sent if t.time_s > lost_s]


def test_the_error_of_the_calibration_keeps_the_needle_further_away():
    def nearest(calibration):
        c, s = math.cos(ANGLE_RAD), math.sin(ANGLE_RAD)
        vessel = Circle("vessel", (ENTRY_MM[0] + 40 * c, ENTRY_MM[1] + 40 * s), 5.0)
        fake = Fake(regions=(vessel,), tracker=FakeTracker((0.01, 0.01)))
        fake.control_branch.gate = Gate(fake.limits, (vessel,), SPACING, calibration)
        return 35.0 - Path(fake, longest_s=4.0).depth_mm.max()

    exact, rough = nearest((0.0, 0.0, 0.0)), nearest((1.0, 0.0, 1.0))
    assert exact < 1.5
    assert rough - exact == pytest.approx(2.33, abs=0.3)
