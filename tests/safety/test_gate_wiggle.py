"""A held needle that is moved to and fro to be seen: how far, how fast, how often and for how long."""

import math
from dataclasses import replace

import pytest
from gate_inputs import FAST, GATE, LIMITS, LOST, NOW, STATE, TINY, act, ask, cleared, gate_input, read, refused, tip
from test_gate_orders import order

from sonosteer.core.types import Track
from sonosteer.safety.gate import Gate
from sonosteer.safety.memory import Jump, Memory, Wiggle, wiggle_here, wiggled
from sonosteer.safety.regions import Circle, Polygon

STEP = 2.0 * (LIMITS.order_s + LIMITS.standstill_s)  # 0.375 mm: how far 2 mm/s go until the needle stands
HERE = Wiggle(began_s=NOW - 1.0, deepest_mm=41.0, forth=True, turned_s=NOW - 0.5)
VESSEL = Polygon("wall", ((0.0, 0.0), (90.0, 0.0), (90.0, 90.0), (0.0, 90.0)))


def wiggle(speed, deepest_mm=41.0, regions=(), orders=(), before=None, **more):
    """What the gate says to one order of a wiggle, of a needle at 40 mm."""
    memory = Memory(newest=9, angle_rad=0.5, deepest_mm=deepest_mm, orders=orders, wiggle=before, **more.pop("had", {}))
    command = replace(FAST, insertion_speed_mm_s=math.copysign(24.0, speed))
    state = replace(STATE, command=command, memory=memory)
    changes = more.pop("wanted", {})
    more = {"estimate": LOST, **more}
    asked = act(insertion_speed_mm_s=speed, wiggle=True, **changes)
    return ask(asked, state=state, gate=Gate(LIMITS, regions), **more)


def test_a_wiggle_moves_a_needle_whose_tip_is_lost_and_no_other_order_does():
    for speed in (2.0, -2.0):
        assert cleared(wiggle(speed)).command.insertion_speed_mm_s == speed
    assert refused(ask(estimate=LOST), "insertion speed while the tip is lost")
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0))
    refused(ask(act(insertion_speed_mm_s=-2.5), state=back, estimate=LOST), "retraction speed while the tip is lost")


def test_a_wiggle_is_no_faster_than_stated():
    cleared(wiggle(4.0, deepest_mm=41.0))
    cleared(wiggle(-4.0, deepest_mm=41.0))
    for way in (1.0, -1.0):
        no = refused(wiggle(way * (4.0 + TINY)), "wiggle speed")
        assert (no.value, no.bound, no.unit) == (4.0 + TINY, 4.0, "mm/s")


def test_a_wiggle_stays_on_the_way_that_the_needle_has_gone():
    cleared(wiggle(2.0, deepest_mm=40.0 + STEP))
    no = refused(wiggle(2.0, deepest_mm=40.0 + STEP - TINY), "wiggle depth")
    assert (no.value, no.bound, no.unit) == (40.0 + STEP, 40.0 + STEP - TINY, "mm")
    cleared(wiggle(-2.0, deepest_mm=40.0 - STEP + 2.0))
    no = refused(wiggle(-2.0, deepest_mm=40.0 - STEP + 2.0 + TINY), "wiggle depth")
    assert no.bound == 40.0 - STEP + TINY
    cleared(wiggle(2.0, deepest_mm=99.0))  # the way back to where it was is free
    cleared(wiggle(-2.0, deepest_mm=40.0))
    coasts = (order(NOW - 0.125, NOW, 2.0),)  # goes on for a moment after it ended, whatever is ordered now
    cleared(wiggle(0.0, deepest_mm=20.0, orders=coasts))
    cleared(wiggle(0.0, deepest_mm=99.0, orders=coasts))
    refused(wiggle(0.5, deepest_mm=20.0, orders=coasts), "wiggle depth")


def test_pictures_do_not_say_how_deep_a_wiggle_is():
    """They may be wrong by as much as all of it."""
    near = {"estimate": tip(tip_px=(176.0, 84.0))}
    anchored = GATE.clear(STATE, None, gate_input(NOW - 0.0625, read(time_s=NOW - 0.0625, depth_mm=40.0)))[0].memory
    memory = replace(anchored, newest=9, angle_rad=0.5, deepest_mm=40.0 + STEP)
    state = replace(STATE, time_s=NOW - 0.0625, command=FAST, memory=memory)
    cleared(ask(act(insertion_speed_mm_s=2.0, wiggle=True), state=state, **near))


def test_all_wiggles_at_one_place_take_no_longer_than_stated():
    late = replace(HERE, began_s=NOW + LIMITS.order_s - 2.0)
    cleared(wiggle(2.0, before=late))
    no = refused(wiggle(2.0, before=replace(late, began_s=late.began_s - TINY)), "wiggle time")
    assert (no.value, no.bound, no.unit) == (2.0 + TINY, 2.0, "s")
    cleared(wiggle(0.0, before=replace(HERE, began_s=0.0)))
    short = replace(LIMITS, wiggle_s=LIMITS.order_s)
    first = ask(
        act(insertion_speed_mm_s=-2.0, wiggle=True),
        state=replace(
            STATE, command=replace(FAST, insertion_speed_mm_s=-24.0), memory=Memory(newest=9, deepest_mm=40.0)
        ),
        gate=Gate(short),
        estimate=LOST,
    )
    cleared(first)


def test_a_wiggle_turns_no_more_often_than_stated():
    soon = replace(HERE, turned_s=NOW - 0.125)
    for forth in (True, False):
        speed = -2.0 if forth else 2.0
        cleared(wiggle(speed, before=replace(soon, forth=forth)))
        no = refused(
            wiggle(speed, before=replace(soon, forth=forth, turned_s=soon.turned_s + TINY)),
            "time between turns of a wiggle",
        )
        assert (no.value, no.bound, no.unit) == (0.125 - TINY, 0.125, "s")
        cleared(wiggle(-speed, before=replace(soon, forth=forth, turned_s=NOW)))
        cleared(wiggle(-speed / 4, before=replace(soon, forth=forth, turned_s=NOW)))
        refused(wiggle(speed / 4, before=replace(soon, forth=forth, turned_s=NOW)), "time between turns of a wiggle")
        cleared(wiggle(0.0, before=replace(soon, forth=forth, turned_s=NOW)))


def test_a_needle_that_has_gone_deeper_is_at_another_place():
    old = Wiggle(began_s=0.0, deepest_mm=39.0, forth=True, turned_s=NOW)
    cleared(wiggle(-2.0, before=old, deepest_mm=41.0))
    refused(wiggle(-2.0, before=old, deepest_mm=41.0 - TINY), "wiggle time")
    assert wiggle_here(Memory(deepest_mm=41.0, wiggle=old), LIMITS) is None
    assert wiggle_here(Memory(deepest_mm=41.0 - TINY, wiggle=old), LIMITS) is old
    assert wiggle_here(Memory(), LIMITS) is None


def test_what_was_wiggled_is_remembered():
    memory = Memory(deepest_mm=41.0, newest=3)
    assert wiggled(memory, LIMITS, 0.0, 5.0) is memory
    first = wiggled(memory, LIMITS, 2.0, 5.0)
    assert first == replace(memory, wiggle=Wiggle(5.0, 41.0, True, 5.0))
    assert wiggled(first, LIMITS, 1.0, 6.0) is first
    turned = wiggled(first, LIMITS, -2.0, 7.0)
    assert turned.wiggle == Wiggle(5.0, 41.0, False, 7.0)
    assert wiggled(turned, LIMITS, -2.0, 8.0) is turned
    deeper = replace(turned, deepest_mm=43.0)
    assert wiggled(deeper, LIMITS, -2.0, 9.0).wiggle == Wiggle(9.0, 43.0, False, 9.0)


def test_only_a_wiggle_that_was_cleared_is_remembered():
    memory = Memory(newest=9, angle_rad=0.5, deepest_mm=41.0)
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0), memory=memory)
    wanted = act(insertion_speed_mm_s=-2.0, wiggle=True)
    after, _ = GATE.clear(back, wanted, gate_input(estimate=LOST))
    assert after.memory.wiggle == Wiggle(NOW, 41.0, False, NOW)
    for action, told in (
        (act(insertion_speed_mm_s=-2.0), gate_input(estimate=LOST)),
        (wanted, gate_input(estimate=LOST, hold="wait")),
    ):
        after, _ = GATE.clear(back, action, told)
        assert after.memory.wiggle is None


def test_a_wiggle_turns_and_rolls_nothing_even_where_the_tip_is_seen():
    known = cleared(wiggle(2.0, estimate=tip(), wanted={"insertion_angle_rad": 0.5625, "roll_rad": 0.25}))
    assert (known.command.insertion_angle_rad, known.command.roll_rad) == (0.5, 0.0)
    plain = cleared(ask(act(insertion_angle_rad=0.5625, roll_rad=0.25)))
    assert plain.command.insertion_angle_rad > 0.5
    assert plain.command.roll_rad > 0.0


def test_a_wiggle_needs_no_sure_tip():
    vague = tip(covariance_mm2=9.0 * tip().covariance_mm2 / 0.25)
    refused(ask(estimate=vague), "tip sd")
    cleared(wiggle(2.0, estimate=vague))
    slow = replace(LIMITS, coasting_mm_s=1.0)
    coasting = ask(
        act(insertion_speed_mm_s=2.0, wiggle=True),
        state=replace(STATE, memory=Memory(newest=9, angle_rad=0.5, deepest_mm=41.0)),
        gate=Gate(slow),
        estimate=tip(state=Track.COASTING),
    )
    assert cleared(coasting).command.insertion_speed_mm_s == 2.0


def test_a_tip_that_jumped_holds_a_wiggle_too():
    refused(wiggle(2.0, had={"jump": Jump(9.0, 3.0, NOW + 0.25)}), "tip jump")


def test_by_a_region_a_wiggle_is_asked_about_where_the_tip_is_known():
    cleared(wiggle(2.0, regions=(Circle("artery", (500.0, 500.0), 1.0),)))
    cleared(wiggle(2.0, regions=(VESSEL,)))
    refused(wiggle(2.0, regions=(VESSEL,), estimate=tip()), "forbidden region")
    cleared(wiggle(-2.0, regions=(VESSEL,), estimate=tip()))


def test_the_operator_s_hand_may_not_wiggle_further_than_a_policy():
    refused(wiggle(2.0, deepest_mm=40.0, by_hand=True), "wiggle depth")
    cleared(wiggle(4.0, by_hand=True))  # by hand alone 2 mm/s are allowed


@pytest.mark.parametrize("bad", [None, 0, 1, "yes", 1.0])
def test_a_wiggle_is_true_or_false(bad):
    assert "wiggle" in refused(ask(act(wiggle=bad)), "number").reason
