"""A stranger's folder: a temporary one to work in, whose modules are forgotten afterwards."""

import sys
import textwrap

import pytest

TRACKER = """
import numpy as np

from sonosteer import Lost, TipEstimate, Track


class Brightest:
    def __init__(self, least=1.0, name=""):
        self.least = least
        self.name = name

    def start(self, hint):
        return 0

    def step(self, state, frame):
        image = frame.grey()
        y, x = np.unravel_index(image.argmax(), image.shape)
        if image[y, x] < self.least:
            return state, Lost(frame.index, frame.time_s, "too dark")
        tip = (float(x), float(y))
        return state + 1, TipEstimate(
            frame.index, frame.time_s, tip, 0.7, np.eye(2), 0.5, Track.TRACKING, (0.0, 0.0)
        )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a tracker in mine.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "mine.py").write_text(TRACKER)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def install(folder):
    """install(package, {group: {name: reference}}) writes what pip leaves of a package, on the path."""

    def write(package, groups):
        site = folder / "site"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = []
        for group, entries in groups.items():
            lines += [f"[{group}]", *(f"{name} = {reference}" for name, reference in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        if str(site) not in sys.path:
            sys.path.insert(0, str(site))
        return site

    return write


@pytest.fixture
def write(folder):
    """write(name, text) puts a module into the working folder, with its indentation taken off."""
    return lambda name, text: (folder / f"{name}.py").write_text(textwrap.dedent(text))
