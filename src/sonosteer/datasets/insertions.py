"""Demonstrations on disk: a folder of episodes, each what an expert was told and what he did, moment by moment.

```
dataset.json               what it is, and a line for each episode: split, tissue, operator, moments
README.md                  the data card, for people
episodes/NAME/task.json    the task: target, technique, angle, side, scale
episodes/NAME/moments.csv  a row a sample: estimate (or why it was lost), reading, target, action
episodes/NAME/frames.npy   (moments, rows, columns) uint8, absent where no frames were kept
episodes/NAME/features.npy (moments, N + L, width) float16: what the tracker handed over, absent where it did not
```

An episode gets its name when it is complete, so that a set whose making was interrupted can be read as far as it goes.
`samples.py` says what is in a row.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F16, U8
from sonosteer.core.config import from_dict, parse_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Frame, Observation, Task
from sonosteer.datasets.samples import SAMPLE_COLUMNS, TrainingSample, sample, written
from sonosteer.datasets.videos import FRAMES_FILE, INDEX, MAKING
from sonosteer.recording.tables import TableWriter, read_table, writing_failed
from sonosteer.sim.scenes import Split

TASK, MOMENTS, FEATURES_FILE = "task.json", "moments.csv", "features.npy"
FOLDER = "episodes"


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """One episode of a set: its line in the index."""

    name: str
    """Folder of the episode in the set."""
    split: str
    """Split that it belongs to."""
    technique: str
    """How the needle is inserted, as in `Task`."""
    tissue: str = ""
    """Material that was pierced. Empty: unknown."""
    operator: str = ""
    """Who demonstrated. Empty: unknown."""
    source: str = ""
    """Scene that it was recorded in. Empty: unknown."""
    moments: int = 0
    """Number of samples."""
    stopped: bool = False
    """Whether the expert ended it by a stop."""

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise InputError(
                f"episode {self.name} is in split {self.split!r}; {', '.join(get_args(Split))} are possible"
            )


class _Rows:
    """An array file that grows by one row at a time. Its head is put right at the end."""

    def __init__(self, path: Path, row: NDArray[Any]) -> None:
        self._shape, self._dtype, self.rows = row.shape, row.dtype, 0
        self._file = path.open("wb", buffering=0)
        self._head()

    def _head(self) -> None:
        # numpy leaves room in the head for a number of rows of up to 21 digits, so that its length stays
        kind = np.lib.format.dtype_to_descr(self._dtype)
        head = {"descr": kind, "fortran_order": False, "shape": (self.rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, head)

    def add(self, row: NDArray[Any]) -> None:
        if row.shape != self._shape:
            raise InputError(f"an episode's frames change from {self._shape} to {row.shape}: they must stay alike")
        data = memoryview(np.ascontiguousarray(row, self._dtype).tobytes())
        while data:
            data = data[self._file.write(data) :]
        self.rows += 1

    def close(self, *, whole: bool) -> None:
        if whole:
            self._file.seek(0)
            self._head()
        self._file.close()


class EpisodeWriter:
    """Writes one episode below a set's folder. Use it in a `with` block, which drops what it could not finish.

    Raises InputError if the disk is full, or where some moments have a frame (or features) and others do not.
    """

    def __init__(self, folder: Path, info: EpisodeInfo, task: Task) -> None:
        self.info, self._end = info, folder / FOLDER / info.name
        self._making = folder / FOLDER / f"{MAKING}{info.name}"
        shutil.rmtree(self._making, ignore_errors=True)
        try:
            self._making.mkdir(parents=True)
            (self._making / TASK).write_text(json.dumps(to_dict(task), indent=1) + "\n")
        except OSError as e:
            raise writing_failed(self._end, e, "the episodes made so far are kept") from None
        self._table = TableWriter(self._making / MOMENTS, SAMPLE_COLUMNS)
        self._arrays: dict[str, _Rows] = {}
        self._stopped = False

    def add(self, observation: Observation, frame: Frame | None, action: Action) -> None:
        """Append one sample. frame: what the observation was made of. None: frames are not kept."""
        features = observation.features
        rows = {
            FRAMES_FILE: None if frame is None else frame.grey(),
            FEATURES_FILE: None if features is None else features.astype(np.float16),
        }
        for name, row in rows.items():
            self._append(name, row)
        self._table.write(written(observation, action))
        self._stopped = self._stopped or action.command.stop

    def _append(self, name: str, row: NDArray[Any] | None) -> None:
        if (row is None) != (name not in self._arrays) and self._table.rows:
            raise InputError(f"episode {self.info.name}: some moments have {name} and others do not")
        if row is None:
            return
        try:
            if name not in self._arrays:
                self._arrays[name] = _Rows(self._making / name, row)
            self._arrays[name].add(row)
        except OSError as e:
            raise writing_failed(self._end / name, e, "the episodes made so far are kept") from None

    def finish(self) -> EpisodeInfo:
        """Give the episode its name. Returns its line for the index."""
        self._close(whole=True)
        try:
            shutil.rmtree(self._end, ignore_errors=True)
            self._making.rename(self._end)
        except OSError as e:
            raise writing_failed(self._end, e, "the episodes made so far are kept") from None
        return replace(self.info, moments=self._table.rows, stopped=self._stopped)

    def _close(self, *, whole: bool) -> None:
        self._table.close()
        for array in self._arrays.values():
            array.close(whole=whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._making.exists():
            self._close(whole=False)
            shutil.rmtree(self._making, ignore_errors=True)


class RecordedEpisode:
    """One demonstration. Frames and features are mapped, not loaded.

    Raises InputError if a file is missing or damaged.
    """

    def __init__(self, folder: Path, info: EpisodeInfo) -> None:
        self.folder, self.info = folder, info

    @cached_property
    def task(self) -> Task:
        """What was to be done."""
        path = self.folder / TASK
        try:
            return from_dict(Task, parse_json(path.read_text(), path), f"{path}")
        except (OSError, ValueError, TypeError, AttributeError) as e:
            raise InputError(f"{path} cannot be used ({e}); make the data set again") from None

    @cached_property
    def samples(self) -> list[TrainingSample]:
        """All that was told and done. The observations lack their features."""
        return read_table(self.folder / MOMENTS, SAMPLE_COLUMNS, sample)

    @cached_property
    def frames(self) -> U8 | None:
        """(moments, rows, columns) uint8, None where no frames were kept."""
        frames: U8 | None = self._mapped(FRAMES_FILE, 3, np.uint8)
        return frames

    @cached_property
    def features(self) -> F16 | None:
        """(moments, N + L, width) as the tracker handed them over, None where it did not."""
        features: F16 | None = self._mapped(FEATURES_FILE, 3, np.float16)
        return features

    def _mapped(self, name: str, dimensions: int, kind: Any) -> Any:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as e:
            raise InputError(f"{path} cannot be read ({e}); make the data set again") from None
        if array.ndim != dimensions or array.dtype != kind or len(array) != len(self.samples):
            raise InputError(f"{path} does not fit {MOMENTS}; make the data set again")
        return array


class InsertionSet:
    """A set of episodes. Raises InputError if there is none in the folder, or its index is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            index = parse_json((folder / INDEX).read_text(), folder / INDEX)
            self.entries = [from_dict(EpisodeInfo, e, f"{folder / INDEX}") for e in index["episodes"]]
        except FileNotFoundError:
            raise InputError(
                f"{folder} holds no demonstrations: it has no {INDEX}; make some: sonosteer dataset make d-insert"
            ) from None
        except KeyError:
            raise InputError(f"{folder} is a data set of another kind: it has no episodes; name a d-insert") from None
        except (OSError, ValueError, TypeError, AttributeError) as e:
            raise InputError(f"{folder / INDEX} cannot be used ({e}); make the data set again") from None
        self.about: dict[str, Any] = {k: v for k, v in index.items() if k != "episodes"}

    def episodes(self, *splits: str) -> list[RecordedEpisode]:
        """The episodes of the named splits (all without a name), in the order of the index."""
        wanted = splits or get_args(Split)
        return [RecordedEpisode(self.folder / FOLDER / e.name, e) for e in self.entries if e.split in wanted]


def write_insertions(folder: Path, about: dict[str, Any], entries: list[EpisodeInfo]) -> None:
    """Write dataset.json. Replaces the old one whole. Raises InputError if the disk is full."""
    fresh = folder / (INDEX + ".new")
    try:
        fresh.write_text(json.dumps(to_dict({**about, "episodes": entries}), indent=1) + "\n")
        fresh.replace(folder / INDEX)
    except OSError as e:
        raise writing_failed(folder / INDEX, e, "the episodes are kept") from None
