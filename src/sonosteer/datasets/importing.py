"""Imports a user's own labelled frames as a data set: `sonosteer dataset import`.

* a folder of pictures and a CSV file `image,tip_x_px,tip_y_px`, optionally `visible,video,split,time_s`. Without a
  column `video` the pictures of each sub-folder are a video.
* a clip (video file, MetaImage, DICOM cine) and a CSV file `frame,tip_x_px,tip_y_px`, optionally `visible`, and the
  other columns of truth.csv, which are left alone.
* either of them and marks of COCO, CVAT, Label Studio, DeepLabCut or 3D Slicer (`recording/marks`).

`uncertainty_px` may be there, too. It is left alone.

An empty tip says that there is none. Pictures and frames without a row are left out. Everything is checked before
anything is written.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.clip_comment import parse_clip_comment
from sonosteer.core.config import load_json
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.progress import StageProgress
from sonosteer.core.protocols import Source
from sonosteer.datasets.videos import (
    BOX_MM,
    FRAMES_FILE,
    LABELS,
    Entry,
    FramesWriter,
    Label,
    LabelWriter,
    write_index,
)
from sonosteer.recording.marks import ReadMark, is_foreign, marks_format, read_foreign_marks, with_frames
from sonosteer.recording.output_folder import begin_new, check_free, claimed_folder, finish_new
from sonosteer.recording.summary import versions
from sonosteer.recording.tables import number, optional, read_table, writing_failed
from sonosteer.recording.truths import MARK_COLUMNS, TRUTH_CSV_COLUMNS, UNCERTAINTY_COLUMN, read_truth
from sonosteer.sim.scenes import Split
from sonosteer.sources.identity import identity_words, without_identity
from sonosteer.sources.images import ImageFolder, PictureFiles
from sonosteer.sources.opening import kind_of, open_source
from sonosteer.sources.picture_file import pages_of
from sonosteer.sources.poses import place_in

NEEDED = ("image", "tip_x_px", "tip_y_px")
MORE = ("visible", "video", "split", "time_s")
CLIP_MORE = (*(c for c in TRUTH_CSV_COLUMNS if c not in MARK_COLUMNS), UNCERTAINTY_COLUMN)
RATE_HZ = 20.0  # of pictures without times


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of the user's table."""

    line: int
    """Its number in the file, counted from 1: a count of lines."""
    tip_px: Point | None
    """Marked tip, x and y, px. None: no tip."""
    visible: bool
    """Whether the tip can be seen."""
    picture: Path | None = None
    """Path of the picture. None in a clip."""
    frame: int = 0
    """Index of the frame in a clip. 0 for pictures."""
    video: str = ""
    """Name of the video that the picture belongs to. Empty in a clip."""
    split: str = ""
    """Split that the table asks for. Empty: it asks for none."""
    time_s: float | None = None
    """Time of the picture, s. None: the table gives none."""
    where: str = ""
    """Where it stands in a file of another program. Empty: in its line of a CSV file."""

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return self.where or f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Draft:
    """One video to write."""

    name: str
    """Folder of the video in the set."""
    marks: Sequence[Mark]
    """Labelled frames, in order."""
    size_px: tuple[int, int]
    """Width and height of the frames, px."""
    spacing: Spacing
    """Size of a pixel in mm."""
    source: str
    """File or folder that it comes from."""
    read: Callable[[Sequence[Mark]], Iterator[tuple[float, U8]]] = field(repr=False)
    """Yields time in s and (rows, columns) grey levels of each mark."""
    split: str = ""
    """Split that it goes to. Empty: not yet decided."""
    identity: tuple[str, ...] = ()
    """Words of a patient's identity, lower case, that the set may not hold."""
    notes: tuple[str, ...] = ()
    """What the source said while it was opened, a line each."""


def import_frames(
    source: Path,
    labels: Path | None,
    *,
    out: Path,
    spacing: Spacing | None,
    rate_hz: float,
    seed: int,
    command: str,
    progress: StageProgress,
    point: str | None = None,
    keep_identity: bool = False,
) -> dict[str, Any]:
    """Write a data set from `source` (folder or clip) and `labels` (default: labels.csv in the folder).

    labels: CSV, or a file of COCO, CVAT, Label Studio, DeepLabCut or 3D Slicer. point: name of the point that is the
    tip, where it has several. keep_identity: leaves in the pictures what a DICOM file says to be burned in.

    InputError, and nothing written, for whatever is wrong with them.
    """
    from sonosteer.datasets.card import describe

    check_free(out)
    if not 0.1 <= rate_hz <= 1000.0:
        raise InputError(f"`rate_hz` {rate_hz:g}: 0.1 to 1000 frames a second are possible")
    kind = kind_of(source)
    if labels is None:
        if kind != "images" or not source.is_dir():
            raise InputError(f"{source}: name the CSV file with its tips by `labels`")
        labels = source / "labels.csv"
    if kind == "images" and source.is_dir():
        drafts, left_out = _pictures(source, labels, spacing, rate_hz, progress, point)
    else:
        drafts, left_out = _clip(source, labels, spacing, point, keep_identity=keep_identity)
    drafts = _with_splits(drafts, seed)
    about = {
        "name": out.resolve().name,
        "seed": seed,
        "box_mm": BOX_MM,
        "command": without_identity(command, [w for d in drafts for w in d.identity]),
        "left_out": left_out,
        "versions": versions(),
    }
    _write(out, about, drafts, progress)
    notes = list(dict.fromkeys(note for d in drafts for note in d.notes))
    return {**describe(out), "left_out": left_out, "notes": notes}


# -- reading what the user has -------------------------------------------------------------------------------


def _rows(path: Path, needed: Sequence[str], more: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with these columns and no others."""
    rows: list[dict[str, str]] = read_table(path, needed, dict)
    if not rows:
        raise InputError(f"{path} has no rows")
    unknown = [k for k in rows[0] if k not in (*needed, *more)]
    if unknown:
        raise InputError(
            f"{path} has a column {unknown[0]!r}, which is not known; there are: {','.join((*needed, *more))}"
        )
    return rows


def _mark(path: Path, line: int, row: dict[str, str]) -> Mark:
    """What image and clip tables have in common. Raises InputError, which says what is wrong in which line."""
    try:
        x, y = optional(row, "tip_x_px"), optional(row, "tip_y_px")
        if (x is None) != (y is None):
            raise ValueError("one of tip_x_px and tip_y_px is empty")
        tip = None if x is None or y is None else (x, y)
        said = optional(row, "visible") if "visible" in row else None
        time_s = number(row, "time_s") if "time_s" in row and "image" in row else None
        split = (row["split"] or "").strip() if "split" in row else ""
        if "split" in row and split not in get_args(Split):
            raise ValueError(f"split is {split!r}; there are: {', '.join(get_args(Split))}")
        frame = int(number(row, "frame")) if "frame" in row else 0
        if "frame" in row and frame != number(row, "frame"):
            raise ValueError(f"frame is {row['frame']}, which is not a whole number")
        video = (row.get("video") or "").strip()
        if "video" in row and not video:
            raise ValueError("video is empty")
    except ValueError as e:
        raise InputError(f"{path}, line {line}: {e}") from None
    return Mark(
        line=line,
        tip_px=tip,
        visible=tip is not None and said != 0,
        frame=frame,
        video=video,
        split=split,
        time_s=time_s,
    )


def _inside(path: Path, mark: Mark, size_px: tuple[int, int], what: str) -> None:
    if mark.tip_px is None:
        return
    x, y = mark.tip_px
    if not (-0.5 <= x <= size_px[0] - 0.5 and -0.5 <= y <= size_px[1] - 0.5):
        raise InputError(
            f"{path}, {mark.place}: the tip {x:g},{y:g} lies outside {what}, which is {size_px[0]}x{size_px[1]}"
        )


def _needed(spacing: Spacing | None, what: Path) -> Spacing:
    if spacing is None:
        raise InputError(f"{what}: the scale is unknown; give `spacing_mm`, millimetres per pixel")
    return spacing


def _said_beside(picture: Path) -> Spacing | None:
    """The scale in the sequence.json that sonosteer writes into folders of pictures."""
    path = picture.parent / "sequence.json"
    if not path.exists():
        return None
    try:
        return parse_clip_comment(str(load_json(path)["comment"]))[0]
    except (TypeError, KeyError) as e:
        raise InputError(f"{path} is damaged: {e}") from None


def _pictures(
    root: Path, table: Path, spacing: Spacing | None, rate_hz: float, progress: StageProgress, point: str | None
) -> tuple[list[Draft], int]:
    """Videos of a folder of pictures, and how many pictures have no row."""
    seen: dict[Path, Mark] = {}
    groups: dict[str, list[Mark]] = {}
    rows = _picture_marks(table, point)
    for mark, names in rows:
        picture = next((root / n for n in names if (root / n).is_file()), root / names[0])
        if not picture.is_file():
            raise InputError(f"{table}, {mark.place}: there is no picture {picture}")
        if picture.resolve() in seen:
            raise InputError(f"{table}, {mark.place}: {names[0]} stands in {seen[picture.resolve()].place}, too")
        seen[picture.resolve()] = mark
        video = mark.video or picture.relative_to(root).parent.as_posix()
        groups.setdefault(root.resolve().name if video == "." else video, []).append(
            replace(mark, picture=picture, frame=0, video=video)
        )
    drafts: list[Draft] = []
    done = 0
    for name, marks in groups.items():
        ordered = _ordered(table, name, marks)
        size, scale = _checked(table, name, ordered, spacing)
        drafts.append(
            Draft(
                name=_safe(name, drafts),
                marks=ordered,
                size_px=size,
                spacing=scale,
                source=str(root / name),
                read=_reader(rate_hz),
            )
        )
        done += len(ordered)
        progress("checking pictures", done, len(rows))
    return drafts, _unlabelled(root, groups)


def _picture_marks(table: Path, point: str | None) -> list[tuple[Mark, tuple[str, ...]]]:
    """Marks of pictures, and the paths that the picture of each may have."""
    if is_foreign(table):
        if marks_format(table) == "markups":
            raise InputError(f"{table} has positions in mm, which belong to a clip and not to pictures")
        marks = read_foreign_marks(table, point)
        nameless = next((m for m in marks if not m.image), None)
        if nameless is not None:
            raise InputError(f"{table}, {nameless.where}: it marks frames of a clip: name the clip, not a folder")
        return [(_foreign(m), m.images) for m in marks]
    out: list[tuple[Mark, tuple[str, ...]]] = []
    for line, row in enumerate(_rows(table, NEEDED, (*MORE, UNCERTAINTY_COLUMN)), start=2):
        name = (row["image"] or "").strip()
        if not name:
            raise InputError(f"{table}, line {line}: image is empty")
        out.append((_mark(table, line, row), (name,)))
    return out


def _foreign(mark: ReadMark, frame: int = 0) -> Mark:
    """A mark of another program."""
    if mark.split not in ("", *get_args(Split)):
        raise InputError(f"{mark.where}: split is {mark.split!r}; there are: {', '.join(get_args(Split))}")
    return Mark(
        line=0,
        tip_px=mark.tip_px,
        visible=mark.visible,
        frame=frame,
        video=mark.video,
        split=mark.split,
        time_s=mark.time_s,
        where=mark.where,
    )


def _clip_marks(table: Path, source: Source, point: str | None) -> list[Mark]:
    """Marks of frames of a clip."""
    if not is_foreign(table):
        rows = _rows(table, MARK_COLUMNS, CLIP_MORE)
        return [_mark(table, line, row) for line, row in enumerate(rows, start=2)]
    if marks_format(table) == "markups":
        truths = read_truth(table, place=place_in(source))
        return [
            Mark(line=0, tip_px=t.tip_px, visible=t.visible, frame=t.frame_index, where=f"frame {t.frame_index}")
            for t in truths
        ]
    return [_foreign(m, frame) for frame, m in with_frames(table, read_foreign_marks(table, point))]


def _unlabelled(root: Path, groups: dict[str, list[Mark]]) -> int:
    """Pictures that lie beside labelled ones and have no row."""
    labelled = {m.picture.resolve() for marks in groups.values() for m in marks if m.picture}
    folders = {p.parent for p in labelled}
    endings = {p.suffix.lower() for p in labelled}
    return sum(p.suffix.lower() in endings and p not in labelled for f in folders for p in f.iterdir())


def _ordered(table: Path, name: str, marks: list[Mark]) -> list[Mark]:
    """By time where there are times, else in the natural order of the names. All are in one split."""
    splits = {m.split for m in marks}
    if len(splits) > 1:
        raise InputError(f"{table}: video {name} has pictures in {' and '.join(sorted(splits))}; splits are by video")
    if marks[0].time_s is None:
        return sorted(marks, key=lambda m: _natural(str(m.picture)))
    ordered = sorted(marks, key=lambda m: m.time_s or 0.0)
    for a, b in itertools.pairwise(ordered):
        if a.time_s == b.time_s:
            raise InputError(f"{table}, {b.place}: {a.time_s:g} s is the time of {a.place}, too")
    return ordered


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", text.lower())
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


def _checked(table: Path, name: str, marks: Sequence[Mark], spacing: Spacing | None) -> tuple[tuple[int, int], Spacing]:
    """(size, scale) of a video's pictures, every one of which is opened."""
    first: ImageFolder | None = None
    for mark in marks:
        assert mark.picture is not None
        still = ImageFolder(mark.picture)
        first = first or still
        if still.info.frames != 1:
            raise InputError(f"{table}, {mark.place}: {mark.picture} holds {still.info.frames} pictures; name a clip")
        size = still.info.size_px
        if size != first.info.size_px:
            raise InputError(
                f"{table}, {mark.place}: {mark.picture.name} is {size[0]}x{size[1]}, others of video {name} are "
                f"{first.info.size_px[0]}x{first.info.size_px[1]}; pictures of a video must have one size"
            )
        _inside(table, mark, size, mark.picture.name)
    assert first is not None
    assert marks[0].picture is not None
    return first.info.size_px, _needed(spacing or _said_beside(marks[0].picture), marks[0].picture.parent)


def _reader(rate_hz: float) -> Callable[[Sequence[Mark]], Iterator[tuple[float, U8]]]:
    def read(marks: Sequence[Mark]) -> Iterator[tuple[float, U8]]:
        files = [mark.picture for mark in marks if mark.picture is not None]
        pages = [page for file in files for page in pages_of(file)]
        frames = PictureFiles(pages, name=files[0].parent.name, kind="images").frames()
        for i, (mark, frame) in enumerate(zip(marks, frames, strict=True)):
            yield (i / rate_hz if mark.time_s is None else mark.time_s), frame.grey()

    return read


def _clip(
    path: Path, table: Path, spacing: Spacing | None, point: str | None, *, keep_identity: bool
) -> tuple[list[Draft], int]:
    """The labelled frames of a clip as one video, and how many frames have no row."""
    source = open_source(path, spacing=spacing, keep_identity=keep_identity)
    count = source.info.frames
    seen: dict[int, Mark] = {}
    marks: list[Mark] = []
    for mark in _clip_marks(table, source, point):
        if mark.frame < 0 or (count is not None and mark.frame >= count):
            raise InputError(f"{table}, {mark.place}: there is no frame {mark.frame} in {path}, which has {count}")
        if mark.frame in seen:
            raise InputError(f"{table}, {mark.place}: frame {mark.frame} stands in {seen[mark.frame].place}, too")
        seen[mark.frame] = mark
        _inside(table, mark, source.info.size_px, str(path))
        marks.append(mark)
    marks.sort(key=lambda m: m.frame)

    def read(wanted: Sequence[Mark]) -> Iterator[tuple[float, U8]]:
        numbers = {m.frame for m in wanted}
        for frame in source.frames(wanted[0].frame, wanted[-1].frame + 1):
            if frame.index in numbers:
                yield frame.time_s, frame.grey()

    scale = _needed(source.info.spacing, path)
    words = () if keep_identity else identity_words(source)
    told = without_identity(str(path), words)
    name = _safe(path.name.split(".")[0] if without_identity(path.name, words) == path.name else "clip", [])
    draft = Draft(name=name, marks=marks, size_px=source.info.size_px, spacing=scale, source=told, read=read)
    return [replace(draft, identity=words, notes=source.info.notes)], (count or len(marks)) - len(marks)


def _safe(name: str, drafts: Sequence[Draft]) -> str:
    """A name for a folder, not yet taken."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "video"
    taken = {d.name for d in drafts}
    number_of = 1
    free = plain
    while free in taken:
        number_of += 1
        free = f"{plain}-{number_of}"
    return free


# -- splits --------------------------------------------------------------------------------------------------


def counts(n: int) -> tuple[int, int, int]:
    """(train, validation, test) of n videos, 7:1:2, none empty where there are three or more."""
    if n < 3:
        return (n, 0, 0) if n < 2 else (1, 0, 1)
    validation, test = max(round(0.1 * n), 1), max(round(0.2 * n), 1)
    return n - validation - test, validation, test


def _with_splits(drafts: list[Draft], seed: int) -> list[Draft]:
    """As the table says. Else 7:1:2 by video, or in time order where there is one video only."""
    if drafts[0].marks[0].split:
        return [_split_draft(d, d.marks[0].split, d.name, d.marks) for d in drafts]
    if len(drafts) == 1:
        (whole,) = drafts
        bounds = np.cumsum([0, *counts(len(whole.marks))]).tolist()
        pieces = zip(get_args(Split), bounds, bounds[1:], strict=False)
        return [_split_draft(whole, s, f"{whole.name}-{s}", whole.marks[a:b]) for s, a, b in pieces if b > a]
    order = np.random.default_rng(seed).permutation(len(drafts))
    splits = np.repeat(get_args(Split), counts(len(drafts)))
    given = dict(zip(order.tolist(), splits.tolist(), strict=True))
    return [_split_draft(d, given[i], d.name, d.marks) for i, d in enumerate(drafts)]


def _split_draft(draft: Draft, split: str, name: str, marks: Sequence[Mark]) -> Draft:
    return replace(draft, name=name, marks=marks, split=split)


# -- writing -------------------------------------------------------------------------------------------------


def _write(out: Path, about: dict[str, Any], drafts: Sequence[Draft], progress: StageProgress) -> None:
    """All videos, or none of them. What a killed import left is written again."""
    fresh = [p for p in out.parents if not p.exists()]
    folder = out / "videos"
    try:
        with claimed_folder(out):
            begin_new(out, about["command"])
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _write_videos(folder, about, drafts, progress)
            except BaseException as e:
                shutil.rmtree(folder, ignore_errors=True)
                finish_new(out)
                if isinstance(e, OSError):
                    raise writing_failed(out, e, "nothing was imported") from None
                raise
            finish_new(out)
    except BaseException:
        for path in fresh:
            with contextlib.suppress(OSError):
                path.rmdir()  # if it is empty
        raise


def _write_videos(folder: Path, about: dict[str, Any], drafts: Sequence[Draft], progress: StageProgress) -> None:
    total, done = sum(len(d.marks) for d in drafts), 0
    folder.mkdir()
    entries = []
    for draft in drafts:
        (folder / draft.name).mkdir()
        _write_video(folder / draft.name, draft)
        spacing_mm = (draft.spacing.x_mm, draft.spacing.y_mm)
        entries.append(Entry(draft.name, draft.split, len(draft.marks), spacing_mm, source=draft.source))
        done += len(draft.marks)
        progress("frames", done, total)
    write_index(folder.parent, about, entries)


def _write_video(folder: Path, draft: Draft) -> None:
    """frames.npy first and labels.csv with it. The video counts once the index names it."""
    shape = (len(draft.marks), draft.size_px[1], draft.size_px[0])
    written = 0
    with FramesWriter(folder / FRAMES_FILE, shape) as frames, LabelWriter(folder / LABELS, draft.spacing) as labels:
        for mark, (time_s, grey) in zip(draft.marks, draft.read(draft.marks), strict=False):
            frames.add(grey)
            labels.add(Label(written, time_s, mark.tip_px, mark.visible))
            written += 1
    if written < len(draft.marks):
        raise InputError(f"{draft.source} ends early: {written} of {len(draft.marks)} labelled frames could be read")
