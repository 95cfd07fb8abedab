"""An output folder has one writer, and what a killed one left keeps nobody out."""

import errno
import os
import shutil
import signal

import pytest

from sonosteer.core.errors import InputError
from sonosteer.recording.appended import AppendedFile
from sonosteer.recording.output_folder import LOCK, begin_new, check_free, claimed_folder, finish_new
from sonosteer.recording.tables import LineWriter


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    out = tmp_path / "o"
    with claimed_folder(out):
        (out / "tips.csv").write_text("mine")
        with pytest.raises(InputError, match=r"another command writes to .* just now"), claimed_folder(out):
            pass
        assert (out / "tips.csv").read_text() == "mine"
    with claimed_folder(out):
        pass
    assert [p.name for p in out.iterdir()] == ["tips.csv"]


def test_another_folder_is_another_matter(tmp_path):
    with claimed_folder(tmp_path / "a"), claimed_folder(tmp_path / "b"), claimed_folder(tmp_path / "a" / "c"):
        pass


def test_a_lock_that_nobody_holds_keeps_nobody_out(tmp_path):
    (tmp_path / LOCK).write_text("12345")
    with claimed_folder(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is forked")
def test_a_writer_that_was_killed_keeps_nobody_out(tmp_path):
    heard, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with claimed_folder(tmp_path):
            os.write(tell, b"1")
            signal.pause()
    os.read(heard, 1)
    with pytest.raises(InputError, match="another command"), claimed_folder(tmp_path):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with claimed_folder(tmp_path):
        pass


def test_a_folder_that_nothing_was_written_to_is_not_left_behind(tmp_path):
    with claimed_folder(tmp_path / "o"):
        pass
    assert not (tmp_path / "o").exists()


def test_no_folder_is_no_claim():
    with claimed_folder(None):
        pass


def test_a_folder_that_is_removed_meanwhile_is_said(tmp_path):
    out = tmp_path / "o"
    with pytest.raises(InputError, match=r"summary.json cannot be written: No such file"), claimed_folder(out):
        shutil.rmtree(out)
        (out / "summary.json").write_text("{}")


def test_a_file_that_is_removed_while_it_grows_is_said_at_the_next_piece(tmp_path):
    out = tmp_path / "o"
    with claimed_folder(out), LineWriter(out / "rows.csv") as rows:
        rows.line("a")
        shutil.rmtree(out)
        with pytest.raises(InputError, match=r"rows.csv cannot be written: it was removed"):
            rows.line("b")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_whoever_meets_it(tmp_path, number):
    with pytest.raises(InputError, match="the disk is full: "), claimed_folder(tmp_path):
        raise OSError(number, os.strerror(number))


def test_what_has_nothing_to_do_with_the_folder_is_not_its_fault(tmp_path):
    with pytest.raises(FileNotFoundError), claimed_folder(tmp_path / "o"):
        (tmp_path / "elsewhere").read_text()
    with pytest.raises(BrokenPipeError), claimed_folder(tmp_path / "o"):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_lines_are_added_behind_those_that_are_there(tmp_path):
    for line in "ab":
        with LineWriter(tmp_path / "rows", more=True) as rows:
            rows.line(line)
    assert (tmp_path / "rows").read_text() == "a\nb\n"
    AppendedFile(tmp_path / "rows").close()
    assert (tmp_path / "rows").read_text() == ""


def test_a_new_folder_that_was_begun_is_gone_on_with_by_the_same_command_only(tmp_path):
    begin_new(tmp_path, "export png")
    (tmp_path / "labels.csv").write_text("half")
    check_free(tmp_path)
    begin_new(tmp_path, "export png")
    with pytest.raises(InputError, match="was begun by another command, 'export png'"):
        begin_new(tmp_path, "export mp4")
    finish_new(tmp_path)
    with pytest.raises(InputError, match="there already and not empty"):
        begin_new(tmp_path, "export png")
