"""Shared scenes and files. Simulated clips are drawn once per session and per process."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import hypothesis
import pytest

from sonosteer.core.types import Frame, Truth
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

cv2.setNumThreads(1)
hypothesis.settings.register_profile("untimed", deadline=None)  # first examples compile kernels
hypothesis.settings.load_profile("untimed")


def data_folder() -> Path:
    """Where real recordings lie: SONOSTEER_DATA, or ../shared/data beside the checkout."""
    root = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("SONOSTEER_DATA", root.parent / "shared" / "data"))


@pytest.fixture
def real_data() -> Path:
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} does not exist (set SONOSTEER_DATA)")
    return folder


Clip = list[tuple[Frame, Truth]]


@pytest.fixture(scope="session")
def insertion() -> Clip:
    """A short, fast insertion from the left."""
    scene = make_scene("in-plane-linear/validation", 3, enters="left", angle_deg=40.0, speed_mm_s=15.0)
    return list(World(scene).frames())


@pytest.fixture(scope="session")
def needle_free() -> Clip:
    """The same kind of tissue without a needle."""
    scene = make_scene("in-plane-linear/train", 100, enters="left", needle=False)
    return list(World(scene).frames())[:40]
