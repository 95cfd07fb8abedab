"""A stream that is silent, repeats itself or lies about time is not trusted, and says why."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sonosteer.core.config import to_dict
from sonosteer.safety.limits import Limits
from sonosteer.safety.watchdog import StreamState, StreamWatch, WatchedFrame, fingerprint

LIMITS = Limits(silent_s=0.25, time_step_s=0.125, repeats=4, clean=3, remembered=8)
WATCH = StreamWatch(LIMITS)
EDGE = 2.0**-20


def watch(*frames, start_s=8.0):
    """State after frames of (index, time stamp, arrival, fingerprint)."""
    state = WATCH.start(start_s)
    for frame in frames:
        state = WATCH.saw(state, WatchedFrame(*frame))
    return state


def good(n, first=0):
    return [(k, 100.0 + k / 16, 8.0 + k / 16, k) for k in range(first, first + n)]


def test_a_good_stream_is_trusted():
    assert WATCH.reasons(watch(*good(20)), 8.0 + 19 / 16) == ()
    assert StreamWatch().reasons(StreamWatch().start(0.0), 0.1) == ()


@pytest.mark.parametrize("frames", [[], good(5)])
def test_a_silent_stream_is_not_trusted(frames):
    state = watch(*frames)
    last_s = 8.0 + max(len(frames) - 1, 0) / 16
    assert WATCH.reasons(state, last_s + 0.25) == ()
    assert WATCH.reasons(state, last_s + 0.25 + EDGE) == ("no frame for 0.25 s; 0.25 s are allowed",)
    assert WATCH.reasons(state, last_s + 1.5) == ("no frame for 1.5 s; 0.25 s are allowed",)
    assert WATCH.reasons(state, math.nan) != ()


def complaint(*frames):
    state = watch(*frames)
    reasons = WATCH.reasons(state, state.last.now_s)
    return reasons[0] if reasons else None


def test_frames_that_come_in_the_wrong_order_are_not_trusted():
    assert complaint((7, 1.0, 8.0, 1), (6, 1.1, 8.1, 2)) == "frame 6 came after frame 7"
    assert complaint((7, 1.0, 8.0, 1), (7, 1.1, 8.1, 2)) == "frame 7 came after frame 7"
    assert complaint((7, 1.0, 8.0, 1), (8, 1.1, 8.1, 2)) is None
    assert complaint((7, 1.0, 8.0, 1), (19, 1.1, 8.1, 2)) is None


def test_time_stamps_go_forward():
    assert complaint((0, 1.0, 8.0, 1), (1, 1.0, 8.0625, 2)) == "time stamps go back: 1 s, then 1 s"
    assert complaint((0, 1.5, 8.0, 1), (1, 1.25, 8.0625, 2)) == "time stamps go back: 1.5 s, then 1.25 s"
    assert complaint((0, 1.0, 8.0, 1), (1, 1.0 + EDGE, 8.0625, 2)) is None
    assert complaint((0, 1.0, 8.0, 1), (1, math.nan, 8.0625, 2)).startswith("time stamps go back")


def test_time_stamps_and_arrivals_agree_on_how_much_has_passed():
    assert complaint((0, 1.0, 8.0, 1), (1, 1.25, 8.125, 2)) is None
    assert complaint((0, 1.0, 8.0, 1), (1, 1.25 + EDGE, 8.125, 2)) == (
        "time stamps jump: 0.25 s between two frames that came 0.125 s apart"
    )
    assert complaint((0, 1.0, 8.0, 1), (1, 1.125, 8.25, 2)) is None
    assert complaint((0, 1.0, 8.0, 1), (1, 1.125, 8.25 + EDGE, 2)).startswith("time stamps jump")
    assert watch((0, 1.0, 8.0, 1), (1, 1.125, math.nan, 2)).complaint.startswith("time stamps jump")
    assert complaint((0, 1.0, 8.0, 1), (1, math.inf, 8.1, 2)).startswith("time stamps jump")


def frozen(n, first=0):
    return [(k, 100.0 + k / 16, 8.0 + k / 16, 77) for k in range(first, first + n)]


def test_the_same_picture_again_and_again_is_frozen():
    assert complaint(*frozen(3)) is None
    assert complaint(*frozen(4)) == "the same picture 4 times in a row"
    assert complaint(*frozen(5)) == "the same picture 5 times in a row"
    assert complaint(*frozen(3), *good(1, 3), *frozen(2, 4)) is None


def test_a_complaint_stays_until_enough_frames_were_right():
    bad = [(5, 200.0, 8.375, 5), *((k, 200.0 + (k - 5) / 16, 8.375 + (k - 5) / 16, k) for k in range(6, 12))]
    assert complaint(*good(5), bad[0]) is not None
    assert complaint(*good(5), *bad[:3]) is not None
    assert complaint(*good(5), *bad[:4]) is None
    assert complaint(*good(5), *bad) is None


def test_a_new_complaint_starts_the_count_again_and_is_the_one_that_is_told():
    state = watch((5, 1.0, 8.0, 1), (4, 1.1, 8.1, 2), (5, 1.2, 8.2, 3), (6, 1.3, 8.3, 4), (2, 1.4, 8.4, 5))
    assert WATCH.reasons(state, 8.4) == ("frame 2 came after frame 6",)
    state = WATCH.saw(WATCH.saw(state, WatchedFrame(3, 1.5, 8.5, 6)), WatchedFrame(4, 1.6, 8.6, 7))
    assert WATCH.reasons(state, 8.6) != ()
    assert WATCH.reasons(WATCH.saw(state, WatchedFrame(5, 1.7, 8.7, 8)), 8.7) == ()


def test_silence_and_a_complaint_are_both_told():
    state = watch((5, 1.0, 8.0, 1), (4, 1.1, 8.1, 2))
    assert WATCH.reasons(state, 9.1) == ("no frame for 1 s; 0.25 s are allowed", "frame 4 came after frame 5")


def test_the_state_leaves_the_old_one_alone_and_can_be_written():
    state = watch(*good(2))
    kept = replace(state)
    WATCH.saw(state, WatchedFrame(2, 100.125, 8.125, 9))
    assert state == kept
    assert state.since_s == 8.0
    assert WATCH.start(3.0) == StreamState(3.0, last=None, same=0, shown=(), offset_s=None, complaint=None, clean=0)
    assert to_dict(state)["last"]["index"] == 1


def test_a_fingerprint_is_that_of_the_picture():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 255, (64, 80), np.uint8)
    other = one.copy()
    assert fingerprint(one) == fingerprint(other)
    other[4, 8] += 1
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one[:, :40]) != fingerprint(one)
    assert fingerprint(one.astype(np.uint16)) != fingerprint(one)
    assert isinstance(fingerprint(np.stack([one] * 3, 2)), int)


def test_a_fingerprint_looks_at_every_fourth_pixel():
    one = np.zeros((16, 16), np.uint8)
    for row, column, told in [(0, 0, True), (4, 12, True), (1, 0, False), (0, 2, False), (3, 3, False)]:
        other = one.copy()
        other[row, column] = 1
        assert (fingerprint(other) != fingerprint(one)) is told


def test_old_pictures_that_come_again_are_as_bad_as_frozen_ones():
    def shown(*pictures):
        return complaint(*((k, 100.0 + k / 16, 8.0 + k / 16, p) for k, p in enumerate(pictures)))

    assert shown(1, 2, 1, 2) is None
    assert shown(1, 2, 1, 2, 1) == "4 old pictures in a row"
    assert shown(1, 2, 3, 4, 2, 3, 1, 1) == "the same picture 5 times in a row"
    assert shown(1, 2, 3, 1, 2, 4, 1, 2) is None
    assert shown(*range(8), 0, 1, 2) == "4 old pictures in a row"
    assert shown(*range(9), 0, 1, 2) is None  # 8 are remembered


def test_frames_that_fall_behind_bit_by_bit_are_noticed():
    def late(*by_s):
        return complaint(*((k, 100.0 + k / 16, 8.0 + k / 16 + s, k) for k, s in enumerate(by_s)))

    assert late(0.0, 0.0625, 0.125) is None
    assert late(0.0, 0.0625, 0.125 + EDGE) == "frames come 0.125 s later than at first"
    assert late(0.125, 0.0625, 0.0, 0.0625, 0.125) is None
    assert late(0.125, 0.0625, 0.0, 0.0625, 0.125 + EDGE).startswith("frames come")
    assert late(0.0, 0.125 + EDGE) is not None
    state = watch(*((k, 100.0 + k / 16, 8.0 + k / 16 + s, k) for k, s in enumerate((0.5, 0.25, 0.0))))
    assert state.offset_s == -91.5  # a jump teaches nothing


def test_a_first_stamp_that_is_no_number_teaches_nothing():
    for bad in (math.nan, math.inf):
        assert watch((0, bad, 8.0, 1)).offset_s is None
        assert watch((0, bad, 8.0, 1), (1, 1.0, 8.0625, 2), (2, 1.0625, 8.125, 3)).offset_s == 7.0625
