"""Real tracks that a user supplies: `needlebench --real DIR` with DIR/manifest.toml. The project ships none.

```
[[track]]
name = "clarius-1"                    # unlike any other
source = "ph_1_3_1.mp4"               # any source that sonosteer track opens, relative to DIR
sha256 = "5f0c..."                    # of that file
marks = "hand_marks.csv"              # frame,tip_x_px,tip_y_px[,visible,uncertainty_px], left out without a needle
marks_sha256 = "91ab..."
licence = "MIT"
origin = "https://github.com/..."     # where it is from
needle = true                         # false: no frame has a needle
frames = [0, 440]                     # optional: from, to
enters = "right"                      # optional
spacing_mm = [0.0355, 0.0355]         # optional
```

Only frames with a mark have a score. All are shown to the tracker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonosteer.core.config import from_dict, load_toml
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Frame, Truth
from sonosteer.recording.truths import read_truth
from sonosteer.sources.opening import open_source
from sonosteer.sources.poses import place_in

MANIFEST = "manifest.toml"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One `[[track]]` of a manifest."""

    name: str
    """Name of the track, unlike any other."""
    source: str
    """File of the clip, relative to the manifest."""
    sha256: str
    """SHA-256 of that file, 64 hexadecimal digits."""
    licence: str
    """Licence that allows its use."""
    origin: str
    """Where it is from."""
    marks: str = ""
    """CSV file of its marks, relative to the manifest. Empty: no frame has a needle."""
    marks_sha256: str = ""
    """SHA-256 of that file. Empty without marks."""
    needle: bool = True
    """False: no frame has a needle, and there are no marks."""
    frames: tuple[int, int] | None = None
    """First frame, and the one to stop before. None: all."""
    enters: str = ""
    """left, right or top. Empty: nobody says."""
    spacing_mm: tuple[float, float] | None = None
    """Width and height of a pixel, mm. None: as the file says."""


@dataclass(frozen=True, kw_only=True)
class RealTrack:
    """A real clip and its marks."""

    name: str
    """Name of the track."""
    path: Path
    """File of the clip."""
    begin: int
    """Index of the first frame that is shown."""
    end: int | None
    """Index of the frame to stop before. None: all."""
    spacing: Spacing | None
    """Millimetres per pixel. None: as the file says."""
    enters: str
    """Side of the image at which the needle enters. Empty: nobody says."""
    marks: tuple[Truth, ...]
    """Marks of the shown frames, counted from `begin`."""
    size_px: tuple[int, int]
    """Width and height of the frames, px."""
    licence: str
    """Licence that allows its use."""
    origin: str
    """Where it is from."""
    group: str = "real"
    """Always "real"."""

    @property
    def first_seen(self) -> int | None:
        """Index of the first frame with a mark of a tip that can be seen. None if there is none."""
        return next((t.frame_index for t in self.marks if t.visible and t.tip_px is not None), None)

    @property
    def click_px(self) -> Point | None:
        """The first mark, px: (column, row). None if there is none."""
        return next((t.tip_px for t in self.marks if t.visible and t.tip_px is not None), None)

    def truths(self) -> list[Truth]:
        """The marks."""
        return list(self.marks)

    def frames(self) -> Iterator[Frame]:
        """Read the frames."""
        source = open_source(self.path, spacing=self.spacing)
        try:
            yield from source.frames(self.begin, self.end)
        finally:
            source.close()


def read_manifest(folder: Path) -> tuple[RealTrack, ...]:
    """Read DIR/manifest.toml and check every file against its hash. Raises InputError with what is wrong."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder} has no {MANIFEST}: it names each real track (docs: needlebench, real tracks)")
    table = load_toml(path)
    rows = table.get("track")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"{path} names no track: write [[track]] with name, source, sha256, licence and origin")
    missing = ("name", "source", "sha256", "licence", "origin")
    entries = []
    for k, row in enumerate(rows, 1):
        lack = [key for key in missing if not row.get(key)]
        if lack:
            raise InputError(f"{path}, track {k} says no {lack[0]}")
        entries.append(from_dict(ManifestEntry, _tuples(row), f"{path}, track {k}"))
    names = [e.name for e in entries]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise InputError(f"{path} names track {twice!r} twice")
    return tuple(_track(folder, path, e) for e in entries)


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}


def _track(folder: Path, manifest: Path, entry: ManifestEntry) -> RealTrack:
    where = f"{manifest}, track {entry.name}"
    _check_hash(folder / entry.source, entry.sha256, where)
    if entry.needle and not entry.marks:
        raise InputError(f"{where} has no marks: name their file, or say needle = false")
    if not entry.needle and entry.marks:
        raise InputError(f"{where} says needle = false and has marks: leave one of them out")
    spacing = None if entry.spacing_mm is None else Spacing(*entry.spacing_mm)
    source = open_source(folder / entry.source, spacing=spacing)
    count, size = source.info.frames, source.info.size_px
    begin, end = entry.frames or (0, count)
    if begin < 0 or (end is not None and end <= begin) or (count is not None and begin >= count):
        raise InputError(f"{where}: frames {begin} to {end} are not in {entry.source}, which has {count}")
    if entry.enters not in ("", "left", "right", "top"):
        raise InputError(f"{where}: enters is {entry.enters!r}; left, right and top are possible")
    marks: tuple[Truth, ...]
    if entry.needle:
        _check_hash(folder / entry.marks, entry.marks_sha256, where)
        read = read_truth(folder / entry.marks, place=place_in(source))
        inside = [t for t in read if t.frame_index >= begin and (end is None or t.frame_index < end)]
        marks = tuple(replace(t, frame_index=t.frame_index - begin) for t in inside)
        if not marks:
            raise InputError(f"{where}: {entry.marks} has no mark of the frames {begin} to {end}")
        _check_inside(marks, size, f"{where}: {entry.marks}", begin)
    else:
        if count is None:
            raise InputError(f"{where}: {entry.source} does not say how many frames it has: give frames")
        marks = tuple(_nothing(i) for i in range(min(end or count, count) - begin))
    source.close()
    return RealTrack(
        name=entry.name,
        path=folder / entry.source,
        begin=begin,
        end=end,
        spacing=spacing,
        enters=entry.enters,
        marks=tuple(sorted(marks, key=lambda t: t.frame_index)),
        size_px=size,
        licence=entry.licence,
        origin=entry.origin,
    )


def _check_inside(marks: tuple[Truth, ...], size_px: tuple[int, int], where: str, begin: int) -> None:
    for mark in marks:
        if mark.tip_px is None:
            continue
        x, y = mark.tip_px
        if not (-0.5 <= x <= size_px[0] - 0.5 and -0.5 <= y <= size_px[1] - 0.5):
            raise InputError(
                f"{where}: the tip {x:g},{y:g} of frame {mark.frame_index + begin} lies outside the picture, which is "
                f"{size_px[0]}x{size_px[1]}"
            )


def _nothing(index: int) -> Truth:
    return Truth(index, None, None, None, visible=False, depth_mm=None, velocity_mm_s=None)


def _check_hash(path: Path, wanted: str, where: str) -> None:
    if not path.is_file():
        raise InputError(f"{where}: there is no file {path}")
    with path.open("rb") as f:
        found = hashlib.file_digest(f, "sha256").hexdigest()
    if found != wanted.lower():
        raise InputError(f"{where}: {path.name} has the SHA-256 {found}, and the manifest says {wanted or 'nothing'}")
