"""Failed insertions of the study frame by frame: what the tracker said, where the tip was, before each ended.

A trial is deterministic. Therefore a failed one is carried out again and looked at, the first of each reason first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.types import Frame, Lost, Observation
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.imaging.crops import crop, step_of
from sonosteer.viz.film_strip import CUT_MM_PER_PX, CUT_PX, FilmStripCell, FilmStripRow, in_cut, write_strip

MAX_FAILURES, FAILURE_COLUMNS = 6, 8
BEFORE_S = 4.0  # chosen: how much of the end is shown, s
TRACKED, TARGET_MARK = "tip as tracked", "target"


def choose_failures(
    trials: Sequence[tuple[InsertionConfig, Mapping[str, Any]]], most: int = MAX_FAILURES
) -> list[InsertionConfig]:
    """Failures to look at: one of each reason, then further ones, in the order of the targets."""
    failed = [(s, str(r["judged"])) for s, r in trials if not r["success"]]
    first = {why: i for i, (_, why) in reversed(list(enumerate(failed)))}
    order = [*sorted(first.values()), *(i for i in range(len(failed)) if i not in first.values())]
    return [failed[i][0] for i in order[:most]]


def case_of(setup: InsertionConfig) -> FilmStripRow:
    """Carry a trial out again and cut its last seconds out, around the true tip."""
    episode = build_episode(setup)
    shown: list[tuple[Frame, Observation | None]] = []
    done = run_episode(episode, watch=lambda frame, seen: shown.append((frame, seen)))
    truths = {t.frame_index: t for t in done.truths}
    last_s = shown[-1][0].time_s if shown else 0.0
    late = [(f, o) for f, o in shown if f.time_s >= last_s - BEFORE_S and truths[f.index].tip_px is not None]
    picked = (
        [late[i] for i in np.unique(np.linspace(0, len(late) - 1, FAILURE_COLUMNS).round().astype(int))] if late else []
    )
    step, middle = np.array(step_of(episode.world.spacing, CUT_MM_PER_PX)), (CUT_PX - 1) / 2
    cells = []
    for frame, seen in picked:
        truth = truths[frame.index]
        assert truth.tip_px is not None
        tip = None if seen is None or isinstance(seen.estimate, Lost) else seen.estimate.tip_px
        marks = {TRACKED: tip, TARGET_MARK: done.task.target_at(truth.probe_mm)}
        cells.append(
            FilmStripCell(
                crop(frame.grey(), truth.tip_px, CUT_PX, (float(step[0]), float(step[1]))),
                (middle, middle),
                {k: None if p is None else in_cut(p, truth.tip_px, step, middle) for k, p in marks.items()},
                CUT_MM_PER_PX,
                f"{frame.time_s - last_s:+.2f} s" + ("" if truth.visible else ", hidden"),
            )
        )
    error_mm = done.outcome.final_error_mm
    off = "" if error_mm is None else f"\n{error_mm:.1f} mm off"
    label = f"{setup.mode}, seed {setup.seed}\n{done.outcome.reason}{off}"
    return FilmStripRow(label, cells)


def write_failures(path: Path, title: str, setups: Sequence[InsertionConfig]) -> int:
    """Draw them. Returns the number of cells."""
    return write_strip(path, title, (TRACKED, TARGET_MARK), [case_of(s) for s in setups])
