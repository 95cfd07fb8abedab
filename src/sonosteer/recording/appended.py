"""A file that grows by whole pieces. What could not be written whole is cut off again."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


class AppendedFile:
    """A file whose bytes reach the operating system before `write` returns. They outlive the process, not the machine.

    Raises OSError as the system does, and if the file was removed. The pieces before a failed one stay readable.
    more=True: goes on behind what is there. durable=True: the bytes are on the disk before `write` returns. They
    outlive the machine, too.
    """

    def __init__(self, path: Path, *, more: bool = False, durable: bool = False) -> None:
        self._durable = durable
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | (0 if more else os.O_TRUNC), 0o644)
        self._size = os.lseek(self._file, 0, os.SEEK_END)

    def write(self, data: bytes) -> int:
        """Append one piece, whole or not at all. Returns its length."""
        file = self._opened()
        try:
            done = os.write(file, data)
            while done < len(data):
                done += os.write(file, data[done:])
            if self._durable:
                os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):  # half a piece must not stay
                os.ftruncate(file, self._size)
                os.lseek(file, self._size, os.SEEK_SET)
            raise
        self._size += done
        if os.fstat(file).st_nlink == 0:  # what is written goes nowhere
            raise OSError(errno.ENOENT, "it was removed while it was written")
        return done

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._file
