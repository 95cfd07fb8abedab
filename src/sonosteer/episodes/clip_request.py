"""What to track and how, as values that a file and another process can hold, and the job that comes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonosteer.calibration.record import read_calibration
from sonosteer.core.clock import RealClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.live import is_live
from sonosteer.core.protocols import Source, Tracker
from sonosteer.core.types import Hint, Truth
from sonosteer.episodes.clip_tracking import (
    ClipJob,
    are_stills,
    check_clip,
    check_exports,
    check_method,
    check_readings,
)
from sonosteer.episodes.cropping import Crop, in_crop
from sonosteer.recording.truths import check_truth, read_truth
from sonosteer.sources.calibrated import WithCalibration
from sonosteer.sources.identity import identity_words
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.publisher import Publisher, check_publishable
from sonosteer.sources.opening import LIVE, is_live_address, open_source, open_stills
from sonosteer.sources.poses import place_in
from sonosteer.sources.readings import WithReadings
from sonosteer.sources.velocity import WithVelocity
from sonosteer.trackers.table import make_tracker


@dataclass(frozen=True, kw_only=True)
class ClipRequest:
    """One clip, or stills that are tracked together."""

    sources: tuple[str, ...]
    """The clip as it was named. Several: pictures, each tracked on its own."""
    out: Path
    """Folder of the results."""
    method: str = "auto"
    """Name of the tracking method, or `package.module:Class`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method."""
    hint: Hint = field(default_factory=Hint)
    """What the user knows of the needle beforehand."""
    spacing: Spacing | None = None
    """Scale, mm per px. None: what the source says."""
    velocity: float | Path | None = None
    """Measured insertion speed, mm/s, or a CSV file of it. None: nobody measured it."""
    readings: Path | None = None
    """What a robot's encoders said beside the clip, a CSV file. None: nobody knows."""
    start: int = 0
    """Index of the first frame to track."""
    stop: int | None = None
    """Index of the frame to stop before. None: to the end of the clip."""
    crop: Crop | None = None
    """Part of each picture to track in. None: the whole picture."""
    stills: bool = False
    """Whether each picture is tracked on its own."""
    truth: Path | None = None
    """truth.csv or marks by hand to compare with. None: a simulated clip brings its own."""
    poses: str | None = None
    """Chain of transforms from the picture to the world. None: the only one that the file has."""
    calibration: Path | None = None
    """Image calibration that gives scale and world. None: what the source says."""
    probe: str | None = None
    """Transform of the probe to use with a calibration. None: the only one that the file has."""
    parquet: bool = False
    """Whether tips.parquet is written, too."""
    markups: bool = False
    """Whether the tip's way is written for 3D Slicer, too."""
    keep_identity: bool = False
    """Whether a patient's name stays where DICOM says it is."""
    identity: tuple[str, ...] = ()
    """Words of the patients of other clips that are tracked with it, lower case, that no result may hold."""
    seed: int = 0
    """Seed of a simulated clip."""
    seconds: float | None = None
    """How long to track a live source, s. None: until somebody ends it."""
    orientation: str | None = None
    """Where x and y of pictures over OpenIGTLink point, as in MF. None: as the sender says."""
    publish: str | None = None
    """Address at which what is known of each frame is published. None: nowhere."""
    target: Point | None = None
    """(column, row) of a place to publish beside the tip, px. None: there is none."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The command's words as typed, saved with the results."""

    @property
    def name(self) -> str:
        """Name of the clip to show."""
        first = self.sources[0]
        if len(self.sources) > 1:
            return f"{len(self.sources)} pictures"
        return first if first.startswith(("sim:", *LIVE)) else Path(first).name or first


def make_checked(request: ClipRequest) -> Tracker[Any]:
    """Build the method. Raises InputError for one that there is not, and for a hint that is not enough for it.

    Also for words that belong to live sources only, or to recorded ones only.
    """
    _check_live(request)
    check_calibration(request)
    tracker = make_tracker(request.method, **request.settings)
    in_crop(tracker, request.crop).start(request.hint)
    return tracker


def open_clip_of(request: ClipRequest) -> Source:
    """Open the clip. Raises InputError if nothing can open it."""
    if request.stills:
        return open_stills(request.sources, spacing=request.spacing)
    clip = open_source(
        request.sources[0],
        spacing=request.spacing,
        seed=request.seed,
        poses=request.poses,
        keep_identity=request.keep_identity,
        orientation=request.orientation,
    )
    return (
        clip
        if request.calibration is None
        else WithCalibration(clip, read_calibration(request.calibration), request.probe)
    )


def check_calibration(request: ClipRequest) -> None:
    """Raise InputError for options that a calibration leaves no room for."""
    if request.calibration is None and request.probe is not None:
        raise InputError("`probe` names the poses for a calibration: give `calibration`, too")
    if request.calibration is not None and request.spacing is not None:
        raise InputError("`calibration` says the scale: leave out `spacing_mm`")
    if request.calibration is not None and request.poses is not None:
        raise InputError("`calibration` leads to the world: leave out `poses`")
    if request.calibration is not None and request.stills:
        raise InputError("`calibration` is for a tracked sequence: leave out `stills`")


def _check_live(request: ClipRequest) -> None:
    """Raise InputError for words that do not go with the kind of source."""
    live = [each for each in request.sources if is_live_address(each)]
    if live and len(request.sources) > 1:
        raise InputError(f"{live[0]}: a live source is tracked alone")
    if live and request.stills:
        raise InputError(f"{live[0]}: `stills` is for pictures, not for a live source")
    if live and request.truth is not None:
        raise InputError(f"{live[0]}: `truth` is for recorded clips, nobody has marked what is not yet there")
    if live and request.calibration is not None:
        raise InputError(f"{live[0]}: `calibration` is for recorded sequences yet, give `spacing_mm` instead")
    if live and isinstance(request.velocity, Path):
        raise InputError("`velocity_mm_s`: a live source takes one speed in mm/s, tables are for recorded clips")
    if request.seconds is not None and not live:
        raise InputError("`seconds` is for live sources; `frames` A:B takes a part of a clip")
    if request.seconds is not None and not 0.0 < request.seconds < math.inf:
        raise InputError(f"`seconds` {request.seconds:g}: give a number of seconds above 0, e.g. 60")
    if request.target is not None and request.publish is None:
        raise InputError("`target` is published: give `publish` igtl://:PORT, too")


def check_none_live(sources: Sequence[str], publish: str | None) -> None:
    """Raise InputError if one of several sources is live, or they are to be published: one address has one stream."""
    live = next((each for each in sources if is_live_address(each)), None)
    if live is not None:
        raise InputError(f"{live}: a live source is tracked alone")
    if publish is not None:
        raise InputError("`publish` takes one source, and several were given")


def _publisher_of(request: ClipRequest, clip: Source) -> Publisher | None:
    if request.publish is None:
        return None
    address = parse_address(request.publish)
    check_publishable(address)
    clock = getattr(clip, "clock", None) or RealClock()
    return Publisher(address, clock, to_wall_s=getattr(clip, "to_wall_s", None), target=request.target)


def job_of(request: ClipRequest) -> ClipJob:
    """Open the clip and put together what `track_into_folder` needs. Raises InputError for what cannot be tracked."""
    tracker = make_checked(request)
    if is_live_address(request.sources[0]):
        tracker.prepare()  # before pictures come
    clip = open_clip_of(request)
    try:
        return _job_on(request, tracker, clip)
    except BaseException:
        if is_live(clip):
            clip.close()
        raise


def _job_on(request: ClipRequest, tracker: Tracker[Any], clip: Source) -> ClipJob:
    live, speed = is_live(clip), request.velocity
    stills = are_stills(clip.info, request.stills)
    check_clip(clip.info, request.start, crop=request.crop, stills=stills)
    check_method(clip.info, tracker, request.method)
    check_exports(clip.info, parquet=request.parquet, markups=request.markups)
    feed = clip if speed is None or live else WithVelocity(clip, speed)
    if request.readings is not None:
        check_readings(clip.info, tracker, request.method, live=live, stills=stills)
        feed = WithReadings(feed, request.readings)
    return ClipJob(
        source=clip,
        feed=feed,
        tracker=tracker,
        hint=request.hint,
        out=request.out,
        truth_of=truth_of(clip, request.truth),
        name=request.name if len(request.sources) == 1 else clip.info.name,
        method=request.method,
        seed=request.seed,
        options=request.options,
        start=request.start,
        stop=request.stop,
        crop=request.crop,
        stills=stills,
        parquet=request.parquet,
        markups=request.markups,
        identity=() if request.keep_identity else (*identity_words(clip), *request.identity),
        seconds=request.seconds,
        velocity_mm_s=speed if isinstance(speed, float) and live else None,
        publisher=_publisher_of(request, clip),
    )


def truth_of(clip: Source, marks: Path | None) -> Callable[[int], Truth | None]:
    """The truth of a frame: of the table that was named, or of the simulation. Raises InputError for another clip's."""
    if marks is not None:
        known = read_truth(marks, place=place_in(clip))
        check_truth(marks, known, frames=clip.info.frames, size_px=clip.info.size_px)
        return {t.frame_index: t for t in known}.get
    if clip.info.kind == "simulated":
        from sonosteer.sources.simulated import SimulatedSource  # brings the simulator, which other clips do without

        if isinstance(clip, SimulatedSource):
            return clip.truth
    return _unknown


def _unknown(frame: int) -> Truth | None:
    return None
