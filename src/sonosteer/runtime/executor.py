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
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from sonosteer.core.errors import BrokenError, InputError, MissingExtraError

Item = TypeVar("Item")
Result = TypeVar("Result")
KINDS = ("serial", "process", "dask", "tcp://HOST:PORT")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run_trials(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    executor: str = "process",
    workers: int | None = None,
    *,
    died: Callable[[Item], Result] | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Yield (index, work(item)) in the order of completion. `work` and the items must be picklable.

    died: called here with the item whose worker was killed, as the system does that runs out of memory. What it returns
    is the result, and the rest goes on. With dask, items that waited for the same worker may share its fate. None:
    BrokenError is raised then. Raises InputError for an unknown executor,
    MissingExtraError without dask. Leaving the loop cancels what has not begun, and ends what has. Close the generator
    to be sure that this is at once.
    """
    if executor == "serial" or (executor == "process" and (workers or cores()) == 1):
        for i, item in enumerate(items):
            yield i, work(item)
    elif executor == "process":
        yield from _processes(work, items, workers or cores(), died)
    elif executor == "dask" or executor.startswith("tcp://"):
        yield from _dask(work, items, executor, workers or cores(), died)
    else:
        raise InputError(f"there is no executor {executor!r}; there are: {', '.join(KINDS)}")


def _died(item: Item, died: Callable[[Item], Result] | None) -> Result:
    if died is None:
        raise BrokenError("a worker process died (out of memory?); what is done so far is kept") from None
    return died(item)


class _Worker:
    """A pool of one process, so that its death says which item it had. Another process stands in for a dead one."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Begin an item. One that died while it had nothing to do is replaced."""
        for _ in range(2):
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=begin_worker)
            try:
                return self._pool.submit(work, item)
            except BrokenProcessPool:
                self.close()
        raise BrokenError("no worker process can be started (out of memory?); what is done so far is kept")

    def close(self) -> None:
        """End the process, which waits for what it does."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, died: Callable[[Item], Result] | None
) -> Iterator[tuple[int, Result]]:
    before = set(multiprocessing.active_children())
    pools = [_Worker() for _ in range(min(workers, max(len(items), 1)))]
    left = iter(enumerate(items))
    busy: dict[Future[Result], tuple[int, _Worker]] = {
        pool.submit(work, item): (i, pool) for pool, (i, item) in zip(pools, left, strict=False)
    }
    try:
        while busy:
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                i, pool = busy.pop(future)
                broken = isinstance(future.exception(), BrokenProcessPool)
                if broken:
                    pool.close()
                result = _died(items[i], died) if broken else future.result()
                following = next(left, None)
                if following is not None:
                    busy[pool.submit(work, following[1])] = (following[0], pool)
                yield i, result
    except BaseException:
        for worker in set(multiprocessing.active_children()) - before:  # they would go on with what they were given
            worker.kill()
            worker.join(1.0)
        raise
    finally:
        for pool in pools:
            pool.close()


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
    work: Callable[[Item], Result],
    items: Sequence[Item],
    where: str,
    workers: int,
    died: Callable[[Item], Result] | None,
) -> Iterator[tuple[int, Result]]:
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise MissingExtraError(f"`executor` {where}", "distributed", "cluster") from None
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client = Client(where, timeout="10s") if where != "dask" else Client(**options)
    except (OSError, TimeoutError) as e:
        raise InputError(f"`executor` {where}: no dask scheduler answers there ({e})") from None
    with client:
        futures = {client.submit(work, item, pure=False): i for i, item in enumerate(items)}
        for future in as_completed(list(futures)):
            i = futures[future]
            try:
                result = future.result()
            except KilledWorker:  # the scheduler has tried it on several workers
                result = _died(items[i], died)
            yield i, result
