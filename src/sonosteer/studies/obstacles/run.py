"""The obstacle study: targets whose straight way is blocked, ours beside a controller that is not told, and a peer.

Not from a paper. See `scenes` for what is drawn, `trials` for what is measured, `peer` for the random tree of OMPL.

Scenes of the test split, on which no choice was made. During development set `split=validation`. The peer takes long
and needs the extra `peers`, so it is asked for: `peer_every=4` lets it steer every fourth scene.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from sonosteer.core.config import from_dict, save_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.sim.setups import Split
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.obstacles.report import write_obstacle_study
from sonosteer.studies.obstacles.trials import IGNORES, OURS, PEER, ObstacleTrial, run_obstacle_trial
from sonosteer.studies.pages import writing

SCENES_APART = 10_000  # scenes between two study seeds


@dataclass(frozen=True, slots=True)
class ObstacleStudyConfig:
    """What is measured. The defaults are the published study."""

    split: Split = "test"
    """Split that the scenes come from. The test split is for the end."""
    scenes: int = 200
    """Number of scenes. 1 or more."""
    peer_every: int = 0
    """Every so many-th scene is also steered by the peer, no unit. 0: none."""

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise InputError(f"split is {self.split!r}; there are: {', '.join(get_args(Split))}")
        if not self.scenes >= 1 or not self.peer_every >= 0:
            raise InputError(f"scenes is {self.scenes} and peer_every {self.peer_every}, but 1 and 0 are the least")


#: a quick run never touches the test split
QUICK_OBSTACLES = ObstacleStudyConfig(split="validation", scenes=2)


def run_obstacle_study(
    *,
    out: Path,
    quick: bool,
    seed: int,
    executor: str,
    progress: StageProgress,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`sonosteer study obstacles`: runs the trials that are missing, then writes tables, figures and the report.

    settings: fields of `ObstacleStudyConfig`. Raises InputError for an unknown one. More scenes, or the peer, go on
    with the trials that are there.
    """
    config = from_dict(ObstacleStudyConfig, dict(settings or {}), "study obstacles")
    if quick:
        config = dataclasses.replace(QUICK_OBSTACLES, peer_every=config.peer_every)
    todo = obstacle_trials(config, seed)
    question = {"study": "obstacles", "quick": quick, "seed": seed, "split": config.split}
    journal = Journal(out / "trials.jsonl", question)
    try:
        for done in run_missing(run_obstacle_trial, todo, journal, executor):
            progress("trials", min(done, len(todo)), len(todo))
    finally:
        journal.close()
    with writing(progress):
        results = [journal.done[t.name] for t in todo]
        about = {**question, "config": to_dict(config)}
        summary = write_obstacle_study(results, out, about, quick=quick)
        save_json(to_dict(summary) | {"versions": versions(), "executor": executor}, out / "summary.json")
    return summary


def obstacle_trials(config: ObstacleStudyConfig, seed: int = 0) -> list[ObstacleTrial]:
    """Return the trials of a study: ours and the controller that is not told on each scene, the peer on some."""
    numbers = range(SCENES_APART * seed, SCENES_APART * seed + config.scenes)
    told = [ObstacleTrial(n, config.split, (OURS, IGNORES)) for n in numbers]
    every = numbers[:: config.peer_every] if config.peer_every else []
    return told + [ObstacleTrial(n, config.split, (PEER,)) for n in every]
