"""Videos are written here by PyAV or by ffmpeg, and read back through our source."""

import itertools
import struct
import tracemalloc

import av
import numpy as np
import pytest
from written_clips import ffmpeg_clip, pictures, run_ffmpeg, shown_by_ffmpeg, write_video

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


def test_many_damaged_frames_do_not_begin_from_the_front_each_time(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64), dtype=np.uint8)
    path = write_video(tmp_path / "a.avi", noise, codec="mjpeg", pix="yuvj420p", rate=20)
    source = open_source(spoiled(path, *range(5, 35, 2)))
    opened = []
    monkeypatch.setattr(av, "open", lambda *args, _open=av.open, **kw: opened.append(1) or _open(*args, **kw))
    good, bad = read_on(source)
    assert [i for i, _ in bad] == list(range(5, 35, 2))
    assert len(good) == 25
    assert len(opened) == 2  # to read, and to count frames by their times
    source.close()
    assert read_on(source) == (good, bad)


# -- as players show it ----------------------------------------------------------------------------------------

H264 = ("-c:v", "libx264", "-crf", "4", "-pix_fmt", "yuv420p", "-g", "6", "-bf", "2")


def near(got, want, most=3.0):
    """Whether frames are the same but for what a codec loses."""
    assert [f.shape for f in got] == [w.shape for w in want]
    return max(np.abs(g.astype(int) - w).mean() for g, w in zip(got, want, strict=True)) < most


def grey_of(path, *args, **kw):
    return [f.grey() for f in open_source(path, **kw).frames(*args)]


def with_matrix(path, a, b, c, d):
    """Overwrite the display matrix of an mp4 file: shown x = a x + c y, shown y = b x + d y."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", *(int(v * one) for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(data)
    return path


EIGHT = [
    m for m in itertools.product((-1, 0, 1), repeat=4) if abs(m[0] * m[3] - m[1] * m[2]) == 1 and sum(map(abs, m)) == 2
]


@pytest.mark.parametrize("matrix", EIGHT)
def test_a_video_is_turned_and_mirrored_as_ffmpeg_shows_it(tmp_path, matrix):
    path = with_matrix(ffmpeg_clip(tmp_path / "a.mp4", pictures(8), *H264), *matrix)
    source = open_source(path)
    assert source.info.size_px == ((48, 64) if matrix[0] == 0 else (64, 48))
    got = [f.grey() for f in source.frames()]
    assert near(got, shown_by_ffmpeg(path, source.info.size_px))
    assert all(f.grey().flags.c_contiguous for f in source.frames(0, 2))
    assert len(source.info.notes) == (matrix != (1, 0, 0, 1))


@pytest.mark.parametrize(("name", "degrees"), [("a.mov", 90), ("a.m4v", 180), ("a.mkv", 270)])
def test_a_turn_that_another_tool_wrote_is_followed(tmp_path, name, degrees):
    path = write_video(tmp_path / "flat.mp4", pictures(8))
    with av.open(str(path)) as read, av.open(str(tmp_path / name), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = stream
                write.mux(packet)
    got = grey_of(tmp_path / name)
    assert near(got, [np.rot90(f, degrees // 90) for f in pictures(8)])
    size = got[0].shape[::-1]
    assert near(got, shown_by_ffmpeg(tmp_path / name, size))


def test_a_slanted_video_is_refused_and_a_matrix_of_zeros_is_none(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(8))
    with pytest.raises(InputError, match=r"turned by -?45 degrees"):
        open_source(with_matrix(path, 0.7, 0.7, -0.7, 0.7))
    assert near(grey_of(with_matrix(path, 0, 0, 0, 0)), pictures(8))


@pytest.mark.parametrize("name", ["t.mp4", "t.mov"])
@pytest.mark.parametrize("cut", [("-ss", "0.16"), ("-ss", "0.2", "-to", "0.8"), ("-to", "0.5"), ("-ss", "1.0")])
def test_frames_that_an_edit_list_hides_are_not_there(tmp_path, name, cut):
    base = ffmpeg_clip(tmp_path / "base.mp4", pictures(80), *H264)
    run_ffmpeg(*cut, "-i", base, "-c", "copy", tmp_path / name)
    source = open_source(tmp_path / name)
    want = shown_by_ffmpeg(tmp_path / name, (64, 48))
    got = list(source.frames())
    assert source.info.frames == len(got)
    assert near([f.grey() for f in got], want)
    np.testing.assert_allclose([f.time_s for f in got], np.arange(len(want)) / 25, atol=1e-3)
    if len(want) > 55:
        assert np.array_equal(next(iter(source.frames(55))).pixels, got[55].pixels)


@pytest.mark.parametrize(
    ("sar", "name", "wanted"),
    [("2/1", "a.mp4", (0.4, 0.2)), ("10/11", "a.mkv", (2 / 11, 0.2)), ("16/15", "a.avi", (0.2 * 16 / 15, 0.2))],
)
def test_one_number_for_the_scale_is_that_of_the_rows(tmp_path, sar, name, wanted):
    codec = H264 if name != "a.avi" else ("-c:v", "mpeg4", "-q:v", "2")
    path = ffmpeg_clip(tmp_path / name, pictures(5), "-vf", f"setsar={sar}", *codec)
    source = open_source(path, spacing=Spacing(0.2, 0.2))
    got = source.info.spacing
    np.testing.assert_allclose((got.x_mm, got.y_mm), wanted, rtol=1e-6)
    assert next(iter(source.frames())).spacing == got
    assert "times as wide as high" in source.info.notes[0]
    assert open_source(path, spacing=Spacing(0.3, 0.2)).info.spacing == Spacing(0.3, 0.2)
    assert open_source(path).info.spacing is None


def test_pixels_of_a_turned_video_are_as_high_as_they_were_wide(tmp_path):
    path = ffmpeg_clip(tmp_path / "a.mp4", pictures(5), "-vf", "setsar=2/1", *H264)
    turned = with_matrix(path, 0, 1, -1, 0)
    assert open_source(turned, spacing=Spacing(0.2, 0.2)).info.spacing == Spacing(0.1, 0.2)


def test_our_own_scale_is_not_changed_by_the_shape_of_pixels(tmp_path):
    comment = ("-metadata", "comment=sonosteer spacing_mm=0.2,0.2")
    path = ffmpeg_clip(tmp_path / "a.mp4", pictures(5), "-vf", "setsar=2/1", *comment, *H264)
    assert open_source(path).info.spacing == Spacing(0.2, 0.2)


def test_interlaced_video_says_so(tmp_path):
    path = ffmpeg_clip(tmp_path / "a.mpg", pictures(8), "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2")
    assert any("interlaced" in note for note in open_source(path).info.notes)
    assert open_source(ffmpeg_clip(tmp_path / "b.mpg", pictures(8), "-c:v", "mpeg2video")).info.notes == ()


# -- endings ---------------------------------------------------------------------------------------------------

CODED = {
    "mp4 m4v mov qt f4v avi divx mkv mts m2ts ts nut h264 264": H264,
    "3gp 3g2": ("-c:v", "mpeg4", "-q:v", "2"),
    "webm ivf": ("-c:v", "libvpx-vp9", "-b:v", "2M", "-pix_fmt", "yuv420p"),
    "wmv asf": ("-c:v", "wmv2", "-q:v", "2"),
    "ogv": ("-c:v", "libtheora", "-q:v", "10", "-pix_fmt", "yuv420p"),
    "flv": ("-c:v", "flv", "-q:v", "2"),
    "mpg vob m2v": ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv420p"),
    "m1v mpeg": ("-c:v", "mpeg1video", "-q:v", "2"),
    "mjpeg mjpg": ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"),
    "gif apng y4m": (),
    "GIF": ("-f", "gif"),
    "WMV": ("-c:v", "wmv2", "-q:v", "2", "-f", "asf"),
}
MUXERS = {"qt": "mov", "divx": "avi", "264": "h264", "mjpg": "mjpeg", "h264": "h264", "apng": "apng", "nut": "nut"}


@pytest.mark.parametrize("ending", [e for endings in CODED for e in endings.split()])
def test_a_video_of_any_usual_ending_gives_all_frames(tmp_path, ending):
    codec = next(c for endings, c in CODED.items() if ending in endings.split())
    muxer = ("-f", MUXERS[ending]) if ending in MUXERS else ()
    path = ffmpeg_clip(tmp_path / f"a.{ending}", pictures(70), *codec, *muxer)
    source = open_source(path)
    got = list(source.frames())
    assert source.info.frames == len(got) == 70
    assert near([f.grey() for f in got], pictures(70), 12.0)
    assert got[0].time_s == 0.0
    np.testing.assert_allclose(np.diff([f.time_s for f in got]), 0.04, atol=2e-3)
    for start in (48, 60):  # by seeking, where the file has an index that is right
        assert np.array_equal(next(iter(source.frames(start))).pixels, got[start].pixels)


def test_frames_that_an_avi_repeats_without_data_do_not_make_it_cut_off(tmp_path):
    skipping = ("-vf", "select='not(between(n,4,6))'", "-fps_mode", "vfr")
    path = ffmpeg_clip(tmp_path / "a.avi", pictures(12), *skipping, "-c:v", "mjpeg", "-q:v", "2")
    source = open_source(path)
    got = list(source.frames())
    assert source.info.frames == len(got) == 9
    np.testing.assert_allclose([f.time_s for f in got], np.array([0, 1, 2, 3, 7, 8, 9, 10, 11]) / 25, atol=1e-3)


def test_hidden_pictures_of_vp8_are_no_frames(tmp_path):
    noisy = np.random.default_rng(0).integers(0, 60, (90, 48, 64), dtype=np.uint8) + pictures(90) // 2
    raw = ("-c:v", "libvpx", "-b:v", "300k", "-auto-alt-ref", "1", "-lag-in-frames", "16")
    log = tmp_path / "log"
    ffmpeg_clip(tmp_path / "first.webm", noisy, *raw, "-pass", "1", "-passlogfile", log)
    path = ffmpeg_clip(tmp_path / "a.webm", noisy, *raw, "-pass", "2", "-passlogfile", log)
    assert len(grey_of(path)) == 90


# -- what is no video ------------------------------------------------------------------------------------------


def test_sound_without_a_picture_or_with_a_cover_is_no_video(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", tmp_path / "a.mp4")
    with pytest.raises(InputError, match="no video in it"):
        open_source(tmp_path / "a.mp4")
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", tmp_path / "cover.jpg")
    both = ("-i", tmp_path / "a.mp4", "-i", tmp_path / "cover.jpg", "-map", "0", "-map", "1", "-c", "copy")
    run_ffmpeg(*both, "-disposition:v:0", "attached_pic", tmp_path / "b.mp4")
    with pytest.raises(InputError, match="a cover picture, but no video in it"):
        open_source(tmp_path / "b.mp4")


def test_a_cover_before_the_video_is_left_alone(tmp_path):
    base = ffmpeg_clip(tmp_path / "base.mp4", pictures(8), *H264)
    run_ffmpeg("-f", "lavfi", "-i", "color=red:s=256x256", "-frames:v", "1", tmp_path / "cover.jpg")
    both = ("-i", tmp_path / "cover.jpg", "-i", base, "-map", "0", "-map", "1", "-c", "copy")
    run_ffmpeg(*both, "-disposition:v:0", "attached_pic", tmp_path / "a.mp4")
    assert near(grey_of(tmp_path / "a.mp4"), pictures(8))


def test_a_playlist_with_the_ending_of_a_video_opens_no_other_file(tmp_path):
    write_video(tmp_path / "other.mp4", pictures(8))
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    (tmp_path / "b.ts").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n")
    for name in ("a.mp4", "b.ts"):
        with pytest.raises(InputError, match="not a video"):
            open_source(tmp_path / name)


def test_a_name_with_a_pattern_or_a_protocol_in_it_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a%03d.mp4", "concat:b.mp4", "c d#?.mkv"):
        write_video(tmp_path / name, pictures(8))
        assert len(grey_of(name)) == 8


def test_text_in_a_video_that_is_no_utf_8_is_no_obstacle(tmp_path):
    path = write_video(tmp_path / "a.mp4", pictures(8), comment="abcdefgh")
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abc\xff\xfe\xfagh"))
    assert len(grey_of(path)) == 8


def test_a_video_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", np.zeros((1, 6000, 6000), np.uint8), codec="ffv1", pix="gray")
    tracemalloc.start()
    with pytest.raises(InputError, match="36000000 pixels in a frame"):
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    monkeypatch.setenv("SONOSTEER_MAX_FRAME_PX", "36000000")
    assert open_source(path).info.size_px == (6000, 6000)
