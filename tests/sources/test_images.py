"""Pictures are written here by OpenCV and read back through our source."""

import cv2
import numpy as np
import pytest
from written_clips import pictures

from sonosteer.core.errors import InputError
from sonosteer.sources.opening import open_source


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_folder_of_pictures_is_read_in_natural_order(tmp_path, ending):
    frames = pictures(12)
    for i, f in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"frame{i}.{ending}"), f)
    (tmp_path / "notes.txt").write_text("not a picture")
    got = list(open_source(tmp_path).frames())
    assert len(got) == 12
    for f, want in zip(got, frames, strict=True):
        assert np.abs(f.grey().astype(int) - want).mean() < 3
    assert got[4].time_s == pytest.approx(0.2)


def test_pictures_may_be_deep_or_coloured(tmp_path):
    deep = pictures(1, dtype=np.uint16)[0]
    colour = np.dstack([np.full((48, 64), v, np.uint8) for v in (10, 20, 200)])  # BGR, as OpenCV writes
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    cv2.imwrite(str(tmp_path / "colour.png"), colour)
    (got,) = open_source(tmp_path / "deep.png").frames()
    assert np.array_equal(got.pixels, deep)
    (got,) = open_source(tmp_path / "colour.png").frames()
    assert tuple(got.pixels[0, 0]) == (200, 20, 10)


def test_pictures_of_another_size_stop_the_clip_with_their_name(tmp_path):
    for i, f in enumerate(pictures(3)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), f if i < 2 else f[:-4])
    frames = open_source(tmp_path).frames()
    next(frames)
    next(frames)
    with pytest.raises(InputError, match=r"2.png: frame 2 is 64x44, the frames before it 64x48"):
        next(frames)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        open_source(tmp_path)
