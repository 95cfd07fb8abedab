"""The process of a live console. It serves the page, reads the loop's shared memory and sends back what is pressed."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

LINGER_S = 1.0  # chosen: long enough for every tab to hear that the run is over
MAX_PIPE_BYTES = 1 << 12  # chosen: many times the longest word, and as long as a reason may be


@dataclass(frozen=True, kw_only=True)
class LiveAsked:
    """What the process is told when it starts."""

    run: str
    """Name of the run on the page."""
    about: dict[str, Any]
    """What a page is told once of the run."""
    pictures: str
    """Name of the shared memory with the pictures."""
    picture_bytes: int
    """Largest picture, bytes."""
    states: str
    """Name of the shared memory with the control periods."""
    port: int | None
    """Port on this machine, no unit. None: any that is free."""


class WordsOut:
    """Sends what is pressed to the loop. Whoever presses never waits."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waiting: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="words", daemon=True).start()

    def put(self, word: tuple[Any, ...]) -> None:
        """Send a word, in its turn."""
        self._waiting.put(word)

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the loop has ended: `_listen` says so
            while True:
                self._pipe.send_bytes(json.dumps(self._waiting.get()).encode())


def run_console(asked: LiveAsked, pipe: Connection) -> None:
    """Serve until the loop says that the run is over, or is gone. It is the target of a process."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C at the terminal is for the loop, which then says that the run is over
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # real time is for the loop, if it has it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from sonosteer.console.live_room import LiveRoom
    from sonosteer.console.mirror import Mirror
    from sonosteer.console.serving import listening_socket, serve_room
    from sonosteer.core.errors import InputError

    try:
        listening = listening_socket(asked.port)
    except InputError as e:
        pipe.send_bytes(json.dumps(["failed", str(e)]).encode())
        return
    room = LiveRoom(
        about=asked.about,
        run=asked.run,
        pictures=Mirror(asked.picture_bytes, asked.pictures),
        states=Mirror(0, asked.states),
        press=WordsOut(pipe).put,
    )
    threading.Thread(target=_listen, args=(pipe, room), name="loop's words", daemon=True).start()
    serve_room(room, listening, lambda address: pipe.send_bytes(json.dumps(["ready", address]).encode()))


def _listen(pipe: Connection, room: Any) -> None:
    """Wait for the end of the run, tell it, and end."""
    try:
        _, why = json.loads(pipe.recv_bytes(MAX_PIPE_BYTES))
        room.end(str(why), killed=False)
    except (EOFError, OSError, ValueError):
        room.end("the loop's process has ended without a word", killed=True)
    threading.Event().wait(LINGER_S)
    os._exit(0)
