"""Videos are written here by PyAV and read back through our source."""

import av
import numpy as np
import pytest
from written_clips import pictures, write_video

from sonosteer.core.errors import InputError, PictureError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.opening import open_source


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


def spoiled(path, *which):
    """Overwrite packets, counted as they are stored."""
    with av.open(str(path)) as c:
        packets = [(p.pos, p.size) for p in c.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for k in which:
        at, size = packets[k]
        data[at : at + size] = b"\xff" * size
    path.write_bytes(bytes(data))
    return path


def read_on(source, start=0, stop=None):
    """Indices and times of what is read, and indices of what cannot be, as a tracking run goes on."""
    good, bad, frames = [], [], source.frames(start, stop)
    while True:
        try:
            frame = next(frames, None)
        except PictureError as e:
            bad.append((e.index, e.time_s))
            frames = source.frames(e.index + 1, stop)
            continue
        if frame is None:
            return good, bad
        good.append((frame.index, frame.time_s))


@pytest.mark.parametrize(
    ("codec", "ending", "pix", "bf"),
    [("libx264", "mp4", "yuv420p", 0), ("libx264", "mp4", "yuv420p", 2), ("mjpeg", "avi", "yuvj420p", 0)],
)
@pytest.mark.parametrize("which", [(15,), (15, 16, 20), (79,), (60,)])
def test_behind_a_frame_that_cannot_be_decoded_the_others_keep_their_places(tmp_path, codec, ending, pix, bf, which):
    noise = np.random.default_rng(0).integers(0, 255, (80, 48, 64), dtype=np.uint8)
    path = write_video(tmp_path / f"a.{ending}", noise, codec=codec, pix=pix, bf=bf, rate=20)
    good, bad = read_on(open_source(spoiled(path, *which)))
    assert bad
    assert sorted(i for i, _ in good + bad) == list(range(80))
    assert all(t == pytest.approx(i / 20, abs=1e-3) for i, t in good + bad)
    if bf == 0 and which != (60,):  # a key frame, whose followers may not be decodable either
        assert [i for i, _ in bad] == list(which)
    part = [i for i, _ in good if 50 <= i < 70]
    assert [i for i, _ in read_on(open_source(path), 50, 70)[0]] == part
