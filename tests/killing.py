"""Kill -9 for tests: processes that say in a small file how far they have come, killed at random moments."""

import os
import signal
import struct
import time
import traceback


def said(folder, k):
    """(number, time) of the last thing that process k handed over; None before its first."""
    try:
        data = (folder / f"{k}.said").read_bytes()
    except FileNotFoundError:
        return None
    return struct.unpack("<qd", data) if len(data) == 16 else None


def kill_all(folder, pids, rng):
    """Each 0.3 to 2 s after the first thing that it said."""
    due, alive = {}, dict(enumerate(pids))
    while alive:
        now = time.monotonic()
        for k, pid in list(alive.items()):
            if k not in due and said(folder, k) is not None:
                due[k] = now + rng.uniform(0.3, 2.0)
            if k in due and now >= due[k]:
                os.kill(pid, signal.SIGKILL)
                del alive[k]
        time.sleep(0.005)


def run_killed(work, rng, *, times, most_s):
    """Run it in forked processes, each killed within most_s, and a last one to its end. It must end well."""
    for k in range(times + 1):
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:  # noqa: BLE001  a forked test must not go on as a second pytest
                traceback.print_exc()
                os._exit(1)
        if k < times:
            time.sleep(rng.uniform(0.0, most_s))
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in ((0, -signal.SIGKILL) if k < times else (0,)), f"run {k} ended with {status}"
