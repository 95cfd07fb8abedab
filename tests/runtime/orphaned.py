"""A parent whose workers work for ever: `python orphaned.py FOLDER`. Each writes FOLDER/PID."""

import os
import sys
import time
from pathlib import Path

from sonosteer.runtime.executor import run_trials


def work(folder):
    (Path(folder) / str(os.getpid())).touch()
    while True:
        time.sleep(0.01)


if __name__ == "__main__":
    for _ in run_trials(work, [sys.argv[1]] * 2, "process", 2):
        pass
