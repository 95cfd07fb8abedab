"""Records runs in processes that are to be killed: `python killed_writer.py FOLDER COUNT`.

Imports once, then forks COUNT writers. Each keeps FOLDER/k.said beside its FOLDER/k.mcap: the time of the last message
that it handed over, which outlives it. Prints the writers' process numbers, and ends when all are dead.
"""

import os
import struct
import sys
import time
from pathlib import Path

import numpy as np

from sonosteer.core.types import Frame
from sonosteer.recording.run_log import RunLog

STEP_S = 0.02


def picture(i):
    return np.random.default_rng(i).integers(0, 255, (60, 80), np.uint8)


def write(folder, k):
    said = os.open(folder / f"{k}.said", os.O_WRONLY | os.O_CREAT)
    began_s = time.monotonic()
    with RunLog(folder / f"{k}.mcap", {"writer": k}) as log:
        i = 0
        while True:
            now_s = time.monotonic() - began_s
            log.write("/tick", now_s, {"k": i})
            if i % 2 == 0:
                log.frame(Frame(picture(i), i, now_s), now_s)
            os.pwrite(said, struct.pack("<qd", i, now_s), 0)
            i += 1
            time.sleep(max(began_s + i * STEP_S - time.monotonic(), 0.0))


if __name__ == "__main__":
    pids = []
    for k in range(int(sys.argv[2])):
        pid = os.fork()
        if pid == 0:
            write(Path(sys.argv[1]), k)
        pids.append(pid)
    print(*pids, flush=True)
    for pid in pids:
        os.waitpid(pid, 0)
