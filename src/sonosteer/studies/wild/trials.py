"""What a tracker says of pictures of `in-the-wild`, beside the truth: single stills, and clips frame by frame.

Nothing is given. A frame comes without scale, probe and speed, as from a person with an unknown clip.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.protocols import Tracker
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate
from sonosteer.inference.needle_detector import RIGHT_WITHIN, WRONG_BEYOND
from sonosteer.metrics.tip_error import CHI2_95_2D
from sonosteer.runtime.executor import run_trials
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.setups import Split
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.wild import TISSUE_SEEDS, wild_still
from sonosteer.sim.world import World

CLIP_S = 8.0  # chosen: a clip is watched this long at most, s
#: chosen: a clip is watched for at most so many frames, but at high rates never shorter than so many seconds
CLIP_FRAMES, CLIP_MIN_S = 100, 3.0
BEGINS_INSIDE = 0.05  # chosen: a shaft begins inside if it is not seen on this last part of the longer side


@dataclass(frozen=True, slots=True)
class WildFrame:
    """What a tracker said of one frame, beside the truth."""

    time_s: float
    """Time of the frame in its clip, s. 0 for a still."""
    visible: bool
    """True if a person could see the tip."""
    present: bool
    """True if any part of the needle is in the picture, seen or not."""
    state: str
    """tracking, coasting or lost."""
    error: float | None
    """Distance from the true tip as a fraction of the picture's longer side, no unit. None if lost or no tip."""
    confidence: float | None
    """Stated confidence, 0 to 1. None if lost."""
    inside: bool | None
    """True if the tip lies in the claimed 95 % ellipse. None if lost, if there is no tip, or nothing was claimed."""
    contrast_db: float | None
    """Tip over its surroundings on the screen, dB. None without a needle in the picture."""
    width_px: float | None
    """Width of the shaft on the screen, px. None without a needle in the picture."""
    begins_inside: bool | None
    """True if the shaft is first seen well inside the picture. None if no part of the shaft is seen."""

    def outcome(self, *, sure: bool = False) -> str:
        """right, near, wrong or lost. Any claim is wrong where no needle is in the picture.

        A hidden tip has its place, so that a claim may be right there too. sure: only `tracking` is a claim.
        """
        if self.state != "tracking" and (sure or self.state == "lost"):
            return "lost"
        if self.error is None or self.error > WRONG_BEYOND:
            return "wrong"
        return "right" if self.error <= RIGHT_WITHIN else "near"


@dataclass(frozen=True, slots=True)
class WildStill:
    """One still and what a tracker said of it, started afresh."""

    seed: int
    """Seed of the still."""
    needle: bool
    """True if the scene has a needle."""
    size_px: tuple[int, int]
    """Width and height of the picture, px."""
    judged: WildFrame
    """What was said, beside the truth."""
    tip_px: Point | None
    """Estimated tip, px: (column, row). None if lost."""
    shaft_px: tuple[Point, ...]
    """Estimated axis from entry to tip, px: (column, row). Empty if lost."""
    reason: str
    """Why it is lost, in the tracker's words. Empty if claimed."""


@dataclass(frozen=True, slots=True)
class WildClip:
    """One clip and what a tracker said of its frames."""

    seed: int
    """Seed of the scene."""
    needle: bool
    """True if the scene has a needle."""
    frames: tuple[WildFrame, ...]
    """What was said of each frame, beside the truth."""


@dataclass(frozen=True, slots=True)
class WildTrial:
    """Some stills, or one clip."""

    kind: Literal["stills", "clip"]
    """Which of the two."""
    split: Split
    """Split that the scenes are drawn from."""
    seeds: tuple[int, ...]
    """Seed of each still, or that of the clip."""
    method: str = "auto"
    """Tracking method: a name, or package.module:Class."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method, by name."""
    scaled: bool = False
    """True if the frames keep their scale, for methods that need one."""

    @property
    def name(self) -> str:
        """Kind and seeds."""
        return f"{self.kind} {' '.join(map(str, self.seeds))}"


def run_wild_trial(trial: WildTrial) -> list[dict[str, Any]]:
    """Render the pictures of a trial and track. A `WildStill` or `WildClip` as a dictionary for each seed."""
    cv2.setNumThreads(1)
    tracker = _ready_tracker(trial.method, tuple(sorted(trial.settings.items())))
    if trial.kind == "stills":
        return [_pack(_still(tracker, trial, seed)) for seed in trial.seeds]
    return [_pack(_clip(tracker, trial, seed)) for seed in trial.seeds]


def measure_stills(
    method: str,
    split: Split,
    seeds: Sequence[int],
    *,
    settings: Mapping[str, Any] | None = None,
    scaled: bool = False,
    executor: str = "process",
) -> list[WildStill]:
    """Judge a method on the stills of these seeds, each afresh, in the order of the seeds.

    Seeds in a row share their scanner and are faster. scaled: the frames keep their scale. With the executor
    "process" the caller must be importable: a script needs `if __name__ == "__main__"`. Raises InputError for an
    unknown method, setting or executor.
    """
    blocks: dict[int, list[int]] = {}
    for seed in seeds:
        blocks.setdefault(seed // TISSUE_SEEDS, []).append(seed)
    trials = [WildTrial("stills", split, tuple(b), method, settings or {}, scaled) for b in blocks.values()]
    found = {still.seed: still for _, rows in run_trials(run_wild_trial, trials, executor) for still in stills_of(rows)}
    return [found[seed] for seed in seeds]


def measure_clips(
    method: str,
    split: Split,
    seeds: Sequence[int],
    *,
    settings: Mapping[str, Any] | None = None,
    scaled: bool = False,
    executor: str = "process",
) -> list[WildClip]:
    """Judge a method on the clips of these seeds, in the order of the seeds. As `measure_stills`."""
    trials = [WildTrial("clip", split, (seed,), method, settings or {}, scaled) for seed in seeds]
    found = {trials[i].seeds[0]: clips_of(rows)[0] for i, rows in run_trials(run_wild_trial, trials, executor)}
    return [found[seed] for seed in seeds]


def max_clip_frames(rate_hz: float) -> int:
    """Number of frames of a clip at this rate that are watched at most."""
    return min(math.ceil(rate_hz * CLIP_S), max(CLIP_FRAMES, round(rate_hz * CLIP_MIN_S)))


# -- one picture ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _ready_tracker(method: str, settings: tuple[tuple[str, Any], ...]) -> Tracker[Any]:
    """The tracker of this worker, prepared once."""
    from sonosteer.trackers.table import make_tracker

    tracker = make_tracker(method, **dict(settings))
    tracker.prepare()
    return tracker


def _still(tracker: Tracker[Any], trial: WildTrial, seed: int) -> WildStill:
    frame, _, truth = wild_still(seed, trial.split)
    scene = make_scene(f"in-the-wild/{trial.split}", seed)
    shown = _bare(frame, scaled=trial.scaled, index=0, time_s=0.0)
    _, estimate = tracker.step(tracker.start(Hint()), shown)
    shaft: tuple[Point, ...] = ()
    if isinstance(estimate, TipEstimate):
        shaft = estimate.shaft_px or (estimate.entry_px, estimate.tip_px)
    return WildStill(
        seed=seed,
        needle=scene.needle,
        size_px=frame.size_px,
        judged=judge_frame(scene, frame, estimate, truth, shown=shown),
        tip_px=estimate.tip_px if isinstance(estimate, TipEstimate) else None,
        shaft_px=tuple((round(x, 2), round(y, 2)) for x, y in shaft),
        reason=estimate.reason if isinstance(estimate, Lost) else "",
    )


def _clip(tracker: Tracker[Any], trial: WildTrial, seed: int) -> WildClip:
    scene = make_scene(f"in-the-wild/{trial.split}", seed)
    state = tracker.start(Hint())
    rows: list[WildFrame] = []
    max_frames = max_clip_frames(scene.rate_hz)
    for frame, truth in World(scene).frames():
        if len(rows) == max_frames or frame.time_s > CLIP_S:
            break
        shown = _bare(frame, scaled=trial.scaled, index=frame.index, time_s=frame.time_s)
        state, estimate = tracker.step(state, shown)
        rows.append(judge_frame(scene, frame, estimate, truth, shown=shown))
    return WildClip(seed=seed, needle=scene.needle, frames=tuple(rows))


def _bare(frame: Frame, *, scaled: bool, index: int, time_s: float) -> Frame:
    """The frame as an unknown source gives it: without probe and speed, and without a scale unless `scaled`."""
    return Frame(pixels=frame.pixels, index=index, time_s=time_s, spacing=frame.spacing if scaled else None)


def judge_frame(scene: Scene, frame: Frame, estimate: Estimate, truth: NeedleTruth, *, shown: Frame) -> WildFrame:
    """Lay an estimate beside the truth. frame: as simulated. shown: what the tracker was given of it."""
    error = inside = confidence = None
    present = len(truth.shaft_px) > 0
    if isinstance(estimate, TipEstimate):
        confidence = None if estimate.confidence is None else round(float(estimate.confidence), 4)
        if truth.tip_px is not None and present:
            error = round(math.dist(estimate.tip_px, truth.tip_px) / max(frame.size_px), 5)
            inside = tip_inside_ellipse(estimate, truth.tip_px, shown.spacing)
    return WildFrame(
        time_s=round(shown.time_s, 4),
        visible=truth.visible,
        present=present,
        state=estimate.state.value,
        error=error,
        confidence=confidence,
        inside=inside,
        contrast_db=None if truth.contrast_db is None or not present else round(truth.contrast_db, 2),
        width_px=None if truth.width_px is None or not present else round(truth.width_px, 2),
        begins_inside=shaft_begins_inside(scene, frame, truth),
    )


def tip_inside_ellipse(estimate: TipEstimate, tip_px: Point, spacing: Spacing | None) -> bool | None:
    """Does the true tip lie in the claimed 95 % ellipse? In mm with a scale, in px without. None: none was claimed."""
    x, y = tip_px[0] - estimate.tip_px[0], tip_px[1] - estimate.tip_px[1]
    if spacing is not None:
        x, y = spacing.to_mm((x, y))
    covariance = estimate.covariance_px2 if spacing is None else estimate.covariance_mm2
    if covariance is None:
        return None
    c, s = math.cos(estimate.angle_rad), math.sin(estimate.angle_rad)
    error = np.array([x * c + y * s, -x * s + y * c])
    return bool(error @ np.linalg.solve(covariance, error) <= CHI2_95_2D)


def shaft_begins_inside(scene: Scene, frame: Frame, truth: NeedleTruth) -> bool | None:
    """Is the outermost seen point of the shaft well inside the picture? None if no part of it is seen."""
    seen = [point for point, s in zip(truth.shaft_px, truth.shaft_seen, strict=True) if s] if truth.shaft_px else []
    if not seen or truth.tip_px is None or frame.probe is None or frame.spacing is None:
        return None
    x, y = seen[-1]
    length = math.dist(seen[-1], truth.tip_px)
    step = BEGINS_INSIDE * max(frame.size_px) / max(length, 1.0)
    outer = x + step * (x - truth.tip_px[0]), y + step * (y - truth.tip_px[1])
    left, top = scene.display.margins_px[:2]
    right, bottom = left + scene.width_px * scene.display.scale, top + scene.height_px * scene.display.scale
    in_image = left <= outer[0] < right and top <= outer[1] < bottom
    return bool(in_image and frame.probe.contains_mm(frame.probe.to_probe_mm(outer, frame.spacing)))


# -- to and from JSON ----------------------------------------------------------------------------------------


def _pack(result: WildStill | WildClip) -> dict[str, Any]:
    """A result for the journal. A clip's frames become columns."""
    packed = dataclasses.asdict(result)
    if isinstance(result, WildClip):
        packed["frames"] = {
            f.name: [getattr(row, f.name) for row in result.frames] for f in dataclasses.fields(WildFrame)
        }
    return packed


def stills_of(rows: Sequence[Mapping[str, Any]]) -> list[WildStill]:
    """Results of a trial of stills, as `run_wild_trial` or the journal gives them."""
    out = []
    for row in rows:
        tip, size = row["tip_px"], row["size_px"]
        more = {
            "judged": WildFrame(**row["judged"]),
            "size_px": (int(size[0]), int(size[1])),
            "tip_px": None if tip is None else (float(tip[0]), float(tip[1])),
            "shaft_px": tuple((float(x), float(y)) for x, y in row["shaft_px"]),
        }
        out.append(WildStill(**{**row, **more}))
    return out


def clips_of(rows: Sequence[Mapping[str, Any]]) -> list[WildClip]:
    """Results of a trial of a clip, as `run_wild_trial` or the journal gives them."""
    out = []
    for row in rows:
        names = list(row["frames"])
        frames = tuple(
            WildFrame(**dict(zip(names, values, strict=True)))
            for values in zip(*(row["frames"][name] for name in names), strict=True)
        )
        out.append(WildClip(seed=row["seed"], needle=row["needle"], frames=frames))
    return out
