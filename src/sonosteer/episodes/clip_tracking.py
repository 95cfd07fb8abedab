"""One clip or live stream tracked into a folder: tips.csv, overlay.mp4, report.html and summary.json.

Of stills, the overlay is a folder of pictures, since their sizes differ. Of a live stream, summary.json and a short
report are written again and again, so that a run that is killed can be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonosteer.core.clock import RealClock
from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError, InterruptedRunError, SonosteerError
from sonosteer.core.geometry import Spacing
from sonosteer.core.live import LiveSource, is_live
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.core.progress import StageProgress
from sonosteer.core.protocols import Source, SourceInfo, Tracker, Watcher
from sonosteer.core.types import Estimate, Frame, Hint, Truth
from sonosteer.episodes.advice import what_to_try
from sonosteer.episodes.cropping import Crop, in_crop
from sonosteer.episodes.evaluation import figures_of
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.metrics.tip_error import tip_errors
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.recording.markups import ENDING, MarkupPoint, write_markups
from sonosteer.recording.summary import versions, write_summary
from sonosteer.recording.tables_parquet import check_parquet
from sonosteer.recording.tips import TipRow, TipsWriter, read_tips, write_tips_parquet
from sonosteer.runtime.live_tracking import track_live
from sonosteer.runtime.tracking import Background, track_frames
from sonosteer.sources.identity import without_identity
from sonosteer.sources.igtlink.publisher import Publisher
from sonosteer.trackers.table import needs_scale, uses_readings
from sonosteer.viz.overlay import OverlayPictures, OverlayVideo
from sonosteer.viz.page import Sheet, write_picture
from sonosteer.viz.report import Story, write_report

EVERY_S = 5.0  # chosen: what a killed live run loses of its summary
RECENT = 4096  # chosen: frames whose times a summary that is written on the way looks at
SHEET_PICTURES = 12  # chosen: as many as fit one screen of the report
GALLERY_PICTURES = 60  # chosen: of stills, so that the report stays below 3 MB
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
    crop: Crop | None = None
    """Part of each picture to track in. None: the whole picture."""
    stills: bool = False
    """Whether each picture is tracked on its own."""
    seconds: float | None = None
    """How long to track a live source, s. None: until somebody ends it."""
    velocity_mm_s: float | None = None
    """Measured insertion speed in all frames of a live source, mm/s. None where nobody measured it."""
    publisher: Publisher | None = None
    """Where what is known of each frame is published. None: nowhere."""
    parquet: bool = False
    """Whether tips.parquet is written, too."""
    markups: bool = False
    """Whether the tip's way is written for 3D Slicer, too, as tips.mrk.json."""
    identity: tuple[str, ...] = ()
    """Words of a patient's identity, lower case, that no result may hold."""
    asked: Mapping[str, Any] | None = None
    """What was asked for, saved once it is done, so that it is not done again. None: it always is."""
    picture: bool = False
    """Whether a small picture of the clip is kept for a list of clips."""
    viewers: tuple[Watcher, ...] = ()
    """Who looks on while it is tracked, as a console does."""

    def close(self) -> None:
        """Let the clients of the publisher go, and end a live source. May be called twice."""
        if self.publisher is not None:
            self.publisher.close()
        if is_live(self.source):
            self.source.close()

    @property
    def expected_frames(self) -> int | None:
        """Number of frames to track. None where the clip does not say how long it is."""
        total = self.source.info.frames
        return None if total is None else min(self.stop or total, total) - self.start


def are_stills(info: SourceInfo, asked: bool) -> bool:
    """True where each picture is tracked on its own: if that was asked for, and for a picture alone."""
    return asked or info.kind == "still"


def check_clip(info: SourceInfo, start: int, *, crop: Crop | None = None, stills: bool = False) -> None:
    """Raise InputError for what cannot be tracked.

    The scale is absurd, there is nothing to track from frame `start` on, or the crop lies outside the pictures. Among
    several stills, whose sizes may differ, the crop is looked at picture by picture.
    """
    if info.spacing is not None:
        _check_scale(info, info.spacing)
    if info.frames == 1 and info.kind in ("video", "images") and not stills:
        one = "a clip of two or more is needed to track in"
        still = "; `stills` tracks a picture by itself" if info.kind == "images" else ""
        raise InputError(f"{info.name} has one frame only: {one}{still}")
    wrong = None if crop is None or (stills and info.frames != 1) else crop.outside(info.size_px)
    if wrong is not None:
        raise InputError(f"{info.name}: {wrong}")
    if info.frames is not None and start >= info.frames:
        raise InputError(
            f"`frames` starts at {start}, but {info.name} has {info.frames} frames (0 to {info.frames - 1})"
        )


def check_method(info: SourceInfo, tracker: Tracker[Any], method: str) -> None:
    """Raise InputError if the method needs a scale that nobody knows."""
    if info.spacing is None and needs_scale(tracker):
        raise InputError(
            f"{info.name}: the scale is unknown: give `spacing_mm`, mm per pixel. "
            f"Method {method} works in millimetres, auto and vla do without"
        )


def check_readings(info: SourceInfo, tracker: Tracker[Any], method: str, *, live: bool, stills: bool) -> None:
    """Raise InputError where a robot's readings beside the clip would be of no use."""
    if live:
        raise InputError("`readings` is for recorded clips: beside a live source, `insert` reads the robot itself")
    if stills:
        raise InputError("`readings` is for clips: pictures on their own have no times")
    if not uses_readings(tracker):
        raise InputError(f"`readings`: method {method} does not use them; auto and vla do")
    if info.spacing is None:
        raise InputError(f"{info.name}: `readings` are in mm, and the scale is unknown: give `spacing_mm`, too")


def _check_scale(info: SourceInfo, spacing: Spacing) -> None:
    width_mm, height_mm = spacing.to_mm((float(info.size_px[0]), float(info.size_px[1])))
    if not (min(width_mm, height_mm) >= MIN_IMAGE_MM and max(width_mm, height_mm) <= MAX_IMAGE_MM):
        raise InputError(
            f"{info.name}: at {spacing.x_mm:g},{spacing.y_mm:g} mm per pixel the image would be "
            f"{width_mm:.4g} x {height_mm:.4g} mm, which is no ultrasound image; check `spacing_mm`"
        )


def track_into_folder(job: ClipJob, progress: StageProgress) -> dict[str, Any]:
    """Track a clip or a live stream and write its results. Returns what summary.json holds.

    The results are written also after a run that broke off or was interrupted. Its error is raised then. A live stream
    is closed, and Ctrl-C is how it ends: its summary says `interrupted`, and nothing is raised.
    """
    info, expected = job.source.info, job.expected_frames
    ledger = FrameLedger(expected)
    tracker = in_crop(job.tracker, job.crop, info.names)
    tracker.prepare()
    overlay = _overlay(job, expected)
    live = is_live(job.source)
    broke: SonosteerError | None = None
    began_s = time.perf_counter()
    with TipsWriter(job.out / "tips.csv", info.spacing, info.names, world=info.world is not None) as tips:
        try:
            with Background(overlay, complete=not live) as background:
                published = [job.publisher] if job.publisher else []
                watchers: list[Watcher] = [_Rows(tips), *published, *job.viewers, background]
                if live:
                    with Background(_Interim(job, ledger, overlay, began_s), depth=1, complete=False) as interim:
                        _track_live(job, tracker, ledger, [*watchers, interim], progress)
                else:
                    track_frames(
                        job.feed,
                        tracker,
                        job.hint,
                        RealClock(),
                        ledger,
                        start=job.start,
                        stop=job.stop,
                        stills=job.stills,
                        watchers=watchers,
                        progress=lambda done: progress("", done, expected or 0),
                    )
        except SonosteerError as e:
            broke = e
        except KeyboardInterrupt:
            ledger.interrupted = True
    progress("writing the report", 0, 0)
    if live:
        job.source.close()
    try:
        overlay.close()
    except SonosteerError as e:
        broke = broke or e
    try:
        done = broke is None and not ledger.interrupted
        summary = _write_results(job, ledger, overlay.sheet, elapsed_s=time.perf_counter() - began_s, done=done)
    except SonosteerError as e:
        raise broke or e from None
    if broke is not None:
        raise broke
    if ledger.interrupted and not live:
        raise InterruptedRunError(f"interrupted; the {ledger.frames} frames done so far are in {job.out}")
    return summary


def _track_live(
    job: ClipJob, tracker: Tracker[Any], ledger: FrameLedger, watchers: list[Watcher], progress: StageProgress
) -> None:
    wanted = 0 if job.stop is None else job.stop - job.start
    source: Any = job.source
    track_live(
        source,
        tracker,
        job.hint,
        ledger,
        start=job.start,
        stop=job.stop,
        seconds=job.seconds,
        velocity_mm_s=job.velocity_mm_s,
        watchers=watchers,
        progress=lambda trouble, done: progress(trouble, done, wanted),
    )


class _Interim:
    """Writes summary.json and a report without figures every few seconds, for a run that is killed."""

    def __init__(
        self, job: ClipJob, ledger: FrameLedger, overlay: OverlayVideo | OverlayPictures, began_s: float
    ) -> None:
        self._job, self._ledger, self._overlay, self._began_s = job, ledger, overlay, began_s
        self._last_s = -EVERY_S

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        now_s = time.perf_counter()
        if now_s - self._last_s < EVERY_S:
            return
        self._last_s = now_s
        recent = {stage: list(ms)[-RECENT:] for stage, ms in list(self._ledger.times_ms.items())}
        summary = _summary(self._job, self._ledger, recent, now_s - self._began_s) | {"running": True}
        write_summary(self._job.out / "summary.json", summary)
        sheet = self._overlay.sheet[:1]
        write_report(self._job.out / "report.html", _story(self._job, summary, [], {}, sheet))


def _overlay(job: ClipJob, expected: int | None) -> OverlayVideo | OverlayPictures:
    """What draws the overlay. It keeps pictures spread over the clip for the report, of stills as many as fit."""
    most = GALLERY_PICTURES if job.stills else SHEET_PICTURES
    if is_live(job.source):
        return OverlayVideo(job.out / "overlay.mp4", job.source.info, job.truth_of, None)
    keep = frozenset(round(i * ((expected or most) - 1) / (most - 1)) for i in range(most))
    if job.stills:
        return OverlayPictures(job.out / "overlay", job.source.info.names, job.truth_of, keep)
    return OverlayVideo(job.out / "overlay.mp4", job.source.info, job.truth_of, keep)


class _Rows:
    """Watches a run and writes tips.csv."""

    def __init__(self, writer: TipsWriter) -> None:
        self._writer = writer

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        self._writer.add(estimate, frame.T_world_image)


def _write_results(job: ClipJob, ledger: FrameLedger, sheet: Sheet, *, elapsed_s: float, done: bool) -> dict[str, Any]:
    """Write summary.json and report.html from what there is."""
    info = job.source.info
    rows = read_tips(job.out / "tips.csv")
    known = [t for t in (_truth_or_none(job.truth_of, r.frame) for r in rows) if t is not None]
    comparable = bool(rows) and any(t.tip_px is not None for t in known)
    errors = tip_errors(rows, known, info.spacing) if comparable else None
    summary: dict[str, Any] = _summary(job, ledger, ledger.times_ms, elapsed_s)
    if errors is not None:
        size_px = None if info.names else info.size_px  # sizes of stills differ
        summary["error"] = figures_of(rows, known, errors, size_px=size_px)
    summary = without_identity(summary, job.identity)
    write_summary(job.out / "summary.json", summary)
    if job.parquet:
        write_tips_parquet(job.out / "tips.parquet", job.out / "tips.csv")
    if job.markups and any(row.tip_mm is not None for row in rows):
        world = info.world is not None
        write_markups(job.out / f"tips{ENDING}", tip_points(rows, world=world), axes="RAS" if world else "LPS")
    story = replace(
        _story(job, summary, rows, ledger.times_ms, sheet),
        errors=errors,
        error_numbers=summary["error"],
        truth=_true_path(known, rows, info.spacing),
    )
    write_report(job.out / "report.html", story)
    if job.picture and sheet:
        write_picture(job.out / "picture.jpg", sheet[len(sheet) // 2][1])
    if done and job.asked is not None:  # last: with it the clip is done
        summary["asked"] = to_dict(job.asked)
        write_summary(job.out / "summary.json", summary)
    return summary


def _summary(
    job: ClipJob, ledger: FrameLedger, times_ms: Mapping[str, Sequence[float]], elapsed_s: float
) -> dict[str, Any]:
    """What summary.json holds, beside errors against a truth."""
    summary: dict[str, Any] = {
        "command": "track",
        "counts": ledger.tracking_counts(),
        "dropped": ledger.outcomes["dropped"],
        "bad": ledger.bad,
        "scale": scale_note(job.source.info.spacing),
        "timing": {stage: percentiles_ms(ms) for stage, ms in times_ms.items()},
        "elapsed_s": round(elapsed_s, 3),
        "error": None,
        "source": to_dict(job.source.info),
        "method": job.method,
        "seed": job.seed,
        "options": to_dict(job.options),
        "configuration": without_workspaces(to_dict(job.tracker)),
        "scene": to_dict(getattr(job.source, "scene", None)),
        "versions": versions(),
        "notice": NOT_A_DEVICE,
    }
    if job.publisher is not None:
        summary["published"] = job.publisher.summary()
    if is_live(job.source):
        summary |= _stream_of(job.source, ledger)  # type: ignore[arg-type]
        replaced = {"a newer picture was there": summary["dropped"]} if summary["dropped"] else {}
        summary["counts"] |= {"dropped": summary["dropped"], "dropped_because": replaced}
    withheld: dict[str, Any] = without_identity(summary, job.identity)
    return withheld


def _stream_of(source: LiveSource, ledger: FrameLedger) -> dict[str, Any]:
    """The account of a live stream: received = seen + overwritten + the sum of bad."""
    stream = source.counts().to_summary()
    unusable = {} if not ledger.bad else {"frames_that_cannot_be_used": ledger.bad}
    return {**stream, **unusable, "dropped": stream["overwritten"], "lag": source.lag()}


def _story(
    job: ClipJob,
    summary: Mapping[str, Any],
    rows: Sequence[TipRow],
    times_ms: Mapping[str, Sequence[float]],
    sheet: Sheet,
) -> Story:
    return Story(
        title=f"Needle tip in {without_identity(job.name, job.identity)} by {job.method}",
        summary=summary,
        tips=rows,
        times_ms=times_ms,
        sheet=sheet,
        video=None if job.stills else "overlay.mp4",
        stills=job.stills,
        advice=what_to_try(summary),
    )


def tip_points(rows: Sequence[TipRow], *, world: bool) -> Iterator[MarkupPoint]:
    """Yield a control point for each tip: in world mm, RAS, or in mm of the picture, LPS."""
    for row in rows:
        place = row.tip_world_mm if world else None if row.tip_mm is None else (*row.tip_mm, 0.0)
        if place is not None:
            sure = "" if row.confidence is None else f", confidence {row.confidence:g}"
            yield MarkupPoint(
                frame=row.frame,
                position_mm=place,
                axes="RAS" if world else "LPS",
                note=f"{row.state}{sure}",
                sure=row.state == "tracking",
            )


def check_exports(info: SourceInfo, *, parquet: bool, markups: bool) -> None:
    """Raise InputError for further files that cannot be written: pyarrow is missing, or the scale is unknown."""
    if parquet:
        check_parquet()
    if markups and info.spacing is None:
        raise InputError(f"{info.name}: markups are in mm, and the scale is unknown: give `spacing_mm`")


def scale_note(spacing: Spacing | None, option: str = "--spacing-mm X[,Y]") -> str:
    """Say in which unit positions are, and by which option millimetres are had where the scale is unknown."""
    if spacing is None:
        return f"unknown: positions are in px; {option} (millimetres per pixel) gives them in mm, too"
    return f"{spacing.x_mm:g} x {spacing.y_mm:g} mm per pixel"


def _true_path(
    known: Sequence[Truth], rows: Sequence[TipRow], spacing: Spacing | None
) -> list[tuple[float, float, float]]:
    """True tips as (time in s, x, y), in mm or, without a scale, in px."""
    times_s = {row.frame: row.time_s for row in rows}
    tips = [(times_s[t.frame_index], t.tip_px) for t in known if t.tip_px is not None]
    return [(time_s, *(tip if spacing is None else spacing.to_mm(tip))) for time_s, tip in tips]


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
