"""Work for the worker process: one piece after another, with progress, told to leave off, started again if it dies."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeAlias

from sonosteer.console.worker import Work, put_into, run_worker

#: what comes of a piece of work. "rows" are estimates of a track, "progress" is how far it is
News: TypeAlias = Literal["waits", "begun", "progress", "rows", "done", "failed", "left off"]


@dataclass(eq=False)
class Job:
    """One piece of work."""

    number: int
    """Its number, from 1, no unit."""
    name: str
    """What it is, in words."""
    work: Work
    """What is to be done."""
    heard: Callable[[Job, News, tuple[Any, ...]], None]
    """Called with each piece of news, in the thread of `call`."""


class Jobs:
    """The queue to the worker. All methods belong to one thread.

    call: runs a function in that thread, from any other.
    """

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._numbers = itertools.count(1)
        self._waiting: list[Job] = []
        self._doing: Job | None = None
        self._pipe: Connection | None = None
        self._process: Any = None
        self._closed = False

    def put(self, name: str, work: Work, heard: Callable[[Job, News, tuple[Any, ...]], None]) -> Job:
        """Queue a piece of work."""
        job = Job(next(self._numbers), name, work, heard)
        self._waiting.append(job)
        heard(job, "waits", ())
        self._go_on()
        return job

    def leave_off(self, number: int) -> bool:
        """End a piece of work, or take it from the queue. Returns whether there is one."""
        if self._doing is not None and self._doing.number == number:
            if self._pipe is not None:
                put_into(self._pipe, ("leave off", number))
            return True
        for job in self._waiting:
            if job.number == number:
                self._waiting.remove(job)
                job.heard(job, "left off", ())
                return True
        return False

    def close(self) -> None:
        """End the worker."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.join(2.0)

    def _go_on(self) -> None:
        if self._doing is not None or not self._waiting or self._closed:
            return
        self._doing = self._waiting.pop(0)
        if self._process is None:
            self._start()
        assert self._pipe is not None
        self._doing.heard(self._doing, "begun", ())
        try:
            put_into(self._pipe, (self._doing.number, self._doing.work))
        except OSError:  # it has just died, and the listener will say so
            return

    def _start(self) -> None:
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=run_worker, args=(there,), daemon=True)
        process.start()
        there.close()
        self._pipe, self._process = here, process
        threading.Thread(target=self._listen, args=(here, process), name="worker's news", daemon=True).start()

    def _listen(self, pipe: Connection, process: Any) -> None:
        while True:
            try:
                number, news, *more = pipe.recv()
            except (EOFError, OSError):
                break
            self._call(lambda n=number, w=news, m=tuple(more): self._hear(n, w, m))  # type: ignore[misc]
        process.join()
        self._call(lambda: self._died(process))

    def _hear(self, number: int, news: News, more: tuple[Any, ...]) -> None:
        job = self._doing
        if job is None or job.number != number:
            return
        if news in ("done", "failed", "left off"):
            self._doing = None
        job.heard(job, news, more)
        self._go_on()

    def _died(self, process: Any) -> None:
        if process is not self._process:
            return
        self._process = self._pipe = None
        job, self._doing = self._doing, None
        if job is not None and not self._closed:
            why = f"the worker process ended by itself (exit code {process.exitcode}); what it had done is kept"
            job.heard(job, "failed", (why,))
        self._go_on()
