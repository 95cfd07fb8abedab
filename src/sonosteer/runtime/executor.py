"""Runs many independent trials, on this machine or on a cluster. Results come as they are done.

`serial` runs them one after another, `process` on this machine's cores, `dask` on a local dask cluster, and an address
`tcp://host:8786` on the workers of that scheduler. Trials carry their own seeds, so that every way gives the same.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
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
) -> Iterator[tuple[int, Result]]:
    """Yield (index, work(item)) in the order of completion. `work` and the items must be picklable.

    Raises InputError for an unknown executor, MissingExtraError without dask, BrokenError if a worker dies. Leaving
    the loop cancels what has not begun.
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
    pool = ProcessPoolExecutor(min(workers, max(len(items), 1)), mp_context=context)
    try:
        waiting: dict[Future[Result], int] = {pool.submit(work, item): i for i, item in enumerate(items)}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    except BaseException as e:
        pool.shutdown(wait=False, cancel_futures=True)
        if type(e).__name__ == "BrokenProcessPool":
            raise BrokenError("a worker process died (out of memory?); what is done so far is kept") from None
        raise
    pool.shutdown()


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
