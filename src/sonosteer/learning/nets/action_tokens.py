"""Actions as tokens: 256 bins shared by all numbers, [STOP], four slots. The same action as text.

After RT-2 (Zitkovich et al. 2023) and OpenVLA-OFT (Kim et al. 2025). Zhang et al. 2026 name an action and [STOP], but
no tokens. Therefore all of this is chosen. A number is learnt as a bell over the bins around it. It is read as the mean
over all bins, which is finer than a bin. [STOP] competes with all bins together and has a probability of its own.

| rows, from a vocabulary's first free one | what |
| --- | --- |
| 0 .. 255 | bins: places 0..1 of any range |
| 256 | [STOP] |
| 257 .. 260 | slots: angle, insertion speed, probe speed, stop |
| 261 | end of a text |
"""

from __future__ import annotations

import re
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sonosteer.inference.action_encoding import ACTION_RANGES, BINS

Decode = Literal["parallel", "ar", "text"]
STOP_ROW, SLOT_ROW, END_ROW = BINS, BINS + 1, BINS + 5
SLOTS, TOKEN_ROWS = 4, BINS + 6
#: chosen: standard deviation of the bell over the bins that a number is learnt as, bins
SIGMA = 2.0
#: text answers: these characters, then STOP and END as classes of their own. At most LONGEST of them
CHARACTERS = "0123456789.- "
STOP_CLASS, END_CLASS = len(CHARACTERS), len(CHARACTERS) + 1
MAX_TEXT = 17  # "90.0 20.0 -20.0" and its end, with room


def soft_labels(place: Tensor) -> Tensor:
    """Places 0..1 -> a bell over the bins (..., 256) that sums to 1.

    SIGMA bins wide, narrower near the ends of the range, so that its mean stays the place itself: a speed of nought
    would otherwise be learnt as one and a half bins.
    """
    at = place.unsqueeze(-1) * (BINS - 1)
    bins = torch.arange(BINS, device=place.device, dtype=place.dtype)
    to_edge = torch.minimum(at, BINS - 1 - at)
    sigma = (to_edge / 2.5).clamp(0.5, SIGMA)
    return (-0.5 * ((bins - at) / sigma) ** 2).softmax(-1)


def read_out(logits: Tensor) -> Tensor:
    """Logits of the bins (..., 256) -> the mean place 0..1."""
    bins = torch.arange(BINS, device=logits.device, dtype=logits.dtype)
    return (logits.softmax(-1) * bins).sum(-1) / (BINS - 1)


def stop_logit(logits: Tensor) -> Tensor:
    """Logits of bins and [STOP] (..., 257) -> log-odds of [STOP] against all bins together."""
    return logits[..., STOP_ROW] - torch.logsumexp(logits[..., :BINS], -1)


def bin_of(place: Tensor) -> Tensor:
    """The nearest bin."""
    return (place * (BINS - 1)).round().long().clamp(0, BINS - 1)


def losses(numbers: Tensor, stop: Tensor, places: Tensor, stopped: Tensor, stop_weight: float) -> dict[str, Tensor]:
    """Of logits of the bins (B, 3, 256), log-odds of [STOP] (B,): each number's divergence from its bell, and stop's.

    Where the expert stops, the numbers count too. stop_weight: of the few moments that stop, against all that go on.
    """
    label = soft_labels(places)
    divergence = F.kl_div(numbers.log_softmax(-1), label, reduction="none").sum(-1).mean(0)
    parts = {r.name.split("_")[0]: d for r, d in zip(ACTION_RANGES, divergence, strict=True)}
    weight = stop.new_tensor(stop_weight)
    return parts | {"stop": F.binary_cross_entropy_with_logits(stop, stopped, pos_weight=weight)}


def as_text(places: tuple[float, ...], *, stop: bool) -> list[int]:
    """An answer as classes: "35.0 12.4 0.0" and its end, or STOP and the end."""
    if stop:
        return [STOP_CLASS, END_CLASS]
    said = " ".join(f"{r.value(p) + 0.0:.1f}" for r, p in zip(ACTION_RANGES, places, strict=True)).replace(
        "-0.0", "0.0"
    )
    return [*(CHARACTERS.index(c) for c in said), END_CLASS]


def from_text(classes: list[int]) -> tuple[float, ...] | None:
    """Classes up to the end -> places 0..1. None if they are no answer."""
    text = "".join(CHARACTERS[c] for c in classes if c < STOP_CLASS)
    number = r"(-?\d{1,3}\.\d)"
    found = re.fullmatch(rf"{number} {number} {number}", text)
    if found is None:
        return None
    return tuple(r.place(float(v)) for r, v in zip(ACTION_RANGES, found.groups(), strict=True))
