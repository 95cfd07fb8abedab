"""What a change in changes_by_hand.toml breaks, where no other test noticed it."""

import math

import pytest
from gate_inputs import ACTION, GATE, LIMITS, NOW, STATE, act, cleared, gate_input, read, refused, tip

from sonosteer.core.errors import InputError
from sonosteer.safety.gate import Gate
from sonosteer.safety.memory import Memory, note
from sonosteer.safety.regions import Circle


def beside_the_tip(away_mm):
    """A vessel whose wall is so far from the needle's line, beside its tip."""
    across = 2.0 + away_mm
    return Circle("vessel", (20.0 - across * math.sin(0.5), 20.0 + across * math.cos(0.5)), 2.0)


def asked_twice(gate, angle_rad):
    """What the gate says once the encoder says this angle, which nothing ordered."""
    state, _ = gate.clear(STATE, ACTION, gate_input())
    later = NOW + 0.0625
    reading = read(time_s=later, insertion_angle_rad=angle_rad)
    return gate.clear(state, ACTION, gate_input(later, reading))[1]


def test_a_needle_that_somebody_has_turned_swings_as_far_as_its_encoder_says():
    gate = Gate(LIMITS, (beside_the_tip(1.5),))
    cleared(asked_twice(gate, 0.5))
    refused(asked_twice(gate, 0.5625), "forbidden region")


def test_a_tip_lies_in_the_tissue_where_the_probe_was_when_its_picture_was_taken():
    before = gate_input(NOW - 0.125, read(time_s=NOW - 0.125), None)
    memory = note(Memory(), LIMITS, before, NOW - 0.25, shows_depth=True)
    now = gate_input(NOW, read(probe_mm=(8.0, 0.0, 0.0)))
    seen = note(memory, LIMITS, now, NOW - 0.125, shows_depth=True).seen[-1]
    assert seen.tip_mm == (20.0, 20.0)
    assert seen.pose.probe_mm == (0.0, 0.0)


def test_a_jump_holds_from_when_it_is_known_not_from_when_its_picture_was_taken():
    state, _ = GATE.clear(STATE, ACTION, gate_input())
    later = NOW + 0.125
    jumped = tip(frame_index=11, time_s=NOW, tip_px=(400.0, 80.0))
    state, verdict = GATE.clear(state, act(frame_index=11, capture_time_s=NOW), gate_input(later, estimate=jumped))
    refused(verdict, "tip jump")
    assert state.memory.jump.until_s == later + LIMITS.jump_hold_s


@pytest.mark.parametrize("name", ["operators", "operator 2", "operator\n", "Operator"])
def test_a_name_that_begins_like_the_operator_s_releases_nothing(name):
    stopped, _ = GATE.clear(STATE, ACTION, gate_input(stop="enough"))
    with pytest.raises(InputError, match="released by the operator"):
        GATE.release(stopped, name, NOW)
