"""Hard moments of the study, chosen by rule and drawn as a strip of frames.

Trials record errors and no tips, so the trackers that are shown follow the chosen videos again, up to the last frame
that is drawn. `differs_mm` says how far that is from what the trials recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Point
from sonosteer.core.progress import StageProgress
from sonosteer.core.types import Lost
from sonosteer.datasets.videos import Video
from sonosteer.imaging.crops import crop, step_of
from sonosteer.runtime.executor import run_trials
from sonosteer.studies.vla_tracking.published import ZHANG2026_TABLE_1
from sonosteer.studies.vla_tracking.trials import (
    CLASSIC,
    OUR_NETWORK,
    VlaTrackingResults,
    VlaTrackingTrial,
    follow_video,
    frames_with_tip,
)
from sonosteer.viz.film_strip import CUT_MM_PER_PX, CUT_PX, FilmStripCell, FilmStripRow, in_cut, write_strip

VlaTrackingTrials = Mapping[str, Mapping[str, VlaTrackingTrial]]
Bools = NDArray[np.bool_]
STRIP_FILE = "film-strip.png"
#: chosen: the distance that P allows, mm. Number of videos of each kind. Number of trackers beside ours
LIMIT_MM, MAX_CASES, MAX_BESIDE = 5.0, 3, 3
#: chosen: frames drawn of a case, how many of them before it begins, how many frames apart
STRIP_COLUMNS, BEFORE, APART = 7, 2, 5
RULE = (
    f"Chosen by rule, over frames with a visible tip. Trackers: ours and the {MAX_BESIDE} compared networks of least "
    f"mean error (`auto` and `kf+f` where there are fewer). Cases: the up to {MAX_CASES} videos in which ours has the "
    f"largest mean error; then, of the others, the up to {MAX_CASES} in which the largest share of frames finds the "
    f"trackers divided: some within {LIMIT_MM:g} mm, others not. Each begins at 0 s: the first frame of the longest "
    f"run of frames in which ours is not within {LIMIT_MM:g} mm, or in which the trackers are divided; without such a "
    f"frame, where ours is farthest off. Frames are {APART} apart."
)


@dataclass(frozen=True, slots=True)
class HardCase:
    """A video that is drawn, and why."""

    video: str
    """Name of the video."""
    why: str
    """Why it was chosen, in two lines."""
    at: int
    """Where the case begins: an index among the frames that the trials count."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a video that a tracker follows again."""

    trial: VlaTrackingTrial
    """Tracker and video."""
    frames: tuple[int, ...]
    """Each index of a frame that is drawn, in order."""


def shown_trackers(results: VlaTrackingResults) -> list[str]:
    """Ours, and the trackers that are drawn beside it."""
    compared = sorted(
        (m for m in results if m in ZHANG2026_TABLE_1 and m != OUR_NETWORK), key=lambda m: _mean_error(results[m])
    )
    return [OUR_NETWORK, *[*compared, *(m for m in CLASSIC if m in results)][:MAX_BESIDE]]


def choose_hard_cases(results: VlaTrackingResults, trackers: Sequence[str], most: int = MAX_CASES) -> list[HardCase]:
    """The hard moments, at most `most` of each kind: those in which ours errs, then those that divide the trackers."""
    videos = {name: r for name, r in results[OUR_NETWORK].items() if any(r["visible"])}
    off = {name: np.array([_off(results[m][name]) for m in trackers]) for name in videos}
    seen = {name: np.array(r["visible"], bool) for name, r in videos.items()}
    error = {name: np.where(seen[name], r["error_mm"], 0.0) for name, r in videos.items()}
    mean = {name: float(error[name].sum() / seen[name].sum()) for name in videos}
    divided = {name: seen[name] & off[name].any(0) & ~off[name].all(0) for name in videos}
    fraction = {name: float(divided[name].sum() / seen[name].sum()) for name in videos}
    each = min(most, (len(videos) + 1) // 2)
    worst = sorted(videos, key=lambda name: -mean[name])[:each]
    rest = sorted((n for n in videos if n not in worst and fraction[n] > 0), key=lambda name: -fraction[name])[:each]
    return [
        *(
            HardCase(n, f"ours errs most:\n{mean[n]:.1f} mm in the mean", _begin(seen[n] & off[n][0], error[n]))
            for n in worst
        ),
        *(
            HardCase(n, f"they disagree most:\nin {100 * fraction[n]:.0f} % of frames", _begin(divided[n], error[n]))
            for n in rest
        ),
    ]


def _mean_error(by_video: Mapping[str, Mapping[str, Any]]) -> float:
    errors = [e for r in by_video.values() for e, v in zip(r["error_mm"], r["visible"], strict=True) if v]
    return float(np.mean(errors)) if errors else float("inf")


def _off(r: Mapping[str, Any]) -> Bools:
    """Frames in which a tracker says nothing, or a place that is too far away."""
    return ~((np.array(r["error_mm"]) <= LIMIT_MM) & (np.array(r["state"]) > 0))


def _begin(hard: Bools, error_mm: NDArray[np.float64]) -> int:
    """First frame of the longest run of hard ones. Without hard ones, the frame of the largest error."""
    if not hard.any():
        return int(error_mm.argmax())
    edges = np.diff(np.concatenate([[0], hard.astype(int), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return int(starts[(ends - starts).argmax()])


def drawn_frames(frames: int, at: int) -> list[int]:
    """Which of so many frames are drawn: every APART-th, `at` among them, BEFORE of them before it where it can be."""
    earliest, latest = -(at // APART), (frames - 1 - at) // APART
    first = max(min(-BEFORE, latest - STRIP_COLUMNS + 1), earliest)
    return [at + k * APART for k in range(first, min(first + STRIP_COLUMNS - 1, latest) + 1)]


def tips_px(stretch: Stretch) -> list[Point | None]:
    """Where a tracker says the tip is, in each of the stretch's frames. None where it says nothing."""
    said: dict[int, Point | None] = {}
    for t, _, estimate in follow_video(stretch.trial, stretch.trial.video()):
        said[t] = None if isinstance(estimate, Lost) else estimate.tip_px
        if t >= stretch.frames[-1]:
            break
    return [said[t] for t in stretch.frames]


def write_hard_cases(
    path: Path, results: VlaTrackingResults, trials: VlaTrackingTrials, executor: str, progress: StageProgress
) -> dict[str, Any]:
    """Choose, follow again, draw. Returns what was drawn. Empty, and no file, where no video has a visible tip."""
    trackers = shown_trackers(results)
    moments = choose_hard_cases(results, trackers)
    if not moments:
        return {}
    videos = {m.video: trials[OUR_NETWORK][m.video].video() for m in moments}
    counted = {name: frames_with_tip(video)[1:] for name, video in videos.items()}
    drawn = {m.video: drawn_frames(len(counted[m.video]), m.at) for m in moments}
    frames = {name: tuple(counted[name][drawn[name]].tolist()) for name in videos}
    todo = [(m.video, name) for m in moments for name in trackers]
    tips: dict[tuple[str, str], list[Point | None]] = {}
    stretches = [Stretch(trials[name][video], frames[video]) for video, name in todo]
    for i, found in run_trials(tips_px, stretches, executor):
        tips[todo[i]] = found
        progress("film strip", len(tips), len(todo))
    cases = [
        FilmStripRow(
            f"{m.video}\n{m.why}", list(_cells(videos[m.video], frames[m.video], counted[m.video][m.at], m.video, tips))
        )
        for m in moments
    ]
    cells = write_strip(path, "Hard cases", trackers, cases)
    gaps = [
        abs(error - results[name][m.video]["error_mm"][k])
        for m, case in zip(moments, cases, strict=True)
        for k, cell in zip(drawn[m.video], case.cells, strict=True)
        for name in trackers
        if (error := cell.error_mm(name)) is not None
    ]
    about = [{"video": m.video, "why": m.why.replace("\n", " "), "frames": list(frames[m.video])} for m in moments]
    return {
        "trackers": trackers,
        "cases": about,
        "cells": cells,
        "differs_mm": round(max(gaps, default=0.0), 3),
        "rule": RULE,
    }


def _cells(
    video: Video, frames: Sequence[int], begins: int, name: str, tips: Mapping[tuple[str, str], list[Point | None]]
) -> Iterator[FilmStripCell]:
    """A cut around the true tip of each frame, with what the trackers say in its px."""
    step, middle = np.array(step_of(video.spacing, CUT_MM_PER_PX)), (CUT_PX - 1) / 2
    for i, t in enumerate(frames):
        x, y = video.tips_px[t].tolist()
        said = {tracker: each[i] for (of, tracker), each in tips.items() if of == name}
        yield FilmStripCell(
            crop(np.array(video.frames[t]), (x, y), CUT_PX, (float(step[0]), float(step[1]))),
            (middle, middle),
            {k: None if p is None else in_cut(p, (x, y), step, middle) for k, p in said.items()},
            CUT_MM_PER_PX,
            _caption(float(video.times_s[t] - video.times_s[begins]), hidden=not video.visible[t]),
        )


def _caption(since_s: float, *, hidden: bool) -> str:
    return (f"{since_s:+.2f} s" if since_s else "0 s") + (", hidden" if hidden else "")
