"""What a data set holds: counted, told to people in README.md, shown on contact sheets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import InputError
from sonosteer.datasets.videos import BOX_MM, FRAMES_FILE, DataSet, Video
from sonosteer.recording.tables import writing_failed
from sonosteer.sim.scenes import Split

DATA_CARD = "README.md"
TILES = 12  # on a sheet
#: chosen: every so many tiles show a hidden tip, where the video has one, since these are what is worth looking at
HIDDEN_EVERY = 4


def describe(folder: Path, *, write: bool = True) -> dict[str, Any]:
    """Count what is in a set, and write its data card and contact sheets.

    Videos that are missing or damaged are not counted, and are named under `incomplete`. Raises InputError if there
    is no set in the folder.
    """
    data = DataSet(folder)
    asked = data.about.get("videos_asked")
    good, damaged = _sorted_out(data)
    incomplete = [f"{name}: {why}" for name, why in damaged.items()]
    if isinstance(asked, int) and len(data.entries) < asked:
        incomplete.append(f"{len(data.entries)} of {asked} videos are made: the same command goes on")
    result: dict[str, Any] = {
        "name": data.about.get("name", folder.name),
        "folder": str(folder),
        "made_by": command(data),
        "seed": data.about.get("seed"),
        "videos": len(good),
        "videos_asked": asked,
        "complete": not incomplete,
        "incomplete": incomplete,
        **_counts(good),
        "by_split": _grouped(good, "split"),
        "by_mode": _grouped(good, "mode"),
        "by_material": _grouped(good, "material"),
        "scales_mm_per_px": sorted({v.entry.spacing_mm for v in good}),
        "sizes_px": sorted({(v.frames.shape[2], v.frames.shape[1]) for v in good}),
        "box_mm": data.about.get("box_mm", BOX_MM),
        "size_bytes": sum(_bytes(v.folder) for v in good),
        "sheets": {},
    }
    if write:
        result["sheets"] = {split: str(path) for split, path in _sheets(folder, result["name"], good)}
        try:
            (folder / DATA_CARD).write_text(_card(result, data, good), encoding="utf-8")
        except OSError as e:
            raise writing_failed(folder / DATA_CARD, e, "the videos are kept") from None
    return result


def command(data: DataSet) -> str:
    """The command line that made the set."""
    about = data.about
    if "command" in about:
        return str(about["command"])
    return (
        f"sonosteer dataset make {about.get('name')} --out {data.folder} --videos {about.get('videos_asked')} "
        f"--seed {about.get('seed')}"
    )


def _sorted_out(data: DataSet) -> tuple[list[Video], dict[str, str]]:
    """(whole videos, why others are not)."""
    good: list[Video] = []
    damaged: dict[str, str] = {}
    for video in data.videos():
        try:
            if len(video.frames) != video.entry.frames:
                damaged[video.entry.name] = f"{len(video.frames)} frames instead of {video.entry.frames}"
            else:
                good.append(video)
        except InputError as e:
            damaged[video.entry.name] = str(e)
    return good, damaged


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir())


def _counts(videos: Sequence[Video]) -> dict[str, Any]:
    frames = sum(v.entry.frames for v in videos)
    seen = sum(int(v.visible.sum()) for v in videos)
    tips = sum(int((~np.isnan(v.tips_px[:, 0])).sum()) for v in videos)
    return {
        "frames": frames,
        "frames_with_tip": tips,
        "frames_visible": seen,
        "visible_share": round(seen / frames, 4) if frames else None,
    }


def _grouped(videos: Sequence[Video], by: str) -> dict[str, dict[str, Any]]:
    """Counts for each value of a field of the entries. Splits in their own order, all else by name."""
    names = {getattr(v.entry, by) for v in videos}
    order = [s for s in get_args(Split) if s in names] if by == "split" else sorted(names)
    out = {}
    for name in order:
        group = [v for v in videos if getattr(v.entry, by) == name]
        out[name or "-"] = {"videos": len(group), **_counts(group)}
    return out


# -- contact sheets ------------------------------------------------------------------------------------------


def _sheets(folder: Path, name: str, videos: Sequence[Video]) -> Iterable[tuple[str, Path]]:
    from sonosteer.viz.contact_sheet import write_sheet

    for split in get_args(Split):
        path = folder / f"contact-{split}.png"
        of_split = [v for v in videos if v.entry.split == split]
        chosen = choose_frames(of_split)
        if not chosen:
            path.unlink(missing_ok=True)
            continue
        videos_said, frames_said = _many(len(of_split), "video"), _many(sum(v.entry.frames for v in of_split), "frame")
        note = f"{videos_said}, {frames_said}; box {BOX_MM:g} mm"
        write_sheet(path, f"{name}, {split}", note, [_tile(v, t) for v, t in chosen])
        yield split, path


def _tile(video: Video, t: int) -> Any:
    from sonosteer.viz.contact_sheet import Tile

    label, entry = video.labels[t], video.entry
    grey: NDArray[np.uint8] = np.ascontiguousarray(video.frames[t])
    name = f"{entry.name}:{t}"
    return Tile(grey, label.tip_px, box(label.tip_px, video), bool(video.visible[t]), name, entry.material)


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def box(tip_px: tuple[float, float] | None, video: Video) -> tuple[float, float, float, float] | None:
    """(x0, y0, x1, y1) in px: BOX_MM each way around a tip."""
    if tip_px is None:
        return None
    (x, y), half = tip_px, BOX_MM / 2
    w, h = half / video.spacing.x_mm, half / video.spacing.y_mm
    return x - w, y - h, x + w, y + h


def choose_frames(videos: Sequence[Video], tiles: int = TILES) -> list[tuple[Video, int]]:
    """Frames to show, (video, number), spread over the videos and over their length."""
    count = min(tiles, sum(v.entry.frames for v in videos))
    videos_a_tile = len(videos) / max(count, 1)
    stagger = [
        0.618034 * i % 1.0 if videos_a_tile >= 2 else 0.0 for i in range(count)
    ]  # else every other set-up would be missed
    shown = Counter(math.floor((i + off) * videos_a_tile) for i, off in enumerate(stagger))
    out: list[tuple[Video, int]] = []
    for k, many in sorted(shown.items()):
        video = videos[k]
        tips = ~np.isnan(video.tips_px[:, 0])
        pool = np.flatnonzero(tips) if tips.any() else np.arange(video.entry.frames)
        hidden = np.flatnonzero(tips & ~video.visible)
        for j in range(min(many, len(pool))):
            spread = 0.618034 * len(out) % 1.0 if many == 1 else (j + 0.5) / many  # golden ratio: no two alike
            from_these = hidden if many == 1 and len(out) % HIDDEN_EVERY == 1 and len(hidden) else pool
            out.append((video, int(from_these[math.floor(spread * len(from_these))])))
    return out


# -- data card -----------------------------------------------------------------------------------------------


def _card(result: dict[str, Any], data: DataSet, videos: Sequence[Video]) -> str:
    simulated = "command" not in data.about
    parts = [f"# {result['name']}", _what(result, simulated)]
    if result["incomplete"]:
        lines = "\n".join(f"* {line}" for line in result["incomplete"])
        parts.append(f"**Not complete.** What is missing is not in the counts below:\n\n{lines}")
    parts += [
        f"## How it was made\n\n```sh\n{result['made_by']}\n```\n\n{_versions(data)}",
        f"## What is in it\n\n{_numbers(result)}\n\n{_table(videos)}",
        f"## Splits\n\n{SIMULATED_SPLITS if simulated else IMPORTED_SPLITS}",
        f"## Files and labels\n\n{_labels(result, simulated)}",
        _pictures(result),
        f"## What it is not\n\n{SIMULATED_LIMITS if simulated else IMPORTED_LIMITS}",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _what(result: dict[str, Any], simulated: bool) -> str:
    if not simulated:
        return (
            "Ultrasound videos of a needle with the place of its tip in every frame, imported from labelled pictures."
        )
    told = {
        "d-track": "Simulated ultrasound videos of robotic needle insertions with the exact place of the tip in every "
        "frame, after the data set D_track of Zhang et al. 2026 (239 videos, 105 with the probe standing still, `ips`, "
        "and 134 with it sliding along, `ipm`; three angles, 20 mm/s, pork, agar and silicone; split 7:1:2 by video).",
        "d-encoder": "Simulated ultrasound videos of needle insertions under a convex and a linear probe with the "
        "exact place of the tip in every frame: what the vision encoder of the edge preset learns from first. Training "
        "scenes only, at other seeds than those of `d-track`.",
    }
    return told.get(result["name"], "Simulated ultrasound videos of needle insertions with the place of the tip.")


def _versions(data: DataSet) -> str:
    v = data.about.get("versions")
    if not isinstance(v, dict):
        return ""
    parts = ("sonosteer", "numpy", "numba")
    return (
        f"By {', '.join(f'{p} {v[p]}' for p in parts if p in v)}, Python {v.get('python')}. Seed {data.about['seed']}."
    )


def _numbers(result: dict[str, Any]) -> str:
    if not result["videos"]:
        return "No whole video."
    scales = said_scales(result["scales_mm_per_px"])
    sizes = ", ".join(f"{w} x {h}" for w, h in result["sizes_px"])
    seen = 100 * result["visible_share"]
    counted = f"{_many(result['videos'], 'video')}, {_many(result['frames'], 'frame')}"
    return (
        f"{counted} of {sizes} pixels at {scales} mm per pixel, "
        f"{said_bytes(result['size_bytes'])}. The tip can be seen in {seen:.1f} % of the frames."
    )


def said_scales(scales: Iterable[tuple[float, float]]) -> str:
    """Each as x,y, or once where pixels are square."""
    return " and ".join(f"{x:g}" if x == y else f"{x:g},{y:g}" for x, y in scales)


def said_bytes(size: int) -> str:
    """As a person says it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _table(videos: Sequence[Video]) -> str:
    """Videos and frames by split, mode and material."""
    order = get_args(Split)
    keys = sorted(
        {(v.entry.split, v.entry.mode, v.entry.material) for v in videos}, key=lambda k: (order.index(k[0]), *k[1:])
    )
    lines = ["| split | mode | material | videos | frames | tip seen |", "| --- | --- | --- | ---: | ---: | ---: |"]
    for split in order:
        for key in (k for k in keys if k[0] == split):
            lines.append(_row(key, [v for v in videos if (v.entry.split, v.entry.mode, v.entry.material) == key]))
        of_split = [v for v in videos if v.entry.split == split]
        if of_split and sum(k[0] == split for k in keys) > 1:
            lines.append(_row((f"**{split}**", "all", "all"), of_split))
    lines.append(_row(("**all**", "", ""), videos))
    return "\n".join(lines)


def _row(key: tuple[str, str, str], videos: Sequence[Video]) -> str:
    n = _counts(videos)
    fraction = "-" if n["visible_share"] is None else f"{100 * n['visible_share']:.1f} %"
    return "| " + " | ".join([*(k or "-" for k in key), str(len(videos)), str(n["frames"]), fraction]) + " |"


SIMULATED_SPLITS = """By video: no video has frames in two splits. Scenes of `train`, `validation` and `test` are
drawn from different seeds **and** from different recipes of tissue and look (fibres, speckle, tumours, layers, grey),
so that what was tuned on one split has seen neither the scenes nor the tissues of another; only the names of the
materials recur. `ips`: the probe stands still; `ipm`: it moves in the plane; `-`: a set-up without modes."""

IMPORTED_SPLITS = """By video: no video has frames in two splits. The split is the CSV file's, or drawn by the seed,
7:1:2 by video. A single video is cut in time order into three: these show one needle in one tissue, so that figures on
its validation and test parts flatter."""


def _labels(result: dict[str, Any], simulated: bool) -> str:
    exact = (
        "the tip's apex as the simulator drew it, exact also where it cannot be seen"
        if simulated
        else "the tip as it was marked"
    )
    return f"""`videos/NAME/{FRAMES_FILE}`: (frames, rows, columns) uint8, for `numpy.load(..., mmap_mode="r")`.
`videos/NAME/labels.csv`: a row a frame. `dataset.json`: the index: name, split, frames, scale, mode, material, source.

| column | what |
| --- | --- |
| `frame`, `time_s` | number in the video, time in s |
| `tip_x_px`, `tip_y_px` | {exact}; x = column, y = row, 0 at the centre of the first pixel; empty without a tip |
| `box_x0_px` ... `box_y1_px` | square of {result["box_mm"]:g} mm around the tip, not cut at the image's edge |
| `visible` | 1: the tip can be seen; 0: faded, hidden, out of the plane, or not there |
| `visibility_db` | tip over the tissue around it, in dB; empty where unknown |

The side of the box, {result["box_mm"]:g} mm, is chosen: Zhang et al. 2026 draw tip boxes and give no size."""


def _pictures(result: dict[str, Any]) -> str:
    if not result["sheets"]:
        return ""
    shown = "\n\n".join(f"![{split}]({Path(path).name})" for split, path in result["sheets"].items())
    return f"""## Frames

Spread over the videos and over their length; every fourth shows a hidden tip where its video has one. Below each:
video, number of the frame, material. The corner enlarges the surroundings of the tip. Green: the tip can be seen;
amber: it cannot.

{shown}"""


NO_CARE = """It comes from research software that is not a medical device, and is for research only, never for the care
of patients."""
SIMULATED_LIMITS = f"""It is simulated: no patient, no animal, no phantom and no scanner is behind these pictures. It is
not the data set of a paper, but ours after a paper's description. Simulated images are cleaner than real ones in ways
that nobody has listed to the end: what learns here has to be tried on real images before it is believed. {NO_CARE}"""
IMPORTED_LIMITS = f"""It is as good as its marks: nobody but their maker has checked them. Grey levels are reduced to
8 bit. Whether it may be passed on is for those to say whose pictures these are. {NO_CARE}"""
