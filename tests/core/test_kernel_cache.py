"""Kernels are compiled where nothing can be written: a read-only package, a user without a home."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sonosteer.core import kernel_cache
from sonosteer.core.kernel_cache import choose_kernel_cache


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A package and a home that cannot be written to. The folder of temporary files."""
    (tmp_path / "file").touch()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(kernel_cache, "PACKAGE", tmp_path / "nowhere")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return temporary


def test_they_go_to_a_folder_of_the_user_s_own(read_only):
    choose_kernel_cache()
    chosen = Path(os.environ["NUMBA_CACHE_DIR"])
    assert chosen.parent == read_only
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert os.environ["MPLCONFIGDIR"] == str(chosen)
    del os.environ["NUMBA_CACHE_DIR"]
    choose_kernel_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == str(chosen)


def test_a_folder_that_others_can_write_to_is_not_trusted(read_only):
    planted = read_only / f"sonosteer-kernels-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    choose_kernel_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]) != planted


def test_a_link_is_not_followed(read_only, tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o700)
    (read_only / f"sonosteer-kernels-{os.getuid()}").symlink_to(tmp_path / "theirs")
    choose_kernel_cache()
    assert Path(os.environ["NUMBA_CACHE_DIR"]).name != f"sonosteer-kernels-{os.getuid()}"


@pytest.mark.parametrize("can", ["package", "home", "said"])
def test_a_place_that_is_there_is_left_to_numba(read_only, tmp_path, monkeypatch, can):
    if can == "package":
        (tmp_path / "nowhere" / "core").mkdir(parents=True)
    elif can == "home":
        monkeypatch.setenv("HOME", str(tmp_path))
    else:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    choose_kernel_cache()
    assert os.environ.get("NUMBA_CACHE_DIR") == (str(tmp_path) if can == "said" else None)


def is_read_only_mount_possible():
    words = ["unshare", "-m", "sh", "-c", "mount --bind / / && mount -o remount,ro,bind /"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not is_read_only_mount_possible(), reason="a read-only mount needs root and mount namespaces")
def test_a_kernel_compiles_in_a_read_only_package_without_a_home(tmp_path):
    root = Path(kernel_cache.__file__).resolve().parents[3]
    kernel = "from sonosteer.imaging import rays; import numpy as np; print(rays.__name__)"
    mount = f"mount --bind {root} {root} && mount -o remount,ro,bind {root}"
    environment = f"env -i PATH=/usr/bin:/bin HOME=/proc/nohome TMPDIR={tmp_path} PYTHONPATH={root / 'src'}"
    words = ["unshare", "-m", "sh", "-c", f'{mount} && {environment} {sys.executable} -c "{kernel}"']
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(tmp_path.glob("sonosteer-kernels-*"))
