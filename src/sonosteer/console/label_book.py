"""The labels of a clip, safe on the disk before anybody is told that they are.

```
labels.jsonl   every change, one line each, on the disk before it counts. Nothing is ever changed in it
labels.csv     the labels as they are now, as marks that `evaluate` and `dataset import` read. Replaced as a whole
```

The first line of labels.jsonl says which clip it belongs to. A last line that a killed process left half is dropped.
labels.csv that somebody else has changed is not touched until a person says what becomes of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.recording.appended import AppendedFile
from sonosteer.recording.tables import writing_failed
from sonosteer.recording.truths import MARK_COLUMNS, read_truth

LABEL_LOG, TABLE = "labels.jsonl", "labels.csv"
COLUMNS = (*MARK_COLUMNS, "visible")
FORMAT = 1
STEPS_BACK = 64  # chosen: changes that a killed process can have noted and not yet put into the table, and more
OUTSIDE_TAB = "outside"  # the name of the tab that changed a table by other means

#: place of the tip in px, or that it cannot be seen
Tip: TypeAlias = Point | Literal["hidden"]


@dataclass(frozen=True, slots=True)
class ScaleSaid:
    """A scale, and where it comes from."""

    spacing: Spacing | None
    """Millimetres per pixel. None: nobody knows."""
    how: str
    """Where it comes from, in words."""


LabelValue: TypeAlias = Tip | ScaleSaid | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as its line says it."""

    n: int
    """Its number, from 1, no unit."""
    tab: str
    """Who made it."""
    frame: int | None
    """Index of the frame whose label it changed. None: it changed the scale."""
    was: LabelValue
    """What was there before."""
    now: LabelValue
    """What is there since."""
    base: int
    """Revision of what was there before, no unit."""
    revision: int
    """Revision of what is there since, no unit: its number, or an older one that came back."""
    of: int | None = None
    """Number of the change that this one takes back, or does again. None: a new one."""


@dataclass
class _Story:
    """What a tab did and can take back, and what it took back and can do again."""

    done: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)


class ConflictError(InputError):
    """Somebody else has changed what was to be changed."""


class LabelBook:
    """Labels by frame, and the scale, with their history.

    folder: where they lie. It must exist, and nobody else may write to it. today: says when, as text, for the log.
    Raises InputError if the folder has labels of another clip, or damaged ones.
    """

    def __init__(self, folder: Path, info: SourceInfo, *, today: Callable[[], str]) -> None:
        self._log_path, self._table = folder / LABEL_LOG, folder / TABLE
        self._info, self._today = info, today
        self._log: AppendedFile | None = None
        self._now: dict[int | None, LabelValue] = {}
        self._revisions: dict[int | None, int] = {}
        self._changes: list[Change] = []
        self._stories: dict[str, _Story] = {}
        self._looked: tuple[int, int] | None = None
        self.outside: str | None = None
        """What was found in a table that was changed outside, in words. None if it is ours."""
        self.trouble: str | None = None
        """Why the table could not be written, in words. None if it is as it should be. The log has every change."""
        for change in self._read_log():
            self._apply(change)
        if self._stamp() is None and self._changes:  # a killed process had no time to write it
            self._write_table()
        self._compare_table()

    # -- what is there ---------------------------------------------------------------------------------------

    def labels(self) -> dict[int, Tip]:
        """The labels by frame, in order."""
        found = {k: v for k, v in self._now.items() if k is not None and v is not None}
        return {k: found[k] for k in sorted(found)}  # type: ignore[misc]

    def revisions(self) -> dict[int, int]:
        """Revision by frame of each label that there is or was, in order."""
        found = {k: v for k, v in self._revisions.items() if k is not None}
        return {k: found[k] for k in sorted(found)}

    def revision(self, frame: int | None) -> int:
        """Revision of the label of a frame, or, None, of the scale. 0: never changed."""
        return self._revisions.get(frame, 0)

    @property
    def scale(self) -> ScaleSaid | None:
        """The scale that a person gave. None: nobody did."""
        said = self._now.get(None)
        return said if isinstance(said, ScaleSaid) else None

    def can(self, tab: str) -> tuple[bool, bool]:
        """Whether a tab has something to take back, and something to do again."""
        story = self._stories.get(tab, _Story())
        return bool(story.done), bool(story.undone)

    # -- what changes it -------------------------------------------------------------------------------------

    def put(self, tab: str, frame: int, tip: Tip | None, base: int) -> Change:
        """Label a frame, or take its label away. On the disk when it returns.

        base: the revision that the tab has seen. Raises ConflictError if there is a newer one, InputError for a frame
        or a place that there is not, and if the disk is full. Nothing has changed then.
        """
        self._check(frame, tip)
        if base != self.revision(frame):
            raise ConflictError(f"the label of frame {frame} was changed in another tab meanwhile")
        return self._note(tab, frame, tip)

    def put_scale(self, tab: str, scale: ScaleSaid | None) -> Change:
        """Say the scale. On the disk when it returns. None: what the file says."""
        return self._note(tab, None, scale)

    def undo(self, tab: str) -> Change:
        """Take back what a tab did last.

        Raises InputError if there is nothing, ConflictError if somebody else has changed it since.
        """
        story = self._stories.get(tab, _Story())
        if not story.done:
            raise InputError("there is nothing to take back")
        last = story.done[-1]
        if self.revision(last.frame) != last.revision:
            raise ConflictError(f"{_named(last.frame)} was changed in another tab since")
        return self._write(self._next(tab, last.frame, last.was, last.base, of=last.n))

    def redo(self, tab: str) -> Change:
        """Do again what a tab took back. Raises as `undo` does."""
        story = self._stories.get(tab, _Story())
        if not story.undone:
            raise InputError("there is nothing to do again")
        last = story.undone[-1]
        if self.revision(last.frame) != last.base:
            raise ConflictError(f"{_named(last.frame)} was changed in another tab since")
        return self._write(self._next(tab, last.frame, last.now, last.revision, of=last.n))

    def look(self) -> bool:
        """Look whether the table was changed outside. True if what is known of that has changed."""
        before = self.outside
        if self._stamp() != self._looked:
            self._compare_table()
        return self.outside != before

    def settle(self, *, take: bool) -> list[Change]:
        """Take in what was changed outside, or write our own labels again. Theirs are kept beside them then.

        Returns the changes that were taken in. Raises InputError if the table cannot be read.
        """
        if self.outside is None:
            return []
        changes = (
            [self._note(OUTSIDE_TAB, frame, tip, table=False) for frame, tip in self._differences()] if take else []
        )
        if not take and self._table.exists():
            kept = self._table.with_name(f"labels-outside-{len(self._changes)}.csv")
            try:
                self._table.replace(kept)
            except OSError as e:
                raise writing_failed(kept, e, "both are as they were") from None
        self.outside = None
        self._write_table()
        return changes

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    # -- one change ------------------------------------------------------------------------------------------

    def _check(self, frame: int, tip: Tip | None) -> None:
        if not 0 <= frame < (self._info.frames or 0):
            raise InputError(f"there is no frame {frame}")
        if isinstance(tip, tuple):
            width, height = self._info.size_px
            if not (-0.5 <= tip[0] <= width - 0.5 and -0.5 <= tip[1] <= height - 0.5):
                raise InputError(f"the tip {tip[0]:.1f},{tip[1]:.1f} lies outside the picture, {width} x {height} px")

    def _note(self, tab: str, frame: int | None, value: LabelValue, *, table: bool = True) -> Change:
        return self._write(self._next(tab, frame, value, len(self._changes) + 1), table=table)

    def _next(self, tab: str, frame: int | None, value: LabelValue, revision: int, *, of: int | None = None) -> Change:
        return Change(
            n=len(self._changes) + 1,
            tab=tab,
            frame=frame,
            was=self._now.get(frame),
            now=value,
            base=self.revision(frame),
            revision=revision,
            of=of,
        )

    def _write(self, change: Change, *, table: bool = True) -> Change:
        line = json.dumps({**_to_line(change), "at": self._today()}) + "\n"
        try:
            self._opened().write(line.encode())
        except OSError as e:
            raise writing_failed(self._log_path, e, "the labels before are kept, this one is not saved") from None
        self._apply(change)
        if table and self.outside is None:
            self._write_table()
        return change

    def _apply(self, change: Change) -> None:
        self._changes.append(change)
        self._now[change.frame] = change.now
        self._revisions[change.frame] = change.revision
        story = self._stories.setdefault(change.tab, _Story())
        if change.of is None:
            story.done.append(change)
            story.undone.clear()
        elif story.done and story.done[-1].n == change.of:
            story.undone.append(story.done.pop())
        elif story.undone and story.undone[-1].n == change.of:
            story.done.append(story.undone.pop())

    # -- the log ---------------------------------------------------------------------------------------------

    def _opened(self) -> AppendedFile:
        """The log, with its first line."""
        if self._log is None:
            fresh = not self._log_path.exists() or self._log_path.stat().st_size == 0
            self._log = AppendedFile(self._log_path, more=True, durable=True)
            if fresh:
                about = {"labels": FORMAT, "clip": Path(self._info.name).name, **self._clip()}
                self._log.write((json.dumps(about) + "\n").encode())
        return self._log

    def _clip(self) -> dict[str, Any]:
        return {"frames": self._info.frames, "size_px": list(self._info.size_px)}

    def _read_log(self) -> Iterator[Change]:
        if not self._log_path.exists():
            return
        try:
            data = self._log_path.read_bytes()
        except OSError as e:
            raise InputError(f"{self._log_path} cannot be read: {e.strerror}") from None
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # a killed process was not done with its last line, and told nobody
            os.truncate(self._log_path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                said = json.loads(line)
                if number == 1:
                    self._check_clip(said)
                    continue
                yield _of_line(said, number - 1)
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                raise InputError(
                    f"{self._log_path}, line {number} is damaged: {e}; move it away to begin anew"
                ) from None

    def _check_clip(self, said: dict[str, Any]) -> None:
        if said["labels"] != FORMAT:
            raise InputError(f"{self._log_path} was written by a newer sonosteer")
        if {k: said[k] for k in ("frames", "size_px")} != self._clip():
            raise InputError(
                f"{self._log_path} holds labels of another clip ({said['clip']}, {said['frames']} frames of "
                f"{said['size_px'][0]} x {said['size_px'][1]} px): choose another `out`"
            )

    # -- the table -------------------------------------------------------------------------------------------

    def _write_table(self) -> None:
        part = self._table.with_suffix(".part")
        try:
            with part.open("wb") as f:
                f.write(self._text(self._now).encode())
                f.flush()
                os.fsync(f.fileno())
            part.replace(self._table)
        except OSError as e:
            part.unlink(missing_ok=True)
            self.trouble = str(writing_failed(self._table, e, f"every label is safe in {self._log_path.name}"))
            return
        self.trouble, self._looked = None, self._stamp()

    def _text(self, values: dict[int | None, LabelValue]) -> str:
        return table_of({k: v for k, v in values.items() if k is not None and v is not None})  # type: ignore[misc]

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._table.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _compare_table(self) -> None:
        """Find out whether the table is ours: of the labels as they are, or as they were a few changes ago."""
        self._looked = self._stamp()
        if self._looked is None:
            missing = bool(self._changes) and bool(self.labels())
            self.outside = f"{self._table.name} was removed" if missing else None
            return
        try:
            text = self._table.read_bytes().decode(errors="replace")
        except OSError as e:
            self.outside = f"{self._table.name} cannot be read: {e.strerror}"
            return
        values = dict(self._now)
        for change in [None, *reversed(self._changes[-STEPS_BACK:])]:
            if change is not None:
                values[change.frame] = change.was
            if text == self._text(values):
                self.outside = None
                if change is not None:  # a killed process had no time to replace it
                    self._write_table()
                return
        try:
            count = sum(1 for _ in self._differences())
            self.outside = f"{self._table.name} was changed outside: {count} label{'' if count == 1 else 's'} differ"
        except SonosteerError as e:
            self.outside = f"{self._table.name} was changed outside and cannot be read: {e}"

    def _differences(self) -> Iterator[tuple[int, Tip | None]]:
        """(frame, label) of each frame that the table has otherwise. Raises InputError if it cannot be read."""
        theirs: dict[int, Tip] = {}
        for truth in read_truth(self._table) if self._table.exists() else ():
            tip: Tip = "hidden" if truth.tip_px is None else truth.tip_px
            self._check(truth.frame_index, tip)
            theirs[truth.frame_index] = tip
        ours = self.labels()
        for frame in sorted({*ours, *theirs}):
            if not _same(ours.get(frame), theirs.get(frame)):
                yield frame, theirs.get(frame)


def table_of(labels: dict[int, Tip]) -> str:
    """Labels as a CSV file of marks, in the order of the frames."""
    lines = [",".join(COLUMNS)]
    for frame in sorted(labels):
        tip = labels[frame]
        place = ("", "", "0") if isinstance(tip, str) else (f"{tip[0]:.3f}", f"{tip[1]:.3f}", "1")
        lines.append(",".join((str(frame), *place)))
    return "\n".join(lines) + "\n"


def _same(a: Tip | None, b: Tip | None) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return max(abs(a[0] - b[0]), abs(a[1] - b[1])) < 0.001  # the table has three digits
    return a == b


def _named(frame: int | None) -> str:
    return "the scale" if frame is None else f"the label of frame {frame}"


def _to_line(change: Change) -> dict[str, Any]:
    said = {"n": change.n, "tab": change.tab, "do": "scale" if change.frame is None else "label", "frame": change.frame}
    said |= {"was": _to_json(change.was), "now": _to_json(change.now), "base": change.base, "revision": change.revision}
    return said | ({} if change.of is None else {"of": change.of})


def _to_json(value: LabelValue) -> Any:
    if isinstance(value, ScaleSaid):
        spacing = None if value.spacing is None else [value.spacing.x_mm, value.spacing.y_mm]
        return {"spacing_mm": spacing, "how": value.how}
    return list(value) if isinstance(value, tuple) else value


def _of_line(said: dict[str, Any], number: int) -> Change:
    if said["n"] != number:
        raise ValueError(f"it says number {said['n']}, and {number} would come now")
    frame, scale = said["frame"], said["do"] == "scale"
    change = Change(
        n=number,
        tab=str(said["tab"]),
        frame=None if scale else int(frame),
        was=_of_json(said["was"], scale=scale),
        now=_of_json(said["now"], scale=scale),
        base=int(said["base"]),
        revision=int(said["revision"]),
    )
    return replace(change, of=int(said["of"])) if "of" in said else change


def _of_json(value: Any, *, scale: bool) -> LabelValue:
    if value is None:
        return None
    if scale:
        spacing: Sequence[float] | None = value["spacing_mm"]
        return ScaleSaid(None if spacing is None else Spacing(*map(float, spacing)), str(value["how"]))
    if value == "hidden":
        return "hidden"
    x, y = value
    return float(x), float(y)
