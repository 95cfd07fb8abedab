"""Every format is written here by its own library and read back through our sources."""

import tracemalloc
import zlib

import av
import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.opening import kind_of, open_source


def pictures(n=30, h=48, w=64, dtype=np.uint8):
    """Frames that carry their own number: a bright block whose place and grey tell the index."""
    top = np.iinfo(dtype).max
    out = np.full((n, h, w), top // 8, dtype)
    for i in range(n):
        out[i, 8:40, 2 * (i % 28) : 2 * (i % 28) + 8] = top // 2 + (top // 100) * (i % 30)
    return out


def write_video(
    path, frames, codec="libx264", rate=30, gop=12, bf=0, times=None, color_range=None, pix="yuv420p", **kw
):
    with av.open(str(path), "w") as c:
        options = {"crf": "10", "g": str(gop), "bf": str(bf)} if codec == "libx264" else {}
        s = c.add_stream(codec, rate=rate, options=options)
        s.height, s.width, s.pix_fmt = *frames.shape[1:3], pix
        if color_range:
            s.codec_context.color_range = color_range
        c.metadata.update(kw)
        for i, f in enumerate(frames):
            v = av.VideoFrame.from_ndarray(f, format="gray" if f.ndim == 2 else "rgb24")
            if color_range:
                if f.ndim == 2:
                    v.color_range = color_range
                v = v.reformat(format=pix, dst_color_range=color_range)
                v.color_range = color_range
            v.pts = i if times is None else times[i]
            c.mux(s.encode(v))
        c.mux(s.encode(None))
    return path


def test_a_video_gives_its_frames_times_and_scale(tmp_path):
    frames = pictures()
    path = write_video(tmp_path / "a.mp4", frames, comment="sonosteer spacing_mm=0.1,0.2")
    source = open_source(path)
    assert source.info.frames == 30
    assert source.info.size_px == (64, 48)
    assert source.info.spacing == Spacing(0.1, 0.2)
    got = list(source.frames())
    assert [f.index for f in got] == list(range(30))
    np.testing.assert_allclose([f.time_s for f in got], np.arange(30) / 30, atol=1e-6)
    for f, want in zip(got, frames, strict=True):
        assert np.abs(f.grey().astype(int) - want).mean() < 2


@pytest.mark.parametrize("color_range", [1, 2])
def test_grey_levels_come_back_in_either_range(tmp_path, color_range):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))[None].repeat(3, 0)
    path = write_video(tmp_path / "a.mp4", ramp, color_range=color_range)
    got = next(iter(open_source(path).frames())).grey()
    assert np.abs(got.astype(int) - ramp[0]).max() <= 4


@pytest.mark.parametrize(("gop", "bf"), [(1, 0), (12, 0), (12, 2), (250, 3)])
def test_seeking_gives_the_frame_that_a_linear_read_gives(tmp_path, gop, bf):
    frames = pictures(120)
    path = write_video(tmp_path / "a.mp4", frames, gop=gop, bf=bf)
    source = open_source(path)
    linear = [f.pixels.copy() for f in source.frames()]
    assert len(linear) == 120
    for start in (0, 1, 47, 48, 60, 61, 119):
        got = next(iter(source.frames(start)))
        assert got.index == start
        assert np.array_equal(got.pixels, linear[start])
    assert [f.index for f in source.frames(70, 75)] == [70, 71, 72, 73, 74]


def test_uneven_frame_times_are_kept(tmp_path):
    times = [0, 1, 2, 5, 9, 10, 14]
    path = write_video(tmp_path / "a.mp4", pictures(7), rate=10, times=times)
    got = [f.time_s for f in open_source(path).frames()]
    np.testing.assert_allclose(got, np.array(times) / 10, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "codec", "pix"), [("a.avi", "mjpeg", "yuvj420p"), ("a.mkv", "ffv1", "gray"), ("a.avi", "ffv1", "gray")]
)
def test_other_containers_and_codecs_open(tmp_path, name, codec, pix):
    path = write_video(tmp_path / name, pictures(), codec=codec, pix=pix)
    got = list(open_source(path).frames())
    assert len(got) == 30
    assert np.abs(got[7].grey().astype(int) - pictures()[7]).mean() < 4


def test_a_deep_video_keeps_sixteen_bits(tmp_path):
    path = tmp_path / "deep.mkv"
    frames = pictures(5, dtype=np.uint16)
    with av.open(str(path), "w") as c:
        s = c.add_stream("ffv1", rate=20)
        s.height, s.width, s.pix_fmt = 48, 64, "gray16le"
        for i, f in enumerate(frames):
            v = av.VideoFrame.from_ndarray(f, format="gray16le")
            v.pts = i
            c.mux(s.encode(v))
        c.mux(s.encode(None))
    got = list(open_source(path).frames())
    assert got[3].pixels.dtype == np.uint16
    assert np.array_equal(got[3].pixels, frames[3])
    assert got[3].full_scale == 65535


def test_colour_is_read_as_rgb_when_asked(tmp_path):
    from sonosteer.sources.video import VideoFile

    red = np.zeros((4, 48, 64, 3), np.uint8)
    red[..., 0] = 220
    path = write_video(tmp_path / "a.mp4", red)
    colour = next(iter(VideoFile(path, grey=False).frames())).pixels
    assert colour.shape == (48, 64, 3)
    assert colour[..., 0].mean() > 180
    assert colour[..., 2].mean() < 40


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


def write_meta(path, frames, *, compress=False, spacing=(0.2, 0.1, 1.0), vector=False, **keys):
    image = sitk.GetImageFromArray(frames, isVector=vector)
    image.SetSpacing(spacing)
    for k, v in keys.items():
        image.SetMetaData(k, v)
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "igs.mha"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_sequence_of_metaimage_or_nrrd_is_read(tmp_path, ending, compress, dtype):
    frames = pictures(9, dtype=dtype)
    keys = {f"Seq_Frame{i:04d}_Timestamp": str(100.0 + 0.05 * i) for i in range(9)}
    path = write_meta(tmp_path / f"a.{ending}", frames, compress=compress, **keys)
    source = open_source(path)
    assert source.info.frames == 9
    assert source.info.spacing == Spacing(0.2, 0.1)
    got = list(source.frames())
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=True))
    np.testing.assert_allclose([f.time_s for f in got], 0.05 * np.arange(9), atol=1e-9)
    assert [f.index for f in source.frames(4, 6)] == [4, 5]
    assert np.array_equal(next(iter(source.frames(5))).pixels, frames[5])


def test_a_tracked_sequence_carries_the_pose_of_each_frame(tmp_path):
    keys = {}
    for i in range(3):
        keys[f"Seq_Frame{i:04d}_ProbeToTrackerTransform"] = f"1 0 0 {i} 0 1 0 0 0 0 1 0 0 0 0 1"
        keys[f"Seq_Frame{i:04d}_ProbeToTrackerTransformStatus"] = "OK" if i < 2 else "INVALID"
    got = list(open_source(write_meta(tmp_path / "a.mha", pictures(3), **keys)).frames())
    assert got[1].T_world_image is not None
    assert got[1].T_world_image[0, 3] == 1
    assert got[2].T_world_image is None


def test_an_image_stored_upside_down_is_turned_to_the_usual_way(tmp_path):
    frames = pictures(2)
    path = write_meta(tmp_path / "a.mha", frames, UltrasoundImageOrientation="UN")
    assert np.array_equal(next(iter(open_source(path).frames())).pixels, frames[0][::-1, ::-1])


def test_a_spacing_of_one_on_every_axis_means_unknown(tmp_path):
    path = write_meta(tmp_path / "a.mha", pictures(2), spacing=(1.0, 1.0, 1.0))
    assert open_source(path).info.spacing is None
    assert open_source(path, spacing=Spacing(0.3, 0.3)).info.spacing == Spacing(0.3, 0.3)


def test_colour_metaimage_is_rgb(tmp_path):
    rgb = np.zeros((2, 10, 12, 3), np.uint8)
    rgb[..., 0] = 200
    (first, _) = open_source(write_meta(tmp_path / "a.mha", rgb, vector=True)).frames()
    assert first.pixels.shape == (10, 12, 3)
    assert tuple(first.pixels[0, 0]) == (200, 0, 0)


@pytest.mark.parametrize("compress", [False, True])
def test_a_cut_off_sequence_gives_what_there_is_and_says_so(tmp_path, compress):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (10, 48, 64), dtype=np.uint8)
    path = write_meta(tmp_path / "a.mha", frames, compress=compress)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    got = []
    with pytest.raises(InputError, match=r"ends early: \d of 10 frames"):
        got.extend(open_source(path).frames())
    assert len(got) >= 3
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=False))


def test_a_detached_data_file_that_is_not_there_is_named(tmp_path):
    path = write_meta(tmp_path / "a.mhd", pictures(2))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputError, match=r"keeps its pixels in a.raw"):
        list(open_source(path).frames())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.mp4", None, "does not exist"),
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"this is not a video\n" * 50, "not a video"),
        ("text.mha", b"this is not an image\n" * 50, "not a MetaImage"),
        ("text.png", b"this is not a picture\n" * 50, "not a picture"),
        ("text.dcm", b"this is not dicom\n" * 50, "not a DICOM"),
        ("clip.xyz", b"who knows", "are not read"),
    ],
)
def test_what_is_no_clip_is_refused_with_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as e:
        open_source(path)
    assert "\n" not in str(e.value)


def test_a_video_cut_off_before_its_index_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(60))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match="cut off"):
        open_source(path)


def test_a_video_cut_off_behind_its_index_gives_what_there_is(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64), dtype=np.uint8)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as c:
        s = c.add_stream("libx264", rate=20, options={"g": "1"})
        s.height, s.width, s.pix_fmt = 48, 64, "yuv420p"
        for i, f in enumerate(noise):
            v = av.VideoFrame.from_ndarray(f, format="gray")
            v.pts = i
            c.mux(s.encode(v))
        c.mux(s.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    done = 0
    with pytest.raises(InputError, match="ends early"):
        for _ in open_source(path).frames():
            done += 1
    assert 5 < done < 40


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        open_source(tmp_path)


def test_dicom_is_known_by_its_mark_too(tmp_path):
    path = tmp_path / "IM0001"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 10)
    assert kind_of(path) == "dicom"


@pytest.mark.parametrize("kind", ["video", "mha", "zlib", "images"])
def test_memory_does_not_grow_with_the_length_of_the_clip(tmp_path, kind):
    h, w, n = 200, 300, 400
    noise = np.random.default_rng(0).integers(0, 255, (h, w), dtype=np.uint8)
    if kind == "video":
        path = write_video(tmp_path / "a.mp4", noise[None].repeat(n, 0))
    elif kind == "images":
        path = tmp_path / "clip"
        path.mkdir()
        for i in range(60):
            cv2.imwrite(str(path / f"{i}.png"), noise)
    else:
        path = tmp_path / "a.mha"
        data = noise.tobytes() * n
        header = f"ObjectType = Image\nNDims = 3\nDimSize = {w} {h} {n}\nElementSpacing = 0.1 0.1 1\n"
        header += "BinaryData = True\nBinaryDataByteOrderMSB = False\n"
        if kind == "zlib":
            data = zlib.compress(data)
            header += f"CompressedData = True\nCompressedDataSize = {len(data)}\n"
        header += "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        path.write_bytes(header.encode() + data)
        del data
    source = open_source(path)
    tracemalloc.start()
    count = sum(f.pixels[0, 0] >= 0 for f in source.frames())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == (60 if kind == "images" else n)
    assert peak < 20 * h * w


def test_the_real_recordings_open(real_data):
    stills = len(list((real_data / "needle-stills-ge").glob("*.png")))
    assert stills >= 3
    expected = {
        "needle-inplane-clarius/ph_1_3_1.mp4": (448, (1080, 860)),
        "plus-sequences/USTC_3NWires_ProbeTranslation.igs.mha": (159, (820, 616)),
        "plus-sequences/BkCurvilinearScanConvertedData.igs.mha": (1, (600, 400)),
        "needle-stills-ge": (stills, (1280, 960)),
        "needle-stills-ge/45.png": (1, (1280, 960)),
        "pocus/clarius-ocular-short.mp4": (50, (1280, 960)),
    }
    for name, (count, size) in expected.items():
        source = open_source(real_data / name)
        assert (source.info.frames, source.info.size_px) == (count, size)
        *_, last = source.frames(max(0, count - 2))
        assert last.index == count - 1
        assert last.grey().std() > 5


def test_opening_loads_no_reader_before_it_is_needed():
    import subprocess
    import sys

    code = "import sys, sonosteer.sources.opening; print({'cv2', 'av', 'SimpleITK', 'pydicom'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
