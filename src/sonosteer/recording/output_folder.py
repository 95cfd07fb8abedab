"""An output folder has one writer at a time. A second one would mix its files with those of the first.

A lock of the operating system on a small file holds it. It ends with the process, however that ends. So what a killed
command left keeps nobody out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sonosteer.core.errors import InputError
from sonosteer.recording.tables import FULL, REFUSED, make_folder, writing_failed

LOCK, BEGUN = ".sonosteer-lock", ".sonosteer-begun"


@contextlib.contextmanager
def claimed_folder(path: Path | None) -> Iterator[None]:
    """Make an output folder, and keep other commands from writing to it meanwhile. None: there is none.

    Raises InputError if another command writes to it, or nobody can, or no longer can.
    """
    if path is None:
        yield
        return
    made = not path.exists()
    make_folder(path)
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"another command writes to {path} just now: wait for its end, or choose another `out`"
        ) from None
    except OSError as e:
        raise writing_failed(path / LOCK, e, "nothing was written") from None
    try:
        yield
    except OSError as e:
        where = Path(path if e.filename is None else str(e.filename))
        if e.errno not in (*FULL, *REFUSED) or not where.absolute().is_relative_to(path.absolute()):
            raise
        raise writing_failed(where, e, "what was written before is kept") from None
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone
            (path / LOCK).unlink()  # while it is held: whoever waits for it sees that it is another file now
        lock.release()
        if made:
            with contextlib.suppress(OSError):  # nothing was written to it
                path.rmdir()


def begin_new(path: Path, what: str) -> None:
    """Begin to fill a new folder, which is claimed. One that the same command began and did not finish is gone on with.

    what: the command. Raises InputError if something else is there.
    """
    note = path / BEGUN
    with contextlib.suppress(OSError):
        if note.read_text() == what:
            return
        raise InputError(
            f"{path} was begun by another command, {note.read_text()!r}: give that again, or choose another `out`"
        )
    check_free(path)
    note.write_text(what)


def finish_new(path: Path) -> None:
    """Note that the folder is filled."""
    (path / BEGUN).unlink(missing_ok=True)


def check_free(path: Path) -> None:
    """Raise InputError unless nothing is there but an empty folder, or one that a command began and did not finish."""
    if not path.exists() or (path / BEGUN).exists():
        return
    if not path.is_dir() or any(p.name != LOCK for p in path.iterdir()):
        raise InputError(f"{path} is there already and not empty; choose another `out`")
