import json

import pytest

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.runtime.executor import run_trials
from sonosteer.studies.journal import Journal


def square(x):
    return x * x


def die(x):
    import os

    os._exit(3)


def fail(x):
    if x == 1:
        raise InputError(f"trial {x} cannot be")
    return x


@pytest.mark.parametrize("executor", ["serial", "process", "dask"])
def test_every_executor_gives_the_same_results(executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    found = dict(run_trials(square, [3, 1, 4, 1, 5], executor, workers=2))
    assert [found[i] for i in range(5)] == [9, 1, 16, 1, 25]


def test_an_unknown_executor_is_named():
    with pytest.raises(InputError, match="serial, process, dask"):
        list(run_trials(square, [1], "cloud"))


def test_a_dask_scheduler_that_is_not_there_is_named():
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no dask scheduler answers"):
        list(run_trials(square, [1], "tcp://127.0.0.1:9"))


def test_a_worker_that_dies_is_said():
    with pytest.raises(BrokenError, match="worker process died"):
        list(run_trials(die, [1, 2, 3], "process", workers=2))


def killed_at_two(x):
    import os
    import signal

    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


@pytest.mark.parametrize("items", [[1, 2, 3, 4, 5], [2], [2, 2, 2]])
def test_a_killed_worker_costs_its_own_item_and_no_other(items):
    """One worker process is killed as the system does that runs out of memory."""
    found = dict(run_trials(killed_at_two, items, "process", workers=2, died=lambda item: -item))
    assert [found[i] for i in range(len(items))] == [-2 if x == 2 else x * x for x in items]


@pytest.mark.slow
def test_dask_says_a_killed_worker_too():
    pytest.importorskip("distributed")
    assert dict(run_trials(killed_at_two, [2], "dask", workers=1, died=lambda item: -item)) == {0: -2}


def test_an_error_in_a_trial_comes_through():
    with pytest.raises(InputError, match="trial 1 cannot be"):
        list(run_trials(fail, [1, 2], "process", workers=2))


def test_a_journal_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "trials.jsonl"
    first = Journal(path, {"study": "x", "seed": 0})
    first.add("a", {"value": 1})
    first.close()
    with path.open("a") as f:
        f.write('{"trial": "b", "resu')  # killed while writing
    again = Journal(path, {"study": "x", "seed": 0})
    assert again.done == {"a": {"value": 1}}
    again.add("b", {"value": 2})
    again.close()
    assert Journal(path, {"study": "x", "seed": 0}).done == {"a": {"value": 1}, "b": {"value": 2}}


def test_another_question_begins_a_new_journal(tmp_path):
    path = tmp_path / "trials.jsonl"
    first = Journal(path, {"seed": 0})
    first.add("a", 1)
    first.close()
    assert Journal(path, {"seed": 1}).done == {}


def test_every_line_of_a_journal_is_json(tmp_path):
    journal = Journal(tmp_path / "t.jsonl", {"seed": 0})
    journal.add("a", [1.5, 2])
    journal.close()
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()][1]["result"] == [1.5, 2]
