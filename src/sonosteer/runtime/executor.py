"""Runs many independent trials, on this machine or on a cluster. Results come as they are done.

`serial` runs them one after another, `process` on this machine's cores, `dask` on a local dask cluster, and an address
`tcp://host:8786` on the workers of that scheduler. Trials carry their own seeds, so that every way gives the same.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from sonosteer.core.errors import BrokenError, InputError, MissingExtraError

Item = TypeVar("Item")
Result = TypeVar("Result")
KINDS = ("serial", "process", "dask", "tcp://HOST:PORT")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run_trials(
    work: Callable[[Item], Result], items: Sequence[Item], executor: str = "process", workers: int | None = None
) -> Generator[tuple[int, Result], None, None]:
    """Yield (index, work(item)) in the order of completion. `work` and the items must be picklable.

    Raises InputError for an unknown executor, MissingExtraError without dask, BrokenError if a worker dies. Leaving
    the loop cancels what has not begun, and ends what has. Close the generator to be sure that this is at once.
    """
    if executor == "serial" or (executor == "process" and (workers or cores()) == 1):
        for i, item in enumerate(items):
            yield i, work(item)
    elif executor == "process":
        yield from _processes(work, items, workers or cores())
    elif executor == "dask" or executor.startswith("tcp://"):
        yield from _dask(work, items, executor, workers or cores())
    else:
        raise InputError(f"there is no executor {executor!r}; there are: {', '.join(KINDS)}")


def _processes(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[tuple[int, Result]]:
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, max(len(items), 1)), mp_context=context, initializer=begin_worker)
    try:
        waiting: dict[Future[Result], int] = {pool.submit(work, item): i for i, item in enumerate(items)}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    except BaseException as e:
        for worker in set(multiprocessing.active_children()) - before:  # they would go on with what they were given
            worker.kill()
            worker.join(1.0)
        pool.shutdown(wait=False, cancel_futures=True)
        if type(e).__name__ == "BrokenProcessPool":
            raise BrokenError("a worker process died (out of memory?); what is done so far is kept") from None
        raise
    pool.shutdown()


def begin_worker() -> None:
    """Make a worker process end with its parent, however that ends, and leave it to the parent when.

    A signal to the whole group, as a terminal and a service manager send it, is the parent's to obey.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _dask(
    work: Callable[[Item], Result], items: Sequence[Item], where: str, workers: int
) -> Iterator[tuple[int, Result]]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise MissingExtraError(f"`executor` {where}", "distributed", "cluster") from None
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client = Client(where, timeout="10s") if where != "dask" else Client(**options)
    except (OSError, TimeoutError) as e:
        raise InputError(f"`executor` {where}: no dask scheduler answers there ({e})") from None
    with client:
        futures = {client.submit(work, item, pure=False): i for i, item in enumerate(items)}
        for future, result in as_completed(list(futures), with_results=True):
            yield futures[future], result
