"""The worst frames of each method of a comparison, cut around the mark, with what all methods say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sonosteer.core.errors import SonosteerError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Frame
from sonosteer.metrics.clip_scores import ClipScore, frame_costs
from sonosteer.sources.opening import open_source

if TYPE_CHECKING:
    from sonosteer.episodes.comparison import ClipComparison, ComparedClip
    from sonosteer.viz.film_strip import FilmStripCell

#: chosen: frames of a method, of one clip, and how far apart those must be, so that they are not all of one lapse
A_METHOD, A_CLIP, APART = 6, 2, 10
#: chosen: side of a cut as a fraction of the longer side, and in px of the strip
CUT_FRACTION, CUT_PX = 0.3, 128


def write_worst_frames(path: Path, comparison: ClipComparison, scores: Mapping[str, Sequence[ClipScore]]) -> str | None:
    """Write the strip as PNG. Returns its file's name, None where there is nothing to show or no clip can be read."""
    from sonosteer.viz.film_strip import MARKS, FilmStripRow, write_strip

    methods = comparison.methods[: len(MARKS)]
    chosen = {m: worst_of(scores[m]) for m in methods}
    frames = _read(comparison.clips, {at for each in chosen.values() for at in each})
    rows = []
    for m in methods:
        cells = [_cell(comparison.clips[c], frame, f, methods) for c, f in chosen[m] if (frame := frames.get((c, f)))]
        if cells:
            rows.append(FilmStripRow(label=f"worst of\n{m}", cells=cells))
    if not rows:
        return None
    in_mm = all(clip.spacing is not None for clip in comparison.clips)
    write_strip(path, f"Worst frames, errors in {'mm' if in_mm else 'px'}", methods, rows)
    return path.name


def worst_of(scores: Sequence[ClipScore]) -> list[tuple[int, int]]:
    """(clip, frame) of the claims of a method that cost most, not all of one clip and one lapse."""
    claims = [
        (float(cost), c, int(frame))
        for c, s in enumerate(scores)
        for cost, frame, claimed in zip(frame_costs(s), s.frame, s.claimed, strict=True)
        if claimed and cost > 0
    ]
    out: list[tuple[int, int]] = []
    for _, c, frame in sorted(claims, key=lambda each: (-each[0], each[1], each[2])):
        same = [f for k, f in out if k == c]
        if len(same) < A_CLIP and all(abs(f - frame) >= APART for f in same):
            out.append((c, frame))
        if len(out) == A_METHOD:
            break
    return out


def _read(clips: Sequence[ComparedClip], wanted: set[tuple[int, int]]) -> dict[tuple[int, int], Frame]:
    """The frames that can be read again."""
    out: dict[tuple[int, int], Frame] = {}
    for c, clip in enumerate(clips):
        indices = sorted(f for k, f in wanted if k == c)
        if not indices or not clip.source:
            continue
        try:
            source = open_source(
                clip.source,
                spacing=clip.spacing if _is_file(clip) else None,
                seed=clip.seed,
                keep_identity=clip.keep_identity,
            )
            for frame in source.frames(indices[0], indices[-1] + 1):
                if frame.index in indices:
                    out[c, frame.index] = frame
            source.close()
        except SonosteerError:  # it was read before: the figures are there, only its pictures are not
            continue
    return out


def _is_file(clip: ComparedClip) -> bool:
    return not clip.source.startswith("sim:")


def _cell(clip: ComparedClip, frame: Frame, index: int, methods: Sequence[str]) -> FilmStripCell:
    from sonosteer.viz.film_strip import FilmStripCell, in_cut

    mark = next((t.tip_px for t in clip.truths if t.frame_index == index), None)
    said = {m: next((r.tip_px for r in clip.tips[m] if r.frame == index), None) for m in methods}
    centre: Point = mark or next(tip for tip in said.values() if tip is not None)
    side = max(CUT_FRACTION * max(frame.size_px), 32.0)
    step, middle = np.array([side / CUT_PX] * 2), (CUT_PX - 1) / 2
    at = np.array([[step[0], 0, centre[0] - middle * step[0]], [0, step[1], centre[1] - middle * step[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    unit = 1.0 if clip.spacing is None else (clip.spacing.x_mm + clip.spacing.y_mm) / 2
    return FilmStripCell(
        grey=cv2.warpAffine(frame.grey(), at, (CUT_PX, CUT_PX), flags=flags),
        truth_px=None if mark is None else in_cut(mark, centre, step, middle),
        tips_px={m: None if tip is None else in_cut(tip, centre, step, middle) for m, tip in said.items()},
        mm_per_px=float(step[0]) * unit,
        caption=f"{clip.name[:16]} {index}",
    )
