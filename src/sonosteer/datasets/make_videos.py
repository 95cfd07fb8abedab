"""Makes simulated videos with exact labels: `sonosteer dataset make`.

* `d-track`: after D_track of Zhang et al. 2026: 239 videos, 105 with the probe standing still (IPS) and 134 with it
  moving (IPM), three angles, 20 mm/s, pork, agar and silicone, split 7:1:2 by video. The splits differ in tissue and
  look as well.
* `d-encoder`: what the edge preset's vision encoder is first trained on: insertions of the training split only, under
  the convex and linear probes, with thick and thin needles, at other seeds than `d-track`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.datasets.videos import (
    BOX_MM,
    FRAMES_FILE,
    INDEX,
    LABELS,
    MAKING,
    DataSet,
    Entry,
    FramesWriter,
    Label,
    LabelWriter,
    read_labels,
    write_index,
)
from sonosteer.recording.summary import versions
from sonosteer.recording.tables import writing_failed
from sonosteer.runtime.executor import run_trials
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.world import World

SPLIT_FRACTIONS = (("train", 0.7), ("validation", 0.1), ("test", 0.2))  # Zhang et al. 2026, 7:1:2
PAPER_VIDEOS, PAPER_IPS = 239, 105
SETS = {"d-track": PAPER_VIDEOS, "d-encoder": 360}


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One video to make."""

    folder: Path
    """Folder of all videos of the set."""
    name: str
    """Folder of this video."""
    scene: Scene
    """What is simulated."""

    @property
    def entry(self) -> Entry:
        """Without its number of frames, which is known once it is made."""
        s = self.scene
        return Entry(
            name=self.name,
            split=s.split,
            frames=0,
            spacing_mm=(s.screen_spacing_mm, s.screen_spacing_mm),
            mode=s.mode,
            material=str(s.material),
            source=s.name,
        )


def plan_videos(name: str, videos: int, seed: int) -> list[tuple[str, Scene]]:
    """Names and scenes of a set. Raises InputError for an unknown set or too few videos."""
    if name not in SETS:
        raise InputError(f"there is no data set called {name!r}; there are: {', '.join(SETS)}")
    if seed < 0:
        raise InputError(f"`seed` is {seed}: it must be 0 or more")
    if name == "d-track":
        if videos < 10:
            raise InputError(f"`videos` is {videos}, but a set split 7:1:2 in two modes needs at least 10")
        return _track(videos, seed)
    if videos < 2:
        raise InputError(f"`videos` is {videos}, but must be at least 2")
    return _encoder(videos, seed)


def _track(videos: int, seed: int) -> list[tuple[str, Scene]]:
    ips = round(videos * PAPER_IPS / PAPER_VIDEOS)
    out: list[tuple[str, Scene]] = []
    for mode, count in (("ips", ips), ("ipm", videos - ips)):
        bounds = np.round(np.cumsum([fraction for _, fraction in SPLIT_FRACTIONS]) * count).astype(int)
        for k in range(count):
            split = SPLIT_FRACTIONS[int(np.searchsorted(bounds, k, side="right"))][0]
            scene = make_scene(f"in-plane-convex/{split}", 10_000 * seed + len(out), mode=mode)
            out.append((f"{len(out):03d}-{mode}", scene))
    return out


def _encoder(videos: int, seed: int) -> list[tuple[str, Scene]]:
    """18G under the convex probe and 14G under the linear one, a fifth each, then thin needles under a linear one."""
    out = []
    for k in range(videos):
        at = 1_000_000 + 10_000 * seed + k
        kind = ("in-plane-convex", "in-plane-linear")[k % 2] if k < round(videos * 2 / 5) else "in-plane-thin"
        out.append((f"{k:03d}-{kind.rpartition('-')[2]}", make_scene(f"{kind}/train", at)))
    return out


def make_video(job: VideoJob) -> Entry:
    """Draw one video into its folder. The folder gets its name when all is there."""
    world = World(job.scene)
    spacing = world.spacing
    making = job.folder / f"{MAKING}{job.name}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(parents=True)
        width, height = job.scene.size_px
        shape = (world.clip_frames, height, width)
        with FramesWriter(making / FRAMES_FILE, shape) as frames, LabelWriter(making / LABELS, spacing) as labels:
            for i, (frame, truth) in enumerate(world.frames()):
                frames.add(frame.grey())
                labels.add(Label(i, frame.time_s, truth.tip_px, truth.visible, truth.visibility_db))
        shutil.rmtree(job.folder / job.name, ignore_errors=True)
        making.rename(job.folder / job.name)
    except OSError as e:
        raise writing_failed(job.folder / job.name, e, "the videos made so far are kept") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return replace(job.entry, frames=world.clip_frames)


def make_video_set(
    name: str,
    *,
    out: Path,
    videos: int | None,
    seed: int,
    executor: str,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Make what is missing of a data set in `out`. Its card and contact sheets are written at the end.

    The index is written after every video, so that what there is can be read, whatever ends the work. Raises
    InputError if `out` holds another set, or the disk is full.
    """
    from sonosteer.datasets.card import describe

    todo = plan_videos(name, SETS.get(name, 0) if videos is None else videos, seed)
    folder = out / "videos"
    about = {"name": name, "seed": seed, "videos_asked": len(todo), "box_mm": BOX_MM, "versions": versions()}
    _refuse_another(out, about)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise writing_failed(out, e, "nothing was written") from None
    jobs = [VideoJob(folder, n, scene) for n, scene in todo]
    entries = _made(jobs)
    missing = [j for j in jobs if j.name not in entries]

    def note() -> None:
        if entries:
            write_index(out, about, [entries[j.name] for j in jobs if j.name in entries])
        progress("videos", len(entries), len(jobs))

    note()
    try:
        with closing(run_trials(make_video, missing, executor)) as made:
            for i, entry in made:
                entries[missing[i].name] = entry
                note()
    except BaseException:
        for path in folder.glob(f"{MAKING}*"):
            shutil.rmtree(path, ignore_errors=True)
        entries = _made(jobs)
        note()
        raise
    return describe(out)


def _made(jobs: list[VideoJob]) -> dict[str, Entry]:
    """The videos that are there, by name."""
    tables = [(job, job.folder / job.name / LABELS) for job in jobs]
    return {job.name: replace(job.entry, frames=len(read_labels(path))) for job, path in tables if path.exists()}


def _refuse_another(out: Path, about: dict[str, Any]) -> None:
    if not (out / INDEX).exists():
        return
    old = DataSet(out).about
    for key in ("name", "seed", "videos_asked"):
        if old.get(key) != about[key]:
            raise InputError(
                f"{out} holds another data set ({key} {old.get(key)} instead of {about[key]}); choose another `out`"
            )
