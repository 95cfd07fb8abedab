"""A clip or a live stream in a page of the console while it is tracked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sonosteer.commands.console_page import ConsoleWords, shown_live
from sonosteer.core.clock import Clock, RealClock
from sonosteer.core.errors import InputError
from sonosteer.core.types import Track

if TYPE_CHECKING:
    from sonosteer.console.live_feed import LiveFeed
    from sonosteer.core.types import Estimate, Frame
    from sonosteer.episodes.clip_tracking import ClipJob


class ShownTracking:
    """Shows each frame as it is tracked, and counts them by state. It is a watcher of the tracking loop."""

    def __init__(self, feed: LiveFeed, clock: Clock) -> None:
        self._feed, self._clock = feed, clock
        self.counts = {"frames": 0, **{track.value: 0 for track in Track}}

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Show one frame and its estimate."""
        self.counts["frames"] += 1
        self.counts[estimate.state.value] += 1
        self._feed.show_tracked(frame, estimate, now_s=self._clock.now_s(), counts=self.counts)


@contextmanager
def shown_tracking(words: ConsoleWords, job: ClipJob, *, as_json: bool) -> Iterator[ClipJob]:
    """The job with a page that looks on, or as it is where no page is to be shown.

    Raises InputError for stills, whose sizes may differ.
    """
    if not words.shown:
        yield job
        return
    if job.stills:
        raise InputError("--show is for a clip or a live source; a still is in the report")
    from sonosteer.console.live_state import LiveAbout

    clock = getattr(job.source, "clock", None)
    info = job.source.info
    about = LiveAbout(
        name=f"{job.name} · {job.method}",
        moves=False,
        size_px=info.size_px,
        spacing=info.spacing,
        recording=str(job.out),
        live=clock is not None,
        counts=("frames", *(track.value for track in Track)),
    )
    with shown_live(words, about, "Ctrl-C ends the tracking. The page only looks on.", as_json=as_json) as feed:
        if feed is None:
            yield job
            return
        yield dataclasses.replace(job, viewers=(ShownTracking(feed, clock or RealClock()),))
        feed.end("tracked")
