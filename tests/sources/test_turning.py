"""Eight turns, and the display matrices that ask for them."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.sources.turning import AS_IS, Turn, turn_of_display_matrix

PICTURE = np.arange(6, dtype=np.uint8).reshape(2, 3)
TURNS = [Turn(swap, x, y) for swap in (False, True) for x in (False, True) for y in (False, True)]


def matrix(a, b, c, d, one=1 << 16):
    return struct.pack("=9i", *(round(v * one) for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)


def test_the_eight_turns_differ_and_have_words_of_their_own():
    assert len({turn.of(PICTURE).tobytes() + bytes(turn.of(PICTURE).shape) for turn in TURNS}) == 8
    words = [turn.words for turn in TURNS]
    assert words.count("mirrored along a diagonal") == 2
    assert len(set(words)) == 7
    assert all(turn.of(PICTURE).shape[::-1] == turn.size_px(3, 2) for turn in TURNS)


@pytest.mark.parametrize(("quarter", "words"), [(1, "90"), (2, "180"), (3, "270")])
def test_a_turn_is_clockwise(quarter, words):
    c, s = round(math.cos(quarter * math.pi / 2)), round(math.sin(quarter * math.pi / 2))
    turn = turn_of_display_matrix(matrix(c, s, -s, c))
    assert np.array_equal(turn.of(PICTURE), np.rot90(PICTURE, -quarter))
    assert turn.words == f"turned by {words} degrees"


@given(degrees=st.floats(-360, 360), scale=st.floats(0.01, 100))
def test_a_matrix_is_a_turn_only_within_a_degree_of_a_right_angle(degrees, scale):
    angle = math.radians(degrees)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    turn = turn_of_display_matrix(matrix(c, s, -s, c))
    off = abs(degrees - 90 * round(degrees / 90))
    if off < 0.9:
        assert np.array_equal(turn.of(PICTURE), np.rot90(PICTURE, -round(degrees / 90)))
    elif off > 1.1:
        assert turn is None


@given(st.binary(max_size=40))
def test_any_bytes_are_a_turn_or_none(data):
    assert turn_of_display_matrix(data) in (None, *TURNS)


def test_no_matrix_is_as_is():
    assert turn_of_display_matrix(b"") == AS_IS
    assert turn_of_display_matrix(bytes(36)) == AS_IS
