"""Kill -9 for tests: processes that say in a small file how far they have come, killed at random moments."""

import os
import signal
import struct
import time


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
