"""Workers end with their parent, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonosteer.runtime.executor import run_trials

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are looked for by signals")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a zombie in a container whose first process does not collect it
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def gone(pids, within_s=20.0):
    until_s = time.monotonic() + within_s
    while any(map(is_alive, pids)) and time.monotonic() < until_s:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path, number):
    script = Path(__file__).with_name("orphaned.py")
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL) as parent:
        until_s = time.monotonic() + 120.0
        while len(list(tmp_path.iterdir())) < 2:
            assert parent.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.02)
        workers = [int(p.name) for p in tmp_path.iterdir()]
        parent.send_signal(number)
        parent.wait(20.0)
    assert gone(workers)


def doubled(number):
    time.sleep(0.0 if number else 60.0)
    return 2 * number


@pytest.mark.slow
def test_leaving_the_loop_ends_the_workers_at_once():
    began_s = time.monotonic()
    results = run_trials(doubled, [0, 1, 2, 3], "process", 2)
    index, result = next(results)
    assert index > 0  # any of the quick ones
    assert result == 2 * index
    results.close()
    assert time.monotonic() - began_s < 50.0  # one of them sleeps for a minute
