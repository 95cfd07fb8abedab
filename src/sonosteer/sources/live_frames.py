"""What live sources share: frames one after the other, for whoever reads them in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sonosteer.core.types import Frame

WAIT_S = 0.25  # chosen: Ctrl-C is heard as often on every system


class _Waited(Protocol):
    def next_frame(self, timeout_s: float) -> Frame | None: ...


def live_frames(source: _Waited, start: int, stop: int | None) -> Iterator[Frame]:
    """Yield frames as they come. The first `start` are passed over, stop - start are yielded. None: without an end."""
    done = 0
    while stop is None or done < stop:
        frame = source.next_frame(WAIT_S)
        if frame is None:
            continue
        if done >= start:
            yield frame
        done += 1
