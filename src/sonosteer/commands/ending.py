"""How a command ends when the system tells it to: SIGTERM and SIGHUP end it as Ctrl-C does, within five seconds.

The first signal raises KeyboardInterrupt, so that every command closes its files and says what is kept. Further ones
change nothing. What has not ended in order after GRACE_S is ended by force, such as work inside a library that does not
listen. Rows, fragments and chunks are on the disk as they are made, so that results can be read then, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

GRACE_S = 4.0  # chosen: a service manager is promised five seconds
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
INTERRUPTED = 130


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Let signals end what runs inside, as its module says. Worker processes are gone when it is left."""
    told, over = threading.Event(), threading.Event()
    terminals = [stream for stream in (0, 1, 2) if _is_terminal(stream)]  # one that hung up no longer says that it is

    def interrupt(number: int, frame: object) -> None:
        if told.is_set():
            return
        told.set()
        if number == getattr(signal, "SIGHUP", None):
            _leave(terminals)
        raise KeyboardInterrupt

    listened = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]  # nohup ignores SIGHUP, and means it
    before = {s: signal.signal(s, interrupt) for s in listened}
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    earlier = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    numbers = {int(s) for s in listened}
    threading.Thread(target=_watch, args=(heard, numbers, over), name="ending", daemon=True).start()
    try:
        yield
    finally:
        end_workers()
        over.set()
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(tell)  # which ends the thread, too


def end_workers() -> None:
    """Kill the worker processes that are left. There are none after an end in order."""
    multiprocessing = sys.modules.get("multiprocessing")
    workers = [] if multiprocessing is None else multiprocessing.active_children()
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(1.0)


def _watch(heard: int, numbers: set[int], over: threading.Event) -> None:
    """End the process by force if it goes on for long after a signal, which is heard also while a library works."""
    with open(heard, "rb", buffering=0) as signals:
        while told := signals.read(1):
            if told[0] in numbers and not over.wait(GRACE_S):
                end_workers()
                with contextlib.suppress(OSError):
                    os.write(2, b"sonosteer: interrupted, and ended by force: it did not listen\n")
                os._exit(INTERRUPTED)


def _is_terminal(stream: int) -> bool:
    try:
        return os.isatty(stream)
    except OSError:
        return False


def _leave(terminals: list[int]) -> None:
    """A terminal that hung up takes no words. They go nowhere from now on, so that they do not break the end."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in terminals:
        os.dup2(nowhere, stream)
    os.close(nowhere)
