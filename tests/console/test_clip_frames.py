"""Frames by index: the right one, whichever way it is asked for."""

import random

import browser as b
import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.clip_frames import ClipFrames
from sonosteer.core.errors import InputError
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.sources.opening import open_source


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Each frame says its number by the grey of its left half, three steps a number."""
    frames = []
    for i in range(120):
        grey = np.full((48, 64), 128, np.uint8)
        grey[:, :32] = 2 * i + 4
        frames.append(grey)
    return b.write_clip(tmp_path_factory.mktemp("clip") / "numbers.mp4", frames, every=30)


@pytest.fixture(scope="module")
def greys(clip):
    """Grey of each frame's left half, as the clip itself has it."""
    return np.array([float(f.grey()[10:38, 4:24].mean()) for f in open_source(clip).frames()])


def number(shown, greys):
    grey = cv2.imdecode(np.frombuffer(shown.payload, np.uint8), cv2.IMREAD_GRAYSCALE)
    return int(np.argmin(abs(greys - float(grey[10:38, 4:24].mean()))))


def test_whatever_is_asked_for_the_right_frame_comes(clip, greys):
    frames, rng, at = ClipFrames(open_source(clip)), random.Random(3), 60
    for _ in range(200):
        at = rng.choice([at + 1, at - 1, at + 7, at - 7, rng.randrange(120)])
        at = min(max(at, 0), 119)
        shown = frames.picture(at, exact=rng.random() < 0.3)
        assert (shown.index, number(shown, greys), shown.wrong) == (at, at, None)
        assert shown.time_s == pytest.approx(at / 20)


def test_an_exact_picture_is_the_frame_itself(clip):
    shown = ClipFrames(open_source(clip)).picture(77, exact=True)
    [frame] = open_source(clip).frames(77, 78)
    assert shown.kind == "png"
    assert np.array_equal(cv2.imdecode(np.frombuffer(shown.payload, np.uint8), cv2.IMREAD_UNCHANGED), frame.grey())


def test_a_picture_that_cannot_be_read_says_why_and_the_next_one_comes(tmp_path):
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((20, 20), 50 * i, np.uint8))
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    frames = ClipFrames(open_source(tmp_path))
    assert frames.picture(2, exact=False).wrong
    assert frames.picture(3, exact=False).wrong is None
    assert frames.picture(1, exact=False).wrong is None
    assert frames.file_of(3).name == "3.png"


class TooShort:
    """Promises five frames and has three."""

    info = SourceInfo("short", "video", (8, 8), 5, 10.0, None)

    def frames(self, start=0, stop=None):
        yield from (Frame(np.full((8, 8), i, np.uint8), i, i / 10) for i in range(start, 3))

    def close(self):
        """Nothing is open."""


def test_a_clip_that_ends_early_says_so():
    frames = ClipFrames(TooShort())
    assert frames.picture(2, exact=True).wrong is None
    assert "ends before frame 4" in frames.picture(4, exact=True).wrong
    assert frames.picture(1, exact=True).wrong is None


def test_a_file_has_no_file_for_each_picture(clip):
    with pytest.raises(InputError, match="no folder"):
        ClipFrames(open_source(clip)).file_of(0)
