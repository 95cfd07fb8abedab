"""Every frame has exactly one fate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.recording.frame_ledger import FATES, FrameFates


def total(fates):
    return sum(fates.counts()[fate] for fate in FATES)


steps = st.lists(
    st.tuples(st.sampled_from(["next", "again", "gap", "take", "refuse", "drop"]), st.integers(1, 5)), max_size=60
)


@given(steps)
def test_the_fates_add_up_to_the_frames_whatever_happens(steps):
    fates, index, arrived, late = FrameFates(), 0, 0, 0
    for what, n in steps:
        if what in ("next", "again", "gap"):
            index += {"next": 1, "again": 0, "gap": 1 + n}[what]
            fates.captured(index)
            arrived += 1
        elif fates.waiting:
            chosen = fates.waiting[min(n, len(fates.waiting)) - 1]
            if what == "take":
                late += len(fates.used(chosen))
            else:
                fates.fate(chosen, {"refuse": "refused", "drop": "dropped"}[what], "a reason")
        assert fates.frames == arrived == total(fates) + len(fates.waiting)
    gaps = fates.gaps
    fates.close()
    counts = fates.counts()
    assert counts["captured"] == arrived + gaps == total(fates)
    assert counts["late"] == late
    for fate in ("dropped", "refused"):
        assert sum(counts.get(f"{fate}_because", {}).values()) == counts[fate]
    before = fates.counts()
    fates.close()
    assert fates.counts() == before


def test_the_newest_frame_makes_those_before_it_late():
    fates = FrameFates()
    for i in range(5):
        fates.captured(i)
    assert fates.used(3) == [0, 1, 2]
    fates.close("the operator stopped")
    assert fates.counts() == {
        "captured": 5,
        "used": 1,
        "late": 3,
        "dropped": 1,
        "refused": 0,
        "dropped_because": {"the operator stopped": 1},
        "late_because": {"a newer frame was there": 3},
    }


def test_numbers_that_the_camera_left_out_are_dropped_frames():
    fates = FrameFates()
    for i in (7, 8, 11, 11, 3):
        fates.captured(i)
    fates.used(3)
    fates.close()
    assert fates.counts()["dropped_because"] == {"not delivered by the camera": 2}
    assert fates.counts()["captured"] == 7


@pytest.mark.parametrize("act", [lambda f: f.used(2), lambda f: f.used(9), lambda f: f.fate(2, "late")])
def test_a_second_fate_or_one_of_an_unknown_frame_is_a_mistake(act):
    fates = FrameFates()
    for i in (1, 2, 3):
        fates.captured(i)
    fates.fate(2, "refused", "repeated")
    with pytest.raises(ValueError, match="was not captured, or has its fate already"):
        act(fates)
    assert list(fates.waiting) == [1, 3]


def test_a_fate_that_does_not_exist_is_refused():
    fates = FrameFates()
    fates.captured(0)
    with pytest.raises(ValueError, match="there is no fate 'eaten'; there are: used, late, dropped, refused"):
        fates.fate(0, "eaten")


def test_stages_keep_every_time_and_the_slowest_frame():
    fates = FrameFates()
    for i, age_s in enumerate((0.02, 0.05, 0.01)):
        fates.captured(i)
        fates.tracked(i, age_s)
        fates.decided(i, 2 * age_s)
    fates.commanded(1, 0.125)
    assert fates.times_ms["estimate"] == [20.0, 50.0, 10.0]
    assert fates.times_ms["decision"] == [40.0, 100.0, 20.0]
    assert fates.slowest == {"estimate": (50.0, 1), "decision": (100.0, 1), "command": (125.0, 1)}
    assert fates.rates_hz(2.0) == {"captured": 1.5, "estimate": 1.5, "decision": 1.5, "command": 0.5}
    assert fates.rates_hz(0.0) == {}
