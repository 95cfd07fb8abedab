"""Inserts in processes that are to be killed: `python killed_inserter.py FOLDER COUNT`.

Imports once, then forks COUNT live insertions on the fake rig. Each keeps FOLDER/k.said beside its FOLDER/k.mcap: the
last control period that it handed to the recorder. Prints their process numbers, and ends when all are dead.
"""

import math
import os
import struct
import sys
from pathlib import Path

from fake_rig import Fake, act

from sonosteer.core.clock import RealClock
from sonosteer.recording.run_log import RunLog
from sonosteer.runtime.insertion import Pace


def to_and_fro(k, seen):
    return act(seen, 8.0 * math.sin(0.7 * k), probe=(3.0 * math.cos(0.5 * k), 0.0, 0.0))


def insert(folder, k):
    said = os.open(folder / f"{k}.said", os.O_WRONLY | os.O_CREAT)

    def watch(now, capture, seen):
        os.pwrite(said, struct.pack("<qd", fake.control_branch.ticks, now), 0)

    with RunLog(folder / f"{k}.mcap", {"inserter": k}) as log:
        fake = Fake(to_and_fro, recorder=log, clock=RealClock())
        fake.run(Pace(longest_s=1e6, patience_s=1e6), watch=watch)


if __name__ == "__main__":
    pids = []
    for k in range(int(sys.argv[2])):
        pid = os.fork()
        if pid == 0:
            insert(Path(sys.argv[1]), k)
        pids.append(pid)
    print(*pids, flush=True)
    for pid in pids:
        os.waitpid(pid, 0)
