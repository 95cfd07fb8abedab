import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sonosteer.core import guarded
from sonosteer.core.errors import InputError
from sonosteer.core.guarded import GuardedReader


@pytest.fixture
def reader():
    made = GuardedReader()
    yield made
    made.close()


def ask(reader, function, *arguments):
    return reader.read("a.tif", f"guarded_functions:{function}", *arguments)


def test_an_array_comes_back_as_it_is_and_may_be_written_to(reader):
    got = ask(reader, "ramp", 3, 5)
    assert got.dtype == np.uint16
    assert np.array_equal(got, np.arange(15).reshape(3, 5))
    got[0, 0] = 7


def test_one_process_answers_until_it_is_closed(reader):
    first = ask(reader, "process")[0]
    assert first != os.getpid()
    assert ask(reader, "process")[0] == first
    reader.close()
    reader.close()
    assert ask(reader, "process")[0] != first


def test_what_the_function_refuses_is_the_message(reader):
    with pytest.raises(InputError, match=r"^no$"):
        ask(reader, "refuse", "no")


def test_any_other_mistake_is_one_line_that_names_the_picture(reader):
    with pytest.raises(InputError, match=r"^a.tif cannot be decoded: KeyError 'a\\nb'$"):
        ask(reader, "break_down")


def test_a_decoder_that_computes_for_ever_is_ended(reader, monkeypatch):
    monkeypatch.setenv("SONOSTEER_MAX_DECODE_S", "1")
    with pytest.raises(InputError, match=r"a.tif takes more than 1 s to decode.*SONOSTEER_MAX_DECODE_S"):
        ask(reader, "compute_for_ever")
    assert ask(reader, "ramp", 1, 1).size == 1


def test_a_decoder_that_waits_for_ever_is_ended(reader, monkeypatch):
    monkeypatch.setenv("SONOSTEER_MAX_DECODE_S", "1")
    monkeypatch.setattr(guarded, "WAITING", 2)
    with pytest.raises(InputError, match="takes more than 1 s"):
        ask(reader, "wait")


def test_a_decoder_that_wants_too_much_memory_is_refused(reader):
    with pytest.raises(InputError, match=r"a.tif needs more than 1073741824 bytes.*SONOSTEER_MAX_DECODE_BYTES"):
        ask(reader, "allocate", 2 << 30)
    assert ask(reader, "ramp", 1, 1).size == 1


def test_a_decoder_that_crashes_takes_nothing_with_it(reader, capfd):
    with pytest.raises(InputError, match=r"a.tif cannot be decoded: it is damaged, and its decoder died \(signal 11\)"):
        ask(reader, "die")
    assert ask(reader, "ramp", 1, 1).size == 1
    assert capfd.readouterr().err == ""


def test_the_child_ends_when_its_parent_is_killed():
    code = (
        "import time\nfrom sonosteer.core.guarded import GuardedReader\nr = GuardedReader()\n"
        "print(r.read('a', 'guarded_functions:process')[0], flush=True)\ntime.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(600):
        try:
            os.kill(child, 0)
            with Path(f"/proc/{child}/stat").open() as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    pytest.fail(f"{child} outlives its parent")
