"""A disk that is full, a folder that is taken away: one line, the right exit code, and what was written is kept."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SHORT, one_line, run

import sonosteer
from sonosteer.recording.tips import TipsWriter, read_tips


def test_a_track_whose_folder_is_removed_says_so(capsys, clip, tmp_path, monkeypatch):
    out, add = tmp_path / "o", TipsWriter.add

    def removed(self, estimate, *pose):
        if estimate.frame_index == 5:
            shutil.rmtree(out)
        return add(self, estimate, *pose)

    monkeypatch.setattr(TipsWriter, "add", removed)
    code, stdout, stderr = run(
        capsys, "track", clip / "clip.mp4", "--method", "kf+f", "--angle-deg", "35:45", "--out", out, "--json"
    )
    assert (code, stdout) == (2, "")
    assert one_line(stderr)
    assert f"{out}/" in stderr  # tips.csv or overlay.mp4, whichever is written first
    assert " cannot be written: " in stderr
    assert not out.exists()


def is_small_disk_possible():
    try:
        words = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


small_disk = pytest.mark.skipif(not is_small_disk_possible(), reason="a small disk needs root and mount namespaces")


@pytest.mark.slow
@small_disk
@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["track", SHORT, "--method", "kf+f", "--angle-deg", "35:45", "--out", "small/o"], "o/tips.csv"),
        (["simulate", "in-plane-linear", "--set", "end_mm=20", "--out", "small/clip.mha"], None),
        (["dataset", "make", "d-encoder", "--videos", "2", "--executor", "serial", "--out", "small/o"], None),
    ],
)
def test_a_disk_that_fills_up_is_one_line_and_exit_code_2(tmp_path, words, kept):
    """On a real disk of 150 kB, which only this process sees. What is on it is copied before it goes."""
    (tmp_path / "small").mkdir()
    mount = f"cd {tmp_path} && mount -t tmpfs -o size=150k tmpfs small"
    command = shlex.join([sys.executable, "-m", "sonosteer", *words, "--json"])
    told = ["unshare", "-m", "sh", "-c", f"{mount} && {command}; code=$?; cp -r small copied; exit $code"]
    environment = os.environ | {"PYTHONPATH": str(Path(sonosteer.__file__).parents[1])}
    done = subprocess.run(told, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert one_line(done.stderr)
    assert "the disk is full: " in done.stderr
    if kept is not None:
        assert len(read_tips(tmp_path / "copied" / kept)) > 1
