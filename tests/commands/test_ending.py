"""SIGTERM and SIGHUP end a command as Ctrl-C does, within five seconds, whatever it does just then."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from command_line import SHORT, one_line

from sonosteer.commands.ending import ends_in_order
from sonosteer.recording.tips import read_tips

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_ctrl_c(number):
    with pytest.raises(KeyboardInterrupt), ends_in_order():
        os.kill(os.getpid(), number)
        time.sleep(5.0)


def test_further_signals_do_not_disturb_the_end():
    closed = False
    with pytest.raises(KeyboardInterrupt), ends_in_order():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5.0)
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                os.kill(os.getpid(), number)
            time.sleep(0.01)
            closed = True
    assert closed


def test_a_hang_up_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with ends_in_order():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_afterwards_signals_mean_what_they_meant():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with ends_in_order():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


def script(text, **more):
    """A process that runs this, and says when it is ready."""
    begin = "import sys, time, hashlib\nfrom sonosteer.commands import ending\nending.GRACE_S = 0.5\n"
    ready = "print('ready', flush=True)\n"
    words = [sys.executable, "-c", begin + ready + text]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize(
    "work",
    [
        "hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)",  # a library that does not listen
        "while True:\n        try: time.sleep(60)\n        except KeyboardInterrupt: pass",  # ours neither
    ],
)
def test_what_does_not_listen_is_ended_by_force(work):
    with script(f"with ending.ends_in_order():\n    print('set', flush=True)\n    {work}\n") as process:
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "set\n"
        time.sleep(0.05)
        process.terminate()
        _, stderr = process.communicate(timeout=30.0)
    assert process.returncode == 130
    assert one_line(stderr)
    assert "ended by force" in stderr


def test_a_terminal_that_hangs_up_does_not_break_the_end(tmp_path):
    """The words of the end go nowhere. Writing to a terminal that has gone would be an error."""
    text = f"""
import os, sys, time
from pathlib import Path
from sonosteer.commands.ending import ends_in_order
try:
    with ends_in_order():
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print("interrupted", file=sys.stderr, flush=True)
    Path({str(tmp_path / "kept")!r}).write_text("all of it")
    os._exit(130)
"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", text])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert (tmp_path / "kept").read_text() == "all of it"


def command(*words):
    """A command in a process of its own."""
    whole = [sys.executable, "-m", "sonosteer", *map(str, words)]
    return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, ready, number):
    """(exit code, stderr) of a process that was told to end when it was ready."""
    while not ready():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60.0)
    return process.returncode, stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_track_that_is_ended_can_be_read(tmp_path, number):
    tips = tmp_path / "tips.csv"
    with command("track", SHORT, "--method", "kf+f", "--angle-deg", "35:45", "--out", tmp_path, "--json") as process:
        code, stderr = ended(process, lambda: tips.exists() and tips.read_text().count("\n") > 3, number)
    assert code == 130, stderr
    assert one_line(stderr)
    rows = read_tips(tips)
    assert [row.frame for row in rows] == list(range(len(rows)))
    assert len(rows) > 2
    if "ended by force" in stderr:  # a machine so busy that four seconds do not suffice for the report
        return
    assert "interrupted; the " in stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["counts"]["interrupted"] is True
    # the signal may come between the count of a frame and its row
    assert 0 <= summary["counts"]["frames"] - len(rows) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_data_set_in_the_making_ends_and_leaves_whole_videos(tmp_path, number):
    out = tmp_path / "set"
    with command("dataset", "make", "d-encoder", "--videos", "6", "--out", out, "--json") as process:
        code, stderr = ended(process, lambda: list(out.glob("videos/.making-*")), number)
    assert code == 130, stderr
    assert one_line(stderr)
    assert "ended by force" in stderr or not list(out.glob("videos/.making-*"))
