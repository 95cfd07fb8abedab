"""Exports a data set in formats that others read: `sonosteer dataset export`.

```
png    SPLIT/NAME/frame_000000.png, times.csv, sequence.json (a folder that sonosteer track opens); labels.csv of all
mp4    SPLIT/NAME/clip.mp4, truth.csv
coco   SPLIT/images/NAME_000000.png, SPLIT/annotations.json: boxes and key points, one category, "needle tip"
slicer SPLIT/NAME.mha, SPLIT/NAME.mrk.json: a sequence and a list of points for 3D Slicer
```

What png, coco and slicer write, `dataset import` reads: the same pixels and the same tips come back. Slicer has no way
to say that a picture has no tip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, axis_angle_rad
from sonosteer.core.progress import StageProgress
from sonosteer.core.protocols import SourceInfo
from sonosteer.datasets.importing import MORE, NEEDED
from sonosteer.datasets.videos import BOX_MM, DataSet, Video
from sonosteer.recording.clips import ClipWriter, MetaImageWriter, PngWriter, VideoWriter
from sonosteer.recording.marks import NO_NEEDLE
from sonosteer.recording.markups import ENDING, MarkupPoint, write_markups
from sonosteer.recording.output_folder import begin_new, check_free, claimed_folder, finish_new
from sonosteer.recording.tables import TableWriter, writing_failed
from sonosteer.recording.truths import TRUTH_CSV_COLUMNS as TRUTH
from sonosteer.sim.scenes import SETUPS, make_scene

FORMATS = ("png", "mp4", "coco", "slicer")
CRF = 4  # chosen: H.264 that is off by about a grey level
COCO_IMAGES, COCO_ANNOTATIONS = "images", "annotations.json"


def export_set(folder: Path, *, out: Path, form: str, splits: Sequence[str], progress: StageProgress) -> dict[str, Any]:
    """Write the videos of these splits (all without one). InputError, and nothing written, if one is damaged."""
    if form not in FORMATS:
        raise InputError(f"`format` {form!r}: {', '.join(FORMATS)} are possible")
    check_free(out)
    videos = DataSet(folder).videos(*splits)
    if not videos:
        raise InputError(f"{folder} has no video{' in ' + ' and '.join(splits) if splits else ''}")
    frames = sum(len(v.frames) for v in videos)
    try:
        with claimed_folder(out):
            begin_new(out, f"export {form} of {folder}: {' '.join(splits) or 'all'}")
            {"png": _png, "mp4": _mp4, "coco": _coco, "slicer": _slicer}[form](out, videos, _Count(progress, frames))
            finish_new(out)
    except OSError as e:
        raise writing_failed(out, e, "what was written before is kept") from None
    by_split = {s: sum(v.entry.split == s for v in videos) for s in dict.fromkeys(v.entry.split for v in videos)}
    return {"folder": str(out), "format": form, "videos": len(videos), "frames": frames, "by_split": by_split}


class _Count:
    """Frames done, for the progress bar."""

    def __init__(self, progress: StageProgress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def one(self) -> None:
        self._done += 1
        self._progress("frames", self._done, self._total)


def _info(video: Video) -> SourceInfo:
    n, rows, columns = video.frames.shape
    steps = np.diff(video.times_s)
    rate = 1.0 / float(np.median(steps)) if len(steps) and float(np.median(steps)) > 0 else None
    return SourceInfo(video.entry.name, "images", (columns, rows), n, rate, video.spacing)


def _tip(tip_px: Point | None) -> list[str]:
    return ["", ""] if tip_px is None else [f"{v:.3f}" for v in tip_px]


def _fill(clip: ClipWriter, video: Video, count: _Count) -> None:
    try:
        for frame, label in zip(video.frames, video.labels, strict=True):
            clip.add(np.ascontiguousarray(frame), label.time_s)
            count.one()
    finally:
        clip.close()


# -- pictures, as importing reads them ---------------------------------------------------------------------------


def _png(out: Path, videos: Sequence[Video], count: _Count) -> None:
    with TableWriter(out / "labels.csv", (*NEEDED, *MORE)) as table:
        for video in videos:
            entry = video.entry
            folder = out / entry.split / entry.name
            folder.mkdir(parents=True, exist_ok=True)
            _fill(PngWriter(folder, _info(video)), video, count)
            for i, label in enumerate(video.labels):
                image = f"{entry.split}/{entry.name}/frame_{i:06d}.png"
                seen = "1" if label.visible else "0"
                table.write([image, *_tip(label.tip_px), seen, entry.name, entry.split, f"{label.time_s:.6f}"])


# -- clips with their truth ------------------------------------------------------------------------------------


def _mp4(out: Path, videos: Sequence[Video], count: _Count) -> None:
    for video in videos:
        folder = out / video.entry.split / video.entry.name
        folder.mkdir(parents=True, exist_ok=True)
        _fill(VideoWriter(folder / "clip.mp4", _info(video), crf=CRF), video, count)
        angle = f"{math.degrees(angle_rad(video)):.4f}"
        with TableWriter(folder / "truth.csv", TRUTH) as table:
            for i, label in enumerate(video.labels):
                seen = "1" if label.visible else "0"
                table.write([str(i), f"{label.time_s:.6f}", *_tip(label.tip_px), angle, seen, "", ""])


def angle_rad(video: Video) -> float:
    """Direction of the needle, which labels do not hold: of the scene, else of the tip's way, else 0."""
    name, _, seed = video.entry.source.partition("#")
    if name.partition("/")[0] in SETUPS and seed.isdigit():
        scene = make_scene(name, int(seed), **({"mode": video.entry.mode} if video.entry.mode else {}))
        if scene.view == "in-plane":
            return scene.angle_rad if scene.enters == "left" else math.pi - scene.angle_rad
    tips = video.tips_px[~np.isnan(video.tips_px[:, 0])]
    if len(tips) < 2:
        return 0.0
    quarter = max(len(tips) // 4, 1)
    dx, dy = (tips[-quarter:].mean(axis=0) - tips[:quarter].mean(axis=0)).tolist()
    return axis_angle_rad((dx, dy), video.spacing)


# -- 3D Slicer -------------------------------------------------------------------------------------------------


def _slicer(out: Path, videos: Sequence[Video], count: _Count) -> None:
    """A sequence and its markups for each video. A picture without a tip has no point."""
    for video in videos:
        folder = out / video.entry.split
        folder.mkdir(parents=True, exist_ok=True)
        _fill(MetaImageWriter(folder / f"{video.entry.name}.mha", _info(video)), video, count)
        mm = video.spacing
        points = [
            MarkupPoint(i, (label.tip_px[0] * mm.x_mm, label.tip_px[1] * mm.y_mm, 0.0), "LPS", sure=label.visible)
            for i, label in enumerate(video.labels)
            if label.tip_px is not None
        ]
        if points:
            write_markups(folder / f"{video.entry.name}{ENDING}", points, axes="LPS", kind="Fiducial")


# -- COCO detection --------------------------------------------------------------------------------------------


def _coco(out: Path, videos: Sequence[Video], count: _Count) -> None:
    for split in dict.fromkeys(v.entry.split for v in videos):
        folder = out / split
        (folder / COCO_IMAGES).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        marks: list[dict[str, Any]] = []
        for video in (v for v in videos if v.entry.split == split):
            _coco_video(folder, video, images, marks, count)
        about = f"needle tips, box of {BOX_MM:g} mm; research software, not a medical device"
        whole = {
            "info": {"description": about},
            "licenses": [],
            "images": images,
            "annotations": marks,
            "categories": [
                {"id": 1, "name": "needle tip", "supercategory": "needle", "keypoints": ["tip"], "skeleton": []}
            ],
        }
        (folder / COCO_ANNOTATIONS).write_text(json.dumps(whole) + "\n")


def _coco_video(
    folder: Path, video: Video, images: list[dict[str, Any]], marks: list[dict[str, Any]], count: _Count
) -> None:
    _, rows, columns = video.frames.shape
    name = video.entry.name
    for i, (frame, label) in enumerate(zip(video.frames, video.labels, strict=True)):
        file = f"{COCO_IMAGES}/{name}_{i:06d}.png"
        (folder / file).write_bytes(cv2.imencode(".png", np.ascontiguousarray(frame))[1].tobytes())
        image = {"id": len(images) + 1, "file_name": file, "width": columns, "height": rows}
        said = {"video": name, "split": video.entry.split, "frame": i, "time_s": label.time_s}
        images.append({**image, **said, **({NO_NEEDLE: True} if label.tip_px is None else {})})
        box = coco_box(label.tip_px, video, (columns, rows))
        if label.tip_px is not None and box is not None:
            mark = {"id": len(marks) + 1, "image_id": image["id"], "category_id": 1, "bbox": box, "iscrowd": 0}
            place = {"keypoints": [*label.tip_px, 2 if label.visible else 1], "num_keypoints": 1}
            marks.append({**mark, **place, "area": round(box[2] * box[3], 3), "segmentation": []})
        count.one()


def coco_box(tip_px: Point | None, video: Video, size_px: tuple[int, int]) -> list[float] | None:
    """[x, y, width, height] as COCO has it: 0 at the outer corner of the first pixel, cut at the image's edge."""
    if tip_px is None:
        return None
    ends = []
    for tip, step_mm, size in zip(tip_px, (video.spacing.x_mm, video.spacing.y_mm), size_px, strict=True):
        half = BOX_MM / 2 / step_mm
        ends.append((max(tip + 0.5 - half, 0.0), min(tip + 0.5 + half, float(size))))
    (x0, x1), (y0, y1) = ends
    return [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)] if x1 > x0 and y1 > y0 else None
