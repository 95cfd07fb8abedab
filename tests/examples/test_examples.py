"""Each example runs as it stands and does what its text says."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


CHECKS = {
    "track_in_python": (lambda mean: mean < 3.0, "mean tip error"),
    "own_drive": (lambda depth: depth == 12.5, "depth 12.5 mm, 5 mm/s, ready: True"),
    "own_tracker": (lambda mean: 3.0 < mean < 30.0, "keeps the laws"),
    "steer_in_python": (lambda end: end < 0.6, "half a turn"),
    "own_tissue_and_needle": (lambda deflection: 0.5 < deflection < 20, "dB over the tissue"),
    "policy_in_the_environment": (lambda hits: hits >= 2, "of 3 within 5 mm"),
    "own_policy": (lambda hits: hits >= 2, "of 3 within 5 mm"),
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_runs_and_does_what_it_says(path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))  # as when it is run as a script
    good, said = CHECKS[path.stem]
    assert good(runpy.run_path(str(path))["main"]())
    assert said in capsys.readouterr().out
