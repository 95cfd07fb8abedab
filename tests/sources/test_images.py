"""Pictures are written here by OpenCV and read back through our source."""

import cv2
import numpy as np
import pytest
from written_clips import pictures

from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.opening import open_source, open_stills


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


def written(path, pixels):
    cv2.imwrite(str(path), pixels)
    return path


def test_dark_16_bit_pictures_are_read_by_the_bits_they_use(tmp_path):
    """12 bits in a file of 16 would be nearly black, and 8 bits all black."""
    grey = pictures(1)[0]
    for bits in (8, 10, 12, 16):
        deep = (grey.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
        deep[0, 0] = (1 << bits) - 1
        (got,) = open_source(written(tmp_path / f"{bits}.png", deep)).frames()
        assert np.array_equal(got.pixels, deep)
        assert got.full_scale == (1 << bits) - 1
        assert np.abs(got.grey()[1:].astype(int) - grey[1:]).max() <= 1


def test_the_white_of_a_16_bit_clip_is_one_for_all_its_pictures(tmp_path):
    for i, top in enumerate((0, 300, 4000, 200, 100)):
        written(tmp_path / f"{i}.png", np.full((4, 5), top, np.uint16))
    assert [f.full_scale for f in open_source(tmp_path).frames()] == [4095.0] * 5
    assert [f.full_scale for f in open_stills([tmp_path]).frames()] == [255.0, 511.0, 4095.0, 255.0, 255.0]


def test_transparent_parts_are_black_and_not_what_hides_in_them(tmp_path):
    grey = pictures(1)[0]
    opaque = np.full_like(grey, 255)
    opaque[:10] = 0
    hidden = np.where(opaque == 0, 255, grey).astype(np.uint8)
    (got,) = open_source(written(tmp_path / "a.png", np.dstack([hidden] * 3 + [opaque]))).frames()
    assert (got.grey()[:10] == 0).all()
    assert np.array_equal(got.grey()[10:], grey[10:])
    (whole,) = open_source(written(tmp_path / "b.png", np.dstack([grey] * 3 + [np.full_like(grey, 255)]))).frames()
    (clear,) = open_source(written(tmp_path / "c.png", np.dstack([grey] * 3 + [np.zeros_like(grey)]))).frames()
    assert np.array_equal(whole.grey(), grey)
    assert np.array_equal(clear.grey(), grey)  # some programs write no opacity at all


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "1", "L"])
def test_palettes_and_grey_with_opacity_are_read_as_grey(tmp_path, mode):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    grey = np.where(pictures(1)[0] > 100, 255, 0).astype(np.uint8)
    image.fromarray(grey).convert("RGBA" if mode == "RGBA" else mode).save(tmp_path / "a.png")
    (got,) = open_source(tmp_path / "a.png").frames()
    assert np.abs(got.grey().astype(int) - grey).max() <= 1


def test_a_picture_that_cannot_be_read_is_named_and_those_behind_it_are_read(tmp_path):
    for i, f in enumerate(pictures(4)):
        written(tmp_path / f"{i}.png", f)
    damaged = bytearray((tmp_path / "1.png").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "1.png").write_bytes(bytes(damaged))
    source = open_source(tmp_path)
    frames = source.frames()
    assert next(frames).index == 0
    with pytest.raises(PictureError, match=r"1\.png cannot be read: its data are damaged") as e:
        next(frames)
    assert (e.value.index, e.value.time_s) == (1, 0.05)
    assert [f.index for f in source.frames(e.value.index + 1)] == [2, 3]
    assert source.info.frames == 4


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_picture_that_is_cut_off_is_refused_without_a_word_of_the_library(tmp_path, ending, kept, capfd):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8)
    path = written(tmp_path / f"a.{ending}", noise)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"a\.{ending} (cannot be read|is not a picture)"):
        open_source(path)
    assert capfd.readouterr().err == ""


def test_stills_have_names_sizes_and_a_scale_of_their_own(tmp_path):
    for name, size in (("b10.png", (8, 6)), ("b9.png", (5, 4)), ("A1.jpg", (7, 7))):
        written(tmp_path / name, np.full(size, 99, np.uint8))
    (tmp_path / "sequence.json").write_text('{"comment": "sonosteer spacing_mm=0.1,0.2"}')
    source = open_stills([tmp_path])
    assert source.info.names == ("A1.jpg", "b9.png", "b10.png")
    assert [f.size_px for f in source.frames()] == [(7, 7), (4, 5), (6, 8)]
    assert [f.index for f in source.frames(1)] == [1, 2]
    assert source.info.spacing == Spacing(0.1, 0.2)
    assert open_stills([tmp_path], spacing=Spacing(0.5, 0.5)).info.spacing == Spacing(0.5, 0.5)
    assert open_source(tmp_path / "b9.png").info.names == ("b9.png",)
