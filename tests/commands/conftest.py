"""What several commands read: one clip, one track of it, one insertion, each made once by the command line."""

import sys
from pathlib import Path

import pytest
from command_line import WORDS

from sonosteer.commands.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A short simulated clip with its truth, as the command line writes them."""
    folder = tmp_path_factory.mktemp("clip")
    with pytest.raises(SystemExit) as e:
        settings = ("speed_mm_s=15", "end_mm=20", "enters=left", "angle_deg=40")
        words = ["simulate", "in-plane-linear", "--seed", "4", "--out", str(folder / "clip.mp4")]
        main([*words, "--truth", str(folder / "truth.csv"), *(f"--set={s}" for s in settings)])
    assert e.value.code == 0
    return folder


@pytest.fixture(scope="session")
def tracked(clip, tmp_path_factory):
    """The folder of that clip's track by kf+f, as the command line writes it."""
    folder = tmp_path_factory.mktemp("tracked")
    words = ["track", str(clip / "clip.mp4"), "--method", "kf+f", "--angle-deg", "35:45", "--out", str(folder)]
    with pytest.raises(SystemExit) as e:
        main(words)
    assert e.value.code == 0
    return folder


@pytest.fixture(scope="session")
def inserted(tmp_path_factory):
    """The folder of an insertion, as the command line writes it."""
    folder = tmp_path_factory.mktemp("insertion")
    with pytest.raises(SystemExit) as e:
        main([*WORDS, "--out", str(folder), "--json"])
    assert e.value.code == 0
    return folder
