"""`sonosteer train`: what is learnt is used by the other commands."""

import json

import pytest
from command_line import SHORT, run

pytestmark = pytest.mark.slow


def test_train_writes_weights_that_track_takes(capsys, tmp_path):
    words = ["train", "tip-weights", "--quick", "--executor", "serial", "--out", tmp_path / "w", "--json"]
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    assert len(json.loads(stdout)["weights"]) == 5
    words = ["track", SHORT, "--method", "kf+f", "--enters", "left", "--config", tmp_path / "w" / "tip-weights.toml"]
    assert run(capsys, *words, "--out", tmp_path / "o", "--json")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study", "dreams"], "there is no study called 'dreams'"),
        (["train", "patience"], "there is no training stage called 'patience'"),
        (["train", "tip-weights", "--executor", "cloud"], "there is no executor 'cloud'"),
    ],
)
def test_studies_and_stages_that_are_not_there_are_named(capsys, tmp_path, words, said):
    code, _, stderr = run(capsys, *words, "--out", tmp_path / "o")
    assert code == 2
    assert said in stderr
