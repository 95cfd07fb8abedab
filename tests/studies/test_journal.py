"""A journal keeps every trial that it was given, whenever its process is killed."""

import json
import os
import time

import numpy as np
import pytest

from killing import run_killed
from sonosteer.core.errors import InputError
from sonosteer.studies.journal import Journal

QUESTION = {"study": "x", "seed": 0}


def filled(path, *names):
    journal = Journal(path, QUESTION)
    for name in names:
        journal.add(name, {"value": name})
    journal.close()
    return path


def test_a_journal_that_was_killed_while_it_was_opened_is_as_it_was(tmp_path):
    """It is written anew beside the old one, which stays until the new one is whole."""
    path = filled(tmp_path / "trials.jsonl", "a", "b")
    (tmp_path / "trials.new").write_text(path.read_text()[:20])
    assert set(Journal(path, QUESTION).done) == {"a", "b"}
    assert not (tmp_path / "trials.new").exists()


def test_a_damaged_line_is_named(tmp_path):
    path = filled(tmp_path / "trials.jsonl", "a", "b")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:9], lines[2]]) + "\n")
    with pytest.raises(InputError, match=r"trials.jsonl, line 2 is damaged .*: remove that line"):
        Journal(path, QUESTION)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="studies are forked")
@pytest.mark.parametrize("seed", range(3))
def test_no_trial_that_was_entered_is_lost(tmp_path, seed):
    path, said = tmp_path / "trials.jsonl", tmp_path / "said"

    def study():
        journal = Journal(path, QUESTION)
        told = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for k in range(200):
            if str(k) not in journal.done:
                journal.add(str(k), {"rows": list(range(k))})
                os.write(told, f"{k}\n".encode())
                time.sleep(0.002)

    run_killed(study, np.random.default_rng(seed), times=25, most_s=0.05)
    done = Journal(path, QUESTION).done
    assert set(done) == set(map(str, range(200)))
    told = said.read_text().split()
    assert len(told) == len(set(told)), "a trial that was on disk was done again"
    assert all(json.loads(line) for line in path.read_text().splitlines())
