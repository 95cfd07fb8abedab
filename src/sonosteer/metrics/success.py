"""Success and precision of box trackers, and intervals over videos.

The success plot and its area follow Y. Wu, J. Lim, M.-H. Yang, "Online object tracking: a benchmark", CVPR 2013.
Precision within 20 px follows TrackingNet (Mueller et al., ECCV 2018). A frame without an answer is a miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sonosteer.core.arrays import F64

#: overlaps at which the success plot is read, no unit
THRESHOLDS = np.linspace(0.0, 1.0, 21)
#: distance within which a centre counts as right, px (TrackingNet)
PRECISION_PX = 20.0
#: distance from the target within which an insertion succeeds, mm (Zhang et al. 2026, Section IV-C)
HIT_MM = 5.0


def overlap(a: F64, b: F64) -> F64:
    """Intersection over union of boxes (..., 4) given as x0, y0, x1, y1."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.clip(sides, 0.0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    out: F64 = both / np.maximum(union, 1e-12)
    return out


def success_curve(iou: F64) -> F64:
    """Fraction of frames whose overlap is above each of THRESHOLDS."""
    out: F64 = (iou[:, None] > THRESHOLDS).mean(0)
    return out


def success_area(iou: F64) -> float:
    """Area under the success plot, percent, 0 to 100."""
    return float(100 * success_curve(iou).mean())


def precision(error_px: F64, within_px: float = PRECISION_PX) -> float:
    """Frames whose centre is near enough, percent, 0 to 100."""
    return float(100 * (error_px <= within_px).mean())


def bootstrap(
    videos: Sequence[F64], statistic: Callable[[F64], float], rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float]:
    """95 % interval of a statistic of all frames. Whole videos are drawn, since frames of one video are alike."""
    found = [
        statistic(np.concatenate([videos[i] for i in rng.integers(len(videos), size=len(videos))]))
        for _ in range(draws)
    ]
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return low, high


def paired(a: Sequence[float], b: Sequence[float]) -> float:
    """p-value of Wilcoxon's signed-rank test, one figure a video. It is 1 if there is no difference at all."""
    from scipy import stats

    difference = np.asarray(a) - np.asarray(b)
    if len(difference) < 2 or not np.any(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)
