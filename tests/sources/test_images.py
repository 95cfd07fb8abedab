"""Pictures are written here by OpenCV and read back through our source."""

import os
import shutil
import struct
import subprocess
import zlib

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
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


# -- what lies in folders --------------------------------------------------------------------------------------


def folder_of(folder, n=3, ending="png"):
    folder.mkdir(exist_ok=True)
    for i, f in enumerate(pictures(n)):
        written(folder / f"img{i}.{ending}", f)
    return folder


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_hidden_files_and_folders_are_no_pictures(tmp_path, ending):
    folder_of(tmp_path, ending=ending)
    (tmp_path / f"._img0.{ending}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100))
    (tmp_path / f".hidden.{ending}").write_bytes(b"")
    (tmp_path / f"folder.{ending}").mkdir()
    assert len(list(open_source(tmp_path).frames())) == 3
    assert len(open_stills([tmp_path]).info.names) == 3


def test_a_frame_in_two_formats_is_refused_and_a_clip_beside_pictures_is_told(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "b.mha").write_bytes(b"b")
    (note,) = open_source(tmp_path).info.notes
    assert "a.mp4 and 1 more" in note
    written(tmp_path / "img1.jpg", pictures(1)[0])
    with pytest.raises(InputError, match=r"img1\.(png|jpg) and img1\.(png|jpg) seem to be the same frame"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"comment": ' * 5000, b"\xff\xfe{", b"1" * 5000, b'{"a": ' + b"[" * 300]
)
def test_a_damaged_sequence_json_is_refused_in_one_line(tmp_path, text):
    (folder_of(tmp_path) / "sequence.json").write_bytes(text)
    with pytest.raises(InputError, match=r"sequence\.json") as e:
        open_source(tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("said", ["spacing_mm=a,b " + "x" * 9000, "probe=linear apex_px=nan,0 width_mm=4 depth_mm=5"])
def test_a_damaged_comment_is_refused_in_a_short_line(tmp_path, said):
    (folder_of(tmp_path) / "sequence.json").write_text(f'{{"comment": "sonosteer {said}"}}')
    with pytest.raises(InputError, match=r"sequence\.json is damaged") as e:
        open_source(tmp_path)
    assert len(str(e.value)) < 500


@pytest.mark.parametrize("text", [b"[1, 2]", b'{"comment": 7}', b'{"comment": "of another program"}'])
def test_a_sequence_json_of_others_says_nothing(tmp_path, text):
    (folder_of(tmp_path) / "sequence.json").write_bytes(text)
    assert open_source(tmp_path).info.spacing is None


# -- large and damaged pictures --------------------------------------------------------------------------------


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def huge(ending):
    """A small file whose header says 30,000 x 30,000 pixels."""
    size = struct.pack(">II", 30000, 30000)
    if ending == "png":
        rows = zlib.compress(bytes(1 << 20))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            chunk(k, d) for k, d in ((b"IHDR", size + b"\x08\0\0\0\0"), (b"IDAT", rows), (b"IEND", b""))
        )
    small = np.full((16, 16), 77, np.uint8)
    data = bytearray(cv2.imencode(f".{ending}", small, [cv2.IMWRITE_TIFF_COMPRESSION, 1] if ending == "tif" else [])[1])
    if ending == "jpg":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 30000, 30000)
    elif ending == "bmp":
        data[18:26] = struct.pack("<ii", 30000, -30000)
    else:
        (at,) = struct.unpack("<I", data[4:8])
        for entry in range(at + 2, at + 2 + 12 * data[at], 12):
            if data[entry : entry + 2] in (b"\0\1", b"\1\1"):  # ImageWidth, ImageLength
                data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 30000)
    return bytes(data)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_a_picture_of_900_million_pixels_is_refused_before_it_is_decoded(tmp_path, ending, monkeypatch):
    (tmp_path / f"a.{ending}").write_bytes(huge(ending))
    with pytest.raises(InputError, match=r"900000000 pixels in a frame: 33554432 are read.*SONOSTEER_MAX_FRAME_PX"):
        open_source(tmp_path / f"a.{ending}")
    monkeypatch.setenv("SONOSTEER_MAX_FRAME_PX", "100")
    written(tmp_path / f"b.{ending}", pictures(1)[0])
    with pytest.raises(InputError, match="SONOSTEER_MAX_FRAME_PX"):
        open_source(tmp_path / f"b.{ending}")
    monkeypatch.setenv("SONOSTEER_MAX_FRAME_PX", "10000")
    assert open_source(tmp_path / f"b.{ending}").info.size_px == (64, 48)


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    data = bytes(cv2.imencode(".jpg", pictures(1)[0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    at = data.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(data[:at] + data[at:-2] * 2000 + data[-2:])
    with pytest.raises(InputError, match="more than 100 scans"):
        open_source(tmp_path / "a.jpg")


def test_an_animated_png_under_the_name_of_a_picture_is_refused(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    first, *rest = (Image.fromarray(f) for f in pictures(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=rest)
    with pytest.raises(InputError, match=r"animated PNG; give it the ending \.apng"):
        open_source(tmp_path / "a.png")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        open_source(tmp_path / "a.png")


# -- TIFF stacks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"big_tiff": True}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_pages_that_pillow_wrote_are_frames(tmp_path, how, dtype):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frames = pictures(5, dtype=dtype)
    first, *rest = (Image.fromarray(f) for f in frames)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest, **how)
    source = open_source(tmp_path / "a.tif")
    assert (source.info.kind, source.info.names, source.info.frames) == ("images", (), 5)
    assert all(np.array_equal(f.pixels, want) for f, want in zip(source.frames(), frames, strict=True))
    assert [f.index for f in source.frames(2, 4)] == [2, 3]
    assert open_stills([tmp_path]).info.names[1] == "a.tif page 2"


@pytest.mark.parametrize(
    "options", [(), ("-endian", "MSB"), ("-compress", "Zip"), ("-define", "tiff:rows-per-strip=5")]
)
def test_all_pages_that_imagemagick_wrote_are_frames(tmp_path, options):
    program = shutil.which("convert")
    if program is None:
        pytest.skip("ImageMagick is not installed: apt-get install imagemagick")
    frames = pictures(4)
    files = [written(tmp_path / f"{i}.bmp", f) for i, f in enumerate(frames)]
    subprocess.run([program, *files, *options, tmp_path / "a.tif"], check=True)
    assert all(
        np.array_equal(f.grey(), want) for f, want in zip(open_source(tmp_path / "a.tif").frames(), frames, strict=True)
    )


def test_all_pages_that_simpleitk_wrote_are_frames_behind_other_pictures(tmp_path):
    frames = pictures(5)
    sitk.WriteImage(sitk.GetImageFromArray(frames[1:]), str(tmp_path / "b.tif"))
    written(tmp_path / "a.tif", frames[0])
    assert all(np.array_equal(f.pixels, w) for f, w in zip(open_source(tmp_path).frames(), frames, strict=True))


def directories(path):
    """Where each directory of a little-endian TIFF file begins."""
    data = path.read_bytes()
    (at,) = struct.unpack("<I", data[4:8])
    while at:
        yield at
        count = int.from_bytes(data[at : at + 2], "little")
        (at,) = struct.unpack("<I", data[at + 2 + 12 * count : at + 6 + 12 * count])


def test_directories_that_run_in_a_circle_are_refused(tmp_path):
    cv2.imwritemulti(str(tmp_path / "a.tif"), list(pictures(3)))
    *_, last = directories(tmp_path / "a.tif")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    end = last + 2 + 12 * data[last]
    data[end : end + 4] = struct.pack("<I", last)
    (tmp_path / "a.tif").write_bytes(bytes(data))
    with pytest.raises(InputError, match="its directories run in a circle"):
        open_source(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ImageJ=1.53\nimages=12\n", "holds 12 pictures behind one directory"),
        ("ImageJ=1.53\nchannels=2\n", "2 channels"),
    ],
)
def test_stacks_of_imagej_whose_pages_are_no_frames_are_refused(tmp_path, text, said):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.tif", description=text)
    with pytest.raises(InputError, match=said):
        open_source(tmp_path / "a.tif")


def test_thumbnails_are_no_frames(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frames = pictures(2)
    small = Image.fromarray(frames[0][::4, ::4].copy())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(frames[0]).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert open_source(tmp_path / "a.tif").info.frames == 1
