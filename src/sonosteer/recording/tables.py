"""Reads and writes CSV. Rows are on disk as soon as they are written, and a failed write leaves whole rows only."""

from __future__ import annotations

import codecs
import csv
import errno
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sonosteer.core.errors import BrokenError, InputError, SonosteerError
from sonosteer.recording.appended import AppendedFile

Row = TypeVar("Row")

#: a number as spreadsheets write it where the comma is the decimal mark
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")

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


def read_table(
    path: Path, columns: Sequence[str], parse: Callable[[dict[str, str]], Row], *, unique: str | None = None
) -> list[Row]:
    """Read a CSV file written by a `TableWriter`, or by hand or a spreadsheet with the same columns.

    Fields may be parted by semicolons or tabs, numbers then have decimal commas, too. Spaces beside names and rows
    without any value are left out. A last line without its end is left out if it cannot be read: its process was killed
    while it wrote. unique: a column of whole numbers none of which may stand twice. Raises InputError with the missing
    column, or with the line and the value that is wrong.
    """
    text = _text(path)
    if not text.strip():
        raise InputError(f"{path} is empty")
    lines = text.splitlines(keepends=True)
    parted_by = _parted_by(lines[0])
    try:
        rows = csv.DictReader(lines, delimiter=parted_by, skipinitialspace=f"{parted_by} " in lines[0])
        names = [name.strip() for name in rows.fieldnames or []]
    except csv.Error as e:
        raise InputError(f"{path} is not a CSV file: {e}") from None
    missing = [c for c in columns if c not in names]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]!r}; it needs {','.join(columns)}")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} has the column {twice!r} twice; name one of them otherwise")
    rows.fieldnames = names
    cut = not lines[-1].endswith(("\n", "\r"))
    return list(_parsed(path, _filled(path, rows, decimal_comma=parted_by != ","), parse, unique, cut=cut))


def _text(path: Path) -> str:
    """Text of a file in UTF-8, or in UTF-16 with its mark. Raises InputError if it is no text."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    coding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise InputError(
            f"{path} is not a CSV file in UTF-8: byte {e.start}, in line {line}, is of another encoding; save it as "
            "CSV UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{path} is not a CSV file: it holds bytes 0")
    return text


def _parted_by(header: str) -> str:
    """What parts the fields: the one that a first line without a comma has."""
    return next((mark for mark in (";", "\t") if mark in header and "," not in header), ",")


def _filled(path: Path, rows: Any, *, decimal_comma: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, fields) of the rows that have a value. Numbers are given decimal points."""
    while True:
        try:
            row = next(rows, None)
        except csv.Error as e:
            raise InputError(f"{path}, line {rows.line_num}: {e}") from None
        if row is None:
            return
        if not any(isinstance(v, str) and v.strip() for v in row.values()):
            continue
        if decimal_comma:
            row = {k: _with_point(v) if isinstance(v, str) else v for k, v in row.items()}
        yield rows.line_num, row


def _with_point(text: str) -> str:
    return text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text


def _parsed(
    path: Path,
    rows: Iterator[tuple[int, dict[str, str]]],
    parse: Callable[[dict[str, str]], Row],
    unique: str | None,
    *,
    cut: bool,
) -> Iterator[Row]:
    seen: dict[int, int] = {}
    held: tuple[int, dict[str, str]] | None = None
    for each in rows:
        if held is not None:
            yield _row(path, *held, parse, unique, seen)
        held = each
    if held is None:
        return
    try:
        yield _row(path, *held, parse, unique, seen)
    except InputError:
        if not cut:
            raise


def _row(
    path: Path,
    line: int,
    row: dict[str, str],
    parse: Callable[[dict[str, str]], Row],
    unique: str | None,
    seen: dict[int, int],
) -> Row:
    try:
        parsed = parse(row)
        key = None if unique is None else whole(row, unique)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as e:
        raise InputError(f"{path}, line {line}: {e}") from None
    if key is not None:
        if key in seen:
            raise InputError(f"{path}, line {line}: {unique} {key} stands in line {seen[key]}, too")
        seen[key] = line
    return parsed


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
