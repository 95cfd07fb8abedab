"""A live insertion with a page of the console: what the page is told, and what is drawn on it before the start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sonosteer.commands import terminal
from sonosteer.commands.console_page import ConsoleWords, shown_live
from sonosteer.core.errors import BrokenError, InterruptedRunError

if TYPE_CHECKING:
    from sonosteer.console.live_feed import LiveFeed
    from sonosteer.console.live_state import DrawnAim
    from sonosteer.core.clock import Clock
    from sonosteer.core.types import Frame, Task
    from sonosteer.safety.gate import Gate

    class ShownEpisode(Protocol):
        """What is needed of an insertion to show it."""

        task: Task
        """What the policy is told to do."""

        @property
        def gate(self) -> Gate:
            """The safety gate."""
            ...


TELL_WAITING_S = 0.05  # chosen: how often a page is told that a run waits for its start


@contextmanager
def shown_insertion(
    words: ConsoleWords,
    episode: ShownEpisode,
    *,
    name: str,
    size_px: tuple[int, int],
    longest_s: float,
    out: Path | None,
    paused: bool,
    dry_run: bool = False,
    as_json: bool,
) -> Iterator[LiveFeed | None]:
    """A console that looks at an insertion, its address printed. None where no page is to be shown.

    The keys of the terminal press the same button. paused: target and regions are drawn before the start.
    """
    if not words.shown:
        yield None
        return
    from sonosteer.console.live_state import LiveAbout

    gate, task = episode.gate, episode.task
    about = LiveAbout(
        name=name,
        moves=True,
        size_px=size_px,
        spacing=task.spacing,
        target_px=task.target_px,
        regions=gate.regions,
        tip_sd_mm=gate.limits.tip_sd_mm,
        clearance=gate.limits.clearance,
        longest_s=longest_s,
        dry_run=dry_run,
        recording=None if out is None else str(out),
        drawn_before=paused,
    )
    told = "The page has STOP, and shows the run. It ends with the run." + (
        " Nothing moves before Start is held there." if paused else ""
    )
    with shown_live(words, about, told, as_json=as_json) as feed:
        if feed is not None:
            terminal.operators_button(live=True, button=feed.button)
        yield feed


def wait_for_start(feed: LiveFeed, picture: Callable[[float], Frame | None], clock: Clock) -> DrawnAim:
    """Show pictures until the operator starts the run. Returns target and regions as he left them.

    picture: waits up to so many seconds for a new picture. clock: theirs. Nothing is sent to a robot meanwhile. A stop
    that is pressed here has to be released before the start. Raises InterruptedRunError for Ctrl-C, BrokenError if
    nobody is left who could start it.
    """
    from sonosteer.safety.stop import Stop

    stop: Stop | None = None
    feed.phase, tick = "before", 0
    try:
        while True:
            for word in feed.button.taken():
                if word == "stop":
                    stop = stop or Stop("operator", "the operator pressed stop before the start", clock.now_s())
                elif word == "release":
                    stop = None
                elif word == "resume" and stop is None:
                    feed.take_drawn()
                    feed.phase = "running"
                    return feed.aim
            if feed.lost is not None and not sys.stdin.isatty():
                raise BrokenError("the console has ended before the start, and there is no terminal: nobody can start")
            feed.take_drawn()
            frame = picture(TELL_WAITING_S)
            if frame is not None:
                feed.show_picture(frame, clock.now_s(), None)
            tick += 1
            feed.wait_for_start(clock.now_s(), tick, stop)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted before the start; nothing has moved") from None
