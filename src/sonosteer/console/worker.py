"""The console's worker: a process that tracks, looks at the screen, draws overlays and writes data sets.

It is told one piece of work at a time through a pipe, says how far it is, and can be told to leave off. It ends when
the pipe does, so it never outlives its console.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from sonosteer.core.errors import SonosteerError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Estimate, Frame, Hint

NEWS_EVERY_S = 0.1  # chosen: news as often as an eye follows


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """How to open the clip."""

    where: str
    """Its path, or sim:SETUP."""
    spacing: Spacing | None
    """Millimetres per pixel that a person gave. None: what the file says."""
    seed: int = 0
    """Seed of sim:SETUP, no unit."""


@dataclass(frozen=True, slots=True)
class TrackWork:
    """Track a clip from a frame on."""

    clip: ClipPlace
    """Where it is, and its scale."""
    method: str
    """Name of the tracking method."""
    hint: Hint
    """What is known of the needle in the first frame."""
    first: int
    """Index of the first frame."""
    velocity_mm_s: float | None = None
    """Measured speed of the needle, mm/s. None: not known."""
    crop: tuple[int, int, int, int] | None = None
    """Part of the picture to track in, px: left, top, width, height. None: the whole."""


@dataclass(frozen=True, slots=True)
class ScreenWork:
    """Look at the scanner's screen."""

    clip: ClipPlace
    """Where it is, and its scale."""


@dataclass(frozen=True, slots=True)
class OverlayWork:
    """Draw a track over its clip."""

    clip: ClipPlace
    """Where it is, and its scale."""
    out: Path
    """The video to write."""
    track: Mapping[int, Estimate] = field(repr=False)
    """The track by frame."""
    marks: Mapping[int, tuple[float, float]] = field(repr=False)
    """Labelled tips by frame, px: (column, row)."""


@dataclass(frozen=True, slots=True)
class DataSetWork:
    """Write the labelled frames as a data set."""

    clip: ClipPlace
    """Where it is, and its scale."""
    out: Path
    """The folder to write. It must not exist."""
    marks: Path
    """CSV file of the labels, as `dataset import` reads it."""
    form: str | None
    """Format to export to. None: sonosteer's own."""


Work: TypeAlias = TrackWork | ScreenWork | OverlayWork | DataSetWork


class _LeftOffError(Exception):
    """The work is to end."""


@dataclass
class _Line:
    """The pipe to the console, seen by a piece of work."""

    pipe: Connection
    job: int
    queue: deque[Any]
    said_s: float = 0.0

    def left_off(self) -> bool:
        """Whether this work is to end. What else comes meanwhile is kept for later."""
        while self.pipe.poll():
            word = self.pipe.recv()
            if word == ("leave off", self.job):
                return True
            self.queue.append(word)
        return False

    def news(self, *said: Any, at_once: bool = False) -> bool:
        """Say something, if there was nothing for a while. Returns whether it was said."""
        now_s = time.monotonic()
        if not at_once and now_s - self.said_s < NEWS_EVERY_S:
            return False
        self.said_s = now_s
        put_into(self.pipe, (self.job, *said))
        return True

    def progress(self, stage: str, done: int, total: int) -> None:
        """Progress of work that ends by an exception if it is told to."""
        self.news("progress", stage, done, total)
        if self.left_off():
            raise _LeftOffError


def put_into(pipe: Connection, message: tuple[Any, ...]) -> None:
    """Hand a message to the other process, which takes it out by `recv`."""
    pipe.send_bytes(pickle.dumps(message))


def run_worker(pipe: Connection) -> None:
    """Do what is told until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is the console's
    queue: deque[Any] = deque()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            word = queue.popleft() if queue else pipe.recv()
            if word[0] != "leave off":
                _do(_Line(pipe, word[0], queue), word[1])


def _do(line: _Line, work: Work) -> None:
    does: dict[type, Callable[[_Line, Any], Any]] = {
        TrackWork: _track,
        ScreenWork: _screen,
        OverlayWork: _overlay,
        DataSetWork: _data_set,
    }
    try:
        result = does[type(work)](line, work)
    except _LeftOffError:
        line.news("left off", at_once=True)
    except SonosteerError as e:
        line.news("failed", str(e), at_once=True)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as e:  # noqa: BLE001  a plug-in may raise anything, and the page is to say so
        line.news("failed", f"broke with {type(e).__name__}: {e}", at_once=True)
    else:
        line.news("done", result, at_once=True)


class _Sender:
    """Watches a run and sends its estimates in heaps. Ends the run, as Ctrl-C does, if it is told to leave off."""

    def __init__(self, line: _Line) -> None:
        self._line, self._heap = line, list[Estimate]()
        self.left_off = False

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        self._heap.append(estimate)
        if self._line.news("rows", self._heap):
            self._heap = []
            self.left_off = self._line.left_off()
            if self.left_off:
                raise KeyboardInterrupt

    def finish(self) -> None:
        if self._heap:
            self._line.news("rows", self._heap, at_once=True)


def _track(line: _Line, work: TrackWork) -> dict[str, Any]:
    from sonosteer.core.clock import RealClock
    from sonosteer.episodes.clip_tracking import check_clip, check_method
    from sonosteer.episodes.cropping import Crop, in_crop
    from sonosteer.metrics.latency import percentiles_ms
    from sonosteer.recording.frame_ledger import FrameLedger
    from sonosteer.runtime.tracking import track_frames
    from sonosteer.sources.velocity import WithVelocity
    from sonosteer.trackers.table import make_tracker

    source = _open(work.clip)
    crop = None if work.crop is None else Crop(*work.crop)
    tracker = make_tracker(work.method)
    check_clip(source.info, work.first, crop=crop)
    check_method(source.info, tracker, work.method)
    shown = in_crop(tracker, crop)
    shown.start(work.hint)
    line.news("progress", "preparing", 0, 0, at_once=True)
    shown.prepare()
    sender = _Sender(line)
    ledger = FrameLedger(None if source.info.frames is None else source.info.frames - work.first)
    feed = source if work.velocity_mm_s is None else WithVelocity(source, work.velocity_mm_s)
    try:
        track_frames(feed, shown, work.hint, RealClock(), ledger, start=work.first, watchers=(sender,))
    finally:
        sender.finish()
        source.close()
    if ledger.interrupted:
        raise _LeftOffError
    return {"counts": ledger.tracking_counts(), "timing": percentiles_ms(ledger.times_ms["track"])}


def _screen(line: _Line, work: ScreenWork) -> dict[str, Any]:
    from sonosteer.episodes.screen_calibration import calibrate_screen

    line.news("progress", "looking at the screen", 0, 0, at_once=True)
    source = _open(work.clip)
    try:
        return calibrate_screen(source).to_dict()
    finally:
        source.close()


def _overlay(line: _Line, work: OverlayWork) -> str:
    from sonosteer.core.types import Lost, Truth
    from sonosteer.viz.overlay import OverlayVideo

    source = _open(work.clip, keep_identity=False)  # a video is passed on
    total = source.info.frames or 0

    def mark(index: int) -> Truth | None:
        tip = work.marks.get(index)
        if tip is None:
            return None
        return Truth(index, None, tip_px=tip, angle_rad=None, visible=True, depth_mm=None, velocity_mm_s=None)

    video = OverlayVideo(work.out, source.info, mark, frozenset())
    try:
        for frame in source.frames():
            video.saw(frame, work.track.get(frame.index) or Lost(frame.index, frame.time_s, "not tracked"))
            line.progress("drawing", frame.index + 1, total)
    finally:
        video.close()
        source.close()
    return str(work.out)


def _data_set(line: _Line, work: DataSetWork) -> str:
    import tempfile

    from sonosteer.datasets.exporting import export_set
    from sonosteer.datasets.importing import RATE_HZ, import_frames

    where, spacing = Path(work.clip.where), work.clip.spacing

    def write(out: Path) -> None:
        import_frames(
            where,
            work.marks,
            out=out,
            spacing=spacing,
            rate_hz=RATE_HZ,
            seed=0,
            command=f"console, data set of {where.name}",
            progress=line.progress,
        )

    if work.form is None:
        write(work.out)
        return str(work.out)
    with tempfile.TemporaryDirectory(dir=work.out.parent) as folder:
        write(Path(folder) / "set")
        export_set(Path(folder) / "set", out=work.out, form=work.form, splits=(), progress=line.progress)
    return str(work.out)


def _open(clip: ClipPlace, *, keep_identity: bool = True) -> Any:
    from sonosteer.sources.opening import open_source

    return open_source(clip.where, spacing=clip.spacing, seed=clip.seed, keep_identity=keep_identity)
