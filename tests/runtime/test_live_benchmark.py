"""`sonosteer bench insertion`, shortened: it measures what it says, whatever the numbers are."""

import pytest

from sonosteer.benchmarks import insertion

pytestmark = pytest.mark.slow


def test_every_run_says_how_often_it_tracked_and_decided_and_the_reference_is_in_it(monkeypatch):
    monkeypatch.setattr(insertion, "INSERTION_RUNS", (insertion.INSERTION_RUNS[0], insertion.INSERTION_RUNS[2]))
    for run_s in (1.2, 6.0, 30.0):  # a machine that is busy gets longer runs
        monkeypatch.setattr(insertion, "RUN_S", run_s)
        seen = []
        result = insertion.bench_insertion(seed=0, progress=seen.append)
        cases = {c["case"]: c for c in result["cases"]}
        if len(cases) == 6:
            break
    for name in ("asynchronous", "synchronous"):
        for what in ("tracking", "deciding", "capture to estimate"):
            assert cases[f"{what}, {name}"]["median_ms"] > 0
    assert set(cases["tracking, asynchronous"]["ratio"]) == {"synchronous"}
    assert result["tracking_hz"] > 0
    assert result["action_hz"] > 0
    assert seen == [1, 2]
