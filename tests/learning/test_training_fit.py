"""A training goes on from its last checkpoint, whenever it is killed, and ends as one that was not."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sonosteer.core.errors import InputError
from sonosteer.learning.training.fit import Schedule, _take_place, train_loop


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


class Line(torch.nn.Module):
    """A norm and a weight."""

    def __init__(self):
        super().__init__()
        self.norm, self.weight = torch.nn.BatchNorm1d(1), torch.nn.Linear(1, 1)

    def forward(self, x):
        return self.weight(self.norm(x))

    def groups(self, lr, weight_decay):
        return [{"params": list(self.parameters()), "lr": lr, "base_lr": lr, "weight_decay": weight_decay}]


class Shifting:
    """Batches whose mean rises with the number of their first sample. Notes what the norm holds before each step."""

    def __init__(self):
        self.held = []

    def batch(self, first, count):
        return torch.randn(count, 1) + 10.0 + first

    def respond(self, model, batch, device):
        self.held.append(float(model.norm.running_mean))
        return model(batch)

    def loss(self, net, raw, batch, device):
        value = raw.square().mean()
        return value, {"square": value}

    def assess(self, net, device):
        net.train()
        return {}


def test_norms_keep_what_they_have_seen_in_the_settled_steps(tmp_path):
    held = {}
    for settled in (0.0, 0.5, 1.0):
        objective = Shifting()
        schedule = Schedule(steps=8, batch=4, settled=settled, look_every=3)
        train_loop(Line(), objective, schedule, tmp_path / str(settled), seed=0, device="cpu")
        held[settled] = objective.held
    assert all(np.diff(held[0.0]) > 0)
    assert all(np.diff(held[0.5][:5]) > 0)
    assert set(held[0.5][4:]) == {held[0.0][4]}  # a look in between has not undone it
    assert set(held[1.0]) == {0.0}


def test_a_part_of_the_steps_is_settled():
    for wrong in (-0.1, 1.1):
        with pytest.raises(InputError, match="settled"):
            Schedule(steps=3, settled=wrong)
