import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_runs_and_does_what_it_says(path, capsys):
    mean = runpy.run_path(str(path))["main"]()
    assert mean < 3.0
    assert "mean tip error" in capsys.readouterr().out
