"""Every frame has exactly one outcome."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.recording.frame_ledger import OUTCOMES, FrameLedger


def total(ledger):
    return sum(ledger.counts()[outcome] for outcome in OUTCOMES)


steps = st.lists(
    st.tuples(st.sampled_from(["next", "again", "gap", "take", "refuse", "drop"]), st.integers(1, 5)), max_size=60
)


@given(steps)
def test_the_outcomes_add_up_to_the_frames_whatever_happens(steps):
    ledger, index, arrived, late = FrameLedger(), 0, 0, 0
    for what, n in steps:
        if what in ("next", "again", "gap"):
            index += {"next": 1, "again": 0, "gap": 1 + n}[what]
            ledger.captured(index)
            arrived += 1
        elif ledger.waiting:
            chosen = ledger.waiting[min(n, len(ledger.waiting)) - 1]
            if what == "take":
                late += len(ledger.used(chosen))
            else:
                ledger.enter(chosen, {"refuse": "refused", "drop": "dropped"}[what], "a reason")
        assert ledger.frames == arrived == total(ledger) + len(ledger.waiting)
    gaps = ledger.gaps
    ledger.close()
    counts = ledger.counts()
    assert counts["captured"] == arrived + gaps == total(ledger)
    assert counts["late"] == late
    for outcome in ("dropped", "refused"):
        assert sum(counts.get(f"{outcome}_because", {}).values()) == counts[outcome]
    before = ledger.counts()
    ledger.close()
    assert ledger.counts() == before


def test_the_newest_frame_makes_those_before_it_late():
    ledger = FrameLedger()
    for i in range(5):
        ledger.captured(i)
    assert ledger.used(3) == [0, 1, 2]
    ledger.close("the operator stopped")
    assert ledger.counts() == {
        "captured": 5,
        "used": 1,
        "late": 3,
        "dropped": 1,
        "refused": 0,
        "dropped_because": {"the operator stopped": 1},
        "late_because": {"a newer frame was there": 3},
    }


def test_numbers_that_the_camera_left_out_are_dropped_frames():
    ledger = FrameLedger()
    for i in (7, 8, 11, 11, 3):
        ledger.captured(i)
    ledger.used(3)
    ledger.close()
    assert ledger.counts()["dropped_because"] == {"not delivered by the camera": 2}
    assert ledger.counts()["captured"] == 7


@pytest.mark.parametrize("act", [lambda f: f.used(2), lambda f: f.used(9), lambda f: f.enter(2, "late")])
def test_a_second_outcome_or_one_of_an_unknown_frame_is_a_mistake(act):
    ledger = FrameLedger()
    for i in (1, 2, 3):
        ledger.captured(i)
    ledger.enter(2, "refused", "repeated")
    with pytest.raises(ValueError, match="was not captured, or has its outcome already"):
        act(ledger)
    assert list(ledger.waiting) == [1, 3]


def test_an_outcome_that_does_not_exist_is_refused():
    ledger = FrameLedger()
    ledger.captured(0)
    with pytest.raises(ValueError, match="there is no outcome 'eaten'; there are: used, late, dropped, refused"):
        ledger.enter(0, "eaten")


def test_stages_keep_every_time_and_the_slowest_frame():
    ledger = FrameLedger()
    for i, age_s in enumerate((0.02, 0.05, 0.01)):
        ledger.captured(i)
        ledger.timed("estimate", age_s, i)
        ledger.timed("decision", 2 * age_s, i)
    ledger.timed("command", 0.125, 1)
    assert ledger.times_ms["estimate"] == [20.0, 50.0, 10.0]
    assert ledger.times_ms["decision"] == [40.0, 100.0, 20.0]
    assert ledger.slowest == {"estimate": (50.0, 1), "decision": (100.0, 1), "command": (125.0, 1)}
    assert ledger.rates_hz(2.0) == {"captured": 1.5, "estimate": 1.5, "decision": 1.5, "command": 0.5}
    assert ledger.rates_hz(0.0) == {}
