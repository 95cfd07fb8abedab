"""Kill -9 at random moments of `steer run`: its recording is readable, and `replay` says up to where it is equal."""

import json
import os
import signal
import time

import numpy as np
import pytest
from command_line import one_line, run

from sonosteer.commands.main import main
from sonosteer.recording.run_reader import RunReader

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
LEAST_BYTES = 60_000  # beyond the schemas, with which a recording begins
MOST_BYTES = 3_000_000  # of the 60 MB that the whole recording has: the run is never done by then


def killed_run(folder, seed, at_bytes):
    """Steer in a forked process, and kill it once its recording has so many bytes."""
    words = ["steer", "run", "--seed", str(seed), "--controller", "none", "--out", str(folder), "--json"]
    pid = os.fork()
    if pid == 0:
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            main(words)
        finally:
            os._exit(1)
    recording = folder / "recording.mcap"
    while not (recording.exists() and recording.stat().st_size >= at_bytes):
        ended, status = os.waitpid(pid, os.WNOHANG)
        assert not ended, f"the run ended by itself with {status}"
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    return recording


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_is_replayed_up_to_its_end_and_is_not_equal(capsys, tmp_path, times):
    rng = np.random.default_rng(times)
    decisions = 0
    for k in range(times):
        folder = tmp_path / str(k)
        recording = killed_run(folder, k, int(rng.uniform(LEAST_BYTES, MOST_BYTES)))
        recorded = RunReader(recording)
        assert not recorded.complete
        assert recorded.ended is None
        code, stdout, stderr = run(capsys, "replay", folder, "--json")
        assert code == 1
        assert one_line(stderr)
        got = json.loads(stdout)
        assert (got["equal"], got["complete"], got["different"]) == (False, False, 0)
        assert got["cut"].startswith("cut off at byte ")
        if got["decisions"]:
            assert got["equal_until_s"] == got["until_s"] > 0
        else:
            assert got["equal_until_s"] == 0
        decisions += got["decisions"]
    assert decisions > 2 * times  # how many more depends on how busy the machine is
