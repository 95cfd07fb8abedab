"""Where the tip is in the tissue, and a tip that jumps: held for a stated time, however sure the tracker is of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gate_inputs import (
    GATE,
    LIMITS,
    LOST,
    NOW,
    READING,
    SPACING,
    STATE,
    TINY,
    act,
    ask,
    cleared,
    gate_input,
    read,
    refused,
    tip,
)

from sonosteer.core.types import Track
from sonosteer.safety import memory as memory_module
from sonosteer.safety.memory import Jump, Memory, Pose, SeenTip, pose_at

EXACT = np.zeros((2, 2))


def note(memory, limits, told):
    """The memory after a tick, the one before having been just then."""
    return memory_module.note(memory, limits, told, told.now_s, shows_depth=True)


def see(memory, frame_index, at_mm, now_s, *, robot_state=READING, P=EXACT, **more):
    """The memory after a tip at image mm in a frame of just now."""
    x, y = SPACING.to_px(at_mm)
    estimate = tip(frame_index=frame_index, tip_px=(x, y), time_s=now_s, covariance_mm2=P, **more)
    return note(memory, LIMITS, gate_input(now_s, replace(robot_state, time_s=now_s), estimate))


def jump(start=((20.0, 20.0), READING, EXACT), end=((20.0, 20.0), READING, EXACT)):
    (at, robot_state, P), (at2, reading2, P2) = start, end
    memory = see(Memory(), 1, at, NOW, robot_state=robot_state, P=P)
    assert memory.jump is None
    return see(memory, 2, at2, NOW + 0.125, robot_state=reading2, P=P2).jump


def test_a_tip_is_remembered_in_the_tissue():
    memory = see(Memory(), 3, (20.0, 24.0), NOW, robot_state=read(probe_mm=(2.0, 99.0, -3.0)), P=np.diag([4.0, 1.0]))
    assert memory.seen == (
        SeenTip(3, NOW, (22.0, 21.0), 0.5, (4.0, 0.0, 1.0), tracked=True, pose=Pose(40.0, 0.5, (2.0, -3.0))),
    )
    assert memory.newest == 3


def test_encoders_are_interpolated_to_when_the_frame_was_acquired():
    one = read(time_s=1.0, depth_mm=10.0, insertion_angle_rad=0.5, probe_mm=(0.0, 0.0, 4.0))
    two = read(time_s=2.0, depth_mm=14.0, insertion_angle_rad=0.75, probe_mm=(8.0, 5.0, 0.0))
    three = read(time_s=3.0, depth_mm=20.0)
    assert pose_at((one, two, three), 1.25) == Pose(11.0, 0.5625, (2.0, 3.0))
    assert pose_at((one, two, three), 2.0) == Pose(14.0, 0.75, (8.0, 0.0))
    assert pose_at((one, two, three), 2.5).depth_mm == 17.0
    assert pose_at((one, two, three), 0.5) == pose_at((one, two, three), 1.0) == Pose(10.0, 0.5, (0.0, 4.0))
    assert pose_at((one, two, three), 9.0) == pose_at((one, two, three), 3.0) == Pose(20.0, 0.5, (0.0, 0.0))
    assert pose_at((one,), 1.0) == pose_at((one,), 7.0) == Pose(10.0, 0.5, (0.0, 4.0))


def test_readings_are_kept_as_long_as_an_estimate_may_be_old_and_no_longer():
    memory = Memory()
    for k in range(16):
        memory = note(memory, LIMITS, gate_input(k / 8, read(time_s=k / 8), None))
    assert [r.time_s for r in memory.robot_states] == [1.5, 1.625, 1.75, 1.875]


def test_readings_that_are_not_newer_or_not_numbers_are_not_kept():
    memory = note(Memory(), LIMITS, gate_input(robot_state=read(depth_mm=1.0), estimate=None))
    assert note(memory, LIMITS, gate_input(robot_state=read(depth_mm=2.0), estimate=None)) == memory
    assert note(memory, LIMITS, gate_input(robot_state=read(time_s=NOW - TINY), estimate=None)) == memory
    assert (
        note(memory, LIMITS, gate_input(robot_state=read(time_s=NOW + TINY, depth_mm=math.nan), estimate=None))
        == memory
    )
    two = note(memory, LIMITS, gate_input(robot_state=read(time_s=NOW + 2 * TINY), estimate=None))
    assert len(two.robot_states) == 2
    assert note(two, LIMITS, gate_input(robot_state=read(time_s=NOW + TINY), estimate=None)) == two


@pytest.mark.parametrize(
    "spoilt",
    [
        {"estimate": None},
        {"estimate": tip(angle_rad=math.nan)},
        {"robot_state": read(depth_mm=math.nan)},
        {"estimate": tip(frame_index=5)},
        {"estimate": tip(frame_index=4)},
    ],
)
def test_what_cannot_be_used_or_is_not_new_is_not_remembered(spoilt):
    after = note(Memory(newest=5), LIMITS, gate_input(**spoilt))
    assert (after.seen, after.newest) == ((), 5)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"estimate": LOST},
        {"spacing": None},
        {"estimate": tip(covariance_mm2=-np.eye(2))},
        {"estimate": tip(state=Track.LOST)},
    ],
)
def test_a_frame_without_a_tip_is_remembered_without_one(spoilt):
    seen = SeenTip(5, NOW - 9.0, (20.0, 20.0), 0.5, (0.25, 0.0, 0.25), tracked=True, pose=Pose(40.0, 0.5, (0.0, 0.0)))
    after = note(Memory((), (seen,), 5), LIMITS, gate_input(**spoilt))
    assert (after.seen, after.newest) == ((seen,), 10)


def test_tips_are_remembered_for_the_stated_time_and_the_last_one_always():
    memory = Memory()
    for k in range(9):
        memory = see(memory, k, (20.0, 20.0), NOW + k / 8)
        assert [s.time_s for s in memory.seen] == [NOW + i / 8 for i in range(max(k - 4, 0), k + 1)]
    assert [s.frame_index for s in see(memory, 9, (20.0, 20.0), NOW + 60.0).seen] == [9]


def test_the_first_frame_may_be_number_0():
    assert see(Memory(), 0, (20.0, 20.0), NOW).newest == 0


@pytest.mark.parametrize("way", [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])
def test_a_tip_may_move_by_the_margin_and_no_further(way):
    at = lambda mm: (20.0 + way[0] * mm, 20.0 + way[1] * mm)  # noqa: E731
    assert jump(end=(at(3.0), READING, EXACT)) is None
    assert jump(end=(at(3.0 + TINY), READING, EXACT)) == Jump(3.0 + TINY, 3.0, NOW + 0.125 + 0.5)


def test_a_tip_may_move_as_far_as_the_needle_was_moved():
    for depth in (45.0, 35.0):
        assert jump(end=((28.0, 20.0), read(depth_mm=depth), EXACT)) is None
        assert jump(end=((28.0 + TINY, 20.0), read(depth_mm=depth), EXACT)).allowed_mm == 8.0


def test_a_tip_may_move_as_far_as_the_needle_was_turned():
    for angle in (0.625, 0.375):
        turned = read(insertion_angle_rad=angle)
        assert jump(end=((28.0, 20.0), turned, EXACT)) is None
        assert jump(end=((28.0 + TINY, 20.0), turned, EXACT)).allowed_mm == 8.0


def test_a_turn_counts_at_the_greater_depth_and_outside_not_at_all():
    out, deep = read(depth_mm=24.0), read(depth_mm=40.0, insertion_angle_rad=0.625)
    assert jump(((20.0, 20.0), out, EXACT), ((59.0, 20.0), deep, EXACT)).allowed_mm == 16.0 + 5.0 + 3.0
    back = read(depth_mm=24.0, insertion_angle_rad=0.625)
    assert jump(end=((59.0, 20.0), back, EXACT)).allowed_mm == 16.0 + 5.0 + 3.0
    air = read(depth_mm=-2.0)
    assert (
        jump(((20.0, 20.0), air, EXACT), ((59.0, 20.0), replace(air, insertion_angle_rad=0.625), EXACT)).allowed_mm
        == 3.0
    )


def test_a_tip_may_move_by_three_sd_of_both_estimates():
    one, two = np.diag([9.0, 1.0]), np.diag([1.0, 16.0])
    assert jump(((20.0, 20.0), READING, one), ((38.0, 20.0), READING, two)) is None
    assert jump(((20.0, 20.0), READING, one), ((38.0 + TINY, 20.0), READING, two)).allowed_mm == 18.0


def test_a_probe_that_moves_does_not_make_a_tip_jump():
    assert jump(end=((10.0, 20.0), read(probe_mm=(10.0, 0.0, 0.0)), EXACT)) is None
    assert jump(end=((20.0, 12.0), read(probe_mm=(0.0, 0.0, 8.0)), EXACT)) is None
    assert jump(end=((20.0, 20.0), read(probe_mm=(10.0, 0.0, 0.0)), EXACT)).moved_mm == 10.0


def test_a_jump_is_seen_across_a_loss():
    memory = see(Memory(), 1, (20.0, 20.0), NOW)
    memory = note(memory, LIMITS, gate_input(NOW + 0.1, read(time_s=NOW + 0.1), replace(LOST, frame_index=2)))
    assert see(memory, 3, (40.0, 20.0), NOW + 0.2).jump is not None


def ticks(places, waits):
    """Verdicts on a needle that stands, its tip seen at each of these places after each of these waits."""
    state, now, said = GATE.start(NOW), NOW, []
    for k, (at, wait) in enumerate(zip(places, waits, strict=True)):
        now += wait
        estimate = tip(frame_index=k, tip_px=SPACING.to_px(at), time_s=now, covariance_mm2=EXACT)
        order = act(frame_index=k, capture_time_s=now, expires_at_s=now + 0.25)
        state, verdict = GATE.clear(state, order, gate_input(now, read(time_s=now), estimate))
        said.append(verdict)
    return said


def test_after_a_jump_everything_holds_for_the_stated_time():
    here, there = (20.0, 20.0), (30.0, 20.0)
    said = ticks([here, there, there, there, there], [0.125, 0.125, 0.25, 0.25 - TINY, TINY])
    cleared(said[0])
    for verdict in said[1:4]:
        no = refused(verdict, "tip jump")
        assert (no.value, no.bound, no.unit) == (10.0, 3.0, "mm")
    cleared(said[4])


def test_a_tip_that_jumps_back_has_jumped_again():
    here, there = (20.0, 20.0), (30.0, 20.0)
    said = ticks([here, there, here, here, here], [0.125, 0.125, 0.25, 0.25, 0.125])
    for verdict in said[1:]:
        refused(verdict, "tip jump")


def test_a_jump_holds_a_retraction_and_the_probe_as_well():
    jumped = replace(STATE, memory=Memory(newest=9, jump=Jump(10.0, 3.0, NOW + TINY)))
    refused(ask(act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=(1.0, 0.0, 0.0)), state=jumped), "tip jump")
    refused(ask(act(insertion_speed_mm_s=-1.0), state=jumped), "tip jump")
    refused(ask(act(insertion_speed_mm_s=0.0), state=jumped, estimate=LOST), "tip jump")
    cleared(ask(state=replace(STATE, memory=Memory(newest=9, jump=Jump(10.0, 3.0, NOW)))))
