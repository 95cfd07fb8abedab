"""Trains a tiny network in processes that are killed: `python killed_trainer.py FOLDER SEED TIMES`.

Writes the weights at the end to FOLDER/weights.npy. Imports once, then forks, since torch takes seconds to import.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from killing import run_killed
from sonosteer.learning.training.fit import Schedule, train_loop

SCHEDULE = Schedule(steps=60, batch=4, lr=1e-2, average=0.9, save_every=3, look_every=20)


class Line(torch.nn.Linear):
    def groups(self, lr, weight_decay):
        return [{"params": list(self.parameters()), "lr": lr, "base_lr": lr, "weight_decay": weight_decay}]


class Fitted:
    def batch(self, first, count):
        x = np.stack([np.random.default_rng(first + k).normal(size=3) for k in range(count)])
        return torch.from_numpy(x).float()

    def respond(self, model, batch, device):
        return model(batch)

    def loss(self, net, raw, batch, device):
        loss = ((raw - batch.sum(1, keepdim=True)) ** 2).mean()
        time.sleep(0.004)
        return loss, {"fit": loss}

    def assess(self, net, device):
        return {"right": 1.0}


def train(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Line(3, 1)
    done = train_loop(net, Fitted(), SCHEDULE, folder, seed=0, device="cpu")
    assert done["steps"] == SCHEDULE.steps
    np.save(folder / "weights.npy", net.weight.detach().numpy())


if __name__ == "__main__":
    out = Path(sys.argv[1])
    run_killed(lambda: train(out), np.random.default_rng(int(sys.argv[2])), times=int(sys.argv[3]), most_s=0.6)
