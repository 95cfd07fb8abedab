"""What commands that open a page of the console have in common: its extra, address, browser, and a live run's feed."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sonosteer.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from sonosteer.console.live_feed import LiveFeed
    from sonosteer.console.live_state import LiveAbout

Port = Annotated[
    int | None, typer.Option("--port", metavar="N", help="Port of the page on this machine. Default: any that is free.")
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Only print the page's address.")]


@dataclass(frozen=True)
class ConsoleWords:
    """Whether a page is shown, and how, as a command was told."""

    shown: bool = False
    """True where a page is to be shown."""
    port: int | None = None
    """Port on this machine, no unit. None: any that is free."""
    no_browser: bool = False
    """True where only the address is printed."""

    def checked(self, option: str) -> ConsoleWords:
        """Return itself. Raises InputError for words of a page that is not shown, MissingExtraError without the extra.

        option: the one that shows a page, for the message.
        """
        if self.shown:
            check_console_extra()
        elif self.port is not None or self.no_browser:
            name = "--no-browser" if self.port is None else "--port"
            raise InputError(f"{name} is for the console's page: give {option}, too")
        return self


def check_console_extra() -> None:
    """Raise MissingExtraError where what serves the page is not installed."""
    for package in ("starlette", "uvicorn", "websockets"):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtraError("the console", package, "console") from None


def told_address(told: str, *, no_browser: bool, on_stderr: bool = False) -> Callable[[str], None]:
    """What prints a page's address and a further line, and opens the browser at it."""

    def ready(address: str) -> None:
        stream = sys.stderr if on_stderr else sys.stdout
        print(address, file=stream, flush=True)
        print(told, file=stream, flush=True)
        if not no_browser:
            threading.Thread(target=_open_browser, args=(address,), name="browser", daemon=True).start()

    return ready


def _open_browser(address: str) -> None:
    """Open the browser. One of the terminal would take the terminal, and none is opened where there is no screen."""
    screen = sys.platform in ("win32", "darwin") or any(os.environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY"))
    try:
        shown = screen and webbrowser.open(address)
    except (webbrowser.Error, OSError):
        shown = False
    if not shown:
        print("sonosteer: no browser could be opened: open the address above yourself", file=sys.stderr, flush=True)


@contextmanager
def shown_live(words: ConsoleWords, about: LiveAbout, told: str, *, as_json: bool) -> Iterator[LiveFeed | None]:
    """A console that looks at a run, its address printed. None where no page is to be shown.

    With --json the address goes to stderr. It is ended when the run is.
    """
    if not words.shown:
        yield None
        return
    from sonosteer.console.live_feed import LiveFeed

    feed = LiveFeed.open(about, port=words.port, told_lost=lambda why: print(f"sonosteer: {why}", file=sys.stderr))
    try:
        told_address(told, no_browser=words.no_browser, on_stderr=as_json)(feed.address)
        yield feed
    finally:
        feed.close()
