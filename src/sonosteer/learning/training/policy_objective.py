"""What the training loop (`fit.train_loop`) must know of a policy: batches of moments, loss, errors of what is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonosteer.datasets.demonstrations import DemonstrationBatch, Demonstrations
from sonosteer.inference.action_encoding import ACTION_RANGES
from sonosteer.learning.nets.action_tokens import MAX_TEXT, as_text
from sonosteer.learning.nets.policy import PolicyNet

LOOKED_AT = 512  # moments of a look at validation


@dataclass(frozen=True, slots=True)
class PolicyObjective:
    """Saying what an expert did."""

    demonstrations: Demonstrations
    """Samples to learn from."""
    held: Demonstrations
    """Samples to validate on."""
    stop_weight: float
    """Weight of a sample that stops in the loss of [STOP], no unit."""

    def batch(self, first: int, count: int) -> DemonstrationBatch:
        """Moments, as drawn."""
        return self.demonstrations.batch(first, count)

    def respond(self, model: Any, batch: DemonstrationBatch, device: Any) -> dict[str, Tensor]:
        """Logits."""
        places = _on(batch.places, device)
        given = (_on(batch.ids, device), _on(batch.features, device).float(), _on(batch.numbers, device))
        raw: dict[str, Tensor] = model(*given, places, _texts(batch).to(device))
        return raw

    def loss(
        self, net: PolicyNet, raw: dict[str, Tensor], batch: DemonstrationBatch, device: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Divergence from the expert's action, and of [STOP]."""
        said = {k: v.float() for k, v in raw.items()}
        stop = _on(batch.stop, device)
        return net.loss(said, _on(batch.places, device), stop, _texts(batch).to(device), self.stop_weight)

    def assess(self, net: PolicyNet, device: Any) -> dict[str, float]:
        """Errors on validation moments."""
        return assess_policy(net, self.held, device)


@torch.no_grad()
def assess_policy(net: PolicyNet, held: Demonstrations, device: Any, batch: int = 64) -> dict[str, float]:
    """Mean errors of what is said against what the expert did, by name and unit, and how often [STOP] is right.

    stops_found: fraction of the expert's stops that are said. stops_early: fraction of other moments where one is said.
    Moments are spread over all there are. All that stop are among them.
    """
    was_training = net.training
    net.eval()
    spread = np.unique(np.linspace(0, len(held) - 1, min(LOOKED_AT, len(held))).round().astype(np.int64))
    chosen = np.union1d(spread, np.flatnonzero(held.stop))
    errors, stops, truths = [], [], []
    for first in range(0, len(chosen), batch):
        lot = held.rows(chosen[first : first + batch])
        kept = net.prefix(_on(lot.ids, device))
        said = net.act(kept, _on(lot.features, device).float(), _on(lot.numbers, device))
        errors.append((said.places.float().cpu() - torch.from_numpy(lot.places)).abs().nan_to_num(nan=1.0).numpy())
        stops.append(said.stop.float().cpu().numpy() >= 0.5)
        truths.append(lot.stop > 0)
    net.train(was_training)
    each, said_stop, is_stop = np.concatenate(errors), np.concatenate(stops), np.concatenate(truths)
    moving = ~is_stop if (~is_stop).any() else is_stop
    out = {r.name: float(each[moving, k].mean()) * (r.high - r.low) for k, r in enumerate(ACTION_RANGES)}
    return out | {
        "stops_found": float(said_stop[is_stop].mean()) if is_stop.any() else 1.0,
        "stops_early": float(said_stop[~is_stop].mean()) if (~is_stop).any() else 0.0,
    }


def _on(values: Any, device: Any) -> Tensor:
    return torch.from_numpy(values).to(device, non_blocking=True)


def _texts(batch: DemonstrationBatch) -> Tensor:
    """(B, LONGEST) classes of the answers as text, -1 behind their end."""
    out = torch.full((len(batch.stop), MAX_TEXT), -1, dtype=torch.long)
    for row, places, stop in zip(out, batch.places, batch.stop, strict=True):
        classes = as_text(tuple(places.tolist()), stop=bool(stop))
        row[: len(classes)] = torch.tensor(classes)
    return out
