"""The clip room: what a person does to one clip, and what every tab is told of it.

It belongs to one asyncio loop. Tabs hear of every change, whoever made it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sonosteer.console.clip_frames import ClipFrames, ShownPicture
from sonosteer.console.doubtful import doubtful_frames
from sonosteer.console.jobs import Job, Jobs, News
from sonosteer.console.label_book import TABLE, Change, ConflictError, LabelBook, ScaleSaid, Tip
from sonosteer.console.room import PROTOCOL, Listener, Told
from sonosteer.console.tracks import MAX_TRACKS, HeldTrack, pair_of, rows_of
from sonosteer.console.words import (
    Cancel,
    Export,
    ForgetTrack,
    LayRuler,
    LookAtScreen,
    PlaceLabel,
    Redo,
    SeekFrame,
    SettleOutside,
    StartTrack,
    TabWord,
    TypeScale,
    Undo,
)
from sonosteer.console.worker import ClipPlace, DataSetWork, OverlayWork, ScreenWork, TrackWork
from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.geometry import Spacing
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.core.types import Estimate, Hint
from sonosteer.trackers.table import TRACKERS

FORMATS_AFTER_S = 1.5  # chosen: the first picture is there by then
LOOK_S = 1.0  # chosen: soon enough to say that a file was changed
ROWS_IN_MESSAGE = 2000  # chosen: half a megabyte in a message


@dataclass(frozen=True, slots=True)
class OpenedClip:
    """The clip of a room, and where what is made of it goes."""

    where: str
    """Its path, or sim:SETUP."""
    seed: int
    """Seed of sim:SETUP, no unit."""
    out: Path
    """Folder of labels and exports."""
    run: str
    """Name of this console, new each time, so that a tab of yesterday is told apart."""
    beside: tuple[tuple[str, str], ...] = ()
    """Name and address of other rooms that the same console serves."""


@dataclass
class ClipRoom:
    """One clip, its labels, its tracks, and the tabs that look at it."""

    opened: OpenedClip
    """The clip."""
    clip: ClipFrames
    """Its pictures."""
    book: LabelBook
    """Its labels."""
    jobs: Jobs
    """The worker."""
    tabs: set[Listener] = field(default_factory=set)
    """Who is told."""
    tracks: dict[str, HeldTrack] = field(default_factory=dict)
    """Tracks by name."""
    work: dict[int, Told] = field(default_factory=dict)
    """Work that waits or goes on, as tabs are told of it, by its job, no unit."""
    screen: Told | None = None
    """What `calibrate screen` found. None: nobody asked."""
    formats: tuple[str, ...] = ()
    """Formats of data sets. Empty until they have been looked up."""
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    # -- pictures ------------------------------------------------------------------------------------------------

    @property
    def ways(self) -> int:
        """Number of pictures that are shown at a time."""
        return 1

    def picture(self, wish: SeekFrame) -> ShownPicture:
        """The picture that a tab asked for."""
        return self.clip.picture(wish.index, exact=wish.exact)

    def frames(self, way: int) -> int:
        """Number of frames of the clip."""
        return self.clip.info.frames or 0

    def close(self) -> None:
        """End the worker."""
        self.jobs.close()

    # -- telling -------------------------------------------------------------------------------------------------

    def tell_all(self, said: Told) -> None:
        """Tell every tab."""
        for tab in self.tabs:
            tab.tell(said)

    def hello(self, tab: Listener) -> None:
        """Tell a new tab everything."""
        info = self.clip.info
        tab.tell(
            {
                "t": "hello",
                "v": PROTOCOL,
                "run": self.opened.run,
                "room": "clip",
                "beside": [list(room) for room in self.opened.beside],
                "clip": {
                    **{"name": info.name, "kind": info.kind, "size_px": list(info.size_px), "frames": info.frames},
                    **{"rate_hz": info.rate_hz, "spacing_mm": pair_of(info.spacing), "notes": list(info.notes)},
                },
                "methods": [{"name": name, "needs": _needs(name)} for name in TRACKERS],
                "formats": list(self.formats),
                "out": str(self.opened.out),
                "notice": NOT_A_DEVICE,
            }
        )
        tab.tell(self._labels())
        tab.tell(self._scale())
        tab.tell({"t": "can", **self._can(tab.name)})
        for track in self.tracks.values():
            tab.tell({"t": "track", **track.told(), "fresh": True})
            rows = rows_of(track.estimates[k] for k in sorted(track.estimates))
            for i in range(0, len(rows), ROWS_IN_MESSAGE):
                tab.tell({"t": "rows", "track": track.name, "rows": rows[i : i + ROWS_IN_MESSAGE]})
        for said in (*self.work.values(), self._doubtful(), self._trouble()):
            tab.tell(said)
        if self.screen is not None:
            tab.tell(self.screen)

    def _labels(self) -> Told:
        labels = self.book.labels()
        rows = [[frame, _tip(labels.get(frame)), revision] for frame, revision in self.book.revisions().items()]
        return {"t": "labels", "labels": rows}

    def _scale(self) -> Told:
        said, own = self.book.scale, self.clip.info.spacing
        if said is not None:
            return {"t": "scale", "spacing_mm": pair_of(said.spacing), "how": said.how, "given": True}
        how = "the file says so" if own is not None else "unknown: positions are in pixels"
        return {"t": "scale", "spacing_mm": pair_of(own), "how": how, "given": False}

    def _can(self, tab: str) -> dict[str, bool]:
        undo, redo = self.book.can(tab)
        return {"undo": undo, "redo": redo}

    def _doubtful(self) -> Told:
        tracks = [t.estimates for t in self.tracks.values()]
        side = float(max(self.clip.info.size_px))
        found = doubtful_frames(tracks, self.book.labels().keys(), side) if tracks else []
        return {"t": "doubtful", "frames": [[d.frame, d.why] for d in found]}

    def _trouble(self) -> Told:
        return {"t": "trouble", "outside": self.book.outside, "table": self.book.trouble}

    # -- what tabs say ---------------------------------------------------------------------------------------

    async def hear(self, tab: Listener, word: TabWord) -> None:
        """Do what a tab asks for, and answer it."""
        number = getattr(word, "id", None)
        try:
            said = await self._do(tab, word)
        except ConflictError as e:
            tab.tell({"t": "said", "id": number, "ok": False, "conflict": True, "reason": str(e)})
            tab.tell(self._labels())
        except SonosteerError as e:
            tab.tell({"t": "said", "id": number, "ok": False, "reason": str(e)})
        else:
            tab.tell({"t": "said", "id": number, "ok": True, **(said or {})})

    async def _do(self, tab: Listener, word: TabWord) -> Told | None:
        match word:
            case PlaceLabel():
                return await self._change(tab, lambda: self.book.put(tab.name, word.frame, word.tip, word.base))
            case Undo():
                return await self._change(tab, lambda: self.book.undo(tab.name))
            case Redo():
                return await self._change(tab, lambda: self.book.redo(tab.name))
            case LayRuler() | TypeScale():
                scale = self._ruler(word) if isinstance(word, LayRuler) else _typed(word)
                return await self._change(tab, lambda: self.book.put_scale(tab.name, scale))
            case SettleOutside():
                return await self._settle(word)
            case StartTrack():
                return self._track(word)
            case ForgetTrack():
                self._forget(word)
                return None
            case Cancel():
                if not self.jobs.leave_off(word.job):
                    raise InputError("there is no such work any more")
                return None
            case LookAtScreen():
                job = self.jobs.put("looking for the ruler on the screen", ScreenWork(self._clip()), self._heard_screen)
                return {"job": job.number}
            case Export():
                return self._export(word)
        raise InputError(f"{type(word).__name__} is no word of this room")

    async def _change(self, tab: Listener, make: Callable[[], Change]) -> Told:
        """Change labels or scale in a thread, one at a time, and tell everybody."""
        async with self._writing:
            change = await asyncio.to_thread(make)
            self._tell_change(change)
        tab.tell({"t": "can", **self._can(tab.name)})
        return {"frame": change.frame, "revision": change.revision}

    def _tell_change(self, change: Change) -> None:
        if change.frame is None:
            self.tell_all(self._scale())
        else:
            now = self.book.labels().get(change.frame)
            row = {"frame": change.frame, "tip": _tip(now), "revision": self.book.revision(change.frame)}
            self.tell_all({"t": "label", **row, "by": change.tab})
            self.tell_all(self._doubtful())
        self.tell_all(self._trouble())

    async def _settle(self, word: SettleOutside) -> Told:
        async with self._writing:
            changes = await asyncio.to_thread(lambda: self.book.settle(take=word.take))
        self.tell_all(self._labels())
        self.tell_all(self._doubtful())
        self.tell_all(self._trouble())
        return {"taken": len(changes)}

    async def watch(self) -> None:
        """Look up what takes long to import, then look again and again whether the labels were changed outside."""
        await asyncio.sleep(FORMATS_AFTER_S)
        self.formats = await asyncio.to_thread(_formats)
        self.tell_all({"t": "formats", "formats": list(self.formats)})
        while True:
            await asyncio.sleep(LOOK_S)
            async with self._writing:
                changed = await asyncio.to_thread(self.book.look)
            if changed:
                self.tell_all(self._trouble())

    # -- scale ---------------------------------------------------------------------------------------------------

    def _spacing(self) -> Spacing | None:
        return self.book.scale.spacing if self.book.scale is not None else self.clip.info.spacing

    def _clip(self) -> ClipPlace:
        return ClipPlace(self.opened.where, self._spacing(), self.opened.seed)

    def _ruler(self, word: LayRuler) -> ScaleSaid:
        """The scale of a line. Pixels keep the shape that the file says, and are square where it says none."""
        own = self.clip.info.spacing
        shape = 1.0 if own is None else own.x_mm / own.y_mm
        dx, dy = word.end[0] - word.start[0], word.end[1] - word.start[1]
        length_px = math.hypot(dx * shape, dy)
        if not (length_px >= 5.0 and word.mm > 0):
            raise InputError("the ruler is too short: drag it over at least 5 pixels, and give its length in mm")
        y_mm = word.mm / length_px
        return ScaleSaid(Spacing(y_mm * shape, y_mm), f"ruler: {word.mm:g} mm = {length_px:.1f} px")

    # -- tracks --------------------------------------------------------------------------------------------------

    def _track(self, word: StartTrack) -> Told:
        info = self.clip.info
        if not 0 <= word.first < (info.frames or 0):
            raise InputError(f"there is no frame {word.first}")
        hint = _hint(word)
        if word.method not in TRACKERS:  # a name that the page did not offer is code that somebody would run
            raise InputError(f"there is no tracking method {word.method}")
        track = self._held(word)
        if track.job is not None:
            raise InputError(f"{track.name} is being tracked already")
        self.tracks[track.name] = track
        work = TrackWork(
            clip=self._clip(),
            method=word.method,
            hint=hint,
            first=word.first,
            velocity_mm_s=word.velocity_mm_s,
            crop=word.crop,
        )
        track.spacing = work.clip.spacing
        # who looks is told of a fresh track before its first rows
        self.tell_all({"t": "track", **track.told(), "fresh": word.into is None})
        job = self.jobs.put(f"tracking: {track.name}", work, lambda *said: self._heard_track(track, *said))
        return {"job": job.number, "track": track.name}

    def _held(self, word: StartTrack) -> HeldTrack:
        """The track to fill: one that is there, or a new one."""
        if word.into is not None:
            if word.into not in self.tracks:
                raise InputError(f"there is no track {word.into}")
            return self.tracks[word.into]
        name = _name(word)
        before = self.tracks.get(name)
        if before is not None and before.job is not None:
            raise InputError(f"{name} is being tracked already")
        taken = {t.number for t in self.tracks.values()}
        free = [n for n in range(1, MAX_TRACKS + 1) if n not in taken]
        if before is None and not free:
            raise InputError(f"{MAX_TRACKS} tracks are here: take one away first")
        number = before.number if before is not None else free[0]
        return HeldTrack(name, word.method, number, self._spacing())

    def _heard_track(self, track: HeldTrack, job: Job, news: News, more: tuple[Any, ...]) -> None:
        total = (self.clip.info.frames or 0) - (job.work.first if isinstance(job.work, TrackWork) else 0)
        if news == "rows":
            rows: list[Estimate] = more[0]
            track.estimates.update((e.frame_index, e) for e in rows)
            self.tell_all({"t": "rows", "track": track.name, "rows": rows_of(rows)})
            first = job.work.first if isinstance(job.work, TrackWork) else 0
            self._tell_work(job, "progress", ("frames", rows[-1].frame_index + 1 - first, total))
            return
        if news == "done":
            track.median_ms = more[0]["timing"]["median_ms"]
        track.job = None if news in ("done", "failed", "left off") else job.number
        track.state = {"failed": f"failed: {more[0] if more else ''}", "begun": "tracking"}.get(news, news)
        if news == "progress":
            track.state = "tracking"
        self._tell_work(job, news, more)
        if track.job is None and not track.estimates:  # it never began: nothing to show
            self.tracks.pop(track.name, None)
            self.tell_all({"t": "forgot", "track": track.name})
        else:
            self.tell_all({"t": "track", **track.told(), "fresh": False})
        if track.job is None:
            self.tell_all(self._doubtful())

    def _forget(self, word: ForgetTrack) -> None:
        track = self.tracks.get(word.track)
        if track is None:
            raise InputError(f"there is no track {word.track}")
        if track.job is not None:
            raise InputError(f"{track.name} is being tracked: stop that first")
        del self.tracks[word.track]
        self.tell_all({"t": "forgot", "track": word.track})
        self.tell_all(self._doubtful())

    # -- work ----------------------------------------------------------------------------------------------------

    def _tell_work(self, job: Job, news: News, more: tuple[Any, ...]) -> None:
        """Tell how far a piece of work is."""
        said: dict[str, Any] = {"t": "job", "id": job.number, "name": job.name, "state": news}
        if news == "progress":
            said |= {"stage": more[0], "done": more[1], "of": more[2]}
        elif news == "failed" or (news == "done" and isinstance(more[0], str)):
            said["says"] = more[0]
        if news in ("done", "failed", "left off"):
            self.work.pop(job.number, None)
        else:
            self.work[job.number] = said
        self.tell_all(said)

    def _heard_screen(self, job: Job, news: News, more: tuple[Any, ...]) -> None:
        if news == "done":
            self.screen = {"t": "screen", "found": more[0]}
            self.tell_all(self.screen)
            more = ("",)
        self._tell_work(job, news, more)

    # -- exports -------------------------------------------------------------------------------------------------

    def _export(self, word: Export) -> Told:
        out = self.opened.out
        if word.what == "labels":
            return {"file": str(out / TABLE), "get": "/export/labels.csv"}
        if word.what == "data set":
            return self._export_set(word.form)
        track = self.tracks.get(word.track or "")
        if track is None or not track.estimates:
            raise InputError("there is no track to export: track the clip first")
        if track.job is not None:
            raise InputError(f"{track.name} is being tracked: wait for its end, or stop it")
        plain = _plain(track.name)
        if word.what == "tips":
            path = out / f"tips-{plain}.csv"
            write_tips(path, track, self.clip.info.frames or 0, self.clip.info.rate_hz)
            return {"file": str(path), "get": f"/export/{path.name}"}
        tips = {k: v for k, v in self.book.labels().items() if isinstance(v, tuple)}
        clip = replace(self._clip(), spacing=track.spacing)
        work = OverlayWork(clip, out / f"overlay-{plain}.mp4", dict(track.estimates), tips)
        return {"job": self.jobs.put(f"overlay of {track.name}", work, self._tell_work).number}

    def _export_set(self, form: str | None) -> Told:
        if not self.book.labels():
            raise InputError("there is no label yet: a data set is made of labelled frames")
        if self._spacing() is None:
            raise InputError("a data set is in millimetres: give the scale first, by the ruler or by typing it")
        if form is not None and form not in self.formats:
            raise InputError(f"there is no format {form}; there are: {', '.join(self.formats)}")
        out = self.opened.out / _free(self.opened.out, "data-set" if form is None else f"data-set-{form}")
        marks = self._marks()
        work = DataSetWork(self._clip(), out, marks, form)
        return {"job": self.jobs.put(f"data set{'' if form is None else f' ({form})'}", work, self._tell_work).number}

    def _marks(self) -> Path:
        """The table of labels as `dataset import` reads it. Of a folder of pictures it names the pictures."""
        table, where = self.opened.out / TABLE, Path(self.opened.where)
        if self.book.trouble is not None:
            raise InputError(self.book.trouble)
        if self.book.outside is not None:
            raise InputError(f"{self.book.outside}: say first which of them holds")
        if self.clip.info.kind != "images" or not where.is_dir():
            return table
        named = self.opened.out / "labels-by-picture.csv"
        lines = ["image,tip_x_px,tip_y_px,visible"]
        for frame, tip in self.book.labels().items():
            name = self.clip.file_of(frame).relative_to(where).as_posix()
            lines.append(f"{name},,,0" if isinstance(tip, str) else f"{name},{tip[0]:.3f},{tip[1]:.3f},1")
        try:
            named.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as e:
            raise InputError(f"{named} cannot be written: {e.strerror}") from None
        return named


def write_tips(path: Path, track: HeldTrack, frames: int, rate_hz: float | None) -> None:
    """Write tips.csv of a track, a row for each frame of the clip. One that was not tracked is lost."""
    from sonosteer.core.types import Lost
    from sonosteer.recording.tips import TipsWriter

    with TipsWriter(path, track.spacing) as tips:
        for index in range(frames):
            tips.add(track.estimates.get(index) or Lost(index, index / (rate_hz or 20.0), "not tracked"))


def _hint(word: StartTrack) -> Hint:
    angle = None
    if word.angle_deg is not None:
        low, high = word.angle_deg
        if not 0 <= low < high <= 180:
            raise InputError("give the angle as LOW:HIGH in degrees, between 0 and 180, for example 30:40")
        angle = (math.radians(low), math.radians(high))
    return Hint(angle_rad=angle, enters=word.enters, start_px=word.start)


def _name(word: StartTrack) -> str:
    """Name of a track: its method, and what it was told."""
    told = [word.method]
    if word.start is not None:
        told.append(f"click in {word.first}")
    if word.enters is not None:
        told.append(f"from the {word.enters}")
    if word.angle_deg is not None:
        told.append(f"{word.angle_deg[0]:g}–{word.angle_deg[1]:g}°")
    return ", ".join(told)


def _needs(method: str) -> str | None:
    """What a method needs to be told, in words. None: nothing."""
    if method.partition("+")[0] in ("kfv", "pfv"):
        return "a scale, a hint and the speed of the needle"
    if method in ("csrt", "kcf", "mil", "lk"):
        return "a click on the tip"
    return {"auto": None, "vla": None, "axial": "a scale"}.get(method, "a scale, and a side, an angle or a click")


def _formats() -> tuple[str, ...]:
    from sonosteer.datasets.exporting import FORMATS  # brings the simulator

    return tuple(FORMATS)


def _typed(word: TypeScale) -> ScaleSaid | None:
    return None if word.spacing is None else ScaleSaid(Spacing(*word.spacing), word.how[:80])


def _tip(tip: Tip | None) -> Any:
    return list(tip) if isinstance(tip, tuple) else tip


def _plain(name: str) -> str:
    """A name as part of a file's name."""
    return "-".join("".join(c if c.isalnum() or c in "+." else " " for c in name).split()) or "track"


def _free(folder: Path, name: str) -> str:
    """The name, with a number where that is taken."""
    free, number = name, 1
    while (folder / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free
