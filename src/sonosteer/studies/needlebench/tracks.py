"""Frozen tracks of needlebench: which scenes are drawn, what was true in each frame, and what an answer costs.

A version is a set of tracks and a price list. The tracks are a file of this folder, `v1.json`, the same for versions 1
and 2. It holds for each track the scene's name, seed and settings, the truth of
each frame, a click by a person who is a little off, and small thumbnails of three frames. Scores use this truth. So
they do not hang on the last bits of a machine's sine. The frames are drawn anew. They may differ by a grey level
between processors (CONVENTIONS.md). The thumbnails tell whether they are still the same pictures.

Seeds begin at FIRST_SEED in the test split. Nothing is trained or chosen there, and no study draws so far.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

import cv2
import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.config import from_dict, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Frame, Truth
from sonosteer.metrics.clip_scores import CAP_FRACTION, SILENCE_COST
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.world import World

FIRST_SEED = 1_000_000_002
#: chosen: the thumbnails of a frame are so small that grain and compression average out, (columns, rows)
THUMBNAIL = (8, 6)
THUMBNAILED = 3  # chosen: first, middle and last frame
#: chosen: a thumbnail may differ by this from the frozen one, grey levels. Another scene differs by tens
MAX_GREY_OFF = 4
NEWEST = "2"
#: file of tracks -> SHA-256 of what it holds
TRACK_HASHES = {"1": "5137f1cc667352f3931f0cc8fdf18f5cdf794cd55da81cbd9487eedd8dc91b5d"}
#: version -> SHA-256 of its tracks and prices. Version 1 had no prices in its own
VERSION_HASHES = {"1": TRACK_HASHES["1"], "2": "5517fba8be43306abf9bff68548ed9cddc2e61eb390e1de92bace442160db522"}
#: chosen: a person's click is off by about 3 px on a picture of 700, as a fraction of the longer side, SD of x and of y
CLICK_SD = 0.004

#: groups of tracks in the order of tables, and what they are
GROUPS = {
    "clear": "in-the-wild, a tip that stands out among little clutter",
    "usual": "in-the-wild, between the two others",
    "hard": "in-the-wild, a faint tip or much that is as bright as the needle",
    "older": "in-plane-linear, in-plane-convex, in-plane-thin",
    "needle-free": "in-the-wild and in-plane-linear without a needle",
}


@dataclass(frozen=True, kw_only=True)
class BenchScoring:
    """What differs between the price lists of versions. Common to all is `metrics.clip_scores.frame_costs`."""

    reader_off: float
    """How far a reader's mark of a simulated tip may be off, as a fraction of the longer side. It costs nothing."""
    hidden_after_click: bool
    """Whether a frame with a hidden tip has a price after a click, which says that a needle is there."""


#: version -> its prices. In 2 the reader is the one who clicks: two standard deviations
SCORINGS = {
    "1": BenchScoring(reader_off=0.0, hidden_after_click=True),
    "2": BenchScoring(reader_off=2 * CLICK_SD, hidden_after_click=False),
}


@dataclass(frozen=True, kw_only=True)
class BenchTrack:
    """One clip and what was true in it."""

    name: str
    """Name of the track, unlike any other."""
    group: str
    """One of GROUPS, or "real"."""
    setup: str
    """Set-up and split of the scene."""
    seed: int
    """Seed of the scene."""
    overrides: Mapping[str, Any]
    """Settings of the scene beside its seed, by name."""
    size_px: tuple[int, int]
    """Width and height of the frames, px."""
    enters: str
    """Side of the image at which the needle enters. Told only to a method that refuses to start without."""
    times_s: tuple[float, ...]
    """Time of each frame, s."""
    tips_px: tuple[Point | None, ...]
    """True tip of each frame, px: (column, row). None where no needle is in the picture."""
    visible: tuple[bool, ...]
    """For each frame: can a person see the tip?"""
    click_px: Point | None
    """A click on the tip in the first frame that shows it, px: (column, row). None where no frame does."""
    contrast_db: float | None = None
    """Median contrast of the tip on the screen, dB. None without a needle or a display."""
    clutter: float | None = None
    """Fraction of the picture, away from the needle, as bright as the needle, 0 to 1. None without a needle."""
    thumbnails: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    """Thumbnails of three frames, row by row, grey levels 0 to 255."""

    @property
    def first_seen(self) -> int | None:
        """Index of the first frame whose tip can be seen. None if there is none."""
        return next((i for i, seen in enumerate(self.visible) if seen), None)

    def truths(self) -> list[Truth]:
        """The truth of each frame, as scores take it."""
        return [
            Truth(
                frame_index=i,
                time_s=self.times_s[i],
                tip_px=tip,
                angle_rad=None,
                visible=self.visible[i],
                depth_mm=None,
                velocity_mm_s=None,
            )
            for i, tip in enumerate(self.tips_px)
        ]

    def scene(self) -> Scene:
        """The scene that is drawn."""
        return make_scene(self.setup, self.seed, **dict(self.overrides))

    def frames(self) -> Iterator[Frame]:
        """Draw the frames. Raises InputError if they are no longer those that were frozen."""
        wanted = dict(zip(thumbnailed(len(self.times_s)), self.thumbnails, strict=True))
        for (frame, _), index in zip(World(self.scene()).frames(), range(len(self.times_s)), strict=False):
            if index in wanted:
                self._check(frame.grey(), wanted[index])
            yield frame

    def _check(self, grey: U8, wanted: Sequence[int]) -> None:
        now = thumbnail(grey)
        same = (grey.shape[1], grey.shape[0]) == self.size_px
        if not same or np.abs(np.array(now) - np.array(wanted)).max() > MAX_GREY_OFF:
            raise InputError(
                f"needlebench: track {self.name} is drawn otherwise than it was frozen: this version of sonosteer has "
                "another simulator; use the version that the leaderboard names"
            )


def thumbnailed(frames: int) -> list[int]:
    """Indices of the frames that have thumbnails."""
    return sorted({round(i * (frames - 1) / (THUMBNAILED - 1)) for i in range(THUMBNAILED)})


def thumbnail(grey: U8) -> tuple[int, ...]:
    """Grey levels of a small copy of a picture, row by row."""
    small = cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA)
    return tuple(int(v) for v in small.ravel())


@dataclass(frozen=True)
class BenchVersion:
    """A frozen set of tracks and prices."""

    name: str
    """Number of the version, as text."""
    digest: str
    """SHA-256 of all that is frozen, 64 hexadecimal digits."""
    tracks: tuple[BenchTrack, ...]
    """All tracks, in the order of GROUPS."""
    scoring: BenchScoring
    """What an answer costs."""
    tracks_digest: str
    """SHA-256 of the tracks alone. Answers hang on them, and not on prices."""

    def part(self, per_group: int) -> tuple[BenchTrack, ...]:
        """The first tracks of each group."""
        return tuple(t for g in GROUPS for t in [t for t in self.tracks if t.group == g][:per_group])


@lru_cache(maxsize=2)
def load_version(name: str = NEWEST) -> BenchVersion:
    """Read a frozen version. Raises InputError if there is none of this name, or if tracks or prices were changed."""
    if name not in VERSION_HASHES:
        raise InputError(f"needlebench has no version {name!r}; there are: {', '.join(VERSION_HASHES)}")
    text = (resources.files("sonosteer.studies.needlebench") / "v1.json").read_text(encoding="utf-8")
    packed = json.loads(text)
    tracks = content_digest(packed)
    digest = tracks if name == "1" else priced_digest(tracks, SCORINGS[name])
    if digest != VERSION_HASHES[name] or tracks != TRACK_HASHES["1"]:
        raise InputError(f"needlebench version {name} was changed: its hash is {digest[:16]}; install sonosteer again")
    return BenchVersion(name, digest, tuple(unpack_track(t) for t in packed["tracks"]), SCORINGS[name], tracks)


def priced_digest(tracks: str, scoring: BenchScoring) -> str:
    """SHA-256 of the hash of tracks and all prices."""
    prices = {**to_dict(scoring), "cap_fraction": CAP_FRACTION, "silence": SILENCE_COST}
    return content_digest({"tracks": tracks, "prices": prices})


def content_digest(packed: Mapping[str, Any]) -> str:
    """SHA-256 of what a version's file holds, however it is laid out."""
    return hashlib.sha256(json.dumps(packed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def pack_track(track: BenchTrack) -> dict[str, Any]:
    """A track for the version's file."""
    tips = [None if t is None else [round(t[0], 2), round(t[1], 2)] for t in track.tips_px]
    return {
        "name": track.name,
        "group": track.group,
        "setup": track.setup,
        "seed": track.seed,
        "overrides": dict(track.overrides),
        "size_px": list(track.size_px),
        "enters": track.enters,
        "times_s": [round(t, 6) for t in track.times_s],
        "tips_px": tips,
        "visible": [int(v) for v in track.visible],
        "click_px": None if track.click_px is None else [round(v, 1) for v in track.click_px],
        "contrast_db": track.contrast_db,
        "clutter": track.clutter,
        "thumbnails": [list(t) for t in track.thumbnails],
    }


def unpack_track(packed: Mapping[str, Any]) -> BenchTrack:
    """A track of the version's file."""
    values = {
        **packed,
        "size_px": tuple(packed["size_px"]),
        "times_s": tuple(packed["times_s"]),
        "tips_px": tuple(None if t is None else (t[0], t[1]) for t in packed["tips_px"]),
        "visible": tuple(bool(v) for v in packed["visible"]),
        "click_px": None if packed["click_px"] is None else tuple(packed["click_px"]),
        "thumbnails": tuple(tuple(t) for t in packed["thumbnails"]),
    }
    return from_dict(BenchTrack, values, "needlebench track")


def shown(frame: Frame, index: int, *, spacing: Spacing | None = None, velocity_mm_s: float | None = None) -> Frame:
    """The frame as a method is given it: pixels, number and time, and what the method refuses to work without."""
    return Frame(
        pixels=frame.pixels,
        index=index,
        time_s=frame.time_s,
        spacing=spacing,
        full_scale=frame.full_scale,
        velocity_mm_s=velocity_mm_s,
    )
