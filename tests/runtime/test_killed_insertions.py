"""Kill -9 at random moments, fifty times: every recorded insertion opens, and decides the same again up to its last
second.

`tests/recording/test_killed_runs.py` kills the recorder alone, with messages that mean nothing: whole, in order, less
than a second lost. Here the whole live pipeline is killed, four threads that hand over to one another, and what must
hold is that what is left of it can be decided again: nothing refers to what was lost.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_rig import HINT, SPACING, TASK, FakeTracker, Scripted
from killed_inserter import to_and_fro

from killing import kill_all, said
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.replay import Replay
from sonosteer.safety.gate import Gate

pytestmark = pytest.mark.slow

ROUNDS, RUNS = 5, 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="insertions are forked")
@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_a_killed_insertion_is_decided_again_up_to_its_last_second(tmp_path, round_number):
    script = Path(__file__).with_name("killed_inserter.py")
    command = [sys.executable, str(script), str(tmp_path), str(RUNS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as nursery:
        pids = [int(word) for word in nursery.stdout.readline().split()]
        assert len(pids) == RUNS
        kill_all(tmp_path, pids, np.random.default_rng(round_number))
    for k in range(RUNS):
        recorded = RunReader(tmp_path / f"{k}.mcap")
        periods, last_s = said(tmp_path, k)
        assert not recorded.complete
        assert recorded.ended is None
        assert last_s - recorded.until_s < 1.0
        done = Replay(FakeTracker(), Scripted(to_and_fro), Gate(task_spacing=SPACING), TASK, HINT).run(recorded)
        assert done.first is None
        assert done.equal["verdict"] == recorded.counts["/tick"] <= periods + 1
        others = recorded.counts["/decision"] + recorded.counts["/estimate"]  # skipped: a busy machine drops pictures
        assert done.equal["action"] + done.equal["estimate"] + sum(done.skipped.values()) == others
