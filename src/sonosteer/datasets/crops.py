"""Training samples: a template, and a search crop from two frames, with what a network should say of them.

Every sample is drawn from its own generator, seeded by (seed, number), so that an interrupted training goes on with the
samples that it would have seen. Crops are resampled to the network's scale in mm a pixel, or finer
where the image is small (`imaging.crops.working_scale`). Of d-track (512 px of 0.25 mm) the tracker cuts the same ones,
of other pictures it cuts them by the longer side alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sonosteer.core.arrays import F32, U8
from sonosteer.core.errors import InputError
from sonosteer.datasets.videos import BOX_MM, Video
from sonosteer.imaging.crops import crop, step_of, working_scale


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How training crops are varied: the paper's scaling, blur and shift, and what a search meets in a clip.

    The paper (Zhang et al. 2026) gives no numbers. All of these are chosen.
    """

    shift: float = 0.34
    """Largest shift of the tip from the search crop's middle, as a fraction of its side, 0 to 1."""
    scale: tuple[float, float] = (0.85, 1.2)
    """Smallest and largest factor on the scale, drawn log-uniformly, no unit."""
    wide: float = 0.2
    """Fraction of search crops at a wide scale, as when a lost tip is searched for, 0 to 1."""
    wide_scale: tuple[float, float] = (1.5, 2.2)
    """Smallest and largest factor on the scale of wide crops, no unit."""
    blur: float = 0.3
    """Fraction of crops that are blurred, 0 to 1."""
    blur_px: tuple[float, float] = (0.4, 1.2)
    """Smallest and largest standard deviation of the blur, px."""
    gain: tuple[float, float] = (0.75, 1.3)
    """Smallest and largest factor on the grey levels, no unit."""
    gamma: tuple[float, float] = (0.75, 1.35)
    """Smallest and largest exponent on the grey levels, no unit."""
    noise: float = 0.03
    """Largest standard deviation of the noise, as a fraction of full scale, 0 to 1."""
    despeckle: float = 0.25
    """Fraction of crops whose speckle is smoothed between edges, as clinical scanners do, 0 to 1."""
    despeckle_grey: tuple[float, float] = (20.0, 60.0)
    """Smallest and largest difference that counts as an edge when speckle is smoothed, grey levels."""
    flip: float = 0.5
    """Fraction of samples mirrored left to right, 0 to 1."""
    blind: float = 0.12
    """Fraction of samples with a blank template: the network must find a tip unseen before, 0 to 1."""
    away: float = 0.05
    """Fraction of search crops that hold no tip, 0 to 1."""
    gaps: tuple[int, ...] = (1, 1, 1, 1, 1, 1, 2, 3, 0, -1)
    """How many frames the other frame of a pair lies before the present one, drawn from these. Below 0: after it."""
    template_shift_mm: float = 0.4
    """Standard deviation of the template's middle around the tip, mm."""
    label_sd_mm: float = 0.1
    """Standard deviation added to the marked tip, mm. No person marks better."""
    unseen_weight: float = 0.4
    """Weight of the place's loss where the tip cannot be seen, 0 to 1."""
    earliest_s: float = 4.0
    """How far back the frame of the template may lie, s."""

    def plain(self) -> Augmentation:
        """Shifts and scales only: for looking at a network."""
        still = replace(self, wide=0.0, blind=0.0, away=0.0, label_sd_mm=0.0)
        return replace(still, blur=0.0, noise=0.0, despeckle=0.0, gain=(1.0, 1.0), gamma=(1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Batch:
    """Training samples as drawn: crops, and what a network should say of them."""

    template: U8
    """Template crops, (B, 1, T, T) grey levels 0 to 255."""
    search: U8
    """Search crops of the previous and the present frame, (B, 2, S, S) grey levels 0 to 255."""
    centre: F32
    """Tip in the search crop, (B, 2), in crop units: 0 to 1 from edge to edge, no unit."""
    size: F32
    """Sides of the tip's box, (B, 2), in crop units, no unit."""
    visible: F32
    """1 where the tip can be seen, else 0, (B,), no unit."""
    present: F32
    """1 where the crop holds a tip, else 0, (B,), no unit."""
    weight: F32
    """Weight of the place's loss, (B,), 0 to 1."""


class Sampler:
    """Draws batches from videos. search_px, template_px, scale_mm: of the network's crops."""

    def __init__(
        self,
        videos: Sequence[Video],
        search_px: int,
        template_px: int,
        scale_mm: float,
        seed: int,
        augmentation: Augmentation = Augmentation(),
    ) -> None:
        if not videos:
            raise InputError("the data set has no video in this split: nothing can be learnt")
        self.videos = [v for v in videos if v.visible.sum() >= 2]
        if not self.videos:
            raise InputError("no video has two frames with a visible tip: nothing can be learnt")
        self.search_px, self.template_px, self.scale_mm, self.seed = search_px, template_px, scale_mm, seed
        self.augmentation = augmentation

    def batch(self, first: int, count: int) -> Batch:
        """Samples first to first + count."""
        size, side = self.search_px, self.template_px
        out = Batch(
            np.zeros((count, 1, side, side), np.uint8),
            np.zeros((count, 2, size, size), np.uint8),
            *(np.zeros((count, 2), np.float32) for _ in range(2)),
            *(np.zeros(count, np.float32) for _ in range(3)),
        )
        for i in range(count):
            self._draw(np.random.default_rng([self.seed, first + i]), i, out)
        return out

    def _draw(self, rng: np.random.Generator, i: int, out: Batch) -> None:
        a = self.augmentation
        video = self.videos[int(rng.integers(len(self.videos)))]
        tips, seen = video.tips_px, video.visible
        here = np.flatnonzero(~np.isnan(tips[:, 0]))
        t = int(here[int(rng.integers(len(here)))])
        flip = bool(rng.random() < a.flip)
        if rng.random() >= a.blind:
            out.template[i, 0] = self._template(video, t, rng, flip)
        wide = rng.random() < a.wide
        factor = _log_uniform(rng, a.wide_scale if wide else a.scale)
        scale_mm = self._scale(video)
        step = step_of(video.spacing, scale_mm * factor)
        span = (self.search_px * step[0], self.search_px * step[1])
        off = rng.uniform(-a.shift, a.shift, 2)
        if rng.random() < a.away:
            off = rng.uniform(0.55, 1.0, 2) * rng.choice([-1.0, 1.0], 2)
        centre = (float(tips[t, 0] - off[0] * span[0]), float(tips[t, 1] - off[1] * span[1]))
        before = min(max(t - int(rng.choice(a.gaps)), 0), len(tips) - 1)
        pair = np.stack([crop(video.frames[k], centre, self.search_px, step, flip) for k in (before, t)])
        out.search[i] = self._changed(pair, rng)
        sd = np.array([a.label_sd_mm / video.spacing.x_mm, a.label_sd_mm / video.spacing.y_mm]) * rng.normal(0, 1, 2)
        place = 0.5 + off + sd / np.array(span)
        if flip:
            place[0] = 1 - place[0]
        present = bool((np.abs(off) < 0.5).all())
        out.centre[i] = place
        out.size[i] = BOX_MM / (self.search_px * scale_mm * factor)
        out.present[i] = present
        out.visible[i] = present and seen[t]
        out.weight[i] = 1.0 if seen[t] else a.unseen_weight

    def _scale(self, video: Video) -> float:
        return working_scale(video.frames.shape[1:], video.spacing, self.search_px, self.scale_mm)

    def _template(self, video: Video, t: int, rng: np.random.Generator, flip: bool) -> U8:
        """Around the visible tip of an earlier frame (a later one where there is none)."""
        a = self.augmentation
        seen = np.flatnonzero(video.visible)
        recent = seen[(seen < t) & (video.times_s[seen] > video.times_s[t] - a.earliest_s)]
        k = int(rng.choice(recent if len(recent) else seen))
        shift = rng.normal(0, a.template_shift_mm, 2)
        step = step_of(video.spacing, self._scale(video) * _log_uniform(rng, a.scale))
        centre = (
            float(video.tips_px[k, 0] + shift[0] / video.spacing.x_mm),
            float(video.tips_px[k, 1] + shift[1] / video.spacing.y_mm),
        )
        out: U8 = self._changed(crop(video.frames[k], centre, self.template_px, step, flip)[None], rng)[0]
        return out

    def _changed(self, crops: U8, rng: np.random.Generator) -> U8:
        """Another gain and gamma, noise, blur, despeckling: the same for both frames of a pair, the noise apart."""
        a = self.augmentation
        gain, gamma, blur = rng.uniform(*a.gain), _log_uniform(rng, a.gamma), rng.random()
        table = 255 * np.clip((np.arange(256) / 255) ** gamma * gain, 0, 1)
        noise = a.noise * rng.random() * 255
        sigma = rng.uniform(*a.blur_px)
        smooth, edge = rng.random() < a.despeckle, rng.uniform(*a.despeckle_grey)
        out = np.empty_like(crops)
        for k, each in enumerate(crops):
            grey = table[each].astype(np.float32)
            if noise > 1:
                small = rng.standard_normal((16, each.shape[1]), np.float32)
                grey += np.resize(small, each.shape) * np.float32(noise) * (each > 0)
            if blur < a.blur:
                grey = cv2.GaussianBlur(grey, (0, 0), sigma)
            if smooth:
                grey = cv2.bilateralFilter(grey, 5, edge, 2.0)
            out[k] = np.clip(grey + 0.5, 0, 255)
        return out


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return math.exp(rng.uniform(math.log(ends[0]), math.log(ends[1])))
