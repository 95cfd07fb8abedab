"""What people look at after a recorded insertion: overlay.mp4, insertion.svg and report.html, from its recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sonosteer.core.arrays import F64, U8
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Lost, Task
from sonosteer.recording.clips import open_clip
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.insertion import Run
from sonosteer.sim.truth import NeedleTruth
from sonosteer.viz.insertion_overlay import draw_insertion
from sonosteer.viz.insertion_plots import speed_and_visibility
from sonosteer.viz.insertion_report import write_insertion_report
from sonosteer.viz.plots import standalone

SHOWN = 12  # chosen: as many pictures as fit one screen of the report


class DrawnRun(Protocol):
    """What is drawn of an insertion. Without truths its true needle is left out."""

    run: Run
    """What the loop says."""
    task: Task
    """What the policy was told to do."""
    truths: list[NeedleTruth]
    """The true needle, one per image. Empty where nobody knows it."""

    @property
    def errors_mm(self) -> F64:
        """(n, 2) time in s and distance of the tip from the target in mm: true, or as tracked where that is unknown."""
        ...


def write_insertion_files(
    out: Path, done: DrawnRun, *, title: str, summary: Mapping[str, Any], recording: Path
) -> None:
    """Write the figure, the overlay and the report of an insertion."""
    rows = np.array(done.run.rows, np.float64).reshape(-1, 7)
    known = "true" if done.truths else "as tracked"
    figure = speed_and_visibility(rows, done.errors_mm, title, known=known) if len(rows) else ""
    if figure:
        (out / "insertion.svg").write_text(standalone(figure))
    sheet = _write_overlay(out / "overlay.mp4", done, RunReader(recording))
    write_insertion_report(out / "report.html", title, summary, figure, sheet, truths=bool(done.truths))


def _write_overlay(path: Path, done: DrawnRun, recorded: RunReader) -> Sequence[tuple[str, U8]]:
    """Draw every recorded frame. Returns a dozen of the pictures with captions."""
    estimates = {m.what["estimate"].frame_index: m.what["estimate"] for m in recorded.messages("/estimate")}
    observed = {m.what["observation"].frame_index: m.what["observation"] for m in recorded.messages("/decision")}
    truths = {t.frame_index: t for t in done.truths}
    total = max(recorded.counts["/frames"], 1)
    kept = {round(i * (total - 1) / (SHOWN - 1)) for i in range(SHOWN)}
    clip, sheet, last, seen = None, [], None, None
    for number, frame in enumerate(recorded.frames()):
        if clip is None:
            info = SourceInfo("insertion", "recorded", frame.size_px, None, None, frame.spacing)
            clip = open_clip(path, info)
        last = estimates.get(frame.index, last)
        estimate = last or Lost(frame.index, frame.time_s, "not tracked yet")
        truth = truths.get(frame.index)
        seen = observed.get(frame.index, seen)
        probe = truth.probe_mm if truth else seen.robot_state.probe_mm if seen else (0.0, 0.0, 0.0)
        picture = draw_insertion(frame, estimate, done.task.target_at(probe), truth)
        clip.add(picture, frame.time_s)
        if number in kept:
            speed = "" if seen is None else f", {seen.robot_state.insertion_speed_mm_s:.1f} mm/s"
            sheet.append((f"{frame.time_s:.2f} s{speed}", picture))
    if clip is not None:
        clip.close()
    return sheet
