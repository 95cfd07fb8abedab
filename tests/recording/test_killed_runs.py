"""Kill -9 at random moments, fifty times: every recording opens, and lacks less than its last second."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from killing import kill_all, said
from sonosteer.recording.run_reader import RunReader

sys.path.insert(0, str(Path(__file__).parent))
from killed_writer import picture

pytestmark = pytest.mark.slow

ROUNDS, WRITERS = 5, 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked")
@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_a_killed_run_opens_and_lacks_less_than_its_last_second(tmp_path, round_number):
    script = Path(__file__).with_name("killed_writer.py")
    command = [sys.executable, str(script), str(tmp_path), str(WRITERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as nursery:
        pids = [int(word) for word in nursery.stdout.readline().split()]
        assert len(pids) == WRITERS
        kill_all(tmp_path, pids, np.random.default_rng(round_number))
    for k in range(WRITERS):
        recorded = RunReader(tmp_path / f"{k}.mcap")
        last, last_s = said(tmp_path, k)
        assert not recorded.complete
        assert recorded.configuration == {"writer": k}
        assert last_s - recorded.until_s < 1.0
        got = list(recorded.messages())
        assert [m.number for m in got] == list(range(len(got)))
        ticks = [m.what["k"] for m in got if m.topic == "/tick"]
        assert ticks == list(range(len(ticks)))
        assert len(ticks) <= last + 2
        for frame in recorded.frames():
            assert np.array_equal(frame.pixels, picture(frame.index))
