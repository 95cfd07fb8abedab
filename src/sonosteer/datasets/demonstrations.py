"""Demonstrations as a policy learns from them: moments with a tip, as numbers, with the features of a tracker.

Moments come in an order that (seed, epoch) alone decides, each once an epoch, so that an interrupted training goes on
with what it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F16, F32, U8
from sonosteer.core.errors import InputError
from sonosteer.core.types import Task, TipEstimate
from sonosteer.datasets.insertions import RecordedEpisode
from sonosteer.datasets.samples import TrainingSample
from sonosteer.imaging.crops import crop, step_of, working_scale
from sonosteer.inference.action_encoding import SPEED_INPUT, encode_action, encode_inputs
from sonosteer.inference.prompt import instruction

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DemonstrationBatch:
    """Samples as a policy learns from them."""

    ids: I64
    """Token ids of the instruction, (B, T)."""
    features: F16
    """What the tracker's encoder saw, (B, N + L, width), no unit."""
    numbers: F32
    """What the policy is told, (B, K), each 0 to 1 of its range."""
    places: F32
    """What the expert did, (B, 3), each 0 to 1 of its range."""
    stop: F32
    """1 where the expert stopped, else 0, (B,), no unit."""


@dataclass(frozen=True, slots=True)
class SampleRef:
    """Where a sample is."""

    episode: RecordedEpisode
    """The demonstration it belongs to."""
    k: int
    """Its index among the samples of the episode."""

    @property
    def sample(self) -> TrainingSample:
        """The moment itself."""
        return self.episode.samples[self.k]


def samples_with_tip(episodes: Sequence[RecordedEpisode]) -> list[SampleRef]:
    """All moments that a policy learns from: those where the tip was not lost (there a rule decides, not the network).

    Raises InputError if there are none.
    """
    out = [
        SampleRef(e, k)
        for e in episodes
        for k, m in enumerate(e.samples)
        if isinstance(m.observation.estimate, TipEstimate)
    ]
    if not out:
        raise InputError(f"{len(episodes)} demonstrations hold no moment with a tip: nothing can be learnt from them")
    return out


def pair_at(place: SampleRef, search_px: int, scale_mm: float) -> U8:
    """(2, S, S): what a tracker looks at in that moment, from the previous and the present frame, around the tip.

    A tracker looks around its prediction, which lies within a millimetre of what it says afterwards. Where the frame
    before was not kept, the present one stands for it, as for a tracker's first. Raises InputError without frames.
    """
    episode, k = place.episode, place.k
    if episode.frames is None:
        raise InputError(f"{episode.folder} has neither frames nor features: nothing can be seen; make the set again")
    seen, spacing = place.sample.observation.estimate, episode.task.spacing
    assert isinstance(seen, TipEstimate)
    step = step_of(spacing, working_scale(episode.frames.shape[1:], spacing, search_px, scale_mm))
    index = [m.observation.frame_index for m in episode.samples[max(k - 1, 0) : k + 1]]
    before = k - 1 if index[0] == index[-1] - 1 else k
    images = (np.ascontiguousarray(episode.frames[t]) for t in (before, k))
    return np.stack([crop(image, seen.tip_px, search_px, step) for image in images])


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is hidden from the learner or blurred, so that it does not learn few demonstrations by heart.

    All numbers are chosen. Who sees his own speed learns to keep it and never starts (de Haan et al., Causal confusion
    in imitation learning, 2019). Therefore the own speed is sometimes replaced.
    """

    forget: float = 0.5
    """Fraction of samples whose own speed is replaced by a random one, 0 to 1."""
    hide: float = 0.25
    """Fraction of samples without features, 0 to 1."""
    jitter: float = 0.01
    """Standard deviation of the noise on all numbers, as a fraction of their ranges, 0 to 1."""

    def __post_init__(self) -> None:
        if not (0 <= self.forget <= 1 and 0 <= self.hide <= 1 and 0 <= self.jitter < 1):
            raise InputError(f"doubt: forget {self.forget}, hide {self.hide}, jitter {self.jitter}: 0 to 1 is possible")


SOME_DOUBT, NO_DOUBT = Doubt(), Doubt(0.0, 0.0, 0.0)
#: moments of an episode that come in a row, in random order: their instruction is read once
TOGETHER = 4


class Demonstrations:
    """Moments and their features (a row each), drawn by number. encode: an instruction -> its ids, all as long."""

    def __init__(
        self,
        places: Sequence[SampleRef],
        features: F16,
        encode: Callable[[str], list[int]],
        seed: int,
        doubt: Doubt = NO_DOUBT,
    ) -> None:
        assert len(places) == len(features)
        self.seed, self.doubt, self.features = seed, doubt, features
        episodes = list({id(p.episode): p.episode for p in places}.values())
        number = {id(e): i for i, e in enumerate(episodes)}
        self._ids = np.array([encode(instruction(e.task)) for e in episodes], np.int64)
        self._of = np.array([number[id(p.episode)] for p in places])
        self.numbers = np.stack([_numbers(p.episode.task, p.sample) for p in places])
        self.places = np.stack(
            [encode_action(p.episode.task, p.sample.action, p.sample.observation.robot_state) for p in places]
        )
        self.stop = np.array([p.sample.action.command.stop for p in places], np.float32)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, first: int, count: int) -> DemonstrationBatch:
        """Samples `first` to `first + count`, counted through all epochs."""
        order = [self._row(n) for n in range(first, first + count)]
        lot = self.rows(np.array(order))
        rng = np.random.default_rng((self.seed, 1, first))
        doubt = self.doubt
        noise = rng.standard_normal(lot.numbers.shape, np.float32) * np.float32(doubt.jitter)
        np.clip(lot.numbers + noise, 0.0, 1.0, out=lot.numbers)
        forgotten = rng.random(count) < doubt.forget
        lot.numbers[forgotten, SPEED_INPUT] = rng.random(int(forgotten.sum()), dtype=np.float32)
        lot.features[rng.random(count) < doubt.hide] = 0
        return lot

    def rows(self, chosen: I64) -> DemonstrationBatch:
        """These moments as they are."""
        return DemonstrationBatch(
            self._ids[self._of[chosen]],
            np.array(self.features[chosen]),
            self.numbers[chosen],
            self.places[chosen],
            self.stop[chosen],
        )

    def _row(self, n: int) -> int:
        epoch, k = divmod(n, len(self))
        if self._epoch != epoch:
            self._epoch = epoch
            self._order = self._shuffled(np.random.default_rng((self.seed, 0, epoch)))
        return int(self._order[k])

    def _shuffled(self, rng: np.random.Generator) -> I64:
        """All moments, some of one episode at a time."""
        order = rng.permutation(len(self))
        groups: list[I64] = []
        for episode in range(len(self._ids)):
            own = order[self._of[order] == episode]
            groups += [own[k : k + TOGETHER] for k in range(0, len(own), TOGETHER)]
        return np.concatenate([groups[k] for k in rng.permutation(len(groups))])


def _numbers(task: Task, sample: TrainingSample) -> F32:
    estimate = sample.observation.estimate
    assert isinstance(estimate, TipEstimate)
    return encode_inputs(task, sample.observation, estimate)
