"""One track of needlebench, followed by every entrant under both protocols.

* **nothing given**: pixels and times of all frames, from the first one on.
* **one click**: the same from the first frame on that shows the tip, with a click on it that is a little off. That
  frame has no score.

A method is given the least that it does not work without: the scale if it says `needs_scale`, the measured speed if it
is a method with a speed, and beside a click the side at which the needle enters. The leaderboard says what each was
given. One that refuses to start has not entered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import cv2

from sonosteer.core.errors import InputError
from sonosteer.core.protocols import Tracker
from sonosteer.core.types import Frame, Hint, TipEstimate
from sonosteer.metrics.clip_scores import ClipScore, score_clip
from sonosteer.recording.tips import TipRow
from sonosteer.studies.needlebench.dummies import AlwaysCentre, AlwaysLost, AtRandom
from sonosteer.studies.needlebench.real import RealTrack
from sonosteer.studies.needlebench.tracks import BenchScoring, BenchTrack, shown
from sonosteer.trackers.table import make_tracker, needs_scale

NOTHING, CLICK = "nothing given", "one click"
PROTOCOLS = (NOTHING, CLICK)
SILENT = "always lost"
#: trackers that know nothing, always among the entrants
DUMMIES: Mapping[str, type[Any]] = {SILENT: AlwaysLost, "always centre": AlwaysCentre, "random": AtRandom}
PAPER_METHODS = ("df", "om", "om+f", "kf", "kf+f", "pf", "pf+f", "kfv", "kfv+f", "pfv", "pfv+f")
GENERAL_METHODS = ("csrt", "kcf", "mil", "lk")
#: methods whose paper measures the speed of the needle
SPEED_METHODS = ("kfv", "kfv+f", "pfv", "pfv+f")
BASELINES = ("auto", "vla", *GENERAL_METHODS, *PAPER_METHODS)
QUICK_METHODS = ("auto", "vla", "csrt", "kf+f")

AnyTrack: TypeAlias = BenchTrack | RealTrack


@dataclass(frozen=True, slots=True)
class BenchTrial:
    """One track and who follows it."""

    track: AnyTrack
    """What is followed: a frozen clip, or a real one of the user."""
    methods: tuple[str, ...]
    """Entrants: names of methods, package.module:Class, or names of DUMMIES."""
    max_frames: int | None = None
    """Number of frames that are shown at most. None: all."""

    @property
    def name(self) -> str:
        """Name of the track."""
        return self.track.name


def run_bench_trial(trial: BenchTrial) -> dict[str, Any]:
    """Method -> protocol -> what was said of each frame, or why the method has not entered."""
    cv2.setNumThreads(1)
    track = trial.track
    drawn = list(islice(track.frames(), trial.max_frames)) if isinstance(track, BenchTrack) else None

    def frames(begin: int) -> Iterator[Frame]:
        """Yield the frames from `begin` on. Those of a real clip are read anew, since they may be many."""
        return islice(track.frames() if drawn is None else drawn, begin, trial.max_frames)

    return {m: {p: _follow(m, p, track, frames) for p in PROTOCOLS} for m in trial.methods}


@lru_cache(maxsize=64)
def _ready(method: str) -> Tracker[Any]:
    """The tracker of this worker, prepared once."""
    tracker: Tracker[Any] = DUMMIES[method]() if method in DUMMIES else make_tracker(method)
    tracker.prepare()
    return tracker


def _follow(
    method: str, protocol: str, track: AnyTrack, frames: Callable[[int], Iterator[Frame]]
) -> dict[str, Any] | None:
    """What a method says. None where the protocol has nothing to ask of this track."""
    begin = 0
    if protocol == CLICK:
        if track.first_seen is None or track.click_px is None:
            return None
        begin = track.first_seen
    tracker = _ready(method)
    given = ["scale"] * needs_scale(tracker) + ["speed"] * (method in SPEED_METHODS)
    began = _begin(tracker, track, protocol)
    if isinstance(began, str):
        return {"refused": began}
    state, more = began
    tips: list[list[float] | None] = []
    states, confidence = [], []
    for i, frame in enumerate(frames(begin)):
        if "scale" in given and frame.spacing is None:
            return {"refused": f"{method} needs a scale, and {track.name} has none"}
        seen = shown(
            frame,
            i,
            spacing=frame.spacing if "scale" in given else None,
            velocity_mm_s=(frame.velocity_mm_s or 0.0) if "speed" in given else None,
        )
        state, estimate = tracker.step(state, seen)
        states.append(estimate.state.value[0])
        found = estimate if isinstance(estimate, TipEstimate) else None
        tips.append(None if found is None else [round(float(v), 2) for v in found.tip_px])
        sure = None if found is None else found.confidence
        confidence.append(None if sure is None else round(float(sure), 4))
    if len(states) <= (protocol == CLICK):
        return None
    return {
        "given": [*given, *more],
        "begin": begin,
        "states": "".join(states),
        "tips": tips,
        "confidence": confidence,
    }


def _begin(tracker: Tracker[Any], track: AnyTrack, protocol: str) -> tuple[Any, list[str]] | str:
    """(state before the first frame, what was given more than the protocol says), or why it refuses."""
    click = track.click_px if protocol == CLICK else None
    side: Any = (track.enters or None) if protocol == CLICK else None
    tries: list[tuple[Hint, list[str]]] = [(Hint(start_px=click), [])] + (
        [(Hint(start_px=click, enters=side), ["side"])] if side else []
    )
    why = ""
    for hint, more in tries:
        try:
            return tracker.start(hint), list(more)
        except InputError as e:
            why = why or str(e)
    return why


# -- scores --------------------------------------------------------------------------------------------------

STATE_NAMES = {"t": "tracking", "c": "coasting", "l": "lost"}


def score_of(track: AnyTrack, method: str, said: Mapping[str, Any], protocol: str, scoring: BenchScoring) -> ClipScore:
    """Lay what was said beside the truth. The frame of the click has no score."""
    begin = said["begin"]
    scored = begin + (protocol == CLICK)
    rows = []
    for i, (letter, tip, sure) in enumerate(zip(said["states"], said["tips"], said["confidence"], strict=True), begin):
        if i >= scored:
            rows.append(_row(i, STATE_NAMES[letter], tip, sure))
    last = begin + len(said["states"])
    truths = [t for t in track.truths() if scored <= t.frame_index < last]
    if protocol == CLICK and not scoring.hidden_after_click:
        truths = [t for t in truths if t.visible or t.tip_px is None]
    if isinstance(track, BenchTrack) and scoring.reader_off:  # a real track's marks say it themselves
        off_px = scoring.reader_off * max(track.size_px)
        truths = [replace(t, uncertainty_px=off_px) for t in truths]
    return score_clip(rows, truths, clip=track.name, method=method, size_px=track.size_px)


def _row(frame: int, state: Any, tip: list[float] | None, sure: float | None) -> TipRow:
    if tip is None:
        return TipRow.lost(frame, 0.0)
    return TipRow(
        frame=frame,
        time_s=0.0,
        tip_px=(tip[0], tip[1]),
        tip_mm=None,
        angle_deg=None,
        sd_along_mm=None,
        sd_across_mm=None,
        confidence=sure,
        state=state,
    )
