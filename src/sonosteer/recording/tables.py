"""Reads and writes CSV. Rows are on disk as soon as they are written, and a failed write leaves whole rows only."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sonosteer.core.errors import BrokenError, InputError, SonosteerError
from sonosteer.recording.appended import AppendedFile

Row = TypeVar("Row")

#: error numbers of a place that cannot be written to at all
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT)
#: error numbers of a disk without room
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def writing_failed(path: Path, error: OSError, kept: str) -> SonosteerError:
    """Return the error to raise when writing to `path` failed. kept: what is left of the work."""
    if error.errno in FULL:
        return InputError(f"the disk is full: {path} cannot grow; {kept}; free some space or choose another `out`")
    if error.errno in REFUSED:
        return InputError(f"{path} cannot be written: {error.strerror}; choose another `out`")
    return BrokenError(f"writing {path} failed: {error.strerror}; {kept}")


def make_folder(path: Path) -> None:
    """Create an output folder and see that it can be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another command may look, too
    except OSError as e:
        raise writing_failed(path, e, "nothing was written") from None


class LineWriter:
    """Appends lines to a text file, each handed to the operating system before the call returns.

    more=True: behind the lines that are there.
    """

    def __init__(self, path: Path, *, more: bool = False) -> None:
        self.path = path
        self.rows = 0
        try:
            self._file = AppendedFile(path, more=more)
        except OSError as e:
            raise writing_failed(path, e, "nothing was written") from None

    def line(self, text: str) -> None:
        """Append one line. Raises InputError if the disk is full. The lines before it stay readable."""
        self._put(text + "\n")
        self.rows += 1

    def _put(self, line: str) -> None:
        try:
            self._file.write(line.encode())
        except OSError as e:
            raise writing_failed(self.path, e, f"the first {self.rows} rows are kept") from None

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TableWriter(LineWriter):
    """A CSV file: column names, then rows."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        super().__init__(path)
        self._put(",".join(columns) + "\n")

    def write(self, values: Sequence[str]) -> None:
        """Append one row. Raises InputError if the disk is full. The rows before it stay readable."""
        self.line(",".join(values))


def quoted(text: str) -> str:
    """Return a text as a field of a row: in quotes if it holds what CSV takes for its own."""
    plain = not {",", '"'} & set(text) and text.strip() == text and len(text.splitlines()) <= 1
    return text if plain else '"' + text.replace('"', '""') + '"'


def read_table(path: Path, columns: Sequence[str], parse: Callable[[dict[str, str]], Row]) -> list[Row]:
    """Read a CSV file written by a `TableWriter`, or by hand with the same columns.

    A last line without its end is left out: its process was killed while it wrote. Raises InputError with the missing
    column, or with the line and the value that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a CSV file") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    lines = text.splitlines(keepends=True)
    rows = csv.DictReader(lines)
    missing = [c for c in columns if c not in (rows.fieldnames or [])]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]!r}; it needs {','.join(columns)}")
    return list(_parsed(path, rows, columns, parse, cut=not lines[-1].endswith("\n")))


def _parsed(
    path: Path, rows: Any, columns: Sequence[str], parse: Callable[[dict[str, str]], Row], *, cut: bool
) -> Iterator[Row]:
    held: tuple[int, dict[str, str]] | None = None
    for row in rows:
        if held is not None:
            yield _row(path, *held, parse)
        held = (rows.line_num, row)
    if held is None:
        return
    try:
        yield _row(path, *held, parse)
    except InputError:
        if not cut:
            raise


def _row(path: Path, line: int, row: dict[str, str], parse: Callable[[dict[str, str]], Row]) -> Row:
    try:
        return parse(row)
    except (ValueError, TypeError, AttributeError, KeyError) as e:
        raise InputError(f"{path}, line {line}: {e}") from None


def number(row: dict[str, str], column: str) -> float:
    """Read a finite number. Raises ValueError with what is there instead."""
    text = (row[column] or "").strip()
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} is {text!r}, which is not a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{column} is {text}, which is not a finite number")
    return value


def whole(row: dict[str, str], column: str) -> int:
    """Read a whole number. Raises ValueError with what is there instead."""
    value = number(row, column)
    if value != int(value):
        raise ValueError(f"{column} is {row[column]}, which is not a whole number")
    return int(value)


def optional(row: dict[str, str], column: str) -> float | None:
    """Read a number, or None for an empty field and for a column that the table does not have."""
    return number(row, column) if (row.get(column) or "").strip() else None
