"""A source from outside this package: its mistakes become one line, and what it delivered before is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.plugins import check_methods, naming
from sonosteer.core.protocols import Source, SourceInfo
from sonosteer.core.types import Frame


class PluggedInSource:
    """A stranger's source. It needs `info` and `frames(start, stop)`. `close()` is optional.

    Raises InputError if it lacks one of them, or its info is no SourceInfo.
    """

    def __init__(self, source: Any, name: str) -> None:
        check_methods(source, name, ("frames",))
        self.source = source
        self._name = name
        info = getattr(source, "info", None)
        if not isinstance(info, SourceInfo):
            raise InputError(f"{name}: info must be a SourceInfo, but is {type(info).__name__}")
        self.info: SourceInfo = info
        if hasattr(source, "truth"):
            self.truth = source.truth

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield its frames. Raises BrokenError if it breaks, or yields what is no Frame."""
        done = 0
        frames = None
        while True:
            with naming(self._name, f"frames, after {done} of them", self.source):
                frames = iter(self.source.frames(start, stop)) if frames is None else frames
                frame = next(frames, None)
                if frame is None:
                    return
                if not isinstance(frame, Frame):
                    raise TypeError(f"frames must yield Frame, but yielded {type(frame).__name__}")
            yield frame
            done += 1

    def close(self) -> None:
        """Close it, if it knows how."""
        close = getattr(self.source, "close", None)
        if close is not None:
            close()


class WithSpacing:
    """A source whose scale is known better: every frame is given this one."""

    def __init__(self, source: Source, spacing: Spacing) -> None:
        self.source = source
        self.info = dataclasses.replace(source.info, spacing=spacing)
        truth = getattr(source, "truth", None)
        if truth is not None:
            self.truth = truth
        self._spacing = spacing

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop` of the source."""
        for frame in self.source.frames(start, stop):
            yield dataclasses.replace(frame, spacing=self._spacing)

    def close(self) -> None:
        """Close the source."""
        self.source.close()
