"""Makes demonstrations of insertions by simulated experts, in closed loop: `sonosteer dataset make d-insert`.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`), III-G: D_insert, 18 videos (9 with the
probe standing still, 9 with it moving), 3,852 frames, by an expert.

Departs from the paper: the expert is a model, `policies/expert.py`. It sees through the tracker that ships and decides
on every tracked frame. An insertion that misses its target is tried again in another scene.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.types import Frame
from sonosteer.datasets.insertion_card import describe_insertions
from sonosteer.datasets.insertions import (
    FOLDER,
    EpisodeInfo,
    EpisodeWriter,
    InsertionSet,
    write_insertions,
)
from sonosteer.datasets.videos import INDEX, MAKING
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.policies.expert import OPERATOR_MODELS
from sonosteer.recording.summary import versions
from sonosteer.recording.tables import writing_failed
from sonosteer.runtime.executor import run_trials
from sonosteer.runtime.insertion import Pace
from sonosteer.sim.scenes import Split

PAPER_EPISODES = 18
TRIES = 6
KEPT_FRAMES = 30  # frames that a decision may still come for
#: chosen: the expert decides on every frame that is tracked
EXPERT_PACE = Pace(decide_s=0.01)


@dataclass(frozen=True, slots=True)
class DemonstrationJob:
    """One demonstration to make."""

    folder: Path
    """Folder of the set."""
    name: str
    """Folder of the episode in the set."""
    split: Split
    """Split of the scenes."""
    mode: str
    """ips: the probe stands still. ipm: it moves."""
    operator: str
    """Model of the operator that demonstrates."""
    seed: int
    """Seed of the first scene. Each further try takes the next one."""


class EpisodeRecorder:
    """Puts every decision of a run with its frame into an episode."""

    def __init__(self, writer: EpisodeWriter) -> None:
        self.writer = writer
        self.failed: str | None = None
        self._frames: dict[int, Frame] = {}

    def frame(self, frame: Frame, now_s: float) -> None:
        """Keep a frame until its decision comes."""
        self._frames[frame.index] = frame
        self._frames.pop(frame.index - KEPT_FRAMES, None)

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Record a decision. Other topics are ignored."""
        if topic == "/decision":
            seen = replace(what["observation"], features=None)
            self.writer.add(seen, self._frames[seen.frame_index], what["action"])


def plan_demonstrations(
    out: Path, episodes: int, seed: int, split: Split, operators: Sequence[str]
) -> list[DemonstrationJob]:
    """What is to be made. Modes and operators take turns.

    Raises InputError for an unknown operator or too few episodes.
    """
    unknown = [o for o in operators if o not in OPERATOR_MODELS]
    if unknown or not operators:
        raise InputError(
            f"there is no operator {unknown[0] if unknown else ''!r}; there are: {', '.join(OPERATOR_MODELS)}"
        )
    if episodes < 2:
        raise InputError(f"`videos` is {episodes}, but must be at least 2: one with the probe still, one moving")
    if seed < 0:
        raise InputError(f"`seed` is {seed}: it must be 0 or more")
    jobs = []
    for k in range(episodes):
        mode, operator = ("ips", "ipm")[k % 2], operators[(k // 2) % len(operators)]
        first = 3_000_000 + 100_000 * seed + 10 * k
        jobs.append(DemonstrationJob(out, f"{k:03d}-{mode}-{operator}", split, mode, operator, first))
    return jobs


def make_demonstration(job: DemonstrationJob) -> EpisodeInfo:
    """Make one demonstration. Raises BrokenError if none of the tries reached its target."""
    for seed in range(job.seed, job.seed + TRIES):
        mode: Any = job.mode
        settings = {"operator_model": job.operator, "seed": seed}
        episode = build_episode(
            InsertionConfig(
                policy="expert",
                mode=mode,
                seed=seed,
                scene=f"in-plane-convex/{job.split}",
                policy_settings=settings,
                pace=EXPERT_PACE,
            )
        )
        scene = episode.world.scene
        info = EpisodeInfo(job.name, job.split, episode.task.technique, str(scene.material), job.operator, scene.name)
        with EpisodeWriter(job.folder, info, episode.task) as writer:
            if run_episode(episode, recorder=EpisodeRecorder(writer)).outcome.success:
                return writer.finish()
    raise BrokenError(f"episode {job.name}: the expert missed the target in {TRIES} scenes running")


def make_demonstration_set(
    *,
    out: Path,
    episodes: int,
    seed: int,
    split: Split,
    operators: Sequence[str],
    executor: str,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Make what is missing of a set in `out`. Goes on where it stopped.

    Raises InputError if `out` holds another set.
    """
    about = {"name": "d-insert", "seed": seed, "asked": episodes, "scenes": split, "operators": list(operators)}
    jobs = plan_demonstrations(out, episodes, seed, split, operators)
    done = _there(out, about)
    try:
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        for left in (out / FOLDER).glob(f"{MAKING}*"):
            shutil.rmtree(left, ignore_errors=True)
    except OSError as e:
        raise writing_failed(out, e, "nothing was written") from None
    about["versions"] = versions()

    def note() -> None:
        if done:
            write_insertions(out, about, [done[j.name] for j in jobs if j.name in done])
        progress("demonstrations", len(done), len(jobs))

    note()
    missing = [j for j in jobs if j.name not in done]
    with closing(run_trials(make_demonstration, missing, executor)) as made:
        for i, info in made:
            done[missing[i].name] = info
            note()
    return describe_insertions(out)


def _there(out: Path, about: Mapping[str, Any]) -> dict[str, EpisodeInfo]:
    if not (out / INDEX).exists():
        return {}
    old = InsertionSet(out)
    for key, value in about.items():
        if old.about.get(key) != value:
            raise InputError(
                f"{out} holds another data set ({key} {old.about.get(key)} instead of {value}); choose another `out`"
            )
    return {e.name: e for e in old.entries if (out / FOLDER / e.name).exists()}
