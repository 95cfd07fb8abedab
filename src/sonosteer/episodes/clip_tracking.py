"""One clip tracked into a folder: tips.csv, overlay.mp4, report.html and summary.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonosteer.core.clock import RealClock
from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError, InterruptedRunError, SonosteerError
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.core.progress import StageProgress
from sonosteer.core.protocols import Source, SourceInfo, Tracker
from sonosteer.core.types import Estimate, Frame, Hint, Truth
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.metrics.tip_error import summarise, tip_errors
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.recording.summary import versions, write_summary
from sonosteer.recording.tips import TipsWriter, read_tips
from sonosteer.runtime.tracking import Background, track_frames
from sonosteer.viz.overlay import OverlayVideo
from sonosteer.viz.report import Story, write_report

SHEET_PICTURES = 12  # chosen: as many as fit one screen of the report
#: chosen: an image smaller or larger than this has a wrong scale
MIN_IMAGE_MM, MAX_IMAGE_MM = 4.0, 500.0


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """What is tracked, with what, and into which folder."""

    source: Source
    """The clip itself. It says scale, size and rate of the frames."""
    feed: Source
    """What the tracker is given: the clip, or the clip with measured speeds."""
    tracker: Tracker[Any]
    """The tracking method with its settings."""
    hint: Hint
    """What the user knows of the needle beforehand."""
    out: Path
    """Folder of the results. It must exist."""
    truth_of: Callable[[int], Truth | None]
    """Truth of a frame by its index. None where nothing is known."""
    name: str
    """Name of the clip in the report's title."""
    method: str
    """Name of the tracking method, as saved with the results."""
    seed: int
    """Seed of a simulated clip, as saved with the results."""
    options: Mapping[str, Any]
    """The command's words as typed, saved with the results."""
    start: int = 0
    """Index of the first frame to track."""
    stop: int | None = None
    """Index of the frame to stop before. None: to the end of the clip."""

    @property
    def expected_frames(self) -> int | None:
        """Number of frames to track. None where the clip does not say how long it is."""
        total = self.source.info.frames
        return None if total is None else min(self.stop or total, total) - self.start


def check_clip(info: SourceInfo, start: int) -> None:
    """Raise InputError if the scale is unknown or absurd, or if there is nothing to track from frame `start` on."""
    if info.spacing is None:
        raise InputError(f"{info.name}: the scale is unknown; give `spacing_mm`, millimetres per pixel")
    width_mm, height_mm = info.spacing.to_mm((float(info.size_px[0]), float(info.size_px[1])))
    if not (min(width_mm, height_mm) >= MIN_IMAGE_MM and max(width_mm, height_mm) <= MAX_IMAGE_MM):
        raise InputError(
            f"{info.name}: at {info.spacing.x_mm:g},{info.spacing.y_mm:g} mm per pixel the image would be "
            f"{width_mm:.4g} x {height_mm:.4g} mm, which is no ultrasound image; check `spacing_mm`"
        )
    if info.frames == 1 and info.kind in ("video", "images"):
        raise InputError(f"{info.name} has one frame only: a clip of two or more is needed to track in")
    if info.frames is not None and start >= info.frames:
        raise InputError(
            f"`frames` starts at {start}, but {info.name} has {info.frames} frames (0 to {info.frames - 1})"
        )


def track_into_folder(job: ClipJob, progress: StageProgress) -> dict[str, Any]:
    """Track a clip and write its results. Returns what summary.json holds.

    The results are written also after a run that broke off or was interrupted. Its error is raised then.
    """
    spacing = job.source.info.spacing
    assert spacing is not None
    expected = job.expected_frames
    ledger = FrameLedger(expected)
    job.tracker.prepare()
    last = SHEET_PICTURES - 1
    keep = frozenset(round(i * ((expected or SHEET_PICTURES) - 1) / last) for i in range(SHEET_PICTURES))
    video = OverlayVideo(job.out / "overlay.mp4", job.source.info, job.truth_of, keep)
    broke: SonosteerError | None = None
    began_s = time.perf_counter()
    with TipsWriter(job.out / "tips.csv", spacing) as tips:
        try:
            with Background(video) as background:
                track_frames(
                    job.feed,
                    job.tracker,
                    job.hint,
                    RealClock(),
                    ledger,
                    start=job.start,
                    stop=job.stop,
                    watchers=(_Rows(tips), background),
                    progress=lambda done: progress("", done, expected or 0),
                )
        except SonosteerError as e:
            broke = e
        except KeyboardInterrupt:
            ledger.interrupted = True
    progress("writing the report", 0, 0)
    try:
        video.close()
    except SonosteerError as e:
        broke = broke or e
    try:
        summary = _write_results(job, ledger, video, time.perf_counter() - began_s)
    except SonosteerError as e:
        raise broke or e from None
    if broke is not None:
        raise broke
    if ledger.interrupted:
        raise InterruptedRunError(f"interrupted; the {ledger.frames} frames done so far are in {job.out}")
    return summary


class _Rows:
    """Watches a run and writes tips.csv."""

    def __init__(self, writer: TipsWriter) -> None:
        self._writer = writer

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        self._writer.add(estimate)


def _write_results(job: ClipJob, ledger: FrameLedger, video: OverlayVideo, elapsed_s: float) -> dict[str, Any]:
    """Write summary.json and report.html from what there is."""
    info = job.source.info
    assert info.spacing is not None
    rows = read_tips(job.out / "tips.csv")
    known = [t for t in (_truth_or_none(job.truth_of, r.frame) for r in rows) if t is not None]
    comparable = bool(rows) and any(t.tip_px is not None for t in known)
    errors = tip_errors(rows, known, info.spacing) if comparable else None
    summary: dict[str, Any] = {
        "command": "track",
        "counts": ledger.tracking_counts(),
        "dropped": ledger.outcomes["dropped"],
        "timing": {stage: percentiles_ms(ms) for stage, ms in ledger.times_ms.items()},
        "elapsed_s": round(elapsed_s, 3),
        "error": summarise(errors) if errors is not None else None,
        "source": to_dict(info),
        "method": job.method,
        "seed": job.seed,
        "options": to_dict(job.options),
        "configuration": without_workspaces(to_dict(job.tracker)),
        "scene": to_dict(getattr(job.source, "scene", None)),
        "versions": versions(),
        "notice": NOT_A_DEVICE,
    }
    write_summary(job.out / "summary.json", summary)
    story = Story(
        title=f"Needle tip in {job.name} by {job.method}",
        summary=summary,
        tips=rows,
        times_ms=ledger.times_ms,
        sheet=video.sheet,
        video="overlay.mp4",
        errors=errors,
        error_numbers=summary["error"],
        truth=[(t.time_s, *info.spacing.to_mm(t.tip_px)) for t in known if t.tip_px is not None],
    )
    write_report(job.out / "report.html", story)
    return summary


def _truth_or_none(truth_of: Callable[[int], Truth | None], frame: int) -> Truth | None:
    try:
        return truth_of(frame)
    except KeyError:
        return None


def without_workspaces(config: Any) -> Any:
    """Settings without the workspaces, whose names begin with an underscore."""
    if isinstance(config, dict):
        return {k: without_workspaces(v) for k, v in config.items() if not k.startswith("_")}
    return config
