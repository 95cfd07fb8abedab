"""Each check refuses what is beyond it, and says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sonosteer.calibration.verdict import Bounds, Check, refusals

GOOD = Check(
    observations=20,
    used=18,
    rms=0.5,
    held_out_rms=0.6,
    max_held_out=1.2,
    unit="mm",
    sd=0.2,
    jackknife_sd=0.22,
    sd_unit="mm",
    condition=8.0,
)
BOUNDS = Bounds(max_rms=1.0, max_sd=0.5)


def test_a_good_one_is_not_refused():
    assert refusals(GOOD, BOUNDS, move="Move.") == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"condition": 150.0}, "condition number 150, 100 is allowed.*Move"),
        ({"used": 11}, "only 11 of 20"),
        ({"rms": 1.1}, "1.1 mm rms, 1 mm is allowed"),
        ({"sd": 0.6, "jackknife_sd": 0.6}, "claimed error is 0.6 mm, 0.5 mm is allowed"),
        ({"jackknife_sd": 0.5}, "leaving out"),
        *(({name: float("nan")}, "") for name in ("condition", "rms", "sd", "jackknife_sd")),
    ],
)
def test_what_is_beyond_a_bound_or_no_number_is_refused(change, said):
    import re

    said_lines = refusals(replace(GOOD, **change), BOUNDS, move="Move.")
    assert said_lines
    assert re.search(said, said_lines[0])


def test_seconds_and_fractions_are_told_as_people_say_them():
    from sonosteer.calibration.verdict import amount

    assert [amount(0.0123, "mm"), amount(0.0123, "s"), amount(0.0123, "fraction")] == [
        "0.0123 mm",
        "12.3 ms",
        "1.23 % of the motion",
    ]
