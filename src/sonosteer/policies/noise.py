"""Noise as a function of time: how a hand trembles and drifts, and when attention lapses. Same seed, same person.

Nothing here has a memory. A value depends only on the seed, the channel (what it is for) and the time. So the state of
a policy can be copied and replayed.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

DRIFT_S = (2.3, 3.7, 6.1)  # chosen: periods of slow drift, no multiples of each other
#: physiological tremor has 8 to 12 Hz. Decisions come slower and sample it as noise
TREMOR_S = (1 / 8.3, 1 / 9.7, 1 / 11.6)


def wave(seed: int, channel: int, time_s: float, periods_s: tuple[float, ...]) -> float:
    """Return smooth noise of standard deviation 1: sines of these periods with random phases."""
    phases = _uniform(seed, channel, -1, len(periods_s))
    total = sum(math.sin(2 * math.pi * (time_s / p + f)) for p, f in zip(periods_s, phases, strict=True))
    return total * math.sqrt(2.0 / len(periods_s))


def lapse(seed: int, channel: int, time_s: float, *, every_s: float, lasts_s: tuple[float, float]) -> bool:
    """True during a lapse. There is one in each interval of every_s. If every_s is 0 there is none.

    lasts_s: shortest and longest lapse. After a lapse there is none for at least as long as it lasted.
    """
    if every_s <= 0:
        return False
    slot = math.floor(time_s / every_s)
    length, begin = _uniform(seed, channel, slot, 2)
    lasts = min(lasts_s[0] + length * (lasts_s[1] - lasts_s[0]), 0.5 * every_s)
    starts = slot * every_s + begin * (every_s - 2 * lasts)
    return starts <= time_s < starts + lasts


@lru_cache(maxsize=4096)
def _uniform(seed: int, channel: int, slot: int, n: int) -> tuple[float, ...]:
    key = [seed, channel, abs(slot), int(slot < 0)]
    return tuple(np.random.default_rng(key).random(n).tolist())
