"""Tracking from Python: track a clip, simulate one, measure the errors, draw a frame."""

from __future__ import annotations

import dataclasses
import html
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64, U8
from sonosteer.core.clock import RealClock
from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError, MissingExtraError, SonosteerError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.live import is_live
from sonosteer.core.plugins import PluggedIn, construct
from sonosteer.core.protocols import Source, SourceInfo, Tracker
from sonosteer.core.types import Estimate, Frame, Hint, Side, TipEstimate, Track, Truth
from sonosteer.episodes.clip_tracking import (
    are_stills,
    check_clip,
    check_method,
    check_readings,
    scale_note,
    without_workspaces,
)
from sonosteer.episodes.cropping import Crop, in_crop
from sonosteer.episodes.evaluation import clip_behind, figures_of, in_world, place_in_track
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.metrics.tip_error import TipErrors, tip_errors
from sonosteer.recording.clips import open_clip
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.recording.markups import PlaceInPicture
from sonosteer.recording.output_folder import claimed_folder
from sonosteer.recording.summary import versions, write_summary
from sonosteer.recording.tips import NAME_COLUMN, PIXEL_COLUMNS, TipRow, TipsWriter, read_tips
from sonosteer.recording.truths import TruthWriter, check_truth, read_truth
from sonosteer.runtime.live_tracking import track_live
from sonosteer.runtime.tracking import track_frames
from sonosteer.sim.scenes import Scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sources.in_memory import FramesFromLoop, FramesInMemory, frames_of_array
from sonosteer.sources.opening import open_source, open_stills
from sonosteer.sources.plugged_in import PluggedInSource, WithSpacing
from sonosteer.sources.poses import place_by_scale, place_in
from sonosteer.sources.readings import WithReadings
from sonosteer.sources.simulated import SimulatedSource
from sonosteer.sources.velocity import WithVelocity
from sonosteer.trackers.table import TRACKERS, make_tracker, plug_in_tracker
from sonosteer.viz.overlay import draw_overlay

#: what can be tracked: a path or `sim:SETUP`, a source, an array (n, rows, columns[, 3]), or frames as they come
Clip: TypeAlias = str | Path | Source | NDArray[Any] | Iterable[Any]
#: a method's name, `package.module:Class`, a class with `start` and `step`, or an object of one
Method: TypeAlias = str | type | Tracker[Any]
#: mm per pixel: one number, (x, y), or a Spacing
SpacingMm: TypeAlias = float | tuple[float, float] | Spacing
#: frames to use: slice(first, end) or (first, end); end is not included, None: to the end of the clip
FrameRange: TypeAlias = slice | tuple[int, int | None]


@dataclass(frozen=True, eq=False)
class TrackResult:
    """What a tracker said of a clip, one estimate for each frame. Its arrays have a row for each estimate."""

    source: SourceInfo
    """What the clip says of itself: size, rate, scale."""
    method: str
    """Name of the tracking method."""
    estimates: tuple[Estimate, ...]
    """One TipEstimate or Lost for each frame that was tracked, in order."""
    truths: tuple[Truth, ...] = ()
    """What really was, for the frames where the clip knows it. Empty for a recording."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """Number of frames by state, the reasons for lost ones, and the number of frames that did not arrive."""
    times_ms: Mapping[str, Sequence[float]] = field(default_factory=dict, repr=False)
    """Time of each stage for each frame, ms."""
    configuration: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Settings of the method."""

    def __len__(self) -> int:
        return len(self.estimates)

    def __iter__(self) -> Iterator[Estimate]:
        return iter(self.estimates)

    @cached_property
    def frame_index(self) -> NDArray[np.int64]:
        """(n,) index of each frame in its clip."""
        return np.array([e.frame_index for e in self.estimates], np.int64)

    @cached_property
    def times_s(self) -> F64:
        """(n,) acquisition time of each frame, s."""
        return np.array([e.time_s for e in self.estimates], np.float64)

    @cached_property
    def states(self) -> tuple[Track, ...]:
        """State of the tracker at each frame: tracking, coasting or lost."""
        return tuple(e.state for e in self.estimates)

    @cached_property
    def tip_px(self) -> F64:
        """(n, 2) column and row of the tip, px. Rows of lost frames are NaN, in this array only."""
        tips = [e.tip_px if isinstance(e, TipEstimate) else (math.nan, math.nan) for e in self.estimates]
        return np.array(tips, np.float64).reshape(-1, 2)

    @cached_property
    def tip_mm(self) -> F64 | None:
        """(n, 2) x and y of the tip in the image, mm. Rows of lost frames are NaN. None if the scale is unknown."""
        return None if self.spacing is None else self.tip_px * (self.spacing.x_mm, self.spacing.y_mm)

    @property
    def spacing(self) -> Spacing | None:
        """Scale of the images, mm per px. None if it is unknown."""
        return self.source.spacing

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each picture among stills, by frame. Empty for a clip."""
        return self.source.names

    def rows(self) -> list[TipRow]:
        """One row for each frame, as in tips.csv, but not rounded. Fields of lost frames are None."""
        names = self.names
        return [TipRow.of(e, self.spacing, names[e.frame_index] if names else None) for e in self.estimates]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can say it."""
        return {
            "method": self.method,
            "source": to_dict(self.source),
            "counts": to_dict(self.counts),
            "scale": scale_note(self.spacing, "`spacing_mm`"),
            "timing": {stage: percentiles_ms(ms) for stage, ms in self.times_ms.items()},
            "configuration": to_dict(self.configuration),
            "tips": [to_dict(row) for row in self.rows()],
        }

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each frame. Raises MissingExtraError without pandas."""
        columns = ("frame", "time_s", "state", "tip_x_px", "tip_y_px", "tip_x_mm", "tip_y_mm")
        numbers = ("angle_deg", "sd_along_mm", "sd_across_mm", "confidence")
        further = (*(PIXEL_COLUMNS if self.spacing is None else ()), *((NAME_COLUMN,) if self.names else ()))
        table = [
            (
                *(r.frame, r.time_s, r.state, *(r.tip_px or (None, None)), *(r.tip_mm or (None, None))),
                *(getattr(r, n) for n in (*numbers, *further)),
            )
            for r in self.rows()
        ]
        return data_frame(table, (*columns, *numbers, *further))

    def save(self, folder: str | Path) -> Path:
        """Write tips.csv and summary.json into a folder, which is made. Return it."""
        out = Path(folder)
        with claimed_folder(out), TipsWriter(out / "tips.csv", self.spacing, self.names) as tips:
            for estimate in self.estimates:
                tips.add(estimate)
            summary = {k: v for k, v in self.to_dict().items() if k != "tips"}
            write_summary(out / "summary.json", {**summary, "versions": versions()})
        return out

    def __repr__(self) -> str:
        return f"<TrackResult of {self.source.name} by {self.method}: {_count_states(self.states)}>"

    def _repr_html_(self) -> str:
        rows = [("clip", self.source.name), ("method", self.method), ("frames", _count_states(self.states))]
        return html_table(("", ""), rows)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of a track against the truth, matched by frame."""

    errors: TipErrors
    """Error of each tracked frame that has a truth."""
    numbers: Mapping[str, Any]
    """Their statistics, as `sonosteer evaluate --json` prints them. None where there is nothing to average."""

    def __getitem__(self, name: str) -> Any:
        return self.numbers[name]

    @property
    def mean_mm(self) -> float | None:
        """Mean distance of the tip from the truth over the tracked frames, mm. None without a scale or a frame."""
        return self.numbers["mean_mm"]  # type: ignore[no-any-return]

    @property
    def mean_px(self) -> float | None:
        """Mean distance of the tip from the truth over the tracked frames, px. None without a frame."""
        return self.numbers["mean_px"]  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """The statistics as JSON can say them."""
        return dict(self.numbers)

    def __repr__(self) -> str:
        n = self.numbers
        tracked = f"{n['tracked']} of {n['frames']} frames tracked"
        if self.mean_px is None:
            return f"<Evaluation: {tracked}>"
        unit = "px" if self.mean_mm is None else "mm"
        return f"<Evaluation: {n[f'mean_{unit}']:.2f} {unit} mean, {n[f'p95_{unit}']:.2f} {unit} at 95 %, {tracked}>"


class SimulatedClip(FramesInMemory):
    """A simulated clip in memory, with the truth of every frame. `track` takes it as it is.

    Its frames are numbered from 0, also where it is a part of a longer simulation.
    """

    def __init__(self, info: SourceInfo, frames: Sequence[Frame], truths: Sequence[NeedleTruth], scene: Scene) -> None:
        numbered = [dataclasses.replace(frame, index=i) for i, frame in enumerate(frames)]
        super().__init__(numbered)
        self.info = dataclasses.replace(info, frames=len(numbered))
        self.truths = tuple(dataclasses.replace(truth, frame_index=i) for i, truth in enumerate(truths))
        self.scene = scene

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, i: int) -> Frame:
        return self._frames[i]

    @cached_property
    def pixels(self) -> U8:
        """(n, rows, columns) grey levels from 0 to 255."""
        return np.stack([f.grey() for f in self._frames])

    def truth(self, index: int) -> NeedleTruth:
        """Truth of a frame by its index. Raises KeyError for one that is not in the clip."""
        if not 0 <= index < len(self.truths):
            raise KeyError(index)
        return self.truths[index]

    def save(self, clip: str | Path, truth: str | Path | None = None) -> None:
        """Write a clip (.mp4, .mkv, .avi, .mha, or a folder of PNG) and, if asked for, its truth.csv."""
        writer = open_clip(Path(clip), self.info)
        try:
            for frame in self._frames:
                writer.add(frame.grey(), frame.time_s)
        finally:
            writer.close()
        if truth is not None:
            with TruthWriter(Path(truth)) as table:
                for each in self.truths:
                    table.add(each)

    def __repr__(self) -> str:
        return (
            f"<SimulatedClip {self.scene.name}: {len(self)} frames, {self.info.size_px[0]}x{self.info.size_px[1]} px>"
        )


def track(
    source: Clip,
    method: Method = "auto",
    *,
    hint: Hint | None = None,
    angle_deg: tuple[float, float] | None = None,
    enters: Side | None = None,
    start: Point | None = None,
    spacing_mm: SpacingMm | None = None,
    velocity_mm_s: float | str | Path | None = None,
    readings: str | Path | None = None,
    frames: FrameRange | None = None,
    crop: tuple[int, int, int, int] | None = None,
    stills: bool = False,
    settings: Mapping[str, Any] | None = None,
    rate_hz: float = 20.0,
    seed: int = 0,
    seconds: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrackResult:
    """Track the needle's tip through a clip.

    source: a path, "sim:SETUP", a source, an array (n, rows, columns[, 3]), or an iterable of images or frames.
    method: a name ("auto" is recommended), `package.module:Class`, or a tracker of your own with `start` and `step`.
    What is known of the needle, if anything, is a `hint`, or its parts: `angle_deg`, the (low, high) direction from
    entry to tip from image +x downwards; `enters`, the side "left", "right" or "top"; `start`, the (x, y) of the tip in
    the first frame in px. spacing_mm: mm per pixel, where the source does not say it; without a scale positions are in
    px only. velocity_mm_s: measured insertion speed, or a CSV file of it, for the methods that need one. readings: a
    CSV file of what a robot's encoders said, for auto and vla. frames: slice(first, end). crop: (x, y, width, height)
    of the part of each picture to track in, px; results are in px of the whole picture. stills: each picture is tracked
    on its own; source is then a folder, a picture file, a list of them, or images. settings: of the method. rate_hz: of
    arrays. seed: of "sim:SETUP". seconds: how long to track a live source, "igtl://..." or "video:...", if not until
    `frames` or Ctrl-C end it; its frames are counted as they are seen. progress: called with the frames done.

    A picture that cannot be read is Lost, with the reason, and counted as `bad`. Raises InputError for what cannot be
    tracked. A source or a tracker that breaks off raises, too; the error's `kept` is the TrackResult up to there.
    Ctrl-C ends the run, and the result says so in its counts.
    """
    known = _hint(hint, angle_deg, enters, start)
    part = None if crop is None else _crop(crop)
    tracker, name = tracker_of(method, settings or {})
    in_crop(tracker, part).start(known)  # a hint that is not enough is refused before anything is read
    clip = _open(source, spacing_mm, rate_hz=rate_hz, seed=seed, stills=stills)
    stills = are_stills(clip.info, stills)
    first, end = _range(frames)
    check_clip(clip.info, first, crop=part, stills=stills)
    check_method(clip.info, tracker, name)
    shown = in_crop(tracker, part, clip.info.names)
    feed = _with_readings(_with_velocity(clip, velocity_mm_s), readings, tracker, name, stills=stills)
    seen, total = _Seen(), clip.info.frames
    ledger = FrameLedger(None if total is None else min(total if end is None else end, total) - first)
    shown.prepare()
    broke: SonosteerError | None = None
    told = progress or (lambda done: None)
    try:
        if is_live(clip):
            track_live(
                clip,  # type: ignore[arg-type]
                shown,
                known,
                ledger,
                start=first,
                stop=end,
                seconds=seconds,
                velocity_mm_s=_live_velocity(velocity_mm_s),
                watchers=(seen,),
                progress=lambda trouble, done: told(done),
            )
        else:
            track_frames(
                feed,
                shown,
                known,
                RealClock(),
                ledger,
                start=first,
                stop=end,
                stills=stills,
                watchers=(seen,),
                progress=told,
            )
    except SonosteerError as e:
        broke = e
    finally:
        if is_live(clip) and clip is not source:
            clip.close()
    estimates = tuple(seen.estimates)
    result = TrackResult(
        source=clip.info,
        method=name,
        estimates=estimates,
        truths=_truths_of(clip, estimates),
        counts=ledger.tracking_counts(),
        times_ms=dict(ledger.times_ms),
        configuration=_settings_of(tracker),
    )
    if broke is not None:
        broke.kept = result
        raise broke
    return result


def simulate(
    setup: str = "in-plane-linear",
    seed: int = 0,
    *,
    mode: str | None = None,
    frames: FrameRange | None = None,
    **scene: Any,
) -> SimulatedClip:
    """Simulate a clip, with the truth of every frame. The same seed gives the same clip.

    setup: "in-plane-linear", "in-plane-convex", "axial", a TOML file, or a set-up of your own as
    `package.module:NAME`; with "/train", "/validation" or "/test" (the default) behind it. mode: "ips" or "ipm" of
    in-plane-convex. frames: slice(first, end). scene: any field of `sonosteer.sim.scenes.Scene`, for example
    angle_deg=40. Fields of its parts go as a dictionary, as in artefacts={"dropped": 0.1}. Raises InputError for what
    there is not.
    """
    fields = {f"{k}.{n}": v for k, part in scene.items() if isinstance(part, Mapping) for n, v in part.items()}
    fields |= {k: v for k, v in scene.items() if not isinstance(v, Mapping)}
    fields |= {"mode": mode} if mode else {}
    source = SimulatedSource(setup, seed=seed, **fields)
    first, end = _range(frames)
    check_clip(source.info, first)
    drawn = list(source.frames(first, end))
    return SimulatedClip(source.info, drawn, [source.truth(f.index) for f in drawn], source.scene)


def evaluate(
    tips: TrackResult | str | Path,
    truth: SimulatedClip | Iterable[Truth] | str | Path | None = None,
    *,
    spacing_mm: SpacingMm | None = None,
    clip: Source | str | Path | None = None,
) -> Evaluation:
    """Measure the errors of a track against the truth, matched by frame.

    tips: a result, or the path of a tips.csv or of the folder it is in. truth: a simulated clip, truths, or the path of
    a truth.csv or of marks of another program; it may be left out for the result of a simulated clip. spacing_mm: mm
    per pixel, if it is not the one of the track. clip: needed only by markups of 3D Slicer in the world of a clip with
    poses. A frame without an estimate counts against the tracker. Raises InputError if there is nothing to compare, and
    for marks of another clip.
    """
    frames: int | None
    scale = spacing_of(spacing_mm)
    if isinstance(tips, TrackResult):
        rows, known, spacing = tips.rows(), tips.truths, tips.source.spacing
        name = tips.source.name
        place = place_by_scale(name, scale or spacing) if tips.source.world is None else in_world(name)
        frames, size_px = tips.source.frames, None if tips.names else tips.source.size_px
    else:
        path = Path(tips) / "tips.csv" if Path(tips).is_dir() else Path(tips)
        rows, known, spacing = read_tips(path), (), None
        frames, size_px = clip_behind(path)
        place = place_in_track(path, rows, scale)
    if truth is not None:
        if clip is not None:
            place = place_in(open_source(clip, spacing=scale) if isinstance(clip, str | Path) else clip)
        known = tuple(truths_in(truth, place))
        where = Path(truth) if isinstance(truth, str | Path) else Path("`truth`")
        check_truth(where, known, frames=frames, size_px=size_px)
    if not known:
        raise InputError("`truth` is missing: the clip does not know where the needle was")
    errors = tip_errors(rows, known, scale or spacing)
    return Evaluation(errors, figures_of(rows, known, errors, size_px=size_px))


def draw(frame: Frame, estimate: Estimate, truth: Truth | None = None) -> U8:
    """Draw what is believed of a frame over it: shaft, tip, 95 % ellipse, state. Return (rows, columns, 3) RGB.

    truth: where the tip really was gets a cross.
    """
    return draw_overlay(frame, estimate, truth)


# -- what was given, read into what the loop takes --------------------------------------------------------------


class _Seen:
    """Watches a run and keeps the estimates."""

    def __init__(self) -> None:
        self.estimates: list[Estimate] = []

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        self.estimates.append(estimate)


def _hint(hint: Hint | None, angle_deg: tuple[float, float] | None, enters: Side | None, start: Point | None) -> Hint:
    if hint is not None:
        if (angle_deg, enters, start) != (None, None, None):
            raise InputError("`hint` says it all: give either `hint`, or `angle_deg`, `enters` and `start`")
        return hint
    if enters not in (None, "left", "right", "top"):
        raise InputError(f"`enters` is {enters!r}: left, right and top are possible")
    angle_rad = None
    if angle_deg is not None:
        low, high = _pair(angle_deg, "angle_deg", "(low, high) in degrees, for example (30, 40)")
        if not 0 <= low < high <= 180:
            raise InputError(f"`angle_deg` is {angle_deg}: it must be (low, high) between 0 and 180 degrees")
        angle_rad = math.radians(low), math.radians(high)
    return Hint(angle_rad, enters, None if start is None else _pair(start, "start", "(x, y) of the tip in pixels"))


def _pair(value: Any, name: str, wanted: str) -> tuple[float, float]:
    try:
        x, y = (float(v) for v in value)
    except (TypeError, ValueError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"`{name}` is {value!r}: give {wanted}")
    return x, y


def spacing_of(spacing_mm: SpacingMm | None) -> Spacing | None:
    """A scale as it may be given, mm per px. Raises InputError if it is none."""
    if spacing_mm is None or isinstance(spacing_mm, Spacing):
        return spacing_mm
    if isinstance(spacing_mm, int | float | np.number):
        return Spacing(float(spacing_mm), float(spacing_mm))
    x, y = _pair(spacing_mm, "spacing_mm", "mm per pixel, as in 0.1 or (0.1, 0.12)")
    return Spacing(x, y)


def _crop(crop: tuple[int, int, int, int]) -> Crop:
    try:
        left, top, width, height = (int(v) for v in crop)
        if (left, top, width, height) != tuple(crop):
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(f"`crop` is {crop!r}: give (x, y, width, height) in whole pixels") from None
    return Crop(left_px=left, top_px=top, width_px=width, height_px=height)


def _with_velocity(clip: Source, velocity_mm_s: float | str | Path | None) -> Source:
    return clip if velocity_mm_s is None or is_live(clip) else WithVelocity(clip, _velocity(velocity_mm_s))


def _with_readings(
    feed: Source, readings: str | Path | None, tracker: Tracker[Any], name: str, *, stills: bool
) -> Source:
    """The clip with a robot's readings, if there are any. Raises InputError where they are of no use."""
    if readings is None:
        return feed
    check_readings(feed.info, tracker, name, live=is_live(feed), stills=stills)
    return WithReadings(feed, Path(readings))


def _velocity(velocity_mm_s: float | str | Path) -> float | Path:
    if isinstance(velocity_mm_s, str | Path):
        return Path(velocity_mm_s)
    if not math.isfinite(velocity_mm_s):
        raise InputError(f"`velocity_mm_s` is {velocity_mm_s}: give the insertion speed in mm/s, or a CSV file of it")
    return float(velocity_mm_s)


def _live_velocity(velocity_mm_s: float | str | Path | None) -> float | None:
    if isinstance(velocity_mm_s, str | Path):
        raise InputError("`velocity_mm_s`: a live source takes one speed in mm/s, tables are for recorded clips")
    return None if velocity_mm_s is None else float(_velocity(velocity_mm_s))  # type: ignore[arg-type]


def _range(frames: FrameRange | None) -> tuple[int, int | None]:
    first, end = (frames.start, frames.stop) if isinstance(frames, slice) else frames or (0, None)
    first = 0 if first is None else int(first)
    if first < 0 or (end is not None and end <= first) or (isinstance(frames, slice) and frames.step not in (None, 1)):
        raise InputError(f"`frames` is {frames}: give slice(first, end) with 0 <= first < end")
    return first, None if end is None else int(end)


def _open(source: Clip, spacing_mm: SpacingMm | None, *, rate_hz: float, seed: int, stills: bool) -> Source:
    spacing = spacing_of(spacing_mm)
    if stills and isinstance(source, list | tuple) and source and all(isinstance(each, str | Path) for each in source):
        return open_stills(source, spacing=spacing)
    if isinstance(source, str | Path):
        return open_stills([source], spacing=spacing) if stills else open_source(source, spacing=spacing, seed=seed)
    if isinstance(source, np.ndarray):
        return frames_of_array(source, spacing=spacing, rate_hz=rate_hz)
    if not callable(getattr(source, "frames", None)):
        if not isinstance(source, Iterable):
            raise InputError(
                f"{type(source).__name__} is no clip: give a path, a source, an array (n, rows, columns), or frames"
            )
        return FramesFromLoop(source, spacing=spacing, rate_hz=rate_hz, one_size=not stills)
    known: Source = source  # type: ignore[assignment]
    if not type(source).__module__.startswith("sonosteer."):
        known = PluggedInSource(source, f"source {type(source).__name__}")
    return known if spacing is None else WithSpacing(known, spacing)


def tracker_of(method: Method, settings: Mapping[str, Any]) -> tuple[Tracker[Any], str]:
    """The tracker behind a method, and its name. Raises InputError for a name or a setting that there is not."""
    if isinstance(method, str):
        return make_tracker(method, **settings), method
    name = name_of(method)
    made = construct(method, settings, f"method {name}") if isinstance(method, type) else method
    if settings and made is method:
        raise InputError(f"`settings` cannot be given for {name}, which is made already: give its class instead")
    ours = isinstance(made, PluggedIn) or type(made).__module__.startswith("sonosteer.")
    return (made if ours else plug_in_tracker(made, f"method {name}")), name


def name_of(method: Method) -> str:
    """Name of a method to show."""
    if isinstance(method, str):
        return method
    if isinstance(method, PluggedIn):
        return type(method.thing).__name__
    name = method.__name__ if isinstance(method, type) else type(method).__name__
    where = inspect.getmodule(method if isinstance(method, type) else type(method))
    reference = f"{where.__name__ if where else ''}:{name}"
    known = [k for k in TRACKERS.built_in if TRACKERS[k] == reference]
    return known[0] if known else name


def _settings_of(tracker: Any) -> dict[str, Any]:
    said = without_workspaces(to_dict(tracker))
    return said if isinstance(said, dict) else {}


def _truths_of(clip: Source, estimates: Sequence[Estimate]) -> tuple[Truth, ...]:
    truth = getattr(clip, "truth", None)
    if truth is None:
        return ()
    out = []
    for e in estimates:
        try:
            said = truth(e.frame_index)
        except KeyError:
            continue
        if said is not None:
            out.append(said)
    return tuple(out)


def truths_in(
    truth: SimulatedClip | Iterable[Truth] | str | Path, place: PlaceInPicture | None = None
) -> Iterable[Truth]:
    """What was given as truth: the rows of a table, the truths of a simulated clip, or truths.

    place: turns a position of 3D Slicer's markups into a place in the picture.
    """
    if isinstance(truth, str | Path):
        return read_truth(Path(truth), place=place)
    return truth.truths if isinstance(truth, SimulatedClip) else truth


# -- what is told -------------------------------------------------------------------------------------------------


def _count_states(states: Sequence[Track]) -> str:
    each = ", ".join(f"{states.count(state)} {state.value}" for state in Track)
    return f"{len(states)} frames, {each}"


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A small table for a notebook."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    top = line(head, "th") if any(head) else ""
    return f"<table>{top}{''.join(line(r, 'td') for r in rows)}</table>"


def data_frame(rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> Any:
    """A DataFrame. Raises MissingExtraError without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("a table as a DataFrame", "pandas", "pandas") from None
    return pd.DataFrame(rows, columns=list(columns))
