"""Reads marks of needle tips, whoever made them: our own CSV, COCO, CVAT, Label Studio, DeepLabCut, 3D Slicer.

The format is told by what is in the file, not by its name.

| format | what is read | its pixels |
| --- | --- | --- |
| CSV | `frame,tip_x_px,tip_y_px` or `image,tip_x_px,tip_y_px` | ours: 0 at the centre of the first pixel |
| COCO, JSON | a keypoint of each annotation | as ours |
| CVAT 1.1, XML | `points` of images, and of tracks in videos | 0 at the outer corner of the first pixel |
| Label Studio, JSON | `keypointlabels` | percent of the picture, from its outer corner |
| DeepLabCut, CSV | a body part of one animal | as ours |
| 3D Slicer, mrk.json | control points whose label or description says `frame N` | millimetres (`recording/markups`) |

Which point is the tip: the only one, else the one called tip, needle tip or the like, else the one that the caller
names. Which frame a picture is of: what the file says, else the last number in the picture's name.

A picture without a mark is left out, since nobody said that it has no needle. It has none where the file says so: an
empty tip in CSV, `outside` in CVAT, a submitted annotation without a result in Label Studio, `no_needle` in a COCO
image that we exported.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sonosteer.core.config import parse_json
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point

#: chosen: a table of marks of an hour of video has 20 MB
MAX_MARK_BYTES = 1 << 28
#: names of the point that is the tip, lower case, without spaces and signs
TIP_NAMES = ("tip", "needletip", "tipofneedle", "needle")
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio puts this before the name of a file that was uploaded
NO_NEEDLE = "no_needle"
DLC_HEADS = ("scorer", "individuals", "bodyparts", "coords")
#: of a control point of 3D Slicer
FRAME_WORD = re.compile(r"\bframe[ _=:-]?\s*(\d{1,9})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReadMark:
    """One mark as a file of another program says it."""

    where: str
    """Where it stands in the file, for messages."""
    tip_px: Point | None
    """Marked tip, px: (column, row), 0 at the centre of the first pixel. None: the file says that there is none."""
    visible: bool
    """Whether the tip can be seen."""
    image: str = ""
    """Path of the picture as the file says it. Empty in a clip."""
    frame: int | None = None
    """Index of the frame. None if nothing says it."""
    size_px: tuple[int, int] | None = None
    """Width and height of the picture as the file says them, px. None if it does not."""
    video: str = ""
    """Video that the picture belongs to. Empty if the file does not say."""
    split: str = ""
    """Split as the file says it. Empty if it does not."""
    time_s: float | None = None
    """Time of the picture, s. None if the file does not say."""

    @property
    def images(self) -> tuple[str, ...]:
        """Paths that the picture may have: as said, and without what Label Studio puts before its name."""
        folder, _, name = self.image.rpartition("/")
        bare = UPLOADED.sub("", name, count=1)
        return (self.image,) if bare == name else (self.image, f"{folder}/{bare}" if folder else bare)


def is_foreign(path: Path) -> bool:
    """True for marks of another program: JSON, XML, or a table of DeepLabCut. False for CSV and what cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[", b"<", b"scorer,"))


def marks_format(path: Path) -> str:
    """csv, coco, cvat, label-studio, deeplabcut or markups. Raises InputError for anything else."""
    head = _head(path)
    if head.startswith("<"):
        return "cvat"
    if head.startswith(("{", "[")):
        return _json_format(path, _json(path))
    first = head.splitlines()[0] if head else ""
    return "deeplabcut" if re.match(r"\s*scorer\s*,", first) else "csv"


def _json_format(path: Path, value: Any) -> str:
    if isinstance(value, dict) and "markups" in value:
        return "markups"
    if isinstance(value, dict) and "images" in value and "annotations" in value:
        return "coco"
    if isinstance(value, list) and value and all(isinstance(task, dict) for task in value):
        if any("annotations" in task or "completions" in task for task in value):
            return "label-studio"
        raise InputError(f"{path} is no full export of Label Studio: export as JSON, not as JSON-MIN")
    raise InputError(f"{path} holds no marks: COCO, Label Studio and 3D Slicer's mrk.json are the JSON that is read")


def read_foreign_marks(path: Path, point: str | None = None) -> list[ReadMark]:
    """Read marks of COCO, CVAT, Label Studio or DeepLabCut, in the order of the file.

    point: name of the point that is the tip. Raises InputError in one line: no such format, no point or several that
    may be the tip, two in one picture, or a value that makes no sense.
    """
    kind = marks_format(path)
    readers: dict[str, Callable[[Path, str | None], list[ReadMark]]] = {
        "coco": _coco,
        "cvat": _cvat,
        "label-studio": _label_studio,
        "deeplabcut": _deeplabcut,
    }
    if kind not in readers:
        raise InputError(f"{path} is {kind}, which is read otherwise")
    try:
        marks = readers[kind](path, point)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
        raise InputError(f"{path} is damaged: {type(e).__name__} {e}") from None
    if not marks:
        raise InputError(f"{path} has no mark of a tip")
    seen: dict[tuple[str, int | None], ReadMark] = {}
    for mark in marks:
        key = (mark.video + "/" + mark.image, mark.frame if not mark.image else None)
        if key in seen:
            raise InputError(f"{path}, {mark.where}: {seen[key].where} marks the same picture; leave one tip in each")
        seen[key] = mark
    return marks


def with_frames(path: Path, marks: Sequence[ReadMark]) -> list[tuple[int, ReadMark]]:
    """The frame of each mark, in a clip. Raises InputError if nothing says it, or if two marks are of one frame."""
    out: list[tuple[int, ReadMark]] = []
    taken: dict[int, ReadMark] = {}
    for mark in marks:
        frame = mark.frame if mark.frame is not None else _number_in(mark.image)
        if frame is None:
            raise InputError(f"{path}, {mark.where}: nothing says which frame of the clip it is of")
        if frame in taken:
            raise InputError(f"{path}, {mark.where}: frame {frame} is marked by {taken[frame].where}, too")
        taken[frame] = mark
        out.append((frame, mark))
    return sorted(out, key=lambda pair: pair[0])


def _number_in(image: str) -> int | None:
    """The last whole number in a picture's name, such as 12 in frame_000012.png."""
    found: list[str] = re.findall(r"\d{1,9}", Path(image).stem)
    return int(found[-1]) if found else None


# -- reading files -------------------------------------------------------------------------------------------


def _head(path: Path) -> str:
    return _text(path)[:4096].lstrip("\ufeff \t\r\n")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_MARK_BYTES:
            raise InputError(f"{path} has more than {MAX_MARK_BYTES >> 20} MB: no table of marks is so large")
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(coding)
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text: marks are CSV, JSON or XML") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    return text


def _json(path: Path) -> Any:
    return parse_json(_text(path), path)


def _finite(value: Any, what: str) -> float:
    number = float(value)
    if not math.isfinite(number) or isinstance(value, bool):
        raise ValueError(f"{what} is {value!r}, which is not a finite number")
    return number


def choose_point(path: Path, names: Sequence[str], point: str | None) -> str:
    """The name that is the tip. Raises InputError with the names that there are."""
    known = list(dict.fromkeys(names))
    listed = ", ".join(known) or "none"
    if point is not None:
        if point not in known:
            raise InputError(f"{path} has no point {point!r}; there are: {listed}")
        return point
    if len(known) == 1:
        return known[0]
    tips = [n for n in known if re.sub(r"[^a-z]", "", n.lower()) in TIP_NAMES[:3]]
    if len(tips) != 1:
        raise InputError(f"{path}: which of its points is the tip? Say it by `point`; there are: {listed}")
    return tips[0]


# -- COCO ----------------------------------------------------------------------------------------------------


def _coco(path: Path, point: str | None) -> list[ReadMark]:
    value = _json(path)
    categories = {c["id"]: c for c in value.get("categories", [])}
    named = {(c["id"], k): str(name) for c in categories.values() for k, name in enumerate(c.get("keypoints") or ())}
    used = {a["category_id"] for a in value["annotations"]}
    if not named:
        raise InputError(f"{path} has boxes and no keypoints: a box does not say where in it the tip is")
    tip = choose_point(path, [n for (category, _), n in named.items() if category in used or not used], point)
    images = {i["id"]: i for i in value["images"]}
    marks = []
    for n, annotation in enumerate(value["annotations"]):
        where = f"annotation {annotation.get('id', n)}"
        image = images.get(annotation["image_id"])
        if image is None:
            raise InputError(f"{path}, {where}: there is no image {annotation['image_id']!r}")
        numbers = annotation.get("keypoints") or []
        for k in range(len(numbers) // 3):
            if named.get((annotation["category_id"], k)) != tip:
                continue
            x, y, seen = numbers[3 * k : 3 * k + 3]
            if seen not in (0, 1, 2):
                raise InputError(f"{path}, {where}: the visibility is {seen!r}; 0, 1 and 2 are possible")
            if seen:
                at = (_finite(x, "x"), _finite(y, "y"))
                marks.append(_coco_mark(where, image, at, seen == 2))
    marks += [_coco_mark(f"image {i['id']}", i, None, False) for i in value["images"] if i.get(NO_NEEDLE) is True]
    return marks


def _coco_mark(where: str, image: Mapping[str, Any], tip: Point | None, visible: bool) -> ReadMark:
    size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
    return ReadMark(
        where=where,
        tip_px=tip,
        visible=visible,
        image=str(image["file_name"]),
        frame=image.get("frame"),
        size_px=size,
        video=str(image.get("video", "")),
        split=str(image.get("split", "")),
        time_s=None if image.get("time_s") is None else _finite(image["time_s"], "time_s"),
    )


# -- CVAT ----------------------------------------------------------------------------------------------------


def _cvat(path: Path, point: str | None) -> list[ReadMark]:
    text = _text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} defines entities, which CVAT never does: it is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as e:
        raise InputError(f"{path} is damaged XML: {e}") from None
    if root.tag != "annotations":
        raise InputError(f"{path} is XML, but not CVAT's: its root is <{root.tag}>, not <annotations>")
    rows = [*_cvat_images(root), *_cvat_tracks(root)]
    if not rows:
        raise InputError(f"{path} has no points: mark the tip by a point, not by a box")
    tip = choose_point(path, [label for label, _, _, _ in rows], point)
    return [_cvat_mark(path, owner, shape, where) for label, owner, shape, where in rows if label == tip]


Shape = tuple[str, ElementTree.Element, ElementTree.Element, str]


def _cvat_images(root: ElementTree.Element) -> Iterator[Shape]:
    for image in root.iter("image"):
        for shape in image.iter("points"):
            yield shape.get("label") or "", image, shape, f"image {image.get('name')}"


def _cvat_tracks(root: ElementTree.Element) -> Iterator[Shape]:
    for track in root.iter("track"):
        for shape in track.iter("points"):
            label = shape.get("label") or track.get("label") or ""
            yield label, track, shape, f"track {track.get('id')}, frame {shape.get('frame')}"


def _cvat_mark(path: Path, owner: ElementTree.Element, shape: ElementTree.Element, where: str) -> ReadMark:
    places = [p for p in shape.get("points", "").split(";") if p.strip()]
    if len(places) != 1:
        raise InputError(f"{path}, {where}: {len(places)} points are marked; mark one, the tip")
    x, y = (_finite(v, "a coordinate") - 0.5 for v in places[0].split(","))
    outside = shape.get("outside") == "1"
    still = owner.tag == "image"
    size = None
    if still and owner.get("width") and owner.get("height"):
        size = (int(owner.get("width", "0")), int(owner.get("height", "0")))
    return ReadMark(
        where=where,
        tip_px=None if outside else (x, y),
        visible=not outside and shape.get("occluded") != "1",
        image=owner.get("name", "") if still else "",
        frame=None if still else int(shape.get("frame", "")),
        size_px=size,
    )


# -- Label Studio --------------------------------------------------------------------------------------------


def _label_studio(path: Path, point: str | None) -> list[ReadMark]:
    tasks = _json(path)
    found: list[tuple[str, ReadMark]] = []
    empty: list[ReadMark] = []
    for n, task in enumerate(tasks):
        where = f"task {task.get('id', n)}"
        done = [a for a in task.get("annotations", task.get("completions", [])) if not a.get("was_cancelled")]
        if len(done) > 1:
            raise InputError(f"{path}, {where} was annotated {len(done)} times: export one annotation of each task")
        if not done:
            continue
        image = _task_image(path, where, task)
        results = [r for r in done[0].get("result", []) if r.get("type") == "keypointlabels"]
        if not done[0].get("result"):
            empty.append(ReadMark(where=where, tip_px=None, visible=False, image=image))
        for result in results:
            found.append(_task_mark(path, where, image, result))
    if not found and not empty:
        raise InputError(f"{path} has no key points: mark the tip by KeyPointLabels")
    if not found:
        return empty
    tip = choose_point(path, [label for label, _ in found], point)
    return [*(mark for label, mark in found if label == tip), *empty]


def _task_image(path: Path, where: str, task: Mapping[str, Any]) -> str:
    """Name of the task's picture: the one text of its data that ends like a file."""
    texts = [v for v in task.get("data", {}).values() if isinstance(v, str) and re.search(r"\.\w{2,5}($|\?)", v)]
    if len(texts) != 1:
        raise InputError(f"{path}, {where}: its data name {len(texts)} files; one picture is read")
    local = re.search(r"[?&]d=([^&]+)", texts[0])  # local storage: /data/local-files/?d=folder/frame_01.png
    name = local[1] if local else texts[0].partition("?")[0]
    return name.rpartition("/")[2]


def _task_mark(path: Path, where: str, image: str, result: Mapping[str, Any]) -> tuple[str, ReadMark]:
    value = result["value"]
    if result.get("image_rotation"):
        raise InputError(f"{path}, {where}: the picture was turned while it was marked; mark it as it is stored")
    width, height = int(result["original_width"]), int(result["original_height"])
    x, y = _finite(value["x"], "x") / 100 * width - 0.5, _finite(value["y"], "y") / 100 * height - 0.5
    labels = value["keypointlabels"]
    if len(labels) != 1:
        raise InputError(f"{path}, {where}: a point has {len(labels)} labels; give it one")
    return str(labels[0]), ReadMark(where=where, tip_px=(x, y), visible=True, image=image, size_px=(width, height))


# -- DeepLabCut ----------------------------------------------------------------------------------------------


def _deeplabcut(path: Path, point: str | None) -> list[ReadMark]:
    try:
        rows = [r for r in csv.reader(io.StringIO(_text(path))) if any(c.strip() for c in r)]
    except csv.Error as e:
        raise InputError(f"{path} is not a CSV file: {e}") from None
    heads = {row[0].strip(): row for row in rows[:4] if row[0].strip() in DLC_HEADS}
    if "bodyparts" not in heads or "coords" not in heads:
        raise InputError(f"{path} begins like a table of DeepLabCut, but has no rows bodyparts and coords")
    if "individuals" in heads and len({c for c in heads["individuals"][1:] if c.strip()}) > 1:
        raise InputError(f"{path} has several individuals; one needle is read")
    parts, coords = heads["bodyparts"], heads["coords"]
    tip = choose_point(path, [p for p, c in zip(parts[1:], coords[1:], strict=True) if c == "x"], point)
    columns = {coords[k]: k for k in range(1, len(parts)) if parts[k] == tip}
    index = next(k for k in range(1, len(coords)) if coords[k].strip())  # one column of paths, or three of its parts
    marks = []
    for line, row in enumerate(rows[len(heads) :], start=len(heads) + 1):
        if len(row) <= max(columns["x"], columns["y"]):
            raise InputError(f"{path}, line {line} is cut")
        x, y = row[columns["x"]].strip(), row[columns["y"]].strip()
        if x.lower() in ("", "nan") or y.lower() in ("", "nan"):
            continue  # not labelled
        image = "/".join(part.strip().replace("\\", "/") for part in row[:index])
        number = int(image) if image.isdecimal() else None  # what it tracked in a video
        marks.append(
            ReadMark(
                where=f"line {line}",
                tip_px=(_finite(x, "x"), _finite(y, "y")),
                visible=True,
                image="" if number is not None else image,
                frame=number,
            )
        )
    return marks


def write_json(path: Path, value: Any) -> None:
    """Write JSON on lines a person can read."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
