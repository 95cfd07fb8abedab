"""Finds the tip of a needle that moves to and fro by a known way, where it is no brighter than the tissue.

Detection is locked to the encoder (a lock-in amplifier, Michels and Curtis 1941, doi:10.1063/1.1769905): what moves as
the encoder says is needle, what stays is tissue. Along the needle's line each place has a gain g, the part of the
encoder's way by which the picture moves there. It is 1 along the shaft, since tissue sticks to it and comes along.
Ahead of the tip the tissue is pushed less and less. The tip is where the gain begins to fall.

| symbol | name here | unit |
| --- | --- | --- |
| d_t | `depths_mm`, inserted length at picture t | mm |
| g(x) | gain: 1 behind the tip, exp(-x / `FADE_MM`) at x ahead of it | no unit |
| R(g, s) | variance over time at place s of pictures that are moved back by g d_t | grey levels^2 |
| s_tip | place of the tip along the line: argmin over s_tip of the sum over s of log R(g(s - s_tip), s) | mm |

Chosen, not published. `FADE_MM` and `AHEAD_MM` fit how simulated tissue is dragged. In real tissue they must be
measured with tips that are seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.geometry import Point, Spacing

LINE_STEP_MM = 0.25
GAINS = np.concatenate([np.arange(0.0, 0.3, 0.05), np.arange(0.3, 1.21, 0.1)])
SHAFT_FROM = 0.6  # chosen: the echo of a smooth shaft partly stays where the shaft is hit squarely
FADE_MM = 2.3  # chosen: on 36 simulated tips of validation scenes (seeds 3000 to 3011, 3100 to 3123)
AHEAD_MM = 1.1  # chosen: on 16 wiggles of the whole loop (seeds 6002 to 6021). So close, tissue sticks to the tip
STRIP_HALF_MM = 1.25  # chosen: the line is known so well, and tissue beside the shaft moves, too
NOISE_FLOOR = 2.0  # chosen: grey levels^2, noise of a good picture
SMOOTH = 5  # chosen: steps, the grain of speckle
BEYOND_MM = 10.0  # chosen: how far the line is looked at beyond where the tip may be
SD_MM = 0.3  # chosen: no tip is known better
MIN_EVIDENCE = 15.0  # chosen: log likelihood, on the same tips. Where nothing moves it is about 5
TILE_PX, TILES_PX = 64, 320  # chosen: pieces of tissue whose own motion is taken away, and how far they lie around
FEWEST = 8  # chosen: pictures


@dataclass(frozen=True, slots=True)
class MovingTip:
    """A tip that was found by its motion."""

    tip_mm: Point
    """Where it is in the picture at the mean inserted length, mm."""
    sd_mm: float
    """Standard deviation along the needle, mm."""
    evidence: float
    """By how much the likelihood's logarithm is better than of a line that does not move, no unit."""


def find_moving_tip(
    pictures: Sequence[U8],
    times_s: Sequence[float],
    depths_mm: Sequence[float],
    *,
    near_mm: Point,
    direction_rad: float,
    spacing: Spacing,
    within_mm: float = 10.0,
) -> MovingTip | None:
    """Find the tip in pictures of a needle that moves to and fro. None where too little moves with it.

    pictures: (rows, columns) grey, from one place of the probe. times_s, depths_mm: of each picture. near_mm: a place
    on the needle's line near the tip in the picture, mm, at the mean depth. direction_rad: from entry to tip, from
    image +x towards +y (down). within_mm: how far from there the tip may be, either way.
    """
    depths = np.asarray(depths_mm, np.float64)
    if len(pictures) < FEWEST or np.ptp(depths) < 2 * LINE_STEP_MM:
        return None
    read = [picture.astype(np.float32) for picture in pictures]
    tissue_mm = _tissue_mm(read, np.asarray(times_s, np.float64), near_mm, spacing)
    along = np.arange(-within_mm - BEYOND_MM, within_mm + BEYOND_MM + 1e-9, LINE_STEP_MM)
    spread = _spread(
        read, depths - depths.mean(), tissue_mm, along, near_mm, direction_rad=direction_rad, spacing=spacing
    )
    costs = np.log(spread + NOISE_FLOOR)
    tips = np.arange(-within_mm, within_mm + 1e-9, LINE_STEP_MM)
    cost = _costs_of_tips(costs, along, tips)
    weights = np.exp(cost.min() - cost)
    weights /= weights.sum()
    mean = float(weights @ tips)
    sd = math.hypot(math.sqrt(float(weights @ (tips - mean) ** 2)), SD_MM)
    still = float(costs[0].sum())
    evidence = still - float(cost.min())
    if not evidence >= MIN_EVIDENCE:
        return None
    place = mean - AHEAD_MM
    at = near_mm[0] + place * math.cos(direction_rad), near_mm[1] + place * math.sin(direction_rad)
    return MovingTip(at, sd, evidence)


def _costs_of_tips(costs: F64, along: F64, tips: F64) -> F64:
    """(tips,) sum over the line of log R for a tip at each place. costs: (gains, places)."""
    shaft = costs[SHAFT_FROM - 1e-9 <= GAINS].min(0)
    every = np.arange(len(along))
    out = np.empty(len(tips))
    for k, tip in enumerate(tips):
        x = along - tip
        nearest = np.abs(GAINS[:, None] - np.exp(-np.maximum(x, 0.0) / FADE_MM)).argmin(0)
        out[k] = np.where(x <= 0, shaft, costs[nearest, every]).sum()
    return out


def _spread(
    pictures: Sequence[F32],
    moved_mm: F64,
    tissue_mm: F64,
    along: F64,
    near_mm: Point,
    *,
    direction_rad: float,
    spacing: Spacing,
) -> F64:
    """(gains, places) variance over time along the line, of pictures that are moved back by each gain."""
    across = np.arange(-STRIP_HALF_MM, STRIP_HALF_MM + 1e-9, LINE_STEP_MM)
    S, A = np.meshgrid(along, across)
    c, s = math.cos(direction_rad), math.sin(direction_rad)
    x, y = near_mm[0] + S * c - A * s, near_mm[1] + S * s + A * c
    out = np.empty((len(GAINS), len(along)))
    smooth = np.ones(SMOOTH) / SMOOTH
    for k, gain in enumerate(GAINS):
        stack = np.stack(
            [
                cv2.remap(
                    picture,
                    ((x + gain * by * c + dx) / spacing.x_mm).astype(np.float32),
                    ((y + gain * by * s + dy) / spacing.y_mm).astype(np.float32),
                    cv2.INTER_CUBIC,
                )
                for picture, by, (dx, dy) in zip(pictures, moved_mm, tissue_mm, strict=True)
            ]
        )
        out[k] = np.convolve(stack.var(0).mean(0), smooth, "same")
    return out


def _tissue_mm(pictures: Sequence[F32], times_s: F64, near_mm: Point, spacing: Spacing) -> F64:
    """(n, 2) slow motion of the tissue around, as by breathing, mm: the median of pieces, a parabola in time."""
    rows, columns = pictures[0].shape
    middle = pictures[len(pictures) // 2]
    x, y = spacing.to_px(near_mm)
    half, step = TILES_PX // 2, TILE_PX // 2
    corners = [
        (i, j)
        for i in range(max(round(y) - half, 0), min(round(y) + half, rows) - TILE_PX, step)
        for j in range(max(round(x) - half, 0), min(round(x) + half, columns) - TILE_PX, step)
        if middle[i : i + TILE_PX, j : j + TILE_PX].min() > 0 and middle[i : i + TILE_PX, j : j + TILE_PX].std() > 5
    ]
    if not corners:
        return np.zeros((len(pictures), 2))
    window = cv2.createHanningWindow((TILE_PX, TILE_PX), cv2.CV_32F)
    moved = np.array(
        [np.median([_shift(middle, each, corner, window) for corner in corners], axis=0) for each in pictures]
    )
    t = times_s - times_s.mean()
    mm = np.array([spacing.x_mm, spacing.y_mm])
    return np.stack([np.polyval(np.polyfit(t, moved[:, k] * mm[k], 2), t) for k in (0, 1)], axis=1)


def _shift(one: F32, other: F32, corner: tuple[int, int], window: F32) -> Point:
    """By how much a piece moved from one picture to the other, px."""
    part = slice(corner[0], corner[0] + TILE_PX), slice(corner[1], corner[1] + TILE_PX)
    # copies, since OpenCV weights its arguments in place
    (x, y), _ = cv2.phaseCorrelate(one[part].copy(), other[part].copy(), window)
    return float(x), float(y)
