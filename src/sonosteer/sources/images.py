"""Picture files: a folder of them as a clip, one still picture, or stills that have nothing to do with each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sonosteer.core.clip_comment import parse_clip_comment
from sonosteer.core.config import load_json
from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Probe, Spacing
from sonosteer.core.limits import check_limit
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels
from sonosteer.recording.tables import number, read_table
from sonosteer.sources.endings import ENDINGS, IMAGE_ENDINGS
from sonosteer.sources.picture_file import PicturePage, pages_of, read_picture


class PictureFiles:
    """Pictures, read one at a time: 8 or 16 bit, grey or colour (RGB). Transparent parts are black.

    A file of several pages is that many pictures. said: scale and probe. names: of stills. times_s: of each, None:
    1 / rate_hz apart. one_size: False for stills, which may differ in size. 16 bit: white is the smallest of 255, 511,
    1023 ... 65535 that holds the first, middle and last picture; of stills, each its own. notes: what was left out.
    Raises InputError if not one picture can be read.
    """

    def __init__(
        self,
        pages: Sequence[PicturePage],
        *,
        name: str,
        kind: str,
        said: tuple[Spacing | None, Probe | None] = (None, None),
        names: tuple[str, ...] = (),
        times_s: Sequence[float] | None = None,
        rate_hz: float = 20.0,
        one_size: bool = True,
        notes: tuple[str, ...] = (),
    ) -> None:
        check_limit(Path(name), len(pages), "SONOSTEER_MAX_FRAMES")
        self._pages, self._times_s, self._rate_hz, self._one_size = pages, times_s, rate_hz, one_size
        first = self._first_readable(name)
        self._white = _white_of([first, *self._some_others()]) if first.dtype == np.uint16 else 65535.0
        self.info = SourceInfo(
            name=name,
            kind=kind,
            size_px=(int(first.shape[1]), int(first.shape[0])),
            frames=len(pages),
            rate_hz=None if times_s else rate_hz,
            spacing=said[0],
            probe=said[1],
            names=names,
            notes=notes,
        )

    def _first_readable(self, name: str) -> Pixels:
        why: InputError | None = None
        for page in self._pages:
            try:
                return read_picture(page)
            except InputError as e:
                why = why or e
        assert why is not None
        raise why if len(self._pages) == 1 else InputError(f"{name}: no picture can be read, the first because {why}")

    def _some_others(self) -> Iterator[Pixels]:
        """The middle and the last picture, where they can be read."""
        for index in (len(self._pages) // 2, len(self._pages) - 1):
            try:
                yield read_picture(self._pages[index])
            except InputError:
                continue

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield pictures `start` to `stop`.

        Raises PictureError at one that cannot be read. Raises InputError at one of another size, except for stills.
        """
        for index in range(start, len(self._pages) if stop is None else min(stop, len(self._pages))):
            time_s = self._times_s[index] if self._times_s else index / self._rate_hz
            try:
                pixels = read_picture(self._pages[index])
            except InputError as e:
                raise PictureError(str(e), index, time_s) from None
            size = (int(pixels.shape[1]), int(pixels.shape[0]))
            if self._one_size and size != self.info.size_px:
                raise InputError(
                    f"{self._pages[index]}: frame {index} is {size[0]}x{size[1]}, the frames before it "
                    f"{self.info.size_px[0]}x{self.info.size_px[1]}; `stills` tracks each picture on its own"
                )
            yield Frame(
                pixels,
                index=index,
                time_s=time_s,
                spacing=self.info.spacing,
                probe=self.info.probe,
                full_scale=self._full_scale(pixels),
            )

    def _full_scale(self, pixels: Pixels) -> float:
        if pixels.dtype == np.uint8:
            return 255.0
        return self._white if self._one_size else _white_of([pixels])

    def file_of(self, index: int) -> Path:
        """The file that a picture is in, by its index. Raises IndexError if there is no such picture."""
        return self._pages[index].file

    def close(self) -> None:
        """Release nothing."""


class ImageFolder(PictureFiles):
    """The pictures of a folder as one clip, in natural order (frame2 before frame10), or one still picture.

    `times.csv` (frame,time_s) and `sequence.json` beside them give times, scale and probe, as `sonosteer simulate`
    writes them. Without them frames are 1 / rate_hz apart, and the scale is not known unless `spacing` gives it.
    """

    def __init__(self, path: Path, *, spacing: Spacing | None = None, rate_hz: float = 20.0) -> None:
        folder = path.is_dir()
        files, said = pictures_in(path) if folder else [path], _said_in(path)
        _check_none_stands_twice(files)
        pages = [page for file in files for page in pages_of(file)]
        times_s = _times_in(path, pages)
        one = not folder and len(pages) == 1
        super().__init__(
            pages,
            name=str(path),
            kind="still" if one else "images",
            said=(spacing or said[0], said[1]),
            names=(path.name,) if one else (),
            times_s=times_s,
            rate_hz=rate_hz,
            notes=_left_out(path) if folder else (),
        )


class StillPictures(PictureFiles):
    """Pictures that have nothing to do with each other, in the natural order of their names. Sizes may differ.

    They are the pictures of folders, and named files. `sequence.json` in the folder gives the scale where `spacing`
    does not. size_px is the size of the first one that can be read. Times are 1 / 20 s apart and mean nothing. Raises
    InputError for what does not exist or has not the ending of a picture, and if not one picture can be read.
    """

    def __init__(self, paths: Sequence[Path], *, spacing: Spacing | None = None) -> None:
        found = [file for path in paths for file in (pictures_in(path) if path.is_dir() else [_picture(path)])]
        files = sorted(found, key=lambda file: (_natural(file.name), _natural(str(file))))
        said = _said_in(paths[0]) if len(paths) == 1 else (None, None)
        pages = [page for file in files for page in pages_of(file)]
        plain = tuple(page.name for page in pages)
        super().__init__(
            pages,
            name=str(paths[0]) if len(paths) == 1 else f"{len(pages)} pictures",
            kind="stills",
            said=(spacing or said[0], said[1]),
            names=plain if len(set(plain)) == len(plain) else tuple(map(str, pages)),
            one_size=False,
        )


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order, without hidden files. Raises InputError if there are none.

    Raises InputError if there are DICOM files, too: which of them are the clip cannot be told.
    """
    files = [p for p in _files_in(folder) if p.suffix.lower() in IMAGE_ENDINGS]
    if not files:
        raise InputError(f"{folder} holds no pictures ({', '.join(sorted(IMAGE_ENDINGS))})")
    dicom = next((p for p in _files_in(folder) if p.suffix.lower() in ENDINGS["dicom"]), None)
    if dicom is not None:
        raise InputError(f"{folder} holds pictures and DICOM files, such as {dicom.name}: put them into folders apart")
    return sorted(files, key=lambda p: _natural(p.name))


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder whose names do not begin with a dot. macOS writes such ones beside its own."""
    try:
        return [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
    except OSError as e:
        raise InputError(f"{folder} cannot be read: {e.strerror}") from None


def _check_none_stands_twice(files: Sequence[Path]) -> None:
    """Raise InputError if a clip has two pictures of the same name and different endings: which one counts?"""
    stems = Counter(file.stem.lower() for file in files)
    stem, count = stems.most_common(1)[0]
    if count > 1:
        first, second = [file for file in files if file.stem.lower() == stem][:2]
        raise InputError(f"{first} and {second.name} seem to be the same frame: put one kind into a folder of its own")


def _left_out(folder: Path) -> tuple[str, ...]:
    """A line about clips that lie beside the pictures of a folder."""
    clips = ENDINGS["video"] | ENDINGS["metaimage"]
    names = sorted(p.name for p in _files_in(folder) if p.suffix.lower() in clips)
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (f"its pictures are read, and {names[0]}{more} beside them left out: name a clip to read it",)


def _picture(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.suffix.lower() not in IMAGE_ENDINGS:
        raise InputError(
            f"{path} is no picture: `stills` reads folders and files of {', '.join(sorted(IMAGE_ENDINGS))}"
        )
    return path


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def _said_in(folder: Path) -> tuple[Spacing | None, Probe | None]:
    """Scale and probe of the sequence.json in a folder, where there is one."""
    path = folder / "sequence.json"
    if not folder.is_dir() or not path.exists():
        return None, None
    data = load_json(path)
    try:
        return parse_clip_comment(str(data.get("comment", "")) if isinstance(data, dict) else "")
    except InputError as e:
        raise InputError(f"{path} is damaged: {e}") from None


def _times_in(folder: Path, pages: list[PicturePage]) -> list[float] | None:
    """Times of the times.csv in a folder, where there is one. A last picture that has no time yet is left out."""
    table = folder / "times.csv"
    if not folder.is_dir() or not table.exists():
        return None
    times_s = read_table(table, ("frame", "time_s"), lambda row: number(row, "time_s"))
    if len(times_s) == len(pages) - 1:
        pages.pop()  # a process that was killed had written this picture, but not yet its time
    if len(times_s) != len(pages):
        raise InputError(f"{table} gives {len(times_s)} times for {len(pages)} pictures")
    return times_s


def _white_of(pictures: Sequence[Pixels]) -> float:
    """The smallest of 255, 511, 1023 ... 65535 that holds all values."""
    top = max(int(p.max()) for p in pictures)
    return float((1 << max(8, top.bit_length())) - 1)
