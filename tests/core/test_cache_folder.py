import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sonosteer.core import cache_folder

CODE = "import sonosteer, os; print(os.environ.get('NUMBA_CACHE_DIR'), os.environ.get('MPLCONFIGDIR'))"


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Neither home nor package can be written to."""
    (tmp_path / "file").write_text("")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path / "temporary"


def test_caches_of_a_read_only_system_lie_in_a_folder_of_this_user_alone(nowhere, monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    cache_folder.place_caches()
    folder = nowhere / f"sonosteer-cache-{os.getuid()}"
    assert os.environ["NUMBA_CACHE_DIR"] == numba.config.CACHE_DIR == str(folder / "numba_cache_dir")
    assert os.environ["MPLCONFIGDIR"] == str(folder / "mplconfigdir")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_to_is_not_taken(nowhere, monkeypatch):
    planted = nowhere / f"sonosteer-cache-{os.getuid()}"
    planted.mkdir(mode=0o777)
    planted.chmod(0o777)
    cache_folder.place_caches()
    assert not Path(os.environ["NUMBA_CACHE_DIR"]).is_relative_to(planted)


def test_what_the_user_chose_stays(nowhere, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/mine")
    cache_folder.place_caches()
    assert os.environ["NUMBA_CACHE_DIR"] == "/mine"


def test_nothing_is_chosen_where_the_home_can_be_written_to(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    out = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["None", "None"]


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/usr/bin/unshare").exists(), reason="needs root and unshare")
def test_a_compiled_function_runs_with_package_and_home_read_only(tmp_path):
    package = Path(cache_folder.__file__).parents[2]
    code = "from sonosteer.needle.beam import solve_banded; print('compiled')"
    script = (
        f'mount --bind {package} {package} && mount -o remount,ro,bind {package} && exec {sys.executable} -c "{code}"'
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/proc/nohome",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(package), *sys.path])),
    }
    out = subprocess.run(["unshare", "-m", "sh", "-c", script], env=environment, capture_output=True, text=True)
    if "unshare failed" in out.stderr or "mount:" in out.stderr:
        pytest.skip(f"mounting is not allowed here: {out.stderr.strip()[:100]}")
    assert (out.returncode, out.stdout, out.stderr) == (0, "compiled\n", "")
