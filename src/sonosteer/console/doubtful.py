"""Which frames of a track a person should look at first.

A stretch of frames that are lost, coasting or of little confidence gives one frame, its worst, or one every so often if
it is long. A tip that jumps, and two methods that disagree, give frames, too. Nobody published these bounds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from sonosteer.core.types import Estimate, Lost, TipEstimate, Track

LITTLE = 0.6  # chosen: as other labelling tools edge points in red
STRETCH_FRAMES = 25  # chosen: one frame of each second at the usual rate
NEAR = 6  # chosen: what a label in this many frames of it says of a frame
JUMP = 8.0  # chosen: as many median steps are no way of a needle
MIN_JUMP = 0.02  # chosen: of the longer side. A speckle is smaller
MIN_QUARREL = 0.04  # chosen: of the longer side. Methods that differ by less point at the same thing


@dataclass(frozen=True, slots=True)
class DoubtfulFrame:
    """A frame to look at."""

    frame: int
    """Number of the frame in its clip, from 0."""
    why: str
    """What makes it doubtful, in a few words."""


def doubtful_frames(
    tracks: Sequence[Mapping[int, Estimate]], labelled: Collection[int], longer_side_px: float
) -> list[DoubtfulFrame]:
    """Frames to look at, in order, at most one in NEAR frames. labelled: frames that a person has looked at."""
    found: dict[int, str] = {}
    for track in tracks:
        for frame, why in (*_stretches(_doubts(track)), *_jumps(track, MIN_JUMP * longer_side_px)):
            found.setdefault(frame, why)
    for one, other in combinations(tracks, 2):
        for frame, why in _stretches(_apart(one, other, MIN_QUARREL * longer_side_px)):
            found.setdefault(frame, why)
    out: list[DoubtfulFrame] = []
    seen = sorted(labelled)
    for frame in sorted(found):
        if any(abs(frame - s) < NEAR for s in seen) or (out and frame - out[-1].frame < NEAR):
            continue
        out.append(DoubtfulFrame(frame, found[frame]))
    return out


def _doubt(estimate: Estimate) -> tuple[float, str] | None:
    """(how sure, why it is doubtful), or None if it is not."""
    if isinstance(estimate, Lost):
        return -1.0, "lost"
    if estimate.state is Track.COASTING:
        return estimate.confidence or 0.0, "coasting"
    sure = estimate.confidence
    return (sure, f"confidence {sure:.2f}") if sure is not None and sure < LITTLE else None


def _doubts(track: Mapping[int, Estimate]) -> Iterator[tuple[int, float, str]]:
    """(frame, how sure, why) of the frames that their own track makes doubtful."""
    for frame in sorted(track):
        doubt = _doubt(track[frame])
        if doubt is not None:
            yield (frame, *doubt)


def _stretches(doubts: Iterable[tuple[int, float, str]]) -> Iterator[tuple[int, str]]:
    """The worst frame of each stretch, or of each piece of a long one. Of lost frames it is the middle one."""
    piece: list[tuple[int, float, str]] = []
    for doubt in doubts:
        if piece and (doubt[0] != piece[-1][0] + 1 or len(piece) == STRETCH_FRAMES):
            yield _worst(piece)
            piece = []
        piece.append(doubt)
    if piece:
        yield _worst(piece)


def _worst(piece: Sequence[tuple[int, float, str]]) -> tuple[int, str]:
    least = min(sure for _, sure, _ in piece)
    among = [(frame, why) for frame, sure, why in piece if sure == least]
    return among[len(among) // 2]


def _jumps(track: Mapping[int, Estimate], at_least_px: float) -> Iterator[tuple[int, str]]:
    steps = [(frame, step) for frame in sorted(track) if (step := _distance(track.get(frame - 1), track[frame]))]
    if not steps:
        return
    bound = max(JUMP * median(step for _, step in steps), at_least_px)
    for frame, step in steps:
        if step > bound:
            yield frame, f"jumps by {step:.0f} px"


def _apart(one: Mapping[int, Estimate], other: Mapping[int, Estimate], px: float) -> Iterator[tuple[int, float, str]]:
    """(frame, how sure, why) of the frames in which two tracks are farther apart than px."""
    for frame in sorted(set(one) & set(other)):
        away = _distance(one[frame], other[frame])
        if away is not None and away > px:
            yield frame, -away, f"methods {away:.0f} px apart"


def _distance(a: Estimate | None, b: Estimate | None) -> float | None:
    return math.dist(a.tip_px, b.tip_px) if isinstance(a, TipEstimate) and isinstance(b, TipEstimate) else None
