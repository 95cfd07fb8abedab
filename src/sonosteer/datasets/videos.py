"""A data set on disk: a folder of videos with a label for every frame.

```
dataset.json            what it is: name, scale, box, seed, and a line for each video
README.md               the data card, for people, with contact-*.png
videos/NAME/frames.npy  (frames, rows, columns) uint8, mapped into memory, never read whole
videos/NAME/labels.csv  frame,time_s,tip_x_px,tip_y_px,box_x0_px,box_y0_px,box_x1_px,box_y1_px,visible,visibility_db
```

A tip's box is a square of `BOX_MM` around it, in px. A frame without a tip has empty fields. labels.csv appears when
the video is complete, so that a set whose making was interrupted can be read as far as it goes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64, U8
from sonosteer.core.config import from_dict, parse_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.recording.tables import TableWriter, number, optional, read_table, writing_failed
from sonosteer.sim.scenes import Split

#: chosen: side of the square around the tip, mm. Zhang et al. 2026 draw tip boxes and give no size
BOX_MM = 10.0
INDEX, FRAMES_FILE, LABELS = "dataset.json", "frames.npy", "labels.csv"
#: begins the name of a folder whose video or episode is not complete
MAKING = ".making-"
LABEL_COLUMNS = (
    *("frame", "time_s", "tip_x_px", "tip_y_px"),
    *("box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px", "visible", "visibility_db"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a set: its line in the index."""

    name: str
    """Folder of the video in the set."""
    split: str
    """Split that it belongs to."""
    frames: int
    """Number of frames."""
    spacing_mm: tuple[float, float]
    """Width and height of a pixel, mm."""
    mode: str = ""
    """ips: the probe stands still. ipm: it moves. Empty: a set-up without modes."""
    material: str = ""
    """Tissue that was pierced. Empty: unknown."""
    source: str = ""
    """Scene or folder that it came from."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of one frame."""

    frame: int
    """Index of the frame in the video."""
    time_s: float
    """Time of the frame, s."""
    tip_px: Point | None
    """Tip, x and y, px. None without a tip."""
    visible: bool
    """Whether the tip can be seen, as `Truth` has it."""
    visibility_db: float | None = None
    """Brightness of the tip over the tissue around it, dB. None: unknown."""


class LabelWriter(TableWriter):
    """Writes labels.csv."""

    def __init__(self, path: Path, spacing: Spacing) -> None:
        super().__init__(path, LABEL_COLUMNS)
        self._half = (BOX_MM / 2 / spacing.x_mm, BOX_MM / 2 / spacing.y_mm)

    def add(self, label: Label) -> None:
        """Append one label."""
        place = [""] * 6
        if label.tip_px is not None:
            (x, y), (w, h) = label.tip_px, self._half
            place = [f"{v:.3f}" for v in (x, y, x - w, y - h, x + w, y + h)]
        db = "" if label.visibility_db is None else f"{label.visibility_db:.2f}"
        self.write([str(label.frame), f"{label.time_s:.6f}", *place, "1" if label.visible else "0", db])


class FramesWriter:
    """Writes frames.npy, frame by frame.

    Raises OSError if the disk is full. In mapped memory a full disk would end the process.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self._file = path.open("wb", buffering=0)
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, head)

    def add(self, grey: U8) -> None:
        """Append one frame, (rows, columns)."""
        data = memoryview(grey.tobytes())
        while data:
            data = data[self._file.write(data) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_labels(path: Path) -> list[Label]:
    """Read labels.csv. Raises InputError, which says which line is wrong and why."""
    return read_table(path, LABEL_COLUMNS, _label)


def _label(row: dict[str, str]) -> Label:
    x, y = optional(row, "tip_x_px"), optional(row, "tip_y_px")
    return Label(
        int(row["frame"]),
        number(row, "time_s"),
        None if x is None or y is None else (x, y),
        number(row, "visible") != 0,
        optional(row, "visibility_db"),
    )


class Video:
    """Frames and labels of one video. Frames are mapped, not loaded."""

    def __init__(self, folder: Path, entry: Entry) -> None:
        self.folder, self.entry = folder, entry
        self.spacing = Spacing(*entry.spacing_mm)

    @cached_property
    def frames(self) -> U8:
        """(frames, rows, columns) uint8, read-only. Raises InputError if the file is missing or cut."""
        try:
            frames: U8 = np.load(self.folder / FRAMES_FILE, mmap_mode="r")
        except (OSError, ValueError, EOFError) as e:
            raise InputError(f"{self.folder / FRAMES_FILE} cannot be read ({e}); make the data set again") from None
        if frames.ndim != 3 or frames.dtype != np.uint8 or len(frames) != len(self.labels):
            raise InputError(f"{self.folder / FRAMES_FILE} does not fit {LABELS}; make the data set again")
        return frames

    @cached_property
    def labels(self) -> list[Label]:
        """A label a frame."""
        return read_labels(self.folder / LABELS)

    @cached_property
    def tips_px(self) -> F64:
        """(frames, 2), nan where there is no tip."""
        nothing = (float("nan"), float("nan"))
        return np.array([label.tip_px or nothing for label in self.labels])

    @cached_property
    def times_s(self) -> F64:
        """(frames,)."""
        return np.array([label.time_s for label in self.labels])

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """(frames,): the tip is there and can be seen."""
        return np.array([label.visible and label.tip_px is not None for label in self.labels])


class DataSet:
    """A set made by `sonosteer dataset make` or `import`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            index = parse_json((folder / INDEX).read_text(), folder / INDEX)
            self.entries = [from_dict(Entry, e, f"{folder / INDEX}") for e in index["videos"]]
        except FileNotFoundError:
            raise InputError(f"{folder} is no data set: it has no {INDEX}; make one: sonosteer dataset make") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(f"{folder / INDEX} cannot be used ({e}); make the data set again") from None
        for entry in self.entries:
            if entry.split not in get_args(Split):
                raise InputError(
                    f"{folder / INDEX}: video {entry.name} is in split {entry.split!r}, which there is not"
                )
        self.about: dict[str, Any] = {k: v for k, v in index.items() if k != "videos"}

    def videos(self, *splits: str) -> list[Video]:
        """The videos of the named splits (all without a name), in the order of the index."""
        for split in splits:
            if split not in get_args(Split):
                raise InputError(f"there is no split {split!r}; there are: {', '.join(get_args(Split))}")
        wanted = splits or get_args(Split)
        return [Video(self.folder / "videos" / e.name, e) for e in self.entries if e.split in wanted]


def write_index(folder: Path, about: dict[str, Any], entries: list[Entry]) -> None:
    """Write dataset.json. Replaces the old one whole. Raises InputError if the disk is full."""
    fresh = folder / (INDEX + ".new")
    lines = ",\n".join("  " + json.dumps(to_dict(e)) for e in entries)
    head = json.dumps(to_dict(about), indent=1)[:-2]
    try:
        fresh.write_text(f'{head},\n "videos": [\n{lines}\n ]\n}}\n')
        fresh.replace(folder / INDEX)
    except OSError as e:
        raise writing_failed(folder / INDEX, e, "the videos are kept") from None
