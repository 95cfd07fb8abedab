"""What a command says while it works: a bar on a terminal, plain lines elsewhere."""

import json
import os
import pty
import subprocess
import sys

import pytest

from sonosteer.commands import terminal
from sonosteer.commands.terminal import EVERY_S, PlainLines
from sonosteer.core.errors import InterruptedRunError


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def lines():
    clock, said = Clock(), []
    return PlainLines("study x", said.append, clock), clock, said


def test_a_line_every_ten_seconds_and_one_at_the_end(lines):
    progress, clock, said = lines
    for done in range(25):
        progress("trials", done, 25)
        clock.now += 1.0
    progress.finish()
    assert EVERY_S == 10.0
    assert said == [
        "study x: trials, 10 of 25 (10 s)",
        "study x: trials, 20 of 25 (20 s)",
        "study x: done (25 s)",
    ]


def test_a_stage_without_a_count_is_named(lines):
    progress, clock, said = lines
    clock.now += 11.0
    progress("writing the report", 0, 0)
    clock.now += 11.0
    progress("", 7, 0)
    assert said == ["study x: writing the report (11 s)", "study x: 7 (22 s)"]


def test_work_that_fails_says_nothing_but_its_error(capsys):
    with pytest.raises(ValueError, match="broken"), terminal.shown_progress("x", quiet=False) as progress:
        progress("a", 1, 2)
        raise ValueError("broken")
    assert capsys.readouterr().err == ""


def test_quiet_work_says_nothing(capsys):
    with terminal.shown_progress("x", quiet=True) as progress:
        progress("a", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_says_what_is_kept():
    with pytest.raises(InterruptedRunError, match="interrupted; all of it"), terminal.interruptible("all of it"):
        raise KeyboardInterrupt


def test_brackets_in_a_table_are_text(capsys):
    terminal.print_table("a [b]", ("what", "state"), [("x", "pip install 'sonosteer[vla]'")])
    out = capsys.readouterr().out
    assert "sonosteer[vla]" in out
    assert "a [b]" in out


def test_json_refuses_nan(capsys):
    terminal.print_json({"a": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"a": [1, 2]}
    with pytest.raises(ValueError):
        terminal.print_json({"a": float("nan")})


def test_a_terminal_gets_a_bar_whose_stages_have_names():
    code = (
        "import time\n"
        "from sonosteer.commands.terminal import shown_progress\n"
        "with shown_progress('tracking', quiet=False) as progress:\n"
        "    for i in range(3): progress('', i, 3); time.sleep(0.15)\n"
        "    progress('writing the report', 0, 0); time.sleep(0.4)\n"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert done.wait(timeout=60) == 0
    assert b"/3" in said
    assert b"tracking: writing the report" in said
