"""Freezes a version of needlebench: `python -m sonosteer.studies.needlebench.freeze OUT.json`.

Scenes are taken in the order of their seeds, each of another scanner. A scene goes to the tier that its visibility and
clutter say, until each tier is full. Nobody looks at what a tracker makes of it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point
from sonosteer.core.types import Frame
from sonosteer.runtime.executor import run_trials
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.wild import TISSUE_SEEDS
from sonosteer.sim.world import World
from sonosteer.studies.needlebench.tracks import (
    CLICK_SD,
    FIRST_SEED,
    GROUPS,
    BenchTrack,
    content_digest,
    pack_track,
    thumbnail,
    thumbnailed,
)

FRAMES = 36  # chosen: with all baselines the whole benchmark then takes less than half an hour on two cores
MAX_RATE_HZ = 12.0  # chosen: 36 frames are then three seconds or more
TIER_TRACKS = 10  # chosen: intervals by track need some, and the time is short
FREE_TRACKS = {"in-the-wild": 6, "in-plane-linear": 3}
OLDER_SETUPS = ("in-plane-linear", "in-plane-convex", "in-plane-thin")
OLDER_TRACKS = 3  # of each
SEEN_BY = 12  # chosen: the tip can be seen before this frame, so that most of the track is worth following
MIN_SEEN = 0.25  # chosen: smallest fraction of frames whose tip can be seen
#: chosen: limits of the tiers, by eye on scenes of the validation split
CLEAR_DB, CLEAR_SEEN, CLEAR_CLUTTER = 12.0, 0.8, 0.02
HARD_DB, HARD_CLUTTER = 7.0, 0.08
NEAR = 0.03  # chosen: pixels nearer to the needle than this part of the longer side are not clutter
BLUR_PX = 1.5  # chosen: grain of speckle is no structure
OLDER_START = 0.3  # chosen: an older set-up begins with so much of the needle inside

Clip = list[tuple[Frame, NeedleTruth]]


def tier_of(contrast_db: float, seen: float, clutter: float) -> str:
    """The tier of a scene with a needle, by its median contrast, the fraction of frames seen, and its clutter."""
    if contrast_db < HARD_DB or clutter > HARD_CLUTTER:
        return "hard"
    if contrast_db >= CLEAR_DB and seen >= CLEAR_SEEN and clutter <= CLEAR_CLUTTER:
        return "clear"
    return "usual"


def draw_track(job: tuple[str, int, bool]) -> dict[str, Any] | None:
    """The packed track of (set-up, seed, with a needle). None if its tip cannot be seen soon and often enough."""
    cv2.setNumThreads(1)
    setup, seed, needle = job
    scene = make_scene(setup, seed)
    wild = setup.startswith("in-the-wild")
    if wild and scene.needle != needle:
        return None
    overrides: dict[str, Any] = {"rate_hz": round(min(scene.rate_hz, MAX_RATE_HZ), 3)}
    overrides["rest_frames"] = min(scene.rest_frames, 6)
    if not wild:
        overrides["start_mm"] = round(OLDER_START * scene.end_mm, 2)
        if not needle:
            overrides["needle"] = False
    clip = [pair for pair, _ in zip(World(make_scene(setup, seed, **overrides)).frames(), range(FRAMES), strict=False)]
    visible = [t.visible and _tip(t) is not None for _, t in clip]
    if needle and (not any(visible[:SEEN_BY]) or np.mean(visible) < MIN_SEEN):
        return None
    contrast = [t.contrast_db for _, t in clip if t.contrast_db is not None and _tip(t) is not None]
    contrast_db = round(float(np.median(contrast)), 1) if contrast else None
    clutter = round(clutter_of(clip), 4) if needle else None
    group = "older" if needle else "needle-free"
    if wild and needle and contrast_db is not None and clutter is not None:
        group = tier_of(contrast_db, float(np.mean(visible)), clutter)
    size = clip[0][0].size_px
    track = BenchTrack(
        name=f"{setup.partition('/')[0]}-{seed}" + ("" if needle else "-free"),
        group=group,
        setup=setup,
        seed=seed,
        overrides=overrides,
        size_px=size,
        enters=scene.enters,
        times_s=tuple(f.time_s for f, _ in clip),
        tips_px=tuple(_tip(t) for _, t in clip),
        visible=tuple(visible),
        click_px=_click(clip, visible, seed),
        contrast_db=contrast_db,
        clutter=clutter,
        thumbnails=tuple(thumbnail(clip[i][0].grey()) for i in thumbnailed(len(clip))),
    )
    return pack_track(track)


def _tip(truth: NeedleTruth) -> Point | None:
    """The true tip while any part of the needle is in the picture."""
    return truth.tip_px if truth.shaft_px else None


def _click(clip: Clip, visible: list[bool], seed: int) -> Point | None:
    """A person's click on the tip in the first frame that shows it."""
    first = next((i for i, seen in enumerate(visible) if seen), None)
    if first is None:
        return None
    frame, truth = clip[first]
    assert truth.tip_px is not None
    off = np.random.default_rng([seed, 7]).normal(0.0, CLICK_SD * max(frame.size_px), 2)
    x, y = truth.tip_px[0] + float(off[0]), truth.tip_px[1] + float(off[1])
    return min(max(x, 0.0), frame.size_px[0] - 1.0), min(max(y, 0.0), frame.size_px[1] - 1.0)


def clutter_of(clip: Clip) -> float:
    """Mean over frames of the fraction of pixels, away from the needle, at least as bright as the shaft's median."""
    found = [c for f, t in clip[:: max(len(clip) // 6, 1)] if (c := _clutter(f.grey(), t)) is not None]
    return float(np.mean(found)) if found else 0.0


def _clutter(grey: U8, truth: NeedleTruth) -> float | None:
    if len(truth.shaft_px) < 2:
        return None
    smooth = cv2.GaussianBlur(grey, (0, 0), BLUR_PX)
    rows, columns = grey.shape
    line = np.array(truth.shaft_px)
    at = np.rint(line).astype(int)
    inside = (at[:, 0] >= 0) & (at[:, 0] < columns) & (at[:, 1] >= 0) & (at[:, 1] < rows)
    if not inside.any():
        return None
    level = float(np.median(smooth[at[inside, 1], at[inside, 0]]))
    near = np.zeros_like(grey)
    width = max(round(2 * NEAR * max(rows, columns)), 1)
    cv2.polylines(near, [np.rint(line).astype(np.int32)], False, 255, width)
    away = near == 0
    return float((smooth[away] >= max(level, 1.0)).mean())


def _needed() -> dict[str, int]:
    return {"clear": TIER_TRACKS, "usual": TIER_TRACKS, "hard": TIER_TRACKS}


def freeze(executor: str = "process") -> dict[str, Any]:
    """Draw scenes until each group is full. Returns what the version's file holds."""
    tracks: list[dict[str, Any]] = []
    left = _needed()
    for packed in _candidates("in-the-wild/test", executor, needle=True):
        if left[packed["group"]]:
            left[packed["group"]] -= 1
            tracks.append(packed)
        if not any(left.values()):
            break
    for setup in OLDER_SETUPS:
        found = _candidates(f"{setup}/test", executor, needle=True)
        tracks += [next(found) for _ in range(OLDER_TRACKS)]
    for setup, count in FREE_TRACKS.items():
        found = _candidates(f"{setup}/test", executor, needle=False)
        tracks += [next(found) for _ in range(count)]
    order = list(GROUPS)
    tracks.sort(key=lambda t: (order.index(t["group"]), t["setup"], t["seed"]))
    return {"version": "1", "frames": FRAMES, "tracks": tracks}


def _candidates(setup: str, executor: str, *, needle: bool) -> Iterator[dict[str, Any]]:
    """Tracks of the seeds in their order."""
    step = TISSUE_SEEDS if setup.startswith("in-the-wild") else 1
    k, block = 0, 8 if setup.startswith("in-the-wild") else 2
    while True:
        jobs = [(setup, FIRST_SEED + step * (k + i), needle) for i in range(block)]
        found: dict[int, Any] = dict(run_trials(draw_track, jobs, executor))
        for i in range(block):
            if found[i] is not None:
                print(_said(found[i]), file=sys.stderr, flush=True)
                yield found[i]
        k += block


def _said(packed: dict[str, Any]) -> str:
    seen = math.fsum(packed["visible"]) / len(packed["visible"])
    return (
        f"{packed['name']} {packed['group']} {packed['contrast_db']} dB, seen {seen:.2f}, clutter {packed['clutter']}"
    )


def write_version(path: Path, packed: dict[str, Any]) -> str:
    """Write a version's file, a line a track. Returns its hash."""
    tracks = ",\n".join(json.dumps(t, separators=(",", ":")) for t in packed["tracks"])
    head = json.dumps({k: v for k, v in packed.items() if k != "tracks"})[:-1]
    path.write_text(f'{head}, "tracks": [\n{tracks}\n]}}\n', encoding="utf-8")
    return content_digest(packed)


if __name__ == "__main__":
    print(write_version(Path(sys.argv[1]), freeze()))
