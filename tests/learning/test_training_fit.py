"""A training goes on from its last checkpoint, whenever it is killed, and ends as one that was not."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from sonosteer.learning.training.fit import _take_place


def checkpoints(folder, *names):
    for name in names:
        (folder / name).mkdir()
        (folder / name / "which").write_text(name)
    return folder / "checkpoint"


@pytest.mark.parametrize(
    ("left", "taken"),
    [
        ((), None),
        (("checkpoint.new",), None),  # killed while the first one was written: it may be half
        (("checkpoint", "checkpoint.new"), "checkpoint"),
        (("checkpoint.old", "checkpoint.new"), "checkpoint.new"),  # killed between the renames: both are whole
        (("checkpoint.old",), "checkpoint.old"),
        (("checkpoint", "checkpoint.old"), "checkpoint"),
    ],
)
def test_whenever_it_is_killed_a_whole_checkpoint_is_taken(tmp_path, left, taken):
    folder = checkpoints(tmp_path, *left)
    _take_place(folder)
    assert folder.exists() == (taken is not None)
    assert taken is None or (folder / "which").read_text() == taken


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="trainings are forked")
def test_a_training_killed_again_and_again_ends_with_the_same_weights(tmp_path):
    script = Path(__file__).with_name("killed_trainer.py")
    weights = []
    for name, times in (("whole", 0), ("killed", 12)):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, str(script), str(tmp_path / name), "5", str(times)], check=True)
        weights.append(np.load(tmp_path / name / "weights.npy"))
    assert np.array_equal(*weights)
