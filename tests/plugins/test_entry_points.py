"""Installed packages add names by entry points, which are read when somebody asks, and never win over ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sonosteer
from sonosteer.core.errors import InputError
from sonosteer.policies.table import POLICIES
from sonosteer.sim.scenes import SETUPS, make_scene
from sonosteer.sources.opening import SOURCES, open_source
from sonosteer.trackers.table import TRACKERS, make_tracker

SMALL = "sim:in-plane-linear?speed_mm_s=15&end_mm=18&angle_deg=40&enters=left&width_px=128&height_px=128&looks=1"


def test_an_installed_tracker_is_listed_last_and_used_by_its_name(install):
    before = list(TRACKERS)
    install("bright", {"sonosteer.trackers": {"brightest": "mine:Brightest"}})
    assert list(TRACKERS) == [*before, "brightest"]
    assert len(TRACKERS) == len(before) + 1
    assert "brightest" in TRACKERS
    assert "brightest" not in POLICIES
    assert TRACKERS["brightest"] == "mine:Brightest"
    assert make_tracker("brightest", least=2.0).thing.least == 2.0
    assert sonosteer.track(SMALL, "brightest").method == "brightest"
    with pytest.raises(InputError, match="did you mean 'brightest'"):
        make_tracker("brigtest")


def test_a_built_in_name_wins_and_the_clash_is_said(install):
    install("bright", {"sonosteer.trackers": {"kf+f": "mine:Brightest"}})
    with pytest.warns(UserWarning, match=r"the package bright has a tracking method called 'kf\+f', too"):
        made = make_tracker("kf+f")
    assert type(made).__module__ == "sonosteer.trackers.mathiassen2017"
    assert list(TRACKERS).count("kf+f") == 1


def test_on_the_command_line_the_clash_is_one_line(install, monkeypatch):
    site = install("bright", {"sonosteer.trackers": {"auto": "mine:Brightest"}})
    command = [str(Path(sys.executable).parent / "sonosteer"), "track", "nothing.mp4", "--out", "out"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(site)}
    )
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("sonosteer: the package bright has a tracking method called 'auto', too")
    assert second == "sonosteer: nothing.mp4 does not exist"


def test_two_packages_of_one_name_are_said(install):
    install("bright", {"sonosteer.trackers": {"brightest": "mine:Brightest"}})
    install("brighter", {"sonosteer.trackers": {"brightest": "other:Brightest"}})
    with pytest.warns(UserWarning, match="two packages call something 'brightest'"):
        assert list(TRACKERS)[-1] == "brightest"


def test_an_installed_plugin_that_is_broken_does_not_disturb_the_others(install):
    install("bad", {"sonosteer.trackers": {"bad": "no_such_module:Bad"}})
    assert "bad" in list(TRACKERS)
    make_tracker("auto")
    with pytest.raises(InputError, match="tracking method bad: there is no module 'no_such_module'"):
        make_tracker("bad")


def test_an_installed_set_up_is_drawn_from(install, folder, write):
    write("setups", "def wide(): return {'scene': {'speed_mm_s': 7.0, 'end_mm': 20.0}}")
    install("wide", {"sonosteer.setups": {"wide": "setups:wide"}})
    assert list(SETUPS)[-1] == "wide"
    assert make_scene("wide/train", 3).name == "wide/train#3"


def test_an_installed_source_opens_its_scheme_and_the_files_that_it_knows(install, folder, write):
    write(
        "rawclip",
        """
        import numpy as np
        from sonosteer import Frame, SourceInfo

        class RawClip:
            @staticmethod
            def opens(path):
                return path.suffix == ".raw"

            def __init__(self, path, spacing=None):
                self.images = np.fromfile(path, np.uint8).reshape(-1, 30, 40)
                self.spacing = spacing
                self.info = SourceInfo(str(path), "raw", (40, 30), len(self.images), 20.0, spacing)

            def frames(self, start=0, stop=None):
                for i, image in enumerate(self.images[start:stop], start):
                    yield Frame(image.copy(), i, i / 20, self.spacing)
        """,
    )
    (folder / "clip.raw").write_bytes(bytes(range(250)) * 24)
    with pytest.raises(InputError, match=r"files ending in '\.raw' are not read"):
        open_source("clip.raw")
    install("rawclip", {"sonosteer.sources": {"raw": "rawclip:RawClip"}})
    assert list(SOURCES)[-1] == "raw"
    for where in ("clip.raw", "raw:clip.raw", "rawclip:RawClip:clip.raw"):
        assert open_source(where).info.frames == 5
        assert open_source(where, spacing=sonosteer.Spacing(0.2, 0.2)).info.spacing == sonosteer.Spacing(0.2, 0.2)
    assert open_source("clip.raw").info.kind == "raw"


def test_entry_points_are_not_read_at_import():
    words = "import sys, sonosteer, sonosteer.trackers.table; assert 'importlib.metadata' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True, timeout=60)
