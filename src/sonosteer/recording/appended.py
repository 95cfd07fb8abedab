"""A file that grows by whole pieces: what could not be written whole is cut off again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class AppendedFile:
    """Bytes handed to the operating system before `write` returns: they outlive the process, not the machine.

    Raises OSError as the system does; the pieces before a failed one stay readable.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._size = 0

    def write(self, data: bytes) -> int:
        """Append one piece, whole or not at all; returns its length."""
        try:
            done = os.write(self._file, data)
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError:
            with contextlib.suppress(OSError):  # half a piece must not stay
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += done
        return done

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
